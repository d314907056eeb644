import LogStorage
import RaftCore
import Testing

@Suite("The map grows to its limit and keeps a reserve")
struct MapTests {
  @Test("A log larger than its first map is written without anyone noticing")
  func growth() throws {
    let directory = TemporaryDirectory()
    let options = LogStorage.Options(mapBytes: 2 << 20, maximumMapBytes: 1 << 30, reserveBytes: 0)
    let storage = try directory.open(options).storage
    try storage.write([persist(1, term: 1, entries(1...1000, payloadBytes: 2000))])
    try storage.write([persist(2, entries(1001...4000, payloadBytes: 2000))])
    #expect(try storage.statistics().mapBytes > 8 << 20)
    storage.close()
    // And it opens with a first map that is smaller than the file.
    #expect(try directory.reopened(options).lastIndex == Index(4000))
  }

  @Test("A log at its limit refuses entries, and can still be cut when it is opened again")
  func reserve() throws {
    let directory = TemporaryDirectory()
    let options = LogStorage.Options(mapBytes: 8 << 20, maximumMapBytes: 8 << 20, reserveBytes: 2 << 20)
    let storage = try directory.open(options).storage
    try storage.write([persist(1, term: 1)])
    var last: UInt64 = 0
    let error = #expect(throws: StorageError.self) {
      while true {
        try storage.write([persist(last + 2, [entry(last + 1, [UInt8](repeating: 3, count: 50_000))])])
        last += 1
      }
    }
    guard case .mapFull(let used, let maximum) = error else {
      Issue.record("failed with \(String(describing: error))")
      return
    }
    #expect(used <= maximum && maximum == 8 << 20)
    #expect(last > 50)
    storage.close()
    var larger = options
    larger.reserveBytes = 0
    try directory.write([persist(1, term: 2, removeFrom: 2)], larger)
    #expect(try directory.reopened(options).lastIndex == Index(1))
    // The room that the cut made is there for entries again.
    try directory.write([persist(1, [entry(2, term: 2, [UInt8](repeating: 3, count: 1 << 20))])], options)
  }

  @Test("The file is prepared in steps ahead of its use, and only then")
  func preparedFile() throws {
    let directory = TemporaryDirectory()
    let step = 1 << 20
    let storage = try directory.open(LogStorage.Options(fileStepBytes: step)).storage
    #expect(directory.dataBytes().count <= 2 * step)
    var last: UInt64 = 0
    for _ in 0..<40 {
      try storage.write([persist(last + 1, term: 1, entries((last + 1)...(last + 100), payloadBytes: 1000))])
      last += 100
      let used = try storage.statistics().fileBytes
      let ahead = directory.dataBytes().count - used
      // A step is added when less is left than a commit may need, which is more than one step here.
      #expect(ahead > 0 && ahead <= 3 * step)
    }
    #expect(try storage.statistics().fileBytes > 4 * step)
    storage.close()
    #expect(try directory.reopened(LogStorage.Options(fileStepBytes: 0)).tail.count == Int(last))
    let recovered = try directory.reopened()
    #expect(recovered.tail == entries(1...last, payloadBytes: 1000))
  }
}
