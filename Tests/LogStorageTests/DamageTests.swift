import Glibc
import LogStorage
import RaftCore
import Testing

/// The bytes of a value as they lie on the disk.
func little(_ values: UInt64...) -> [UInt8] {
  values.flatMap { withUnsafeBytes(of: $0.littleEndian) { Array($0) } }
}

/// A record as it lies in the tree: the sum, and what it is over besides the key.
func sealed(key: UInt64, _ rest: [UInt8]) -> [UInt8] {
  let sum = (little(key) + rest).withUnsafeBytes { CRC32C.checksum($0) }
  return withUnsafeBytes(of: sum.littleEndian) { Array($0) } + rest
}

@Suite("What a disk has lost is remembered until it is repaired")
struct DamageTests {
  private let noSteps = LogStorage.Options(fileStepBytes: 0, diskReserveBytes: 0, journalBytes: 64 << 10)

  private func marked(_ index: UInt64) -> [UInt8] { Array("payload-of-entry-\(index)-in-the-log".utf8) }

  /// 1 to `count`, with the entry at `damaged` damaged in every copy.
  private func damagedLog(_ count: UInt64, at damaged: UInt64, _ options: LogStorage.Options) throws
    -> TemporaryDirectory
  {
    let directory = TemporaryDirectory()
    try directory.write([persist(1, term: 2, (1...count).map { entry($0, marked($0)) })], options)
    #expect(directory.flipBit(inEvery: marked(damaged)) > 0)
    return directory
  }

  @Test("Damage is told at every opening, over new entries, until the log is reported whole")
  func untilRepaired() throws {
    let directory = try damagedLog(30, at: 11, noSteps)
    let damage = Damage(Loss(first: Index(11), last: Index(30), term: Term(2)))
    #expect(try directory.reopened().damage == damage)
    try directory.write([persist(2, term: 3, entries(11...20, term: 3))])
    let extended = try directory.reopened()
    #expect(extended.damage == damage && extended.lastIndex == Index(20))
    do {
      let storage = try directory.open().storage
      defer { storage.close() }
      try storage.append([persist(3, entries(21...31, term: 3))])
      try storage.append([persist(4, isRepaired: true, entries(32...32, term: 3))])
    }
    let repaired = try directory.reopened()
    #expect(repaired.damage == nil && repaired.lastIndex == Index(32))
  }

  @Test("A crash after any step of the cut leads to the same log and the same damage")
  func crashAtEachStep() throws {
    let options = LogStorage.Options(fileStepBytes: 0, journalBytes: 64 << 10, truncationStepEntries: 7)
    let directory = try damagedLog(60, at: 21, options)
    let copies = TemporaryDirectory()
    var steps = 0
    let (storage, recovered) = try LogStorage.open(
      directory: directory.log, identity: someIdentity, options: options,
      onStep: {
        steps += 1
        copy(directory.log, to: "\(copies.path)/\(steps)")
      })
    storage.close()
    // One for the record of the damage, and six for forty entries.
    #expect(steps >= 7)
    let damage = Damage(Loss(first: Index(21), last: Index(60), term: Term(2)))
    #expect(recovered.damage == damage && recovered.lastIndex == Index(20))
    for step in 1...steps {
      let (again, found) = try LogStorage.open(directory: "\(copies.path)/\(step)", identity: someIdentity)
      #expect(found.damage == damage && found.tail == recovered.tail, "after step \(step)")
      again.close()
    }
  }

  @Test("Damage upon damage counts as both")
  func twice() throws {
    let directory = try damagedLog(30, at: 25, noSteps)
    _ = try directory.reopened(noSteps)
    #expect(directory.flipBit(inEvery: marked(9)) > 0)
    let recovered = try directory.reopened(noSteps)
    #expect(recovered.lastIndex == Index(8))
    #expect(recovered.damage == Damage(Loss(first: Index(9), last: Index(30), term: Term(2))))
  }

  @Test("Memory of damage that is damaged itself counts as the worst")
  func damagedMemory() throws {
    let directory = try damagedLog(30, at: 25, noSteps)
    _ = try directory.reopened(noSteps)
    #expect(directory.flipBit(inEvery: little(25, 30, 2)) > 0)
    let recovered = try directory.reopened(noSteps)
    #expect(recovered.lastIndex == Index(24))
    #expect(recovered.damage == Damage(Loss(first: Index(1), last: Index(.max), term: Term(2))))
    #expect(try directory.reopened(noSteps).damage == recovered.damage)
  }

  @Test("A stored term below an entry's is raised, with a vote that lets nobody else have one, and the entry is lost")
  func staleHardState() throws {
    let directory = TemporaryDirectory()
    try directory.write([persist(1, term: 1, entries(1...5)), persist(2, term: 7, entries(6...9, term: 6))], noSteps)
    func hardState(term: UInt64) -> [UInt8] { sealed(key: 1, [0, 0, 0, 0] + little(term, 0)) }
    var bytes = directory.dataBytes()
    for place in positions(of: hardState(term: 7), in: bytes) {
      bytes.replaceSubrange(place..<(place + 24), with: hardState(term: 3))
    }
    directory.overwriteData(bytes)
    let recovered = try directory.reopened(noSteps)
    #expect(recovered.hardState == HardState(term: Term(6), votedFor: someIdentity.nodeID))
    #expect(recovered.lastIndex == Index(5))
    #expect(recovered.damage == Damage(Loss(first: Index(6), last: Index(9), term: Term(6))))
  }

  // MARK: With snapshots

  /// 1 to 60 and a snapshot at 20 and at 40; the log begins with `first`.
  private func withSnapshots(first: UInt64) throws -> TemporaryDirectory {
    let directory = TemporaryDirectory()
    let storage = try directory.open(noSteps).storage
    defer { storage.close() }
    try storage.write([persist(1, term: 2, (1...60).map { entry($0, marked($0)) })])
    try storage.takeSnapshot(point(20))
    try storage.takeSnapshot(point(40))
    try storage.compact(before: Index(first))
    return directory
  }

  private func damageSnapshot(_ place: Int, of directory: TemporaryDirectory) {
    let path = directory.log + "/snapshots/" + names(in: directory.log + "/snapshots")[place]
    var bytes = contents(of: path)
    bytes[bytes.count / 2] ^= 1
    write(bytes, to: path)
  }

  @Test("What is damaged before a snapshot's point is not lost: the log begins behind the point")
  func damageBeforeSnapshot() throws {
    let directory = try withSnapshots(first: 5)
    #expect(directory.flipBit(inEvery: marked(33)) > 0)
    for _ in 0..<2 {
      let recovered = try directory.reopened(noSteps)
      #expect(recovered.damage == nil && recovered.snapshot == point(40))
      #expect(recovered.firstIndex == Index(41) && recovered.tail == (41...60).map { entry($0, marked($0)) })
    }
  }

  @Test("With the entry at the point damaged too nobody knows whether what follows belongs to it")
  func damageAtSnapshot() throws {
    let directory = try withSnapshots(first: 5)
    #expect(directory.flipBit(inEvery: marked(40)) > 0)
    for _ in 0..<2 {
      let recovered = try directory.reopened(noSteps)
      #expect(recovered.firstIndex == Index(41) && recovered.lastIndex == Index(40))
      #expect(recovered.snapshot == point(40))
      #expect(recovered.damage == Damage(Loss(first: Index(41), last: Index(60), term: Term(2))))
    }
  }

  @Test("A snapshot that does not check gives way to an older one that the log reaches")
  func olderSnapshot() throws {
    let directory = try withSnapshots(first: 15)
    damageSnapshot(1, of: directory)
    let recovered = try directory.reopened(noSteps)
    #expect(recovered.snapshot == point(20) && recovered.damage == nil)
    #expect(recovered.firstIndex == Index(15) && recovered.lastIndex == Index(60))
  }

  @Test("Where the log does not reach the older snapshot it is emptied behind it, and what it had is lost")
  func unreachedSnapshot() throws {
    let directory = try withSnapshots(first: 35)
    damageSnapshot(1, of: directory)
    for _ in 0..<2 {
      let recovered = try directory.reopened(noSteps)
      #expect(recovered.snapshot == point(20))
      #expect(recovered.firstIndex == Index(21) && recovered.lastIndex == Index(20))
      #expect(recovered.damage == Damage(Loss(first: Index(21), last: Index(60), term: Term(2))))
    }
  }

  @Test("Where no snapshot checks everything is lost, but for term and vote")
  func noSnapshot() throws {
    let directory = try withSnapshots(first: 35)
    damageSnapshot(0, of: directory)
    damageSnapshot(1, of: directory)
    let recovered = try directory.reopened(noSteps)
    #expect(recovered.snapshot == nil && recovered.firstIndex == Index(1) && recovered.lastIndex == .beforeFirst)
    #expect(recovered.hardState.term == Term(2))
    #expect(recovered.damage == Damage(Loss(first: Index(1), last: Index(60), term: Term(2))))
    try directory.write([persist(9, entries(1...3))], noSteps)
    #expect(try directory.reopened(noSteps).tail == entries(1...3))
  }

  @Test("A crash after any step of emptying a log leads to the same")
  func crashWhileEmptying() throws {
    let directory = try withSnapshots(first: 35)
    damageSnapshot(1, of: directory)
    let copies = TemporaryDirectory()
    var steps = 0
    let options = LogStorage.Options(fileStepBytes: 0, journalBytes: 64 << 10, truncationStepEntries: 5)
    let (storage, recovered) = try LogStorage.open(
      directory: directory.log, identity: someIdentity, options: options,
      onStep: {
        steps += 1
        copy(directory.log, to: "\(copies.path)/\(steps)")
      })
    storage.close()
    #expect(steps >= 7 && recovered.snapshot == point(20))
    for step in 1...steps {
      let (again, found) = try LogStorage.open(
        directory: "\(copies.path)/\(step)", identity: someIdentity, options: options)
      #expect(found.damage == recovered.damage && found.lastIndex == recovered.lastIndex, "after step \(step)")
      #expect(found.snapshot == point(20) && found.firstIndex == Index(21))
      again.close()
    }
  }

  @Test("Where the record of the log's beginning is damaged nobody knows what is log and what is garbage")
  func damagedBeginning() throws {
    let directory = try withSnapshots(first: 35)
    #expect(directory.flipBit(inEvery: little(34, 1, 340)) > 0)
    for _ in 0..<2 {
      let recovered = try directory.reopened(noSteps)
      #expect(recovered.snapshot == point(40))
      #expect(recovered.firstIndex == Index(41) && recovered.lastIndex == Index(40))
      #expect(recovered.damage == Damage(Loss(first: Index(41), last: Index(60), term: Term(2))))
    }
  }
}
