// Owns a door to this room's decoders for bytes that nobody wrote: fuzzing, and the replay of what fuzzing found. A sum
// stands before every record, and whoever wants to get behind it must be able to put it right.
//
// It must never be used to open a log.

import Glibc
package import RaftCore

package enum StoredRecord: UInt8, CaseIterable, Sendable {
  case identity
  case hardState
  case journalPosition
  case entry

  private func key(at index: Index) -> UInt64 {
    switch self {
    case .identity: Key.identity
    case .hardState: Key.hardState
    case .journalPosition: Key.journal
    case .entry: Key.entry(index)
    }
  }

  /// Reads `bytes` as this record, if they are one. What was accepted must come back the same from its own encoder.
  package func read(_ bytes: [UInt8], at index: Index, isSealedFirst: Bool) {
    var bytes = bytes
    bytes.withUnsafeMutableBytes { raw in
      if isSealedFirst, raw.count >= 4 { Record.seal(key: key(at: index), raw) }
      check(UnsafeRawBufferPointer(raw), at: index)
    }
  }

  private func check(_ raw: UnsafeRawBufferPointer, at index: Index) {
    switch self {
    case .identity:
      guard let read = try? IdentityRecord.read(raw, path: "") else { return }
      let again = written(IdentityRecord.bytes) { IdentityRecord.write(read, to: $0) }
      precondition((try? again.withUnsafeBytes { try IdentityRecord.read($0, path: "") }) == read)
    case .hardState:
      guard let read = try? HardStateRecord.read(raw) else { return }
      let again = written(HardStateRecord.bytes) { HardStateRecord.write(read, to: $0) }
      precondition((try? again.withUnsafeBytes { try HardStateRecord.read($0) }) == read)
    case .journalPosition:
      guard let read = try? JournalPositionRecord.read(raw) else { return }
      let again = written(JournalPositionRecord.bytes) { JournalPositionRecord.write(read, to: $0) }
      precondition((try? again.withUnsafeBytes { try JournalPositionRecord.read($0) }) == read)
    case .entry:
      guard let read = try? Entry.read(raw, at: index) else { return }
      let again = written(EntryHeader.bytes + read.payload.count) { EntryHeader.write(read, to: $0) }
      precondition((try? again.withUnsafeBytes { try Entry.read($0, at: index) }) == read)
    }
  }

  private func written(_ count: Int, _ write: (UnsafeMutableRawBufferPointer) -> Void) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    bytes.withUnsafeMutableBytes { write($0) }
    return bytes
  }
}

extension StoredRecord {
  /// A journal's record with `body` in it, its length, sequence and sum right.
  package static func journalRecord(body: [UInt8], sequence: UInt64) -> [UInt8] {
    Journal.record(body: body, sequence: sequence)
  }

  /// What an opening would take from a journal with these bytes.
  package static func readJournal(
    _ bytes: [UInt8], after settled: UInt64
  ) throws(StorageError) -> [(sequence: UInt64, persist: Persist)] {
    try Journal.records(in: bytes, after: settled)
  }
}
