// Owns the names of the defects that a world can have on purpose, to prove that the checkers would notice them.
// Must never: be a switch in production code. Each lives in the world: in a disk, a network, a client or a driver that
// lies, or in what is handed to a core and taken from it.
// Invariant: a bug changes nothing where it is not asked for.

package enum PlantedBug: String, CaseIterable, Sendable {
  /// Always found, in any seed: proves that an alarm ends the run.
  case canary

  // Elections and logs.

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
  /// An entry of an earlier term counts as committed once a majority has it.
  case priorTermCounted
  /// A damaged log passes for a whole one.
  case damageIgnored
  /// A full disk reports writes as durable that wait for room, and nobody is told that it is full.
  case fullDiskAcknowledges
  /// Nobody is told that the disk is full.
  case fullDiskUnnoticed

  // Membership and snapshots.

  /// A learner's acknowledgement counts as a voter's.
  case learnerCounted
  /// In a joint configuration the old side is taken for agreeing.
  case jointOneSided
  /// A snapshot names other members than those of its point.
  case snapshotMembershipWrong
  /// The entry after an installed snapshot is not applied.
  case applySkippedAfterInstall

  // Reads and answers.

  /// Reads are served from what a node has, without asking.
  case readFromMemory
  /// Reads are served before the node has applied what it was told to wait for.
  case readBeforeApplied
  /// Heartbeats that were cut off are answered in the name of the follower.
  case confirmationForged
  /// The answer to one round of read confirmations passes for one to the next.
  case oldRoundConfirms
  /// A request that is sent again is executed again.
  case executedTwice

  // Leases, fences and watches.

  /// Leases are expired half a TTL too early.
  case leaseExpiresEarly
  /// An expiry does not look whether the lease was renewed meanwhile.
  case generationIgnored
  /// A holder counts its deadline from the answer to its renewal and not from sending it.
  case deadlineFromAnswer
  /// A release ends whatever grant the scope has.
  case releaseIgnoresNumber
  /// The fence takes "higher" for "at least as high": `>` where `>=` belongs.
  case fenceRefusesEqual
  /// A write is decided on when it comes in and not in the transaction that writes.
  case fenceCheckedEarly
  /// A floor is raised in memory and only sometimes on disk.
  case floorNotDurable
  /// Numbers are compared without their incarnations.
  case incarnationIgnored
  /// A watcher misses a revision.
  case watchSkipsRevision
  /// A watcher goes on after its node's revision and not after the last event that it processed.
  case watchResumesFromHeader

  // Sessions, and grants on terms.

  /// Of scopes that are asked for together and are not all free, the first is granted alone.
  case grantedInPart
  /// Whoever waits longest is passed by when a scope is handed on.
  case laterPassesBy
  /// A share is granted beside a holder.
  case shareBesideHolder
  /// A scope is opened again half a TTL too early.
  case reopenedEarly
  /// A session that its holder closes is taken for a lost one.
  case closeTakenForLoss
  /// A guard is looked at by the node that is asked, and not in the order of the log.
  case guardCheckedBeforeLog
  /// Holders are told before any gateway has confirmed.
  case barrierNotAwaited
  /// A node that could not tell of a grant ends it, though the session has asked again and was told by another node.
  case givenBackFromHolder
  /// A gateway's word about an older number counts as that about the newest one.
  case olderConfirmationCounts
  /// A gateway confirms a raise before it is durable.
  case confirmedBeforeDurable
  /// A gateway that crashed has forgotten its floors.
  case floorForgotten
  /// A gateway does not look at the floor when somebody writes.
  case olderLetIn

  // Liveness.

  /// Disks stop reporting once the faults are over.
  case diskFallsSilent
}

extension PlantedBug {
  /// Whether it shows only where somebody contends for scopes on terms.
  var isOfContention: Bool {
    switch self {
    case .grantedInPart, .laterPassesBy, .shareBesideHolder, .reopenedEarly, .closeTakenForLoss,
      .guardCheckedBeforeLog, .barrierNotAwaited, .givenBackFromHolder, .olderConfirmationCounts,
      .confirmedBeforeDurable, .floorForgotten,
      .olderLetIn:
      true
    default: false
    }
  }
}
