import Glibc
import LogStorage
import RaftCore
import Testing

@Suite("A journal's torn end is cut, its damaged middle is damage")
struct JournalDamageTests {
  private let small = LogStorage.Options(fileStepBytes: 0, diskReserveBytes: 0, journalBytes: 64 << 10)
  private let headBytes = 56

  /// Three batches in the journal: five entries with a new term, three entries, two entries with a new term and vote.
  private func threeBatches() throws -> TemporaryDirectory {
    let directory = TemporaryDirectory()
    let storage = try directory.open(small).storage
    defer { storage.close() }
    try storage.append([persist(1, term: 2, votedFor: 4, entries(1...5, payloadBytes: 21))])
    try storage.append([persist(2, entries(6...8, payloadBytes: 21))])
    try storage.append([persist(3, term: 9, votedFor: 5, entries(9...10, term: 8, payloadBytes: 21))])
    return directory
  }

  private func journalBytes(_ directory: TemporaryDirectory) -> [UInt8] { contents(of: directory.log + "/journal") }

  /// Where each record begins, echoes included, and the end of the last.
  private func records(in journal: [UInt8]) -> [Int] {
    var starts = [0]
    while let start = starts.last, journal[start..<(start + 4)].elementsEqual(Array("JRN2".utf8)) {
      starts.append(start + journal[(start + 4)..<(start + 8)].reversed().reduce(0) { $0 << 8 | Int($1) })
    }
    return starts
  }

  @Test("Each record that changes term or vote is followed by its echo")
  func echoes() throws {
    let starts = records(in: journalBytes(try threeBatches()))
    #expect(
      zip(starts, starts.dropFirst()).map { $1 - $0 } == [
        headBytes + 5 * 56, headBytes, headBytes + 3 * 56, headBytes + 2 * 56, headBytes,
      ])
  }

  @Test("Whatever byte is changed, nothing is wrong: all of it is there, or damage tells, or the last batch is cut")
  func everyByte() throws {
    let directory = try threeBatches()
    let pristine = journalBytes(directory)
    let starts = records(in: pristine)
    let all = entries(1...8, payloadBytes: 21) + entries(9...10, term: 8, payloadBytes: 21)
    let copies = TemporaryDirectory()
    for offset in 0..<(try #require(starts.last)) {
      let target = "\(copies.path)/log"
      copy(directory.log, to: target)
      var damaged = pristine
      damaged[offset] ^= 1 << UInt8(offset % 8)
      write(damaged, to: target + "/journal")
      let (storage, found) = try LogStorage.open(directory: target, identity: someIdentity, options: small)
      storage.close()
      // No single byte takes a vote along.
      #expect(found.hardState == HardState(term: Term(9), votedFor: NodeID(5)), "byte \(offset)")
      #expect(found.tail == Array(all.prefix(found.tail.count)), "byte \(offset)")
      let lost = found.damage.map { ($0.firstLost.rawValue, $0.lastLost.rawValue) } ?? (0, 0)
      switch offset {
      case ..<starts[1]: #expect(found.lastIndex == .beforeFirst && lost == (1, 10), "byte \(offset)")
      case ..<starts[2]: #expect(found.lastIndex == Index(10) && lost == (0, 0), "byte \(offset)")
      case ..<starts[3]: #expect(found.lastIndex == Index(5) && lost == (6, 10), "byte \(offset)")
      case ..<starts[4]: #expect(found.lastIndex == Index(8) && lost == (0, 0), "byte \(offset)")
      default: #expect(found.lastIndex == Index(10) && lost == (0, 0), "byte \(offset)")
      }
      let (again, second) = try LogStorage.open(directory: target, identity: someIdentity, options: small)
      again.close()
      #expect(second.tail == found.tail && second.damage == found.damage && second.hardState == found.hardState)
      remove(target)
    }
  }

  @Test("However a last batch is torn, whole sectors or parts of them, it is cut and nothing else")
  func torn() throws {
    let directory = try threeBatches()
    let pristine = journalBytes(directory)
    let starts = records(in: pristine)
    let copies = TemporaryDirectory()
    for kept in stride(from: starts[3], through: starts[5] - 8, by: 8) {
      let target = "\(copies.path)/log"
      copy(directory.log, to: target)
      write(Array(pristine.prefix(kept)) + [UInt8](repeating: 0, count: pristine.count - kept), to: target + "/journal")
      let (storage, found) = try LogStorage.open(directory: target, identity: someIdentity, options: small)
      storage.close()
      #expect(found.damage == nil, "\(kept) bytes")
      #expect(found.lastIndex == Index(kept < starts[4] ? 8 : 10), "\(kept) bytes")
      #expect(found.hardState.term == Term(kept < starts[3] + headBytes ? 2 : 9), "\(kept) bytes")
      remove(target)
    }
  }

  @Test("A batch that was cut is never found again, whatever is written after it")
  func cutForGood() throws {
    let directory = try threeBatches()
    let starts = records(in: journalBytes(directory))
    var journal = journalBytes(directory)
    journal[starts[3] + headBytes + 40] ^= 1
    write(journal, to: directory.log + "/journal")
    #expect(try directory.reopened(small).lastIndex == Index(8))
    let storage = try directory.open(small).storage
    try storage.append([persist(1, entries(9...9, term: 9))])
    storage.close()
    let recovered = try directory.reopened(small)
    #expect(recovered.lastIndex == Index(9) && recovered.damage == nil)
  }

  @Test("A damaged record that held no entry takes none along: later ones tell term, vote and the log's end")
  func nothingLost() throws {
    let directory = TemporaryDirectory()
    let storage = try directory.open(small).storage
    try storage.append([persist(1, term: 2, entries(1...3))])
    try storage.append([persist(2, term: 5)])
    try storage.append([persist(3, term: 6, votedFor: 3)])
    storage.close()
    var journal = journalBytes(directory)
    journal[records(in: journal)[2] + 33] ^= 1
    write(journal, to: directory.log + "/journal")
    let recovered = try directory.reopened(small)
    #expect(recovered.hardState == HardState(term: Term(6), votedFor: NodeID(3)))
    #expect(recovered.lastIndex == Index(3) && recovered.damage == nil)
  }

  @Test("What somebody stores as a value never passes for a record of the journal")
  func forgedRecord() throws {
    let other = try threeBatches()
    let forged = Array(journalBytes(other).prefix(2000))
    let directory = TemporaryDirectory()
    let storage = try directory.open(small).storage
    try storage.append([persist(1, term: 1, entries(1...2))])
    try storage.append([persist(2, [entry(3, forged)])])
    storage.close()
    var journal = journalBytes(directory)
    journal[records(in: journal)[2] + headBytes + 3] ^= 1
    write(journal, to: directory.log + "/journal")
    let recovered = try directory.reopened(small)
    #expect(recovered.hardState.term == Term(1) && recovered.lastIndex == Index(2) && recovered.damage == nil)
  }

  @Test("A damaged stored hard state is made good by what the journal shows, and refused where it shows nothing")
  func hardState() throws {
    let directory = TemporaryDirectory()
    try directory.write([persist(1, term: 0x0102_0304, votedFor: 0x0A0B_0C0D)], small)
    let storage = try directory.open(small).storage
    try storage.append([persist(2, term: 0x0102_0304, votedFor: 0x0A0B_0C0D, entries(1...3))])
    storage.close()
    #expect(directory.flipBit(inEvery: little(0x0102_0304, 0x0A0B_0C0D)) > 0)
    let recovered = try directory.reopened(small)
    #expect(recovered.hardState == HardState(term: Term(0x0102_0304), votedFor: NodeID(0x0A0B_0C0D)))
    #expect(recovered.tail == entries(1...3))
    #expect(directory.flipBit(inEvery: little(0x0102_0304, 0x0A0B_0C0D)) > 0)
    let error = #expect(throws: StorageError.self) { try directory.open(small) }
    #expect("\(try #require(error))".contains("replace it"))
  }

  @Test("A log whose journal is gone, or a journal whose log is gone, is refused and stays so")
  func halfGone() throws {
    let directory = TemporaryDirectory()
    do {
      let storage = try directory.open(small).storage
      defer { storage.close() }
      try storage.append([persist(1, term: 2, entries(1...3))])
      try storage.settle()
    }
    let copies = TemporaryDirectory()
    for name in ["journal", "data.mdb"] {
      let target = "\(copies.path)/\(name)"
      copy(directory.log, to: target)
      unlink(target + "/" + name)
      for _ in 0..<2 {
        let error = #expect(throws: StorageError.self) {
          try LogStorage.open(directory: target, identity: someIdentity, options: small)
        }
        guard case .corruptFile = error else {
          Issue.record("without \(name): \(String(describing: error))")
          continue
        }
      }
    }
  }

  @Test("Where it is not known what the tree has taken, what it has not is damage, and term and vote are the newest")
  func lostPosition() throws {
    let directory = TemporaryDirectory()
    do {
      let storage = try directory.open(small).storage
      defer { storage.close() }
      try storage.append([persist(1, term: 2, entries(1...3))])
      try storage.settle()
      try storage.append([persist(2, term: 4, votedFor: 3, entries(4...6, term: 4))])
    }
    // Two records were taken: one and its echo.
    #expect(directory.flipBit(inEvery: sealed(key: 2, [0, 0, 0, 0] + little(2))) > 0)
    for _ in 0..<2 {
      let recovered = try directory.reopened(small)
      #expect(recovered.hardState == HardState(term: Term(4), votedFor: NodeID(3)))
      #expect(recovered.lastIndex == Index(3))
      #expect(recovered.damage == Damage(Loss(first: Index(4), last: Index(6), term: Term(4))))
    }
  }

  @Test("an entry with a number that no log reaches is none, and the records behind it do no harm")
  func endlessIndex() {
    func entry(_ index: UInt64) -> [UInt8] { little(index, 1, 0, 0) }
    let fields = [UInt8](repeating: 0, count: 32)
    let journal =
      StoredRecord.journalRecord(sequence: 1, fields: fields, body: entry(1) + entry(.max))
      + StoredRecord.journalRecord(sequence: 2, fields: fields, body: entry(1))
    StoredRecord.readJournal(journal, after: 0, end: Index(0))
  }
}
