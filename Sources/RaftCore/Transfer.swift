// Owns the handing over of leadership (dissertation, section 3.10), asked for or because this node must not lead on.
// Must never: leave proposals held off for longer than an election timeout.
// Invariants: the target is told to stand only when it has the leader's whole log; nothing is appended meanwhile.

struct Transfer: Sendable {
  var target: NodeID
  var elapsedTicks = 0
  var isTold = false
}

extension Raft {
  mutating func transferLeadership(to target: NodeID) {
    guard role == .leader, target != id, membership.voters.contains(target) else { return }
    guard leading.transfer?.target != target else { return }
    leading.transfer = Transfer(target: target)
  }

  /// Whether this leader should rather not be one: it is no longer a member, or its disk is full. A leader whom
  /// nobody could follow stays, for it still answers reads.
  private var isReluctant: Bool {
    leading.sides.isEmpty || (!isStorageWritable && !membership.isAlone(id))
  }

  /// Hands over to the voter that is furthest, or steps down where nobody could take over.
  mutating func handOver() {
    let voters = leading.peers.filter { membership.voters.contains($0.id) && isHeard($0) && $0.state != .snapshot }
    guard let best = voters.max(by: { ($0.matched, $1.id) < ($1.matched, $0.id) }) else {
      return becomeFollower(term: term, leader: nil)
    }
    transferLeadership(to: best.id)
  }

  /// After an election timeout the target is taken for dead, and this leader goes on (section 3.10, last paragraph).
  mutating func tickTransfer() {
    guard leading.transfer != nil else { return }
    leading.transfer?.elapsedTicks += 1
    guard let transfer = leading.transfer, transfer.elapsedTicks >= electionTicks else { return }
    leading.transfer = nil
    if isReluctant { becomeFollower(term: term, leader: nil) }
  }

  mutating func finishTransfer() {
    guard let transfer = leading.transfer, !transfer.isTold,
      let position = leading.position(of: transfer.target),
      leading.peers[position].matched == log.lastIndex
    else { return }
    leading.transfer?.isTold = true
    send(.timeoutNow(TimeoutNow(term: term)), to: transfer.target)
    // Whether that arrives or not: those that remain can do without a leader that is no member.
    if leading.sides.isEmpty { becomeFollower(term: term, leader: nil) }
  }
}
