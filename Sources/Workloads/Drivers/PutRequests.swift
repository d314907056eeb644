// Owns the requests of puts and gets.
//
// It must stay cheap: the generator shares its processors with what it measures. So a request is encoded once and the
// digits of its key are written over for each operation.
//
// Invariant: the bytes are those that SwiftProtobuf would make; tests hold one against the other.

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

/// The key at the beginning of an encoded message, which ends in digits that are written over.
private struct NumberedKey: Sendable {
  let start: Int
  let end: Int

  /// Both PutRequest and RangeRequest have the key as field 1.
  init(prefix: String, sizeBytes: Int, in buffer: inout ByteBuffer) {
    let digits = sizeBytes - prefix.utf8.count
    precondition(digits > 0, "a key of \(sizeBytes) bytes has no room for a number after \"\(prefix)\"")
    buffer.writeInteger(UInt8(1 << 3 | 2))
    buffer.writeVarint(UInt64(sizeBytes))
    buffer.writeString(prefix)
    start = buffer.writerIndex
    buffer.writeRepeatingByte(UInt8(ascii: "0"), count: digits)
    end = buffer.writerIndex
  }

  func write(_ number: UInt64, into request: inout ByteBuffer) {
    var rest = number
    var index = end
    while rest > 0 {
      index -= 1
      precondition(index >= start, "key \(number) has more digits than its key has room for")
      request.setInteger(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10), at: index)
      rest /= 10
    }
  }
}

/// An encoded PutRequest for any of the keys.
package struct PutTemplate: Sendable {
  private let encoded: ByteBuffer
  private let key: NumberedKey

  /// The value is noise, so that no disk or wire can compress it, and the same for one seed.
  package init(keyPrefix: String, keySizeBytes: Int, valueSizeBytes: Int, seed: UInt64) {
    var buffer = ByteBufferAllocator().buffer(capacity: keySizeBytes + valueSizeBytes + 16)
    key = NumberedKey(prefix: keyPrefix, sizeBytes: keySizeBytes, in: &buffer)
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
    key.write(number, into: &request)
    return request
  }
}

/// An encoded RangeRequest for one of the keys, or for those from one on.
package struct RangeTemplate: Sendable {
  private let encoded: ByteBuffer
  private let key: NumberedKey

  package init(keyPrefix: String, keySizeBytes: Int, isSerializable: Bool) {
    var buffer = ByteBufferAllocator().buffer(capacity: keySizeBytes + 16)
    key = NumberedKey(prefix: keyPrefix, sizeBytes: keySizeBytes, in: &buffer)
    if isSerializable {
      buffer.writeInteger(UInt8(7 << 3 | 0))
      buffer.writeVarint(1)
    }
    encoded = buffer
  }

  /// Of the keys from one of them to the last that begins with the prefix, at most so many.
  /// - Precondition: the prefix is not empty, and ends in ASCII.
  package init(keyPrefix: String, keySizeBytes: Int, limit: Int) {
    var end = Array(keyPrefix.utf8)
    precondition(end.last.map { $0 < 0x80 } ?? false, "no key lies behind all those of \"\(keyPrefix)\"")
    end[end.count - 1] += 1
    var buffer = ByteBufferAllocator().buffer(capacity: keySizeBytes + end.count + 32)
    key = NumberedKey(prefix: keyPrefix, sizeBytes: keySizeBytes, in: &buffer)
    buffer.writeInteger(UInt8(2 << 3 | 2))
    buffer.writeVarint(UInt64(end.count))
    buffer.writeBytes(end)
    buffer.writeInteger(UInt8(3 << 3 | 0))
    buffer.writeVarint(UInt64(limit))
    encoded = buffer
  }

  package func request(forKey number: UInt64) -> ByteBuffer {
    var request = encoded
    key.write(number, into: &request)
    return request
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
