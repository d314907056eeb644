// Owns the list of what is fed with bytes that nobody wrote: every decoder of bytes from the disk or the network, behind
// one function each. libFuzzer drives them (Tests/Fuzz), and the tests of this target replay what it found worth keeping.
//
// A decoder passes when it neither traps nor hangs, and when what it did accept comes back as it was from its own encoder.

package struct Decoder: Sendable {
  package let name: String
  package let feed: @Sendable ([UInt8]) -> Void

  package init(_ name: String, _ feed: @escaping @Sendable ([UInt8]) -> Void) {
    self.name = name
    self.feed = feed
  }

  /// Those of the pure rooms and of the log's files.
  package static let core: [Decoder] = [
    Decoder("commands", feedCommands), Decoder("apply", feedApply), Decoder("records", feedRecords),
    Decoder("journal", feedJournal), Decoder("snapshots", feedSnapshots), Decoder("state", feedState),
    Decoder("outcomes", feedOutcomes),
    Decoder("members", feedMembers),
  ]
}

/// Takes a generator's choices from the front of the bytes; zeros when there are no more.
struct Choices {
  private var rest: ArraySlice<UInt8>

  init(_ bytes: [UInt8]) { rest = bytes[...] }

  var isAtEnd: Bool { rest.isEmpty }

  mutating func byte() -> UInt8 { rest.popFirst() ?? 0 }

  mutating func bytes(_ count: Int) -> [UInt8] {
    let taken = Array(rest.prefix(count))
    rest = rest.dropFirst(count)
    return taken
  }

  /// A stretch behind its length of two bytes.
  mutating func stretch() -> [UInt8] { bytes(Int(byte()) | Int(byte()) << 8) }

  mutating func remainder() -> [UInt8] {
    defer { rest = [] }
    return Array(rest)
  }
}
