// Owns every look at a clock and every sleep of the generator. The one file of this room that calls the C library for
// time.
//
// All instants are nanoseconds of CLOCK_MONOTONIC, which is also what the event loops count in.

import Glibc

enum MonotonicClock {
  static func nanoseconds() -> UInt64 { read(CLOCK_MONOTONIC) }

  /// CPU time of the calling thread.
  static func threadCPUNanoseconds() -> UInt64 { read(CLOCK_THREAD_CPUTIME_ID) }

  /// CPU time of the whole process.
  static func processCPUNanoseconds() -> UInt64 { read(CLOCK_PROCESS_CPUTIME_ID) }

  /// Blocks the calling thread until the instant. Absolute, so that a wake-up that comes late does not push back those
  /// after it. May return early, when a signal arrives.
  static func sleep(untilNanoseconds instant: UInt64) {
    var time = timespec(tv_sec: Int(instant / 1_000_000_000), tv_nsec: Int(instant % 1_000_000_000))
    _ = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nil)
  }

  private static func read(_ clock: clockid_t) -> UInt64 {
    var time = timespec()
    let code = clock_gettime(clock, &time)
    precondition(code == 0, "the kernel has no clock \(clock), which every Linux since 2.6.12 has")
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }

  /// Now, in UTC, as ISO 8601 to the second.
  static func wallClock() -> String {
    var seconds = time(nil)
    var parts = tm()
    guard gmtime_r(&seconds, &parts) != nil else { return "unknown" }
    func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
    return "\(parts.tm_year + 1_900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
      + "T\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))Z"
  }
}
