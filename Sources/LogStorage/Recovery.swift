// Owns the reading of a log when it is opened: every record is checked, every rule between neighbours is checked.
//
// It must never leave a record out in the middle. LMDB's commits are atomic, so a torn write never shows here: a record
// that does not check was damaged after it was acknowledged, and what is behind it hangs in the air. The log ends
// before it, and what it may have had beyond is said (Opening.swift).

import RaftCore

/// The log as far as it can be read from `base` on.
struct LogScan {
  let base: LogBase
  private(set) var lastIndex: Index
  private(set) var lastTerm: Term
  private(set) var lastClockMilliseconds: UInt64
  /// From `base` on where there is one, which tells the term of the entry before the first.
  private(set) var termRuns: [TermRun] = []
  private(set) var membershipEntries: [Entry] = []
  /// The highest term that any whole record shows, behind a flaw as well.
  private(set) var highestTerm = Term(0)
  /// The first entry that is not what was written.
  private(set) var flaw: Flaw?

  struct Flaw {
    var index: Index
    var reason: String
  }

  /// An empty log behind `base`.
  init(emptyBehind base: LogBase) {
    self.base = base
    lastIndex = base.index
    lastTerm = base.term
    lastClockMilliseconds = base.clockMilliseconds
    if base.index > .beforeFirst { termRuns.append(TermRun(first: base.index, term: base.term)) }
  }

  init(from base: LogBase, storedTerm: Term, in transaction: borrowing Transaction) throws(StorageError) {
    var state = LogScan(emptyBehind: base)
    try transaction.forEachRecord(from: Key.entry(base.index.next)) { (key, record) throws(StorageError) in
      do throws(Corruption) {
        try state.take(key, record, storedTerm: storedTerm)
      } catch {
        state.flaw = state.flaw ?? Flaw(index: state.lastIndex.next, reason: error.reason)
      }
      return true
    }
    self = state
  }

  /// The term of the entry there, as far as the log reaches.
  func term(at index: Index) -> Term? {
    guard index <= lastIndex, index >= base.index else { return nil }
    return termRuns.last { $0.first <= index }?.term ?? Term(0)
  }

  private mutating func take(
    _ key: UInt64, _ record: UnsafeRawBufferPointer, storedTerm: Term
  ) throws(Corruption) {
    guard let index = Key.index(of: key) else { throw Corruption(reason: "its key is no entry's") }
    let header = try EntryHeader.read(record, at: index)
    highestTerm = max(highestTerm, header.term)
    guard flaw == nil else { return }
    guard index == lastIndex.next else { throw Corruption(reason: "it is missing, and \(index) follows") }
    guard header.term <= storedTerm else {
      throw Corruption(reason: "it is of \(header.term), and the stored term is only \(storedTerm)")
    }
    guard header.term >= lastTerm else {
      throw Corruption(reason: "it is of \(header.term), which is before the term of the entry before it")
    }
    guard header.clockMilliseconds >= lastClockMilliseconds else {
      throw Corruption(reason: "its clock, \(header.clockMilliseconds) ms, is before that of the entry before it")
    }
    if termRuns.last?.term != header.term { termRuns.append(TermRun(first: index, term: header.term)) }
    if header.kind == .membership { membershipEntries.append(Entry(header, at: index, in: record)) }
    lastIndex = index
    lastTerm = header.term
    lastClockMilliseconds = header.clockMilliseconds
  }

  /// The newest entries within both bounds, oldest first.
  func tail(in transaction: borrowing Transaction, options: LogStorage.Options) throws(StorageError) -> [Entry] {
    var newestFirst: [Entry] = []
    var bytes = 0
    var index = lastIndex
    while index > base.index, newestFirst.count < options.tailEntries {
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

/// What the tree says before any entry is looked at.
struct TreeFacts {
  var stored: StoredIdentity
  /// The error says why it cannot be read.
  var hardState: Result<HardState, Corruption>
  /// Up to which record the tree has taken the journal; nil where it cannot be read.
  var journalPosition: UInt64?
  /// nil where it cannot be read.
  var base: LogBase?
  /// What an earlier opening found and nobody has repaired.
  var damage: Damage?
  var isDamageUnreadable = false
  /// Of all entries, garbage included; `beforeFirst` when there are none.
  var lastIndex: Index

  init(in transaction: borrowing Transaction, path: String) throws(StorageError) {
    stored = try Self.identity(in: transaction, path: path)
    hardState = Result(try transaction.record(at: Key.hardState), "it is not there", HardStateRecord.read)
    journalPosition = 0
    if let record = try transaction.record(at: Key.journal) {
      journalPosition = try? JournalPositionRecord.read(record)
    }
    base = LogBase(index: .beforeFirst, term: Term(0), clockMilliseconds: 0)
    if let record = try transaction.record(at: Key.base) { base = try? BaseRecord.read(record) }
    if let record = try transaction.record(at: Key.damage) {
      damage = try? DamageRecord.read(record)
      isDamageUnreadable = damage == nil
    }
    lastIndex = try transaction.lastKey(atMost: .max).flatMap(Key.index(of:)) ?? .beforeFirst
  }

  static func identity(in transaction: borrowing Transaction, path: String) throws(StorageError) -> StoredIdentity {
    guard try transaction.hasIntegerKeys() else { throw .notALog(path: path, reason: "its keys are not integers") }
    guard let record = try transaction.record(at: Key.identity) else {
      throw .notALog(path: path, reason: "it has records and no identity")
    }
    return try IdentityRecord.read(record, path: path)
  }
}

extension Result where Failure == Corruption {
  fileprivate init(
    _ record: UnsafeRawBufferPointer?, _ absence: String,
    _ read: (UnsafeRawBufferPointer) throws(Corruption) -> Success
  ) {
    guard let record else {
      self = .failure(Corruption(reason: absence))
      return
    }
    do throws(Corruption) {
      self = .success(try read(record))
    } catch {
      self = .failure(error)
    }
  }
}
