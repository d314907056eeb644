import Glibc
import LogStorage
import RaftCore
import Synchronization
import Testing

@Suite("A prefix goes when a snapshot stands for it")
struct CompactionTests {
  private func read(_ storage: LogStorage, _ after: UInt64, _ through: UInt64) throws -> [Entry] {
    try storage.entries(after: Index(after), through: Index(through), maxBytes: .max)
  }

  @Test("The log begins later at once, and tells the term before its beginning")
  func beginsLater() throws {
    let directory = TemporaryDirectory()
    let storage = try directory.open().storage
    try storage.append([persist(1, term: 2, entries(1...20) + entries(21...40, term: 2))])
    try storage.takeSnapshot(point(30, term: 2))
    try storage.compact(before: Index(26))
    #expect(try storage.statistics().firstIndex == Index(26))
    #expect(try read(storage, 25, 99) == entries(26...40, term: 2))
    #expect(throws: StorageError.missingEntries(from: Index(25), first: Index(26), last: Index(40))) {
      try read(storage, 24, 99)
    }
    try storage.append([persist(2, entries(41...42, term: 2))])
    storage.close()

    let recovered = try directory.reopened()
    #expect(recovered.firstIndex == Index(26) && recovered.lastIndex == Index(42))
    #expect(recovered.termRuns == [TermRun(first: Index(25), term: Term(2))])
    #expect(recovered.tail == entries(26...42, term: 2))
    #expect(recovered.snapshot == point(30, term: 2))
    #expect(recovered.damage == nil)
  }

  @Test("The first run tells the term before the beginning, where the next entry has another one")
  func runBeforeBeginning() throws {
    let directory = TemporaryDirectory()
    let storage = try directory.open().storage
    try storage.write([persist(1, term: 2, entries(1...20) + entries(21...40, term: 2))])
    try storage.takeSnapshot(point(20))
    try storage.compact(before: Index(21))
    storage.close()
    let runs = [TermRun(first: Index(20), term: Term(1)), TermRun(first: Index(21), term: Term(2))]
    #expect(try directory.reopened().termRuns == runs)
  }

  @Test("The whole log may go, and goes on behind its beginning, clock and term kept")
  func everything() throws {
    let directory = TemporaryDirectory()
    do {
      let storage = try directory.open().storage
      defer { storage.close() }
      try storage.write([persist(1, term: 3, entries(1...10, term: 3))])
      try storage.takeSnapshot(point(10, term: 3))
      try storage.compact(before: Index(11))
    }
    let recovered = try directory.reopened()
    #expect(recovered.firstIndex == Index(11) && recovered.lastIndex == Index(10))
    #expect(recovered.lastClockMilliseconds == 100)
    #expect(recovered.termRuns == [TermRun(first: Index(10), term: Term(3))])
    try directory.write([persist(2, entries(11...12, term: 3))])
    #expect(try directory.reopened().tail == entries(11...12, term: 3))
  }

  @Test("Nothing goes that no whole snapshot stands for, however much is asked")
  func neverBehindTheSnapshot() throws {
    let directory = TemporaryDirectory()
    let storage = try directory.open().storage
    defer { storage.close() }
    try storage.write([persist(1, term: 1, entries(1...40))])
    try storage.compact(before: Index(30))
    #expect(try storage.statistics().firstIndex == Index(1))
    try storage.takeSnapshot(point(20))
    try storage.compact(before: Index(30))
    #expect(try storage.statistics().firstIndex == Index(21))
    try storage.compact(before: Index(5))
    #expect(try storage.statistics().firstIndex == Index(21))
  }

  @Test("What is before the beginning goes in steps, over a crash between any two of them")
  func steps() throws {
    let directory = TemporaryDirectory()
    do {
      let storage = try directory.open().storage
      defer { storage.close() }
      try storage.write([persist(1, term: 1, entries(1...4500))])
      try storage.takeSnapshot(point(4200))
      try storage.compact(before: Index(4201))
    }
    var steps = 0
    while true {
      let (storage, recovered) = try directory.open()
      defer { storage.close() }
      #expect(recovered.firstIndex == Index(4201) && recovered.tail == entries(4201...4500))
      steps += 1
      let usedBefore = try storage.statistics().usedPages
      guard try storage.removeGarbage() else { break }
      #expect(try storage.statistics().usedPages < usedBefore)
    }
    #expect(steps == 4)
    #expect(try directory.reopened().tail == entries(4201...4500))
  }

  @Test("The writer's thread removes a prefix by itself, beside its writes, and reports every one of them")
  func throughTheWriter() throws {
    let directory = TemporaryDirectory()
    let storage = try directory.open().storage
    let last = Atomic<UInt64>(0)
    let writer = LogWriter(
      storage: storage, onPersisted: { sequence, _ in last.store(sequence, ordering: .releasing) },
      onFailure: { Issue.record("failed with \($0)") })
    writer.submit(persist(1, term: 1, entries(1...6000, payloadBytes: 300)))
    // It is settled behind the report.
    while try last.load(ordering: .acquiring) < 1 || storage.statistics().usedPages < 400 { sched_yield() }
    try storage.takeSnapshot(point(5000))
    let usedBefore = try storage.statistics().usedPages
    writer.compact(before: Index(5001))
    for index in 6001...6200 as ClosedRange<UInt64> { writer.submit(persist(index, [entry(index)])) }
    while try storage.statistics().usedPages > usedBefore / 2 { sched_yield() }
    writer.stop()
    storage.close()
    #expect(last.load(ordering: .acquiring) == 6200)
    let recovered = try directory.reopened()
    #expect(recovered.firstIndex == Index(5001) && recovered.lastIndex == Index(6200))
  }

  @Test("The pages of a removed prefix are used again: a log that is compacted stays as large as it is")
  func pagesAreUsedAgain() throws {
    let directory = TemporaryDirectory()
    let storage = try directory.open().storage
    defer { storage.close() }
    try storage.write([persist(1, term: 1)])
    var sizes: [Int] = []
    for round in 0..<12 as Range<UInt64> {
      let end = (round + 1) * 1000
      try storage.write([persist(round + 2, entries((round * 1000 + 1)...end, payloadBytes: 500))])
      try storage.takeSnapshot(point(end), bytes: 10)
      try storage.compact(before: Index(end - 10))
      while try storage.removeGarbage() {}
      sizes.append(try storage.statistics().fileBytes)
    }
    #expect(sizes[11] - sizes[4] < 256 << 10)
  }

  @Test("Entries of kind membership are handed over, those that the log still holds")
  func membershipEntries() throws {
    let directory = TemporaryDirectory()
    var all = entries(1...30)
    for place in [2, 11, 28] { all[place].kind = .membership }
    let storage = try directory.open().storage
    try storage.append([persist(1, term: 1, all)])
    storage.close()
    #expect(try directory.reopened(LogStorage.Options(tailEntries: 1)).membershipEntries == [all[2], all[11], all[28]])
    let again = try directory.open().storage
    try again.takeSnapshot(point(20))
    try again.compact(before: Index(12))
    again.close()
    #expect(try directory.reopened().membershipEntries == [all[11], all[28]])
  }
}

@Suite("A snapshot takes the log's place")
struct BaseTests {
  @Test(
    "The log begins anew behind the snapshot's point, whether it was shorter, longer or settled", arguments: [0, 5, 30])
  func reset(entriesBefore: UInt64) throws {
    let directory = TemporaryDirectory()
    let options = LogStorage.Options(truncationStepEntries: 4)
    do {
      let storage = try directory.open(options).storage
      defer { storage.close() }
      try storage.append([persist(1, term: 1)])
      if entriesBefore > 0 { try storage.append([persist(2, entries(1...entriesBefore))]) }
      try storage.takeSnapshot(point(20, term: 4))
      try storage.append([persist(3, term: 5, votedFor: 2, base: point(20, term: 4), entries(21...23, term: 5))])
      #expect(try storage.entries(after: Index(20), through: Index(99), maxBytes: .max) == entries(21...23, term: 5))
      #expect(throws: StorageError.self) {
        try storage.entries(after: Index(3), through: Index(5), maxBytes: .max)
      }
      try storage.append([persist(4, entries(24...24, term: 5))])
    }
    let recovered = try directory.reopened(options)
    #expect(recovered.hardState == HardState(term: Term(5), votedFor: NodeID(2)))
    #expect(recovered.firstIndex == Index(21) && recovered.lastIndex == Index(24))
    #expect(recovered.tail == entries(21...24, term: 5))
    let runs = [TermRun(first: Index(20), term: Term(4)), TermRun(first: Index(21), term: Term(5))]
    #expect(recovered.termRuns == runs)
    #expect(recovered.snapshot == point(20, term: 4) && recovered.damage == nil)
  }

  @Test("What the snapshot replaced is removed later, and another snapshot may come before it is")
  func garbageOfReset() throws {
    let directory = TemporaryDirectory()
    let storage = try directory.open().storage
    try storage.write([persist(1, term: 2, entries(1...3000))])
    try storage.takeSnapshot(point(3500, term: 2))
    try storage.write([persist(2, base: point(3500, term: 2))])
    try storage.takeSnapshot(point(9_000_000, term: 2))
    try storage.write([persist(3, base: point(9_000_000, term: 2), entries(9_000_001...9_000_002, term: 2))])
    #expect(try storage.removeGarbage() && storage.removeGarbage())
    #expect(try !storage.removeGarbage())
    storage.close()
    #expect(try directory.reopened().tail == entries(9_000_001...9_000_002, term: 2))
  }

  @Test("A crash before the log was reset is made good at the opening: the log begins behind the snapshot")
  func crashBeforeReset() throws {
    let directory = TemporaryDirectory()
    do {
      let storage = try directory.open().storage
      defer { storage.close() }
      try storage.append([persist(1, term: 2, votedFor: 7, entries(1...15, term: 2))])
      try storage.takeSnapshot(point(20, term: 4))
    }
    for _ in 0..<2 {
      let recovered = try directory.reopened()
      #expect(recovered.firstIndex == Index(21) && recovered.lastIndex == Index(20) && recovered.tail.isEmpty)
      #expect(recovered.snapshot == point(20, term: 4) && recovered.damage == nil)
      #expect(recovered.lastClockMilliseconds == 200)
      // The snapshot shows a term that the hard state does not know. Nobody else gets a vote in it.
      #expect(recovered.hardState == HardState(term: Term(4), votedFor: someIdentity.nodeID))
    }
    try directory.write([persist(2, term: 5, entries(21...21, term: 5))])
    #expect(try directory.reopened().tail == entries(21...21, term: 5))
  }

  @Test("A snapshot that contradicts the log is left out while the log does without it")
  func contradiction() throws {
    let directory = TemporaryDirectory()
    do {
      let storage = try directory.open().storage
      defer { storage.close() }
      try storage.write([persist(1, term: 5, entries(1...30, term: 2))])
      try storage.takeSnapshot(point(10, term: 2))
      try storage.takeSnapshot(point(20, term: 4))
    }
    let (storage, recovered) = try directory.open()
    defer { storage.close() }
    #expect(recovered.lastIndex == Index(30) && recovered.snapshot == point(10, term: 2))
    #expect(storage.snapshots.newest()?.point == point(10, term: 2))
  }
}
