// Where the time of a commit went, from the call that proposed it to its answer, in stages that sum to the total.
//
//   own_disk    queue · append · flush_wait · flush · quorum                   · apply · reply
//   peer        queue · append · peer_wait · peer_flush · network              · apply · reply
//   forwarded   forward                                                        · apply · reply
//
// A commit waits for several disks at once, so only one of them can be said to have taken its time: that by which the
// quorum became complete. All instants are of one node's monotonic clock. A peer tells how long it had the entries and
// how long its flush took, never when: clocks of two machines have nothing to do with each other.

/// One stretch of a commit's way. The names are those of the metrics.
package enum CommitStage: String, CaseIterable, Sendable {
  /// From the call to the turn of the loop that takes it.
  case queue
  /// Until the entry is in the log in memory, on its way to the disk and to the peers.
  case append
  /// Until the log writer, which may be busy with the group before, begins to flush.
  case flushWait = "flush_wait"
  case flush
  /// From this node's own flush until the loop knows of the quorum that it completed.
  case quorum
  /// What the peer had the entries for and did not flush: its loop, and the group before.
  case peerWait = "peer_wait"
  case peerFlush = "peer_flush"
  /// What is left of the way to the peer and back: both directions, and the loops that take what came in.
  case network
  /// On a follower: from the call until it knows that the entry is committed, by way of the leader.
  case forward
  /// Until everything of this turn is applied.
  case apply
  /// Until the state is published, watchers are told and the answer is with its connection.
  case reply
}

/// What completed the quorum.
package enum CommitPath: String, CaseIterable, Sendable {
  case ownDisk = "own_disk"
  case peer
  /// The leader is another node, and keeps the account of its part.
  case forwarded

  package var stages: [CommitStage] {
    switch self {
    case .ownDisk: [.queue, .append, .flushWait, .flush, .quorum, .apply, .reply]
    case .peer: [.queue, .append, .peerWait, .peerFlush, .network, .apply, .reply]
    case .forwarded: [.forward, .apply, .reply]
    }
  }
}

/// The instants that the entries of one group share, in nanoseconds of the monotonic clock, each at or after the one
/// before.
package struct CommitTimeline: Sendable, Equatable {
  package enum Quorum: Sendable, Equatable {
    case ownDisk(flushBegan: UInt64, flushEnded: UInt64)
    /// Durations, as the peer reported them; together no longer than from `appended` to `committed`.
    case peer(wait: UInt64, flush: UInt64)
    case forwarded
  }

  package var dequeued: UInt64
  package var appended: UInt64
  package var quorum: Quorum
  package var committed: UInt64
  package var applied: UInt64

  package init(dequeued: UInt64, appended: UInt64, quorum: Quorum, committed: UInt64, applied: UInt64) {
    (self.dequeued, self.appended, self.quorum) = (dequeued, appended, quorum)
    (self.committed, self.applied) = (committed, applied)
  }

  package var path: CommitPath {
    switch quorum {
    case .ownDisk: .ownDisk
    case .peer: .peer
    case .forwarded: .forwarded
    }
  }

  /// The lengths of the path's stages, in its order, for an entry of this group. They sum to `replied - proposed`.
  package func durations(proposed: UInt64, replied: UInt64) -> [UInt64] {
    var durations: [UInt64] = []
    eachDuration(proposed: proposed, replied: replied) { _, nanoseconds in durations.append(nanoseconds) }
    return durations
  }

  /// The same, each with its place in the order. Without a list, since it is asked for every answer.
  func eachDuration(proposed: UInt64, replied: UInt64, _ body: (Int, UInt64) -> Void) {
    var (place, last) = (0, proposed)
    func until(_ instant: UInt64) {
      body(place, instant > last ? instant - last : 0)
      (place, last) = (place + 1, instant)
    }
    if quorum != .forwarded {
      until(dequeued)
      until(appended)
    }
    switch quorum {
    case .ownDisk(let began, let ended):
      until(began)
      until(ended)
    case .peer(let wait, let flush):
      until(appended + wait)
      until(appended + wait + flush)
    case .forwarded: break
    }
    until(committed)
    until(applied)
    until(replied)
  }
}
