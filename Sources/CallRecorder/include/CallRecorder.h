// The form of a recording. CrashStates (Recording.swift) reads it, and being pure has these numbers once more.
//
// A recording is a sequence of records: this header, `name_bytes` of a path (two with a zero between them where a call
// takes two), then `data_bytes` of data. Integers are in the machine's own order; a recording does not travel.
#pragma once
#include <stdint.h>

struct recorded_call {
  uint32_t magic;
  uint8_t kind;
  uint8_t flags;
  uint16_t name_bytes;
  int32_t descriptor;
  uint32_t data_bytes;
  /// Where a write begins, how long a file becomes, or the other descriptor of a dup.
  uint64_t position;
};

enum { recorded_call_magic = 0x4C4C4143 };

enum recorded_kind {
  recorded_open = 1,
  recorded_close = 2,
  recorded_write = 3,
  recorded_truncate = 4,
  recorded_flush = 5,
  recorded_rename = 6,
  recorded_unlink = 7,
  recorded_mkdir = 8,
  recorded_rmdir = 9,
  recorded_link = 10,
  recorded_mark = 11,
  recorded_dup = 12,
  recorded_allocate = 13,
  /// The file was mapped for shared writing: what it holds is no longer known from calls.
  recorded_map = 14,
};

enum recorded_flag {
  recorded_creates = 1,
  recorded_truncates = 2,
  /// Each write is durable when it returns (O_DSYNC, O_SYNC).
  recorded_is_synchronous = 4,
  recorded_is_directory = 8,
};
