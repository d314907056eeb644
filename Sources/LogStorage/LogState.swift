// Owns what the writer knows of the log without reading it, and how a batch changes both the log and that knowledge.
//
// It must never let a batch through that breaks the log's invariants: such a batch is a mistake of the consensus core,
// and a node that stops is better than one that writes it down.
//
// Invariant: a LogState describes exactly what the last committed transaction left.

import RaftCore

struct LogState: Sendable {
  private(set) var firstIndex: Index
  private(set) var lastIndex: Index
  private var hardState: HardState
  /// Of the newest entry; 0 for an empty log.
  private var lastTerm: Term
  private var lastClockMilliseconds: UInt64

  init(_ restored: Restored) {
    firstIndex = restored.firstIndex
    lastIndex = restored.lastIndex
    hardState = restored.hardState
    lastTerm = restored.termRuns.last?.term ?? Term(0)
    lastClockMilliseconds = restored.lastClockMilliseconds
  }

  /// How many entries there are from `index` on.
  func entries(from index: Index) -> Int {
    index > lastIndex ? 0 : lastIndex.distance(from: index) + 1
  }

  /// Where in `batch`, after its first persist, a suffix is cut that is longer than `stepEntries`.
  func nextLongCut(in batch: ArraySlice<Persist>, longerThan stepEntries: Int) -> Int? {
    var end = lastIndex
    for position in batch.indices {
      let persist = batch[position]
      if let removeFrom = persist.removeFrom, removeFrom <= end {
        if position > batch.startIndex, end.distance(from: removeFrom) + 1 > stepEntries { return position }
        end = removeFrom.previous
      }
      if let last = persist.entries.last { end = last.index }
    }
    return nil
  }

  /// An upper bound of the new pages' bytes that a transaction with `group` takes.
  static func pageBytesNeeded(for group: ArraySlice<Persist>) -> Int {
    // A record takes at most twice its bytes: two to a page at the worst, or whole pages of its own. What does not
    // depend on the records is the path to the changed leaf, the list of free pages, and pages copied by a cut.
    let fixedBytes = 1 << 20
    let bytesAnEntry = EntryHeader.bytes + 16
    return group.reduce(fixedBytes) { sum, persist in
      persist.entries.reduce(sum) { $0 + 2 * ($1.payload.count + bytesAnEntry) }
    }
  }

  /// Writes `group` in order. The hard state is written once, as the last persist that has one leaves it.
  mutating func apply(_ group: ArraySlice<Persist>, in transaction: borrowing Transaction) throws(StorageError) {
    var hasNewHardState = false
    // Appending is legal only while the new key is above all others. That holds behind a cut as well, but LMDB's
    // shortcut to the last key has been wrong after deletions, so that a transaction which cuts searches each place.
    var placing = Transaction.Placing.last
    for persist in group {
      if let hardState = persist.hardState {
        replaceHardState(by: hardState)
        hasNewHardState = true
      }
      if let removeFrom = persist.removeFrom, removeFrom <= lastIndex {
        try remove(from: removeFrom, in: transaction)
        placing = .new
      }
      for entry in persist.entries {
        try append(entry, placing, in: transaction)
      }
    }
    if hasNewHardState {
      let record = try transaction.reserve(key: Key.hardState, bytes: HardStateRecord.bytes, .replacing)
      HardStateRecord.write(hardState, to: record)
    }
  }

  /// Takes note of a batch that only adds, without writing it to the tree.
  mutating func admit(_ persist: Persist) {
    if let hardState = persist.hardState { replaceHardState(by: hardState) }
    for entry in persist.entries { admit(entry) }
  }

  /// Whether a batch only adds to the log. What cuts goes to the tree at once.
  func isOnlyAddedTo(by batch: [Persist]) -> Bool {
    var end = lastIndex
    for persist in batch {
      if let removeFrom = persist.removeFrom, removeFrom <= end { return false }
      if let last = persist.entries.last { end = last.index }
    }
    return true
  }

  private mutating func replaceHardState(by new: HardState) {
    precondition(new.term >= hardState.term, "\(new.term) was to be stored over \(hardState.term): terms never fall")
    precondition(
      new.term > hardState.term || hardState.votedFor == nil || new.votedFor == hardState.votedFor,
      "a second vote was to be stored for \(new.term)")
    hardState = new
  }

  private mutating func append(
    _ entry: Entry, _ placing: Transaction.Placing, in transaction: borrowing Transaction
  ) throws(StorageError) {
    admit(entry)
    let record = try transaction.reserve(
      key: Key.entry(entry.index), bytes: EntryHeader.bytes + entry.payload.count, placing)
    EntryHeader.write(entry, to: record)
  }

  private mutating func admit(_ entry: Entry) {
    precondition(entry.index == lastIndex.next, "\(entry.index) was to be stored behind \(lastIndex)")
    precondition(
      entry.term >= lastTerm && entry.term <= hardState.term,
      "\(entry.index) is of \(entry.term), between \(lastTerm) before it and the stored \(hardState.term)")
    precondition(
      entry.clockMilliseconds >= lastClockMilliseconds, "the cluster's clock fell at \(entry.index)")
    lastIndex = entry.index
    lastTerm = entry.term
    lastClockMilliseconds = entry.clockMilliseconds
  }

  /// From the newest entry down, and each with a search of its own: LMDB's cursors keep a stale idea of the end after
  /// they have deleted there.
  private mutating func remove(from index: Index, in transaction: borrowing Transaction) throws(StorageError) {
    precondition(index >= firstIndex, "\(index) was to be removed, which is before the log's first entry")
    while lastIndex >= index {
      guard try transaction.remove(key: Key.entry(lastIndex)) else {
        throw .corruptRecord(index: lastIndex, reason: "it was to be removed and is not there")
      }
      lastIndex = lastIndex.previous
    }
    guard lastIndex >= firstIndex else {
      (lastTerm, lastClockMilliseconds) = (Term(0), 0)
      return
    }
    guard let record = try transaction.record(at: Key.entry(lastIndex)) else {
      throw .corruptRecord(index: lastIndex, reason: "it is not there, and the entry after it was")
    }
    do throws(Corruption) {
      let header = try EntryHeader.read(record, at: lastIndex)
      (lastTerm, lastClockMilliseconds) = (header.term, header.clockMilliseconds)
    } catch {
      throw .corruptRecord(index: lastIndex, reason: error.reason)
    }
  }
}
