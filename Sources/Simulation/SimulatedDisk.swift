// Owns what a node wrote and how much of it would survive a crash.
// Must never: keep a write without all writes before it. Each one is a transaction, kept whole or not at all.
// Invariant: `written` is `durable` with all pending writes carried out.

import RaftCore

struct SimulatedDisk {
  struct Image {
    var hardState = HardState.initial
    var entries: [Entry] = []

    mutating func apply(_ write: Persist) {
      if let hardState = write.hardState { self.hardState = hardState }
      if let index = write.removeFrom { entries.removeLast(entries.count - Int(index.rawValue) + 1) }
      entries += write.entries
    }

    func term(at index: RaftCore.Index) -> Term? {
      if index == .beforeFirst { return Term(0) }
      let position = Int(index.rawValue) - 1
      return entries.indices.contains(position) ? entries[position].term : nil
    }
  }

  private(set) var durable = Image()
  private(set) var written = Image()
  private var pending: [Persist] = []
  /// How many of the pending writes the flush under way covers; 0 when none is.
  private(set) var flushing = 0
  var stalledUntil: UInt64 = 0

  var hasPending: Bool { !pending.isEmpty }

  /// nil, or why this write cannot follow the ones before it.
  mutating func write(_ write: Persist) -> String? {
    let kept = write.removeFrom.map { Int($0.rawValue) - 1 } ?? written.entries.count
    guard kept <= written.entries.count else { return "removes from \(kept + 1), beyond the end of the log" }
    var expected = UInt64(kept) + 1
    for entry in write.entries {
      guard entry.index.rawValue == expected else { return "writes \(entry.index) where \(expected) is next" }
      expected += 1
    }
    written.apply(write)
    pending.append(write)
    return nil
  }

  /// Begins a flush of everything that waits. False when one is under way or nothing waits.
  mutating func beginFlush() -> Bool {
    guard flushing == 0, !pending.isEmpty else { return false }
    flushing = pending.count
    return true
  }

  /// The newest write that is now durable.
  mutating func endFlush() -> UInt64 {
    precondition(flushing > 0, "no flush was under way")
    let last = pending[flushing - 1].sequence
    for write in pending[..<flushing] { durable.apply(write) }
    pending.removeFirst(flushing)
    flushing = 0
    return last
  }

  /// A crash keeps some of the pending writes, from the oldest on; without a draw, all of them. Returns how many were
  /// lost.
  mutating func crash(keeping draw: UInt64?) -> Int {
    let kept = draw.map { Int($0 % UInt64(pending.count + 1)) } ?? pending.count
    for write in pending[..<kept] { durable.apply(write) }
    let lost = pending.count - kept
    pending = []
    flushing = 0
    written = durable
    return lost
  }

  // What planted bugs do to a disk.

  mutating func forgetVote() {
    durable.hardState.votedFor = nil
    written = durable
  }

  mutating func forgetTerm() {
    durable.hardState = HardState(term: durable.entries.last?.term ?? Term(0), votedFor: nil)
    written = durable
  }

  mutating func forgetEntries(_ count: Int) {
    durable.entries.removeLast(min(count, durable.entries.count))
    written = durable
  }

  /// What a node finds when it starts, with no more than `tail` entries in memory.
  func restored(tail: Int) -> Restored {
    var runs: [TermRun] = []
    for entry in durable.entries where runs.last?.term != entry.term {
      runs.append(TermRun(first: entry.index, term: entry.term))
    }
    return Restored(
      hardState: durable.hardState, firstIndex: Index(1), lastIndex: Index(UInt64(durable.entries.count)),
      termRuns: runs, tail: Array(durable.entries.suffix(tail)),
      lastClockMilliseconds: durable.entries.last?.clockMilliseconds ?? 0)
  }
}
