// Owns how a snapshot of the state machine is spoken of: where it stands in the log, and how its bytes travel.
// Must never: look inside the bytes. What they mean is the state machine's, how they are kept is storage's.
// Invariant: two snapshots with equal descriptions have the same bytes.

/// The place in the log that a snapshot stands for: it holds the effect of every entry up to it.
package struct SnapshotPoint: Sendable, Equatable {
  package var index: Index
  package var term: Term
  package var clockMilliseconds: UInt64
  /// The configuration in force at `index` (Raft paper, section 7).
  package var membership: Membership

  package init(index: Index, term: Term, clockMilliseconds: UInt64, membership: Membership) {
    self.index = index
    self.term = term
    self.clockMilliseconds = clockMilliseconds
    self.membership = membership
  }
}

/// A whole snapshot as its owner offers it.
package struct SnapshotDescription: Sendable, Equatable {
  package var point: SnapshotPoint
  package var totalBytes: UInt64
  /// CRC-32C of all its bytes.
  package var checksum: UInt32

  package init(point: SnapshotPoint, totalBytes: UInt64, checksum: UInt32) {
    self.point = point
    self.totalBytes = totalBytes
    self.checksum = checksum
  }
}

/// What a leader asks of its storage for a follower that needs more than the log still holds.
package struct SnapshotRead: Sendable, Equatable {
  package var peer: NodeID
  package var term: Term
  /// nil asks for the newest snapshot, from its start.
  package var description: SnapshotDescription?
  package var offset: UInt64
  package var maxBytes: Int

  package init(peer: NodeID, term: Term, description: SnapshotDescription?, offset: UInt64, maxBytes: Int) {
    self.peer = peer
    self.term = term
    self.description = description
    self.offset = offset
    self.maxBytes = maxBytes
  }
}

/// A stretch of a snapshot's bytes.
package struct SnapshotChunk: Sendable, Equatable {
  package var description: SnapshotDescription
  package var offset: UInt64
  package var bytes: [UInt8]

  package init(description: SnapshotDescription, offset: UInt64, bytes: [UInt8]) {
    self.description = description
    self.offset = offset
    self.bytes = bytes
  }

  package var end: UInt64 { offset + UInt64(bytes.count) }
  package var isLast: Bool { end == description.totalBytes }
}
