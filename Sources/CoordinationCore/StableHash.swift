// Owns the hash that nodes compare and that the log's meaning rests on (a repeated request is known by it).
// Must never: change, nor depend on the process as Swift's own hashes do. It is no defence against forgery.

/// A 64-bit hash of a stream of bytes, the same however the stream is cut into pieces: each word of eight bytes is
/// mixed by a multiplication and a shift, and the length goes in last.
package struct StableHash: Sendable {
  private var state: UInt64 = 0xCBF2_9CE4_8422_2325
  private var word: UInt64 = 0
  private var count: UInt64 = 0

  package init() {}

  package mutating func combine(_ bytes: [UInt8]) {
    bytes.withUnsafeBytes { raw in
      var offset = 0
      while offset < raw.count, count % 8 != 0 {
        add(raw[offset])
        offset += 1
      }
      while offset + 8 <= raw.count {
        mix(UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: offset, as: UInt64.self)))
        count += 8
        offset += 8
      }
      while offset < raw.count {
        add(raw[offset])
        offset += 1
      }
    }
  }

  package var value: UInt64 {
    var last = self
    if count % 8 != 0 { last.mix(word) }
    last.mix(count)
    return last.state ^ (last.state >> 29)
  }

  private mutating func add(_ byte: UInt8) {
    word |= UInt64(byte) << (count % 8 * 8)
    count += 1
    guard count % 8 == 0 else { return }
    mix(word)
    word = 0
  }

  private mutating func mix(_ value: UInt64) {
    state = (state ^ value) &* 0x9E37_79B9_7F4A_7C15
    state ^= state >> 32
  }
}
