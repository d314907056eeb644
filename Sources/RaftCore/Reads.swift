// Owns linearizable reads: the leader confirms that it still leads, the reader then waits until it has applied enough.
// Must never: rest on a clock or a lease, or let an answer to one round confirm a later one.
// Invariants: a round's context is above all before it; a round's index is the commit index of a leader that has
// committed in its own term, taken before the round was sent (dissertation, section 6.4).

import DequeModule

/// A read that waits in the leader, from a client of its own or from a follower.
enum WaitingRead: Sendable {
  case local(id: UInt64)
  case remote(peer: NodeID, epoch: UInt64, sequence: UInt64)
}

struct ReadRounds: Sendable {
  struct Round: Sendable {
    var context: UInt64
    var index: Index
    var reads: [WaitingRead]
  }

  /// Reads for which no round has begun.
  var waiting: [WaitingRead] = []
  /// Rounds that a quorum has not answered yet, oldest first.
  var rounds: Deque<Round> = []
  var count = 0
}

extension Raft {
  // MARK: In any role

  /// What clients of this node want to read joins a round, is asked of the leader, or is refused.
  mutating func takeNewReads() {
    guard !newReads.isEmpty else { return }
    let ids = newReads
    newReads.removeAll(keepingCapacity: true)
    if role == .leader {
      let room = limits.maxPendingReads - leading.reads.count
      for id in ids.prefix(room) { leading.reads.waiting.append(.local(id: id)) }
      leading.reads.count += min(ids.count, room)
      if ids.count > room { answers.append(.refuseRead(ids: Array(ids.dropFirst(room)), .tooManyReads)) }
    } else if let leader {
      forwardReads(ids, to: leader)
    } else {
      answers.append(.refuseRead(ids: ids, .noLeader))
    }
  }

  // MARK: In the leader

  mutating func receive(_ request: ReadIndexRequest, from sender: NodeID) {
    guard role == .leader else { return }
    let read = WaitingRead.remote(peer: sender, epoch: request.epoch, sequence: request.sequence)
    guard leading.reads.count < limits.maxPendingReads else { return refuse([read], .tooManyReads) }
    leading.reads.count += 1
    leading.reads.waiting.append(read)
  }

  /// Answers the rounds that a quorum confirmed and begins the next one.
  mutating func serveReads() {
    guard role == .leader, leading.reads.count > 0 else { return }
    finishRounds()
    guard hasCommittedInTerm, !leading.reads.waiting.isEmpty else { return }
    if membership.isAlone(id) {
      // Nobody else can have been elected.
      let reads = leading.reads.waiting
      leading.reads.waiting.removeAll(keepingCapacity: true)
      return answer(reads, index: commit)
    }
    guard leading.reads.rounds.count < limits.maxReadRounds else { return }
    lastReadContext += 1
    let round = ReadRounds.Round(
      context: lastReadContext, index: commit, reads: leading.reads.waiting)
    leading.reads.waiting = []
    leading.reads.rounds.append(round)
    sendHeartbeats()
  }

  private mutating func finishRounds() {
    guard !leading.reads.rounds.isEmpty else { return }
    let confirmed = quorumValue(own: lastReadContext) { $0.readContext }
    while let oldest = leading.reads.rounds.first, oldest.context <= confirmed {
      leading.reads.rounds.removeFirst()
      answer(oldest.reads, index: oldest.index)
    }
  }

  private mutating func answer(_ reads: [WaitingRead], index: Index) {
    leading.reads.count -= reads.count
    var ids: [UInt64] = []
    ids.reserveCapacity(reads.count)
    for read in reads {
      switch read {
      case .local(let id): ids.append(id)
      case .remote(let peer, let epoch, let sequence):
        let response = ReadIndexResponse(term: term, epoch: epoch, sequence: sequence, outcome: .ready(index: index))
        send(.readIndexResponse(response), to: peer)
      }
    }
    if !ids.isEmpty { answers.append(.readReady(ids: ids, index: index)) }
  }

  private mutating func refuse(_ reads: [WaitingRead], _ refusal: Refusal) {
    var ids: [UInt64] = []
    for read in reads {
      switch read {
      case .local(let id): ids.append(id)
      case .remote(let peer, let epoch, let sequence):
        let response = ReadIndexResponse(term: term, epoch: epoch, sequence: sequence, outcome: .refused(refusal))
        send(.readIndexResponse(response), to: peer)
      }
    }
    if !ids.isEmpty { answers.append(.refuseRead(ids: ids, refusal)) }
  }

  /// A leader that steps down can confirm nothing any more.
  mutating func refuseAllReads() {
    for round in leading.reads.rounds { refuse(round.reads, .leadershipLost) }
    refuse(leading.reads.waiting, .leadershipLost)
    leading.reads = ReadRounds()
  }

  // MARK: In a follower

  private mutating func forwardReads(_ ids: [UInt64], to leader: NodeID) {
    guard forwarding.readCount + ids.count <= limits.maxPendingReads else {
      return answers.append(.refuseRead(ids: ids, .tooManyReads))
    }
    forwarding.lastSequence += 1
    forwarding.readCount += ids.count
    forwarding.reads.append(
      Forwarding.Reads(sequence: forwarding.lastSequence, ids: ids, expiresAtTick: ticks + UInt64(electionTicks)))
    let request = ReadIndexRequest(term: term, epoch: epoch, sequence: forwarding.lastSequence)
    send(.readIndex(request), to: leader)
  }

  mutating func receive(_ response: ReadIndexResponse) {
    // A repeated answer, or one for an earlier run of this node, finds nothing that waits for it.
    guard response.epoch == epoch,
      let position = forwarding.reads.firstIndex(where: { $0.sequence == response.sequence })
    else { return }
    let reads = forwarding.reads.remove(at: position)
    forwarding.readCount -= reads.ids.count
    switch response.outcome {
    case .ready(let index): answers.append(.readReady(ids: reads.ids, index: index))
    case .refused(let refusal): answers.append(.refuseRead(ids: reads.ids, refusal))
    }
  }

  mutating func expireForwardedReads() {
    while let oldest = forwarding.reads.first, oldest.expiresAtTick <= ticks {
      forwarding.reads.removeFirst()
      forwarding.readCount -= oldest.ids.count
      answers.append(.refuseRead(ids: oldest.ids, .leaderSilent))
    }
  }

  mutating func refuseForwardedReads(_ refusal: Refusal) {
    for reads in forwarding.reads { answers.append(.refuseRead(ids: reads.ids, refusal)) }
    forwarding.reads.removeAll(keepingCapacity: true)
    forwarding.readCount = 0
  }
}
