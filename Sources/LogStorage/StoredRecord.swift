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
  case base
  case damage
  case entry

  private func key(at index: Index) -> UInt64 {
    switch self {
    case .identity: Key.identity
    case .hardState: Key.hardState
    case .journalPosition: Key.journal
    case .base: Key.base
    case .damage: Key.damage
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
      let again = written(IdentityRecord.bytes) { IdentityRecord.write(read.identity, birth: read.birth, to: $0) }
      precondition((try? again.withUnsafeBytes { try IdentityRecord.read($0, path: "") })?.identity == read.identity)
    case .hardState:
      guard let read = try? HardStateRecord.read(raw) else { return }
      let again = written(HardStateRecord.bytes) { HardStateRecord.write(read, to: $0) }
      precondition((try? again.withUnsafeBytes { try HardStateRecord.read($0) }) == read)
    case .journalPosition:
      guard let read = try? JournalPositionRecord.read(raw) else { return }
      let again = written(JournalPositionRecord.bytes) { JournalPositionRecord.write(read, to: $0) }
      precondition((try? again.withUnsafeBytes { try JournalPositionRecord.read($0) }) == read)
    case .base:
      guard let read = try? BaseRecord.read(raw) else { return }
      let again = written(BaseRecord.bytes) { BaseRecord.write(read, to: $0) }
      precondition((try? again.withUnsafeBytes { try BaseRecord.read($0) }) == read)
    case .damage:
      guard let read = try? DamageRecord.read(raw) else { return }
      let again = written(DamageRecord.bytes(read)) { DamageRecord.write(read, to: $0) }
      precondition((try? again.withUnsafeBytes { try DamageRecord.read($0) }) == read)
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

// MARK: - The journal

extension StoredRecord {
  private static let birth: UInt64 = 7

  /// A journal's record with `body` behind the head, whose length and sums are right. `fields` are the flags, the term,
  /// the vote and the last index.
  package static func journalRecord(sequence: UInt64, fields: [UInt8], body: [UInt8]) -> [UInt8] {
    let padding = Journal.padded(body.count) - body.count
    var record = [UInt8](repeating: 0, count: Journal.headBytes) + body + [UInt8](repeating: 0, count: padding)
    for (place, byte) in fields.prefix(Journal.headBytes - 24).enumerated() { record[24 + place] = byte }
    let seed = Journal.seed(birth: birth)
    record.withUnsafeMutableBytes { raw in
      raw.store(Journal.magic, at: 0)
      raw.store(UInt32(raw.count), at: 4)
      raw.store(sequence, at: 8)
      let content = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(raw)[Journal.headBytes...])
      raw.store(CRC32C.checksum(content, continuing: seed), at: 16)
      raw.store(Journal.headSum(UnsafeRawBufferPointer(raw), seed: seed), at: 20)
    }
    return record
  }

  /// Reads a journal of these bytes, as an opening does.
  package static func readJournal(_ bytes: [UInt8], after settled: UInt64?, end: Index) {
    let findings = Journal.findings(in: bytes, seed: Journal.seed(birth: birth), after: settled, end: end)
    precondition(findings.newestSequence >= settled ?? 0, "the newest record is older than what the tree has")
    _ = try? Journal.findingsInFirstFormat(of: bytes, after: settled ?? 0)
  }
}

// MARK: - Snapshots

extension StoredRecord {
  /// Puts the sums of a snapshot's file right, as far as its bytes have the places for them.
  package static func sealSnapshot(_ bytes: inout [UInt8]) {
    bytes.withUnsafeMutableBytes { raw in
      guard raw.count >= SnapshotFormat.headerBytes + SnapshotFormat.footerBytes else { return }
      raw.store(SnapshotFormat.magic, at: 0)
      raw.store(SnapshotFormat.version, at: 8)
      raw.store(UInt32(SnapshotFormat.pieceBytes), at: 12)
      let all = UnsafeRawBufferPointer(raw)
      let headerBytes = SnapshotFormat.headerBytes + Int(all.integer(at: 40) as UInt32)
      guard headerBytes <= raw.count - SnapshotFormat.footerBytes else { return }
      let header = UnsafeRawBufferPointer(rebasing: all[..<headerBytes])
      let headerSum = SnapshotFormat.sum(ofHeader: header)
      raw.store(headerSum, at: 44)
      let footerStart = raw.count - SnapshotFormat.footerBytes
      raw.store(SnapshotFormat.footerMark, at: footerStart)
      let footer = UnsafeRawBufferPointer(rebasing: all[footerStart...])
      raw.store(SnapshotFormat.sum(ofFooter: footer, headerSum: headerSum), at: footerStart + 4)
      let pieceStart = headerBytes + SnapshotFormat.pieceHeaderBytes
      guard pieceStart <= footerStart else { return }
      let content = UnsafeRawBufferPointer(rebasing: all[pieceStart..<footerStart])
      raw.store(UInt32(content.count), at: headerBytes)
      raw.store(SnapshotFormat.sum(ofPiece: 0, content, headerSum: headerSum), at: headerBytes + 4)
    }
  }

  /// Reads a snapshot's file to its end.
  package static func readSnapshot(at path: String) {
    guard let file = try? SnapshotFile(path: path) else { return }
    _ = file.checkedWhole()
    _ = try? file.content(from: file.description.totalBytes / 2, maxBytes: 1 << 10)
    let content = SnapshotContent(file)
    while let piece = try? content.next() { precondition(!piece.isEmpty, "a piece without bytes") }
  }
}
