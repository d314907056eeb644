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

  private let queue: WriteQueue
  private let thread: WriterThread

  /// Starts the thread. `onPersisted` gets the highest sequence that is durable now. `onSpaceChanged` is told when the
  /// disk has room for no more than the reserve, and when it has more again; at first it is taken to have. All closures
  /// are called on the writer's thread and hold up the next flush while they run.
  package init(
    storage: LogStorage,
    onPersisted: @escaping @Sendable (_ sequence: UInt64, _ timing: FlushTiming) -> Void,
    onFailure: @escaping @Sendable (StorageError) -> Void,
    onSpaceChanged: @escaping @Sendable (_ isWritable: Bool) -> Void = { _ in }
  ) {
    let queue = WriteQueue()
    self.queue = queue
    thread = WriterThread(name: "log-writer") {
      var loop = WriterLoop(storage: storage, queue: queue, onPersisted: onPersisted, onSpaceChanged: onSpaceChanged)
      do throws(StorageError) {
        try loop.run()
      } catch {
        queue.refuseEverything()
        onFailure(error)
      }
    }
  }

  deinit {
    stop()
  }

  /// Queues a write and returns. Sequences must rise. After `stop` or a failure it is forgotten, and never reported.
  package func submit(_ persist: Persist) {
    queue.append(persist)
  }

  /// Has the log begin with `index` once what was submitted before is written, as `LogStorage.compact(before:)`. The
  /// entries before it go in small steps while nothing else is to be written, or beside it.
  package func compact(before index: Index) {
    queue.compact(before: index)
  }

  /// Writes what was submitted before, and returns when the thread has ended. Not to be called from the closures.
  package func stop() {
    queue.end()
    thread.join()
  }
}

/// What the writer's thread does.
private struct WriterLoop {
  let storage: LogStorage
  let queue: WriteQueue
  let onPersisted: @Sendable (_ sequence: UInt64, _ timing: FlushTiming) -> Void
  let onSpaceChanged: @Sendable (_ isWritable: Bool) -> Void
  private var wasWritable = true

  init(
    storage: LogStorage, queue: WriteQueue,
    onPersisted: @escaping @Sendable (_ sequence: UInt64, _ timing: FlushTiming) -> Void,
    onSpaceChanged: @escaping @Sendable (_ isWritable: Bool) -> Void
  ) {
    self.storage = storage
    self.queue = queue
    self.onPersisted = onPersisted
    self.onSpaceChanged = onSpaceChanged
  }

  /// Garbage waits until nothing was to be written for so long, lest a step be just ahead of a write.
  private static let idleMilliseconds = 2

  mutating func run() throws(StorageError) {
    reportSpace()
    while let work = queue.take(waitingMilliseconds: patience) {
      for part in split(work.persists) {
        let timing = try storage.append(part)
        reportSpace()
        if let last = part.last { onPersisted(last.sequence, timing) }
      }
      // All of it behind the replies: nobody waits for it but the next group.
      if storage.isDueForSettling { try storage.settle(removingGarbage: 2 * storage.unsettledEntries) }
      if let index = work.compactsBefore { try storage.compact(before: index) }
      if work.isEmpty { try useQuietMoment() }
    }
    // What is left in the journal is safe there; settling it now spares the next start the work.
    try storage.settle()
  }

  /// The disk is looked at again and again, also where nothing is written: others may fill it, and a leader that learns of
  /// it by a write has let that write in.
  private var patience: Int? {
    if storage.hasGarbage { return Self.idleMilliseconds }
    return max(1, Int(storage.environment.freeSpace.lookEveryNanoseconds / 1_000_000))
  }

  private mutating func useQuietMoment() throws(StorageError) {
    try storage.removeGarbage()
    try storage.lookAtSpace()
    reportSpace()
  }

  private mutating func reportSpace() {
    let isWritable = storage.isWritable
    guard isWritable != wasWritable else { return }
    wasWritable = isWritable
    onSpaceChanged(isWritable)
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
