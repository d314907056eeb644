// Owns what a node is told when it starts: who it is, who votes, how patient it is and every limit it keeps.
// Must never: change while the node runs. A change of membership will go through the log.
// Invariant: voters are sorted and distinct, so that every node sees them in the same order.

/// Who takes part. Learners and joint configurations will be added here and reach nodes as `Entry.Kind.membership`.
package struct Membership: Sendable, Equatable {
  /// Sorted and distinct.
  package let voters: [NodeID]

  package init(voters: [NodeID]) {
    let sorted = voters.sorted()
    precondition(!sorted.isEmpty, "a cluster needs at least one voter")
    for (one, other) in zip(sorted, sorted.dropFirst()) {
      precondition(one != other, "\(one) is named twice among the voters")
    }
    self.voters = sorted
  }

  /// The smallest number of voters of which any two groups share a member.
  package var quorum: Int { voters.count / 2 + 1 }

  package func contains(_ node: NodeID) -> Bool { voters.contains(node) }
}

/// Every bound that the core keeps, in one place.
package struct Limits: Sendable, Equatable {
  /// Entries of one `AppendEntries`, proposals of one `Propose`. A single larger entry still travels alone.
  package var maxMessageBytes: Int
  /// `AppendEntries` on their way to one follower.
  package var maxInFlightMessages: Int
  package var maxInFlightBytes: Int
  /// Entries of the leader's own term that are not committed yet. Beyond it proposals are refused.
  package var maxUncommittedBytes: Int
  /// Entries kept in memory for followers and for applying; older ones are fetched from storage.
  package var cachedEntryBytes: Int
  package var maxCachedEntries: Int
  /// Reads that wait for a confirmation of leadership. Beyond it reads are refused.
  package var maxPendingReads: Int
  /// Confirmations of leadership under way at once. Reads that come meanwhile share the next one.
  package var maxReadRounds: Int

  package init(
    maxMessageBytes: Int = 1 << 20, maxInFlightMessages: Int = 256, maxInFlightBytes: Int = 16 << 20,
    maxUncommittedBytes: Int = 64 << 20, cachedEntryBytes: Int = 64 << 20, maxCachedEntries: Int = 256 << 10,
    maxPendingReads: Int = 64 << 10, maxReadRounds: Int = 4
  ) {
    precondition(maxMessageBytes > 0 && maxInFlightMessages > 0 && maxInFlightBytes > 0 && maxUncommittedBytes > 0)
    precondition(cachedEntryBytes >= 0 && maxCachedEntries >= 0 && maxPendingReads > 0 && maxReadRounds > 0)
    self.maxMessageBytes = maxMessageBytes
    self.maxInFlightMessages = maxInFlightMessages
    self.maxInFlightBytes = maxInFlightBytes
    self.maxUncommittedBytes = maxUncommittedBytes
    self.cachedEntryBytes = cachedEntryBytes
    self.maxCachedEntries = maxCachedEntries
    self.maxPendingReads = maxPendingReads
    self.maxReadRounds = maxReadRounds
  }
}

package struct Configuration: Sendable {
  package var id: NodeID
  package var voters: [NodeID]
  /// Ticks between two heartbeats of a leader.
  package var heartbeatTicks: Int
  /// Ticks without a leader after which an election may begin; each wait is drawn from [n, 2n).
  package var electionTicks: Int
  /// Must differ from one start of this node to the next: election jitter and the node's epoch are drawn from it.
  package var seed: UInt64
  package var limits: Limits

  package init(
    id: NodeID, voters: [NodeID], heartbeatTicks: Int = 10, electionTicks: Int = 100, seed: UInt64,
    limits: Limits = Limits()
  ) {
    self.id = id
    self.voters = voters
    self.heartbeatTicks = heartbeatTicks
    self.electionTicks = electionTicks
    self.seed = seed
    self.limits = limits
  }
}
