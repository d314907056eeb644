// Owns the picture of a node that operators and gauges see.
// Must never: be what a decision rests on. It is a copy and old as soon as it is made.

package struct Status: Sendable, Equatable {
  package struct Peer: Sendable, Equatable {
    package var id: NodeID
    package var isReplicating: Bool
    package var isActive: Bool
    package var matched: Index
    package var next: Index
    package var inFlightMessages: Int
    package var inFlightBytes: Int
    package var isVoter: Bool
    package var isLearner: Bool
    /// Set while it is sent a snapshot.
    package var snapshot: SnapshotProgress?
  }

  package struct SnapshotProgress: Sendable, Equatable {
    /// Of the snapshot's point. 0 until storage has named the snapshot.
    package var index: Index
    package var sentBytes: UInt64
    package var totalBytes: UInt64
  }

  package var id: NodeID
  package var role: Role
  package var term: Term
  package var leader: NodeID?
  package var commit: Index
  package var firstIndex: Index
  package var lastIndex: Index
  package var durableIndex: Index
  package var lastClockMilliseconds: UInt64
  package var cachedEntries: Int
  package var cachedBytes: Int
  /// In a leader: bytes of its own term that wait for a quorum.
  package var uncommittedBytes: Int
  package var pendingReads: Int
  package var transferTarget: NodeID?
  /// The configuration in force, committed or not.
  package var membership: Membership
  /// The log lost entries that it had acknowledged, and this node does not vote until it has them again.
  package var isImpaired: Bool
  package var isStorageWritable: Bool
  /// In a leader: how far every other member is.
  package var peers: [Peer]
}

extension Raft {
  package var status: Status {
    Status(
      id: id, role: role, term: term, leader: leader, commit: commit, firstIndex: log.firstIndex,
      lastIndex: log.lastIndex, durableIndex: ledger.durableThrough,
      lastClockMilliseconds: log.lastClockMilliseconds, cachedEntries: log.cachedCount, cachedBytes: log.cachedBytes,
      uncommittedBytes: leading.uncommittedBytes,
      pendingReads: role == .leader ? leading.reads.count : forwarding.readCount,
      transferTarget: leading.transfer?.target,
      membership: membership, isImpaired: damage != nil, isStorageWritable: isStorageWritable,
      peers: leading.peers.filter { $0.leaving == nil }.map(picture))
  }

  private func picture(_ peer: Progress) -> Status.Peer {
    let snapshot = leading.snapshotPosition(of: peer.id).map { position in
      let sending = leading.snapshots[position]
      return Status.SnapshotProgress(
        index: sending.description?.point.index ?? .beforeFirst, sentBytes: sending.offset,
        totalBytes: sending.description?.totalBytes ?? 0)
    }
    return Status.Peer(
      id: peer.id, isReplicating: peer.state == .replicate, isActive: peer.isActive, matched: peer.matched,
      next: peer.next, inFlightMessages: peer.inFlightCount, inFlightBytes: peer.inFlightBytes,
      isVoter: !peer.sides.isEmpty, isLearner: membership.isLearner(peer.id), snapshot: snapshot)
  }
}
