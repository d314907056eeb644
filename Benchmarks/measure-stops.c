// How often both of the first two processors stand still, which only what lies below the machine can do: a thread on each of them,
// above all others, that wants to wake every millisecond.
//
//   stops SECONDS
//
// Prints the stops a second, their median and greatest length, what share of the time they are, and how many of them end at the
// same place of a period of 100 ms: nearly all do where a quota is used up, and one or a few where it is chance.

#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { processors = 2, most = 100000 };
static const uint64_t step = 1000000, period = 100000000, shortest = 700000;

struct gap {
  uint64_t from, until;
};
static struct gap gaps[processors][most];
static int found[processors];
static uint64_t length;

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void *watch(void *argument) {
  long place = (long)argument;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(place, &set);
  struct sched_param first = {.sched_priority = 50};
  if (pthread_setaffinity_np(pthread_self(), sizeof set, &set) ||
      pthread_setschedparam(pthread_self(), SCHED_FIFO, &first)) {
    fputs("stops: needs two processors, and the right to a real-time priority (run it as root)\n", stderr);
    exit(77);
  }
  uint64_t due = now(), end = due + length;
  while (due < end) {
    due += step;
    struct timespec time = {(time_t)(due / 1000000000), (long)(due % 1000000000)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
    uint64_t woke = now();
    if (woke < due + shortest) continue;
    if (found[place] < most) gaps[place][found[place]++] = (struct gap){due, woke};
    due = woke;
  }
  return NULL;
}

static int compare(const void *one, const void *other) {
  uint64_t a = *(const uint64_t *)one, b = *(const uint64_t *)other;
  return a < b ? -1 : a > b;
}

/// How many end within 2 ms of one another, wherever most of them do.
static int together(const uint64_t *ends, int count) {
  int best = 0;
  for (int one = 0; one < count; one++) {
    int near = 0;
    for (int other = 0; other < count; other++) {
      near += (ends[other] + period - ends[one] % period) % period < 2 * step;
    }
    if (near > best) best = near;
  }
  return best;
}

int main(int count, char **arguments) {
  double seconds = count == 2 ? atof(arguments[1]) : 0;
  if (seconds <= 0) return fputs("usage: stops SECONDS\n", stderr), 64;
  length = (uint64_t)(seconds * 1e9);
  pthread_t threads[processors];
  for (long place = 0; place < processors; place++) pthread_create(&threads[place], NULL, watch, (void *)place);
  for (int place = 0; place < processors; place++) pthread_join(threads[place], NULL);
  static uint64_t lengths[most], ends[most];
  uint64_t sum = 0;
  int stops = 0;
  for (int one = 0; one < found[0]; one++) {
    for (int other = 0; other < found[1] && stops < most; other++) {
      struct gap a = gaps[0][one], b = gaps[1][other];
      uint64_t from = a.from > b.from ? a.from : b.from, until = a.until < b.until ? a.until : b.until;
      if (until < from + shortest) continue;
      lengths[stops] = until - from;
      ends[stops++] = until % period;
      sum += until - from;
    }
  }
  qsort(lengths, (size_t)stops, sizeof *lengths, compare);
  printf("%.1f stops a second, %.1f ms at the median and %.1f at most, %.1f %% of the time; %d of %d end together\n",
         stops / seconds, stops ? (double)lengths[stops / 2] / 1e6 : 0, stops ? (double)lengths[stops - 1] / 1e6 : 0,
         100 * (double)sum / (seconds * 1e9), together(ends, stops), stops);
  return 0;
}
