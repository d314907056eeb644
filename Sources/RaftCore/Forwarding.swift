// Owns proposals on their way to the leader: from clients of this node, and from followers to this leader.
// Must never: append a forwarded proposal twice, or refuse one that was or may yet be appended.
// Invariants: a `Propose` counts only in the term in which it was sent and only if its sequence is above all that came
// from the same epoch of its sender. A message that is late or repeated is therefore left unanswered.

import DequeModule

/// What a follower has handed on.
struct Forwarding: Sendable {
  struct Reads: Sendable {
    var sequence: UInt64
    var ids: [UInt64]
    var expiresAtTick: UInt64
  }

  var lastSequence: UInt64 = 0
  /// Reads that the leader has not answered yet, oldest first.
  var reads: Deque<Reads> = []
  var readCount = 0
}

/// What a leader has seen of each follower's messages.
struct InboundProposals: Sendable {
  private struct Sender: Sendable {
    var peer: NodeID
    var epoch: UInt64
    var lastSequence: UInt64
  }

  /// How many runs of nodes are remembered: more restarts than this within one term push out the oldest.
  private static let maxSenders = 64
  private var senders: [Sender] = []

  /// Whether this message is seen for the first time and in order.
  mutating func admit(_ peer: NodeID, epoch: UInt64, sequence: UInt64) -> Bool {
    if let position = senders.firstIndex(where: { $0.peer == peer && $0.epoch == epoch }) {
      guard sequence > senders[position].lastSequence else { return false }
      senders[position].lastSequence = sequence
      return true
    }
    if senders.count == Self.maxSenders { senders.removeFirst() }
    senders.append(Sender(peer: peer, epoch: epoch, lastSequence: sequence))
    return true
  }
}

extension Raft {
  /// What clients of this node proposed in this step is appended, handed on or refused.
  mutating func takeNewProposals() {
    guard !newProposals.isEmpty else { return }
    let proposals = newProposals
    newProposals = []
    if role == .leader {
      for refused in append(proposals) { answers.append(.refuse(proposals: refused.ids, refused.refusal)) }
    } else if !isStorageWritable {
      // This node takes no entries, so it would never come to know what became of them.
      answers.append(.refuse(proposals: proposals.map(\.id), .storageFull))
    } else if let leader {
      forward(proposals, to: leader)
    } else {
      answers.append(.refuse(proposals: proposals.map(\.id), .noLeader))
    }
  }

  mutating func forward(_ proposals: [Proposal], to leader: NodeID) {
    var start = 0
    while start < proposals.count {
      var end = start + 1
      var size = proposals[start].payload.count
      while end < proposals.count, size + proposals[end].payload.count <= limits.maxMessageBytes {
        size += proposals[end].payload.count
        end += 1
      }
      let part = end - start == proposals.count ? proposals : Array(proposals[start..<end])
      forwarding.lastSequence += 1
      let message = Propose(term: term, epoch: epoch, sequence: forwarding.lastSequence, proposals: part)
      send(.propose(message), to: leader)
      start = end
    }
  }

  mutating func receive(_ message: Propose, from sender: NodeID) {
    guard role == .leader else { return }
    guard leading.inbound.admit(sender, epoch: message.epoch, sequence: message.sequence) else { return }
    if message.proposals.allSatisfy({ $0.kind == .noOp }) { return grow(for: sender, message.proposals) }
    for one in append(message.proposals) {
      let refused = ProposalsRefused(term: term, epoch: message.epoch, ids: one.ids, refusal: one.refusal)
      send(.proposalsRefused(refused), to: sender)
    }
  }

  mutating func receive(_ message: ProposalsRefused) {
    // An earlier run of this node may have used the same ids.
    guard message.epoch == epoch else { return }
    answers.append(.refuse(proposals: message.ids, message.refusal))
  }
}
