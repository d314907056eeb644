// Owns the sums by which bytes are compared: of snapshots, of states, of keys and values.
// Must never: differ from run to run, as Swift's own hashes do.
// Invariant: any change of a bit changes the sum. CRC-32C would do as well, and takes longer without hardware.

enum Checksum {
  static func of(_ bytes: [UInt8]) -> UInt64 {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325 ^ UInt64(bytes.count)
    bytes.withUnsafeBytes { raw in
      var offset = 0
      while offset + 8 <= raw.count {
        hash = (hash ^ raw.loadUnaligned(fromByteOffset: offset, as: UInt64.self)) &* 0x9E37_79B9_7F4A_7C15
        hash ^= hash >> 32
        offset += 8
      }
      while offset < raw.count {
        hash = (hash ^ UInt64(raw[offset])) &* 0x0000_0100_0000_01B3
        hash ^= hash >> 32
        offset += 1
      }
    }
    return hash
  }

  /// The upper half: every bit of the last word and of the bytes behind it reaches it. Folding both halves into one
  /// would take back the last step of `of`, and the upper half of the last word would not count.
  static func short(_ bytes: [UInt8]) -> UInt32 { UInt32(truncatingIfNeeded: of(bytes) >> 32) }
}
