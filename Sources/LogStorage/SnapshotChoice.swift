// Owns the choice at an opening: which snapshot goes with the log, where the log then begins, and what is lost.
//
// It must never: take a log for whole that begins behind a place of which no snapshot is left; say that something is
// lost of which a snapshot holds the effect.
//
// A snapshot is of committed state only. So an entry at its point that has another term was never committed, and
// neither was anything behind it; and a log that ends at or before the point has nothing that the snapshot has not.

import RaftCore

/// What an opening is to make of the log.
struct Outcome {
  /// The log as it will be.
  var scan: LogScan
  var snapshot: SnapshotDescription?
  /// Where the log is to begin instead.
  var newBase: LogBase?
  /// Everything from here on is to be removed.
  var cutFrom: Index?
  /// Entries that may have been acknowledged and are gone.
  var lost: ClosedRange<Index>?
  /// The highest term that anything whole shows.
  var highestTerm: Term
}

struct SnapshotChoice {
  let snapshots: SnapshotStore
  let storedTerm: Term
  /// Of the last entry that is there at all.
  let lastKeyIndex: Index

  /// - Parameter base: what the tree says of the log's beginning; nil where it cannot be read.
  func outcome(base: LogBase?, in transaction: borrowing Transaction) throws(StorageError) -> Outcome {
    // Without the base nobody knows which records are the log and which are garbage.
    guard let base else { return emptied(knownBase: nil, highestTerm: Term(0)) }
    let scan = try LogScan(from: base, storedTerm: storedTerm, in: transaction)
    var isConflicting: SnapshotDescription?
    for snapshot in snapshots.newestFirst() where snapshot.point.index >= base.index && snapshots.isWhole(snapshot) {
      if let term = scan.term(at: snapshot.point.index) {
        if term == snapshot.point.term { return kept(scan, snapshot) }
        isConflicting = isConflicting ?? snapshot
      } else if scan.flaw == nil {
        return reset(to: snapshot, scan.highestTerm)
      } else {
        return try skippingFlaw(of: scan, to: snapshot, in: transaction)
      }
    }
    if base.index == .beforeFirst { return kept(scan, nil) }
    if let isConflicting { return reset(to: isConflicting, scan.highestTerm) }
    return emptied(knownBase: base, highestTerm: scan.highestTerm)
  }

  /// The log from its beginning, up to a flaw if there is one.
  private func kept(_ scan: LogScan, _ snapshot: SnapshotDescription?) -> Outcome {
    let flaw = scan.flaw?.index
    return Outcome(
      scan: scan, snapshot: snapshot, cutFrom: flaw, lost: flaw.map { $0...max($0, lastKeyIndex) },
      highestTerm: scan.highestTerm)
  }

  /// The snapshot alone: nothing that was committed is behind it.
  private func reset(to snapshot: SnapshotDescription, _ highestTerm: Term) -> Outcome {
    let base = LogBase(snapshot.point)
    return Outcome(
      scan: LogScan(emptyBehind: base), snapshot: snapshot, newBase: base,
      cutFrom: lastKeyIndex > base.index ? base.index.next : nil, highestTerm: max(highestTerm, base.term))
  }

  /// The flaw is before the snapshot's point, so that nobody needs what it hit. What follows the point is the log if
  /// the entry at the point is the snapshot's.
  private func skippingFlaw(
    of scan: LogScan, to snapshot: SnapshotDescription, in transaction: borrowing Transaction
  ) throws(StorageError) -> Outcome {
    let base = LogBase(snapshot.point)
    if let record = try transaction.record(at: Key.entry(base.index)),
      let header = try? EntryHeader.read(record, at: base.index)
    {
      guard header.term == base.term else { return reset(to: snapshot, scan.highestTerm) }
      var outcome = kept(try LogScan(from: base, storedTerm: storedTerm, in: transaction), snapshot)
      outcome.newBase = base
      outcome.highestTerm = max(outcome.highestTerm, scan.highestTerm, base.term)
      return outcome
    }
    var outcome = reset(to: snapshot, scan.highestTerm)
    outcome.lost = outcome.cutFrom.map { $0...lastKeyIndex }
    return outcome
  }

  /// Nothing of the log can be used. It begins anew behind the newest snapshot that is whole, or at the very start.
  private func emptied(knownBase: LogBase?, highestTerm: Term) -> Outcome {
    let snapshot = snapshots.newestFirst().first(where: snapshots.isWhole)
    let base = snapshot.map { LogBase($0.point) } ?? LogBase(index: .beforeFirst, term: Term(0), clockMilliseconds: 0)
    let first = base.index.next
    return Outcome(
      scan: LogScan(emptyBehind: base), snapshot: snapshot, newBase: base,
      cutFrom: lastKeyIndex > base.index ? first : nil,
      lost: first...max(first, lastKeyIndex, knownBase?.index ?? .beforeFirst),
      highestTerm: max(highestTerm, base.term))
  }
}

extension LogBase {
  init(_ point: SnapshotPoint) {
    self.init(index: point.index, term: point.term, clockMilliseconds: point.clockMilliseconds)
  }
}

extension Transaction {
  /// From the first to the last entry that is there at or before `base`.
  func garbage(upTo base: Index) throws(StorageError) -> ClosedRange<Index>? {
    var first: Index?
    try forEachRecord(from: Key.entry(Index(1))) { (key, _) throws(StorageError) in
      first = Key.index(of: key)
      return false
    }
    guard let first, first <= base, let last = try lastKey(atMost: Key.entry(base)).flatMap(Key.index(of:)) else {
      return nil
    }
    return first...last
  }
}
