// Owns a short sum of what an entry did, by which nodes are compared at every index.
// Must never: depend on the order of a set or a dictionary, or on a hash with a random seed.
// Invariant: outcomes that differ in kind, revision, number, holder or count differ in it, but for chance.

import CoordinationCore

extension Applied {
  func fingerprint(revision: Revision) -> UInt64 {
    var sum = Fingerprint()
    sum.add(UInt64(bitPattern: revision))
    sum.add(isRepeat ? 1 : 0)
    sum.add(outcome)
    for notice in notices {
      switch notice {
      case .granted(let ticket, let record):
        sum.add(1 << 32 | ticket)
        sum.add(record)
      case .grantedAll(let ticket, let records):
        sum.add(3 << 32 | ticket)
        for record in records { sum.add(record) }
      case .dismissed(let ticket): sum.add(2 << 32 | ticket)
      case .confirmed(let scope, let number):
        sum.add(Checksum.of(scope.bytes))
        sum.add(UInt64(bitPattern: number))
      }
    }
    return sum.value
  }
}

private struct Fingerprint {
  var value: UInt64 = 0xCBF2_9CE4_8422_2325

  mutating func add(_ part: UInt64) {
    value = (value ^ part) &* 0x9E37_79B9_7F4A_7C15
    value ^= value >> 29
  }

  mutating func add(_ record: GrantRecord?) {
    guard let record else { return add(0) }
    add(UInt64(bitPattern: record.number))
    add(UInt64(bitPattern: record.lease))
    for byte in record.holder.utf8 { add(UInt64(byte)) }
  }

  mutating func add(_ outcome: Outcome) {
    switch outcome {
    case .put(let previous): addPlain(1, previous?.modRevision ?? 0)
    case .deleted(let count, let previous):
      addPlain(2, Int64(count))
      for version in previous { add(UInt64(bitPattern: version.modRevision)) }
    case .transaction(let result):
      addPlain(3, result.succeeded ? 1 : 0)
      for one in result.results { add(UInt64(bitPattern: one.revision)) }
    case .compacted: add(4)
    case .leaseGranted(let id, _): addPlain(5, id)
    case .leaseEnded(let id): addPlain(6, id)
    case .leaseRenewed(let id, _): addPlain(7, id)
    case .granted(let record): add(8); add(record)
    case .queued(let ticket): add(9); add(ticket)
    case .released(let record): add(10); add(record)
    case .waitEnded(let holder): add(11); add(holder)
    case .refused(.held(let record)): add(12); add(record)
    case .refused(.notHolder(let current, let last)): addPlain(13, last); add(current)
    case .grantedAll(let records): add(23); for record in records { add(record) }
    case .refused(.awaited(let holder)): add(24); for byte in holder.utf8 { add(UInt64(byte)) }
    case .refused(.closed(let until)): add(25); add(until)
    case .refused(.unconfirmed(let record, _)): add(26); add(record)
    case .proclaimed(let record): add(27); add(record)
    case .reopened(let wasClosed): addPlain(28, wasClosed ? 1 : 0)
    case .gatewayChanged(let isChanged): addPlain(29, isChanged ? 1 : 0)
    case .failed(let error): add(14); add(error)
    case .clientOpened(let id, _): add(15); add(id)
    case .clientEnded(let id): add(16); add(id)
    case .clockMarked: add(17)
    case .nodeRegistered: add(18)
    case .nodeForgotten: add(19)
    case .alarms(let alarms): add(20); add(UInt64(alarms.count))
    case .authChanged: add(21)
    case .authenticated(let index): add(22); add(index)
    }
  }

  private mutating func add(_ error: RequestError) {
    switch error {
    case .leaseNotFound(let id): addPlain(1, id)
    case .leaseExists(let id): addPlain(2, id)
    case .compacted(let asked, let compacted): addPlain(3, asked); addPlain(3, compacted)
    case .futureRevision(let asked, let current): addPlain(4, asked); addPlain(4, current)
    case .clientExpired(let client): add(5); add(client)
    default: add(Checksum.of(Array("\(error)".utf8)))
    }
  }

  private mutating func addPlain(_ kind: UInt64, _ rest: Int64) {
    add(kind)
    add(UInt64(bitPattern: rest))
  }
}
