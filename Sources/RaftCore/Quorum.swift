// Owns the arithmetic of majorities, of one configuration and of a joint one.
// Must never: count a learner, a node that is on its way out, or a leader that is no longer a voter.
// Invariant: while a configuration is joint nothing is decided but by a majority of each side (Raft paper, section 6).

/// The sides of a configuration on which a node votes. A node without any does not count.
struct Sides: OptionSet, Sendable {
  let rawValue: UInt8

  /// `Membership.voters`
  static let new = Sides(rawValue: 1)
  /// `Membership.outgoing`
  static let old = Sides(rawValue: 2)
}

extension Membership {
  func sides(of node: NodeID) -> Sides {
    var sides: Sides = []
    if voters.contains(node) { sides.insert(.new) }
    if outgoing.contains(node) { sides.insert(.old) }
    return sides
  }

  /// Whether this node decides everything by itself.
  func isAlone(_ node: NodeID) -> Bool { voters.count == 1 && voters[0] == node && !isJoint }

  func isQuorum(_ nodes: [NodeID]) -> Bool {
    func isMajority(of side: [NodeID]) -> Bool {
      side.reduce(0) { $0 + (nodes.contains($1) ? 1 : 0) } >= side.count / 2 + 1
    }
    return isMajority(of: voters) && (!isJoint || isMajority(of: outgoing))
  }
}

extension Raft {
  /// The largest value that a quorum has reached.
  func quorumValue<Value: Comparable>(own: Value, _ value: (Progress) -> Value) -> Value {
    let agreed = quorumValue(of: .new, quorum: membership.quorum, own: own, value)
    guard membership.isJoint else { return agreed }
    return min(agreed, quorumValue(of: .old, quorum: membership.outgoing.count / 2 + 1, own: own, value))
  }

  /// Clusters are small: each value is compared with all others, which needs no memory.
  private func quorumValue<Value: Comparable>(
    of side: Sides, quorum: Int, own: Value, _ value: (Progress) -> Value
  ) -> Value {
    let countsItself = leading.sides.contains(side)
    func isReached(_ candidate: Value) -> Bool {
      var count = countsItself && own >= candidate ? 1 : 0
      for peer in leading.peers where peer.sides.contains(side) && value(peer) >= candidate { count += 1 }
      return count >= quorum
    }
    var best = countsItself && isReached(own) ? own : nil
    for peer in leading.peers where peer.sides.contains(side) {
      let candidate = value(peer)
      if let best, candidate <= best { continue }
      if isReached(candidate) { best = candidate }
    }
    guard let best else { preconditionFailure("a leader does not know all of the \(quorum) voters that it needs") }
    return best
  }

  /// Whether a quorum was heard of since this was last asked.
  mutating func hasActiveQuorum() -> Bool {
    let isActive = quorumValue(own: 1) { $0.isActive ? 1 : 0 } == 1
    for position in leading.peers.indices { leading.peers[position].isActive = false }
    return isActive
  }
}
