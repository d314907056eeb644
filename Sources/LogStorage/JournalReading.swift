// Owns what a journal is found to hold when a log is opened.
//
// It must never: take a torn last record for damage, since a power cut leaves one and nobody was told of it; take a
// damaged record for a torn one when anything shows that more was written behind it.
//
// What tells the two apart: a record is written only after the flush of the one before it has returned. So a record
// behind the first one that is not whole, or only a head of one, shows that the first one was acknowledged. An echo
// does not count for the record it echoes: both are in one write. A damaged record with nothing behind it looks just
// like a torn one and is cut as such; its hard state is told by head or echo, whichever is whole.

import Glibc
import RaftCore

/// What follows in the journal on what the tree has.
struct JournalFindings {
  /// Of the whole records, as far as they continue the log without a gap. A damaged record in between that held none
  /// does not keep them away.
  var entries: [Entry] = []
  /// The highest that any whole head has, or what the tree has taken.
  var newestSequence: UInt64
  /// The newest that any whole head shows.
  var hardState: HardState?
  /// The log's last index as the newest whole head shows it.
  var lastIndex: Index?
  /// A record that was acknowledged is not whole.
  var isDamaged = false
}

extension HardState {
  /// Whether this is what another one became later. A vote is never taken back within a term.
  func isNewer(than other: HardState) -> Bool {
    term > other.term || term == other.term && votedFor != nil && other.votedFor == nil
  }
}

extension Journal {
  /// Everything behind the record `settled`. With nil, where the tree's own note of it is lost, every head that there
  /// is.
  /// - Parameter end: the last index that the tree has.
  func findings(after settled: UInt64?, end: Index) throws(StorageError) -> JournalFindings {
    Self.findings(in: try wholeFile(), seed: sumSeed(), after: settled, end: end)
  }

  /// The same of a journal's bytes.
  static func findings(in bytes: [UInt8], seed: UInt32, after settled: UInt64?, end: Index) -> JournalFindings {
    bytes.withUnsafeBytes { bytes in
      var findings = JournalFindings(newestSequence: settled ?? 0)
      var position = 0
      if settled != nil {
        while let found = Found(in: bytes, at: position, seed: seed),
          found.head.sequence == findings.newestSequence + 1, let entries = found.entries
        {
          findings.take(found.head)
          findings.entries += entries
          position = found.end
        }
      }
      let expected = settled.map { _ in findings.newestSequence + 1 }
      while position + Self.headBytes <= bytes.count {
        guard let found = Found(in: bytes, at: position, seed: seed) else {
          position += 8
          continue
        }
        if let expected {
          let isEchoOfExpected = found.head.isEcho && found.head.sequence == expected + 1
          if found.head.sequence > expected, !isEchoOfExpected { findings.isDamaged = true }
          if found.head.sequence >= expected {
            if found.head.sequence > findings.newestSequence { findings.takeFollowing(found.entries, end: end) }
            findings.take(found.head)
          }
        } else {
          findings.take(found.head)
        }
        // A head alone is not believed about where the next record is.
        position = found.entries == nil ? position + 8 : found.end
      }
      return findings
    }
  }

  func wholeFile() throws(StorageError) -> [UInt8] {
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
    return bytes
  }
}

extension JournalFindings {
  fileprivate mutating func take(_ head: Journal.Head) {
    if head.sequence >= newestSequence {
      newestSequence = head.sequence
      lastIndex = head.lastIndex
    }
    if hardState.map({ head.hardState.isNewer(than: $0) }) ?? true { hardState = head.hardState }
  }
}

extension JournalFindings {
  /// Entries behind a gap in the records, if there is none in the log.
  fileprivate mutating func takeFollowing(_ new: [Entry]?, end: Index) {
    guard let new, new.first?.index == (entries.last?.index ?? end).next else { return }
    entries += new
  }
}

/// A record with a whole head.
private struct Found {
  var head: Journal.Head
  /// nil when they are not whole.
  var entries: [Entry]?
  var end: Int

  init?(in bytes: UnsafeRawBufferPointer, at position: Int, seed: UInt32) {
    guard position + Journal.headBytes <= bytes.count, bytes.integer(at: position) == Journal.magic else { return nil }
    let record = UnsafeRawBufferPointer(rebasing: bytes[position...])
    guard record.integer(at: 20) == Journal.headSum(record, seed: seed) else { return nil }
    let length = Int(record.integer(at: 4) as UInt32)
    let flags: UInt64 = record.integer(at: 24)
    let vote = NodeID(record.integer(at: 40))
    head = Journal.Head(
      sequence: record.integer(at: 8),
      hardState: HardState(
        term: Term(record.integer(at: 32)), votedFor: flags & Journal.hasVoteFlag == 0 ? nil : vote),
      lastIndex: Index(record.integer(at: 48)), isEcho: flags & Journal.echoFlag != 0)
    end = position + length
    guard length >= Journal.headBytes, length % 8 == 0, length <= record.count else { return }
    let body = UnsafeRawBufferPointer(rebasing: record[Journal.headBytes..<length])
    guard CRC32C.checksum(body, continuing: seed) == record.integer(at: 16) else { return }
    entries = Journal.entries(in: body)
  }
}

extension Journal {
  /// No log comes so far. Numbers beyond it would leave no room for the next one.
  private static let largest: UInt64 = 1 << 62

  /// The entries that lie one behind the other in `body`, or nil where something else does.
  static func entries(in body: UnsafeRawBufferPointer) -> [Entry]? {
    var entries: [Entry] = []
    var position = 0
    while position < body.count {
      guard position + entryBytes <= body.count,
        let kind = Entry.Kind(rawValue: UInt8(truncatingIfNeeded: body.integer(at: position + 24) as UInt32))
      else { return nil }
      let length = Int(body.integer(at: position + 28) as UInt32)
      let payload = position + entryBytes
      let (index, term): (UInt64, UInt64) = (body.integer(at: position), body.integer(at: position + 8))
      guard payload + length <= body.count, index <= largest, term <= largest else { return nil }
      entries.append(
        Entry(
          index: Index(index), term: Term(term),
          clockMilliseconds: body.integer(at: position + 16), kind: kind,
          payload: [UInt8](body[payload..<(payload + length)])))
      position = payload + padded(length)
    }
    return entries
  }
}
