// Who waits for what: requests whose entries are on their way, and acquires whose turn has not come.

import CoordinationCore
import RaftCore

/// Requests of this node that are in the log or on their way to it.
struct PendingRequests {
  private var completions: [UInt64: Completion] = [:]
  /// Callers who stopped waiting before their request was applied: most of the time there are none.
  private var ends: [UInt64: WaitEnd] = [:]
  /// In the order in which they came, which is the order of their deadlines, since all have the same time.
  private var deadlines: [(id: UInt64, nanoseconds: UInt64)] = []
  private var firstDeadline = 0
  /// Commands whose term is not noted yet, and those that were proposed in each term, by rising terms. What was answered
  /// since is still among them.
  private var fresh: [UInt64] = []
  private var proposed: [(term: Term, ids: [UInt64])] = []

  /// Notes that a command is handed to Raft in the step that follows.
  mutating func willPropose(_ id: UInt64) { fresh.append(id) }

  /// Called behind each step with the term in which it ended: what it proposed was proposed in this term or an earlier one.
  mutating func didStep(in term: Term) {
    guard !fresh.isEmpty else { return }
    if proposed.last?.term == term {
      proposed[proposed.count - 1].ids += fresh
      // In a term that lasts, what was answered must not gather.
      if proposed[proposed.count - 1].ids.count > 4096 + 2 * completions.count {
        proposed[proposed.count - 1].ids.removeAll { completions[$0] == nil }
      }
    } else {
      proposed.append((term, fresh))
    }
    fresh.removeAll(keepingCapacity: true)
  }

  /// Takes out the commands that were proposed before `term`, of which an entry is applied. A proposal counts only in the
  /// term in which it was made, and terms rise along the log: none of these can be applied any more.
  mutating func removeLost(before term: Term) -> [Completion] {
    var lost: [Completion] = []
    while let first = proposed.first, first.term < term {
      proposed.removeFirst()
      for id in first.ids { if let completion = completions.removeValue(forKey: id) { lost.append(completion) } }
    }
    return lost
  }

  var count: Int { completions.count }

  mutating func add(_ id: UInt64, _ completion: Completion, deadlineNanoseconds: UInt64) {
    completions[id] = completion
    deadlines.append((id, deadlineNanoseconds))
  }

  mutating func remove(_ id: UInt64) -> Completion? {
    if !ends.isEmpty { ends[id] = nil }
    return completions.removeValue(forKey: id)
  }

  /// Notes that the caller stops waiting, for when the request is applied and turns out to have to wait.
  mutating func noteEnd(of id: UInt64, _ end: WaitEnd) {
    // Whoever went away for good does not come back to wait out a deadline.
    if completions[id] != nil, ends[id] != .abandoned { ends[id] = end }
  }

  func end(of id: UInt64) -> WaitEnd? { ends.isEmpty ? nil : ends[id] }

  /// Takes out one request whose time is over.
  mutating func removeOverdue(nowNanoseconds: UInt64) -> Completion? {
    while firstDeadline < deadlines.count {
      let next = deadlines[firstDeadline]
      let isSettled = completions[next.id] == nil
      guard isSettled || next.nanoseconds <= nowNanoseconds else { break }
      firstDeadline += 1
      if firstDeadline > 4096, firstDeadline * 2 > deadlines.count {
        deadlines.removeFirst(firstDeadline)
        firstDeadline = 0
      }
      if let overdue = remove(next.id) { return overdue }
    }
    return nil
  }

  mutating func removeAll() -> [UInt64: Completion] {
    defer { completions = [:]; ends = [:] }
    return completions
  }
}

/// Why a caller stops waiting for its turn.
enum WaitEnd: Sendable {
  /// Its time is over; it still wants an answer.
  case deadline
  /// It went away: if its turn has come meanwhile, the grant is given back.
  case abandoned
}

struct Wait {
  let request: UInt64
  let scope: Key
  let holder: String
  let lease: LeaseID
  let terms: GrantTerms?
  /// The entry by which this caller asked.
  let since: Ticket
  let completion: Completion
  var isAbandoned = false
}

/// Callers of this node that queue for a scope. A retry shares the place of the call before, so a place may have
/// several callers.
struct WaitTable {
  private var byTicket: [Ticket: [Wait]] = [:]
  private var ticketOfRequest: [UInt64: Ticket] = [:]

  mutating func add(_ ticket: Ticket, _ wait: Wait) {
    byTicket[ticket, default: []].append(wait)
    ticketOfRequest[wait.request] = ticket
  }

  mutating func remove(_ ticket: Ticket) -> [Wait] {
    let waits = byTicket.removeValue(forKey: ticket) ?? []
    for wait in waits { ticketOfRequest[wait.request] = nil }
    return waits
  }

  enum Ended {
    /// Nobody else waits at the place: it is to be given up.
    case place(Ticket, scope: Key)
    /// Others go on waiting at it: only this caller has left.
    case caller(Wait)
  }

  /// Notes that a caller stops waiting; nil if it does not wait.
  mutating func end(_ request: UInt64, _ end: WaitEnd) -> Ended? {
    guard let ticket = ticketOfRequest[request], var waits = byTicket[ticket],
      let place = waits.firstIndex(where: { $0.request == request })
    else { return nil }
    if waits.contains(where: { $0.request != request && !$0.isAbandoned }) {
      ticketOfRequest[request] = nil
      defer { byTicket[ticket] = waits }
      return .caller(waits.remove(at: place))
    }
    if end == .abandoned { waits[place].isAbandoned = true }
    byTicket[ticket] = waits
    return .place(ticket, scope: waits[place].scope)
  }

  /// Every place that is waited for, with its scope.
  var places: [(ticket: Ticket, scope: Key)] {
    byTicket.compactMap { ticket, waits in waits.first.map { (ticket, $0.scope) } }
  }

  mutating func removeAll() -> [Completion] {
    defer { byTicket = [:]; ticketOfRequest = [:] }
    return byTicket.values.joined().map(\.completion)
  }
}
