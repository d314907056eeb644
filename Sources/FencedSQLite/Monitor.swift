// Threads of our own and the one way in which they wait: a lock with a condition.
//
// Owns the only unchecked concurrency of this room. Must never be waited on from the cooperative pool: SQLite's
// threads wait here, everybody else only enters and leaves.

import Glibc

/// A value behind a lock, with a condition to wait on.
///
/// `@unchecked Sendable`: `state` is touched only in `withLock` and `wait(for:)`, both of which hold `mutex`; the
/// two pointers are set once in `init` and freed in `deinit`, when no other reference is left.
final class Monitor<State: Sendable>: @unchecked Sendable {
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private var state: State

  init(_ state: State) {
    self.state = state
    let mutexResult = pthread_mutex_init(mutex, nil)
    // Deadlines are those of `MonotonicClock`, which nobody sets.
    var attributes = pthread_condattr_t()
    pthread_condattr_init(&attributes)
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    let conditionResult = pthread_cond_init(condition, &attributes)
    pthread_condattr_destroy(&attributes)
    precondition(mutexResult == 0 && conditionResult == 0, "no memory for a lock")
  }

  deinit {
    pthread_cond_destroy(condition)
    pthread_mutex_destroy(mutex)
    condition.deallocate()
    mutex.deallocate()
  }

  /// Changes the state and wakes whoever waits for it to change.
  func withLock<Value>(_ body: (inout State) -> Value) -> Value {
    pthread_mutex_lock(mutex)
    defer {
      pthread_cond_broadcast(condition)
      pthread_mutex_unlock(mutex)
    }
    return body(&state)
  }

  /// Looks at the state without waking anybody.
  func read<Value>(_ body: (State) -> Value) -> Value {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return body(state)
  }

  /// Blocks this thread until `body` answers something.
  func wait<Value>(for body: (inout State) -> Value?) -> Value {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    while true {
      if let value = body(&state) { return value }
      pthread_cond_wait(condition, mutex)
    }
  }

  /// Blocks this thread until `body` answers something, or for `nanoseconds`; then answers `nil`.
  func wait<Value>(atMostNanoseconds nanoseconds: UInt64, for body: (inout State) -> Value?) -> Value? {
    var deadline = timespec()
    clock_gettime(CLOCK_MONOTONIC, &deadline)
    let sum = UInt64(deadline.tv_nsec) + nanoseconds
    deadline.tv_sec += Int(sum / 1_000_000_000)
    deadline.tv_nsec = Int(sum % 1_000_000_000)
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    while true {
      if let value = body(&state) { return value }
      if pthread_cond_timedwait(condition, mutex, &deadline) == ETIMEDOUT { return body(&state) }
    }
  }
}

/// A thread that is not one of the cooperative pool's, for work that blocks.
enum DedicatedThread {
  private final class Start {
    let body: @Sendable () -> Void

    init(body: @escaping @Sendable () -> Void) { self.body = body }
  }

  /// Starts a thread; answers `false` where the system has none to give.
  static func start(_ body: @escaping @Sendable () -> Void) -> Bool {
    let start = Unmanaged.passRetained(Start(body: body))
    var thread = pthread_t()
    let result = pthread_create(
      &thread, nil,
      { argument in
        guard let argument else { return nil }
        let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
        start.body()
        return nil
      }, start.toOpaque())
    guard result == 0 else {
      start.release()
      return false
    }
    pthread_detach(thread)
    return true
  }
}

/// The clock of deadlines within this room: it is compared only with itself.
package enum MonotonicClock {
  private static let origin = SuspendingClock.now

  package static var nanoseconds: UInt64 {
    let elapsed = origin.duration(to: .now).components
    return UInt64(max(0, elapsed.seconds)) * 1_000_000_000 + UInt64(max(0, elapsed.attoseconds / 1_000_000_000))
  }
}

/// The wall clock, for the expiry of tokens and for the record of when a floor was raised; never for order.
package enum WallClock {
  package static var seconds: Int64 { Int64(time(nil)) }
}
