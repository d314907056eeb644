// The bytes that nodes exchange: length, CRC-32C, then one message. Fields are fixed-width and little-endian, so that an
// entry costs its receiver one allocation, that of its payload.
//
//   frame    length u32 (of what follows) · crc u32 (of what follows) · kind u8 · fields
//   entry    index u64 · term u64 · clock u64 · kind u8 · length u32 · payload
//
//   chunk    the snapshot's point: index u64 · term u64 · clock u64 · membership u32 + bytes;
//            then total u64 · checksum u32 · offset u64 · length u32 · bytes
//
// A kind keeps its number and fields for one version of the format, which the handshake carries. Reading is total: any
// bytes give a message or an error, and nothing is allocated before it is known to be there (PeerReading.swift).

import LogStorage
package import NIOCore
package import RaftCore

package enum PeerCodecError: Error, CustomStringConvertible {
  case damaged(String)

  package var description: String {
    if case .damaged(let text) = self { return text }
    return "damaged frame"
  }
}

package enum PeerCodec {
  /// The format that `Hello` announces.
  package static let version: UInt16 = 3
  /// A frame that claims to be longer is damaged. What goes into one message is bounded by `Limits`, to 1 MiB of entries,
  /// of proposals or of a snapshot, save for one larger entry, which is no larger than what a client may send.
  package static let maxFrameBytes = 16 << 20
  /// The same for the first frame that an answering side sends, and for the first that it reads, which comes from anybody.
  package static let maxOpeningBytes = 1 << 20
  package static let maxGreetingBytes = Hello.maxAddressBytes + 1024

  package static func write(_ message: Message, into buffer: inout ByteBuffer) {
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
  package static func readFrame(
    from buffer: inout ByteBuffer, atMost limit: Int = maxFrameBytes
  ) throws(PeerCodecError) -> ByteBuffer? {
    guard let length = buffer.getInteger(at: buffer.readerIndex, endianness: .little, as: UInt32.self),
      let checksum = buffer.getInteger(at: buffer.readerIndex + 4, endianness: .little, as: UInt32.self)
    else { return nil }
    guard length <= limit else { throw .damaged("a frame of \(length) bytes is announced") }
    guard buffer.readableBytes >= 8 + Int(length) else { return nil }
    buffer.moveReaderIndex(forwardBy: 8)
    guard let body = buffer.readSlice(length: Int(length)) else { return nil }
    let seen = body.withUnsafeReadableBytes { CRC32C.checksum($0) }
    guard seen == checksum else { throw .damaged("a frame's checksum is \(seen), it announces \(checksum)") }
    return body
  }

  enum Kind: UInt8 {
    case appendEntries = 1, appendMatched, appendConflict, commitAdvanced, heartbeat, heartbeatResponse
    case requestVote, voteResponse, propose, proposalsRefused, readIndex, readReady, readRefused, timeoutNow
    case installSnapshot, snapshotStaged, snapshotInstalled, snapshotRejected
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
      case .matched(let index):
        // 0 and 0 say that nothing is known.
        let (held, flush) = (response.timing?.heldNanoseconds ?? 0, response.timing?.flushNanoseconds ?? 0)
        head(.appendMatched, index.rawValue, held, flush)
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
        buffer.writeMultipleIntegers(proposal.id, proposal.kind.rawValue, endianness: .little)
        write(bytes: proposal.payload, into: &buffer)
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
    case .installSnapshot(let install):
      head(.installSnapshot)
      write(install.chunk, into: &buffer)
    case .installSnapshotResponse(let response):
      let (index, checksum) = (response.index.rawValue, UInt64(response.checksum))
      switch response.outcome {
      case .staged(let through): head(.snapshotStaged, index, checksum, through)
      case .installed: head(.snapshotInstalled, index, checksum)
      case .rejected: head(.snapshotRejected, index, checksum)
      }
    }
  }

  private static func flags(_ a: Bool, _ b: Bool) -> UInt64 { (a ? 1 : 0) | (b ? 2 : 0) }

  private static func write(_ entry: Entry, into buffer: inout ByteBuffer) {
    buffer.writeMultipleIntegers(
      entry.index.rawValue, entry.term.rawValue, entry.clockMilliseconds, entry.kind.rawValue,
      UInt32(entry.payload.count), endianness: .little)
    buffer.writeBytes(entry.payload)
  }

  private static func write(_ chunk: SnapshotChunk, into buffer: inout ByteBuffer) {
    let point = chunk.description.point
    buffer.writeMultipleIntegers(
      point.index.rawValue, point.term.rawValue, point.clockMilliseconds, endianness: .little)
    write(bytes: point.membership.encoded(), into: &buffer)
    buffer.writeMultipleIntegers(
      chunk.description.totalBytes, chunk.description.checksum, chunk.offset, endianness: .little)
    write(bytes: chunk.bytes, into: &buffer)
  }

  /// A length and that many bytes.
  static func write(bytes: [UInt8], into buffer: inout ByteBuffer) {
    buffer.writeInteger(UInt32(bytes.count), endianness: .little)
    buffer.writeBytes(bytes)
  }
}
