// The receiving side of gRPC's message framing (MessageFraming.swift): bytes from anybody, in pieces of any size.
//
// It must never hold more than one message that is within the limit. A message that was sent compressed is within it when
// what comes out is.

package import NIOCore

/// How those messages of a call are compressed that say they are: the header `grpc-encoding`.
package enum MessageEncoding: Sendable, Equatable {
  case identity
  case gzip
  /// One that nothing here can read.
  case other(String)

  package init(_ name: String) {
    self = name == "gzip" ? .gzip : name == "identity" ? .identity : .other(name)
  }
}

/// Puts messages together from the pieces in which they arrive. A message that lies whole in one piece is a slice of it.
package struct MessageAssembler {
  package static let prefixBytes = 5

  private var pending: ByteBuffer?
  private let encoding: MessageEncoding

  package init(encoding: MessageEncoding = .identity) {
    self.encoding = encoding
  }

  /// Whether bytes of an unfinished message are waiting.
  package var isEmpty: Bool { self.pendingBytes == 0 }
  /// Bytes that have come and were not handed on.
  package var pendingBytes: Int { self.pending?.readableBytes ?? 0 }

  package mutating func append(_ piece: ByteBuffer) {
    guard piece.readableBytes > 0 else { return }
    if self.isEmpty {
      self.pending = piece
    } else {
      self.pending?.writeImmutableBuffer(piece)
    }
  }

  /// The next whole message, or nil when there is none yet. Throws as soon as a prefix announces too much, so a message
  /// that is refused was never gathered.
  package mutating func next(limitBytes: Int) throws(RPCStatus) -> ByteBuffer? {
    guard let waiting = self.pending,
      let length = waiting.getInteger(at: waiting.readerIndex + 1, as: UInt32.self),
      let compressed = waiting.getInteger(at: waiting.readerIndex, as: UInt8.self)
    else { return nil }
    if compressed != 0 { try self.checkEncoding() }
    guard Int(length) <= limitBytes else {
      throw RPCStatus(.resourceExhausted, "grpc: received message larger than max (\(length) vs. \(limitBytes))")
    }
    let whole = Self.prefixBytes + Int(length)
    guard waiting.readableBytes >= whole else {
      // Room for the rest at once, rather than growing piece by piece, but only once a good part of it is there: a length
      // is easily said, and costs whoever says it nothing.
      if waiting.readableBytes >= whole / 4 {
        self.pending?.reserveCapacity(minimumWritableBytes: whole - waiting.readableBytes)
      }
      return nil
    }
    let message = waiting.getSlice(at: waiting.readerIndex + Self.prefixBytes, length: Int(length))
    if waiting.readableBytes == whole {
      self.pending = nil
    } else {
      self.pending?.moveReaderIndex(forwardBy: whole)
    }
    guard compressed != 0, let message else { return message }
    return try Self.decompressed(message, limitBytes: limitBytes)
  }

  /// In the words of Go's server.
  private func checkEncoding() throws(RPCStatus) {
    switch self.encoding {
    case .gzip: break
    case .identity:
      throw RPCStatus(.internalError, "grpc: compressed flag set with identity or empty encoding")
    case .other(let name):
      throw RPCStatus(.unimplemented, "grpc: Decompressor is not installed for grpc-encoding \"\(name)\"")
    }
  }

  private static func decompressed(_ message: ByteBuffer, limitBytes: Int) throws(RPCStatus) -> ByteBuffer {
    let result = message.withUnsafeReadableBytes { bytes -> Result<[UInt8], Gzip.Failure> in
      do throws(Gzip.Failure) {
        return .success(try Gzip.decompress(bytes, limitBytes: limitBytes))
      } catch {
        return .failure(error)
      }
    }
    switch result {
    case .success(let bytes): return ByteBuffer(bytes: bytes)
    case .failure(.tooLarge):
      throw RPCStatus(.resourceExhausted, "grpc: received message after decompression larger than max \(limitBytes)")
    case .failure(.malformed(let what)):
      throw RPCStatus(.internalError, "grpc: failed to decompress the received message: \(what)")
    }
  }
}
