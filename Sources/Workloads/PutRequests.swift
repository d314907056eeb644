// Owns the requests of the put load and the one figure that is read from an answer.
//
// It must stay cheap: the generator shares its processors with what it measures. So a request is encoded once and the
// digits of its key are written over for each operation, and of an answer only the revision is looked for.
//
// Invariant: the bytes are those that SwiftProtobuf would make and take; tests hold one against the other.

package import Measurement
package import NIOCore

/// Which key comes next. Each event loop has a sequence of its own.
package struct KeySequence: Sendable {
  private let order: KeyOrder
  private let count: UInt64
  private let stride: UInt64
  private var position: UInt64
  private var random: SeededRandom

  /// Together the `loops` sequences go through the keys in order, or draw from them at random, each from a stream of
  /// its own.
  package init(order: KeyOrder, count: UInt64, seed: UInt64, loop: Int, loops: Int) {
    precondition(count > 0 && loop >= 0 && loop < loops)
    self.order = order
    self.count = count
    stride = UInt64(loops) % count
    position = UInt64(loop) % count
    random = SeededRandom(seed: seed, stream: 0x6b65_7900 &+ UInt64(loop))
  }

  package mutating func next() -> UInt64 {
    switch order {
    case .random:
      return random.below(count)
    case .sequential:
      defer {
        // Both are below `count`, so the sum is taken as a difference: it could not overflow for any count.
        let untilEnd = count - position
        position = stride >= untilEnd ? stride - untilEnd : position + stride
      }
      return position
    }
  }
}

/// An encoded PutRequest whose key ends in digits that are written over.
package struct PutTemplate: Sendable {
  private let encoded: ByteBuffer
  private let digitsEnd: Int
  private let digitsStart: Int

  /// The value is noise, so that no disk or wire can compress it, and the same for one seed.
  package init(keyPrefix: String, keySizeBytes: Int, valueSizeBytes: Int, seed: UInt64) {
    let digits = keySizeBytes - keyPrefix.utf8.count
    precondition(digits > 0, "a key of \(keySizeBytes) bytes has no room for a number after \"\(keyPrefix)\"")
    var buffer = ByteBufferAllocator().buffer(capacity: keySizeBytes + valueSizeBytes + 16)
    buffer.writeInteger(UInt8(1 << 3 | 2))
    buffer.writeVarint(UInt64(keySizeBytes))
    buffer.writeString(keyPrefix)
    digitsStart = buffer.writerIndex
    buffer.writeRepeatingByte(UInt8(ascii: "0"), count: digits)
    digitsEnd = buffer.writerIndex
    if valueSizeBytes > 0 {
      buffer.writeInteger(UInt8(2 << 3 | 2))
      buffer.writeVarint(UInt64(valueSizeBytes))
      var random = SeededRandom(seed: seed, stream: 0x7661_6c75_65)
      for _ in 0..<valueSizeBytes { buffer.writeInteger(UInt8(truncatingIfNeeded: random.next())) }
    }
    encoded = buffer
  }

  package func request(forKey number: UInt64) -> ByteBuffer {
    var request = encoded
    var rest = number
    var index = digitsEnd
    while rest > 0 {
      index -= 1
      precondition(index >= digitsStart, "key \(number) has more digits than its key has room for")
      request.setInteger(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10), at: index)
      rest /= 10
    }
    return request
  }
}

/// What the oracle needs of a PutResponse.
package enum PutAnswer {
  /// `header.revision`, or nil when the bytes are no message or hold no such field. Fields 1 (header) and, within it,
  /// 3 (revision), as in etcd's rpc.proto.
  package static func revision(in answer: ByteBuffer) -> Int64? {
    answer.withUnsafeReadableBytes { bytes -> Int64? in
      var outer = FieldReader(bytes)
      while let field = outer.next() {
        guard case .bytes(let header) = field.value, field.number == 1 else { continue }
        var revision: Int64?
        var inner = FieldReader(header)
        while let field = inner.next() {
          if case .varint(let value) = field.value, field.number == 3 { revision = Int64(bitPattern: value) }
        }
        return inner.isWellFormed ? revision : nil
      }
      return nil
    }
  }
}

/// Goes through the fields of an encoded message without building it.
private struct FieldReader {
  enum Value {
    case varint(UInt64)
    case bytes(UnsafeRawBufferPointer)
    case fixed
  }

  private var rest: Slice<UnsafeRawBufferPointer>
  private(set) var isWellFormed = true

  init(_ bytes: UnsafeRawBufferPointer) {
    rest = bytes[...]
  }

  /// Nil at the end, and from the first thing on that is no field.
  mutating func next() -> (number: UInt64, value: Value)? {
    guard !rest.isEmpty else { return nil }
    guard let tag = varint(), let value = value(ofType: tag & 7) else {
      isWellFormed = false
      rest = rest[rest.endIndex...]
      return nil
    }
    return (tag >> 3, value)
  }

  private mutating func value(ofType type: UInt64) -> Value? {
    switch type {
    case 0: varint().map(Value.varint)
    case 1: take(8).map { _ in .fixed }
    case 2: varint().flatMap { take($0) }.map { .bytes(UnsafeRawBufferPointer(rebasing: $0)) }
    case 5: take(4).map { _ in .fixed }
    default: nil
    }
  }

  private mutating func take(_ count: UInt64) -> Slice<UnsafeRawBufferPointer>? {
    guard count <= UInt64(rest.count) else { return nil }
    let taken = rest.prefix(Int(count))
    rest = rest.dropFirst(Int(count))
    return taken
  }

  private mutating func varint() -> UInt64? {
    var result: UInt64 = 0
    for shift in stride(from: UInt64(0), to: 64, by: 7) {
      guard let byte = rest.popFirst() else { return nil }
      result |= UInt64(byte & 0x7F) << shift
      if byte < 0x80 { return result }
    }
    return nil
  }
}

extension ByteBuffer {
  fileprivate mutating func writeVarint(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      writeInteger(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    writeInteger(UInt8(rest))
  }
}
