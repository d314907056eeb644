// Owns what is still known of format 1: its journal, which is read once, when a log of that format is opened and
// brought up to date. Nothing is ever written in it.
//
// Its records: magic 4 │ bytes of the whole record 4 │ sequence 8 │ crc 4 │ zero 4 │ has term 1 │ has vote 1 │ zero 6 │
// term 8 │ voted for 8 │ entries as today's. The crc is over the record with the crc's own bytes as zero.
//
// It must never guess: a record of it that is damaged with a whole one behind it may have hidden a vote, so it is
// refused, as it was then.

import RaftCore

extension Journal {
  private static let firstMagic: UInt32 = 0x4C4E_524A
  private static let firstHeadBytes = 48

  func findingsInFirstFormat(after settled: UInt64) throws(StorageError) -> JournalFindings {
    var findings = JournalFindings(newestSequence: settled)
    let later = try wholeFile().withUnsafeBytes { bytes -> UInt64? in
      var position = 0
      while let found = Self.firstRecord(in: bytes, at: position), found.sequence == findings.newestSequence + 1 {
        findings.newestSequence = found.sequence
        findings.hardState = found.hardState ?? findings.hardState
        findings.entries += found.entries
        position = found.end
      }
      while position + Self.firstHeadBytes <= bytes.count {
        if let found = Self.firstRecord(in: bytes, at: position), found.sequence > findings.newestSequence + 1 {
          return found.sequence
        }
        position += 8
      }
      return nil
    }
    if let later {
      throw .corruptFile(
        reason: "the journal has record \(later) whole and record \(findings.newestSequence + 1), written before it, "
          + "damaged, in a format that does not tell what was in it")
    }
    findings.lastIndex = findings.entries.last?.index
    return findings
  }

  private static func firstRecord(
    in bytes: UnsafeRawBufferPointer, at position: Int
  ) -> (sequence: UInt64, hardState: HardState?, entries: [Entry], end: Int)? {
    guard position + firstHeadBytes <= bytes.count, bytes.integer(at: position) == firstMagic else { return nil }
    let length = Int(bytes.integer(at: position + 4) as UInt32)
    guard length >= firstHeadBytes, length % 8 == 0, position + length <= bytes.count else { return nil }
    let record = UnsafeRawBufferPointer(rebasing: bytes[position..<(position + length)])
    var sum = CRC32C.checksum(UnsafeRawBufferPointer(rebasing: record[..<16]))
    sum = withUnsafeBytes(of: UInt32(0)) { CRC32C.checksum($0, continuing: sum) }
    sum = CRC32C.checksum(UnsafeRawBufferPointer(rebasing: record[20...]), continuing: sum)
    guard sum == record.integer(at: 16),
      let entries = entries(in: UnsafeRawBufferPointer(rebasing: record[firstHeadBytes...]))
    else { return nil }
    let flags: UInt64 = record.integer(at: 24)
    let vote = NodeID(record.integer(at: 40))
    let hardState = HardState(term: Term(record.integer(at: 32)), votedFor: flags >> 8 & 1 != 0 ? vote : nil)
    return (record.integer(at: 8), flags & 1 != 0 ? hardState : nil, entries, position + length)
  }
}
