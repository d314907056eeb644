// Owns the way of a message: loss, repetition, delay, cuts, and the bugs that a network can have.
// Must never: give a message to a node in the instant in which it was sent.
// Invariant: all chance about messages comes from the network's own stream.

import RaftCore

extension Simulator {
  mutating func send(_ message: Message, from sender: Int, to receiver: Int) {
    mix(UInt64(sender) << 8 | UInt64(receiver))
    if case .voteResponse(let response) = message, response.isGranted, !response.isPreVote {
      crashAfterVote(of: sender)
    }
    guard network.reaches(from: sender, to: receiver) else {
      if options.plantedBug == .confirmationForged { forgeConfirmation(of: message, to: sender, by: receiver) }
      return
    }
    if networkChance.chance(perMille: network.lossPerMille) {
      count(.lostMessage)
      return
    }
    let message = forged(message)
    queue.push(.arrive(message, from: sender, to: receiver), afterMicroseconds: delay())
    if networkChance.chance(perMille: network.repeatPerMille) {
      count(.repeatedMessage)
      queue.push(.arrive(repeated(message), from: sender, to: receiver), afterMicroseconds: delay())
    }
  }

  private mutating func delay() -> UInt64 {
    let usual = world.networkDelayMicroseconds / 2 + networkChance.next(in: 1..<(world.networkDelayMicroseconds + 1))
    guard networkChance.chance(perMille: network.latePerMille) else { return usual }
    count(.lateMessage)
    return usual + networkChance.next(in: 1..<world.maxLateMicroseconds)
  }

  // MARK: Planted bugs

  private mutating func forged(_ message: Message) -> Message {
    switch (options.plantedBug, message) {
    case (.voteForged, .voteResponse(var response)) where !response.isPreVote && !response.isGranted:
      response.isGranted = true
      return .voteResponse(response)
    case (.acknowledgementForged, .appendResponse(var response)):
      guard case .conflict(let previous, _, _) = response.outcome else { return message }
      response.outcome = .matched(through: previous)
      return .appendResponse(response)
    case (.payloadChanged, .appendEntries(var append)):
      guard let last = append.entries.indices.last, networkChance.chance(perMille: 20) else { return message }
      guard append.entries[last].payload.count > 8 else { return message }
      append.entries[last].payload[8] ^= 1
      return .appendEntries(append)
    default:
      return message
    }
  }

  private func repeated(_ message: Message) -> Message {
    guard options.plantedBug == .proposalRepeated, case .propose(var propose) = message else { return message }
    propose.sequence += 1_000_000
    return .propose(propose)
  }

  private mutating func forgeConfirmation(of message: Message, to sender: Int, by receiver: Int) {
    guard case .heartbeat(let heartbeat) = message else { return }
    let response = HeartbeatResponse(term: heartbeat.term, readContext: heartbeat.readContext)
    queue.push(.arrive(.heartbeatResponse(response), from: receiver, to: sender), afterMicroseconds: delay())
  }
}
