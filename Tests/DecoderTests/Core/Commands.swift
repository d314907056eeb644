// Commands as they lie in the log and travel between nodes, and the state that they change.

import CoordinationCore

/// What was accepted is encoded again, and that must be stable: the numbers of the first encoding may be longer than they
/// need be, those of the second may not.
@Sendable func feedCommands(_ bytes: [UInt8]) {
  let address = try? Envelope.address(of: bytes)
  guard let envelope = try? Envelope.decode(bytes) else { return }
  precondition(address?.origin == envelope.origin && address?.request == envelope.request, "two readings of one address")
  let again = envelope.encoded()
  guard let second = try? Envelope.decode(again) else { preconditionFailure("an encoded command is refused") }
  precondition(second.encoded() == again, "a command changes from one encoding to the next")
}

/// Whatever a client gets into the log is applied by every node, so no command may stop one.
@Sendable func feedApply(_ bytes: [UInt8]) {
  var choices = Choices(bytes)
  var state = Coordination()
  var index: UInt64 = 0
  var clock: UInt64 = 1_000
  while !choices.isAtEnd, index < 64 {
    let step = choices.byte()
    // The address is not looked at: the bytes are better spent on commands.
    let header: [UInt8] = [1] + [UInt8](repeating: 0, count: 16)
    guard let envelope = try? Envelope.decode(header + choices.bytes(Int(step & 0x3F))) else { continue }
    index += 1
    clock += UInt64(step >> 6) * 500
    _ = state.apply(envelope.command, index: index, clockMilliseconds: clock)
  }
}
