// What two nodes tell each other before anything else: who they are, to which cluster they belong and with which disk.
// A node that was started on another cluster's data, or on an empty disk under an identity that has voted, finds out
// here and not by corrupting a log.
//
// The member list is not compared: a leader may be a member by an entry that its peer does not have yet. Only a node that
// is known to have been removed is turned away.
//
//   every frame's body begins with a magic u64 and the version u16 of the format
//   hello      … · cluster u64 · incarnation u64 · from u64 · to u64 · birth u64 · address u32 + bytes
//   inquiry    …
//   answer     … · cluster u64 · incarnation u64 · membership u32 + bytes
//   refusal    … · cluster u64 · incarnation u64 · to u64 · reason u8 · text u32 + bytes

package import NIOCore
package import RaftCore

/// Opens a connection over which messages follow.
package struct Hello: Sendable, Equatable {
  static let magic: UInt64 = 0x7063_756c_6c69_7331  // "pcullis1"
  static let maxAddressBytes = 32 << 10

  package var clusterID: UInt64
  package var incarnation: UInt64
  package var from: NodeID
  package var to: NodeID
  /// Drawn when the sender's log was made. Another one under the same identity is another disk.
  package var birth: UInt64
  /// The sender's `Member.address`, so that a node which does not know the sender yet can answer it.
  package var address: [UInt8]

  package init(
    clusterID: UInt64, incarnation: UInt64, from: NodeID, to: NodeID, birth: UInt64, address: [UInt8]
  ) {
    self.clusterID = clusterID
    self.incarnation = incarnation
    self.from = from
    self.to = to
    self.birth = birth
    self.address = address
  }

  package func write(into buffer: inout ByteBuffer) {
    PeerCodec.writeFrame(into: &buffer) { buffer in
      buffer.writeMultipleIntegers(
        Self.magic, PeerCodec.version, clusterID, incarnation, from.rawValue, to.rawValue, birth, endianness: .little)
      PeerCodec.write(bytes: address, into: &buffer)
    }
  }
}

/// Asks who is in the cluster, in the place of a hello. What a node asks that is to join.
package struct Inquiry: Sendable, Equatable {
  static let magic: UInt64 = 0x7063_756c_6c69_7351  // "pcullisQ"

  package init() {}

  package func write(into buffer: inout ByteBuffer) {
    PeerCodec.writeFrame(into: &buffer) {
      $0.writeMultipleIntegers(Self.magic, PeerCodec.version, endianness: .little)
    }
  }
}

package struct InquiryAnswer: Sendable, Equatable {
  static let magic: UInt64 = 0x7063_756c_6c69_7341  // "pcullisA"

  package var clusterID: UInt64
  package var incarnation: UInt64
  package var membership: Membership

  package init(clusterID: UInt64, incarnation: UInt64, membership: Membership) {
    self.clusterID = clusterID
    self.incarnation = incarnation
    self.membership = membership
  }

  package func write(into buffer: inout ByteBuffer) {
    PeerCodec.writeFrame(into: &buffer) { buffer in
      buffer.writeMultipleIntegers(Self.magic, PeerCodec.version, clusterID, incarnation, endianness: .little)
      PeerCodec.write(bytes: membership.encoded(), into: &buffer)
    }
  }
}

/// Why a node does not talk to the one that greeted it. It is told, so that its operator is.
package struct PeerRefusal: Sendable, Equatable {
  static let magic: UInt64 = 0x7063_756c_6c69_7352  // "pcullisR"

  package enum Reason: UInt8, Sendable {
    case otherCluster = 1
    case otherIncarnation = 2
    /// The id belongs to somebody else than who listens there.
    case misdirected = 3
    /// The disk under this identity is not the one with which it voted.
    case otherDisk = 4
    /// No member any more, by a committed change.
    case removed = 5
  }

  package var clusterID: UInt64
  package var incarnation: UInt64
  package var to: NodeID
  package var reason: Reason
  package var text: String

  package init(clusterID: UInt64, incarnation: UInt64, to: NodeID, reason: Reason, text: String) {
    self.clusterID = clusterID
    self.incarnation = incarnation
    self.to = to
    self.reason = reason
    self.text = text
  }

  package func write(into buffer: inout ByteBuffer) {
    PeerCodec.writeFrame(into: &buffer) { buffer in
      buffer.writeMultipleIntegers(
        Self.magic, PeerCodec.version, clusterID, incarnation, to.rawValue, reason.rawValue, endianness: .little)
      PeerCodec.write(bytes: Array(text.utf8.prefix(4096)), into: &buffer)
    }
  }
}

/// The first frame of a connection, in either direction.
package enum Opening: Sendable, Equatable {
  case hello(Hello)
  case inquiry
  case answer(InquiryAnswer)
  case refusal(PeerRefusal)

  package static func read(_ body: ByteBuffer) throws(PeerCodecError) -> Opening {
    var input = PeerReader(buffer: body)
    let magic = try? input.number()
    guard let magic, [Hello.magic, Inquiry.magic, InquiryAnswer.magic, PeerRefusal.magic].contains(magic) else {
      throw .damaged("this is not a peer of Portcullis; is a client connecting to the peer port?")
    }
    let version = UInt16(try input.byte()) | UInt16(try input.byte()) << 8
    guard version == PeerCodec.version else {
      throw .damaged("the peer speaks version \(version) of the peer protocol, this node \(PeerCodec.version)")
    }
    let opening = try read(magic, from: &input)
    guard input.buffer.readableBytes == 0 else {
      throw .damaged("\(input.buffer.readableBytes) bytes after the first frame of a connection")
    }
    return opening
  }

  private static func read(_ magic: UInt64, from input: inout PeerReader) throws(PeerCodecError) -> Opening {
    if magic == Inquiry.magic { return .inquiry }
    let (clusterID, incarnation) = (try input.number(), try input.number())
    switch magic {
    case Hello.magic:
      let (from, to, birth) = (NodeID(try input.number()), NodeID(try input.number()), try input.number())
      let address = try input.payload()
      guard address.count <= Hello.maxAddressBytes else { throw .damaged("an address of \(address.count) bytes") }
      return .hello(
        Hello(clusterID: clusterID, incarnation: incarnation, from: from, to: to, birth: birth, address: address))
    case InquiryAnswer.magic:
      guard let membership = Membership.decode(try input.payload()) else {
        throw .damaged("the members in an answer cannot be read")
      }
      return .answer(InquiryAnswer(clusterID: clusterID, incarnation: incarnation, membership: membership))
    default:
      let to = NodeID(try input.number())
      let raw = try input.byte()
      guard let reason = PeerRefusal.Reason(rawValue: raw) else { throw .damaged("unknown reason \(raw)") }
      let text = String(decoding: try input.payload(), as: UTF8.self)
      return .refusal(
        PeerRefusal(clusterID: clusterID, incarnation: incarnation, to: to, reason: reason, text: text))
    }
  }
}
