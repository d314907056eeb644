// Owns what the writer knows of the log without reading it, and how a batch changes both the log and that knowledge.
//
// It must never let a batch through that breaks the log's invariants: such a batch is a mistake of the consensus core,
// and a node that stops is better than one that writes it down.
//
// Invariant: a LogState describes exactly what the last committed transaction left.

import RaftCore

struct LogState: Sendable {
  /// The place before the first entry.
  private(set) var base: LogBase
  /// Records at or before the base that are still in the tree: nobody's entries, removed at leisure. There may be
  /// holes in it.
  private(set) var garbage: ClosedRange<Index>?
  private(set) var lastIndex: Index
  private(set) var hardState: HardState
  /// Of the newest entry; the base's for an empty log.
  private var lastTerm: Term
  private var lastClockMilliseconds: UInt64

  init(_ scan: LogScan, hardState: HardState, garbage: ClosedRange<Index>?) {
    base = scan.base
    self.garbage = garbage
    lastIndex = scan.lastIndex
    self.hardState = hardState
    lastTerm = scan.lastTerm
    lastClockMilliseconds = scan.lastClockMilliseconds
  }

  var firstIndex: Index { base.index.next }
  var newestClockMilliseconds: UInt64 { lastClockMilliseconds }

  /// How many entries there are from `index` on.
  func entries(from index: Index) -> Int {
    index > lastIndex ? 0 : lastIndex.distance(from: index) + 1
  }

  /// Where in `batch`, after its first persist, a suffix is cut that is longer than `stepEntries`.
  func nextLongCut(in batch: ArraySlice<Persist>, longerThan stepEntries: Int) -> Int? {
    var end = lastIndex
    for position in batch.indices {
      let persist = batch[position]
      if let cut = persist.cutsFrom, cut <= end {
        if position > batch.startIndex, end.distance(from: cut) + 1 > stepEntries { return position }
        end = cut.previous
      }
      end = persist.base.map { max($0.index, end) } ?? end
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
      if let base = persist.base {
        try reset(to: base, in: transaction)
        placing = .new
      }
      if let removeFrom = persist.removeFrom, removeFrom <= lastIndex {
        try remove(from: removeFrom, in: transaction)
        placing = .new
      }
      if persist.isRepaired { _ = try transaction.remove(key: Key.damage) }
      for entry in persist.entries {
        try append(entry, placing, in: transaction)
      }
    }
    if hasNewHardState {
      try transaction.put(key: Key.hardState, bytes: HardStateRecord.bytes) { HardStateRecord.write(hardState, to: $0) }
    }
  }

  /// Takes note of a batch that only adds, without writing it to the tree.
  mutating func admit(_ persist: Persist) {
    if let hardState = persist.hardState { replaceHardState(by: hardState) }
    for entry in persist.entries { admit(entry) }
  }

  /// Whether a batch only adds to the log. What does more goes to the tree at once.
  func isOnlyAddedTo(by batch: [Persist]) -> Bool {
    var end = lastIndex
    for persist in batch {
      if persist.base != nil || persist.isRepaired { return false }
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
    try transaction.put(entry, placing)
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
    try removeRecords(from: index, in: transaction)
    guard lastIndex >= firstIndex else {
      (lastTerm, lastClockMilliseconds) = (base.term, base.clockMilliseconds)
      return
    }
    let header = try transaction.entryHeader(at: lastIndex)
    (lastTerm, lastClockMilliseconds) = (header.term, header.clockMilliseconds)
  }

  private mutating func removeRecords(
    from index: Index, in transaction: borrowing Transaction
  ) throws(StorageError) {
    while lastIndex >= index {
      guard try transaction.remove(key: Key.entry(lastIndex)) else {
        throw .corruptRecord(index: lastIndex, reason: "it was to be removed and is not there")
      }
      lastIndex = lastIndex.previous
    }
  }
}

// MARK: - The beginning of the log

extension LogState {
  /// Begins the log anew behind `new`. What is at or before it is garbage from then on; what is behind it belonged to
  /// another history than the snapshot's, and goes at once.
  private mutating func reset(to new: LogBase, in transaction: borrowing Transaction) throws(StorageError) {
    precondition(new.index >= base.index, "the log was to begin behind \(new.index), and begins at \(firstIndex)")
    precondition(new.term <= hardState.term, "the log was to begin in \(new.term), and the stored is \(hardState.term)")
    if new.index < lastIndex { try removeRecords(from: new.index.next, in: transaction) }
    try begin(behind: new, in: transaction)
    (lastIndex, lastTerm, lastClockMilliseconds) = (new.index, new.term, new.clockMilliseconds)
  }

  /// Makes the entry before `index` the base. Nothing is removed yet.
  mutating func forget(before index: Index, in transaction: borrowing Transaction) throws(StorageError) {
    precondition(index > firstIndex && index <= lastIndex.next, "\(index) is not in the log")
    let header = try transaction.entryHeader(at: index.previous)
    try begin(
      behind: LogBase(index: index.previous, term: header.term, clockMilliseconds: header.clockMilliseconds),
      in: transaction)
  }

  private mutating func begin(behind new: LogBase, in transaction: borrowing Transaction) throws(StorageError) {
    try transaction.put(key: Key.base, bytes: BaseRecord.bytes) { BaseRecord.write(new, to: $0) }
    let last = min(new.index, lastIndex)
    if firstIndex <= last { garbage = (garbage?.lowerBound ?? firstIndex)...last }
    base = new
  }

  /// Removes up to `count` records before the log's beginning, the oldest first.
  mutating func removeGarbage(atMost count: Int, in transaction: borrowing Transaction) throws(StorageError) {
    guard let range = garbage, count > 0 else { return }
    var next = range.lowerBound
    let end = min(range.upperBound, next.advanced(by: count - 1))
    while next <= end {
      _ = try transaction.remove(key: Key.entry(next))
      next = next.next
    }
    garbage = next <= range.upperBound ? next...range.upperBound : nil
  }

  /// Takes over where another state of the same log begins.
  mutating func takeBeginning(of other: LogState) {
    base = other.base
    garbage = other.garbage
  }
}

extension Persist {
  /// The first index of which nothing stays, if this cuts at all.
  var cutsFrom: Index? {
    guard let base else { return removeFrom }
    return min(base.index.next, removeFrom ?? base.index.next)
  }
}

extension Transaction {
  func put(_ entry: Entry, _ placing: Placing) throws(StorageError) {
    let record = try reserve(
      key: Key.entry(entry.index), bytes: EntryHeader.bytes + entry.payload.count, placing)
    EntryHeader.write(entry, to: record)
  }

  func entryHeader(at index: Index) throws(StorageError) -> EntryHeader {
    guard let record = try record(at: Key.entry(index)) else {
      throw .corruptRecord(index: index, reason: "it is not there")
    }
    do throws(Corruption) {
      return try EntryHeader.read(record, at: index)
    } catch {
      throw .corruptRecord(index: index, reason: error.reason)
    }
  }
}
