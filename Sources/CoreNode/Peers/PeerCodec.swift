// The bytes that nodes exchange: length, CRC-32C, then one message. Fields are fixed-width and little-endian, so that an
// entry costs its receiver one allocation, that of its payload.
//
//   frame    length u32 (of what follows) · crc u32 (of what follows) · kind u8 · fields
//   entry    index u64 · term u64 · clock u64 · kind u8 · length u32 · payload
//
// A kind keeps its number and fields for ever; the handshake carries the format's version.

import LogStorage
import NIOCore
import RaftCore

enum PeerCodecError: Error, CustomStringConvertible {
  case damaged(String)

  var description: String {
    if case .damaged(let text) = self { return text }
    return "damaged frame"
  }
}

enum PeerCodec {
  /// The format that `Hello` announces.
  static let version: UInt16 = 1
  /// A frame that claims to be longer is damaged: no message is allowed to be.
  static let maxFrameBytes = 64 << 20

  static func write(_ message: Message, into buffer: inout ByteBuffer) {
    writeFrame(into: &buffer) { buffer in write(body: message, into: &buffer) }
  }

  /// Writes a frame around what `body` writes.
  static func writeFrame(into buffer: inout ByteBuffer, _ body: (inout ByteBuffer) -> Void) {
    let start = buffer.writerIndex
    buffer.writeInteger(UInt64(0))
    body(&buffer)
    let length = buffer.writerIndex - start - 8
    let checksum = buffer.withUnsafeReadableBytes { readable -> UInt32 in
      let first = start + 8 - buffer.readerIndex
      return CRC32C.checksum(UnsafeRawBufferPointer(rebasing: readable[first..<(first + length)]))
    }
    buffer.setInteger(UInt32(length), at: start, endianness: .little)
    buffer.setInteger(checksum, at: start + 4, endianness: .little)
  }

  /// Takes the next whole frame's body off the buffer, or nil when it has not all arrived.
  static func readFrame(from buffer: inout ByteBuffer) throws(PeerCodecError) -> ByteBuffer? {
    guard let length = buffer.getInteger(at: buffer.readerIndex, endianness: .little, as: UInt32.self),
      let checksum = buffer.getInteger(at: buffer.readerIndex + 4, endianness: .little, as: UInt32.self)
    else { return nil }
    guard length <= maxFrameBytes else { throw .damaged("a frame of \(length) bytes is announced") }
    guard buffer.readableBytes >= 8 + Int(length) else { return nil }
    buffer.moveReaderIndex(forwardBy: 8)
    guard let body = buffer.readSlice(length: Int(length)) else { return nil }
    let seen = body.withUnsafeReadableBytes { CRC32C.checksum($0) }
    guard seen == checksum else { throw .damaged("a frame's checksum is \(seen), it announces \(checksum)") }
    return body
  }

  private enum Kind: UInt8 {
    case appendEntries = 1, appendMatched, appendConflict, commitAdvanced, heartbeat, heartbeatResponse
    case requestVote, voteResponse, propose, proposalsRefused, readIndex, readReady, readRefused, timeoutNow
  }

  private static func write(body message: Message, into buffer: inout ByteBuffer) {
    func head(_ kind: Kind, _ fields: UInt64...) {
      buffer.writeInteger(kind.rawValue)
      buffer.writeInteger(message.term.rawValue, endianness: .little)
      for field in fields { buffer.writeInteger(field, endianness: .little) }
    }
    switch message {
    case .appendEntries(let append):
      head(.appendEntries, append.previousIndex.rawValue, append.previousTerm.rawValue, append.commit.rawValue)
      buffer.writeInteger(UInt32(append.entries.count), endianness: .little)
      for entry in append.entries { write(entry, into: &buffer) }
    case .appendResponse(let response):
      switch response.outcome {
      case .matched(let index): head(.appendMatched, index.rawValue)
      case .conflict(let previous, let hint, let term):
        head(.appendConflict, previous.rawValue, hint.rawValue, term.rawValue)
      }
    case .commitAdvanced(let advance): head(.commitAdvanced, advance.commit.rawValue)
    case .heartbeat(let beat): head(.heartbeat, beat.commit.rawValue, beat.readContext)
    case .heartbeatResponse(let response): head(.heartbeatResponse, response.readContext)
    case .requestVote(let vote):
      head(.requestVote, vote.lastIndex.rawValue, vote.lastTerm.rawValue, flags(vote.isPreVote, vote.isTransfer))
    case .voteResponse(let vote): head(.voteResponse, flags(vote.isPreVote, vote.isGranted))
    case .propose(let propose):
      head(.propose, propose.epoch, propose.sequence)
      buffer.writeInteger(UInt32(propose.proposals.count), endianness: .little)
      for proposal in propose.proposals {
        buffer.writeInteger(proposal.id, endianness: .little)
        buffer.writeInteger(UInt32(proposal.payload.count), endianness: .little)
        buffer.writeBytes(proposal.payload)
      }
    case .proposalsRefused(let refused):
      head(.proposalsRefused, refused.epoch, UInt64(refused.refusal.rawValue))
      buffer.writeInteger(UInt32(refused.ids.count), endianness: .little)
      for id in refused.ids { buffer.writeInteger(id, endianness: .little) }
    case .readIndex(let read): head(.readIndex, read.epoch, read.sequence)
    case .readIndexResponse(let response):
      switch response.outcome {
      case .ready(let index): head(.readReady, response.epoch, response.sequence, index.rawValue)
      case .refused(let refusal): head(.readRefused, response.epoch, response.sequence, UInt64(refusal.rawValue))
      }
    case .timeoutNow: head(.timeoutNow)
    }
  }

  private static func flags(_ a: Bool, _ b: Bool) -> UInt64 { (a ? 1 : 0) | (b ? 2 : 0) }

  private static func write(_ entry: Entry, into buffer: inout ByteBuffer) {
    buffer.writeMultipleIntegers(
      entry.index.rawValue, entry.term.rawValue, entry.clockMilliseconds, entry.kind.rawValue,
      UInt32(entry.payload.count), endianness: .little)
    buffer.writeBytes(entry.payload)
  }
}

// MARK: - Reading

extension PeerCodec {
  /// Reads a frame's body back.
  static func read(_ body: ByteBuffer) throws(PeerCodecError) -> Message {
    var input = PeerReader(buffer: body)
    let number = try input.byte()
    guard let kind = Kind(rawValue: number) else { throw .damaged("unknown kind of message \(number)") }
    let term = Term(try input.number())
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
      let (previousIndex, previousTerm) = (Index(try input.number()), Term(try input.number()))
      let commit = Index(try input.number())
      return .appendEntries(
        AppendEntries(
          term: term, previousIndex: previousIndex, previousTerm: previousTerm, entries: try input.entries(),
          commit: commit))
    case .appendMatched:
      return .appendResponse(AppendResponse(term: term, outcome: .matched(through: Index(try input.number()))))
    case .appendConflict:
      let (previous, hint) = (Index(try input.number()), Index(try input.number()))
      let outcome = AppendResponse.Outcome.conflict(
        previousIndex: previous, hintIndex: hint, hintTerm: Term(try input.number()))
      return .appendResponse(AppendResponse(term: term, outcome: outcome))
    case .commitAdvanced: return .commitAdvanced(CommitAdvanced(term: term, commit: Index(try input.number())))
    case .heartbeat:
      return .heartbeat(Heartbeat(term: term, commit: Index(try input.number()), readContext: try input.number()))
    case .heartbeatResponse: return .heartbeatResponse(HeartbeatResponse(term: term, readContext: try input.number()))
    case .requestVote:
      let (index, lastTerm) = (Index(try input.number()), Term(try input.number()))
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
      let outcome = ReadIndexResponse.Outcome.ready(index: Index(try input.number()))
      return .readIndexResponse(ReadIndexResponse(term: term, epoch: epoch, sequence: sequence, outcome: outcome))
    case .readRefused:
      let (epoch, sequence) = (try input.number(), try input.number())
      let outcome = ReadIndexResponse.Outcome.refused(try input.refusal())
      return .readIndexResponse(ReadIndexResponse(term: term, epoch: epoch, sequence: sequence, outcome: outcome))
    case .timeoutNow: return .timeoutNow(TimeoutNow(term: term))
    }
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

  mutating func entries() throws(PeerCodecError) -> [Entry] {
    let count = try count(ofAtLeast: 29)
    var entries: [Entry] = []
    entries.reserveCapacity(count)
    for _ in 0..<count {
      let (index, term, clock) = (Index(try number()), Term(try number()), try number())
      let raw = try byte()
      guard let kind = Entry.Kind(rawValue: raw) else { throw .damaged("unknown kind of entry \(raw)") }
      entries.append(Entry(index: index, term: term, clockMilliseconds: clock, kind: kind, payload: try payload()))
    }
    return entries
  }

  mutating func proposals() throws(PeerCodecError) -> [Proposal] {
    let count = try count(ofAtLeast: 12)
    var proposals: [Proposal] = []
    proposals.reserveCapacity(count)
    for _ in 0..<count { proposals.append(Proposal(id: try number(), payload: try payload())) }
    return proposals
  }

  mutating func ids() throws(PeerCodecError) -> [UInt64] {
    let count = try count(ofAtLeast: 8)
    var ids: [UInt64] = []
    ids.reserveCapacity(count)
    for _ in 0..<count { ids.append(try number()) }
    return ids
  }
}
