// Two calls of the system's that Swift's view of the C library leaves out. Nothing else belongs in here.
#pragma once
#include <stdint.h>
#include <sys/types.h>

extern int fallocate(int descriptor, int mode, off_t offset, off_t count);
extern int sync_file_range(int descriptor, off_t offset, off_t count, unsigned int flags);

// Takes blocks for a stretch of a file without writing it and without changing the file's length.
static inline int portcullis_reserve_blocks(int descriptor, int64_t offset, int64_t count) {
  const int keep_size = 1;
  return fallocate(descriptor, keep_size, (off_t)offset, (off_t)count);
}

// The same, and makes the file longer where the stretch ends beyond it. It never makes it shorter.
static inline int portcullis_lengthen(int descriptor, int64_t offset, int64_t count) {
  return fallocate(descriptor, 0, (off_t)offset, (off_t)count);
}

// Has a stretch of a file written out, and waits for it. It is no flush: the device may still hold it in its cache.
static inline int portcullis_write_out(int descriptor, int64_t offset, int64_t count) {
  const unsigned int wait_before = 1, write = 2, wait_after = 4;
  return sync_file_range(descriptor, (off_t)offset, (off_t)count, wait_before | write | wait_after);
}
