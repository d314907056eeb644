// Commands as they lie in the log and travel between nodes, and the state that they change.

import CoordinationCore

/// What was accepted is encoded again, and that must be stable: the numbers of the first encoding may be longer than they
/// need be, those of the second may not.
@Sendable func feedCommands(_ bytes: [UInt8]) {
  let address = try? Envelope.address(of: bytes)
  guard let envelope = try? Envelope.decode(bytes) else { return }
  precondition(
    address?.origin == envelope.origin && address?.request == envelope.request, "two readings of one address")
  let again = envelope.encoded()
  guard let second = try? Envelope.decode(again) else { preconditionFailure("an encoded command is refused") }
  precondition(second.encoded() == again, "a command changes from one encoding to the next")
}

/// Whatever a client gets into the log is applied by every node, so no command may stop one.
@Sendable func feedApply(_ bytes: [UInt8]) {
  var choices = Choices(bytes)
  _ = state(from: &choices)
}

/// Applies commands until the choices end.
func state(from choices: inout Choices) -> Coordination {
  var state = Coordination()
  var index: UInt64 = 0
  var clock: UInt64 = 1_000
  while !choices.isAtEnd, index < 64 {
    let step = choices.byte()
    // The address is not looked at: the bytes are better spent on commands. One in four has a name, and one in four a
    // caller, which is judged by what users and roles there are then.
    var payload: [UInt8] = [1] + [UInt8](repeating: 0, count: 16)
    if step & 3 == 3 {
      payload[0] = 2
      payload += [choices.byte() & 0x7F, choices.byte() & 0x7F]
    }
    if step & 0x0C == 0x0C {
      payload[0] += 2
      payload[9] = 1
      let user = [Array("root".utf8), Array("u".utf8), [], Array("w".utf8)][Int(choices.byte() & 3)]
      payload += [UInt8(user.count)] + user + [choices.byte() & 0x7F]
    }
    let length = Int(choices.byte() & 0x7F)
    guard let envelope = try? Envelope.decode(payload + choices.bytes(length)) else { continue }
    index += 1
    clock += UInt64(step >> 4) * 500
    _ = state.apply(envelope, index: index, clockMilliseconds: clock)
  }
  return state
}

/// Outcomes lie in the state, for requests that are sent again.
@Sendable func feedOutcomes(_ bytes: [UInt8]) {
  guard let outcome = try? Outcome.decode(bytes) else { return }
  let again = outcome.encoded()
  guard let second = try? Outcome.decode(again) else { preconditionFailure("an encoded outcome is refused") }
  precondition(second.encoded() == again, "an outcome changes from one encoding to the next")
}

/// A snapshot's bytes. Raw bytes seldom get far, so that half of the inputs are commands that make a state, whose bytes
/// are then changed in a few places. What is accepted is the very bytes that a writer gives.
@Sendable func feedState(_ bytes: [UInt8]) {
  var choices = Choices(bytes)
  let mode = choices.byte()
  let pieceBytes = 1 + Int(choices.byte())
  var content: [UInt8]
  if mode & 1 == 0 {
    content = choices.remainder()
  } else {
    var flips: [(place: Int, mask: UInt8)] = []
    for _ in 0..<(mode >> 1 & 3) {
      flips.append((Int(choices.byte()) | Int(choices.byte()) << 8, choices.byte()))
    }
    content = written(state(from: &choices))
    for (place, mask) in flips { content[place % content.count] ^= mask }
  }
  var reader = StateReader()
  do {
    for start in stride(from: 0, to: content.count, by: pieceBytes) {
      try reader.read(Array(content[start..<min(start + pieceBytes, content.count)]))
    }
    let state = try reader.finish()
    precondition(written(state) == content, "bytes were accepted that no writer gives")
  } catch {
    precondition(mode & 1 == 0 || mode >> 1 & 3 > 0, "a state that was written is refused: \(error)")
  }
}

private func written(_ state: Coordination) -> [UInt8] {
  var writer = StateWriter(state)
  var bytes: [UInt8] = []
  while let piece = writer.next(maxBytes: 4096) { bytes += piece }
  return bytes
}
