// What nodes say to each other survives the way over a socket, and bytes that nobody said do no harm.

import CoreNode
import NIOCore
import RaftCore
import Testing

@Suite("Peer codec")
struct PeerCodecTests {
  private static let membership = Membership(
    voters: [
      Member(id: NodeID(1), address: MemberAddress(name: "a", peerURLs: ["http://10.0.0.1:2380"]).encoded()),
      Member(id: NodeID(2), address: []),
    ], learners: [Member(id: NodeID(9), address: [1, 2, 3])])

  private static let description = SnapshotDescription(
    point: SnapshotPoint(index: Index(70), term: Term(5), clockMilliseconds: 1234, membership: membership),
    totalBytes: 1000, checksum: 0xdead_beef)

  private static func entry(_ index: UInt64, _ kind: Entry.Kind, _ payload: [UInt8]) -> Entry {
    Entry(index: Index(index), term: Term(3), clockMilliseconds: 17, kind: kind, payload: payload)
  }

  static let messages: [Message] = [
    .appendEntries(
      AppendEntries(
        term: Term(3), previousIndex: Index(6), previousTerm: Term(2),
        entries: [entry(7, .noOp, []), entry(8, .command, [1, 2]), entry(9, .membership, [3])], commit: Index(6))),
    .appendResponse(AppendResponse(term: Term(3), outcome: .matched(through: Index(9)))),
    .appendResponse(
      AppendResponse(
        term: Term(3), outcome: .matched(through: Index(9)),
        timing: AppendTiming(heldNanoseconds: 900, flushNanoseconds: 700))),
    .appendResponse(
      AppendResponse(
        term: Term(3), outcome: .conflict(previousIndex: Index(6), hintIndex: Index(4), hintTerm: Term(1)))),
    .commitAdvanced(CommitAdvanced(term: Term(3), commit: Index(8))),
    .heartbeat(Heartbeat(term: Term(3), commit: Index(8), readContext: 5)),
    .heartbeatResponse(HeartbeatResponse(term: Term(3), readContext: 5)),
    .requestVote(
      RequestVote(term: Term(4), lastIndex: Index(9), lastTerm: Term(3), isPreVote: true, isTransfer: false)),
    .voteResponse(VoteResponse(term: Term(4), isPreVote: false, isGranted: true)),
    .propose(
      Propose(
        term: Term(3), epoch: 1, sequence: 2,
        proposals: [
          Proposal(id: 1, payload: [9]), Proposal(id: 2, kind: .membership, payload: []),
          Proposal(id: 0, kind: .noOp, payload: []),
        ])),
    .proposalsRefused(ProposalsRefused(term: Term(3), epoch: 1, ids: [1, 2], refusal: .learnerIsBehind)),
    .readIndex(ReadIndexRequest(term: Term(3), epoch: 1, sequence: 3)),
    .readIndexResponse(ReadIndexResponse(term: Term(3), epoch: 1, sequence: 3, outcome: .ready(index: Index(8)))),
    .readIndexResponse(ReadIndexResponse(term: Term(3), epoch: 1, sequence: 3, outcome: .refused(.noLeader))),
    .timeoutNow(TimeoutNow(term: Term(3))),
    .installSnapshot(
      InstallSnapshot(
        term: Term(6), chunk: SnapshotChunk(description: description, offset: 990, bytes: Array(0..<10)))),
    .installSnapshot(
      InstallSnapshot(term: Term(6), chunk: SnapshotChunk(description: description, offset: 0, bytes: []))),
    .installSnapshotResponse(
      InstallSnapshotResponse(term: Term(6), index: Index(70), checksum: 7, outcome: .staged(through: 512))),
    .installSnapshotResponse(
      InstallSnapshotResponse(term: Term(6), index: Index(70), checksum: 7, outcome: .installed)),
    .installSnapshotResponse(
      InstallSnapshotResponse(term: Term(6), index: Index(70), checksum: .max, outcome: .rejected)),
  ]

  private static func bytes(_ message: Message) -> ByteBuffer {
    var buffer = ByteBuffer()
    PeerCodec.write(message, into: &buffer)
    return buffer
  }

  @Test("every message comes back as it was sent", arguments: messages.indices)
  func roundTrip(index: Int) throws {
    var buffer = Self.bytes(Self.messages[index])
    let body = try #require(try PeerCodec.readFrame(from: &buffer))
    #expect(try PeerCodec.read(body) == Self.messages[index])
    #expect(buffer.readableBytes == 0)
  }

  @Test("messages in one stream are told apart however the stream is cut")
  func stream() throws {
    var whole = ByteBuffer()
    for message in Self.messages { PeerCodec.write(message, into: &whole) }
    var gathered = ByteBuffer()
    var received: [Message] = []
    while var piece = whole.readSlice(length: min(7, whole.readableBytes)), piece.readableBytes > 0 {
      gathered.writeBuffer(&piece)
      while let body = try PeerCodec.readFrame(from: &gathered) { received.append(try PeerCodec.read(body)) }
    }
    #expect(received == Self.messages)
  }

  @Test("a flipped bit anywhere in a frame is noticed")
  func bitFlips() {
    for message in Self.messages {
      let sound = Self.bytes(message)
      for bit in 0..<(sound.readableBytes * 8) {
        var damaged = sound
        let byte = damaged.getInteger(at: bit / 8, as: UInt8.self)! ^ (1 << UInt8(bit % 8))
        damaged.setInteger(byte, at: bit / 8)
        // A length that grew is a frame that has not all arrived.
        let read = try? PeerCodec.readFrame(from: &damaged)
        #expect(read.flatMap { $0 } == nil)
      }
    }
  }

  @Test("a body that was cut, lengthened or changed is an error or another message, never a crash")
  func damagedBodies() {
    var random = SystemRandomNumberGenerator()
    for message in Self.messages {
      var frame = Self.bytes(message)
      guard let body = try? PeerCodec.readFrame(from: &frame) else { continue }
      let sound = Array(body.readableBytesView)
      for length in 0..<sound.count { _ = try? PeerCodec.read(ByteBuffer(bytes: sound.prefix(length))) }
      #expect(throws: PeerCodecError.self) { try PeerCodec.read(ByteBuffer(bytes: sound + [0])) }
      for _ in 0..<2000 {
        var changed = sound
        for _ in 0..<Int.random(in: 1...4, using: &random) {
          changed[Int.random(in: changed.indices, using: &random)] = UInt8.random(in: 0...255, using: &random)
        }
        _ = try? PeerCodec.read(ByteBuffer(bytes: changed))
        _ = try? Opening.read(ByteBuffer(bytes: changed))
      }
    }
  }

  @Test("entries that are not contiguous, and numbers that would overflow, are refused")
  func implausible() {
    let gap = AppendEntries(
      term: Term(3), previousIndex: Index(6), previousTerm: Term(2), entries: [Self.entry(9, .command, [])],
      commit: Index(6))
    for message in [
      Message.appendEntries(gap), .commitAdvanced(CommitAdvanced(term: Term(3), commit: Index(.max))),
      .timeoutNow(TimeoutNow(term: Term(.max))),
      .propose(
        Propose(term: Term(3), epoch: 1, sequence: 2, proposals: [Proposal(id: 0, kind: .noOp, payload: [1])])),
    ] {
      var frame = Self.bytes(message)
      #expect(throws: PeerCodecError.self) {
        let body = try #require(try PeerCodec.readFrame(from: &frame))
        return try PeerCodec.read(body)
      }
    }
  }

  @Test("a frame that claims more than any message has is refused at its first bytes")
  func longFrame() {
    var buffer = ByteBuffer()
    buffer.writeInteger(UInt32(PeerCodec.maxFrameBytes + 1), endianness: .little)
    buffer.writeInteger(UInt32(0))
    #expect(throws: PeerCodecError.self) { try PeerCodec.readFrame(from: &buffer) }
  }
}
