// What a rest costs: one thread wakes another after pauses of given length, which then reads as much memory as a thread of a node may
// need. Prints, for each length, how long it took from waking to running, and how long the reading.
//
// Each thread has a processor of its own. With an argument a third one keeps the woken one's processor from resting, at the lowest
// priority, so that the thread's own rest is left. In C, for Swift's Glibc has no call that gives a thread its processor.

#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { BYTES = 256 << 10, LINE = 64, MOST = 1500 };

static uint8_t memory[BYTES];
static int wake, done;
static volatile uint64_t sent;
static uint64_t woken[MOST], reading[MOST];
static volatile int turn;

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void check(int holds, const char *what) {
  if (holds) return;
  perror(what);
  exit(1);
}

static void pin(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  check(sched_setaffinity(0, sizeof set, &set) == 0, "two processors are needed");
}

static void *sleeper(void *unused) {
  pin(1);
  volatile uint64_t sum = 0;
  for (uint64_t count; read(wake, &count, sizeof count) == sizeof count;) {
    uint64_t start = now();
    woken[turn] = start - sent;
    for (int place = 0; place < BYTES; place += LINE) sum += memory[place];
    reading[turn] = now() - start;
    check(eventfd_write(done, 1) == 0, "eventfd");
  }
  return unused;
}

static void *filler(void *unused) {
  pin(1);
  struct sched_param parameters = {0};
  check(sched_setscheduler(0, SCHED_IDLE, &parameters) == 0, "the lowest priority");
  for (volatile uint64_t turns = 0;; turns++) {}
  return unused;
}

static int rising(const void *one, const void *other) {
  uint64_t left = *(const uint64_t *)one, right = *(const uint64_t *)other;
  return (left > right) - (left < right);
}

int main(int arguments, char **values) {
  (void)values;
  wake = eventfd(0, 0);
  done = eventfd(0, 0);
  check(wake >= 0 && done >= 0, "eventfd");
  for (int place = 0; place < BYTES; place++) memory[place] = (uint8_t)place;
  pthread_t thread;
  check(pthread_create(&thread, NULL, sleeper, NULL) == 0, "a thread");
  if (arguments > 1) check(pthread_create(&thread, NULL, filler, NULL) == 0, "a thread");
  pin(0);
  const long pauses[] = {50, 200, 800, 1600, 3200, 6400, 20000};
  for (unsigned place = 0; place < sizeof pauses / sizeof *pauses; place++) {
    int count = pauses[place] > 3000 ? 300 : MOST;
    for (turn = 0; turn < count; turn++) {
      struct timespec pause = {0, pauses[place] * 1000};
      nanosleep(&pause, NULL);
      sent = now();
      eventfd_t value;
      check(eventfd_write(wake, 1) == 0 && eventfd_read(done, &value) == 0, "eventfd");
    }
    qsort(woken, (size_t)count, sizeof *woken, rising);
    qsort(reading, (size_t)count, sizeof *reading, rising);
    printf("pause %6ld us: wakes in %3.0f us (p50), %3.0f us (p90); reads 256 KiB in %4.1f us (p50)\n", pauses[place],
           woken[count / 2] / 1e3, woken[count * 9 / 10] / 1e3, reading[count / 2] / 1e3);
  }
  return 0;
}
