// Owns the bytes of a snapshot's file: a header, the content in pieces of one length, a footer.
//
//   header   magic 8 │ version 4 │ piece's bytes 4 │ index 8 │ term 8 │ clock 8 │ membership's bytes 4 │ crc 4 │
// membership
//   piece    content's bytes 4 │ crc 4 │ content
//   footer   ones 4 │ crc 4 │ content's bytes in all 8 │ crc of the content 4 │ zero 4
//
// Every piece but the last is full, so that the place of each is known. All sums are CRC-32C and continue the header's,
// a piece's over its number as well: a piece of another snapshot, or in another's place, does not pass. Integers are
// little-endian. The content's own sum, of its bytes alone, is what a `SnapshotDescription` tells others.
//
// It must never: look inside the content.

import RaftCore

enum SnapshotFormat {
  /// "portsnap" read as a little-endian integer.
  static let magic: UInt64 = 0x7061_6E73_7472_6F70
  static let version: UInt32 = 1
  static let pieceBytes = 256 << 10
  static let headerBytes = 48
  static let pieceHeaderBytes = 8
  static let footerBytes = 24
  static let footerMark = UInt32.max
  /// A membership is small; a length beyond this is not one.
  static let maximumMembershipBytes = 16 << 20

  static func header(of point: SnapshotPoint) -> [UInt8] {
    let membership = point.membership.encoded()
    var bytes = [UInt8](repeating: 0, count: headerBytes) + membership
    bytes.withUnsafeMutableBytes { header in
      header.store(magic, at: 0)
      header.store(version, at: 8)
      header.store(UInt32(pieceBytes), at: 12)
      header.store(point.index.rawValue, at: 16)
      header.store(point.term.rawValue, at: 24)
      header.store(point.clockMilliseconds, at: 32)
      header.store(UInt32(membership.count), at: 40)
      header.store(sum(ofHeader: UnsafeRawBufferPointer(header)), at: 44)
    }
    return bytes
  }

  /// The sum of a header with its own place taken as zero.
  static func sum(ofHeader header: UnsafeRawBufferPointer) -> UInt32 {
    var sum = CRC32C.checksum(UnsafeRawBufferPointer(rebasing: header[..<44]))
    sum = withUnsafeBytes(of: UInt32(0)) { CRC32C.checksum($0, continuing: sum) }
    return CRC32C.checksum(UnsafeRawBufferPointer(rebasing: header[headerBytes...]), continuing: sum)
  }

  static func sum(ofPiece number: UInt64, _ content: UnsafeRawBufferPointer, headerSum: UInt32) -> UInt32 {
    let start = withUnsafeBytes(of: (number.littleEndian, UInt64(content.count).littleEndian)) {
      CRC32C.checksum($0, continuing: headerSum)
    }
    return CRC32C.checksum(content, continuing: start)
  }

  static func footer(totalBytes: UInt64, checksum: UInt32, headerSum: UInt32) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: footerBytes)
    bytes.withUnsafeMutableBytes { footer in
      footer.store(footerMark, at: 0)
      footer.store(totalBytes, at: 8)
      footer.store(checksum, at: 16)
      footer.store(sum(ofFooter: UnsafeRawBufferPointer(footer), headerSum: headerSum), at: 4)
    }
    return bytes
  }

  static func sum(ofFooter footer: UnsafeRawBufferPointer, headerSum: UInt32) -> UInt32 {
    let mark = CRC32C.checksum(UnsafeRawBufferPointer(rebasing: footer[..<4]), continuing: headerSum)
    return CRC32C.checksum(UnsafeRawBufferPointer(rebasing: footer[8...]), continuing: mark)
  }

  /// How long a whole file is.
  static func fileBytes(headerBytes: Int, totalBytes: UInt64) -> UInt64 {
    let pieces = (totalBytes + UInt64(pieceBytes) - 1) / UInt64(pieceBytes)
    return UInt64(headerBytes + footerBytes) + pieces * UInt64(pieceHeaderBytes) + totalBytes
  }

  static func fileName(of point: SnapshotPoint) -> String {
    "\(padded(point.index.rawValue))-\(padded(point.term.rawValue)).snapshot"
  }

  private static func padded(_ value: UInt64) -> String {
    let digits = hexadecimal(value)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}
