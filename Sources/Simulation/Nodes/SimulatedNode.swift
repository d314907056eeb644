// Owns one node of the world: the core and the state, unchanged, and what a driver keeps beside them.
// Must never: let anything of one life reach the next but what its disk kept.
// Invariant: `raft` is nil exactly while the node is down.

import CoordinationCore
import RaftCore

/// A class, because the world holds its nodes in a list and changes them in place at every step.
final class SimulatedNode {
  struct WaitingRead {
    var operation: UInt64
    var index: RaftCore.Index
  }

  /// A snapshot that is coming in.
  struct Staging {
    var description: SnapshotDescription
    var bytes: [UInt8]
    var isChecked = false
  }

  let id: NodeID
  let position: Int
  var raft: Raft?
  /// Rises with each start. Whatever was scheduled for an earlier life is void.
  var life: UInt64 = 0
  /// Its disk is lost or it was taken out of service: it never starts again, and its identity is never given away.
  var isGone = false
  var disk = SimulatedDisk()
  /// What came in since the last step.
  var inputs: [Input] = []
  var isScheduled = false
  var frozenUntil: UInt64 = 0
  var localClock: LocalClock
  let tickMicroseconds: UInt64
  /// Who it takes for members, as the core last said.
  var membership: Membership
  let founding: Membership

  // The state machine.
  var state = Coordination()
  var clock = ClusterClock(startMilliseconds: 0, longestStepMilliseconds: 0)
  var applied = RaftCore.Index.beforeFirst
  var appliedTerm = Term(0)
  var appliedClock: UInt64 = 0
  /// A planted bug: the next entry is not applied.
  var skipsNext = false

  // Who waits for what.
  var pendingReads: Set<UInt64> = []
  var waitingReads: [WaitingRead] = []
  /// Acquires of this node that are queued. Looked up by ticket, never walked.
  var waits: [Ticket: UInt64] = [:]
  /// Answers that are held back for gateways to confirm.
  var held: [HeldAnswer] = []

  // Snapshots.
  var isTakingSnapshot = false
  var lastSnapshot = RaftCore.Index.beforeFirst
  var staging: Staging?
  /// What `snapshotReady` was reported for: its state, read and waiting for the core's word.
  var prepared: (description: SnapshotDescription, state: Coordination)?

  var housekeeping = SimulatedHousekeeping()
  var wasLeader = false

  init(
    position: Int, tickMicroseconds: UInt64, localClock: LocalClock, founding: Membership
  ) {
    self.id = NodeID(UInt64(position) + 1)
    self.position = position
    self.tickMicroseconds = tickMicroseconds
    self.localClock = localClock
    self.founding = founding
    membership = founding
  }

  var isUp: Bool { raft != nil }
  var role: Role? { raft?.role }

  func start(configuration: Configuration, opened: Opened, longestStepMilliseconds: UInt64) throws(StateError) {
    life += 1
    state = Coordination()
    applied = .beforeFirst
    appliedTerm = Term(0)
    if let snapshot = opened.snapshot {
      state = try SnapshotCodec.decode(snapshot.bytes)
      applied = snapshot.description.point.index
      appliedTerm = snapshot.description.point.term
      appliedClock = snapshot.description.point.clockMilliseconds
    }
    lastSnapshot = applied
    clock = ClusterClock(
      startMilliseconds: opened.restored.lastClockMilliseconds, longestStepMilliseconds: longestStepMilliseconds)
    raft = Raft(configuration: configuration, restored: opened.restored)
  }

  /// Forgets everything but the disk.
  func stop() {
    raft = nil
    inputs = []
    isScheduled = false
    frozenUntil = 0
    pendingReads = []
    waitingReads = []
    waits = [:]
    held = []
    isTakingSnapshot = false
    staging = nil
    prepared = nil
    wasLeader = false
    housekeeping = SimulatedHousekeeping()
  }
}

/// Whole states as bytes.
enum SnapshotCodec {
  /// Of the bytes of the state, which are the same for the same state.
  static func digest(_ state: Coordination) -> UInt64 { Checksum.of(encode(state)) }

  static func encode(_ state: Coordination) -> [UInt8] {
    var writer = StateWriter(state)
    var bytes: [UInt8] = []
    while let piece = writer.next(maxBytes: 1 << 16) { bytes += piece }
    return bytes
  }

  static func decode(_ bytes: [UInt8]) throws(StateError) -> Coordination {
    var reader = StateReader()
    try reader.read(bytes)
    return try reader.finish()
  }
}
