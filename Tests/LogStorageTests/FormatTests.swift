import Glibc
import LogStorage
import RaftCore
import Testing

@Suite("A log of an older format is brought up to date, one of a newer is refused")
struct FormatTests {
  /// A directory as format 1 left it: node 1 of cluster c1 in term 2 with a vote for node 3, entries 1 to 3 in the
  /// tree, which has taken the journal up to record 7; record 8 with entries 4 and 5, and record 9 with entry 6, term 5
  /// and a vote for node 2.
  private func firstFormat() -> TemporaryDirectory {
    let directory = TemporaryDirectory()
    mkdir(directory.log, 0o700)
    write(file(bytes: 12_288, Self.data), to: directory.dataFile)
    write(file(bytes: 65_536, Self.journal), to: directory.log + "/journal")
    return directory
  }

  private let small = LogStorage.Options(journalBytes: 64 << 10)

  @Test("Format 1 opens with its journal, and is of this format from then on")
  func migration() throws {
    let directory = firstFormat()
    #expect(try LogStorage.existingIdentity(directory: directory.log) == someIdentity)
    let expected =
      entries(1...3, term: 1).map { entry($0.index.rawValue, $0.payload) }
      + entries(4...5, term: 2) + entries(6...6, term: 5)
    var births: Set<UInt64> = []
    for _ in 0..<2 {
      let (storage, recovered) = try directory.open(small)
      #expect(recovered.tail == expected)
      #expect(recovered.hardState == HardState(term: Term(5), votedFor: NodeID(2)))
      #expect(recovered.firstIndex == Index(1) && recovered.damage == nil && recovered.snapshot == nil)
      births.insert(storage.birth)
      storage.close()
    }
    #expect(births.count == 1 && !births.contains(0))
    try directory.write([persist(1, entries(7...9, term: 5))], small)
    #expect(try directory.reopened(small).lastIndex == Index(9))
  }

  @Test("Another node's log of format 1 is refused as it is")
  func foreign() throws {
    let directory = firstFormat()
    var other = someIdentity
    other.nodeID = NodeID(2)
    #expect(throws: StorageError.otherNode(path: directory.log, found: someIdentity, expected: other)) {
      try directory.open(small, as: other)
    }
    #expect(directory.dataBytes().prefix(12_288).elementsEqual(file(bytes: 12_288, Self.data)))
  }

  @Test("A torn end of format 1's journal is cut; a damaged record before a whole one is refused, as it was then")
  func firstFormatDamage() throws {
    for (offset, lastIndex) in [(200, 5), (30, nil)] as [(Int, UInt64?)] {
      let directory = firstFormat()
      var journal = file(bytes: 65_536, Self.journal)
      journal[offset] ^= 1
      write(journal, to: directory.log + "/journal")
      if let lastIndex {
        #expect(try directory.reopened(small).lastIndex == Index(lastIndex))
      } else {
        #expect { try directory.reopened(small) } throws: { "\($0)".contains("journal") }
      }
    }
  }

  // MARK: Bytes

  /// Zeros, and what is in them at some places.
  private func file(bytes: Int, _ runs: [(Int, String)]) -> [UInt8] {
    var file = [UInt8](repeating: 0, count: bytes)
    for (start, digits) in runs {
      let digits = Array(digits)
      for place in 0..<(digits.count / 2) {
        file[start + place] = UInt8(String(digits[(2 * place)...(2 * place + 1)]), radix: 16) ?? 0
      }
    }
    return file
  }

  private static let data: [(Int, String)] = [
    (10, "080000000000dec0efbe01000000000000000000000000001000000000000010000008"),
    (80, "ffffffffffffffff"),
    (128, "ffffffffffffffff01"),
    (4096, "01000000000000000000080000000000dec0efbe01000000000000000000000000001000000000000010000008"),
    (4176, "ffffffffffffffff00000000080001000000000000000000010000000000000000000000000000000600000000000000"),
    (4224, "0200000000000000020000000000000001"),
    (8192, "0200000000000000000002001c00d80ec80fa00f800f480f100fd80e"),
    (11992, "280000000000080003010000000000008a17c18a0100000001000000000000001e000000000000000303030303030303"),
    (12040, "030303030303030328000000000008000201000000000000351c2c5c0100000001000000000000001400000000000000"),
    (12088, "02020202020202020202020202020202280000000000080001010000000000000576f722010000000100000000000000"),
    (12136, "0a00000000000000010101010101010101010101010101011000000000000800020000000000000040bc1b2800000000"),
    (12184, "07000000000000001800000000000800010000000000000084512f580100000002000000000000000300000000000000"),
    (12232, "280000000000080000000000000000006818fe8d01000000706f727463756c6cc1000000000000000100000000000000"),
    (12280, "01"),
  ]
  private static let journal: [(Int, String)] = [
    (0, "4a524e4c9000000008000000000000006b86b835"),
    (48, "040000000000000002000000000000002800000000000000010000001000000004040404040404040404040404040404"),
    (96, "050000000000000002000000000000003200000000000000010000001000000005050505050505050505050505050505"),
    (144, "4a524e4c6000000009000000000000001c96a39200000000010100000000000005000000000000000200000000000000"),
    (192, "060000000000000005000000000000003c00000000000000010000001000000006060606060606060606060606060606"),
  ]
}
