// Owns the journal: a small file of fixed length in front of the tree, written from its start over and over again. A
// batch is durable after one flush of it, where a commit of LMDB takes two; the tree takes many batches at once later.
//
// It must never: be reused from its start before the tree has durably taken what is in it; take bytes for a record that
// do not check. Reading it back is in JournalReading.swift.
//
// Layout: records one after the other, each at a multiple of 8 bytes, the rest left as it was. A record is a head and
// the entries:
//   head     magic 4 │ bytes of the whole record 4 │ sequence 8 │ entries' crc 4 │ head's crc 4 │ flags 8 │ term 8
//            │ voted for 8 │ last index 8
//   entry    index 8 │ term 8 │ clock 8 │ kind 4 │ payload's bytes 4 │ payload, filled up to 8 bytes
// Flags: 1 has a vote, 2 is an echo. The last index is the log's with this record in it. Both sums are CRC-32C and
// begin with the directory's birth, which nobody outside knows: a value that somebody stores cannot pass for a record.
// The head's is over the head with its own four bytes as zero. Integers are little-endian.
//
// Every record tells the whole hard state, changed or not, so that a damaged one can never have hidden a newer one than
// a later one shows. A record that changes it is followed in the same write by its echo, a head alone, so that not even
// the last record of all takes a vote with it when it is damaged.
//
// Invariants: sequences rise by one for ever, over reuse and restart. The tree stores the sequence that it has taken
// (key 2), so a record counts only if it continues from there, and what is left of earlier rounds does not.

import Glibc
import RaftCore

/// `@unchecked Sendable`: after the opening, which one thread does, only the log's writing thread calls it.
final class Journal: @unchecked Sendable {
  static let fileName = "journal"
  static let magic: UInt32 = 0x324E_524A
  static let headBytes = 56
  static let entryBytes = 32
  static let hasVoteFlag: UInt64 = 1
  static let echoFlag: UInt64 = 2

  let path: String
  let descriptor: Int32
  let capacityBytes: Int
  /// What every sum begins with.
  private let seed: UInt32
  private var offset = 0
  private var record: [UInt8] = []

  /// Opens the journal, or makes one and fills it with zeros, so that no later write changes the file's length.
  init(directory: String, capacityBytes: Int, birth: UInt64) throws(StorageError) {
    path = directory + "/" + Self.fileName
    seed = Self.seed(birth: birth)
    descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw .fromSystem(errno, operation: "opening", path: path) }
    let existing = Int(lseek(descriptor, 0, SEEK_END))
    self.capacityBytes = max(existing, capacityBytes)
    do throws(StorageError) {
      if existing < self.capacityBytes {
        try fill(from: existing)
        try LogDirectory.sync(directory)
      }
    } catch {
      Glibc.close(descriptor)
      throw error
    }
  }

  deinit {
    Glibc.close(descriptor)
  }

  static func seed(birth: UInt64) -> UInt32 {
    withUnsafeBytes(of: birth.littleEndian) { CRC32C.checksum($0) }
  }

  /// Whether there is one that was once made whole. The smallest that a log may have is 64 KiB.
  static func exists(in directory: String) -> Bool {
    var status = stat()
    return stat(directory + "/" + fileName, &status) == 0 && status.st_size >= 1 << 16
  }

  /// How much is in use since the last reuse.
  var usedBytes: Int { offset }

  func hasRoom(forBytes bytes: Int) -> Bool { offset + bytes <= capacityBytes }
  func canEverHold(bytes: Int) -> Bool { bytes <= capacityBytes }

  /// The tree has taken everything: the next record goes to the start.
  func reuse() { offset = 0 }

  /// At most this much is written for `persist`.
  static func bytes(for persist: Persist) -> Int {
    persist.entries.reduce(headBytes + (persist.hardState == nil ? 0 : headBytes)) {
      $0 + entryBytes + padded($1.payload.count)
    }
  }

  /// Writes a record, and its echo if it changes the hard state, and flushes them.
  /// - Parameters:
  ///   - hardState: the log's with `persist` in it, as is `lastIndex`.
  ///   - sequence: the one before.
  /// - Returns: the newest sequence that was used, and when the flush began.
  func append(
    _ persist: Persist, hardState: HardState, lastIndex: Index, after sequence: UInt64
  ) throws(StorageError) -> (sequence: UInt64, flushBegan: UInt64) {
    record.removeAll(keepingCapacity: true)
    record.reserveCapacity(Self.bytes(for: persist))
    var head = Head(sequence: sequence + 1, hardState: hardState, lastIndex: lastIndex, isEcho: false)
    put(head, persist.entries)
    if persist.hardState != nil {
      head.sequence += 1
      head.isEcho = true
      put(head, [])
    }
    precondition(hasRoom(forBytes: record.count), "a record was to be written behind the journal's end")
    var written = 0
    while written < record.count {
      let count = record.withUnsafeBytes { bytes in
        pwrite(descriptor, bytes.baseAddress.map { $0 + written }, bytes.count - written, off_t(offset + written))
      }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw .fromSystem(errno, operation: "writing", path: path) }
      written += count
    }
    let flushBegan = MonotonicClock.nanoseconds()
    guard fdatasync(descriptor) == 0 else { throw .fromSystem(errno, operation: "flushing", path: path) }
    offset += record.count
    return (head.sequence, flushBegan)
  }

  private func fill(from start: Int) throws(StorageError) {
    let zeros = [UInt8](repeating: 0, count: 1 << 20)
    var position = start
    while position < capacityBytes {
      let count = pwrite(descriptor, zeros, min(zeros.count, capacityBytes - position), off_t(position))
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw .fromSystem(errno, operation: "preparing", path: path) }
      position += count
    }
    guard fsync(descriptor) == 0 else { throw .fromSystem(errno, operation: "flushing", path: path) }
  }

  static func padded(_ bytes: Int) -> Int { (bytes + 7) & ~7 }
}

extension Journal {
  /// What a record says before its entries.
  struct Head: Equatable {
    var sequence: UInt64
    var hardState: HardState
    var lastIndex: Index
    var isEcho: Bool
  }

  private func put(_ head: Head, _ entries: [Entry]) {
    let start = record.count
    put(Self.magic)
    put(UInt32(0))
    put(head.sequence)
    put(UInt64(0))
    put((head.hardState.votedFor == nil ? 0 : Self.hasVoteFlag) | (head.isEcho ? Self.echoFlag : 0))
    put(head.hardState.term.rawValue)
    put(head.hardState.votedFor?.rawValue ?? 0)
    put(head.lastIndex.rawValue)
    for entry in entries {
      put(entry.index.rawValue)
      put(entry.term.rawValue)
      put(entry.clockMilliseconds)
      put(UInt32(entry.kind.rawValue))
      put(UInt32(entry.payload.count))
      record.append(contentsOf: entry.payload)
      record.append(contentsOf: repeatElement(0, count: Self.padded(entry.payload.count) - entry.payload.count))
    }
    record.withUnsafeMutableBytes { bytes in
      let whole = UnsafeMutableRawBufferPointer(rebasing: bytes[start...])
      whole.store(UInt32(whole.count), at: 4)
      let body = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(whole)[Self.headBytes...])
      whole.store(CRC32C.checksum(body, continuing: seed), at: 16)
      whole.store(Self.headSum(UnsafeRawBufferPointer(whole), seed: seed), at: 20)
    }
  }

  private func put<T: FixedWidthInteger>(_ value: T) {
    withUnsafeBytes(of: value.littleEndian) { record.append(contentsOf: $0) }
  }

  /// The sum of a head, with the place of the sum itself taken as zero.
  static func headSum(_ record: UnsafeRawBufferPointer, seed: UInt32) -> UInt32 {
    var sum = CRC32C.checksum(UnsafeRawBufferPointer(rebasing: record[..<20]), continuing: seed)
    sum = withUnsafeBytes(of: UInt32(0)) { CRC32C.checksum($0, continuing: sum) }
    return CRC32C.checksum(UnsafeRawBufferPointer(rebasing: record[24..<headBytes]), continuing: sum)
  }

  func sumSeed() -> UInt32 { seed }
}
