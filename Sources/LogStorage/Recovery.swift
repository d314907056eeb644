// Owns the reading of a whole log when it is opened: every record is checked, every rule between neighbours is checked.
//
// It must never leave a record out because it cannot be read. LMDB's commits are atomic, so a torn write never shows
// here: a record that does not check was damaged after it was acknowledged, and cutting it would forget a promise.

import RaftCore

struct Recovery {
  private let options: LogStorage.Options
  private var termRuns: [TermRun] = []
  private var lastIndex = Index.beforeFirst
  private var lastClockMilliseconds: UInt64 = 0

  init(options: LogStorage.Options) {
    self.options = options
  }

  consuming func run(in transaction: borrowing Transaction) throws(StorageError) -> Restored {
    let hardState = try Self.hardState(in: transaction)
    try scan(transaction, storedTerm: hardState.term)
    return Restored(
      hardState: hardState, firstIndex: Index.beforeFirst.next, lastIndex: lastIndex, termRuns: termRuns,
      tail: try tail(in: transaction), lastClockMilliseconds: lastClockMilliseconds)
  }

  private static func hardState(in transaction: borrowing Transaction) throws(StorageError) -> HardState {
    guard let record = try transaction.record(at: Key.hardState) else {
      throw .corruptHardState(reason: "it is not there")
    }
    do throws(Corruption) {
      return try HardStateRecord.read(record)
    } catch {
      throw .corruptHardState(reason: error.reason)
    }
  }

  private mutating func scan(_ transaction: borrowing Transaction, storedTerm: Term) throws(StorageError) {
    // A copy, since a closure that escapes nothing still may not capture an inout `self` that throws half-way.
    var state = self
    try transaction.forEachRecord(from: Key.entry(.beforeFirst)) { (key, record) throws(StorageError) in
      do throws(Corruption) {
        try state.check(key, record, storedTerm: storedTerm)
      } catch {
        throw .corruptRecord(index: state.lastIndex.next, reason: error.reason)
      }
      return true
    }
    self = state
  }

  private mutating func check(
    _ key: UInt64, _ record: UnsafeRawBufferPointer, storedTerm: Term
  ) throws(Corruption) {
    let index = lastIndex.next
    guard key == Key.entry(index) else {
      throw Corruption(reason: "it is missing, and \(Key.index(of: key) ?? .beforeFirst) follows")
    }
    let header = try EntryHeader.read(record, at: index)
    guard header.term <= storedTerm else {
      throw Corruption(reason: "it is of \(header.term), and the stored term is only \(storedTerm)")
    }
    if termRuns.last?.term != header.term {
      guard termRuns.last.map({ $0.term < header.term }) ?? true else {
        throw Corruption(reason: "it is of \(header.term), which is before the term of the entry before it")
      }
      termRuns.append(TermRun(first: index, term: header.term))
    }
    guard header.clockMilliseconds >= lastClockMilliseconds else {
      throw Corruption(reason: "its clock, \(header.clockMilliseconds) ms, is before that of the entry before it")
    }
    lastIndex = index
    lastClockMilliseconds = header.clockMilliseconds
  }

  /// The newest entries within both bounds, oldest first.
  private func tail(in transaction: borrowing Transaction) throws(StorageError) -> [Entry] {
    var newestFirst: [Entry] = []
    var bytes = 0
    var index = lastIndex
    while index > .beforeFirst, newestFirst.count < options.tailEntries {
      guard let record = try transaction.record(at: Key.entry(index)) else {
        throw .corruptRecord(index: index, reason: "it was there a moment ago")
      }
      bytes += record.count - EntryHeader.bytes
      guard bytes <= options.tailBytes else { break }
      newestFirst.append(try Entry.read(record, at: index))
      index = index.previous
    }
    newestFirst.reverse()
    return newestFirst
  }
}
