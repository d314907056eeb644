// Owns what a run of the simulator is given and what it gives back.
// Must never: carry anything by which two runs of one seed could differ.
// Invariant: seed and options determine the report, to the last bit of its digest.

package import RaftCore

/// A defect that the world has on purpose, to prove that the checkers would notice it. All of them are outside the
/// core: a disk that lies, a network that forges, a client that does not wait.
package enum PlantedBug: String, CaseIterable, Sendable {
  /// A restarted node has forgotten whom it voted for.
  case voteNotPersisted
  /// A restarted node has forgotten every term that left no entry.
  case termNotPersisted
  /// The disk reports a write before it is durable.
  case reportedBeforeDurable
  /// A crash takes entries that were durable.
  case diskForgets
  /// A refused vote arrives as a granted one.
  case voteForged
  /// A conflict arrives as an acknowledgement.
  case acknowledgementForged
  /// A byte of an entry changes on its way.
  case payloadChanged
  /// A forwarded proposal that arrives twice looks like two.
  case proposalRepeated
  /// Reads are served from what a node has, without asking.
  case readFromMemory
  /// Reads are served before the node has applied what it was told to wait for.
  case readBeforeApplied
  /// Heartbeats that were cut off are answered in the name of the follower.
  case confirmationForged
  /// Disks stop reporting once the faults are over.
  case diskFallsSilent
}

/// What can go wrong in the world. Each seed picks its own subset.
package enum FaultKind: String, CaseIterable, Sendable {
  case crash
  /// A voter crashes as soon as its vote has left it, and is back at once.
  case crashAfterVote
  case powerCut
  case splitPartition
  case isolation
  case oneWayPartition
  /// Two nodes that cannot reach each other while everybody else reaches both.
  case linkCut
  case diskStall
  case freeze
  case clockJump
  case transfer
  case lostMessage
  case repeatedMessage
  case lateMessage
  case lostWrites
}

package struct SimulationOptions: Sendable {
  /// nil lets the seed choose.
  package var nodeCount: Int?
  /// How long faults go on, in simulated time.
  package var faultMilliseconds: UInt64
  /// How long a healed cluster may take, in simulated time, to serve again, and then to come one entry closer to
  /// agreement.
  package var livenessMilliseconds: UInt64
  /// nil lets the seed choose.
  package var proposalsPerSecond: UInt64?
  package var plantedBug: PlantedBug?

  package init(
    nodeCount: Int? = nil, faultMilliseconds: UInt64 = 20_000, livenessMilliseconds: UInt64 = 30_000,
    proposalsPerSecond: UInt64? = nil, plantedBug: PlantedBug? = nil
  ) {
    precondition(nodeCount.map { $0 > 0 } ?? true, "a cluster needs at least one node")
    precondition(proposalsPerSecond.map { $0 > 0 } ?? true, "the load is at least one proposal a second")
    self.nodeCount = nodeCount
    self.faultMilliseconds = faultMilliseconds
    self.livenessMilliseconds = livenessMilliseconds
    self.proposalsPerSecond = proposalsPerSecond
    self.plantedBug = plantedBug
  }
}

/// A rule that did not hold.
package struct Violation: Sendable, Equatable {
  package var rule: String
  package var detail: String
  package var atMicroseconds: UInt64
  /// What happened last, oldest first.
  package var lastEvents: [String]
}

package struct FaultCount: Sendable, Equatable {
  package var kind: FaultKind
  package var count: Int
}

package struct SimulationReport: Sendable, Equatable {
  package var seed: UInt64
  package var nodeCount: Int
  /// Of everything that happened: two runs of one seed must agree in it.
  package var digest: UInt64
  package var events: UInt64
  package var simulatedMicroseconds: UInt64
  /// In the order of `FaultKind.allCases`.
  package var faults: [FaultCount]
  package var elections: Int
  package var lastTerm: Term
  package var committedEntries: Int
  package var proposalsAcknowledged: Int
  package var proposalsRefused: Int
  package var proposalsUnknown: Int
  package var readsServed: Int
  package var readsRefused: Int
  package var violation: Violation?
}
