// The form of a control file: 64-bit words in the machine's own order, at these places. A test maps or writes the file;
// the library maps it shared, so that a change is seen by every process that was started with it.
//
// A file of zeros of `fault_control_bytes` is a control without faults. Tests have these numbers once more: whoever
// linked this library would be under its faults.
#pragma once

enum fault_word {
  // What is to happen.

  /// Each flush takes this much longer, in microseconds, before the disk is asked.
  fault_flush_delay_us = 0,
  /// While it is not zero, flushes wait; `fault_flushes_held` says how many do.
  fault_hold_flushes = 1,
  /// The errno that a flush gives in place of flushing (5: EIO), or zero.
  fault_flush_error = 2,
  /// So many flushes pass before `fault_flush_error` begins. Counted down.
  fault_flushes_to_pass = 3,
  /// No more are given when `fault_flush_errors` has come to this; zero is no bound.
  fault_flush_errors_at_most = 4,
  /// The errno of whatever writes to a file or makes it longer (28: ENOSPC), or zero; and the same two for it.
  fault_write_error = 5,
  fault_writes_to_pass = 6,
  fault_write_errors_at_most = 7,
  /// Signed: how far the wall clock is ahead of the machine's, in nanoseconds.
  fault_wall_clock_offset_ns = 8,

  // What has happened. Only counted up, by the library.

  /// Processes that have this control.
  fault_attached = 16,
  /// Flushes of files that the faults are for, whether or not anything was done to them.
  fault_flushes = 17,
  fault_flushes_delayed = 18,
  fault_flush_errors = 19,
  fault_write_errors = 20,
  /// Flushes that wait now. One that is killed stays counted.
  fault_flushes_held = 21,
};

enum { fault_words = 32, fault_control_bytes = 32 * 8 };
