// Reading what peers send: every number, length and kind is checked before anything is made of it. What comes from a
// socket may be anything, and the worst that it may do is close the connection.

package import NIOCore
package import RaftCore

extension PeerCodec {
  /// Reads a frame's body back.
  package static func read(_ body: ByteBuffer) throws(PeerCodecError) -> Message {
    var input = PeerReader(buffer: body)
    let number = try input.byte()
    guard let kind = Kind(rawValue: number) else { throw .damaged("unknown kind of message \(number)") }
    let term = try input.term()
    let message = try read(kind, term: term, from: &input)
    guard input.buffer.readableBytes == 0 else {
      throw .damaged("\(input.buffer.readableBytes) bytes after a message of kind \(number)")
    }
    return message
  }

  private static func read(
    _ kind: Kind, term: Term, from input: inout PeerReader
  ) throws(PeerCodecError) -> Message {
    switch kind {
    case .appendEntries:
      let (previousIndex, previousTerm) = (try input.index(), try input.term())
      let commit = try input.index()
      return .appendEntries(
        AppendEntries(
          term: term, previousIndex: previousIndex, previousTerm: previousTerm,
          entries: try input.entries(after: previousIndex), commit: commit))
    case .appendMatched:
      let index = try input.index()
      let timing = AppendTiming(heldNanoseconds: try input.number(), flushNanoseconds: try input.number())
      return .appendResponse(
        AppendResponse(
          term: term, outcome: .matched(through: index), timing: timing.heldNanoseconds == 0 ? nil : timing))
    case .appendConflict:
      let (previous, hint) = (try input.index(), try input.index())
      let outcome = AppendResponse.Outcome.conflict(
        previousIndex: previous, hintIndex: hint, hintTerm: try input.term())
      return .appendResponse(AppendResponse(term: term, outcome: outcome))
    case .commitAdvanced: return .commitAdvanced(CommitAdvanced(term: term, commit: try input.index()))
    case .heartbeat:
      return .heartbeat(Heartbeat(term: term, commit: try input.index(), readContext: try input.number()))
    case .heartbeatResponse: return .heartbeatResponse(HeartbeatResponse(term: term, readContext: try input.number()))
    case .requestVote:
      let (index, lastTerm) = (try input.index(), try input.term())
      let flags = try input.number()
      return .requestVote(
        RequestVote(
          term: term, lastIndex: index, lastTerm: lastTerm, isPreVote: flags & 1 != 0, isTransfer: flags & 2 != 0))
    case .voteResponse:
      let flags = try input.number()
      return .voteResponse(VoteResponse(term: term, isPreVote: flags & 1 != 0, isGranted: flags & 2 != 0))
    case .propose:
      return .propose(
        Propose(
          term: term, epoch: try input.number(), sequence: try input.number(), proposals: try input.proposals()))
    case .proposalsRefused:
      let (epoch, refusal) = (try input.number(), try input.refusal())
      return .proposalsRefused(ProposalsRefused(term: term, epoch: epoch, ids: try input.ids(), refusal: refusal))
    case .readIndex:
      return .readIndex(ReadIndexRequest(term: term, epoch: try input.number(), sequence: try input.number()))
    case .readReady:
      let (epoch, sequence) = (try input.number(), try input.number())
      let outcome = ReadIndexResponse.Outcome.ready(index: try input.index())
      return .readIndexResponse(ReadIndexResponse(term: term, epoch: epoch, sequence: sequence, outcome: outcome))
    case .readRefused:
      let (epoch, sequence) = (try input.number(), try input.number())
      let outcome = ReadIndexResponse.Outcome.refused(try input.refusal())
      return .readIndexResponse(ReadIndexResponse(term: term, epoch: epoch, sequence: sequence, outcome: outcome))
    case .timeoutNow: return .timeoutNow(TimeoutNow(term: term))
    case .installSnapshot: return .installSnapshot(InstallSnapshot(term: term, chunk: try input.chunk()))
    case .snapshotStaged, .snapshotInstalled, .snapshotRejected:
      return .installSnapshotResponse(try readAnswer(kind, term: term, from: &input))
    }
  }

  private static func readAnswer(
    _ kind: Kind, term: Term, from input: inout PeerReader
  ) throws(PeerCodecError) -> InstallSnapshotResponse {
    let (index, raw) = (try input.index(), try input.number())
    guard let checksum = UInt32(exactly: raw) else { throw .damaged("a checksum of more than 32 bits") }
    let outcome: InstallSnapshotResponse.Outcome
    switch kind {
    case .snapshotStaged: outcome = .staged(through: try input.number())
    case .snapshotInstalled: outcome = .installed
    default: outcome = .rejected
    }
    return InstallSnapshotResponse(term: term, index: index, checksum: checksum, outcome: outcome)
  }
}

/// Reads fields; every length is checked against what is there before anything is allocated for it.
struct PeerReader {
  var buffer: ByteBuffer

  mutating func byte() throws(PeerCodecError) -> UInt8 {
    guard let value = buffer.readInteger(as: UInt8.self) else { throw .damaged("a message is cut short") }
    return value
  }

  mutating func number() throws(PeerCodecError) -> UInt64 {
    guard let value = buffer.readInteger(endianness: .little, as: UInt64.self) else {
      throw .damaged("a message is cut short")
    }
    return value
  }

  /// Far below where counting on would overflow, and far above what any cluster reaches.
  private static let largest: UInt64 = 1 << 62

  mutating func index() throws(PeerCodecError) -> Index {
    let value = try number()
    guard value <= Self.largest else { throw .damaged("index \(value)") }
    return Index(value)
  }

  mutating func term() throws(PeerCodecError) -> Term {
    let value = try number()
    guard value <= Self.largest else { throw .damaged("term \(value)") }
    return Term(value)
  }

  mutating func refusal() throws(PeerCodecError) -> Refusal {
    let raw = try number()
    guard let small = UInt8(exactly: raw), let refusal = Refusal(rawValue: small) else {
      throw .damaged("unknown refusal \(raw)")
    }
    return refusal
  }

  mutating func count(ofAtLeast bytes: Int) throws(PeerCodecError) -> Int {
    guard let count = buffer.readInteger(endianness: .little, as: UInt32.self) else {
      throw .damaged("a message is cut short")
    }
    guard Int(count) * bytes <= buffer.readableBytes else {
      throw .damaged("\(count) items are announced, \(buffer.readableBytes) bytes are left")
    }
    return Int(count)
  }

  mutating func payload() throws(PeerCodecError) -> [UInt8] {
    guard let length = buffer.readInteger(endianness: .little, as: UInt32.self),
      let bytes = buffer.readBytes(length: Int(length))
    else { throw .damaged("a payload is cut short") }
    return bytes
  }

  /// Entries, which must be contiguous.
  mutating func entries(after previous: Index) throws(PeerCodecError) -> [Entry] {
    let count = try count(ofAtLeast: 29)
    var entries: [Entry] = []
    entries.reserveCapacity(count)
    for _ in 0..<count {
      let (index, term, clock) = (try index(), try term(), try number())
      guard index == previous.advanced(by: entries.count + 1) else {
        throw .damaged("\(index) in the place \(entries.count) behind \(previous)")
      }
      let raw = try byte()
      guard let kind = Entry.Kind(rawValue: raw) else { throw .damaged("unknown kind of entry \(raw)") }
      entries.append(Entry(index: index, term: term, clockMilliseconds: clock, kind: kind, payload: try payload()))
    }
    return entries
  }

  mutating func proposals() throws(PeerCodecError) -> [Proposal] {
    let count = try count(ofAtLeast: 13)
    var proposals: [Proposal] = []
    proposals.reserveCapacity(count)
    for _ in 0..<count {
      let (id, raw) = (try number(), try byte())
      guard let kind = Entry.Kind(rawValue: raw) else { throw .damaged("unknown kind of proposal \(raw)") }
      let payload = try payload()
      guard kind != .noOp || payload.isEmpty else { throw .damaged("a proposal of nothing has \(payload.count) bytes") }
      proposals.append(Proposal(id: id, kind: kind, payload: payload))
    }
    return proposals
  }

  mutating func chunk() throws(PeerCodecError) -> SnapshotChunk {
    let (index, term, clock) = (try index(), try term(), try number())
    guard let membership = Membership.decode(try payload()) else {
      throw .damaged("the membership of a snapshot cannot be read")
    }
    let total = try number()
    guard let checksum = buffer.readInteger(endianness: .little, as: UInt32.self) else {
      throw .damaged("a message is cut short")
    }
    let (offset, bytes) = (try number(), try payload())
    guard offset <= total, UInt64(bytes.count) <= total - offset else {
      throw .damaged("\(bytes.count) bytes at \(offset) of a snapshot of \(total)")
    }
    let point = SnapshotPoint(index: index, term: term, clockMilliseconds: clock, membership: membership)
    let description = SnapshotDescription(point: point, totalBytes: total, checksum: checksum)
    return SnapshotChunk(description: description, offset: offset, bytes: bytes)
  }

  mutating func ids() throws(PeerCodecError) -> [UInt64] {
    let count = try count(ofAtLeast: 8)
    var ids: [UInt64] = []
    ids.reserveCapacity(count)
    for _ in 0..<count { ids.append(try number()) }
    return ids
  }
}
