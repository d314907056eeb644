import LogStorage
import RaftCore
import Testing

@Suite("A batch is durable in the journal before the tree has it")
struct JournalTests {
  private var small: LogStorage.Options { LogStorage.Options(journalBytes: 64 << 10) }

  /// Appends and goes away without settling, as a crash would.
  private func append(_ batches: [[Persist]], in directory: TemporaryDirectory) throws {
    let storage = try directory.open(small).storage
    defer { storage.close() }
    for batch in batches { try storage.append(batch) }
  }

  @Test("Entries, term and vote that were never settled are there at the next opening")
  func survives() throws {
    let directory = TemporaryDirectory()
    try append(
      [[persist(1, term: 3, votedFor: 2, entries(1...5, term: 2))], [persist(2, entries(6...7, term: 3))]],
      in: directory)
    let recovered = try directory.reopened(small)
    #expect(recovered.hardState == HardState(term: Term(3), votedFor: NodeID(2)))
    #expect(recovered.tail == entries(1...5, term: 2) + entries(6...7, term: 3))
    #expect(try directory.reopened(small).tail == recovered.tail, "opening settles, and settling twice changes nothing")
  }

  @Test("Readers see what is in the tree and what is not yet, as one log")
  func overlay() throws {
    let directory = TemporaryDirectory()
    let storage = try directory.open(small).storage
    defer { storage.close() }
    try storage.append([persist(1, term: 1, entries(1...10))])
    try storage.settle()
    try storage.append([persist(2, entries(11...20))])
    func read(_ after: UInt64, _ through: UInt64) throws -> [Entry] {
      try storage.entries(after: Index(after), through: Index(through), maxBytes: .max)
    }
    #expect(try read(0, 99) == entries(1...20))
    #expect(try read(4, 12) == entries(5...12))
    #expect(try read(14, 16) == entries(15...16))
    #expect(try read(20, 99) == [])
    #expect(try storage.entries(after: Index(8), through: Index(99), maxBytes: 16 * 4) == entries(9...12))
    #expect(try storage.entries(after: Index(15), through: Index(99), maxBytes: 1) == entries(16...16))
  }

  @Test("A batch that cuts goes past the journal, over what was settled and what was not")
  func cuts() throws {
    let directory = TemporaryDirectory()
    let expected = entries(1...7) + entries(8...9, term: 2) + entries(10...12, term: 2)
    do {
      let storage = try directory.open(small).storage
      defer { storage.close() }
      try storage.append([persist(1, term: 1, entries(1...5))])
      try storage.settle()
      try storage.append([persist(2, entries(6...10))])
      try storage.append([persist(3, term: 2, removeFrom: 8, entries(8...9, term: 2))])
      try storage.append([persist(4, entries(10...12, term: 2))])
      #expect(try storage.entries(after: .beforeFirst, through: Index(99), maxBytes: .max) == expected)
    }
    #expect(try directory.reopened(small).tail == expected)
  }

  @Test("A full journal settles and is used again, and larger batches than it holds go straight to the tree")
  func reuse() throws {
    let directory = TemporaryDirectory()
    let all = entries(1...400, payloadBytes: 900)
    do {
      let storage = try directory.open(small).storage
      defer { storage.close() }
      try storage.append([persist(1, term: 1)])
      for entry in all.prefix(200) { try storage.append([persist(entry.index.rawValue + 1, [entry])]) }
      try storage.append([persist(500, Array(all[200..<300]))])
      for entry in all.suffix(100) { try storage.append([persist(entry.index.rawValue + 501, [entry])]) }
    }
    #expect(try directory.reopened(small).tail == all)
  }

  @Test("A record that was torn at the end is cut, since nobody was told of it")
  func tornEnd() throws {
    let directory = TemporaryDirectory()
    try append(
      [[persist(1, term: 1, entries(1...3))], [persist(2, [entry(4, [UInt8](repeating: 0xAB, count: 24))])]],
      in: directory)
    #expect(directory.flipBit(inJournal: [UInt8](repeating: 0xAB, count: 24)) == 1)
    #expect(try directory.reopened(small).tail == entries(1...3))
  }

  @Test("Whatever is appended, settled, cut and reopened, the log is what a list would be", arguments: 1...20)
  func model(seed: UInt64) throws {
    let directory = TemporaryDirectory()
    var state = seed &* 0x9E37_79B9_7F4A_7C15
    func draw(_ bound: UInt64) -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return (state >> 33) % bound
    }
    var model: [Entry] = []
    var (term, sequence): (UInt64, UInt64) = (1, 1)
    var storage = try directory.open(small).storage
    try storage.append([persist(1, term: 1)])
    for _ in 0..<120 {
      sequence += 1
      switch draw(10) {
      case 0:
        storage.close()
        let (again, recovered) = try directory.open(small)
        storage = again
        #expect(recovered.tail == model)
      case 1: try storage.settle()
      case 2 where !model.isEmpty:
        term += 1
        let from = draw(UInt64(model.count)) + 1
        model.removeSubrange(Int(from - 1)...)
        let new = entry(from, term: term, [UInt8](repeating: UInt8(term & 0xFF), count: Int(draw(50))))
        try storage.append([persist(sequence, term: term, removeFrom: from, [new])])
        model.append(new)
      default:
        let first = UInt64(model.count) + 1
        let count = draw(8) + 1
        let new = (first..<(first + count)).map { entry($0, term: term, [UInt8](repeating: 7, count: Int(draw(3000)))) }
        try storage.append([persist(sequence, new)])
        model += new
      }
      #expect(try storage.entries(after: .beforeFirst, through: Index(99_999), maxBytes: .max) == model)
    }
    storage.close()
    #expect(try directory.reopened(small).tail == model)
  }
}
