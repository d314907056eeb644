import LogStorage
import Testing

@Suite("The checksum is CRC-32C")
struct ChecksumTests {
  private func sums(_ bytes: [UInt8]) -> [UInt32] {
    bytes.withUnsafeBytes { [CRC32C.checksum($0), CRC32C.softwareChecksum($0)] }
  }

  @Test("The published examples come out, with the processor's instruction and without")
  func publishedExamples() {
    // RFC 3720, appendix B.4, and the check value of the catalogue of CRC algorithms.
    #expect(sums(Array("123456789".utf8)) == [0xE306_9283, 0xE306_9283])
    #expect(sums([UInt8](repeating: 0, count: 32)) == [0x8A91_36AA, 0x8A91_36AA])
    #expect(sums([UInt8](repeating: 0xFF, count: 32)) == [0x62A8_AB43, 0x62A8_AB43])
    #expect(sums(Array(0..<32)) == [0x46DD_794E, 0x46DD_794E])
    #expect(sums([]) == [0, 0])
  }

  @Test("Instruction and tables agree at every length and alignment, and a sum can be continued")
  func agreement() {
    let bytes = (0..<300).map { UInt8(truncatingIfNeeded: $0 &* 167 &+ 13) }
    bytes.withUnsafeBytes { all in
      for start in 0..<8 {
        for end in start..<bytes.count {
          let part = UnsafeRawBufferPointer(rebasing: all[start..<end])
          #expect(CRC32C.checksum(part) == CRC32C.softwareChecksum(part))
        }
        let head = CRC32C.checksum(UnsafeRawBufferPointer(rebasing: all[..<start]))
        let rest = UnsafeRawBufferPointer(rebasing: all[start...])
        #expect(CRC32C.checksum(rest, continuing: head) == CRC32C.checksum(all))
        #expect(CRC32C.softwareChecksum(rest, continuing: head) == CRC32C.checksum(all))
      }
    }
  }
}
