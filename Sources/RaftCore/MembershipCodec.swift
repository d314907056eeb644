// Owns the bytes of a membership, of a record in the log and of a request for a change.
// Must never: trap on bytes, whatever they are, or give back a membership that breaks its own invariants.
// Invariants: each value has one encoding, so that equal values have equal bytes; every count and length is bounded
// before anything of that size is made.
//
// A byte for the format, then LEB128 numbers; a list is its count and its elements, bytes are their length and
// themselves. Numbers that could have been written shorter are refused.

extension Membership {
  /// Far above every cluster that works well, and small enough to be decoded without a thought.
  package static let maxMembers = 128
  package static let maxAddressBytes = 4096

  package func encoded() -> [UInt8] {
    var writer = FieldWriter(format: 1)
    write(to: &writer)
    return writer.bytes
  }

  package static func decode(_ bytes: [UInt8]) -> Membership? {
    guard var reader = FieldReader(bytes, format: 1), let membership = read(from: &reader), reader.isAtEnd else {
      return nil
    }
    return membership
  }

  fileprivate func write(to writer: inout FieldWriter) {
    for list in [voters, outgoing, learners] {
      writer.number(UInt64(list.count))
      for node in list { writer.number(node.rawValue) }
    }
    writer.number(UInt64(members.count))
    for member in members { writer.member(member) }
  }

  fileprivate static func read(from reader: inout FieldReader) -> Membership? {
    guard let voters = reader.nodes(), let outgoing = reader.nodes(), let learners = reader.nodes(),
      let count = reader.count(atMost: maxMembers)
    else { return nil }
    var members: [Member] = []
    for _ in 0..<count {
      guard let member = reader.member() else { return nil }
      if let last = members.last, last.id >= member.id { return nil }
      members.append(member)
    }
    var membership = Membership.nobody
    membership.voters = voters
    membership.outgoing = outgoing
    membership.learners = learners
    membership.members = members
    return membership.isSound ? membership : nil
  }

  /// What the lists must say together. Each of them was found to rise.
  private var isSound: Bool {
    if voters.isEmpty && !members.isEmpty { return false }
    guard voters.allSatisfy({ contains($0) && !isLearner($0) }) else { return false }
    guard outgoing.allSatisfy(contains), learners.allSatisfy(contains) else { return false }
    return members.allSatisfy { isVoter($0.id) || isLearner($0.id) }
  }
}

extension MembershipRecord {
  package static let maxContextBytes = 1 << 16

  package func encoded() -> [UInt8] {
    var writer = FieldWriter(format: 1)
    membership.write(to: &writer)
    writer.bytes(context)
    return writer.bytes
  }

  package static func decode(_ bytes: [UInt8]) -> MembershipRecord? {
    guard var reader = FieldReader(bytes, format: 1), let membership = Membership.read(from: &reader),
      let context = reader.bytes(atMost: maxContextBytes), reader.isAtEnd
    else { return nil }
    return MembershipRecord(membership: membership, context: context)
  }
}

extension MembershipRequest {
  package func encoded() -> [UInt8] {
    var writer = FieldWriter(format: 1)
    switch change {
    case .addLearner(let member):
      writer.number(1)
      writer.member(member)
    case .addVoter(let member):
      writer.number(2)
      writer.member(member)
    case .promote(let node):
      writer.number(3)
      writer.number(node.rawValue)
    case .remove(let node):
      writer.number(4)
      writer.number(node.rawValue)
    case .replace(let node, let other):
      writer.number(5)
      writer.number(node.rawValue)
      writer.number(other.rawValue)
    case .update(let member):
      writer.number(6)
      writer.member(member)
    }
    writer.bytes(context)
    return writer.bytes
  }

  package static func decode(_ bytes: [UInt8]) -> MembershipRequest? {
    guard var reader = FieldReader(bytes, format: 1), let change = readChange(from: &reader),
      let context = reader.bytes(atMost: MembershipRecord.maxContextBytes), reader.isAtEnd
    else { return nil }
    return MembershipRequest(change: change, context: context)
  }

  private static func readChange(from reader: inout FieldReader) -> MembershipChange? {
    switch reader.number() {
    case 1: reader.member().map { .addLearner($0) }
    case 2: reader.member().map { .addVoter($0) }
    case 3: reader.node().map { .promote($0) }
    case 4: reader.node().map { .remove($0) }
    case 5:
      if let node = reader.node(), let other = reader.node() { .replace(node, with: other) } else { nil }
    case 6: reader.member().map { .update($0) }
    default: nil
    }
  }
}

// MARK: Fields

private struct FieldWriter {
  private(set) var bytes: [UInt8]

  init(format: UInt8) { bytes = [format] }

  mutating func number(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }

  mutating func bytes(_ value: [UInt8]) {
    number(UInt64(value.count))
    bytes += value
  }

  mutating func member(_ member: Member) {
    number(member.id.rawValue)
    bytes(member.address)
  }
}

private struct FieldReader {
  private let bytes: [UInt8]
  private var position = 1

  init?(_ bytes: [UInt8], format: UInt8) {
    guard bytes.first == format else { return nil }
    self.bytes = bytes
  }

  var isAtEnd: Bool { position == bytes.count }

  mutating func number() -> UInt64? {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    while position < bytes.count {
      let byte = bytes[position]
      position += 1
      // The tenth byte has room for one bit only.
      if shift == 63 && byte > 1 { return nil }
      value |= UInt64(byte & 0x7F) << shift
      if byte & 0x80 == 0 { return byte == 0 && shift > 0 ? nil : value }
      shift += 7
    }
    return nil
  }

  mutating func count(atMost bound: Int) -> Int? {
    guard let value = number(), value <= UInt64(bound) else { return nil }
    return Int(value)
  }

  mutating func bytes(atMost bound: Int) -> [UInt8]? {
    guard let length = count(atMost: bound), length <= bytes.count - position else { return nil }
    defer { position += length }
    return Array(bytes[position..<(position + length)])
  }

  mutating func node() -> NodeID? { number().map { NodeID($0) } }

  mutating func nodes() -> [NodeID]? {
    guard let count = count(atMost: Membership.maxMembers) else { return nil }
    var nodes: [NodeID] = []
    for _ in 0..<count {
      guard let node = node() else { return nil }
      if let last = nodes.last, last >= node { return nil }
      nodes.append(node)
    }
    return nodes
  }

  mutating func member() -> Member? {
    guard let id = node(), let address = bytes(atMost: Membership.maxAddressBytes) else { return nil }
    return Member(id: id, address: address)
  }
}
