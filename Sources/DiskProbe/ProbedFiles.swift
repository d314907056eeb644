// Owns what is written while a disk is measured: plain files, logs, and the directory that holds them.
//
// The bytes differ from write to write, since a disk or a file system that compresses would otherwise be measured on
// nothing. They are made before the clock starts.

import Glibc
import LogStorage
import RaftCore

/// Made inside the directory that is asked about, and removed with all that is in it.
struct ScratchDirectory: Sendable {
  let path: String

  init(in directory: String) throws(ProbeError) {
    path = directory + "/portcullis-fsync-\(getpid())-\(MonotonicClock.nanoseconds())"
    guard mkdir(path, 0o700) == 0 else {
      // The directory is there: what the system misses is the way to make something in it, as in /proc.
      let code = errno == ENOENT ? EPERM : errno
      throw .fromSystem(code, operation: "making a directory in", path: directory)
    }
  }

  /// Removes what is inside, and waits until the disk knows: freeing blocks must not be measured with the next cell.
  func clear() {
    Self.removeContents(of: path)
    let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    fsync(descriptor)
    close(descriptor)
  }

  func remove() {
    Self.removeContents(of: path)
    rmdir(path)
  }

  private static func removeContents(of path: String) {
    guard let directory = opendir(path) else { return }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { name in
        String(decoding: name.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != ".", name != ".." { names.append(path + "/" + name) }
    }
    closedir(directory)
    for name in names where unlink(name) != 0 {
      removeContents(of: name)
      rmdir(name)
    }
  }
}

/// When a commit began, when its bytes were handed over, and when they were durable.
struct CommitTimes {
  var beganNanoseconds: UInt64
  /// Nil where writing and flushing are one call, and where nothing is flushed.
  var flushBeganNanoseconds: UInt64?
  var endedNanoseconds: UInt64
}

/// What one writer writes to. It stays on the thread that made it.
protocol ProbedTarget {
  mutating func commit() throws(ProbeError) -> CommitTimes
  func close()
}

struct ProbedFile: ProbedTarget {
  private let cell: FlushCell
  private let path: String
  private let descriptor: Int32
  private var offset = 0
  private var source: PatternSource

  init(_ cell: FlushCell, path: String) throws(ProbeError) {
    self.cell = cell
    self.path = path
    source = PatternSource(bytes: cell.bytes)
    let flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | (cell.method == .dsync ? O_DSYNC : 0)
    descriptor = open(path, flags, 0o600)
    guard descriptor >= 0 else { throw .fromSystem(errno, operation: "making", path: path) }
    do throws(ProbeError) {
      try cell.layout == .prepared ? fill() : beginAnew()
    } catch {
      Glibc.close(descriptor)
      throw error
    }
  }

  func close() { Glibc.close(descriptor) }

  mutating func commit() throws(ProbeError) -> CommitTimes {
    if offset + cell.bytes > cell.fileBytes {
      if cell.layout != .prepared { try beginAnew() }
      offset = 0
    }
    let start = source.next()
    let began = MonotonicClock.nanoseconds()
    let written = source.bytes.withUnsafeBytes { bytes in
      pwrite(descriptor, bytes.baseAddress.map { $0 + start }, cell.bytes, off_t(offset))
    }
    let handedOver = MonotonicClock.nanoseconds()
    guard written == cell.bytes else {
      throw .fromSystem(written < 0 ? errno : ENOSPC, operation: "writing", path: path)
    }
    offset += cell.bytes
    guard cell.method == .fdatasync else {
      return CommitTimes(beganNanoseconds: began, flushBeganNanoseconds: nil, endedNanoseconds: handedOver)
    }
    guard fdatasync(descriptor) == 0 else { throw .fromSystem(errno, operation: "flushing", path: path) }
    let ended = MonotonicClock.nanoseconds()
    return CommitTimes(beganNanoseconds: began, flushBeganNanoseconds: handedOver, endedNanoseconds: ended)
  }

  /// Writes every block once, through a descriptor that does not wait for each of them.
  private func fill() throws(ProbeError) {
    let filling = open(path, O_WRONLY | O_CLOEXEC)
    guard filling >= 0 else { throw .fromSystem(errno, operation: "opening", path: path) }
    defer { Glibc.close(filling) }
    let block = [UInt8](repeating: 0, count: 1 << 20)
    var filled = 0
    while filled < cell.fileBytes {
      let written = pwrite(filling, block, min(block.count, cell.fileBytes - filled), off_t(filled))
      if written < 0, errno == EINTR { continue }
      guard written > 0 else { throw .fromSystem(written < 0 ? errno : ENOSPC, operation: "filling", path: path) }
      filled += written
    }
    guard fsync(filling) == 0 else { throw .fromSystem(errno, operation: "flushing", path: path) }
  }

  /// An empty file, with blocks of its own where the cell says so.
  private func beginAnew() throws(ProbeError) {
    guard ftruncate(descriptor, 0) == 0 else { throw .fromSystem(errno, operation: "emptying", path: path) }
    if cell.layout == .reserved {
      guard ftruncate(descriptor, off_t(cell.fileBytes)) == 0 else {
        throw .fromSystem(errno, operation: "sizing", path: path)
      }
      switch FileBlocks.reserve(descriptor: descriptor, bytes: cell.fileBytes) {
      case 0: break
      case EOPNOTSUPP, ENOSYS: throw .cannotReserve(path: path)
      case let code: throw .fromSystem(code, operation: "reserving blocks of", path: path)
      }
    }
    guard fsync(descriptor) == 0 else { throw .fromSystem(errno, operation: "flushing", path: path) }
  }
}

/// A log of nobody's, on the path that a node's log takes.
struct ProbedLog: ProbedTarget {
  private let storage: LogStorage
  private let cell: FlushCell
  private var lastIndex: Index
  private var sequence: UInt64 = 0
  private var source: PatternSource

  init(_ cell: FlushCell, path: String) throws(ProbeError) {
    self.cell = cell
    source = PatternSource(bytes: cell.bytes)
    do throws(StorageError) {
      let identity = Identity(clusterID: 1, nodeID: NodeID(1), incarnation: 1)
      let opened = try LogStorage.open(directory: path, identity: identity)
      storage = opened.storage
      lastIndex = opened.recovered.lastIndex
      let term = HardState(term: Term(1), votedFor: nil)
      try storage.append([Persist(sequence: 0, hardState: term, removeFrom: nil, entries: [])])
    } catch {
      throw .log(error)
    }
  }

  func close() { storage.close() }

  mutating func commit() throws(ProbeError) -> CommitTimes {
    var entries: [Entry] = []
    entries.reserveCapacity(cell.records)
    for _ in 0..<cell.records {
      lastIndex = lastIndex.next
      let start = source.next()
      entries.append(
        Entry(
          index: lastIndex, term: Term(1), clockMilliseconds: 0, kind: .command,
          payload: Array(source.bytes[start..<start + cell.bytes])))
    }
    sequence += 1
    do throws(StorageError) {
      let began = MonotonicClock.nanoseconds()
      let timing = try storage.append([Persist(sequence: sequence, hardState: nil, removeFrom: nil, entries: entries)])
      let ended = MonotonicClock.nanoseconds()
      return CommitTimes(
        beganNanoseconds: began, flushBeganNanoseconds: timing.flushBeganNanoseconds, endedNanoseconds: ended)
    } catch {
      throw .log(error)
    }
  }
}

/// Bytes that do not compress, the same in every run (xorshift64, Marsaglia 2003), of which each write takes another
/// part.
private struct PatternSource {
  private static let spareBytes = 1 << 16
  private static let strideBytes = 4099
  let bytes: [UInt8]
  private var start = 0

  init(bytes count: Int) {
    bytes = [UInt8](unsafeUninitializedCapacity: count + Self.spareBytes) { buffer, initialized in
      var state: UInt64 = 0x9E37_79B9_7F4A_7C15
      for offset in buffer.indices {
        if offset % 8 == 0 {
          state ^= state << 13
          state ^= state >> 7
          state ^= state << 17
        }
        buffer[offset] = UInt8(truncatingIfNeeded: state >> UInt64(8 * (offset % 8)))
      }
      initialized = buffer.count
    }
  }

  /// Where in `bytes` the next write begins.
  mutating func next() -> Int {
    start = (start + Self.strideBytes) % Self.spareBytes
    return start
  }
}
