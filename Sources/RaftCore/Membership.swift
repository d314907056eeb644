// Owns who takes part in a cluster, and the bytes in which the log carries it.
// Must never: look inside an address; it is the driver's.
// Invariants: every list is sorted and distinct, so that every node sees it in the same order; a member is a voter of
// the new side, a voter of the old side, or a learner, and never a learner and a new voter at once
// (Raft paper, section 6; dissertation, section 4.3).

/// A node and what others must know to reach it.
package struct Member: Sendable, Equatable {
  package var id: NodeID
  /// The driver's own bytes: name, URLs. They travel with the membership and in snapshots.
  package var address: [UInt8]

  package init(id: NodeID, address: [UInt8]) {
    self.id = id
    self.address = address
  }
}

/// A configuration of the cluster. While it is joint, every decision needs a majority of `voters` and one of
/// `outgoing`.
package struct Membership: Sendable, Equatable {
  /// Who votes: the new side of a joint configuration.
  package internal(set) var voters: [NodeID]
  /// Who voted before a change that is still under way; empty when none is.
  package internal(set) var outgoing: [NodeID]
  /// Who gets the log and does not count (dissertation, section 4.2.1).
  package internal(set) var learners: [NodeID]
  /// All of the above, each once, by id.
  package internal(set) var members: [Member]

  /// Nobody: what a node has that waits to be added to a cluster.
  package static let nobody = Membership(voters: [NodeID]())

  package init(voters: [NodeID]) {
    self.init(voters: voters.map { Member(id: $0, address: []) }, learners: [])
  }

  package init(voters: [Member], learners: [Member]) {
    self.voters = voters.map(\.id).sorted()
    outgoing = []
    self.learners = learners.map(\.id).sorted()
    members = (voters + learners).sorted { $0.id < $1.id }
    for (one, other) in zip(members, members.dropFirst()) {
      precondition(one.id != other.id, "\(one.id) is named twice among the members")
    }
  }

  /// The smallest number of voters of which any two groups share a member.
  package var quorum: Int { voters.count / 2 + 1 }

  package var isJoint: Bool { !outgoing.isEmpty }

  /// Votes, on either side of a joint configuration.
  package func isVoter(_ node: NodeID) -> Bool { voters.contains(node) || outgoing.contains(node) }
  package func isLearner(_ node: NodeID) -> Bool { learners.contains(node) }
  package func contains(_ node: NodeID) -> Bool { members.contains { $0.id == node } }
  package subscript(node: NodeID) -> Member? { members.first { $0.id == node } }
}

/// What somebody wants to change. The leader turns it into a joint configuration and, once that is committed, into the
/// final one.
package enum MembershipChange: Sendable, Equatable {
  case addLearner(Member)
  /// Without waiting for the node to catch up. Meant for small logs; `addLearner` and `promote` are the safe way.
  case addVoter(Member)
  /// Refused while the learner lacks more than `Limits.maxPromotionLag` entries.
  case promote(NodeID)
  case remove(NodeID)
  /// Puts a learner that has caught up in the place of a voter, in one joint step.
  case replace(NodeID, with: NodeID)
  /// New addresses for a member that stays what it is.
  case update(Member)
}

/// The payload of a proposal of kind `membership`: what a follower hands on to its leader.
package struct MembershipRequest: Sendable, Equatable {
  package var change: MembershipChange
  /// The driver's own bytes, by which it finds the caller when the change is complete.
  package var context: [UInt8]

  package init(change: MembershipChange, context: [UInt8]) {
    self.change = change
    self.context = context
  }
}

/// The payload of an entry of kind `membership`.
package struct MembershipRecord: Sendable, Equatable {
  package var membership: Membership
  /// Of the request that began the change. The final record of a joint change carries it again.
  package var context: [UInt8]

  package init(membership: Membership, context: [UInt8]) {
    self.membership = membership
    self.context = context
  }
}
