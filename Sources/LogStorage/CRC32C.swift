// Owns the checksum that every record carries: CRC-32C (Castagnoli, RFC 3720 appendix B.4).
//
// LMDB has no checksums, so a bit that flips on the disk comes back as data. This room therefore sums every record
// itself. The processor's instruction does it where there is one, tables do it elsewhere, and both must agree: a
// directory moves between machines.

import CLMDB

/// The CRC-32C of some bytes.
package enum CRC32C {
  private static let hasInstruction = portcullis_crc32c_is_available() != 0

  /// The sum of `bytes`. With `continuing`, the sum of whatever that was the sum of, followed by `bytes`.
  package static func checksum(_ bytes: UnsafeRawBufferPointer, continuing: UInt32 = 0) -> UInt32 {
    guard hasInstruction else { return softwareChecksum(bytes, continuing: continuing) }
    return ~portcullis_crc32c_continue(~continuing, bytes.baseAddress, bytes.count)
  }

  /// The same sum without the instruction, eight bytes a step ("slicing by 8", Kounavis and Berry 2005).
  package static func softwareChecksum(_ bytes: UnsafeRawBufferPointer, continuing: UInt32 = 0) -> UInt32 {
    tables.withUnsafeBufferPointer { tables in
      var register = ~continuing
      var offset = 0
      while bytes.count - offset >= 8 {
        let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        let mixed = word ^ UInt64(register)
        register = 0
        for lane in 0..<8 {
          let byte = Int(truncatingIfNeeded: (mixed >> UInt64(8 * lane)) & 0xFF)
          register ^= tables[(7 - lane) * 256 + byte]
        }
        offset += 8
      }
      while offset < bytes.count {
        register = tables[Int((register ^ UInt32(bytes[offset])) & 0xFF)] ^ (register >> 8)
        offset += 1
      }
      return ~register
    }
  }

  /// Eight tables of 256, one after the other: table `k` advances a byte by `k` more zero bytes.
  private static let tables: [UInt32] = {
    let reversedPolynomial: UInt32 = 0x82F6_3B78
    var tables = [UInt32](repeating: 0, count: 8 * 256)
    for byte in 0..<256 {
      var register = UInt32(byte)
      for _ in 0..<8 {
        register = register & 1 == 1 ? (register >> 1) ^ reversedPolynomial : register >> 1
      }
      tables[byte] = register
    }
    for table in 1..<8 {
      for byte in 0..<256 {
        let previous = tables[(table - 1) * 256 + byte]
        tables[table * 256 + byte] = tables[Int(previous & 0xFF)] ^ (previous >> 8)
      }
    }
    return tables
  }()
}
