// The records of the log's tree and of its journal. A sum stands before each, which no fuzzer guesses, so that it is put
// right first in most cases.

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

/// The bytes become a journal of records, with the right length, sequence and sum unless a choice says otherwise.
@Sendable func feedJournal(_ bytes: [UInt8]) {
  var choices = Choices(bytes)
  let settled = UInt64(choices.byte() & 3)
  var sequence = settled
  var content: [UInt8] = []
  while !choices.isAtEnd, content.count < 1 << 14 {
    let mode = choices.byte()
    let stretch = choices.stretch()
    if mode & 7 == 7 {
      content += stretch
      continue
    }
    sequence = mode & 0x38 == 0x38 ? UInt64(choices.byte()) : sequence + 1
    content += StoredRecord.journalRecord(body: stretch, sequence: sequence)
  }
  guard let records = try? StoredRecord.readJournal(content, after: settled) else { return }
  for (place, record) in records.enumerated() {
    precondition(record.sequence == settled + UInt64(place) + 1, "a sequence is not its predecessor's next")
  }
}
