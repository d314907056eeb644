// How many blocks of memory the calling thread has asked for since it began. Linked into a program, this takes the
// place of the C library's functions, for Swift's runtime too, and hands every call on.

#ifndef ALLOCATION_COUNTER_H
#define ALLOCATION_COUNTER_H

#include <stdint.h>

uint64_t allocations_of_this_thread(void);

#endif
