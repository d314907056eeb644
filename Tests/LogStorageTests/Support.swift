// Owns what the tests of this room share: a directory that goes away, entries, and the bytes of a closed log.

import Glibc
import LogStorage
import RaftCore

/// A directory of its own for one test, removed with everything in it at the end.
final class TemporaryDirectory {
  let path: String
  /// Where the log is to be. It does not exist at first.
  var log: String { path + "/log" }
  var dataFile: String { log + "/data.mdb" }

  init() {
    var template = Array("/tmp/portcullis-log-XXXXXX".utf8CString)
    let made = mkdtemp(&template)
    precondition(made != nil, "no temporary directory could be made")
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  deinit {
    for name in ["log/data.mdb", "log/lock.mdb", "log/owner.lock", "log/journal", "log", "file"] {
      let full = path + "/" + name
      if unlink(full) != 0 { rmdir(full) }
    }
    rmdir(path)
  }

  func dataBytes() -> [UInt8] {
    let file = fopen(dataFile, "r")
    precondition(file != nil, "\(dataFile) is not there")
    defer { fclose(file) }
    fseek(file, 0, SEEK_END)
    var bytes = [UInt8](repeating: 0, count: ftell(file))
    rewind(file)
    precondition(fread(&bytes, 1, bytes.count, file) == bytes.count, "\(dataFile) could not be read")
    return bytes
  }

  func overwriteData(_ bytes: [UInt8]) {
    let file = fopen(dataFile, "r+")
    precondition(file != nil, "\(dataFile) is not there")
    defer { fclose(file) }
    precondition(fwrite(bytes, 1, bytes.count, file) == bytes.count, "\(dataFile) could not be written")
  }

  /// Changes one bit of the journal, at every place of `pattern`. Returns how many there were.
  func flipBit(inJournal pattern: [UInt8]) -> Int {
    let path = log + "/journal"
    guard let file = fopen(path, "r+") else { preconditionFailure("\(path) is not there") }
    defer { fclose(file) }
    fseek(file, 0, SEEK_END)
    var bytes = [UInt8](repeating: 0, count: ftell(file))
    rewind(file)
    precondition(fread(&bytes, 1, bytes.count, file) == bytes.count, "the journal could not be read")
    let places = positions(of: pattern, in: bytes)
    for place in places { bytes[place + pattern.count / 2] ^= 0x10 }
    rewind(file)
    precondition(fwrite(bytes, 1, bytes.count, file) == bytes.count, "the journal could not be written")
    return places.count
  }

  /// Changes one bit of every place where `pattern` is. Returns how many there were: LMDB leaves older copies of a page.
  func flipBit(inEvery pattern: [UInt8]) -> Int {
    var bytes = dataBytes()
    let places = positions(of: pattern, in: bytes)
    for place in places { bytes[place + pattern.count / 2] ^= 0x10 }
    overwriteData(bytes)
    return places.count
  }
}

func positions(of pattern: [UInt8], in bytes: [UInt8]) -> [Int] {
  guard let first = pattern.first, bytes.count >= pattern.count else { return [] }
  return (0...(bytes.count - pattern.count)).filter { start in
    bytes[start] == first && bytes[start..<(start + pattern.count)].elementsEqual(pattern)
  }
}

let someIdentity = Identity(clusterID: 0xC1, nodeID: NodeID(1), incarnation: 1)

func entry(_ index: UInt64, term: UInt64 = 1, _ payload: [UInt8] = [1, 2, 3]) -> Entry {
  Entry(index: Index(index), term: Term(term), clockMilliseconds: index * 10, kind: .command, payload: payload)
}

func entries(_ indexes: ClosedRange<UInt64>, term: UInt64 = 1, payloadBytes: Int = 16) -> [Entry] {
  indexes.map { entry($0, term: term, [UInt8](repeating: UInt8(truncatingIfNeeded: $0), count: payloadBytes)) }
}

func persist(
  _ sequence: UInt64, term: UInt64? = nil, votedFor: UInt64? = nil, removeFrom: UInt64? = nil, _ entries: [Entry] = []
) -> Persist {
  Persist(
    sequence: sequence, hardState: term.map { HardState(term: Term($0), votedFor: votedFor.map { NodeID($0) }) },
    removeFrom: removeFrom.map { Index($0) }, entries: entries)
}

extension TemporaryDirectory {
  func open(
    _ options: LogStorage.Options = LogStorage.Options(), as identity: Identity = someIdentity
  ) throws -> (storage: LogStorage, recovered: Restored) {
    try LogStorage.open(directory: log, identity: identity, options: options)
  }

  /// Opens, writes and closes, on one thread.
  func write(_ batch: [Persist], _ options: LogStorage.Options = LogStorage.Options()) throws {
    let storage = try open(options).storage
    defer { storage.close() }
    try storage.write(batch)
  }

  func reopened(_ options: LogStorage.Options = LogStorage.Options()) throws -> Restored {
    let (storage, recovered) = try open(options)
    storage.close()
    return recovered
  }
}

/// A thread of the system's. Readers that spin must not take the few threads that all tests share.
final class TestThread {
  private let thread: pthread_t

  init(_ body: @escaping @Sendable () -> Void) {
    final class Start {
      let body: @Sendable () -> Void
      init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    var thread = pthread_t()
    let start = Unmanaged.passRetained(Start(body))
    let code = pthread_create(
      &thread, nil,
      { argument in
        guard let argument else { return nil }
        Unmanaged<Start>.fromOpaque(argument).takeRetainedValue().body()
        return nil
      }, start.toOpaque())
    precondition(code == 0, "no thread could be started")
    self.thread = thread
  }

  func join() {
    pthread_join(thread, nil)
  }
}
