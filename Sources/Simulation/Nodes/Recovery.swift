// Owns what a node finds when it opens its disk: the log that checks, the newest whole snapshot, and the damage.
// Must never: call a log whole that lost an entry which this node may have acknowledged.
// Invariant: what was found is what is on the disk afterwards; opening twice finds the same.

import RaftCore

struct Opened {
  var restored: Restored
  var snapshot: SnapshotFile?
  var foundDamage = false
  var fellBack = false
}

extension SimulatedDisk {
  /// With no more than `tail` entries in memory.
  mutating func open(tail: Int) -> Opened {
    let whole = snapshots.filter { Checksum.short($0.bytes) == $0.description.checksum }
    var found = Opened(restored: .empty)
    found.fellBack = whole.count < snapshots.count
    var image = durable
    let flaw = rotten.filter { $0 > image.base.index }.min()
    let last = image.lastIndex
    if let flaw { image.cut(from: flaw) }
    var lost = flaw.map { $0...last }
    found.snapshot = whole.last { $0.description.point.index >= image.base.index }
    if let snapshot = found.snapshot {
      if settle(&image, with: snapshot.description.point) { lost = lost.flatMap { beyond(image, $0) } }
    } else if image.base.index > .beforeFirst {
      // Nothing of the log can be used without the state at its beginning.
      found.snapshot = whole.last
      image.begin(behind: found.snapshot.map { LogBase($0.description.point) } ?? .start)
      lost = image.base.index.next...max(image.base.index.next, last)
    }
    if let lost {
      found.foundDamage = true
      image.noteDamage(from: lost.lowerBound, through: lost.upperBound)
    }
    image.settleTerm()
    recovered(as: image, snapshots: whole)
    found.restored = image.restored(tail: tail, snapshot: found.snapshot?.description.point)
    return found
  }

  /// A snapshot is of committed state only: an entry at its point with another term was never committed, nor was what
  /// follows it, and a log that ends before the point has nothing that the snapshot has not. True when the log begins
  /// behind the snapshot now.
  private func settle(_ image: inout LogImage, with point: SnapshotPoint) -> Bool {
    guard image.term(at: point.index) != point.term else { return false }
    let isOnDisk = durable.term(at: point.index) == point.term && !rotten.contains(point.index)
    guard isOnDisk else {
      image.begin(behind: LogBase(point))
      return true
    }
    // The flaw is before the point: what follows it is the log, up to the next flaw.
    let (hardState, damage) = (image.hardState, image.damage)
    image = durable
    image.hardState = hardState
    image.damage = damage
    image.compact(before: point.index.next)
    if let flaw = rotten.filter({ $0 > point.index }).min() { image.cut(from: flaw) }
    return true
  }

  /// What is lost of the log although a snapshot holds the effect of its beginning.
  private func beyond(_ image: LogImage, _ lost: ClosedRange<RaftCore.Index>) -> ClosedRange<RaftCore.Index>? {
    let first = image.lastIndex.next
    guard lost.upperBound >= first, durable.term(at: image.base.index) == image.base.term else { return nil }
    return first...lost.upperBound
  }
}

extension LogBase {
  fileprivate static let start = LogBase(index: .beforeFirst, term: Term(0), clockMilliseconds: 0)

  fileprivate init(_ point: SnapshotPoint) {
    self.init(index: point.index, term: point.term, clockMilliseconds: point.clockMilliseconds)
  }
}

extension LogImage {
  fileprivate mutating func cut(from index: RaftCore.Index) {
    entries.removeLast(lastIndex.distance(from: index.previous))
  }

  fileprivate mutating func begin(behind base: LogBase) {
    self.base = base
    entries = []
  }

  /// A snapshot may be of a later term than the disk knew of. In that term nobody got a vote from here, for a vote is
  /// durable before it leaves.
  fileprivate mutating func settleTerm() {
    let newest = entries.last?.term ?? base.term
    if newest > hardState.term { hardState = HardState(term: newest, votedFor: nil) }
  }

  fileprivate mutating func noteDamage(from first: RaftCore.Index, through last: RaftCore.Index) {
    let loss = Loss(first: first, last: last, term: hardState.term)
    if damage == nil { damage = Damage(loss) } else { damage?.add(loss) }
  }

  fileprivate func restored(tail: Int, snapshot: SnapshotPoint?) -> Restored {
    var runs: [TermRun] = []
    if base.index > .beforeFirst { runs.append(TermRun(first: base.index, term: base.term)) }
    for entry in entries where runs.last?.term != entry.term {
      runs.append(TermRun(first: entry.index, term: entry.term))
    }
    return Restored(
      hardState: hardState, firstIndex: base.index.next, lastIndex: lastIndex, termRuns: runs,
      tail: Array(entries.suffix(tail)), lastClockMilliseconds: lastClockMilliseconds, snapshot: snapshot,
      membershipEntries: entries.filter { $0.kind == .membership }, damage: damage)
  }
}
