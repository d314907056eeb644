// Owns the two sides of a step: what may happen to a node and what the node wants done.
// Must never: name a socket, a file or a clock. The driver and the simulator both live on these types alone.
// Invariant: effects are to be carried out in the order in which they are returned.

/// Something that somebody wants in the log.
package struct Proposal: Sendable, Equatable {
  /// The proposer's own number for it, which comes back in a refusal.
  package var id: UInt64
  /// `membership`: the payload is an encoded `MembershipRequest`. A `noOp` comes only from a node
  /// whose log has to outgrow a loss, with the number 0, and is never answered.
  package var kind: Entry.Kind
  package var payload: [UInt8]

  package init(id: UInt64, kind: Entry.Kind = .command, payload: [UInt8]) {
    self.id = id
    self.kind = kind
    self.payload = payload
  }
}

/// Why a proposal or a read was turned down. Both were certainly not carried out.
package enum Refusal: UInt8, Sendable {
  /// No leader is known at present: retry shortly or elsewhere.
  case noLeader = 1
  /// The leader is handing over and takes nothing meanwhile: retry shortly.
  case leadershipTransfer = 2
  /// Too many bytes wait for a quorum: slow down.
  case tooManyUncommittedBytes = 3
  /// Reads only: the leader lost its leadership before it could confirm it.
  case leadershipLost = 4
  /// Reads only: too many wait already.
  case tooManyReads = 5
  /// Reads only: the leader did not answer in time.
  case leaderSilent = 6
  /// This node's disk, or the leader's, has no room but its reserve: free some, and writing goes on by itself.
  case storageFull = 7
  /// An earlier change of membership is not complete: retry when it is.
  case membershipChangeUnderWay = 8
  /// The change names a node that is no member, or that is no learner where one is needed.
  case noSuchMember = 9
  case alreadyMember = 10
  /// The learner lacks too much of the log to be counted on: retry when it has caught up.
  case learnerIsBehind = 11
  case tooManyLearners = 12
  /// The change would leave nobody to vote.
  case noVoterWouldRemain = 13
  /// The bytes of the change cannot be read.
  case malformedChange = 14
}

/// Entries that a lagging peer needs and that are no longer in memory. The driver reads them from its storage and
/// hands them back in `Input.fetched`; it may hand back fewer, but from `first` on and at least one. A request for what
/// `Effect.compact` has let go of since is void and needs no answer.
package struct FetchRequest: Sendable, Equatable {
  package var peer: NodeID
  package var term: Term
  package var first: Index
  package var last: Index
  package var maxBytes: Int

  package init(peer: NodeID, term: Term, first: Index, last: Index, maxBytes: Int) {
    self.peer = peer
    self.term = term
    self.first = first
    self.last = last
    self.maxBytes = maxBytes
  }
}

/// What comes with a snapshot is kept apart, since large cases would make every copy of a small one large.
package enum Input: Sendable {
  case tick
  case received(Message, from: NodeID)
  case propose([Proposal])
  /// This write and all before it are durable.
  case persisted(sequence: UInt64)
  case readIndex(id: UInt64)
  case fetched(FetchRequest, entries: [Entry])
  /// The connection to a peer was lost, and with it whatever was on its way.
  case unreachable(NodeID)
  /// Only a leader can hand over; elsewhere it does nothing.
  case transferLeadership(to: NodeID)
  /// The state machine has taken everything up to here, so the core may let go of it.
  case applied(through: Index)
  /// A snapshot of the state machine at this point is whole and durable on this node: the log before it may go.
  indirect case snapshotTaken(SnapshotPoint)
  /// The answer to `Effect.readSnapshot`; nil when that snapshot, or any, is not there.
  indirect case snapshotRead(SnapshotRead, SnapshotChunk?)
  /// The bytes of this snapshot up to `through` are staged. They need not survive a crash.
  indirect case snapshotStaged(SnapshotDescription, through: UInt64)
  /// All bytes are there and durable, they checked, and the state in them was read: it can be installed at once.
  indirect case snapshotReady(SnapshotDescription)
  /// All bytes are there and are not a snapshot that this node can read.
  indirect case snapshotRejected(SnapshotDescription)
  /// Whether the disk has room for more than its reserve.
  case storage(isWritable: Bool)
}

package enum Role: UInt8, Sendable {
  case follower
  case preCandidate
  case candidate
  case leader
}

package struct Leadership: Sendable, Equatable {
  package var role: Role
  package var term: Term
  package var leader: NodeID?

  package init(role: Role, term: Term, leader: NodeID?) {
    self.role = role
    self.term = term
    self.leader = leader
  }
}

package enum Effect: Sendable {
  /// To be written strictly in order. Nobody waits for it: the driver reports it with `Input.persisted`.
  case persist(Persist)
  /// May leave now. What must be durable first is held inside the core until it is.
  case send(Message, to: NodeID)
  /// Everything up to here is committed. It may be ahead of this node's own disk.
  case commit(through: Index)
  /// Certainly not applied, now or later, by this attempt.
  case refuse(proposals: [UInt64], Refusal)
  /// Serve these reads once everything up to `index` is applied.
  case readReady(ids: [UInt64], index: Index)
  case refuseRead(ids: [UInt64], Refusal)
  case fetch(FetchRequest)
  /// Role, term or leader changed.
  case leadership(Leadership)
  /// Asks storage for a stretch of a snapshot; to be answered with `Input.snapshotRead`.
  indirect case readSnapshot(SnapshotRead)
  /// A stretch that came in. One at offset 0 of another snapshot than before takes the place of what was staged. To be
  /// answered with `snapshotStaged`, and after the last stretch with `snapshotReady` or `snapshotRejected`.
  indirect case stageSnapshot(SnapshotChunk)
  /// The state machine becomes the snapshot that was reported ready. Comes right behind the `persist` whose `base` is
  /// the snapshot's point, and before any `commit` beyond it.
  indirect case installSnapshot(SnapshotDescription)
  /// Storage may remove all entries before this index, in small steps and at its leisure. They stay readable until
  /// then.
  case compact(before: Index)
  /// The configuration in force changed: by an entry that was appended or cut away again, or by a snapshot.
  case membership(Membership)
  /// This node's damaged log is whole again, and it takes part as any other.
  case repaired
}
