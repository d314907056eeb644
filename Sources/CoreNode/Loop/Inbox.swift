// The one way into the loop's thread: a queue that any thread appends to and the loop takes whole.
//
// Taking everything at once is what makes batches: while one group of entries is on its way to disk, the next gathers
// here. A wake-up costs a system call, so only the append that finds the loop asleep pays for one.

import Glibc

/// Any thread may append; one thread takes. `@unchecked Sendable`: every access to the stored properties is between
/// `pthread_mutex_lock` and `pthread_mutex_unlock` on `mutex`.
final class Inbox<Work: Sendable>: @unchecked Sendable {
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let condition: UnsafeMutablePointer<pthread_cond_t>
  private var queued: [Work] = []
  private var isAsleep = false

  init() {
    mutex = .allocate(capacity: 1)
    condition = .allocate(capacity: 1)
    pthread_mutex_init(mutex, nil)
    var attributes = pthread_condattr_t()
    pthread_condattr_init(&attributes)
    // Timeouts must not move with the wall clock.
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    pthread_cond_init(condition, &attributes)
    pthread_condattr_destroy(&attributes)
  }

  deinit {
    pthread_cond_destroy(condition)
    pthread_mutex_destroy(mutex)
    condition.deallocate()
    mutex.deallocate()
  }

  func append(_ work: Work) {
    pthread_mutex_lock(mutex)
    queued.append(work)
    let wake = isAsleep
    isAsleep = false
    pthread_mutex_unlock(mutex)
    if wake { pthread_cond_signal(condition) }
  }

  /// Swaps everything that is queued into `taken`, which must be empty, waiting until there is something or the
  /// monotonic clock reaches `deadlineNanoseconds`.
  func take(into taken: inout [Work], untilNanoseconds deadlineNanoseconds: UInt64) {
    precondition(taken.isEmpty, "work taken before must be done first")
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    if queued.isEmpty {
      var deadline = timespec(
        tv_sec: Int(deadlineNanoseconds / 1_000_000_000), tv_nsec: Int(deadlineNanoseconds % 1_000_000_000))
      isAsleep = true
      while queued.isEmpty, isAsleep {
        if pthread_cond_timedwait(condition, mutex, &deadline) == ETIMEDOUT { break }
      }
      isAsleep = false
    }
    swap(&queued, &taken)
  }
}

/// Readings of the machine's clocks.
enum MachineClock {
  /// For timeouts: stops while the machine is suspended.
  static var monotonicNanoseconds: UInt64 { read(CLOCK_MONOTONIC) }
  /// For leases: goes on while the machine is suspended, and never jumps with the wall clock.
  static var bootTimeMilliseconds: UInt64 { read(CLOCK_BOOTTIME) / 1_000_000 }
  /// For the dates in tokens alone.
  static var wallSeconds: Int64 { Int64(read(CLOCK_REALTIME) / 1_000_000_000) }

  private static func read(_ clock: clockid_t) -> UInt64 {
    var now = timespec()
    clock_gettime(clock, &now)
    return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
  }
}
