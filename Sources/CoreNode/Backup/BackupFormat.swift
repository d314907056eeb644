// Owns the bytes of a backup file: a header, the state in pieces, an end. docs/backup-format.md is the reference.
//
//   header   magic 8 │ version 4 │ description's bytes 4 │ crc 4 │ description, JSON
//   piece    content's bytes 4 │ crc 4 │ content
//   end      zero 4 │ crc 4 │ content's bytes in all 8 │ pieces 8 │ SHA-256 of all that is before it 32
//
// Sums of four bytes are CRC-32C and continue the header's, a piece's over its number as well: a piece of another backup, or
// in another's place, does not pass. Integers are little-endian. The first twenty bytes stay what they are in every version,
// so that a later one is known for what it is.

package import CoordinationCore
import Crypto
import Foundation
import LogStorage

enum BackupFormat {
  static let magic = Array("portback".utf8)
  static let version: UInt32 = 1
  static let headerBytes = 20
  static let pieceHeaderBytes = 8
  static let endBytes = 56
  static let checksumBytes = 32
  /// As written; a reader takes up to the maximum.
  static let pieceBytes = 256 << 10
  static let maximumPieceBytes = 1 << 20
  static let maximumDescriptionBytes = 1 << 20

  static func sum(ofHeader start: some Collection<UInt8>, _ description: some Collection<UInt8>) -> UInt32 {
    sum(Array(description), continuing: sum(Array(start)))
  }

  static func sum(ofPiece number: UInt64, _ content: [UInt8], headerSum: UInt32) -> UInt32 {
    sum(content, continuing: sum(littleEndian(number) + littleEndian(UInt64(content.count)), continuing: headerSum))
  }

  static func sum(ofEnd counts: [UInt8], headerSum: UInt32) -> UInt32 {
    sum([0, 0, 0, 0] + counts, continuing: headerSum)
  }

  private static func sum(_ bytes: [UInt8], continuing sum: UInt32 = 0) -> UInt32 {
    bytes.withUnsafeBytes { CRC32C.checksum($0, continuing: sum) }
  }

  static func littleEndian<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
    withUnsafeBytes(of: number.littleEndian) { Array($0) }
  }

  static func number<Number: FixedWidthInteger>(_ bytes: some Collection<UInt8>) -> Number {
    bytes.reversed().reduce(0) { $0 << 8 | Number(truncatingIfNeeded: $1) }
  }
}

/// Makes a backup, a piece at a time, and holds no more of it than that.
package struct BackupEncoder: Sendable {
  private enum Stage { case header, pieces, done }

  private let header: BackupHeader
  private var writer: StateWriter
  private var stage = Stage.header
  private var hash = SHA256()
  private var headerSum: UInt32 = 0
  private var pieces: UInt64 = 0
  private var contentBytes: UInt64 = 0
  private let pieceBytes: Int

  package init(_ state: Coordination, _ header: BackupHeader) {
    self.init(state, header, pieceBytes: BackupFormat.pieceBytes)
  }

  /// The same in smaller pieces, for tests.
  package init(_ state: Coordination, _ header: BackupHeader, pieceBytes: Int) {
    self.header = header
    writer = StateWriter(state)
    self.pieceBytes = pieceBytes
  }

  /// The next bytes of the file; nil behind its end.
  package mutating func next() throws -> [UInt8]? {
    let bytes: [UInt8]
    switch stage {
    case .done: return nil
    case .header:
      bytes = try makeHeader()
      stage = .pieces
    case .pieces:
      if let content = writer.next(maxBytes: pieceBytes) {
        bytes = piece(content)
      } else {
        stage = .done
        return end()
      }
    }
    hash.update(data: bytes)
    return bytes
  }

  private mutating func makeHeader() throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let description = Array(try encoder.encode(header))
    let start =
      BackupFormat.magic + BackupFormat.littleEndian(BackupFormat.version)
      + BackupFormat.littleEndian(UInt32(description.count))
    headerSum = BackupFormat.sum(ofHeader: start, description)
    return start + BackupFormat.littleEndian(headerSum) + description
  }

  private mutating func piece(_ content: [UInt8]) -> [UInt8] {
    let sum = BackupFormat.sum(ofPiece: pieces, content, headerSum: headerSum)
    pieces += 1
    contentBytes += UInt64(content.count)
    return BackupFormat.littleEndian(UInt32(content.count)) + BackupFormat.littleEndian(sum) + content
  }

  private mutating func end() -> [UInt8] {
    let counts = BackupFormat.littleEndian(contentBytes) + BackupFormat.littleEndian(pieces)
    let sum = BackupFormat.sum(ofEnd: counts, headerSum: headerSum)
    let end = BackupFormat.littleEndian(UInt32(0)) + BackupFormat.littleEndian(sum) + counts
    hash.update(data: end)
    return end + Array(hash.finalize())
  }
}
