// gRPC's message framing: one byte that says whether the message is compressed, four for its length, the message. It
// knows nothing of HTTP/2's frames: a message may be cut over several of them, and one may hold several messages.

package import NIOCore
package import SwiftProtobuf

enum MessageFraming {
  static let prefixBytes = MessageAssembler.prefixBytes

  /// The message with its prefix, encoded straight into the buffer that will be written.
  static func framed(_ message: some SwiftProtobuf.Message) throws(RPCStatus) -> ByteBuffer {
    do {
      let bytes: FramedBytes = try message.serializedBytes()
      return bytes.buffer
    } catch {
      throw RPCStatus(.internalError, "the message cannot be encoded: \(error)")
    }
  }

  /// The bytes of a message with their prefix.
  static func framed(_ message: ByteBuffer, allocator: ByteBufferAllocator) -> ByteBuffer {
    var buffer = allocator.buffer(capacity: self.prefixBytes + message.readableBytes)
    buffer.writeInteger(UInt8(0))
    buffer.writeInteger(UInt32(message.readableBytes))
    buffer.writeImmutableBuffer(message)
    return buffer
  }
}

/// Messages of one stream that leave together, which costs one frame for all of them.
package struct GatheredMessages {
  /// Each with its prefix, one behind another.
  private(set) var framed = ByteBuffer()

  package init() {}

  package var bytes: Int { self.framed.readableBytes }

  /// Adds a message that lies in two parts.
  package mutating func append(_ head: ByteBuffer, _ tail: some Collection<UInt8>) {
    self.framed.writeInteger(UInt8(0))
    self.framed.writeInteger(UInt32(head.readableBytes + tail.count))
    self.framed.writeImmutableBuffer(head)
    self.framed.writeBytes(tail)
  }
}

/// Where the encoder puts a message: a buffer that already begins with the prefix, which saves a copy.
private struct FramedBytes: SwiftProtobufContiguousBytes {
  var buffer: ByteBuffer

  init(repeating byte: UInt8, count: Int) {
    self.buffer = ByteBufferAllocator().buffer(capacity: MessageFraming.prefixBytes + count)
    self.buffer.writeInteger(UInt8(0))
    self.buffer.writeInteger(UInt32(count))
    self.buffer.writeRepeatingByte(byte, count: count)
  }

  init<Bytes: Sequence<UInt8>>(_ sequence: Bytes) {
    let message = ByteBuffer(bytes: sequence)
    self.buffer = MessageFraming.framed(message, allocator: ByteBufferAllocator())
  }

  var count: Int { self.buffer.readableBytes - MessageFraming.prefixBytes }

  func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
    try self.buffer.withUnsafeReadableBytes { try body(UnsafeRawBufferPointer(rebasing: $0.dropFirst(5))) }
  }

  mutating func withUnsafeMutableBytes<Result>(
    _ body: (UnsafeMutableRawBufferPointer) throws -> Result
  ) rethrows -> Result {
    try self.buffer.withUnsafeMutableReadableBytes {
      try body(UnsafeMutableRawBufferPointer(rebasing: $0.dropFirst(5)))
    }
  }
}

/// The decoder's view of a received message: the bytes where they lie.
private struct ReceivedBytes: SwiftProtobufContiguousBytes {
  var buffer: ByteBuffer

  init(_ buffer: ByteBuffer) {
    self.buffer = buffer
  }

  init(repeating byte: UInt8, count: Int) {
    self.buffer = ByteBuffer(repeating: byte, count: count)
  }

  init<Bytes: Sequence<UInt8>>(_ sequence: Bytes) {
    self.buffer = ByteBuffer(bytes: sequence)
  }

  var count: Int { self.buffer.readableBytes }

  func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
    try self.buffer.withUnsafeReadableBytes(body)
  }

  mutating func withUnsafeMutableBytes<Result>(
    _ body: (UnsafeMutableRawBufferPointer) throws -> Result
  ) rethrows -> Result {
    try self.buffer.withUnsafeMutableReadableBytes(body)
  }
}

extension SwiftProtobuf.Message {
  /// Decodes a received message without copying it first. The error is the one that Go's server gives.
  package init(received buffer: ByteBuffer) throws(RPCStatus) {
    do {
      try self.init(serializedBytes: ReceivedBytes(buffer))
    } catch {
      throw RPCStatus(.internalError, "grpc: error unmarshalling request: \(error)")
    }
  }
}
