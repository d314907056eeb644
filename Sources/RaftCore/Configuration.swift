// Owns what a node is told when it starts: who it is, who votes, how patient it is and every limit it keeps.
// Must never: change while the node runs. Changes of membership go through the log (Membership.swift).
// Invariant: what is here was known before the first step.

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
  /// Bytes of a snapshot in one message. One such message at a time is on its way to a follower.
  package var maxSnapshotChunkBytes: Int
  /// Entries kept behind a snapshot, so that a follower that is a little behind need not take all of it.
  package var trailingEntries: Int
  /// A learner may be promoted when it lacks no more entries than this of the leader's log.
  package var maxPromotionLag: Int
  package var maxLearners: Int
  /// How long a leader keeps entries that a snapshot stands for, for followers that still need them. In ticks.
  package var maxCompactionHoldTicks: Int

  package init(
    maxMessageBytes: Int = 1 << 20, maxInFlightMessages: Int = 256, maxInFlightBytes: Int = 16 << 20,
    maxUncommittedBytes: Int = 64 << 20, cachedEntryBytes: Int = 64 << 20, maxCachedEntries: Int = 256 << 10,
    maxPendingReads: Int = 64 << 10, maxReadRounds: Int = 4, maxSnapshotChunkBytes: Int = 1 << 20,
    trailingEntries: Int = 10_000, maxPromotionLag: Int = 1000, maxLearners: Int = 1,
    maxCompactionHoldTicks: Int = 6000
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
    precondition(maxSnapshotChunkBytes > 0 && trailingEntries >= 0 && maxPromotionLag >= 0 && maxLearners >= 0)
    self.maxSnapshotChunkBytes = maxSnapshotChunkBytes
    self.trailingEntries = trailingEntries
    self.maxPromotionLag = maxPromotionLag
    self.maxLearners = maxLearners
    precondition(maxCompactionHoldTicks >= 0)
    self.maxCompactionHoldTicks = maxCompactionHoldTicks
  }
}

package struct Configuration: Sendable {
  package var id: NodeID
  /// What counts while neither the log nor a snapshot says otherwise: the members of a cluster that is being founded,
  /// or nobody for a node that waits to be added to one.
  package var membership: Membership
  /// Ticks between two heartbeats of a leader.
  package var heartbeatTicks: Int
  /// Ticks without a leader after which an election may begin; each wait is drawn from [n, 2n).
  package var electionTicks: Int
  /// Must differ from one start of this node to the next: election jitter and the node's epoch are drawn from it.
  package var seed: UInt64
  package var limits: Limits

  package init(
    id: NodeID, membership: Membership, heartbeatTicks: Int = 10, electionTicks: Int = 100, seed: UInt64,
    limits: Limits = Limits()
  ) {
    self.id = id
    self.membership = membership
    self.heartbeatTicks = heartbeatTicks
    self.electionTicks = electionTicks
    self.seed = seed
    self.limits = limits
  }

  /// A founding cluster whose members have no addresses, for tests and the simulator.
  package init(
    id: NodeID, voters: [NodeID], heartbeatTicks: Int = 10, electionTicks: Int = 100, seed: UInt64,
    limits: Limits = Limits()
  ) {
    self.init(
      id: id, membership: Membership(voters: voters), heartbeatTicks: heartbeatTicks, electionTicks: electionTicks,
      seed: seed, limits: limits)
  }
}
