// Owns what a node wrote and how much of it would survive a crash.
// Must never: give back a record that does not check, or keep a write behind one that was lost.
// Invariants: `written` is `durable` with all pending writes carried out; what rots was durable before.

import RaftCore

/// A log as it is on a disk or will be when the disk has caught up.
struct LogImage {
  var hardState = HardState.initial
  /// The place before the first entry.
  var base = LogBase(index: .beforeFirst, term: Term(0), clockMilliseconds: 0)
  var entries: [Entry] = []
  var damage: Damage?

  var lastIndex: RaftCore.Index { base.index.advanced(by: entries.count) }
  var lastClockMilliseconds: UInt64 { entries.last?.clockMilliseconds ?? base.clockMilliseconds }

  mutating func apply(_ write: Persist) {
    if let hardState = write.hardState { self.hardState = hardState }
    if write.isRepaired { damage = nil }
    if let base = write.base {
      self.base = base
      entries.removeAll()
    }
    if let index = write.removeFrom { entries.removeLast(min(entries.count, lastIndex.distance(from: index.previous))) }
    entries += write.entries
  }

  func position(of index: RaftCore.Index) -> Int? {
    guard index > base.index, index <= lastIndex else { return nil }
    return index.distance(from: base.index) - 1
  }

  func term(at index: RaftCore.Index) -> Term? {
    if index == base.index { return base.term }
    return position(of: index).map { entries[$0].term }
  }

  func clock(at index: RaftCore.Index) -> UInt64? {
    if index == base.index { return base.clockMilliseconds }
    return position(of: index).map { entries[$0].clockMilliseconds }
  }

  /// Removes every entry before `first`, if the log reaches that far.
  mutating func compact(before first: RaftCore.Index) {
    guard first > base.index.next else { return }
    let newBase = min(first.previous, lastIndex)
    guard let term = term(at: newBase), let clock = clock(at: newBase) else { return }
    entries.removeFirst(newBase.distance(from: base.index))
    base = LogBase(index: newBase, term: term, clockMilliseconds: clock)
  }
}

/// A snapshot as a file: its bytes may rot, its description is kept apart.
struct SnapshotFile {
  var description: SnapshotDescription
  var bytes: [UInt8]
  /// Found to be whole when it was read last. A bit that changes takes it back.
  var isRotten = false
}

struct SimulatedDisk {
  private struct Pending {
    var write: Persist
    var sizeBytes: Int
  }

  private(set) var durable = LogImage()
  private(set) var written = LogImage()
  private var pending: [Pending] = []
  /// How many of the pending writes the flush under way covers; 0 when none is.
  private(set) var flushing = 0
  var stalledUntil: UInt64 = 0
  /// Entries that were durable and no longer check.
  private(set) var rotten: [RaftCore.Index] = []
  /// Oldest first, at most two.
  private(set) var snapshots: [SnapshotFile] = []

  var isFull = false
  private(set) var reserveLeftBytes = 0

  var hasPending: Bool { !pending.isEmpty }
  var newestSnapshot: SnapshotFile? { snapshots.last { !$0.isRotten } }

  /// Lost or about to be found lost.
  var isDamaged: Bool { durable.damage != nil || !rotten.isEmpty || snapshots.contains { $0.isRotten } }

  // MARK: Writing

  /// nil, or why this write cannot follow the ones before it.
  mutating func write(_ write: Persist) -> String? {
    var kept = written.lastIndex
    if let base = write.base { kept = base.index }
    if let index = write.removeFrom {
      guard write.base == nil else { return "replaces the log and removes a part of it at once" }
      guard index <= written.lastIndex else { return "removes from \(index), beyond the end of the log" }
      guard index > written.base.index else { return "removes from \(index), which was compacted away" }
      kept = index.previous
    }
    var expected = kept.next
    for entry in write.entries {
      guard entry.index == expected else { return "writes \(entry.index) where \(expected) is next" }
      expected = expected.next
    }
    written.apply(write)
    let size = write.entries.reduce(64) { $0 + $1.sizeBytes }
    pending.append(Pending(write: write, sizeBytes: size))
    guard isFull else { return nil }
    reserveLeftBytes -= size
    return reserveLeftBytes < 0 ? "needs more than the reserve of a full disk" : nil
  }

  mutating func becomeFull(reserveBytes: Int) {
    isFull = true
    reserveLeftBytes = reserveBytes
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
    let last = pending[flushing - 1].write.sequence
    for one in pending[..<flushing] { makeDurable(one.write) }
    pending.removeFirst(flushing)
    flushing = 0
    return last
  }

  private mutating func makeDurable(_ write: Persist) {
    if !rotten.isEmpty {
      if write.base != nil { rotten.removeAll() }
      if let index = write.removeFrom { rotten.removeAll { $0 >= index } }
    }
    durable.apply(write)
  }

  mutating func compact(before first: RaftCore.Index) {
    // What was replaced by a snapshot meanwhile begins later than this.
    durable.compact(before: first)
    written.compact(before: first)
    rotten.removeAll { $0 < first }
  }

  // MARK: Crashing

  struct CrashLosses {
    var writes = 0
    var isTorn = false
  }

  /// A crash keeps some of the pending writes. Each is kept, lost or torn by itself, but a log is only read up to the
  /// first that does not check. Without a draw all of them are kept.
  mutating func crash(keeping draw: UInt64?, isTearing: Bool) -> CrashLosses {
    var losses = CrashLosses()
    var kept = pending.count
    if let draw {
      kept = Int(draw % UInt64(pending.count + 1))
      // The bits above say which later sectors made it; one is enough to make the tail a torn one.
      losses.isTorn = isTearing && kept < pending.count && (draw >> 32) % 2 == 0
    }
    for one in pending[..<kept] { makeDurable(one.write) }
    losses.writes = pending.count - kept
    pending = []
    flushing = 0
    stalledUntil = 0
    written = durable
    return losses
  }

  // MARK: Snapshots

  mutating func add(_ file: SnapshotFile) {
    // A late one of an earlier point has nothing to say any more.
    if let newest = snapshots.last, newest.description.point.index >= file.description.point.index { return }
    snapshots.append(file)
    if snapshots.count > 2 { snapshots.removeFirst() }
  }

  // MARK: Rot

  /// Candidates are entries that only a reader would find damaged: durable, and not removed by what is pending.
  func mayRot(at index: RaftCore.Index) -> Bool {
    durable.position(of: index) != nil && durable.term(at: index) == written.term(at: index)
  }

  mutating func rot(at index: RaftCore.Index) {
    if !rotten.contains(index) { rotten.append(index) }
  }

  mutating func rotSnapshot(_ position: Int, bit: Int) {
    guard !snapshots[position].bytes.isEmpty else { return }
    snapshots[position].bytes[bit / 8 % snapshots[position].bytes.count] ^= 1 << UInt8(bit % 8)
    snapshots[position].isRotten = true
  }

  mutating func wipe() { self = SimulatedDisk() }

  // MARK: What planted bugs do to a disk

  mutating func forgetVote() {
    durable.hardState.votedFor = nil
    written = durable
  }

  mutating func forgetTerm() {
    let term = durable.entries.last?.term ?? durable.base.term
    durable.hardState = HardState(term: term, votedFor: nil)
    written = durable
  }

  mutating func forgetEntries(_ count: Int) {
    durable.entries.removeLast(min(count, durable.entries.count))
    written = durable
  }

  mutating func forgetDamage() {
    durable.damage = nil
    written = durable
  }

  /// What recovery makes of the log takes the place of what was there.
  mutating func recovered(as image: LogImage, snapshots: [SnapshotFile]) {
    durable = image
    written = image
    rotten = []
    self.snapshots = snapshots
  }
}
