// Owns the bytes: which key holds what, and how each record is laid out. Nothing else in this room knows an offset.
//
// One LMDB tree, keyed by native 64-bit integers (MDB_INTEGERKEY). There is one tree and not one for each purpose
// because LMDB writes the root record of every named tree at every commit: that is a page more for each
// acknowledgement.
//
//   key 0          identity     written once
//   key 1          hard state   written when the term or the vote changes
//   2              journal      written with each move of the journal into the tree
//   3              base         written when a prefix is removed or a snapshot takes the log's place
//   4              damage       there only while the log lacks entries that a disk has lost
//   5 … 255        free, for what later formats need
//   256 + index    the entry of that index
//
// Every record starts with a CRC-32C over its own key (8 bytes) and everything after the sum, so that a record that is
// found in another's place does not pass. Integers are little-endian.
//
//   identity     crc 4 │ format 4 │ magic 8 │ cluster 8 │ node 8 │ incarnation 8 │ birth 8 (since format 2)
//   hard state   crc 4 │ has vote 1 │ zero 3 │ term 8 │ voted for 8
//   journal      crc 4 │ zero 4 │ sequence of the newest record that was moved 8
//   base         crc 4 │ zero 4 │ index 8 │ term 8 │ clock in milliseconds 8
//   damage       crc 4 │ zero 4 │ for each loss: first lost index 8 │ last lost index 8 │ term 8
//   entry        crc 4 │ kind 1 │ zero 3 │ term 8 │ clock in milliseconds 8 │ payload
//
// Invariants: in every format, however late, the identity starts with its sum and the format's number, so that an
// older program can tell "newer" from "corrupt". A change of any layout here raises `Format.current`, once a release has
// written it. A record of damage with one loss is what format 2 began with, and is still read.

import CLMDB
import RaftCore

enum Format {
  static let current: UInt32 = 2
  /// Had no base, no damage, no birth, and another journal. It is brought up to date in place when it is opened.
  static let first: UInt32 = 1
}

enum Key {
  static let identity: UInt64 = 0
  static let hardState: UInt64 = 1
  static let journal: UInt64 = 2
  static let base: UInt64 = 3
  static let damage: UInt64 = 4
  private static let beforeFirstEntry: UInt64 = 256

  static func entry(_ index: Index) -> UInt64 { beforeFirstEntry + index.rawValue }

  /// The index of the entry at `key`, or nil where no entry can be.
  static func index(of key: UInt64) -> Index? {
    key > beforeFirstEntry ? Index(rawValue: key - beforeFirstEntry) : nil
  }
}

/// Why a record cannot be what was written. The caller knows which record it was and makes the error.
struct Corruption: Error {
  var reason: String
}

enum Record {
  private static let sumBytes = 4

  static func checksum(key: UInt64, of record: UnsafeRawBufferPointer) -> UInt32 {
    let keySum = withUnsafeBytes(of: key.littleEndian) { CRC32C.checksum($0) }
    return CRC32C.checksum(UnsafeRawBufferPointer(rebasing: record[sumBytes...]), continuing: keySum)
  }

  /// Sums a record whose other bytes are in place.
  static func seal(key: UInt64, _ record: UnsafeMutableRawBufferPointer) {
    record.store(checksum(key: key, of: UnsafeRawBufferPointer(record)), at: 0)
  }

  /// Checks length and sum, before any other byte is believed.
  static func check(
    key: UInt64, _ record: UnsafeRawBufferPointer, atLeastBytes: Int
  ) throws(Corruption) {
    guard record.count >= atLeastBytes else {
      throw Corruption(reason: "\(record.count) bytes were read where \(atLeastBytes) at least were written")
    }
    let stored: UInt32 = record.integer(at: 0)
    let computed = checksum(key: key, of: record)
    guard stored == computed else {
      throw Corruption(
        reason: "its checksum is \(hexadecimal(UInt64(stored))) and its bytes give \(hexadecimal(UInt64(computed)))")
    }
  }
}

/// The identity as it is stored.
struct StoredIdentity {
  var identity: Identity
  /// Drawn when the directory was made: a disk that was wiped and made anew has another one. 0 in format 1.
  var birth: UInt64
  var format: UInt32
}

enum IdentityRecord {
  static let bytes = 48
  private static let bytesOfFirstFormat = 40
  /// "portcull" read as a little-endian integer.
  private static let magic: UInt64 = 0x6C6C_7563_7472_6F70

  static func write(_ identity: Identity, birth: UInt64, to record: UnsafeMutableRawBufferPointer) {
    record.store(Format.current, at: 4)
    record.store(magic, at: 8)
    record.store(identity.clusterID, at: 16)
    record.store(identity.nodeID.rawValue, at: 24)
    record.store(identity.incarnation, at: 32)
    record.store(birth, at: 40)
    Record.seal(key: Key.identity, record)
  }

  static func read(_ record: UnsafeRawBufferPointer, path: String) throws(StorageError) -> StoredIdentity {
    do throws(Corruption) {
      try Record.check(key: Key.identity, record, atLeastBytes: 8)
    } catch {
      throw .corruptIdentity(path: path, reason: error.reason)
    }
    let format: UInt32 = record.integer(at: 4)
    guard format <= Format.current else {
      throw .newerFormat(path: path, found: format, supported: Format.current)
    }
    let expectedBytes = format == Format.first ? bytesOfFirstFormat : bytes
    guard format >= Format.first, record.count == expectedBytes, record.integer(at: 8) == magic else {
      throw .notALog(path: path, reason: "its first record is not an identity")
    }
    let identity = Identity(
      clusterID: record.integer(at: 16), nodeID: NodeID(rawValue: record.integer(at: 24)),
      incarnation: record.integer(at: 32))
    return StoredIdentity(
      identity: identity, birth: format == Format.first ? 0 : record.integer(at: 40), format: format)
  }
}

enum HardStateRecord {
  static let bytes = 24

  static func write(_ hardState: HardState, to record: UnsafeMutableRawBufferPointer) {
    record.store(UInt32(hardState.votedFor == nil ? 0 : 1), at: 4)
    record.store(hardState.term.rawValue, at: 8)
    record.store(hardState.votedFor?.rawValue ?? 0, at: 16)
    Record.seal(key: Key.hardState, record)
  }

  static func read(_ record: UnsafeRawBufferPointer) throws(Corruption) -> HardState {
    try Record.check(key: Key.hardState, record, atLeastBytes: bytes)
    let hasVote: UInt32 = record.integer(at: 4)
    return HardState(
      term: Term(rawValue: record.integer(at: 8)),
      votedFor: hasVote == 1 ? NodeID(rawValue: record.integer(at: 16)) : nil)
  }
}

/// Up to which record the tree has taken the journal.
enum JournalPositionRecord {
  static let bytes = 16

  static func write(_ sequence: UInt64, to record: UnsafeMutableRawBufferPointer) {
    record.store(UInt32(0), at: 4)
    record.store(sequence, at: 8)
    Record.seal(key: Key.journal, record)
  }

  static func read(_ record: UnsafeRawBufferPointer) throws(Corruption) -> UInt64 {
    try Record.check(key: Key.journal, record, atLeastBytes: bytes)
    return record.integer(at: 8)
  }
}

/// Behind which place the log begins. Not there while the log begins with index 1.
enum BaseRecord {
  static let bytes = 32

  static func write(_ base: LogBase, to record: UnsafeMutableRawBufferPointer) {
    record.store(UInt32(0), at: 4)
    record.store(base.index.rawValue, at: 8)
    record.store(base.term.rawValue, at: 16)
    record.store(base.clockMilliseconds, at: 24)
    Record.seal(key: Key.base, record)
  }

  static func read(_ record: UnsafeRawBufferPointer) throws(Corruption) -> LogBase {
    try Record.check(key: Key.base, record, atLeastBytes: bytes)
    return LogBase(
      index: Index(record.integer(at: 8)), term: Term(record.integer(at: 16)),
      clockMilliseconds: record.integer(at: 24))
  }
}

enum DamageRecord {
  private static let headBytes = 8
  private static let lossBytes = 24

  static func bytes(_ damage: Damage) -> Int { headBytes + damage.losses.count * lossBytes }

  static func write(_ damage: Damage, to record: UnsafeMutableRawBufferPointer) {
    record.store(UInt32(0), at: 4)
    for (place, loss) in damage.losses.enumerated() {
      let start = headBytes + place * lossBytes
      record.store(loss.first.rawValue, at: start)
      record.store(loss.last.rawValue, at: start + 8)
      record.store(loss.term.rawValue, at: start + 16)
    }
    Record.seal(key: Key.damage, record)
  }

  static func read(_ record: UnsafeRawBufferPointer) throws(Corruption) -> Damage {
    try Record.check(key: Key.damage, record, atLeastBytes: headBytes + lossBytes)
    let count = (record.count - headBytes) / lossBytes
    guard record.count == headBytes + count * lossBytes, count <= Damage.mostLosses else {
      throw Corruption(reason: "it has \(record.count) bytes")
    }
    let losses = (0..<count).map { place in
      let start = headBytes + place * lossBytes
      return Loss(
        first: Index(record.integer(at: start)), last: Index(record.integer(at: start + 8)),
        term: Term(record.integer(at: start + 16)))
    }
    guard let damage = Damage(losses), damage.losses == losses else {
      throw Corruption(reason: "its losses are not in order")
    }
    return damage
  }
}

/// What stands before an entry's payload.
struct EntryHeader {
  static let bytes = 24

  var kind: Entry.Kind
  var term: Term
  var clockMilliseconds: UInt64

  static func write(_ entry: Entry, to record: UnsafeMutableRawBufferPointer) {
    record.store(UInt32(entry.kind.rawValue), at: 4)
    record.store(entry.term.rawValue, at: 8)
    record.store(entry.clockMilliseconds, at: 16)
    entry.payload.withUnsafeBytes { payload in
      UnsafeMutableRawBufferPointer(rebasing: record[bytes...]).copyMemory(from: payload)
    }
    Record.seal(key: Key.entry(entry.index), record)
  }

  static func read(_ record: UnsafeRawBufferPointer, at index: Index) throws(Corruption) -> EntryHeader {
    try Record.check(key: Key.entry(index), record, atLeastBytes: bytes)
    let rawKind: UInt32 = record.integer(at: 4)
    guard let kind = UInt8(exactly: rawKind).flatMap(Entry.Kind.init(rawValue:)) else {
      throw Corruption(reason: "its kind is \(rawKind), which this version does not know")
    }
    return EntryHeader(
      kind: kind, term: Term(rawValue: record.integer(at: 8)), clockMilliseconds: record.integer(at: 16))
  }
}

extension Entry {
  /// Checks the record at `index` and copies it out of the map.
  static func read(_ record: UnsafeRawBufferPointer, at index: Index) throws(StorageError) -> Entry {
    do throws(Corruption) {
      return Entry(try EntryHeader.read(record, at: index), at: index, in: record)
    } catch {
      throw .corruptRecord(index: index, reason: error.reason)
    }
  }

  /// Copies what belongs to a header that was checked.
  init(_ header: EntryHeader, at index: Index, in record: UnsafeRawBufferPointer) {
    self.init(
      index: index, term: header.term, clockMilliseconds: header.clockMilliseconds, kind: header.kind,
      payload: [UInt8](UnsafeRawBufferPointer(rebasing: record[EntryHeader.bytes...])))
  }
}

extension UnsafeRawBufferPointer {
  /// LMDB aligns values to two bytes only.
  func integer<T: FixedWidthInteger & BitwiseCopyable>(at offset: Int) -> T {
    T(littleEndian: loadUnaligned(fromByteOffset: offset, as: T.self))
  }
}

extension UnsafeMutableRawBufferPointer {
  func store<T: FixedWidthInteger & BitwiseCopyable>(_ value: T, at offset: Int) {
    storeBytes(of: value.littleEndian, toByteOffset: offset, as: T.self)
  }
}
