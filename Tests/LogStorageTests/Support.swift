// Owns what the tests of this room share: a directory that goes away, entries, and the bytes of a closed log.

import Glibc
import LogStorage
import RaftCore
import Testing

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
    remove(path)
  }

  func dataBytes() -> [UInt8] { contents(of: dataFile) }

  func overwriteData(_ bytes: [UInt8]) {
    let file = fopen(dataFile, "r+")
    precondition(file != nil, "\(dataFile) is not there")
    defer { fclose(file) }
    precondition(fwrite(bytes, 1, bytes.count, file) == bytes.count, "\(dataFile) could not be written")
  }

  /// Changes one bit of the journal, at every place of `pattern`. Returns how many there were.
  func flipBit(inJournal pattern: [UInt8]) -> Int {
    var bytes = contents(of: log + "/journal")
    let places = positions(of: pattern, in: bytes)
    for place in places { bytes[place + pattern.count / 2] ^= 0x10 }
    LogStorageTests.write(bytes, to: log + "/journal")
    return places.count
  }

  /// Changes one bit of every place where `pattern` is. Returns how many there were: LMDB leaves older copies of a
  /// page.
  func flipBit(inEvery pattern: [UInt8]) -> Int {
    var bytes = dataBytes()
    let places = positions(of: pattern, in: bytes)
    for place in places { bytes[place + pattern.count / 2] ^= 0x10 }
    overwriteData(bytes)
    return places.count
  }
}

/// Removes a directory with everything in it, or a file.
func remove(_ path: String) {
  for name in names(in: path) { remove(path + "/" + name) }
  if unlink(path) != 0 { rmdir(path) }
}

/// The names in a directory, sorted; none where there is no directory.
func names(in path: String) -> [String] {
  guard let directory = opendir(path) else {
    if errno != ENOENT, errno != ENOTDIR { Issue.record("\(path) cannot be listed: error \(errno)") }
    return []
  }
  defer { closedir(directory) }
  var names: [String] = []
  while let entry = readdir(directory) {
    names.append(withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) })
  }
  return names.filter { $0 != "." && $0 != ".." }.sorted()
}

func contents(of path: String) -> [UInt8] {
  guard let file = fopen(path, "r") else { preconditionFailure("\(path) is not there") }
  defer { fclose(file) }
  fseek(file, 0, SEEK_END)
  var bytes = [UInt8](repeating: 0, count: ftell(file))
  rewind(file)
  precondition(fread(&bytes, 1, bytes.count, file) == bytes.count, "\(path) could not be read")
  return bytes
}

/// Makes or replaces a file.
func write(_ bytes: [UInt8], to path: String) {
  guard let file = fopen(path, "w") else { preconditionFailure("\(path) cannot be made") }
  defer { fclose(file) }
  precondition(fwrite(bytes, 1, bytes.count, file) == bytes.count, "\(path) could not be written")
}

/// What a power cut at this instant would leave, if the system had written everything.
func copy(_ source: String, to target: String) {
  if access(source, R_OK) != 0 { Issue.record("\(source) cannot be copied: error \(errno)") }
  if mkdir(target, 0o700) != 0 { Issue.record("\(target) cannot be made: error \(errno)") }
  for name in names(in: source) {
    let full = source + "/" + name
    var status = stat()
    stat(full, &status)
    if status.st_mode & S_IFMT == S_IFDIR {
      copy(full, to: target + "/" + name)
    } else {
      write(contents(of: full), to: target + "/" + name)
    }
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
  _ sequence: UInt64, term: UInt64? = nil, votedFor: UInt64? = nil, removeFrom: UInt64? = nil,
  base: SnapshotPoint? = nil, isRepaired: Bool = false, _ entries: [Entry] = []
) -> Persist {
  Persist(
    sequence: sequence, hardState: term.map { HardState(term: Term($0), votedFor: votedFor.map { NodeID($0) }) },
    removeFrom: removeFrom.map { Index($0) },
    base: base.map { LogBase(index: $0.index, term: $0.term, clockMilliseconds: $0.clockMilliseconds) },
    isRepaired: isRepaired, entries: entries)
}

/// The place of `entry(index, term:)`.
func point(_ index: UInt64, term: UInt64 = 1) -> SnapshotPoint {
  SnapshotPoint(
    index: Index(index), term: Term(term), clockMilliseconds: index * 10,
    membership: Membership(
      voters: [Member(id: NodeID(1), address: [1, 2, 3]), Member(id: NodeID(2), address: [])],
      learners: [Member(id: NodeID(9), address: [7])]))
}

extension LogStorage {
  /// A snapshot of `bytes` bytes that depend on the place.
  @discardableResult
  func takeSnapshot(_ point: SnapshotPoint, bytes: Int = 1000) throws -> SnapshotDescription {
    let writer = try snapshots.begin(point)
    try writer.append(snapshotContent(point, bytes: bytes))
    return try writer.finish()
  }
}

func snapshotContent(_ point: SnapshotPoint, bytes: Int = 1000) -> [UInt8] {
  (0..<bytes).map { UInt8(truncatingIfNeeded: ($0 &* 131) &+ Int(point.index.rawValue) &* 7 &+ ($0 >> 8)) }
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
