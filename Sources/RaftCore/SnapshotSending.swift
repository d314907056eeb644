// Owns the leader's side of a snapshot's way to a follower that needs more than the log still has.
// Must never: have more than one chunk on its way to a follower, or hold a snapshot's bytes.
// Invariants: there is one `SnapshotSending` for each peer in the state `snapshot`; a follower that answers is asked
// where it stands, so what it has staged is never sent again (Raft paper, section 7; dissertation, section 5.1).

struct SnapshotSending: Sendable {
  let peer: NodeID
  /// nil until storage has said which snapshot is the newest.
  var description: SnapshotDescription?
  /// Where the newest chunk begins.
  var offset: UInt64 = 0
  /// Asked of storage and not answered yet.
  var reading: SnapshotRead?
  /// When the last message left.
  var sinceTick: UInt64 = 0
  /// The follower was asked where it stands, so an answer that names the old place is no late one.
  var hasAsked = false
}

extension Leading {
  func snapshotPosition(of peer: NodeID) -> Int? { snapshots.firstIndex { $0.peer == peer } }
}

extension Raft {
  mutating func beginSnapshot(for position: Int) {
    let peer = leading.peers[position].id
    precondition(leading.snapshotPosition(of: peer) == nil, "\(peer) is sent a snapshot already")
    leading.peers[position].beginSnapshot()
    leading.snapshots.append(SnapshotSending(peer: peer))
    readSnapshot(leading.snapshots.count - 1)
  }

  private mutating func readSnapshot(_ sending: Int) {
    let state = leading.snapshots[sending]
    let request = SnapshotRead(
      peer: state.peer, term: term, description: state.description, offset: state.offset,
      maxBytes: limits.maxSnapshotChunkBytes)
    leading.snapshots[sending].reading = request
    answers.append(.readSnapshot(request))
  }

  mutating func snapshotRead(_ request: SnapshotRead, _ chunk: SnapshotChunk?) {
    guard role == .leader, request.term == term, let sending = leading.snapshotPosition(of: request.peer) else {
      return
    }
    guard leading.snapshots[sending].reading == request else { return }
    leading.snapshots[sending].reading = nil
    leading.snapshots[sending].sinceTick = ticks
    // One that ends before the log begins would leave a gap behind it.
    guard let chunk, chunk.description.point.index >= log.firstIndex.previous else {
      // Without any snapshot the next answer to a heartbeat asks again; a missing one gives way to the newest.
      if request.description != nil { restartSnapshot(sending) }
      return
    }
    precondition(chunk.offset == request.offset, "storage gave back \(chunk.offset) instead of \(request.offset)")
    leading.snapshots[sending].description = chunk.description
    sendChunk(sending, chunk)
  }

  private mutating func restartSnapshot(_ sending: Int) {
    leading.snapshots[sending].description = nil
    leading.snapshots[sending].offset = 0
    readSnapshot(sending)
  }

  private mutating func sendChunk(_ sending: Int, _ chunk: SnapshotChunk) {
    leading.snapshots[sending].sinceTick = ticks
    leading.snapshots[sending].hasAsked = chunk.bytes.isEmpty
    send(.installSnapshot(InstallSnapshot(term: term, chunk: chunk)), to: leading.snapshots[sending].peer)
  }

  /// A sign of life of a follower. When the last chunk went unanswered it may be lost, or its staging may take long.
  mutating func resumeSnapshot(_ position: Int) {
    guard let sending = leading.snapshotPosition(of: leading.peers[position].id) else { return }
    let state = leading.snapshots[sending]
    guard state.reading == nil, ticks >= state.sinceTick + UInt64(heartbeatTicks) else { return }
    guard let description = state.description else { return readSnapshot(sending) }
    sendChunk(sending, SnapshotChunk(description: description, offset: state.offset, bytes: []))
  }

  mutating func receive(_ response: InstallSnapshotResponse, from sender: NodeID) {
    guard role == .leader, let position = leading.position(of: sender) else { return }
    leading.peers[position].heard(tick: ticks)
    guard let sending = leading.snapshotPosition(of: sender),
      let description = leading.snapshots[sending].description,
      response.index == description.point.index, response.checksum == description.checksum
    else { return }
    switch response.outcome {
    case .staged(let through):
      let state = leading.snapshots[sending]
      guard state.reading == nil, through <= description.totalBytes else { return }
      guard through != state.offset || state.hasAsked else { return }
      leading.snapshots[sending].offset = through
      if through < description.totalBytes {
        readSnapshot(sending)
      } else {
        // All of it is there: now the follower checks and reads it.
        leading.snapshots[sending].sinceTick = ticks
      }
    case .installed:
      leading.peers[position].endSnapshot(matched: description.point.index)
      leading.snapshots.remove(at: sending)
    case .rejected:
      // The newest one is asked for with the next sign of life, for this must not become a busy loop.
      leading.snapshots[sending].description = nil
      leading.snapshots[sending].offset = 0
      leading.snapshots[sending].sinceTick = ticks
    }
  }

  /// A follower may turn out to have more than was known, and then the log is enough.
  mutating func endSnapshotIfNeedless(_ position: Int) {
    guard leading.peers[position].state == .snapshot else { return }
    let peer = leading.peers[position]
    guard peer.matched.next >= log.firstIndex else { return }
    leading.peers[position].endSnapshot(matched: peer.matched)
    leading.snapshots.removeAll { $0.peer == peer.id }
  }
}
