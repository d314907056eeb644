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
    var image = durable
    let whole = snapshots.filter { SnapshotChecksum.of($0.bytes) == $0.description.checksum }
    var found = Opened(restored: .empty)
    found.fellBack = whole.count < snapshots.count
    // Entries that a whole snapshot holds are not missed.
    if let newest = whole.last?.description.point, let first = rotten.min(), first <= newest.index {
      image.compact(before: newest.index.next)
    }
    if let first = rotten.filter({ $0 > image.base.index }).min() {
      found.foundDamage = true
      image.noteDamage(from: first)
      image.entries.removeLast(image.lastIndex.distance(from: first.previous))
    }
    let usable = whole.filter { $0.description.point.index >= image.base.index }
    found.snapshot = usable.last { $0.description.point.index <= image.lastIndex }
    if found.snapshot == nil, image.base.index > .beforeFirst {
      found.foundDamage = true
      image.noteDamage(from: RaftCore.Index(1))
      image.entries = []
      image.base = LogBase(index: .beforeFirst, term: Term(0), clockMilliseconds: 0)
    }
    recovered(as: image, snapshots: whole)
    found.restored = image.restored(tail: tail, snapshot: found.snapshot?.description.point)
    return found
  }
}

extension LogImage {
  fileprivate mutating func noteDamage(from first: RaftCore.Index) {
    let last = max(lastIndex, first)
    if let earlier = damage {
      damage = Damage(
        firstLost: min(earlier.firstLost, first), lastLost: max(earlier.lastLost, last),
        term: max(earlier.term, hardState.term))
    } else {
      damage = Damage(firstLost: first, lastLost: last, term: hardState.term)
    }
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

/// CRC-32C would do as well; what matters is that any change of a bit is noticed.
enum SnapshotChecksum {
  static func of(_ bytes: [UInt8]) -> UInt32 {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    bytes.withUnsafeBytes { raw in
      var offset = 0
      while offset + 8 <= raw.count {
        hash = (hash ^ raw.loadUnaligned(fromByteOffset: offset, as: UInt64.self)) &* 0x9E37_79B9_7F4A_7C15
        hash ^= hash >> 32
        offset += 8
      }
      while offset < raw.count {
        hash = (hash ^ UInt64(raw[offset])) &* 0x0000_0100_0000_01B3
        hash ^= hash >> 32
        offset += 1
      }
    }
    return UInt32(truncatingIfNeeded: hash ^ (hash >> 32))
  }
}
