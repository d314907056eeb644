// Keeps a thread's work below a number of bytes in a second, in short steps: a long burst behind a long pause would have
// the same mean and hold up others for the length of the burst.

import Glibc

struct Pace {
  private let bytesPerSecond: Int
  private var dueNanoseconds = MachineClock.monotonicNanoseconds

  init(bytesPerSecond: Int) {
    precondition(bytesPerSecond > 0, "a pace of nothing never ends")
    self.bytesPerSecond = bytesPerSecond
  }

  /// Sleeps until as many bytes as these may have been moved.
  mutating func moved(_ bytes: Int) {
    let now = MachineClock.monotonicNanoseconds
    // Time in which nothing was moved is not made up for.
    dueNanoseconds = max(dueNanoseconds, now) + UInt64(bytes) * 1_000_000_000 / UInt64(bytesPerSecond)
    let pause = dueNanoseconds - now
    var left = timespec(tv_sec: Int(pause / 1_000_000_000), tv_nsec: Int(pause % 1_000_000_000))
    var wanted = left
    while nanosleep(&wanted, &left) != 0, errno == EINTR { wanted = left }
  }
}
