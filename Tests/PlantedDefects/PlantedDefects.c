// Takes one rule away from a shipped program that this is preloaded into (LD_PRELOAD), to see that the scenario which is
// about that rule turns red. It stands between the program and SQLite, or its clock: nothing in the program knows of it.
//
//   PORTCULLIS_DEFECT   which rule:
//     no-fence        a gateway takes whatever number a request brings: the floor reads as the lowest there is
//     no-barrier      a gateway answers a raise that comes alone, and does not keep it: its commit is a rollback
//     no-incarnation  a gateway compares numbers alone: the floor reads as the first incarnation's
//     early-expiry    a core ends leases at half their time: its clock for leases runs twice as fast
//
// A name that is none of these ends the program with 70: a test without its defect would show nothing.
//
// The first and third change what is read before a transaction writes its floor, and not after: the gateway reads it once
// more before the commit, and would take a difference for a broken file.
//
// Never linked and never installed. Each database has one thread that writes, so what a transaction did is that thread's own.

#define _GNU_SOURCE
#include "PlantedDefects.h"
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum defect { none, no_fence, no_barrier, no_incarnation, early_expiry };

// What the statement that reads a floor looks like, and its columns; see FenceTable.floor in Sources/FencedSQLite.
static const char floor_statement[] = "SELECT cluster, incarnation, number, holder FROM main._fence ";
enum { incarnation_column = 1, number_column = 2 };
// FloorSQL.raise in Sources/FencingCore.
static const char raise_statement[] = "INSERT INTO main._fence(";

static enum defect planted = none;
static struct timespec first_reading;

static int (*libc_clock_gettime)(clockid_t, struct timespec *);
static int (*sqlite_step)(sqlite3_stmt *);
static int64_t (*sqlite_column_int64)(sqlite3_stmt *, int);
static const char *(*sqlite_sql)(sqlite3_stmt *);
static int (*sqlite_stmt_readonly)(sqlite3_stmt *);
static sqlite3 *(*sqlite_db_handle)(sqlite3_stmt *);
static int (*sqlite_exec)(sqlite3 *, const char *, void *, void *, char **);

// Of the transaction of this thread: whether its floor was written, and whether anything else was.
static __thread int has_raised;
static __thread int has_written;

static void give_up(const char *why) {
  static const char name[] = "libplanted_defects: ";
  syscall(SYS_write, 2, name, strlen(name));
  syscall(SYS_write, 2, why, strlen(why));
  syscall(SYS_write, 2, "\n", 1);
  _exit(70);
}

static void *next(const char *name) {
  void *found = dlsym(RTLD_NEXT, name);
  if (!found) give_up(name);
  return found;
}

// Whether this is the command that the defect is for: all processes of a run inherit the environment.
static int is_command(const char *command) {
  char line[4096];
  int file = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
  ssize_t size = file < 0 ? -1 : read(file, line, sizeof line - 1);
  if (file >= 0) close(file);
  if (size <= 0) return 0;
  line[size] = 0;
  const char *first = line + strlen(line) + 1;
  return first < line + size && strcmp(first, command) == 0;
}

__attribute__((constructor)) static void begin(void) {
  libc_clock_gettime = (int (*)(clockid_t, struct timespec *))next("clock_gettime");
  const char *name = getenv("PORTCULLIS_DEFECT");
  if (!name) give_up("PORTCULLIS_DEFECT names no defect");
  enum defect wanted = none;
  if (strcmp(name, "no-fence") == 0) wanted = no_fence;
  if (strcmp(name, "no-barrier") == 0) wanted = no_barrier;
  if (strcmp(name, "no-incarnation") == 0) wanted = no_incarnation;
  if (strcmp(name, "early-expiry") == 0) wanted = early_expiry;
  if (wanted == none) give_up("PORTCULLIS_DEFECT names a defect that is not known");
  if (!is_command(wanted == early_expiry ? "core" : "gateway")) return;
  libc_clock_gettime(CLOCK_BOOTTIME, &first_reading);
  if (wanted != early_expiry) {
    sqlite_step = (int (*)(sqlite3_stmt *))next("sqlite3_step");
    sqlite_column_int64 = (int64_t(*)(sqlite3_stmt *, int))next("sqlite3_column_int64");
    sqlite_sql = (const char *(*)(sqlite3_stmt *))next("sqlite3_sql");
    sqlite_stmt_readonly = (int (*)(sqlite3_stmt *))next("sqlite3_stmt_readonly");
    sqlite_db_handle = (sqlite3 * (*)(sqlite3_stmt *)) next("sqlite3_db_handle");
    sqlite_exec = (int (*)(sqlite3 *, const char *, void *, void *, char **))next("sqlite3_exec");
  }
  planted = wanted;
}

static int starts(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

// Never NULL, as SQLite's own is for a statement that it made without keeping its text.
static const char *text_of(sqlite3_stmt *statement) {
  const char *text = sqlite_sql(statement);
  return text ? text : "";
}

// MARK: - In the place of SQLite's and libc's

int64_t sqlite3_column_int64(sqlite3_stmt *statement, int column) {
  if (!sqlite_column_int64) sqlite_column_int64 = (int64_t(*)(sqlite3_stmt *, int))next("sqlite3_column_int64");
  int64_t value = sqlite_column_int64(statement, column);
  if ((planted != no_fence && planted != no_incarnation) || has_raised) return value;
  if (!starts(text_of(statement), floor_statement)) return value;
  if (column == incarnation_column) return 1;
  return column == number_column && planted == no_fence ? 1 : value;
}

int sqlite3_step(sqlite3_stmt *statement) {
  if (!sqlite_step) sqlite_step = (int (*)(sqlite3_stmt *))next("sqlite3_step");
  if (planted == none || planted == early_expiry) return sqlite_step(statement);
  const char *sql = text_of(statement);
  int is_commit = strcmp(sql, "COMMIT") == 0;
  int loses = is_commit && planted == no_barrier && has_raised && !has_written;
  if (is_commit || starts(sql, "BEGIN") || strcmp(sql, "ROLLBACK") == 0) {
    has_raised = has_written = 0;
  } else if (starts(sql, raise_statement)) {
    has_raised = 1;
  } else if (!sqlite_stmt_readonly(statement)) {
    has_written = 1;
  }
  if (!loses) return sqlite_step(statement);
  int code = sqlite_exec(sqlite_db_handle(statement), "ROLLBACK", NULL, NULL, NULL);
  return code == SQLITE_OK ? SQLITE_DONE : code;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  if (!libc_clock_gettime) libc_clock_gettime = (int (*)(clockid_t, struct timespec *))next("clock_gettime");
  int code = libc_clock_gettime(clock, now);
  if (planted != early_expiry || clock != CLOCK_BOOTTIME || code != 0) return code;
  int64_t passed = (now->tv_sec - first_reading.tv_sec) * 1000000000LL + (now->tv_nsec - first_reading.tv_nsec);
  int64_t shown = now->tv_sec * 1000000000LL + now->tv_nsec + passed;
  now->tv_sec = shown / 1000000000;
  now->tv_nsec = shown % 1000000000;
  return code;
}
