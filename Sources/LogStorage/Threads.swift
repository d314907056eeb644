// Owns the two things of the system that the log asks of it besides files: which thread this is, and what time it is.

import Glibc

/// Which thread is running.
struct ThreadIdentity: Sendable, Equatable {
  private let thread: pthread_t

  static var current: ThreadIdentity { ThreadIdentity(thread: pthread_self()) }
}

/// The clock that flushes are timed with. It never goes back, and means nothing across a restart of the machine.
package enum MonotonicClock {
  package static func nanoseconds() -> UInt64 {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
  }
}
