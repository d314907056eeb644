// Owns the thread that writes the log, and the queue in front of it.
//
// Group commit: while one flush is under way everything that is submitted waits, and the next transaction takes all of
// it. The disk's own slowness makes the groups, so there is no timer and nothing to tune.
//
// It must never: run a flush on another thread than its own; report a persist that is not durable; go on after an error
// (a failed flush is never tried again, lmdb.h leaves no way to know what it wrote).
//
// Invariants: persists are written in the order of their sequences; `onPersisted` is called with rising sequences, on
// the writer's thread, after the flush; `onFailure` is called at most once, and nothing is reported after it.

import Glibc
package import RaftCore

/// When one group was written. All by `MonotonicClock`, so that differences between them mean something.
package struct FlushTiming: Sendable, Equatable {
  /// The group was taken from the queue.
  package var beganNanoseconds: UInt64
  /// Every record was in its place, and LMDB was asked to commit.
  package var flushBeganNanoseconds: UInt64
  /// The disk had it.
  package var flushEndedNanoseconds: UInt64
  package var persists: Int
  package var entries: Int
}

package final class LogWriter: Sendable {
  /// More payload than this is not put into one transaction, so that its pages stay in memory until the commit.
  static let maximumGroupBytes = 32 << 20

  private let queue: PersistQueue
  private let thread: WriterThread

  /// Starts the thread. `onPersisted` gets the highest sequence that is durable now; both closures are called on the
  /// writer's thread and hold up the next flush while they run.
  package init(
    storage: LogStorage,
    onPersisted: @escaping @Sendable (_ sequence: UInt64, _ timing: FlushTiming) -> Void,
    onFailure: @escaping @Sendable (StorageError) -> Void
  ) {
    let queue = PersistQueue()
    self.queue = queue
    thread = WriterThread(name: "log-writer") {
      while let group = queue.takeAll() {
        do throws(StorageError) {
          for part in split(group) {
            let timing = try storage.append(part)
            if let last = part.last { onPersisted(last.sequence, timing) }
          }
          // Behind the replies: nobody waits for it but the next group.
          if storage.isDueForSettling { try storage.settle() }
        } catch {
          queue.refuseEverything()
          onFailure(error)
          return
        }
      }
      // What is left in the journal is safe there; settling it now spares the next start the work.
      do throws(StorageError) { try storage.settle() } catch { onFailure(error) }
    }
  }

  deinit {
    stop()
  }

  /// Queues a write and returns. Sequences must rise. After `stop` or a failure it is forgotten, and never reported.
  package func submit(_ persist: Persist) {
    queue.append(persist)
  }

  /// Writes what was submitted before, and returns when the thread has ended. Not to be called from the closures.
  package func stop() {
    queue.end()
    thread.join()
  }
}

/// Cuts a group into parts of `LogWriter.maximumGroupBytes`. Nearly always there is one.
private func split(_ group: [Persist]) -> [[Persist]] {
  func bytes(_ persist: Persist) -> Int { persist.entries.reduce(0) { $0 + $1.sizeBytes } }
  guard group.reduce(0, { $0 + bytes($1) }) > LogWriter.maximumGroupBytes else { return [group] }
  var parts: [[Persist]] = [[]]
  var partBytes = 0
  for persist in group {
    partBytes += bytes(persist)
    if partBytes > LogWriter.maximumGroupBytes, parts[parts.count - 1].isEmpty == false {
      parts.append([])
      partBytes = bytes(persist)
    }
    parts[parts.count - 1].append(persist)
  }
  return parts
}

/// `@unchecked Sendable`: every variable is only touched while `mutex` is held; mutex and condition are at fixed
/// addresses for the object's whole life.
private final class PersistQueue: @unchecked Sendable {
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private var waiting: [Persist] = []
  private var newestSequence: UInt64?
  private var isEnding = false
  private var isRefusing = false

  init() {
    precondition(pthread_mutex_init(mutex, nil) == 0, "no mutex could be made")
    precondition(pthread_cond_init(changed, nil) == 0, "no condition could be made")
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

  /// Everything that waits, as soon as there is something; nil when there is nothing and never will be.
  func takeAll() -> [Persist]? {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    while waiting.isEmpty, !isEnding {
      pthread_cond_wait(changed, mutex)
    }
    guard !waiting.isEmpty else { return nil }
    var taken: [Persist] = []
    taken.reserveCapacity(waiting.capacity)
    swap(&taken, &waiting)
    return taken
  }

  func refuseEverything() {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    isRefusing = true
    waiting = []
  }

  func end() {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    isEnding = true
    pthread_cond_signal(changed)
  }
}
