// Owns the removal of the log's beginning once a snapshot stands for it.
// Must never: let go of an entry that is not on this node's own disk, or keep one for ever for a follower's sake.
// Invariant: what is removed is committed, applied and in a durable snapshot (Raft paper, section 7).

struct Compaction: Sendable {
  /// The oldest entry that is to stay.
  var before: Index
  var sinceTick: UInt64
}

extension Raft {
  mutating func snapshotTaken(_ point: SnapshotPoint) {
    precondition(point.index <= commit, "a snapshot at \(point.index) holds more than is committed, \(commit)")
    guard point.index.rawValue >= UInt64(limits.trailingEntries) else { return }
    let before = Index(point.index.rawValue - UInt64(limits.trailingEntries)).next
    guard before > log.firstIndex, before > compaction?.before ?? .beforeFirst else { return }
    compaction = Compaction(before: before, sinceTick: compaction?.sinceTick ?? ticks)
  }

  /// Followers that are served from the log would need a whole snapshot instead, so they are waited for, but not for
  /// long: a log that only grows ends on a full disk.
  mutating func compactWhatMayGo() {
    guard let wanted = compaction else { return }
    var before = min(wanted.before, ledger.durableThrough.next)
    if role == .leader, ticks < wanted.sinceTick + UInt64(limits.maxCompactionHoldTicks) {
      for peer in leading.peers where isHeard(peer) { before = min(before, needed(by: peer)) }
    }
    // Small steps would cost a write each.
    guard before > log.firstIndex, before == wanted.before || log.firstIndex.advanced(by: 1000) <= before else {
      return
    }
    if before == wanted.before { compaction = nil }
    log.compact(before: before)
    voidFetches(before: before)
    history.compact(through: before.previous)
    answers.append(.compact(before: before))
  }

  /// Storage need not answer for what it may remove, and a follower that waits for such an answer is sent nothing else.
  private mutating func voidFetches(before index: Index) {
    for position in leading.peers.indices {
      guard let request = leading.peers[position].fetching, request.first < index else { continue }
      leading.peers[position].fetching = nil
    }
  }

  private func needed(by peer: Progress) -> Index {
    switch peer.state {
    case .probe: return max(peer.matched.next, min(peer.next, log.lastIndex))
    case .replicate: return peer.matched.next
    case .snapshot:
      let description = leading.snapshotPosition(of: peer.id).flatMap { leading.snapshots[$0].description }
      return description?.point.index.next ?? log.firstIndex
    }
  }
}
