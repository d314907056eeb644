// Owns what is written while a disk is measured: a plain file, a log, and the directory that holds both.
//
// The bytes differ from record to record, since a disk or a file system that compresses would otherwise be measured on
// nothing.

import Glibc
import LogStorage
import RaftCore

/// Made inside the directory that is asked about, and emptied afterwards.
struct ScratchDirectory {
  let path: String

  init(in directory: String) throws(StorageError) {
    path = directory + "/portcullis-fsync-\(getpid())-\(MonotonicClock.nanoseconds())"
    guard mkdir(path, 0o700) == 0 else { throw .fromSystem(errno, operation: "making", path: path) }
  }

  func remove() {
    for name in ["log/data.mdb", "log/lock.mdb", "log/owner.lock", "log/journal", "plain"] { unlink(path + "/" + name) }
    rmdir(path + "/log")
    rmdir(path)
  }
}

/// A file whose blocks were all written once, so that a flush has no blocks to allocate and no length to record.
final class PreallocatedFile {
  private let descriptor: Int32
  private let path: String
  private let bytes: Int
  private var offset = 0
  private var source = PatternSource()

  init(path: String, bytes: Int) throws(StorageError) {
    self.path = path
    self.bytes = bytes
    descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw .fromSystem(errno, operation: "making", path: path) }
    let block = [UInt8](repeating: 0, count: 1 << 20)
    var filled = 0
    while filled < bytes {
      try write(block, at: filled)
      filled += block.count
    }
    guard fsync(descriptor) == 0 else { throw .fromSystem(errno, operation: "flushing", path: path) }
  }

  deinit {
    close(descriptor)
  }

  func write(bytes count: Int, flushing: Bool) throws(StorageError) {
    if offset + count > bytes { offset = 0 }
    try write(source.next(bytes: count), at: offset)
    offset += count
    guard !flushing || fdatasync(descriptor) == 0 else {
      throw .fromSystem(errno, operation: "flushing", path: path)
    }
  }

  private func write(_ block: [UInt8], at offset: Int) throws(StorageError) {
    let written = pwrite(descriptor, block, block.count, off_t(offset))
    guard written == block.count else {
      throw .fromSystem(written < 0 ? errno : ENOSPC, operation: "writing", path: path)
    }
  }
}

/// A log of nobody's, on the path that a node's log takes.
struct ProbedLog {
  private let storage: LogStorage
  private let recordBytes: Int
  private var lastIndex: Index
  private var sequence: UInt64 = 0
  private var source = PatternSource()

  init(directory: String, recordBytes: Int) throws(StorageError) {
    let identity = Identity(clusterID: 1, nodeID: NodeID(1), incarnation: 1)
    let opened = try LogStorage.open(directory: directory, identity: identity)
    storage = opened.storage
    lastIndex = opened.recovered.lastIndex
    self.recordBytes = recordBytes
    let term = HardState(term: Term(1), votedFor: nil)
    try storage.append([Persist(sequence: 0, hardState: term, removeFrom: nil, entries: [])])
  }

  mutating func commit(records: Int) throws(StorageError) {
    var entries: [Entry] = []
    entries.reserveCapacity(records)
    for _ in 0..<records {
      lastIndex = lastIndex.next
      entries.append(
        Entry(
          index: lastIndex, term: Term(1), clockMilliseconds: 0, kind: .command,
          payload: source.next(bytes: recordBytes)))
    }
    sequence += 1
    try storage.append([Persist(sequence: sequence, hardState: nil, removeFrom: nil, entries: entries)])
  }

  func close() {
    storage.close()
  }
}

/// Bytes that do not compress, the same in every run (xorshift64, Marsaglia 2003).
private struct PatternSource {
  private var state: UInt64 = 0x9E37_79B9_7F4A_7C15

  mutating func next(bytes count: Int) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
      for offset in 0..<count {
        if offset % 8 == 0 {
          state ^= state << 13
          state ^= state >> 7
          state ^= state << 17
        }
        buffer[offset] = UInt8(truncatingIfNeeded: state >> UInt64(8 * (offset % 8)))
      }
      initialized = count
    }
  }
}

/// Sleeps to an instant and not for a while, so that being late once does not make everything later.
func sleep(untilNanoseconds instant: UInt64) {
  var deadline = timespec(tv_sec: Int(instant / 1_000_000_000), tv_nsec: Int(instant % 1_000_000_000))
  while clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, nil) == EINTR {}
}
