// Owns what the model of authority says of grants as they are made: to somebody who asks, and to those who wait.
// Must never: take a grant for right because the state made it.
// Invariant: after each entry nobody waits whose turn it is.

import CoordinationCore
import RaftCore

extension AuthorityModel {
  // MARK: Asking

  /// Whether a new number was given.
  mutating func acquired(_ request: AcquireRequest, _ judged: Case) throws(Broken) -> Bool {
    var request = request
    guard let session = holders[request.lease] else {
      // Whoever does not wait is told first of what stands in the way.
      if case .refused = judged.result.outcome, !request.waits { return false }
      throw wrong(judged, "an acquire on the dead lease \(request.lease) ended with \(judged.result.outcome)")
    }
    if request.holder.isEmpty { request.holder = session }
    let wanted = request.positions
    for position in wanted where own(position, request) != nil { noteAsked(position, request, judged) }
    switch judged.result.outcome {
    case .granted(let record): return try give([record], to: request, behind: nil, judged)
    case .grantedAll(let records): return try give(records, to: request, behind: nil, judged)
    case .queued(let ticket):
      guard request.waits, !isUpgrade(request) else { throw wrong(judged, "queued, who cannot wait") }
      guard !isOpen(wanted, to: request, behind: nil) else { throw wrong(judged, "queued for a scope that is free") }
      if let known = queue.first(where: { $0.request.isAgain(request) }) {
        guard known.ticket == ticket else { throw wrong(judged, "a retry got another place, \(ticket)") }
        for position in wanted { noteAsked(position, request, judged) }
      } else {
        guard ticket == judged.entry.index.rawValue else { throw wrong(judged, "ticket \(ticket) is another's") }
        queue.append(Place(ticket: ticket, request: request, scopes: wanted))
      }
    case .refused(let refusal):
      guard !isOpen(wanted, to: request, behind: nil), !request.waits || isUpgrade(request),
        isTrue(refusal, wanted)
      else { throw wrong(judged, "refused: \(refusal)") }
    default: throw wrong(judged, "an acquire ended with \(judged.result.outcome)")
    }
    return false
  }

  /// What the asker has already, and may go on with.
  private func own(_ position: Int, _ request: AcquireRequest) -> GrantRecord? {
    guard let hold = scopes[position].hold(of: request.lease), hold.holder == request.holder else { return nil }
    return hold.isShared && !request.wantsShare ? nil : hold
  }

  private mutating func noteAsked(_ position: Int, _ request: AcquireRequest, _ judged: Case) {
    scopes[position].asked[request.lease] = judged.entry.index.rawValue
  }

  private func isUpgrade(_ request: AcquireRequest) -> Bool {
    request.positions.contains { position in
      own(position, request) == nil && scopes[position].hold(of: request.lease)?.holder == request.holder
    }
  }

  /// Those who wait for the scope and came before.
  private func earlier(_ position: Int, than ticket: Ticket?) -> Place? {
    for place in queue {
      if place.ticket == ticket { return nil }
      if place.scopes.contains(position) { return place }
    }
    return nil
  }

  private func isOpen(_ wanted: [Int], to request: AcquireRequest, behind ticket: Ticket?) -> Bool {
    wanted.allSatisfy { position in
      if own(position, request) != nil { return true }
      return scopes[position].isFree(for: request) && scopes[position].closedUntil == 0
        && earlier(position, than: ticket) == nil
    }
  }

  private func isTrue(_ refusal: GrantRefusal, _ wanted: [Int]) -> Bool {
    switch refusal {
    case .held(let record): wanted.contains { scopes[$0].holds.contains(record) }
    case .closed(let until): wanted.contains { scopes[$0].closedUntil == until && until != 0 }
    case .awaited(let holder): wanted.contains { earlier($0, than: nil)?.request.holder == holder }
    case .notHolder, .unconfirmed: false
    }
  }

  // MARK: Giving

  private mutating func give(
    _ records: [GrantRecord], to request: AcquireRequest, behind ticket: Ticket?, _ judged: Case
  ) throws(Broken) -> Bool {
    guard records.map({ Self.position(of: $0.scope) }) == request.positions else {
      throw Broken(
        "scopes asked for together are granted together",
        "\(judged.entry.index) grants \(records.count) of \(request.positions.count) scopes to \(request.holder)")
    }
    var takesRevision = false
    for record in records {
      let position = Self.position(of: record.scope)
      if let own = own(position, request) {
        guard own == record else { throw wrong(judged, "\(request.holder) has scope \(position) under \(own.number)") }
      } else if try give(record, at: position, to: request, behind: ticket, judged) {
        takesRevision = true
      }
    }
    return takesRevision
  }

  private mutating func give(
    _ record: GrantRecord, at position: Int, to request: AcquireRequest, behind ticket: Ticket?, _ judged: Case
  ) throws(Broken) -> Bool {
    let known = scopes[position]
    if known.closedUntil != 0 { throw early(position, judged) }
    if let earlier = earlier(position, than: ticket) {
      throw Broken(
        "nobody who came later passes by",
        "\(judged.entry.index) grants scope \(position) to \(request.holder) before \(earlier.request.holder), who waits "
          + "with ticket \(earlier.ticket)")
    }
    guard known.isFree(for: request), record.isShared == request.wantsShare else {
      throw Broken(
        "a scope has one holder",
        "\(judged.entry.index) grants scope \(position) to \(record.holder) under \(record.number) while "
          + "\(known.holds.map(\.holder)) hold it under \(known.lastNumber)")
    }
    guard record.holder == request.holder, record.lease == request.lease else {
      throw wrong(judged, "\(record.holder) is granted what \(request.holder) asked for")
    }
    let joins = !known.holds.isEmpty
    guard joins ? record.number == known.lastNumber : record.number == judged.revision,
      joins || record.number > known.lastNumber
    else {
      throw Broken(
        "numbers of a scope rise", "\(judged.entry.index) grants \(record.number) after \(known.lastNumber)")
    }
    let delay = request.terms?.lockDelayMilliseconds ?? 0
    let value = request.terms?.value ?? []
    scopes[position].holds.append(record)
    scopes[position].lastNumber = record.number
    scopes[position].lockDelayMilliseconds = joins ? max(delay, known.lockDelayMilliseconds) : delay
    if !joins || !value.isEmpty { scopes[position].value = value }
    return !joins
  }

  // MARK: Handing on

  /// Whether a new number was given.
  mutating func handOn(_ judged: Case, dismissed: [Ticket]) throws(Broken) -> Bool {
    var told: [Ticket] = []
    var takesRevision = false
    for notice in judged.result.notices {
      switch notice {
      case .granted(let ticket, let record):
        if try handOn([record], to: ticket, dismissed, judged) { takesRevision = true }
      case .grantedAll(let ticket, let records):
        if try handOn(records, to: ticket, dismissed, judged) { takesRevision = true }
      case .dismissed(let ticket): told.append(ticket)
      case .confirmed: break
      }
    }
    guard told.sorted() == dismissed.sorted() else {
      throw wrong(judged, "tickets \(dismissed) are over with their lease, \(told) are told so")
    }
    return takesRevision
  }

  private mutating func handOn(
    _ records: [GrantRecord], to ticket: Ticket, _ dismissed: [Ticket], _ judged: Case
  ) throws(Broken) -> Bool {
    guard let position = queue.firstIndex(where: { $0.ticket == ticket }) else {
      if dismissed.contains(ticket) {
        throw Broken("a dead waiter never wins", "\(judged.entry.index) grants a scope to \(records.map(\.holder))")
      }
      throw wrong(judged, "ticket \(ticket) is granted, and nobody has it")
    }
    let place = queue[position]
    let takesRevision = try give(records, to: place.request, behind: ticket, judged)
    queue.removeAll { $0.ticket == ticket }
    return takesRevision
  }

  private func compareQueues(_ judged: Case) throws(Broken) {
    for place in queue where isOpen(place.scopes, to: place.request, behind: place.ticket) {
      throw wrong(judged, "ticket \(place.ticket) waits, and it is its turn: \(described)")
    }
  }

  private var described: String {
    let waiting = queue.map { place in
      "\(place.ticket) of \(place.request.lease) for \(place.scopes)\(place.request.wantsShare ? " shared" : "")"
    }
    let held = scopes.enumerated().filter { !$1.holds.isEmpty }.map { "\($0) held by \($1.holds.map(\.lease))" }
    return (waiting + held).joined(separator: ", ")
  }

  // MARK: Comparing

  /// What the entry left behind is what the model has.
  func compare(_ state: Coordination, _ judged: Case) throws(Broken) {
    for key in judged.result.touched {
      let position = Self.position(of: key)
      let known = scopes[position]
      guard let found = state.scopes[key] else { throw wrong(judged, "scope \(position) is not there") }
      if found.isClosed, known.closedUntil == 0, case .closeSession = judged.command {
        throw Broken(
          "a closed session releases at once",
          "\(judged.entry.index) closes scope \(position) until \(found.closedUntilMilliseconds)")
      }
      let holds = (found.holder.map { [$0] } ?? []) + found.sharing
      guard holds == known.holds.sorted(by: { $0.lease < $1.lease }), found.lastNumber == known.lastNumber,
        found.closedUntilMilliseconds == known.closedUntil, found.value == known.value,
        found.waiting.map(\.ticket) == queue.filter({ $0.scopes.contains(position) }).map(\.ticket)
      else { throw wrong(judged, "scope \(position) is in another state than it should be: \(holds)") }
    }
    try compareQueues(judged)
  }
}

extension AcquireRequest {
  /// Asks for what the other one waits for already.
  fileprivate func isAgain(_ other: AcquireRequest) -> Bool {
    lease == other.lease && holder == other.holder && scope == other.scope && terms == other.terms
  }
}
