// Owns the way of a message: loss, repetition, delay, cuts, and the bugs that a network can have.
// Must never: give a message to a node in the instant in which it was sent.
// Invariant: all chance about messages comes from the network's own stream.

import RaftCore

extension Simulator {
  mutating func send(_ message: Message, from node: SimulatedNode, to peer: NodeID) throws(Broken) {
    let sender = node.position
    let receiver = Int(peer.rawValue) - 1
    guard receiver < nodes.count else { return }
    mix(UInt64(sender) << 8 | UInt64(receiver))
    if case .voteResponse(let response) = message, response.isGranted {
      try checker.votes(node, isPreVote: response.isPreVote)
      if !response.isPreVote { crashAfterVote(of: node) }
    }
    guard network.reaches(from: sender, to: receiver) else {
      if options.plantedBug == .confirmationForged { forgeConfirmation(of: message, to: sender, by: receiver) }
      return
    }
    if networkChance.chance(perMille: network.sizes.lossPerMille) {
      count(.lostMessage)
      return
    }
    let message = options.plantedBug == nil ? message : forged(message, from: node)
    deliver(message, from: sender, to: receiver)
    if networkChance.chance(perMille: network.sizes.repeatPerMille) {
      count(.repeatedMessage)
      deliver(repeated(message), from: sender, to: receiver)
    }
  }

  mutating func deliver(_ message: Message, from sender: Int, to receiver: Int) {
    queue.push(.arrive(message, from: sender, to: receiver), afterMicroseconds: delay())
    if options.plantedBug == .oldRoundConfirms || options.plantedBug == .learnerCounted
      || options.plantedBug == .jointOneSided
    {
      forgeSender(of: message, from: sender, to: receiver)
    }
  }

  private mutating func delay() -> UInt64 {
    let usual = network.sizes.delayMicroseconds
    let drawn = usual / 2 + networkChance.next(in: 1..<(usual + 1))
    guard networkChance.chance(perMille: network.sizes.latePerMille) else { return drawn }
    count(.lateMessage)
    return drawn + networkChance.next(in: 1..<network.sizes.maxLateMicroseconds)
  }
}
