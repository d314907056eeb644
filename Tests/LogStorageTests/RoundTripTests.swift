import LogStorage
import RaftCore
import Testing

@Suite("What is written is what is read")
struct RoundTripTests {
  @Test("A new directory is made and restores as empty")
  func newDirectory() throws {
    let directory = TemporaryDirectory()
    let recovered = try directory.reopened()
    #expect(recovered.hardState == .initial)
    #expect(recovered.firstIndex == Index(1))
    #expect(recovered.lastIndex == .beforeFirst)
    #expect(recovered.termRuns.isEmpty && recovered.tail.isEmpty)
    #expect(recovered.lastClockMilliseconds == 0)
  }

  @Test("Entries of every kind and size come back as they were, from the open log and from the reopened one")
  func everyKindAndSize() throws {
    let directory = TemporaryDirectory()
    let sizes = [0, 1, 7, 8, 255, 2000, 2040, 4096, 100_000]
    let kinds: [Entry.Kind] = [.noOp, .command, .membership]
    let written = sizes.enumerated().map { place, size in
      Entry(
        index: Index(UInt64(place) + 1), term: Term(UInt64(place / 3) + 1), clockMilliseconds: UInt64(place) * 7,
        kind: kinds[place % 3], payload: (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31) })
    }
    let storage = try directory.open().storage
    try storage.write([persist(1, term: 9, votedFor: 3, written)])
    #expect(try storage.entries(after: .beforeFirst, through: Index(99), maxBytes: .max) == written)
    storage.close()

    let recovered = try directory.reopened()
    #expect(recovered.tail == written)
    #expect(recovered.hardState == HardState(term: Term(9), votedFor: NodeID(3)))
    #expect(recovered.lastIndex == Index(9))
    #expect(recovered.lastClockMilliseconds == 56)
    #expect(
      recovered.termRuns == [
        TermRun(first: Index(1), term: Term(1)), TermRun(first: Index(4), term: Term(2)),
        TermRun(first: Index(7), term: Term(3)),
      ])
  }

  @Test("A term without a vote is not a vote for node 0")
  func noVote() throws {
    let directory = TemporaryDirectory()
    try directory.write([persist(1, term: 4, votedFor: 0)])
    #expect(try directory.reopened().hardState.votedFor == NodeID(0))
    try directory.write([persist(2, term: 5)])
    #expect(try directory.reopened().hardState == HardState(term: Term(5), votedFor: nil))
  }

  @Test("A batch is written in order, and its last hard state stays")
  func batchInOrder() throws {
    let directory = TemporaryDirectory()
    try directory.write([
      persist(1, term: 1, entries(1...3)),
      persist(2, term: 2, votedFor: 2),
      persist(3, removeFrom: 3, entries(3...5, term: 2)),
      persist(4, entries(6...6, term: 2)),
    ])
    let recovered = try directory.reopened()
    #expect(recovered.tail == entries(1...2) + entries(3...6, term: 2))
    #expect(recovered.hardState == HardState(term: Term(2), votedFor: NodeID(2)))
  }

  @Test("The log goes on where it was after each of many openings")
  func manyOpenings() throws {
    let directory = TemporaryDirectory()
    for round in 0..<20 as Range<UInt64> {
      try directory.write([persist(1, term: 1, entries((round * 50 + 1)...(round * 50 + 50)))])
    }
    #expect(try directory.reopened().tail == entries(1...1000))
  }

  @Test("The restored tail keeps to its bounds and ends with the newest entry")
  func boundedTail() throws {
    let directory = TemporaryDirectory()
    try directory.write([persist(1, term: 1, entries(1...100, payloadBytes: 10))])
    let byCount = try directory.reopened(LogStorage.Options(tailEntries: 7))
    #expect(byCount.tail == entries(94...100, payloadBytes: 10))
    let byBytes = try directory.reopened(LogStorage.Options(tailBytes: 35))
    #expect(byBytes.tail == entries(98...100, payloadBytes: 10))
    let none = try directory.reopened(LogStorage.Options(tailEntries: 0))
    #expect(none.tail.isEmpty)
    #expect(none.lastIndex == Index(100) && none.lastClockMilliseconds == 1000)
  }

  @Test("A read stops at its last index, at its bytes and at the log's end, but always gives the first entry")
  func boundedReads() throws {
    let directory = TemporaryDirectory()
    let storage = try directory.open().storage
    defer { storage.close() }
    try storage.write([persist(1, term: 1, entries(1...20, payloadBytes: 100))])
    func read(_ after: UInt64, _ through: UInt64, _ maxBytes: Int) throws -> [UInt64] {
      try storage.entries(after: Index(after), through: Index(through), maxBytes: maxBytes).map(\.index.rawValue)
    }
    #expect(try read(4, 7, .max) == [5, 6, 7])
    #expect(try read(4, 20, 250) == [5, 6])
    #expect(try read(4, 20, 200) == [5, 6])
    #expect(try read(4, 20, 0) == [5])
    #expect(try read(18, 90, .max) == [19, 20])
    #expect(try read(20, 90, .max) == [])
    #expect(try read(7, 7, .max) == [])
  }

  @Test("The figures follow what was written")
  func statistics() throws {
    let directory = TemporaryDirectory()
    let storage = try directory.open().storage
    defer { storage.close() }
    let before = try storage.statistics()
    try storage.write([persist(1, term: 1, entries(1...1000, payloadBytes: 256))])
    let after = try storage.statistics()
    #expect(after.firstIndex == Index(1) && after.lastIndex == Index(1000))
    #expect(after.usedPages - before.usedPages > 1000 * 256 / after.pageBytes)
    #expect(after.mapBytes == LogStorage.Options().mapBytes)
    try storage.write([persist(2, removeFrom: 1)])
    let emptied = try storage.statistics()
    #expect(emptied.lastIndex == .beforeFirst)
    #expect(emptied.freePages > 50)
  }
}
