// Owns the journal: a small file of fixed length in front of the tree, written from its start over and over again. A
// batch is durable after one flush of it, where a commit of LMDB takes two; the tree takes many batches at once later.
//
// It must never: be reused from its start before the tree has durably taken what is in it; take bytes for a record that
// do not check; treat a damaged record as the end when a later one shows that more was acknowledged.
//
// Layout: records one after the other, each at a multiple of 8 bytes, the rest left as it was:
//   magic 4 │ bytes of the whole record 4 │ sequence 8 │ crc 4 │ zero 4 │ body
//   body     has term 1 │ has vote 1 │ zero 6 │ term 8 │ voted for 8 │ entries
//   entry    index 8 │ term 8 │ clock 8 │ kind 4 │ payload's bytes 4 │ payload, filled up to 8 bytes
// The crc is a CRC-32C over the record with the crc's own bytes as zero. Integers are little-endian.
//
// Invariants: sequences rise by one for ever, over reuse and restart. The tree stores the sequence that it has taken
// (key 2), so a record counts only if it continues from there, and what is left of earlier rounds does not.

import Glibc
import RaftCore

/// `@unchecked Sendable`: after the opening, which one thread does, only the log's writing thread calls it.
final class Journal: @unchecked Sendable {
  static let fileName = "journal"
  private static let magic: UInt32 = 0x4C4E_524A
  private static let headerBytes = 24
  private static let bodyBytes = 24
  private static let entryBytes = 32

  private let path: String
  private let descriptor: Int32
  private let capacityBytes: Int
  private var offset = 0
  private var record: [UInt8] = []

  /// Opens the journal, or makes one and fills it with zeros, so that no later write changes the file's length.
  init(directory: String, capacityBytes: Int) throws(StorageError) {
    path = directory + "/" + Self.fileName
    descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw .fromSystem(errno, operation: "opening", path: path) }
    let existing = Int(lseek(descriptor, 0, SEEK_END))
    self.capacityBytes = max(existing, capacityBytes)
    do throws(StorageError) {
      try fill(from: existing)
      try LogDirectory.sync(directory)
    } catch {
      Glibc.close(descriptor)
      throw error
    }
  }

  deinit {
    Glibc.close(descriptor)
  }

  /// How much is in use since the last reuse.
  var usedBytes: Int { offset }

  func hasRoom(forBytes bytes: Int) -> Bool { offset + bytes <= capacityBytes }
  func canEverHold(bytes: Int) -> Bool { bytes <= capacityBytes }

  /// The tree has taken everything: the next record goes to the start.
  func reuse() { offset = 0 }

  static func bytes(for persist: Persist) -> Int {
    persist.entries.reduce(headerBytes + bodyBytes) { $0 + entryBytes + padded($1.payload.count) }
  }

  /// Writes a record and flushes it. Returns when the flush began.
  func append(_ persist: Persist, sequence: UInt64) throws(StorageError) -> UInt64 {
    encode(persist, sequence: sequence)
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
    return flushBegan
  }

  private func fill(from start: Int) throws(StorageError) {
    guard start < capacityBytes else { return }
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

  private static func padded(_ bytes: Int) -> Int { (bytes + 7) & ~7 }
}

// MARK: - Writing

extension Journal {
  private func encode(_ persist: Persist, sequence: UInt64) {
    record.removeAll(keepingCapacity: true)
    record.reserveCapacity(Self.bytes(for: persist))
    put(Self.magic)
    put(UInt32(Self.bytes(for: persist)))
    put(sequence)
    put(UInt64(0))
    put(UInt64((persist.hardState == nil ? 0 : 1) | (persist.hardState?.votedFor == nil ? 0 : 1 << 8)))
    put(persist.hardState?.term.rawValue ?? 0)
    put(persist.hardState?.votedFor?.rawValue ?? 0)
    for entry in persist.entries {
      put(entry.index.rawValue)
      put(entry.term.rawValue)
      put(entry.clockMilliseconds)
      put(UInt32(entry.kind.rawValue))
      put(UInt32(entry.payload.count))
      record.append(contentsOf: entry.payload)
      record.append(contentsOf: repeatElement(0, count: Self.padded(entry.payload.count) - entry.payload.count))
    }
    let sum = record.withUnsafeBytes { CRC32C.checksum($0) }
    withUnsafeBytes(of: sum.littleEndian) { bytes in
      for (index, byte) in bytes.enumerated() { record[16 + index] = byte }
    }
  }

  private func put<T: FixedWidthInteger>(_ value: T) {
    withUnsafeBytes(of: value.littleEndian) { record.append(contentsOf: $0) }
  }
}

// MARK: - Reading back

extension Journal {
  /// The records that follow `settled`, in order. What is behind the last good one was being written when the power
  /// went, and nobody was told of it; but if a later record is whole, an acknowledged one is damaged.
  func replay(after settled: UInt64) throws(StorageError) -> [(sequence: UInt64, persist: Persist)] {
    var bytes = [UInt8](repeating: 0, count: capacityBytes)
    var filled = 0
    while filled < bytes.count {
      let count = bytes.withUnsafeMutableBytes { raw in
        pread(descriptor, raw.baseAddress.map { $0 + filled }, raw.count - filled, off_t(filled))
      }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw .fromSystem(errno, operation: "reading", path: path) }
      filled += count
    }
    return try Self.records(in: bytes, after: settled)
  }

  /// The same of a journal's bytes.
  static func records(
    in bytes: [UInt8], after settled: UInt64
  ) throws(StorageError) -> [(sequence: UInt64, persist: Persist)] {
    var found: [(sequence: UInt64, persist: Persist)] = []
    var position = 0
    while let (record, next) = record(in: bytes, at: position),
      record.sequence == settled + UInt64(found.count) + 1
    {
      found.append(record)
      position = next
    }
    let expected = settled + UInt64(found.count) + 1
    while position + Self.headerBytes <= bytes.count {
      if let (record, _) = record(in: bytes, at: position), record.sequence > expected {
        throw .corruptFile(
          reason: "the journal has record \(record.sequence) whole and record \(expected), written before it, damaged")
      }
      position += 8
    }
    return found
  }

  /// A record around any body, for the tests of reading it.
  static func record(body: [UInt8], sequence: UInt64) -> [UInt8] {
    func bytes<T: FixedWidthInteger>(_ value: T) -> [UInt8] { withUnsafeBytes(of: value.littleEndian) { [UInt8]($0) } }
    let padding = [UInt8](repeating: 0, count: padded(body.count) - body.count)
    var record = bytes(magic) + bytes(UInt32(headerBytes + body.count + padding.count)) + bytes(sequence)
    record += bytes(UInt64(0)) + body + padding
    let sum = record.withUnsafeBytes { CRC32C.checksum($0) }
    record.replaceSubrange(16..<20, with: bytes(sum))
    return record
  }

  private typealias Found = (record: (sequence: UInt64, persist: Persist), next: Int)

  private static func record(in bytes: [UInt8], at position: Int) -> Found? {
    bytes.withUnsafeBytes { raw -> Found? in
      guard position + headerBytes + bodyBytes <= raw.count, raw.integer(at: position) == magic else { return nil }
      let length = Int(raw.integer(at: position + 4) as UInt32)
      guard length >= headerBytes + bodyBytes, length % 8 == 0, position + length <= raw.count else { return nil }
      var copy = [UInt8](raw[position..<(position + length)])
      let stored: UInt32 = raw.integer(at: position + 16)
      for index in 16..<20 { copy[index] = 0 }
      guard copy.withUnsafeBytes({ CRC32C.checksum($0) }) == stored else { return nil }
      guard let persist = copy.withUnsafeBytes(persist(in:)) else { return nil }
      return ((raw.integer(at: position + 8), persist), position + length)
    }
  }

  private static func persist(in raw: UnsafeRawBufferPointer) -> Persist? {
    var persist = Persist(sequence: 0, hardState: nil, removeFrom: nil, entries: [])
    let flags: UInt64 = raw.integer(at: headerBytes)
    if flags & 1 != 0 {
      let vote: UInt64 = raw.integer(at: headerBytes + 16)
      persist.hardState = HardState(
        term: Term(raw.integer(at: headerBytes + 8)), votedFor: flags >> 8 & 1 != 0 ? NodeID(vote) : nil)
    }
    var position = headerBytes + bodyBytes
    while position < raw.count {
      guard position + entryBytes <= raw.count,
        let kind = Entry.Kind(rawValue: UInt8(truncatingIfNeeded: raw.integer(at: position + 24) as UInt32))
      else { return nil }
      let length = Int(raw.integer(at: position + 28) as UInt32)
      let payload = position + entryBytes
      guard payload + length <= raw.count else { return nil }
      persist.entries.append(
        Entry(
          index: Index(raw.integer(at: position)), term: Term(raw.integer(at: position + 8)),
          clockMilliseconds: raw.integer(at: position + 16), kind: kind,
          payload: [UInt8](raw[payload..<(payload + length)])))
      position = payload + padded(length)
    }
    return persist
  }
}
