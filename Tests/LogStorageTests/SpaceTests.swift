import Glibc
import LogStorage
import RaftCore
import Synchronization
import Testing

@Suite("A disk that fills makes the log read-only before a write fails, and room makes it writable again")
struct SpaceTests {
  /// A disk with as much room as a test says, looked at each time.
  private final class Disk: Sendable {
    let free = Mutex(1 << 30)
    var probe: FreeSpace { FreeSpace(lookEveryNanoseconds: 0) { _ in self.free.withLock { $0 } } }
    func set(_ bytes: Int) { free.withLock { $0 = bytes } }
  }

  private let options = LogStorage.Options(
    fileStepBytes: 64 << 10, diskReserveBytes: 4 << 20, minimumFreeBytes: 1 << 20, journalBytes: 256 << 10)

  private func open(_ directory: TemporaryDirectory, _ disk: Disk) throws -> LogStorage {
    try LogStorage.open(directory: directory.log, identity: someIdentity, options: options, freeSpace: disk.probe)
      .storage
  }

  @Test("Little room makes it read-only, and only clearly more makes it writable again")
  func line() throws {
    let directory = TemporaryDirectory()
    let disk = Disk()
    let storage = try open(directory, disk)
    defer { storage.close() }
    #expect(storage.isWritable)
    disk.set(900 << 10)
    try storage.append([persist(1, term: 1, entries(1...3))])
    #expect(!storage.isWritable)
    disk.set(1200 << 10)
    try storage.append([persist(2, entries(4...5))])
    #expect(!storage.isWritable)
    disk.set(1 << 30)
    try storage.append([persist(3, entries(6...6))])
    #expect(storage.isWritable)
    #expect(try storage.entries(after: .beforeFirst, through: Index(9), maxBytes: .max) == entries(1...6))
  }

  @Test("With no byte free, entries on their way find room in the reserve, and then votes, cuts and removals still do")
  func reserve() throws {
    let directory = TemporaryDirectory()
    let disk = Disk()
    var storage = try open(directory, disk)
    try storage.append([persist(1, term: 1, entries(1...100))])
    disk.set(0)
    var last: UInt64 = 100
    let error = #expect(throws: StorageError.self) {
      while true {
        try storage.append([persist(last + 1, [entry(last + 1, [UInt8](repeating: 3, count: 20_000))])])
        last += 1
      }
    }
    guard case .diskFull = error else {
      Issue.record("failed with \(String(describing: error))")
      return
    }
    #expect(last > 130, "the first part of the reserve took entries")
    #expect(!storage.isWritable)
    storage.close()

    storage = try open(directory, disk)
    #expect(!storage.isWritable)
    for term in 2...40 as ClosedRange<UInt64> { try storage.append([persist(term, term: term, votedFor: 3)]) }
    try storage.append([persist(50, term: 41, removeFrom: 60)])
    try storage.settle()
    storage.close()
    let (again, recovered) = try LogStorage.open(
      directory: directory.log, identity: someIdentity, options: options, freeSpace: disk.probe)
    #expect(recovered.tail == entries(1...59) && recovered.hardState.term == Term(41))
    // What was cut away is room.
    try again.append([persist(51, entries(60...70, term: 41))])
    again.close()
  }

  @Test("A read-only log becomes writable when what was removed from it is room enough")
  func roomWithin() throws {
    let directory = TemporaryDirectory()
    let disk = Disk()
    let storage = try open(directory, disk)
    defer { storage.close() }
    try storage.append([persist(1, term: 1, entries(1...9000, payloadBytes: 2000))])
    // Room enough for others, and none for a longer file.
    disk.set(1 << 20)
    var last: UInt64 = 9000
    while storage.isWritable {
      last += 1
      try storage.append([persist(last, entries(last...last, payloadBytes: 1_100_000))])
    }
    try storage.takeSnapshot(point(last), bytes: 10)
    try storage.compact(before: Index(last))
    while try storage.removeGarbage() {}
    last += 1
    try storage.append([persist(last, entries(last...last))])
    #expect(storage.isWritable)
  }

  @Test("The writer tells of both, and finds by itself that there is room again")
  func writer() throws {
    let directory = TemporaryDirectory()
    let disk = Disk()
    disk.set(0)
    #expect(throws: Never.self) { try open(directory, disk).close() }
    let storage = try open(directory, disk)
    defer { storage.close() }
    let told = Mutex<[Bool]>([])
    let persisted = Atomic<UInt64>(0)
    let writer = LogWriter(
      storage: storage, onPersisted: { sequence, _ in persisted.store(sequence, ordering: .releasing) },
      onFailure: { Issue.record("failed with \($0)") },
      onSpaceChanged: { isWritable in told.withLock { $0.append(isWritable) } })
    while told.withLock({ $0 }) != [false] { sched_yield() }
    writer.submit(persist(1, term: 1, votedFor: 2))
    while persisted.load(ordering: .acquiring) < 1 { sched_yield() }
    disk.set(1 << 30)
    while told.withLock({ $0 }) != [false, true] { sched_yield() }
    writer.submit(persist(2, entries(1...3)))
    disk.set(10)
    writer.submit(persist(3, entries(4...4)))
    while told.withLock({ $0.count }) < 3 { sched_yield() }
    writer.stop()
    #expect(told.withLock { $0 } == [false, true, false])
  }

  @Test("A snapshot stops before it takes the disk's last bytes, and leaves nothing of itself")
  func snapshot() throws {
    let directory = TemporaryDirectory()
    let disk = Disk()
    let storage = try open(directory, disk)
    defer { storage.close() }
    try storage.append([persist(1, term: 1, entries(1...10))])
    let writer = try storage.snapshots.begin(point(5))
    try writer.append([UInt8](repeating: 1, count: 100_000))
    disk.set(1000)
    #expect(throws: StorageError.self) { try writer.append([UInt8](repeating: 1, count: 3_000_000)) }
    writer.abandon()
    #expect(throws: StorageError.self) { try storage.snapshots.begin(point(5)) }
    #expect(names(in: directory.log + "/snapshots") == [])
    try storage.append([persist(2, entries(11...11))])
  }

  @Test(
    "On a file system without a free byte the log votes, cuts and opens; with room it goes on",
    .enabled(if: SmallFileSystem.isPossible, "needs the right to mount a small file system"))
  func realFullDisk() throws {
    let disk = try #require(SmallFileSystem(megabytes: 48))
    let log = disk.path + "/log"
    let options = LogStorage.Options(
      fileStepBytes: 1 << 20, diskReserveBytes: 8 << 20, minimumFreeBytes: 1 << 20, journalBytes: 1 << 20)
    let probe = FreeSpace(lookEveryNanoseconds: 0, bytes: FreeSpace.ofFileSystem.bytes)
    func open() throws -> (storage: LogStorage, recovered: Restored) {
      try LogStorage.open(directory: log, identity: someIdentity, options: options, freeSpace: probe)
    }
    var storage = try open().storage
    try storage.append([persist(1, term: 1, entries(1...1000, payloadBytes: 1000))])
    disk.fill()
    var last: UInt64 = 1000
    for _ in 0..<40 {
      last += 1
      try storage.append([persist(last, entries(last...last, payloadBytes: 50_000))])
    }
    #expect(!storage.isWritable)
    try storage.append([persist(2000, term: 2, votedFor: 3)])
    try storage.settle()
    try storage.append([persist(2001, term: 3, removeFrom: 400)])
    storage.close()

    let (again, recovered) = try open()
    storage = again
    #expect(recovered.lastIndex == Index(399) && recovered.hardState.term == Term(3))
    for term in 4...20 as ClosedRange<UInt64> { try storage.append([persist(2000 + term, term: term, votedFor: 1)]) }
    try storage.settle()
    disk.drain()
    try storage.append([persist(3000, entries(400...500, term: 20, payloadBytes: 10_000))])
    #expect(storage.isWritable)
    storage.close()
    #expect(try open().recovered.lastIndex == Index(500))
  }
}

/// A file system in memory with a fixed size.
private final class SmallFileSystem {
  let path: String
  private let holder = TemporaryDirectory()

  static let isPossible: Bool = geteuid() == 0 && SmallFileSystem(megabytes: 1) != nil

  init?(megabytes: Int) {
    path = holder.path + "/small"
    mkdir(path, 0o700)
    guard mount("tmpfs", path, "tmpfs", 0, "size=\(megabytes)m") == 0 else { return nil }
  }

  deinit {
    umount2(path, Int32(MNT_DETACH))
  }

  /// Takes every byte that is free.
  func fill() {
    let descriptor = Glibc.open(path + "/filler", O_WRONLY | O_CREAT | O_APPEND, 0o600)
    defer { close(descriptor) }
    for size in [1 << 20, 4096, 1] {
      let block = [UInt8](repeating: 1, count: size)
      while write(descriptor, block, size) == size {}
    }
  }

  func drain() { unlink(path + "/filler") }
}
