// Owns the names of what goes wrong and of what must have been reached.
// Must never: reuse a name for something else; reports of different versions are compared by them.
// Invariant: a case's raw value is its place in every list of counts.

/// What can go wrong in the world. Each seed picks its own subset.
package enum FaultKind: Int, CaseIterable, Sendable {
  case crash
  /// A voter crashes as soon as its vote has left it, and is back at once.
  case crashAfterVote
  case powerCut
  case splitPartition
  case isolation
  case oneWayPartition
  /// Two nodes that cannot reach each other while everybody else reaches both.
  case linkCut
  case lostMessage
  case repeatedMessage
  case lateMessage
  case diskStall
  /// A crash loses writes that were not flushed.
  case lostWrites
  /// A crash keeps later writes and loses an earlier one, or half of it: the tail is torn.
  case tornWrite
  /// A flush reports an error. The process ends and what was being written is anybody's guess.
  case flushError
  case diskFull
  /// A bit of an entry that was durable changes.
  case entryRot
  /// A bit of a snapshot that was durable changes.
  case snapshotRot
  /// A write lands on another entry: two records no longer check.
  case misdirectedWrite
  /// A disk is lost for good. Its node is replaced by one of another identity.
  case wipedDisk
  /// The process stands still; its clock goes on.
  case freeze
  case clockJump
  case clockFreeze
  case clockDrift
  case transfer
  /// Members are added, promoted, replaced and removed.
  case reconfiguration
  case gatewayCrash
  /// A holder stands still and writes afterwards, with whatever token it had.
  case holderPause
  /// The cluster is taken for a restored one: its incarnation rises and its numbers begin anew.
  case incarnationRaised
}

/// States that a long run must have reached, or it has tested less than it claims.
package enum Milestone: Int, CaseIterable, Sendable {
  case snapshotTaken
  case logCompacted
  case restartedFromSnapshot
  case snapshotSent
  case snapshotInstalled
  case snapshotTransferResumed
  case snapshotReplacedWhileSent
  case fetchedFromDisk
  case jointConfiguration
  case crashInJointConfiguration
  case learnerAdded
  case learnerPromoted
  case memberRemoved
  case leaderRemoved
  case deadNodeReplaced
  case changeRefused
  case tornTailCut
  case damageFound
  case damageRepaired
  case snapshotFallback
  case storageFull
  case storageFullRefusal
  case storageRecovered
  case leadershipGivenUpFull
  case proposalRefused
  case outcomeUnknown
  case unknownButApplied
  case readByFollower
  case readRefused
  case comparedAndFailed
  case retriedExactlyOnce
  case duplicateSuppressed
  case clientEvicted
  case leaseExpired
  case renewalBeatExpiry
  case waiterGranted
  case waiterDismissed
  case waitCancelled
  case lateRelease
  case floorRaised
  case staleWriteRefused
  case lateWriteOfPausedHolder
  case lowerIncarnationRefused
  case gatewayLostUncommitted
  case gatewayKeptUnanswered
  case watchResumedElsewhere
  case watchBehindItsNode
  case watchResumedAfterCompaction
  case minorityDownWhileHealing
  /// Several scopes were granted at once, to one who asked or to one who waited.
  case grantedTogether
  case waiterGrantedTogether
  /// Somebody joined those who share a scope, or several who waited share it now.
  case shareJoined
  case sharersHandedOn
  case upgradeRefused
  /// The scope is free, and somebody who waits for it and for another came earlier.
  case refusedForWhoCameEarlier
  case refusedWhileClosed
  case scopeReopened
  case waiterGrantedAtReopening
  case sessionClosedHolding
  case proclaimed
  case guardedWriteApplied
  case guardedWriteRefused
  case barrierAwaited
  case barrierPassed
  case barrierTimedOut
  /// Somebody asked again, by another node, for what one was about to give back.
  case keptThoughTimedOut
  /// The barrier was preferred, and the holder told without it.
  case toldUnconfirmed
  /// The lease was over before the gateways had confirmed.
  case lostBehindBarrier
  case olderConfirmationIgnored
  case olderRefusedByGateway
  case protectorCrashed
  case protectorLost
  case gatewayRetired
}
