import LogStorage
import RaftCore
import Testing

@Suite("A suffix is cut on conflict")
struct TruncationTests {
  @Test("Lower indexes are written again after a cut, in the same transaction and in later ones")
  func lowerIndexesAgain() throws {
    let directory = TemporaryDirectory()
    let storage = try directory.open().storage
    try storage.write([persist(1, term: 1, entries(1...200, payloadBytes: 300))])
    try storage.write([persist(2, term: 2, removeFrom: 50, entries(50...60, term: 2))])
    try storage.write([persist(3, entries(61...300, term: 2, payloadBytes: 300))])
    try storage.write([persist(4, term: 3, removeFrom: 61)])
    try storage.write([persist(5, entries(61...70, term: 3))])
    let expected =
      entries(1...49, payloadBytes: 300) + entries(50...60, term: 2) + entries(61...70, term: 3)
    #expect(try storage.entries(after: .beforeFirst, through: Index(999), maxBytes: .max) == expected)
    storage.close()
    #expect(try directory.reopened().tail == expected)
  }

  @Test("The whole log can be cut away and begins with 1 again")
  func everything() throws {
    let directory = TemporaryDirectory()
    try directory.write([persist(1, term: 1, entries(1...40)), persist(2, term: 2, removeFrom: 1)])
    #expect(try directory.reopened().lastIndex == .beforeFirst)
    try directory.write([persist(3, entries(1...2, term: 2))])
    #expect(try directory.reopened().tail == entries(1...2, term: 2))
  }

  @Test("Cutting behind the end changes nothing")
  func behindTheEnd() throws {
    let directory = TemporaryDirectory()
    try directory.write([persist(1, term: 1, entries(1...3)), persist(2, removeFrom: 4, entries(4...5))])
    #expect(try directory.reopened().tail == entries(1...5))
  }

  @Test("A clock may start again from the last entry that was kept, after a cut")
  func clockAfterCut() throws {
    let directory = TemporaryDirectory()
    let again = Entry(index: Index(3), term: Term(2), clockMilliseconds: 21, kind: .noOp, payload: [])
    try directory.write([
      persist(1, term: 1, entries(1...9)), persist(2, term: 2, removeFrom: 3, [again]),
    ])
    #expect(try directory.reopened().lastClockMilliseconds == 21)
  }

  @Test(
    "A long suffix is cut in steps, wherever it stands in the batch, with the same outcome", arguments: [1, 3, 1000])
  func steps(stepEntries: Int) throws {
    let options = LogStorage.Options(truncationStepEntries: stepEntries)
    let directory = TemporaryDirectory()
    let storage = try directory.open(options).storage
    try storage.write([persist(1, term: 1, entries(1...50))])
    try storage.write([
      persist(2, entries(51...55)),
      persist(3, term: 2, votedFor: 7, removeFrom: 11, entries(11...40, term: 2)),
      persist(4, entries(41...60, term: 2)),
      persist(5, term: 3, removeFrom: 21, entries(21...22, term: 3)),
    ])
    storage.close()
    let recovered = try directory.reopened()
    #expect(recovered.tail == entries(1...10) + entries(11...20, term: 2) + entries(21...22, term: 3))
    #expect(recovered.hardState == HardState(term: Term(3), votedFor: nil))
  }

  @Test("The pages of a cut suffix are used again")
  func pagesAreUsedAgain() throws {
    let directory = TemporaryDirectory()
    let storage = try directory.open().storage
    defer { storage.close() }
    try storage.write([persist(1, term: 1, entries(1...500, payloadBytes: 1000))])
    var sizes: [Int] = []
    for round in 0..<10 as Range<UInt64> {
      try storage.write([
        persist(round + 2, term: round + 2, removeFrom: 1, entries(1...500, term: round + 2, payloadBytes: 1000))
      ])
      sizes.append(try storage.statistics().fileBytes)
    }
    // Six more rounds of half a megabyte each took a few pages at most.
    #expect(sizes[9] - sizes[3] < 64 << 10)
  }
}
