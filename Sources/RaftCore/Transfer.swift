// Owns the handing over of leadership (dissertation, section 3.10).
// Must never: leave proposals held off for longer than an election timeout.
// Invariants: the target is told to stand only when it has the leader's whole log; nothing is appended meanwhile.

struct Transfer: Sendable {
  var target: NodeID
  var elapsedTicks = 0
  var isTold = false
}

extension Raft {
  mutating func transferLeadership(to target: NodeID) {
    guard role == .leader, leading.position(of: target) != nil, leading.transfer?.target != target else { return }
    leading.transfer = Transfer(target: target)
  }

  /// After an election timeout the target is taken for dead, and this leader goes on (section 3.10, last paragraph).
  mutating func tickTransfer() {
    guard leading.transfer != nil else { return }
    leading.transfer?.elapsedTicks += 1
    if let transfer = leading.transfer, transfer.elapsedTicks >= electionTicks { leading.transfer = nil }
  }

  mutating func finishTransfer() {
    guard let transfer = leading.transfer, !transfer.isTold,
      let position = leading.position(of: transfer.target),
      leading.peers[position].matched == log.lastIndex
    else { return }
    leading.transfer?.isTold = true
    send(.timeoutNow(TimeoutNow(term: term)), to: transfer.target)
  }
}
