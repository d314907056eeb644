import Glibc
import LogStorage
import RaftCore
import Testing

@Suite("What is done to a log while no node runs on it")
struct OfflineTests {
  private let small = LogStorage.Options(journalBytes: 64 << 10)

  /// A log that was larger once, with a snapshot, and with entries in the journal.
  private func usedLog() throws -> TemporaryDirectory {
    let directory = TemporaryDirectory()
    let storage = try directory.open(small).storage
    defer { storage.close() }
    try storage.write([persist(1, term: 1, entries(1...4000, payloadBytes: 1000))])
    try storage.takeSnapshot(point(3900), bytes: 400_000)
    try storage.compact(before: Index(3901))
    while try storage.removeGarbage() {}
    try storage.append([persist(2, term: 2, votedFor: 6, entries(4001...4003, term: 2))])
    return directory
  }

  @Test("A compacted copy has the same log, snapshot and birth, and is no larger than it must be")
  func copies() throws {
    let directory = try usedLog()
    let target = directory.path + "/copy"
    try LogStorage.copyCompacted(from: directory.log, to: target, options: small)
    let (original, first) = try directory.open(small)
    let (copy, second) = try LogStorage.open(directory: target, identity: someIdentity, options: small)
    defer {
      original.close()
      copy.close()
    }
    #expect(second.tail == first.tail && second.lastIndex == Index(4003) && second.firstIndex == Index(3901))
    #expect(second.hardState == HardState(term: Term(2), votedFor: NodeID(6)))
    #expect(second.snapshot == point(3900) && copy.birth == original.birth)
    #expect(copy.snapshots.newest() == original.snapshots.newest())
    let (before, after) = (try original.statistics(), try copy.statistics())
    #expect(after.freePages < 10 && after.fileBytes < before.fileBytes / 4)
    try copy.append([persist(1, entries(4004...4004, term: 2))])
  }

  @Test("A copy is refused of a log in use, into a place that holds something, and of nothing")
  func refusedCopies() throws {
    let directory = try usedLog()
    let target = directory.path + "/copy"
    let storage = try directory.open(small).storage
    #expect(throws: StorageError.inUse(path: directory.log, processID: getpid())) {
      try LogStorage.copyCompacted(from: directory.log, to: target)
    }
    storage.close()
    mkdir(target, 0o700)
    write([1], to: target + "/file")
    #expect(throws: StorageError.notEmpty(path: target)) {
      try LogStorage.copyCompacted(from: directory.log, to: target, options: small)
    }
    #expect(throws: StorageError.self) {
      try LogStorage.copyCompacted(from: directory.path + "/nowhere", to: directory.path + "/copy2")
    }
    #expect(names(in: directory.path) == ["copy", "log"])
    unlink(target + "/file")
    #expect(throws: Never.self) { try LogStorage.copyCompacted(from: directory.log, to: target, options: small) }
  }

  @Test("A forced new cluster has a new identity, a term of its own without a vote, and its membership at the end")
  func forced() throws {
    let directory = try usedLog()
    let birth = try { () -> UInt64 in
      let storage = try directory.open(small).storage
      defer { storage.close() }
      return storage.birth
    }()
    let new = Identity(clusterID: 0xC9, nodeID: NodeID(1), incarnation: 2)
    let made = try LogStorage.forceNewCluster(
      directory: directory.log, identity: new, membershipPayload: [9, 8, 7], clockMilliseconds: 50, options: small)
    #expect(
      made
        == Entry(index: Index(4004), term: Term(3), clockMilliseconds: 40_030, kind: .membership, payload: [9, 8, 7]))
    #expect(throws: StorageError.self) { try directory.open(small) }
    let (storage, recovered) = try directory.open(small, as: new)
    defer { storage.close() }
    #expect(recovered.hardState == HardState(term: Term(3), votedFor: nil))
    #expect(recovered.tail.last == made && recovered.membershipEntries == [made])
    #expect(recovered.firstIndex == Index(3901) && recovered.snapshot == point(3900))
    #expect(storage.birth == birth)
  }

  @Test("A new cluster is refused without a new id and a higher incarnation, of a log in use, and of a damaged one")
  func refusedForcing() throws {
    let directory = try usedLog()
    func force(_ identity: Identity) throws {
      try LogStorage.forceNewCluster(
        directory: directory.log, identity: identity, membershipPayload: [], clockMilliseconds: 0, options: small)
    }
    var new = Identity(clusterID: 0xC9, nodeID: NodeID(1), incarnation: 1)
    #expect(throws: StorageError.notNewer(path: directory.log, found: someIdentity, wanted: new)) { try force(new) }
    new = Identity(clusterID: someIdentity.clusterID, nodeID: NodeID(1), incarnation: 2)
    #expect(throws: StorageError.notNewer(path: directory.log, found: someIdentity, wanted: new)) { try force(new) }
    new.clusterID = 0xC9
    let storage = try directory.open(small).storage
    #expect(throws: StorageError.inUse(path: directory.log, processID: getpid())) { try force(new) }
    storage.close()
    #expect(directory.flipBit(inEvery: [UInt8](repeating: UInt8(3950 & 0xFF), count: 1000)) > 0)
    #expect(throws: StorageError.self) { try force(new) }
    // Nothing was changed by any of them, and the damage is still to be found.
    let recovered = try directory.reopened(small)
    #expect(recovered.damage?.firstLost == Index(3950))
    #expect(throws: StorageError.self) { try force(new) }
  }

  @Test("Each directory has a birth of its own, which stays")
  func birth() throws {
    let (one, other) = (TemporaryDirectory(), TemporaryDirectory())
    func birth(_ directory: TemporaryDirectory) throws -> UInt64 {
      let storage = try directory.open(small).storage
      defer { storage.close() }
      return storage.birth
    }
    let first = try birth(one)
    #expect(try birth(one) == first && first != 0)
    #expect(try birth(other) != first)
  }
}
