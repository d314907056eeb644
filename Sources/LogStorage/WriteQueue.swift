// Owns what waits to be written, and the sleep of the writer's thread while nothing does.
//
// It must never hand a compaction over before the persists that were submitted ahead of it.

import Glibc
import RaftCore

/// What is there to do at once.
struct Work {
  var persists: [Persist] = []
  var compactsBefore: Index?
  var isEmpty: Bool { persists.isEmpty && compactsBefore == nil }
}

/// `@unchecked Sendable`: every variable is only touched while `mutex` is held; mutex and condition are at fixed
/// addresses for the object's whole life.
final class WriteQueue: @unchecked Sendable {
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private var waiting: [Persist] = []
  private var compactsBefore: Index?
  private var newestSequence: UInt64?
  private var isEnding = false
  private var isRefusing = false

  init() {
    precondition(pthread_mutex_init(mutex, nil) == 0, "no mutex could be made")
    var attributes = pthread_condattr_t()
    pthread_condattr_init(&attributes)
    defer { pthread_condattr_destroy(&attributes) }
    // Waits are by a clock that nobody sets.
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    precondition(pthread_cond_init(changed, &attributes) == 0, "no condition could be made")
  }

  deinit {
    pthread_cond_destroy(changed)
    pthread_mutex_destroy(mutex)
    changed.deallocate()
    mutex.deallocate()
  }

  func append(_ persist: Persist) {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    guard !isEnding, !isRefusing else { return }
    precondition(
      newestSequence.map { $0 < persist.sequence } ?? true,
      "sequence \(persist.sequence) was submitted behind \(newestSequence ?? 0)")
    newestSequence = persist.sequence
    waiting.append(persist)
    // The thread sleeps only while nothing waits, so that the first one is the one to wake it.
    if waiting.count == 1 { pthread_cond_signal(changed) }
  }

  func compact(before index: Index) {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    guard !isEnding, !isRefusing else { return }
    compactsBefore = max(compactsBefore ?? index, index)
    pthread_cond_signal(changed)
  }

  /// Everything that waits, as soon as there is something; nothing when there was nothing for so long; nil when there
  /// never will be anything.
  func take(waitingMilliseconds patience: Int?) -> Work? {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    let deadline = patience.map(Self.instant(inMilliseconds:))
    while waiting.isEmpty, compactsBefore == nil, !isEnding {
      if var deadline {
        if pthread_cond_timedwait(changed, mutex, &deadline) == ETIMEDOUT { break }
      } else {
        pthread_cond_wait(changed, mutex)
      }
    }
    if isEnding, waiting.isEmpty, compactsBefore == nil { return nil }
    var work = Work(compactsBefore: compactsBefore)
    work.persists.reserveCapacity(waiting.capacity)
    swap(&work.persists, &waiting)
    compactsBefore = nil
    return work
  }

  private static func instant(inMilliseconds milliseconds: Int) -> timespec {
    let instant = MonotonicClock.nanoseconds() + UInt64(milliseconds) * 1_000_000
    return timespec(tv_sec: Int(instant / 1_000_000_000), tv_nsec: Int(instant % 1_000_000_000))
  }

  func refuseEverything() {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    isRefusing = true
    waiting = []
    compactsBefore = nil
  }

  func end() {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    isEnding = true
    pthread_cond_signal(changed)
  }
}
