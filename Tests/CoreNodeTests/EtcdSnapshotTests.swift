// Files of etcd's: read as they are, and never more than an error when they are damaged. That etcd's own files are read is
// shown in SystemTests.

import CoordinationCore
import CoreNode
import Testing

@Suite("A snapshot of etcd's")
struct EtcdSnapshotTests {
  private func read(_ bytes: [UInt8]) throws -> (figures: EtcdSnapshot.Figures, state: Coordination) {
    var snapshot = try EtcdSnapshot(length: UInt64(bytes.count), Sample.source(bytes))
    let state = try snapshot.state(clockMilliseconds: 5).state
    return (snapshot.figures, state)
  }

  @Test("gives its keys with their versions and its leases", arguments: [1, 5, 700])
  func content(keys: Int) throws {
    let state = Sample.state(keys: keys, valueBytes: keys == 5 ? 9000 : 20)
    let (figures, found) = try read(Sample.etcdFile(of: state))
    #expect(figures.index == 40 && figures.term == 5 && figures.compactedRevision == 0)
    #expect(figures.versions == keys * 2 + 1 && figures.leases == 2)
    // The grant's revision changed no key, so it is in no file.
    #expect(found.revision == state.revision - 1)
    #expect(try found.store.digest(through: 0) == state.store.digest(through: 0))
    #expect(found.leases[7]?.attachedKeys == state.leases[7]?.attachedKeys)
    #expect(found.leases[7]?.ttlMilliseconds == 60_000)
  }

  @Test("with bits changed at random is read, or refused, and nothing else", arguments: 1...40 as ClosedRange<UInt64>)
  func flips(seed: UInt64) throws {
    let bytes = Sample.etcdFile(of: Sample.state(keys: 90, valueBytes: 50))
    var draw = SeededGenerator(state: seed)
    var refused = 0
    for _ in 0..<200 {
      var damaged = bytes
      for _ in 0..<Int.random(in: 1...4, using: &draw) {
        // Where pages and items are told is where a change does most.
        let page = Int.random(in: 0..<(bytes.count / 4096), using: &draw) * 4096
        let place = page + Int.random(in: 0..<(Bool.random(using: &draw) ? 128 : 4096), using: &draw)
        damaged[place] ^= 1 << UInt8.random(in: 0..<8, using: &draw)
      }
      do {
        _ = try read(damaged)
      } catch is BackupError {
        refused += 1
      }
    }
    #expect(refused > 0)
  }

  @Test("cut at any page is refused")
  func cut() throws {
    let bytes = Sample.etcdFile(of: Sample.state(keys: 90, valueBytes: 50))
    for length in stride(from: 0, to: bytes.count, by: 1024) {
      #expect(throws: BackupError.self) { try read(Array(bytes[..<length])) }
    }
    #expect(throws: BackupError.self) { try read([UInt8](repeating: 0, count: 1 << 16)) }
    #expect(throws: BackupError.self) { try read([UInt8](repeating: 0xFF, count: 1 << 16)) }
  }

  @Test("with one of its two first pages damaged is read by the other")
  func metas() throws {
    let bytes = Sample.etcdFile(of: Sample.state())
    for page in [0, 4096] {
      var damaged = bytes
      for place in 0..<80 { damaged[page + place] = 0 }
      #expect(try read(damaged).figures.versions == 11)
    }
  }

  @Test("without etcd's buckets is told for what it is")
  func buckets() throws {
    var writer = BoltWriter(BoltFile([BoltBucket("a", [([1], [2])]), BoltBucket("b")]))
    var bytes: [UInt8] = []
    while let pages = writer.next() { bytes += pages }
    #expect(throws: BackupError.damaged("it is a bbolt file without etcd's buckets \"key\" and \"meta\"")) {
      try read(bytes)
    }
  }
}

/// So that a failing test fails again.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var value = state
    value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
    return value ^ (value >> 31)
  }
}
