// Owns what leases, scopes and queues must be after each entry, by a model that only sees requests and outcomes.
// Must never: look into the state that it judges.
// Invariants: a scope has at most one holder; its numbers rise for ever; whoever queued first is granted first.

import CoordinationCore
import RaftCore

struct AuthorityModel {
  private struct Place {
    var ticket: Ticket
    var lease: LeaseID
  }

  private struct Scope {
    var holder: GrantRecord?
    var lastNumber: Revision = 0
    var queue: [Place] = []
  }

  private var scopes: [Scope] = []
  private(set) var liveLeases: Set<LeaseID> = []

  /// Where the last byte of a scope's name says which one it is.
  static func position(of scope: Key) -> Int { Int(scope.bytes.last ?? 0) - 0x30 }

  /// Whether the entry takes a revision, which would be this one.
  mutating func judge(
    _ entry: Entry, _ command: Command, _ result: Applied, revision: Revision
  ) throws(Broken) -> Bool {
    var takesRevision = false
    switch result.outcome {
    case .leaseGranted(let id, _): liveLeases.insert(id)
    case .leaseRenewed(let id, _):
      guard liveLeases.contains(id) else { throw wrong(entry, "lease \(id) is renewed after its end") }
    case .leaseEnded(let id):
      guard liveLeases.remove(id) != nil else { throw wrong(entry, "lease \(id) ends twice") }
      try end(id, entry, result)
    case .granted(let record): takesRevision = try grant(record, command, entry, revision: revision)
    case .queued(let ticket): try queue(ticket, command, entry)
    case .released(let record):
      let position = Self.position(of: record.scope)
      guard scope(position).holder == record else { throw wrong(entry, "released what was not held") }
      scopes[position].holder = nil
    case .waitEnded:
      if case .cancelWait(let scope, let ticket) = command {
        let position = Self.position(of: scope)
        _ = self.scope(position)
        scopes[position].queue.removeAll { $0.ticket == ticket }
      }
    default: break
    }
    for case .granted(let ticket, let record) in result.notices {
      try handOn(ticket, record, entry, revision: revision)
      takesRevision = true
    }
    return takesRevision
  }

  private mutating func scope(_ position: Int) -> Scope {
    while scopes.count <= position { scopes.append(Scope()) }
    return scopes[position]
  }

  private mutating func end(_ lease: LeaseID, _ entry: Entry, _ result: Applied) throws(Broken) {
    for position in scopes.indices {
      if scopes[position].holder?.lease == lease { scopes[position].holder = nil }
      for waiter in scopes[position].queue where waiter.lease == lease {
        guard result.notices.contains(.dismissed(waiter.ticket)) else {
          throw wrong(entry, "ticket \(waiter.ticket) stays queued after its lease")
        }
      }
      scopes[position].queue.removeAll { $0.lease == lease }
    }
  }

  private mutating func grant(
    _ record: GrantRecord, _ command: Command, _ entry: Entry, revision: Revision
  ) throws(Broken) -> Bool {
    let position = Self.position(of: record.scope)
    let before = scope(position)
    if before.holder == record { return false }
    try take(record, entry, revision: revision)
    if case .acquire(let request) = command, request.ttlMilliseconds > 0 { liveLeases.insert(request.lease) }
    return true
  }

  private mutating func take(_ record: GrantRecord, _ entry: Entry, revision: Revision) throws(Broken) {
    let position = Self.position(of: record.scope)
    if let holder = scopes[position].holder {
      throw Broken(
        "a scope has one holder",
        "\(entry.index) grants it under \(record.number) while \(holder.holder) holds it under \(holder.number)")
    }
    guard record.number > scopes[position].lastNumber, record.number == revision else {
      throw Broken(
        "numbers of a scope rise", "\(entry.index) grants \(record.number) after \(scopes[position].lastNumber)")
    }
    scopes[position].holder = record
    scopes[position].lastNumber = record.number
  }

  private mutating func handOn(
    _ ticket: Ticket, _ record: GrantRecord, _ entry: Entry, revision: Revision
  ) throws(Broken) {
    let position = Self.position(of: record.scope)
    guard let first = scope(position).queue.first, first.ticket == ticket, first.lease == record.lease else {
      throw wrong(entry, "ticket \(ticket) is granted out of its turn")
    }
    scopes[position].queue.removeFirst()
    try take(record, entry, revision: revision)
  }

  private mutating func queue(_ ticket: Ticket, _ command: Command, _ entry: Entry) throws(Broken) {
    guard case .acquire(let request) = command else { throw wrong(entry, "queued without an acquire") }
    let position = Self.position(of: request.scope)
    let known = scope(position)
    guard known.holder != nil else { throw wrong(entry, "queued for a scope that is free") }
    if let waiter = known.queue.first(where: { $0.ticket == ticket }) {
      guard waiter.lease == request.lease else { throw wrong(entry, "ticket \(ticket) is another's") }
      return
    }
    scopes[position].queue.append(Place(ticket: ticket, lease: request.lease))
  }

  private func wrong(_ entry: Entry, _ what: String) -> Broken {
    Broken("authority is that of the model", "\(entry.index): \(what)")
  }
}
