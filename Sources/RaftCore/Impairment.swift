// Owns what a node may not do while its disk is damaged or full.
// Must never: vote or lead with a log that may lack what it acknowledged (Alagappan et al., "Protocol-Aware Recovery",
// section 3.4), or take entries that the disk has no room for.
// Invariants: `damage` goes only when a log that agrees with a leader's is durable beyond what was lost; a node with a
// full disk still follows, answers heartbeats and votes, for those writes fit into the reserve.

extension Raft {
  /// Each loss ends by itself: two that were found in different terms and places are over when the last of them is.
  mutating func endDamage() {
    guard damage != nil else { return }
    let whole = min(ledger.durableThrough, following.verified)
    damage = damage?.outgrown(by: whole, term: log.term(at: whole))
    guard damage == nil else { return }
    ledger.repaired()
    isRepairNews = true
  }

  mutating func storage(isWritable: Bool) {
    guard isWritable != isStorageWritable else { return }
    isStorageWritable = isWritable
    guard !isWritable else { return }
    switch role {
    case .leader:
      if leading.transfer == nil && !membership.isAlone(id) { handOver() }
    case .preCandidate, .candidate:
      becomeFollower(term: term, leader: nil)
    case .follower:
      break
    }
  }
}
