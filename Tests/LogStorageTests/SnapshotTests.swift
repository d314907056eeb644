import Glibc
import LogStorage
import RaftCore
import Testing

@Suite("Snapshots are files that are whole or are not there")
struct SnapshotTests {
  private let small = LogStorage.Options(fileStepBytes: 0, diskReserveBytes: 0, journalBytes: 64 << 10)
  static let sizes = [0, 1, 100, 256 << 10, (256 << 10) + 1, 3_000_000]

  private func path(_ directory: TemporaryDirectory) -> String { directory.log + "/snapshots" }

  private func everything(_ content: SnapshotContent) throws -> [UInt8] {
    var bytes: [UInt8] = []
    while let next = try content.next() { bytes += next }
    return bytes
  }

  @Test("What was appended, in pieces of any size, is what is read, whole and in stretches", arguments: sizes)
  func roundTrip(size: Int) throws {
    let directory = TemporaryDirectory()
    let expected = snapshotContent(point(7), bytes: size)
    let made: SnapshotDescription
    do {
      let storage = try directory.open().storage
      defer { storage.close() }
      try storage.write([persist(1, term: 1, entries(1...9))])
      let writer = try storage.snapshots.begin(point(7))
      #expect(storage.snapshots.newest() == nil)
      var rest = expected[...]
      var step = 1
      while !rest.isEmpty {
        try writer.append(Array(rest.prefix(step)))
        rest = rest.dropFirst(step)
        step = step * 5 + 3
      }
      made = try writer.finish()
      #expect(storage.snapshots.newest() == made)
    }
    #expect(made.point == point(7) && made.totalBytes == UInt64(size))
    #expect(made.checksum == expected.withUnsafeBytes { CRC32C.checksum($0) })

    let (storage, recovered) = try directory.open()
    defer { storage.close() }
    #expect(recovered.snapshot == point(7))
    #expect(storage.snapshots.newest() == made)
    #expect(try everything(storage.snapshots.content(of: made)) == expected)
    for maxBytes in [0, 1000, 300_000, 1 << 20] where maxBytes > 0 || size <= 100 {
      var read: [UInt8] = []
      while true {
        let chunk = try #require(
          try storage.snapshots.read(made, offset: UInt64(read.count), maxBytes: maxBytes))
        #expect(chunk.description == made && chunk.bytes.count <= max(1, maxBytes))
        read += chunk.bytes
        if chunk.isLast { break }
      }
      #expect(read == expected)
    }
    #expect(try storage.snapshots.read(made, offset: made.totalBytes + 1, maxBytes: 9) == nil)
  }

  @Test("One that was not finished is gone: abandoned, forgotten, or left by a crash")
  func unfinished() throws {
    let directory = TemporaryDirectory()
    let storage = try directory.open().storage
    let abandoned = try storage.snapshots.begin(point(1))
    try abandoned.append([1, 2, 3])
    abandoned.abandon()
    #expect(throws: StorageError.closed) { try abandoned.append([4]) }
    #expect(throws: StorageError.closed) { try abandoned.finish() }
    _ = try storage.snapshots.begin(point(2))
    #expect(names(in: path(directory)) == [])
    storage.close()
    write([1, 2, 3], to: path(directory) + "/7.tmp")
    #expect(try directory.reopened().snapshot == nil)
    #expect(names(in: path(directory)) == [])
  }

  @Test("Whatever byte of a snapshot is changed, it is not taken for one, and the older one is")
  func everyByte() throws {
    let directory = TemporaryDirectory()
    do {
      let storage = try directory.open(small).storage
      defer { storage.close() }
      try storage.write([persist(1, term: 1, entries(1...30))])
      try storage.takeSnapshot(point(10), bytes: 50)
      try storage.takeSnapshot(point(20), bytes: 300)
    }
    let file = path(directory) + "/" + (try #require(names(in: path(directory)).last))
    let pristine = contents(of: file)
    for offset in pristine.indices {
      var damaged = pristine
      damaged[offset] ^= 1 << UInt8(offset % 8)
      write(damaged, to: file)
      let (storage, recovered) = try directory.open(small)
      #expect(recovered.snapshot == point(10), "byte \(offset)")
      #expect(storage.snapshots.newest()?.point == point(10))
      #expect(recovered.lastIndex == Index(30) && recovered.damage == nil)
      storage.close()
    }
    for length in [0, 1, 47, 48, pristine.count - 24, pristine.count - 1] {
      write(Array(pristine.prefix(length)), to: file)
      #expect(try directory.reopened(small).snapshot == point(10), "\(length) bytes of \(pristine.count)")
    }
    write(pristine + [0], to: file)
    #expect(try directory.reopened(small).snapshot == point(10))
    write(pristine, to: file)
    #expect(try directory.reopened(small).snapshot == point(20))
  }

  @Test("A snapshot that goes bad while the log is open is found by whoever reads it, and no longer offered")
  func badUnderAnOpenLog() throws {
    let directory = TemporaryDirectory()
    let storage = try directory.open().storage
    defer { storage.close() }
    try storage.write([persist(1, term: 1, entries(1...30))])
    let older = try storage.takeSnapshot(point(10))
    let newer = try storage.takeSnapshot(point(20), bytes: 600_000)
    let content = try storage.snapshots.content(of: newer)
    _ = try content.next()
    let file = path(directory) + "/" + (try #require(names(in: path(directory)).last))
    let descriptor = Glibc.open(file, O_WRONLY)
    defer { Glibc.close(descriptor) }
    #expect(pwrite(descriptor, [0x55, 0x56], 2, 300_000) == 2)
    #expect(throws: StorageError.self) { try content.next() }
    #expect(throws: StorageError.self) { try storage.snapshots.read(newer, offset: 299_000, maxBytes: 5000) }
    #expect(storage.snapshots.newest() == older)
  }

  @Test("Pruning keeps the one it is told, the one before it, newer ones, and what is being read")
  func pruning() throws {
    let directory = TemporaryDirectory()
    let storage = try directory.open().storage
    defer { storage.close() }
    try storage.write([persist(1, term: 1, entries(1...60))])
    let all = try [10, 20, 30, 40, 50].map { try storage.takeSnapshot(point($0), bytes: 300_000) }
    let reading = try storage.snapshots.content(of: all[0])
    _ = try storage.snapshots.read(all[1], offset: 0, maxBytes: 10)
    _ = try reading.next()
    storage.snapshots.prune(keeping: all[3])
    #expect(names(in: path(directory)).count == 5)
    let later = MonotonicClock.nanoseconds() + SnapshotStore.readingNanoseconds + 1
    storage.snapshots.prune(keeping: all[3], now: later)
    #expect(names(in: path(directory)).count == 3)
    #expect(try storage.snapshots.read(all[1], offset: 0, maxBytes: 10) == nil)
    #expect(throws: StorageError.missingSnapshot(Index(10))) { try storage.snapshots.content(of: all[0]) }
    #expect(try storage.snapshots.read(all[2], offset: 0, maxBytes: 10) != nil)
    #expect(storage.snapshots.newest() == all[4])
    // Who began to read goes on to the end.
    #expect(try everything(reading).count == 300_000 - (256 << 10))
  }

  @Test("A second snapshot of the same place takes the first one's place")
  func samePlace() throws {
    let directory = TemporaryDirectory()
    let storage = try directory.open().storage
    defer { storage.close() }
    try storage.write([persist(1, term: 1, entries(1...10))])
    let first = try storage.takeSnapshot(point(5), bytes: 10)
    let second = try storage.takeSnapshot(point(5), bytes: 11)
    #expect(storage.snapshots.newest() == second)
    #expect(try storage.snapshots.read(first, offset: 0, maxBytes: 1) == nil)
    #expect(names(in: path(directory)).count == 1)
  }
}

@Suite("A snapshot from elsewhere is staged, and taken only when it checks")
struct StagingTests {
  private func description(_ bytes: [UInt8], at index: UInt64 = 50) -> SnapshotDescription {
    SnapshotDescription(
      point: point(index, term: 3), totalBytes: UInt64(bytes.count),
      checksum: bytes.withUnsafeBytes { CRC32C.checksum($0) })
  }

  private func chunk(_ description: SnapshotDescription, _ bytes: [UInt8], _ range: Range<Int>) -> SnapshotChunk {
    SnapshotChunk(description: description, offset: UInt64(range.lowerBound), bytes: Array(bytes[range]))
  }

  @Test("Stretches that follow are taken, repeated and early ones are answered with where it stands")
  func resumable() throws {
    let directory = TemporaryDirectory()
    let storage = try directory.open().storage
    defer { storage.close() }
    let bytes = snapshotContent(point(50), bytes: 700_000)
    let whole = description(bytes)
    #expect(try storage.snapshots.stage(chunk(whole, bytes, 10..<20)) == 0)
    #expect(try storage.snapshots.stage(chunk(whole, bytes, 0..<300_000)) == 300_000)
    #expect(try storage.snapshots.stage(chunk(whole, bytes, 0..<300_000)) == 300_000)
    #expect(try storage.snapshots.stage(chunk(whole, bytes, 400_000..<700_000)) == 300_000)
    #expect(try storage.snapshots.stage(chunk(whole, bytes, 300_000..<700_000)) == 700_000)
    #expect(storage.snapshots.newest() == nil)
    #expect(try storage.snapshots.finishStaging(whole))
    #expect(storage.snapshots.newest() == whole)
    #expect(try storage.snapshots.read(whole, offset: 699_990, maxBytes: 99)?.bytes == Array(bytes[699_990...]))
    #expect(try storage.snapshots.finishStaging(whole), "again, it is there already")
  }

  @Test("Bytes that are not those of the description are thrown away, and it can begin again")
  func rejected() throws {
    let directory = TemporaryDirectory()
    let storage = try directory.open().storage
    defer { storage.close() }
    let bytes = snapshotContent(point(50), bytes: 5000)
    let whole = description(bytes)
    var wrong = bytes
    wrong[4321] ^= 4
    #expect(try storage.snapshots.stage(chunk(whole, wrong, 0..<5000)) == 5000)
    #expect(try !storage.snapshots.finishStaging(whole))
    #expect(names(in: directory.log + "/snapshots") == [])
    #expect(try storage.snapshots.stage(chunk(whole, bytes, 0..<4000)) == 4000)
    #expect(try !storage.snapshots.finishStaging(whole), "a part of it is not it")
    #expect(try storage.snapshots.stage(chunk(whole, bytes, 0..<5000)) == 5000)
    #expect(try storage.snapshots.finishStaging(whole))
  }

  @Test("The start of another snapshot takes the place of what was staged")
  func replaced() throws {
    let directory = TemporaryDirectory()
    let storage = try directory.open().storage
    defer { storage.close() }
    let (bytes, newer) = (snapshotContent(point(50), bytes: 5000), snapshotContent(point(60), bytes: 6000))
    let (first, second) = (description(bytes), description(newer, at: 60))
    #expect(try storage.snapshots.stage(chunk(first, bytes, 0..<3000)) == 3000)
    #expect(try storage.snapshots.stage(chunk(second, newer, 100..<200)) == 0)
    #expect(try storage.snapshots.stage(chunk(first, bytes, 3000..<4000)) == 4000)
    #expect(try storage.snapshots.stage(chunk(second, newer, 0..<6000)) == 6000)
    #expect(try storage.snapshots.stage(chunk(first, bytes, 4000..<5000)) == 0)
    #expect(try !storage.snapshots.finishStaging(first))
    #expect(try storage.snapshots.finishStaging(second))
    #expect(names(in: directory.log + "/snapshots").count == 1)
  }

  @Test("More bytes than the description tells are not taken")
  func tooLong() throws {
    let directory = TemporaryDirectory()
    let storage = try directory.open().storage
    defer { storage.close() }
    let bytes = snapshotContent(point(50), bytes: 100)
    let whole = description(bytes)
    let long = SnapshotChunk(description: whole, offset: 0, bytes: bytes + [1])
    #expect(try storage.snapshots.stage(long) == 0)
  }
}
