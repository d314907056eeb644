// Owns the way of a batch through the journal into the tree: `append` makes it durable with one flush, `settle` moves
// what has gathered into the tree in one transaction, whose cost many batches share.
//
// It must never: let the journal be reused before that transaction is durable; let a batch that cuts the log go through
// the journal, since what it cuts may be in the tree.
//
// Invariants: the tree and the unsettled entries together are the log; the tree's stored sequence is that of the newest
// record it has taken, written in the same transaction as the entries.

package import RaftCore
import Synchronization

/// What is in the journal and not yet in the tree.
struct Unsettled: Sendable {
  /// Contiguous, from the first that the tree does not have.
  var entries: [Entry] = []
  var hardState: HardState?
  /// Of the newest record that was ever written.
  var sequence: UInt64 = 0
}

extension LogStorage {
  /// Moving costs about as much as ten flushes of the journal for this many bytes, so it is done no sooner.
  private static let settleFromBytes = 512 << 10

  /// Makes the whole batch durable: in the journal if it only adds to the log, in the tree otherwise. The same rules as
  /// for `write` hold.
  @discardableResult
  package func append(_ batch: [Persist]) throws(StorageError) -> FlushTiming {
    let began = MonotonicClock.nanoseconds()
    var log = try claim()
    let merged = Self.merged(batch)
    let bytes = Journal.bytes(for: merged)
    guard log.isOnlyAddedTo(by: batch), journal.canEverHold(bytes: bytes) else { return try write(batch) }
    if !journal.hasRoom(forBytes: bytes) { try settle() }
    log.admit(merged)
    let before = shared.withLock { $0.unsettled.sequence }
    let sequence: UInt64
    let flushBegan: UInt64
    do throws(StorageError) {
      // What is acknowledged from the journal must find room in the tree later.
      try environment.makeRoom(
        forBytes: LogState.pageBytesNeeded(for: [merged][...]) + 2 * journal.usedBytes,
        use: merged.entries.isEmpty ? .recovering : .entries)
      (sequence, flushBegan) = try journal.append(
        merged, hardState: log.hardState, lastIndex: log.lastIndex, after: before)
    } catch {
      shared.withLock { $0.failure = error }
      throw error
    }
    shared.withLock { shared in
      shared.log = log
      shared.unsettled.sequence = sequence
      shared.unsettled.entries += merged.entries
      shared.unsettled.hardState = merged.hardState ?? shared.unsettled.hardState
    }
    return FlushTiming(
      beganNanoseconds: began, flushBeganNanoseconds: flushBegan, flushEndedNanoseconds: MonotonicClock.nanoseconds(),
      persists: batch.count, entries: merged.entries.count)
  }

  /// Whether enough has gathered to be worth a transaction.
  var isDueForSettling: Bool { journal.usedBytes >= Self.settleFromBytes }

  var unsettledEntries: Int { shared.withLock { $0.unsettled.entries.count } }

  /// Moves everything from the journal into the tree. On the writing thread; does nothing when there is nothing.
  package func settle() throws(StorageError) {
    try settle(removingGarbage: 0)
  }

  /// The same, and removes up to so many records before the log's beginning in the same transaction.
  func settle(removingGarbage count: Int) throws(StorageError) {
    _ = try claim()
    var (state, unsettled) = shared.withLock { ($0.settled, $0.unsettled) }
    guard journal.usedBytes > 0 else { return }
    let persist = Persist(
      sequence: 0, hardState: unsettled.hardState, removeFrom: nil, entries: unsettled.entries)
    // What was acknowledged must find room, in the reserve if need be.
    try change(&state, forBytes: LogState.pageBytesNeeded(for: [persist])) {
      (state, transaction) throws(StorageError) in
      try state.apply([persist], in: transaction)
      try transaction.put(key: Key.journal, bytes: JournalPositionRecord.bytes) {
        JournalPositionRecord.write(unsettled.sequence, to: $0)
      }
      try state.removeGarbage(atMost: count, in: transaction)
    }
    unsettled.entries = []
    unsettled.hardState = nil
    shared.withLock { shared in
      shared.settled = state
      shared.unsettled = unsettled
      shared.log.takeBeginning(of: state)
    }
    journal.reuse()
  }

  /// One durable transaction on the tree. `state` is changed only if it succeeds; if not, nothing is written any more.
  func change(
    _ state: inout LogState, forBytes bytes: Int,
    _ body: (inout LogState, borrowing Transaction) throws(StorageError) -> Void
  ) throws(StorageError) {
    var next = state
    do throws(StorageError) {
      try environment.makeRoom(forBytes: bytes, use: .recovering)
      try environment.write { (transaction) throws(StorageError) in try body(&next, transaction) }
    } catch {
      shared.withLock { $0.failure = error }
      throw error
    }
    state = next
  }

  /// One persist that leaves the log as the batch does.
  private static func merged(_ batch: [Persist]) -> Persist {
    if batch.count == 1, let only = batch.first { return only }
    var merged = Persist(sequence: 0, hardState: nil, removeFrom: nil, entries: [])
    for persist in batch {
      merged.hardState = persist.hardState ?? merged.hardState
      merged.entries += persist.entries
    }
    return merged
  }
}
