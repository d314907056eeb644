// A backup file: read back as it was written, and refused when a bit of it is another.

import CoordinationCore
import CoreNode
import Testing

@Suite("A backup file")
struct BackupFileTests {
  /// Reads a whole file in pieces of one size.
  private func read(_ bytes: [UInt8], step: Int = 100) throws -> (header: BackupHeader?, state: Coordination) {
    var decoder = BackupDecoder()
    var reader = StateReader()
    var offset = 0
    while offset < bytes.count {
      let end = min(bytes.count, offset + step)
      for piece in try decoder.take(Array(bytes[offset..<end])) { try reader.read(piece) }
      offset = end
    }
    try decoder.finish()
    #expect(decoder.totalBytes == UInt64(bytes.count) && decoder.checksum == Array(bytes.suffix(32)))
    return (decoder.header, try reader.finish())
  }

  @Test(
    "is read back whole, whatever the size of its pieces and of what comes at a time", arguments: [16, 100, 1 << 18])
  func roundTrip(pieceBytes: Int) throws {
    let state = Sample.state(keys: 20, valueBytes: 90)
    let bytes = try Sample.backup(of: state, pieceBytes: pieceBytes)
    for step in [1, 7, 4096, 1 << 20] {
      let (header, found) = try read(bytes, step: step)
      #expect(header == Sample.header && found.digest == state.digest)
    }
  }

  @Test("is refused with any single bit of it changed")
  func flips() throws {
    let bytes = try Sample.backup(of: Sample.state(), pieceBytes: 64)
    #expect(bytes.count < 2000)
    for place in bytes.indices {
      for bit in 0..<8 {
        var damaged = bytes
        damaged[place] ^= 1 << UInt8(bit)
        #expect(throws: BackupError.self, "byte \(place), bit \(bit)") { try read(damaged, step: 1 << 20) }
      }
    }
  }

  @Test("is refused cut at any place, and with anything behind its end")
  func cut() throws {
    let bytes = try Sample.backup(of: Sample.state(), pieceBytes: 64)
    for length in 0..<bytes.count {
      #expect(throws: BackupError.self, "\(length) bytes") { try read(Array(bytes[..<length]), step: 1 << 20) }
    }
    #expect(throws: BackupError.cutShort(bytes: UInt64(bytes.count - 1))) {
      try read(Array(bytes.dropLast()), step: 1 << 20)
    }
    #expect(throws: BackupError.damaged("there are bytes behind its end")) { try read(bytes + [0]) }
    #expect(throws: BackupError.damaged("there are bytes behind its end")) { try read(bytes + bytes) }
  }

  @Test("is refused with two pieces of the same length in each other's places")
  func swapped() throws {
    let bytes = try Sample.backup(of: Sample.state(), pieceBytes: 64)
    let first = 20 + Int(bytes[12]) + Int(bytes[13]) << 8
    var swapped = bytes
    swapped.replaceSubrange(first..<(first + 72), with: bytes[(first + 72)..<(first + 144)])
    swapped.replaceSubrange((first + 72)..<(first + 144), with: bytes[first..<(first + 72)])
    #expect(throws: BackupError.self) { try read(swapped) }
  }

  @Test("of a newer format is known for that, and what is no backup is too")
  func others() throws {
    let newer: [UInt8] = Array("portback".utf8) + [2, 0, 0, 0, 2, 0, 0, 0]
    let sum = crc(newer + Array("{}".utf8))
    #expect(throws: BackupError.newerFormat(2)) { try read(newer + sum + Array("{}".utf8)) }
    #expect(throws: BackupError.notABackup) { try read(Array("something else".utf8)) }
    #expect(throws: BackupError.notABackup) { try read([]) }
  }

  /// CRC-32C, slowly, so that the test has its own.
  private func crc(_ bytes: [UInt8]) -> [UInt8] {
    var sum: UInt32 = ~0
    for byte in bytes {
      sum ^= UInt32(byte)
      for _ in 0..<8 { sum = sum & 1 == 1 ? sum >> 1 ^ 0x82F6_3B78 : sum >> 1 }
    }
    return withUnsafeBytes(of: (~sum).littleEndian) { Array($0) }
  }

  @Test("after an error every further piece is refused")
  func sticky() throws {
    var decoder = BackupDecoder()
    #expect(throws: BackupError.notABackup) { try decoder.take([1, 2, 3, 4, 5, 6, 7, 8]) }
    let bytes = try Sample.backup(of: Sample.state())
    #expect(throws: BackupError.notABackup) { try decoder.take(bytes) }
    #expect(throws: BackupError.notABackup) { try decoder.finish() }
  }
}
