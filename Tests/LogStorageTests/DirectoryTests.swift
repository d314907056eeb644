import Glibc
import LogStorage
import RaftCore
import Testing

@Suite("A directory belongs to one node of one cluster, and to one process")
struct DirectoryTests {
  @Test("A second opening is refused while the first one lasts, and names the process")
  func secondOpening() throws {
    let directory = TemporaryDirectory()
    let storage = try directory.open().storage
    let refusal = #expect(throws: StorageError.self) { try directory.open() }
    #expect(refusal == .inUse(path: directory.log, processID: getpid()))
    #expect("\(try #require(refusal))".contains("in use by process \(getpid())"))
    storage.close()
    #expect(throws: Never.self) { try directory.reopened() }
  }

  @Test("Another cluster, node or incarnation is refused with both identities in the line, and changes nothing")
  func wrongIdentity() throws {
    let directory = TemporaryDirectory()
    try directory.write([persist(1, term: 1, entries(1...3))])
    var others = [someIdentity, someIdentity, someIdentity]
    others[0].clusterID = 0xC2
    others[1].nodeID = NodeID(2)
    others[2].incarnation = 2
    let expected: [StorageError] = [
      .otherCluster(path: directory.log, found: someIdentity, expected: others[0]),
      .otherNode(path: directory.log, found: someIdentity, expected: others[1]),
      .otherIncarnation(path: directory.log, found: someIdentity, expected: others[2]),
    ]
    for (other, refusal) in zip(others, expected) {
      #expect(throws: refusal) { try directory.open(as: other) }
      #expect("\(refusal)".contains("\(someIdentity)") && "\(refusal)".contains("\(other)"))
    }
    #expect(try directory.reopened().lastIndex == Index(3))
  }

  @Test("A start that ended before its tree was in its place is begun anew")
  func unfinishedMaking() throws {
    let directory = TemporaryDirectory()
    for path in [directory.log, directory.log + "/new"] { #expect(mkdir(path, 0o700) == 0) }
    // As LMDB's first pages are when the length of the file was kept and the rest was not.
    LogStorageTests.write([UInt8](repeating: 0, count: 8192), to: directory.log + "/new/data.mdb")
    #expect(try LogStorage.existingIdentity(directory: directory.log) == nil)
    try directory.write([persist(1, term: 1, entries(1...3))])
    #expect(try directory.reopened().lastIndex == Index(3))
    #expect(access(directory.log + "/new", F_OK) != 0)
  }

  @Test("The identity of an existing directory is told without making anything")
  func existingIdentity() throws {
    let directory = TemporaryDirectory()
    #expect(try LogStorage.existingIdentity(directory: directory.log) == nil)
    #expect(access(directory.log, F_OK) != 0)
    _ = try directory.reopened()
    #expect(try LogStorage.existingIdentity(directory: directory.log) == someIdentity)
    let storage = try directory.open().storage
    #expect(throws: StorageError.inUse(path: directory.log, processID: getpid())) {
      try LogStorage.existingIdentity(directory: directory.log)
    }
    storage.close()
  }

  @Test("An empty directory has no identity and stays empty")
  func emptyDirectory() throws {
    let directory = TemporaryDirectory()
    #expect(mkdir(directory.log, 0o700) == 0)
    #expect(try LogStorage.existingIdentity(directory: directory.log) == nil)
    #expect(rmdir(directory.log) == 0)
  }

  @Test("A path that is a file, or goes through one, is refused as such")
  func pathIsAFile() throws {
    let directory = TemporaryDirectory()
    let file = directory.path + "/file"
    fclose(fopen(file, "w"))
    #expect(throws: StorageError.notADirectory(path: file)) {
      try LogStorage.open(directory: file, identity: someIdentity)
    }
    #expect(throws: StorageError.self) {
      try LogStorage.open(directory: file + "/log", identity: someIdentity)
    }
    #expect(throws: StorageError.self) { try LogStorage.existingIdentity(directory: file) }
  }

  @Test("A place where nothing can be made is refused")
  func cannotBeMade() throws {
    // Not even the superuser makes a directory in /proc.
    #expect(throws: StorageError.self) {
      try LogStorage.open(directory: "/proc/portcullis", identity: someIdentity)
    }
  }

  @Test("A directory without the right to write is refused as not writable", .enabled(if: geteuid() != 0))
  func notWritable() throws {
    let directory = TemporaryDirectory()
    #expect(mkdir(directory.log, 0o500) == 0)
    let refusal = #expect(throws: StorageError.self) { try directory.open() }
    guard case .notWritable = refusal else {
      Issue.record("refused as \(String(describing: refusal))")
      return
    }
  }

  @Test("Closing twice is closing once, and a closed log refuses everything")
  func closed() throws {
    let directory = TemporaryDirectory()
    let storage = try directory.open().storage
    storage.close()
    storage.close()
    #expect(throws: StorageError.closed) { try storage.write([persist(1, term: 1)]) }
    #expect(throws: StorageError.closed) {
      try storage.entries(after: .beforeFirst, through: Index(1), maxBytes: 1)
    }
    #expect(throws: StorageError.closed) { try storage.statistics() }
  }
}
