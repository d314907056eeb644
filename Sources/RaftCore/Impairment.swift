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

  /// A quiet cluster writes nothing by which this log could outgrow what it lost. Where few entries are missing this node
  /// asks for empty ones, some in each election timeout, so that it does not go without a vote until somebody writes.
  mutating func askToOutgrowLoss() {
    guard let damage, let leader, isStorageWritable, ticks.isMultiple(of: UInt64(electionTicks)) else { return }
    let whole = min(ledger.durableThrough, following.verified)
    guard whole == log.lastIndex, whole < damage.lastLost else { return }
    let missing = damage.lastLost.rawValue - whole.rawValue
    guard missing <= Self.mostMissingToAskFor else { return }
    let count = Int(min(missing, Self.mostAskedForAtOnce))
    forward(Array(repeating: Proposal(id: 0, kind: .noOp, payload: []), count: count), to: leader)
  }

  /// The leader's part. A node that has yet to get what is there would ask for ever more, and nobody waits for an answer.
  mutating func grow(for impaired: NodeID, _ proposals: [Proposal]) {
    guard leading.peers.contains(where: { $0.id == impaired && $0.matched == log.lastIndex }) else { return }
    _ = append(proposals)
  }

  private static let mostMissingToAskFor: UInt64 = 4096
  private static let mostAskedForAtOnce: UInt64 = 64

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
