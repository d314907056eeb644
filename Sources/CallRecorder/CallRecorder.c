// Records the system calls by which a program changes files below one directory, with their data, in the order in which
// they took effect. It is preloaded (LD_PRELOAD), and in C because what it stands in for are libc's own functions.
//
//   PORTCULLIS_RECORD_BELOW   the directory, an absolute path without links
//   PORTCULLIS_RECORD_TO      the file that gets the recording
//   PORTCULLIS_RECORD_MARKS   a path outside the directory: what the program writes there becomes a mark among the calls
//
// It must never change what a call does. Each call is made by its number, so that nothing of libc's is called back into.
//
// Why the order is right: a call and its record are made under one lock, so that no other recorded call takes effect
// between the two. Why the state is safe: `watched` is only touched under that lock, but for the look whether anything
// is to be done at all, which reads one byte; a thread that uses a descriptor has seen the open that made it.
//
// What it cannot see: writes through a mapping (the mapping itself is recorded), and calls that other libraries make by
// number or that libc makes inside itself (stdio). The replay of a whole recording must therefore give the very bytes
// that are in the files at the end, and whoever uses a recording checks that first.

#define _GNU_SOURCE
#include "CallRecorder.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { descriptors_at_most = 4096 };
enum watching { not_watched = 0, file_watched = 1, marks_watched = 2 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned char watched[descriptors_at_most];
static char below[PATH_MAX];
static char marks[PATH_MAX];
static int output = -1;

__attribute__((constructor)) static void begin(void) {
  const char *directory = getenv("PORTCULLIS_RECORD_BELOW");
  const char *to = getenv("PORTCULLIS_RECORD_TO");
  const char *marks_path = getenv("PORTCULLIS_RECORD_MARKS");
  if (!directory || !to || strlen(directory) >= sizeof below) return;
  strcpy(below, directory);
  if (marks_path && strlen(marks_path) < sizeof marks) strcpy(marks, marks_path);
  output = (int)syscall(SYS_openat, AT_FDCWD, to, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
}

// A recording with a gap would be worse than none.
static void give_up(const char *why) {
  syscall(SYS_write, 2, why, strlen(why));
  _exit(70);
}

static void put(const struct iovec *parts, int count) {
  size_t bytes = 0;
  for (int i = 0; i < count; i += 1) bytes += parts[i].iov_len;
  if (syscall(SYS_writev, output, parts, count) != (ssize_t)bytes) give_up("the recording cannot be written\n");
}

static void record(
    enum recorded_kind kind, uint8_t flags, int descriptor, uint64_t position, const char *name, size_t name_bytes,
    const struct iovec *data, int data_count, size_t data_bytes) {
  struct recorded_call call = {
      .magic = recorded_call_magic, .kind = kind, .flags = flags, .name_bytes = (uint16_t)name_bytes,
      .descriptor = descriptor, .data_bytes = (uint32_t)data_bytes, .position = position};
  struct iovec head[2] = {{&call, sizeof call}, {(void *)name, name_bytes}};
  put(head, 2);
  // Of what was to be written only what was: the rest of the parts is left out.
  for (int i = 0; i < data_count && data_bytes > 0; i += 1) {
    struct iovec part = data[i];
    if (part.iov_len > data_bytes) part.iov_len = data_bytes;
    data_bytes -= part.iov_len;
    if (part.iov_len > 0) put(&part, 1);
  }
}

static enum watching watching(int descriptor) {
  if (output < 0 || descriptor < 0 || descriptor >= descriptors_at_most) return not_watched;
  return (enum watching)watched[descriptor];
}

// The path as seen from the root, or 0 when it does not fit.
static int make_absolute(int directory, const char *path, char *absolute) {
  size_t length = 0;
  if (path[0] != '/') {
    if (directory == AT_FDCWD) {
      long got = syscall(SYS_getcwd, absolute, PATH_MAX);
      if (got <= 0) return 0;
      length = (size_t)got - 1;
    } else {
      char link[64] = "/proc/self/fd/";
      char digits[16];
      int count = 0;
      for (unsigned number = (unsigned)directory; count == 0 || number > 0; number /= 10)
        digits[count++] = (char)('0' + number % 10);
      size_t end = strlen(link);
      while (count > 0) link[end++] = digits[--count];
      link[end] = 0;
      long got = syscall(SYS_readlinkat, AT_FDCWD, link, absolute, PATH_MAX);
      if (got <= 0) return 0;
      length = (size_t)got;
    }
    absolute[length++] = '/';
  }
  if (length + strlen(path) >= PATH_MAX) return 0;
  strcpy(absolute + length, path);
  return 1;
}

// The part of the path below the directory, "" for the directory itself, or null when it is elsewhere.
static const char *name_below(const char *absolute) {
  size_t length = strlen(below);
  if (output < 0 || strncmp(absolute, below, length) != 0) return NULL;
  if (absolute[length] == 0) return "";
  return absolute[length] == '/' ? absolute + length + 1 : NULL;
}

// MARK: - Descriptors

static int opened(int directory, const char *path, int flags, mode_t mode) {
  char absolute[PATH_MAX];
  int known = output >= 0 && make_absolute(directory, path, absolute);
  const char *name = known ? name_below(absolute) : NULL;
  int is_marks = known && marks[0] && strcmp(absolute, marks) == 0;
  if (!name && !is_marks) return (int)syscall(SYS_openat, directory, path, flags, mode);
  pthread_mutex_lock(&lock);
  int descriptor = (int)syscall(SYS_openat, directory, path, flags, mode);
  int code = errno;
  if (descriptor >= descriptors_at_most) give_up("too many descriptors for a recording\n");
  if (descriptor >= 0) {
    watched[descriptor] = is_marks ? marks_watched : file_watched;
    uint8_t recorded = (flags & O_CREAT ? recorded_creates : 0) | (flags & O_TRUNC ? recorded_truncates : 0) |
                       (flags & O_DSYNC ? recorded_is_synchronous : 0) |
                       (flags & O_DIRECTORY ? recorded_is_directory : 0);
    if (name) record(recorded_open, recorded, descriptor, 0, name, strlen(name), NULL, 0, 0);
  }
  pthread_mutex_unlock(&lock);
  errno = code;
  return descriptor;
}

#define MODE_OF(flags)                                              \
  mode_t mode = 0;                                                  \
  if ((flags) & O_CREAT || ((flags) & O_TMPFILE) == O_TMPFILE) {    \
    va_list arguments;                                              \
    va_start(arguments, flags);                                     \
    mode = (mode_t)va_arg(arguments, int);                          \
    va_end(arguments);                                              \
  }

int open(const char *path, int flags, ...) { MODE_OF(flags) return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE_OF(flags) return opened(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE_OF(flags) return opened(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE_OF(flags) return opened(at, path, flags, mode); }
int __open_2(const char *path, int flags) { return opened(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return opened(AT_FDCWD, path, flags, 0); }
int creat(const char *path, mode_t mode) { return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

int close(int descriptor) {
  if (watching(descriptor) == not_watched) return (int)syscall(SYS_close, descriptor);
  pthread_mutex_lock(&lock);
  int is_file = watching(descriptor) == file_watched;
  watched[descriptor] = not_watched;
  int result = (int)syscall(SYS_close, descriptor);
  int code = errno;
  if (is_file) record(recorded_close, 0, descriptor, 0, NULL, 0, NULL, 0, 0);
  pthread_mutex_unlock(&lock);
  errno = code;
  return result;
}

static int duplicated(int descriptor, long result) {
  int code = errno;
  if (result >= descriptors_at_most) give_up("too many descriptors for a recording\n");
  if (result >= 0 && result != descriptor) {
    watched[result] = watched[descriptor];
    if (watching(descriptor) == file_watched) record(recorded_dup, 0, descriptor, (uint64_t)result, NULL, 0, NULL, 0, 0);
  }
  pthread_mutex_unlock(&lock);
  errno = code;
  return (int)result;
}

int dup(int descriptor) {
  if (watching(descriptor) == not_watched) return (int)syscall(SYS_dup, descriptor);
  pthread_mutex_lock(&lock);
  return duplicated(descriptor, syscall(SYS_dup, descriptor));
}

int dup3(int descriptor, int to, int flags) {
  if (watching(descriptor) == not_watched && watching(to) == not_watched)
    return (int)syscall(SYS_dup3, descriptor, to, flags);
  pthread_mutex_lock(&lock);
  return duplicated(descriptor, syscall(SYS_dup3, descriptor, to, flags));
}

int dup2(int descriptor, int to) { return descriptor == to ? to : dup3(descriptor, to, 0); }

// MARK: - Data

// Makes one write and records what of it was done. With `at` below zero it goes to the descriptor's own place, which is
// the file's end where it only appends.
static ssize_t written(int descriptor, const struct iovec *parts, int count, off_t at) {
  enum watching kind = watching(descriptor);
  pthread_mutex_lock(&lock);
  off_t position = at;
  if (at < 0 && kind == file_watched) {
    int flags = (int)syscall(SYS_fcntl, descriptor, F_GETFL);
    position = (off_t)syscall(SYS_lseek, descriptor, 0, flags & O_APPEND ? SEEK_END : SEEK_CUR);
    if (position < 0) give_up("a file without a position cannot be recorded\n");
  }
  ssize_t result = at < 0 ? syscall(SYS_writev, descriptor, parts, count)
                          : syscall(SYS_pwritev, descriptor, parts, count, (unsigned long)at, 0UL);
  int code = errno;
  if (result > 0) {
    enum recorded_kind recorded = kind == marks_watched ? recorded_mark : recorded_write;
    record(recorded, 0, descriptor, (uint64_t)position, NULL, 0, parts, count, (size_t)result);
  }
  pthread_mutex_unlock(&lock);
  errno = code;
  return result;
}

ssize_t write(int descriptor, const void *bytes, size_t count) {
  if (watching(descriptor) == not_watched) return syscall(SYS_write, descriptor, bytes, count);
  struct iovec part = {(void *)bytes, count};
  return written(descriptor, &part, 1, -1);
}

ssize_t writev(int descriptor, const struct iovec *parts, int count) {
  if (watching(descriptor) == not_watched) return syscall(SYS_writev, descriptor, parts, count);
  return written(descriptor, parts, count, -1);
}

ssize_t pwrite(int descriptor, const void *bytes, size_t count, off_t at) {
  if (watching(descriptor) == not_watched) return syscall(SYS_pwrite64, descriptor, bytes, count, at);
  struct iovec part = {(void *)bytes, count};
  return written(descriptor, &part, 1, at);
}

ssize_t pwritev(int descriptor, const struct iovec *parts, int count, off_t at) {
  if (watching(descriptor) == not_watched) return syscall(SYS_pwritev, descriptor, parts, count, (unsigned long)at, 0UL);
  return written(descriptor, parts, count, at);
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t count, off64_t at) {
  return pwrite(descriptor, bytes, count, at);
}

ssize_t pwritev64(int descriptor, const struct iovec *parts, int count, off64_t at) {
  return pwritev(descriptor, parts, count, at);
}

void *mmap(void *address, size_t length, int protection, int flags, int descriptor, off_t offset) {
  if (watching(descriptor) != file_watched || !(protection & PROT_WRITE) || !(flags & MAP_SHARED))
    return (void *)syscall(SYS_mmap, address, length, protection, flags, descriptor, offset);
  pthread_mutex_lock(&lock);
  long result = syscall(SYS_mmap, address, length, protection, flags, descriptor, offset);
  int code = errno;
  if (result != -1) record(recorded_map, 0, descriptor, 0, NULL, 0, NULL, 0, 0);
  pthread_mutex_unlock(&lock);
  errno = code;
  return (void *)result;
}

void *mmap64(void *address, size_t length, int protection, int flags, int descriptor, off64_t offset) {
  return mmap(address, length, protection, flags, descriptor, offset);
}

// MARK: - Lengths and flushes

static int ended(int descriptor, long result, enum recorded_kind kind, uint64_t position) {
  int code = errno;
  if (result == 0) record(kind, 0, descriptor, position, NULL, 0, NULL, 0, 0);
  pthread_mutex_unlock(&lock);
  errno = code;
  return (int)result;
}

int ftruncate(int descriptor, off_t length) {
  if (watching(descriptor) != file_watched) return (int)syscall(SYS_ftruncate, descriptor, length);
  pthread_mutex_lock(&lock);
  return ended(descriptor, syscall(SYS_ftruncate, descriptor, length), recorded_truncate, (uint64_t)length);
}

int ftruncate64(int descriptor, off64_t length) { return ftruncate(descriptor, length); }

int fallocate(int descriptor, int mode, off_t offset, off_t length) {
  if (watching(descriptor) != file_watched) return (int)syscall(SYS_fallocate, descriptor, mode, offset, length);
  // Blocks behind the end change nothing that anybody reads.
  if (mode == FALLOC_FL_KEEP_SIZE) return (int)syscall(SYS_fallocate, descriptor, mode, offset, length);
  if (mode != 0) give_up("holes and hidden blocks cannot be recorded\n");
  pthread_mutex_lock(&lock);
  long result = syscall(SYS_fallocate, descriptor, mode, offset, length);
  return ended(descriptor, result, recorded_allocate, (uint64_t)(offset + length));
}

int fallocate64(int descriptor, int mode, off64_t offset, off64_t length) {
  return fallocate(descriptor, mode, offset, length);
}

int posix_fallocate(int descriptor, off_t offset, off_t length) {
  return fallocate(descriptor, 0, offset, length) == 0 ? 0 : errno;
}

int posix_fallocate64(int descriptor, off64_t offset, off64_t length) {
  return posix_fallocate(descriptor, offset, length);
}

int fsync(int descriptor) {
  if (watching(descriptor) != file_watched) return (int)syscall(SYS_fsync, descriptor);
  pthread_mutex_lock(&lock);
  return ended(descriptor, syscall(SYS_fsync, descriptor), recorded_flush, 0);
}

int fdatasync(int descriptor) {
  if (watching(descriptor) != file_watched) return (int)syscall(SYS_fdatasync, descriptor);
  pthread_mutex_lock(&lock);
  return ended(descriptor, syscall(SYS_fdatasync, descriptor), recorded_flush, 0);
}

// MARK: - Names

// Records a call on one or two names, if any of them is below the directory.
static int named(
    enum recorded_kind kind, int directory, const char *path, int directory2, const char *path2, long number, int flags,
    mode_t mode) {
  char names[2 * PATH_MAX], first[PATH_MAX], second[PATH_MAX];
  const char *one = output >= 0 && make_absolute(directory, path, first) ? name_below(first) : NULL;
  const char *two = path2 && output >= 0 && make_absolute(directory2, path2, second) ? name_below(second) : NULL;
  int is_watched = one || two;
  if (is_watched && path2 && !(one && two)) give_up("a file was moved into or out of the recorded directory\n");
  if (is_watched) pthread_mutex_lock(&lock);
  long result = number == SYS_mkdirat     ? syscall(number, directory, path, mode)
                : number == SYS_unlinkat  ? syscall(number, directory, path, flags)
                                          : syscall(number, directory, path, directory2, path2, flags);
  int code = errno;
  if (is_watched) {
    size_t length = strlen(one);
    memcpy(names, one, length + 1);
    if (two) {
      strcpy(names + length + 1, two);
      length += 1 + strlen(two);
    }
    if (result == 0) record(kind, 0, -1, 0, names, length, NULL, 0, 0);
    pthread_mutex_unlock(&lock);
  }
  errno = code;
  return (int)result;
}

int renameat2(int from, const char *path, int to, const char *path2, unsigned int flags) {
  return named(recorded_rename, from, path, to, path2, SYS_renameat2, (int)flags, 0);
}

int renameat(int from, const char *path, int to, const char *path2) { return renameat2(from, path, to, path2, 0); }
int rename(const char *path, const char *path2) { return renameat2(AT_FDCWD, path, AT_FDCWD, path2, 0); }

int linkat(int from, const char *path, int to, const char *path2, int flags) {
  return named(recorded_link, from, path, to, path2, SYS_linkat, flags, 0);
}

int link(const char *path, const char *path2) { return linkat(AT_FDCWD, path, AT_FDCWD, path2, 0); }

int unlinkat(int directory, const char *path, int flags) {
  enum recorded_kind kind = flags & AT_REMOVEDIR ? recorded_rmdir : recorded_unlink;
  return named(kind, directory, path, 0, NULL, SYS_unlinkat, flags, 0);
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdirat(int directory, const char *path, mode_t mode) {
  return named(recorded_mkdir, directory, path, 0, NULL, SYS_mkdirat, 0, mode);
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }
