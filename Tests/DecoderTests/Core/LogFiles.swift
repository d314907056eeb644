// The records of the log's tree, its journal and its snapshots. A sum stands before each, which no fuzzer guesses, so that
// it is put right first in most cases.

import Glibc
import LogStorage
import RaftCore

@Sendable func feedRecords(_ bytes: [UInt8]) {
  var choices = Choices(bytes)
  let kind = choices.byte()
  let isSealed = choices.byte() & 7 != 0
  let index = UInt64(choices.byte())
  guard let record = StoredRecord(rawValue: kind % UInt8(StoredRecord.allCases.count)) else { return }
  record.read(choices.remainder(), at: Index(index), isSealedFirst: isSealed)
}

/// The bytes become a journal of records, with the right length, sequence and sums unless a choice says otherwise.
@Sendable func feedJournal(_ bytes: [UInt8]) {
  var choices = Choices(bytes)
  let first = choices.byte()
  let settled = UInt64(first & 3)
  var sequence = settled
  var content: [UInt8] = []
  while !choices.isAtEnd, content.count < 1 << 14 {
    let mode = choices.byte()
    if mode & 7 == 7 {
      content += choices.stretch()
      continue
    }
    sequence = mode & 0x38 == 0x38 ? UInt64(choices.byte()) : sequence &+ 1
    let fields = choices.bytes(32)
    var record = StoredRecord.journalRecord(sequence: sequence, fields: fields, body: choices.stretch())
    // A bit of the body turns: then the head alone is whole.
    if mode & 0x40 != 0, record.count > 56 { record[record.count - 1] ^= 1 }
    content += record
  }
  StoredRecord.readJournal(content, after: first & 4 == 0 ? settled : nil, end: Index(UInt64(first >> 3)))
}

/// Files live in memory: this one is written anew for each input.
@Sendable func feedSnapshots(_ bytes: [UInt8]) {
  var content = Array(bytes.dropFirst())
  if bytes.first.map({ $0 & 7 != 0 }) ?? false { StoredRecord.sealSnapshot(&content) }
  let path = "/dev/shm/portcullis-fuzz-\(getpid())"
  let descriptor = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
  guard descriptor >= 0 else { return }
  defer { close(descriptor) }
  defer { unlink(path) }
  guard pwrite(descriptor, content, content.count, 0) == content.count else { return }
  StoredRecord.readSnapshot(at: path)
}
