// Makes the disk slow, full or broken, and the wall clock wrong, for a program that it is preloaded into (LD_PRELOAD). In C
// because what it stands in for are libc's own functions.
//
// The fixed case, for measuring beside each other with one and the same cost of a flush:
//
//   PORTCULLIS_FAULT_FLUSH_DELAY_US   added to each flush
//   PORTCULLIS_FAULT_FLUSH_ERROR      the errno that each flush gives
//   PORTCULLIS_FAULT_WRITE_ERROR      the errno that each write to a file gives
//   PORTCULLIS_FAULT_CLOCK_OFFSET_S   the wall clock's lead, in seconds; may be negative
//
// To change faults in a program that runs, a control file (FaultInjector.h) in their place:
//
//   PORTCULLIS_FAULT_CONTROL          a path; the file is there and has fault_control_bytes
//
// And for both, which files are meant:
//
//   PORTCULLIS_FAULT_BELOW            a directory, or one file; without it every regular file
//
// A flush is fsync, fdatasync, sync_file_range, msync with MS_SYNC, and each write to a file that was opened with O_DSYNC.
// A write is write, writev, pwrite, pwritev, fallocate, posix_fallocate, and an ftruncate that makes the file longer.
//
// A setting that cannot be read ends the program with 70: a test under faults that are not there would say nothing.
//
// Which descriptor is meant: it is asked of the system by fstat and, once for each descriptor and file, by the name in
// /proc/self/fd. The answer is kept with device and inode, so a descriptor that meanwhile is another file is looked up
// again even where it was closed unseen. Why that is safe on many threads: each descriptor's entry is one word. While no
// fault is on, a write costs the reading of one word more than without this library, and a flush an fstat.
//
// What it cannot see: calls that are not made through libc's names. Programs in Go (etcd) make them by number, and so does
// io_uring; stdio writes inside libc. Writes through a mapping are never refused. Timers that the kernel keeps by the wall
// clock do not jump with it. Nothing here allocates or takes a lock.

#define _GNU_SOURCE
#include "FaultInjector.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static uint64_t fixed[fault_words];
static uint64_t *control = fixed;
static char below[PATH_MAX];
static size_t below_length;

static uint64_t get(enum fault_word word) { return __atomic_load_n(&control[word], __ATOMIC_RELAXED); }

static void add(enum fault_word word, uint64_t count) {
  __atomic_fetch_add(&control[word], count, __ATOMIC_RELAXED);
}

// Takes one from a count that is not zero. Returns whether there was one.
static int take(enum fault_word word) {
  uint64_t seen = get(word);
  while (seen > 0 &&
         !__atomic_compare_exchange_n(&control[word], &seen, seen - 1, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return seen > 0;
}

// MARK: - Settings

typedef int (*clock_function)(clockid_t, struct timespec *);
static clock_function clock_of_libc;

static void give_up(const char *name, const char *why) {
  const char *parts[] = {"libportcullis_faults: ", name, " ", why, "\n"};
  for (int i = 0; i < 5; i += 1) syscall(SYS_write, 2, parts[i], strlen(parts[i]));
  _exit(70);
}

static int64_t number(const char *name) {
  const char *text = getenv(name);
  if (!text) return 0;
  char *end = NULL;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  if (errno != 0 || end == text || *end != 0) give_up(name, "is not a number");
  return value;
}

__attribute__((constructor)) static void begin(void) {
  clock_of_libc = (clock_function)dlsym(RTLD_NEXT, "clock_gettime");
  const char *directory = getenv("PORTCULLIS_FAULT_BELOW");
  if (directory) {
    if (directory[0] != '/' || strlen(directory) >= sizeof below) give_up("PORTCULLIS_FAULT_BELOW", "is no absolute path");
    // The system's names are without links. Of what is not there yet, its directory is.
    if (!realpath(directory, below)) {
      const char *name = strrchr(directory, '/') + 1;
      char parent[PATH_MAX];
      memcpy(parent, directory, (size_t)(name - directory));
      parent[name - directory] = 0;
      if (!realpath(parent, below) || strlen(below) + strlen(name) + 2 > sizeof below)
        give_up("PORTCULLIS_FAULT_BELOW", "is in no directory");
      if (strcmp(below, "/") != 0) strcat(below, "/");
      strcat(below, name);
    }
    below_length = strlen(below);
    while (below_length > 0 && below[below_length - 1] == '/') below_length -= 1;
  }
  const char *path = getenv("PORTCULLIS_FAULT_CONTROL");
  if (!path) {
    fixed[fault_flush_delay_us] = (uint64_t)number("PORTCULLIS_FAULT_FLUSH_DELAY_US");
    fixed[fault_flush_error] = (uint64_t)number("PORTCULLIS_FAULT_FLUSH_ERROR");
    fixed[fault_write_error] = (uint64_t)number("PORTCULLIS_FAULT_WRITE_ERROR");
    fixed[fault_wall_clock_offset_ns] = (uint64_t)(number("PORTCULLIS_FAULT_CLOCK_OFFSET_S") * 1000000000);
    return;
  }
  int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
  struct stat found;
  if (file < 0 || fstat(file, &found) != 0 || found.st_size < fault_control_bytes)
    give_up("PORTCULLIS_FAULT_CONTROL", "names no control file (FaultInjector.h has its form)");
  void *mapped = mmap(NULL, fault_control_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (mapped == MAP_FAILED) give_up("PORTCULLIS_FAULT_CONTROL", "cannot be mapped");
  syscall(SYS_close, file);
  control = mapped;
  add(fault_attached, 1);
}

// MARK: - Which files

enum meant { not_looked_up = 0, not_meant = 1, meant = 2, meant_and_synchronous = 3 };
enum { descriptors_kept = 4096 };

// For each descriptor: device and inode, mixed, and in the last two bits what was found.
static uint64_t kept[descriptors_kept];

static int is_below(const char *path, size_t length) {
  return length >= below_length && memcmp(path, below, below_length) == 0 &&
         (length == below_length || path[below_length] == '/');
}

static enum meant look_up(int descriptor) {
  if (below_length > 0) {
    char link[32] = "/proc/self/fd/", name[PATH_MAX];
    char digits[12];
    int count = 0;
    for (unsigned rest = (unsigned)descriptor; count == 0 || rest > 0; rest /= 10)
      digits[count++] = (char)('0' + rest % 10);
    size_t end = strlen(link);
    while (count > 0) link[end++] = digits[--count];
    link[end] = 0;
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, name, sizeof name);
    if (length <= 0 || !is_below(name, (size_t)length)) return not_meant;
  }
  return syscall(SYS_fcntl, descriptor, F_GETFL) & O_DSYNC ? meant_and_synchronous : meant;
}

// Leaves errno as it was.
static enum meant file_of(int descriptor) {
  int code = errno;
  enum meant answer = not_meant;
  struct stat found;
  if (descriptor >= 0 && fstat(descriptor, &found) == 0 && S_ISREG(found.st_mode)) {
    uint64_t identity = ((uint64_t)found.st_ino * 0x9E3779B97F4A7C15 ^ (uint64_t)found.st_dev * 0xC2B2AE3D27D4EB4F) & ~3ull;
    uint64_t seen = descriptor < descriptors_kept ? __atomic_load_n(&kept[descriptor], __ATOMIC_RELAXED) : 0;
    if ((seen & 3) != not_looked_up && (seen & ~3ull) == identity) {
      answer = (enum meant)(seen & 3);
    } else {
      answer = look_up(descriptor);
      if (descriptor < descriptors_kept) __atomic_store_n(&kept[descriptor], identity | answer, __ATOMIC_RELAXED);
    }
  }
  errno = code;
  return answer;
}

// An inode's number is given again to a new file when the old one is gone, and one file may be opened in two ways: so what
// was kept ends with the descriptor, where that can be seen.
static void forget(int descriptor) {
  if (descriptor < 0 || descriptor >= descriptors_kept) return;
  if (__atomic_load_n(&kept[descriptor], __ATOMIC_RELAXED) != 0)
    __atomic_store_n(&kept[descriptor], 0, __ATOMIC_RELAXED);
}

int close(int descriptor) {
  forget(descriptor);
  return (int)syscall(SYS_close, descriptor);
}

int dup3(int descriptor, int to, int flags) {
  forget(to);
  return (int)syscall(SYS_dup3, descriptor, to, flags);
}

int dup2(int descriptor, int to) {
  // The same descriptor twice is for dup2 a question whether it is open, and for dup3 an error.
  if (descriptor == to) return syscall(SYS_fcntl, descriptor, F_GETFD) < 0 ? -1 : to;
  return dup3(descriptor, to, 0);
}

// MARK: - Faults

static void pause_for(uint64_t microseconds) {
  struct timespec left = {(time_t)(microseconds / 1000000), (long)(microseconds % 1000000 * 1000)};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
}

// The error that a call gets: the errno, or zero.
static int error_now(enum fault_word error, enum fault_word to_pass, enum fault_word at_most, enum fault_word given) {
  uint64_t code = get(error);
  if (code == 0 || take(to_pass)) return 0;
  uint64_t before = __atomic_fetch_add(&control[given], 1, __ATOMIC_RELAXED), bound = get(at_most);
  if (bound == 0 || before < bound) return (int)code;
  add(given, UINT64_MAX);
  return 0;
}

// What a flush of a file that is meant goes through before the disk is asked. Returns zero, or the errno that it gets.
static int before_flush(void) {
  int code = errno;
  add(fault_flushes, 1);
  if (get(fault_hold_flushes) != 0) {
    add(fault_flushes_held, 1);
    while (get(fault_hold_flushes) != 0) pause_for(500);
    add(fault_flushes_held, UINT64_MAX);
  }
  uint64_t delay = get(fault_flush_delay_us);
  if (delay > 0) {
    pause_for(delay);
    add(fault_flushes_delayed, 1);
  }
  errno = code;
  return error_now(fault_flush_error, fault_flushes_to_pass, fault_flush_errors_at_most, fault_flush_errors);
}

static int before_write(void) {
  return error_now(fault_write_error, fault_writes_to_pass, fault_write_errors_at_most, fault_write_errors);
}

// The errno that a write to this descriptor gets, or zero. Where no fault is on it asks nothing of the system.
static int fault_of_write(int descriptor) {
  uint64_t flushes_are_hit = get(fault_flush_delay_us) | get(fault_hold_flushes) | get(fault_flush_error);
  if ((flushes_are_hit | get(fault_write_error)) == 0) return 0;
  enum meant file = file_of(descriptor);
  if (file == not_meant) return 0;
  int code = before_write();
  return code == 0 && file == meant_and_synchronous ? before_flush() : code;
}

static int fault_of_flush(int descriptor) { return file_of(descriptor) == not_meant ? 0 : before_flush(); }

static int fails(int code) {
  errno = code;
  return -1;
}

// MARK: - Flushes

int fsync(int descriptor) {
  int code = fault_of_flush(descriptor);
  return code ? fails(code) : (int)syscall(SYS_fsync, descriptor);
}

int fdatasync(int descriptor) {
  int code = fault_of_flush(descriptor);
  return code ? fails(code) : (int)syscall(SYS_fdatasync, descriptor);
}

int sync_file_range(int descriptor, off64_t offset, off64_t count, unsigned int flags) {
  int code = flags & SYNC_FILE_RANGE_WAIT_AFTER ? fault_of_flush(descriptor) : 0;
  return code ? fails(code) : (int)syscall(SYS_sync_file_range, descriptor, offset, count, flags);
}

// Whether the mapping at an address is of a file that is meant: the line of /proc/self/maps that it is in, read byte by
// byte, says its name from the first slash on.
static int is_meant_mapping(uintptr_t address) {
  int maps = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (maps < 0) return 0;
  char chunk[4096], path[PATH_MAX];
  size_t length = 0;
  uintptr_t bounds[2] = {0, 0};
  int field = 0, is_meant = 0, is_over = 0;
  long count;
  while (!is_over && (count = syscall(SYS_read, maps, chunk, sizeof chunk)) > 0) {
    for (long i = 0; i < count && !is_over; i += 1) {
      char byte = chunk[i];
      if (byte == '\n') {
        is_over = address >= bounds[0] && address < bounds[1];
        is_meant = is_over && length > 0 && is_below(path, length);
        bounds[0] = bounds[1] = length = 0;
        field = 0;
      } else if (field < 2) {
        int digit = byte >= 'a' ? byte - 'a' + 10 : byte - '0';
        if (byte == '-' || byte == ' ') field += 1;
        else bounds[field] = bounds[field] << 4 | (uintptr_t)digit;
      } else if ((length > 0 || byte == '/') && length < sizeof path) {
        path[length++] = byte;
      }
    }
  }
  syscall(SYS_close, maps);
  return is_meant;
}

int msync(void *address, size_t length, int flags) {
  int before = errno;
  int code = flags & MS_SYNC && is_meant_mapping((uintptr_t)address) ? before_flush() : 0;
  errno = before;
  return code ? fails(code) : (int)syscall(SYS_msync, address, length, flags);
}

// MARK: - Writes

ssize_t write(int descriptor, const void *bytes, size_t count) {
  int code = fault_of_write(descriptor);
  return code ? fails(code) : syscall(SYS_write, descriptor, bytes, count);
}

ssize_t writev(int descriptor, const struct iovec *parts, int count) {
  int code = fault_of_write(descriptor);
  return code ? fails(code) : syscall(SYS_writev, descriptor, parts, count);
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t count, off64_t at) {
  int code = fault_of_write(descriptor);
  return code ? fails(code) : syscall(SYS_pwrite64, descriptor, bytes, count, at);
}

ssize_t pwritev64(int descriptor, const struct iovec *parts, int count, off64_t at) {
  int code = fault_of_write(descriptor);
  return code ? fails(code) : syscall(SYS_pwritev, descriptor, parts, count, (unsigned long)at, 0UL);
}

// The newer form may ask for a flush of this one write; offset -1 is the descriptor's own place.
ssize_t pwritev64v2(int descriptor, const struct iovec *parts, int count, off64_t at, int flags) {
  int code = fault_of_write(descriptor);
  if (!code && flags & (RWF_DSYNC | RWF_SYNC)) code = fault_of_flush(descriptor);
  return code ? fails(code) : syscall(SYS_pwritev2, descriptor, parts, count, (unsigned long)at, 0UL, flags);
}

ssize_t pwritev2(int descriptor, const struct iovec *parts, int count, off_t at, int flags) {
  return pwritev64v2(descriptor, parts, count, at, flags);
}

ssize_t pwrite(int descriptor, const void *bytes, size_t count, off_t at) {
  return pwrite64(descriptor, bytes, count, at);
}

ssize_t pwritev(int descriptor, const struct iovec *parts, int count, off_t at) {
  return pwritev64(descriptor, parts, count, at);
}

// MARK: - Room

// Only what needs room fails for want of it.
static int fault_of_length(int descriptor, off64_t length) {
  struct stat found;
  int before = errno;
  int is_longer = get(fault_write_error) != 0 && fstat(descriptor, &found) == 0 && length > found.st_size;
  errno = before;
  return is_longer && file_of(descriptor) != not_meant ? before_write() : 0;
}

int ftruncate64(int descriptor, off64_t length) {
  int code = fault_of_length(descriptor, length);
  return code ? fails(code) : (int)syscall(SYS_ftruncate, descriptor, length);
}

int ftruncate(int descriptor, off_t length) { return ftruncate64(descriptor, length); }

int fallocate64(int descriptor, int mode, off64_t offset, off64_t length) {
  int code = get(fault_write_error) != 0 && file_of(descriptor) != not_meant ? before_write() : 0;
  return code ? fails(code) : (int)syscall(SYS_fallocate, descriptor, mode, offset, length);
}

int fallocate(int descriptor, int mode, off_t offset, off_t length) {
  return fallocate64(descriptor, mode, offset, length);
}

// This one returns its error. Where the file system cannot, libc would write zeros; it is not said to here, as SQLite and
// LMDB do without.
int posix_fallocate64(int descriptor, off64_t offset, off64_t length) {
  int before = errno;
  int code = fallocate64(descriptor, 0, offset, length) == 0 ? 0 : errno;
  errno = before;
  return code;
}

int posix_fallocate(int descriptor, off_t offset, off_t length) {
  return posix_fallocate64(descriptor, offset, length);
}

// MARK: - The wall clock

static int64_t wall_clock_offset(void) { return (int64_t)get(fault_wall_clock_offset_ns); }

int clock_gettime(clockid_t clock, struct timespec *time) {
  int result = clock_of_libc ? clock_of_libc(clock, time) : (int)syscall(SYS_clock_gettime, clock, time);
  int64_t offset = wall_clock_offset();
  if (result != 0 || offset == 0 || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return result;
  int64_t nanoseconds = time->tv_nsec + offset % 1000000000;
  int64_t carry = nanoseconds < 0 ? -1 : nanoseconds >= 1000000000 ? 1 : 0;
  time->tv_sec += offset / 1000000000 + carry;
  time->tv_nsec = (long)(nanoseconds - carry * 1000000000);
  return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec time;
  if (zone) memset(zone, 0, sizeof(struct timezone));
  if (clock_gettime(CLOCK_REALTIME, &time) != 0) return -1;
  *now = (struct timeval){time.tv_sec, (suseconds_t)(time.tv_nsec / 1000)};
  return 0;
}

time_t time(time_t *to) {
  struct timespec now;
  if (clock_gettime(CLOCK_REALTIME_COARSE, &now) != 0) return -1;
  if (to) *to = now.tv_sec;
  return now.tv_sec;
}

int timespec_get(struct timespec *time, int base) {
  return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, time) == 0 ? base : 0;
}
