// What the holders asked of the gateways and were told, and which grants they had: the material of the checks of rows.
//
// Invariant: a row is noted before it is sent. One without a final answer may be in the database or not, for ever.

import Synchronization

/// A row that a holder wanted to insert.
package struct ChaosRow: Sendable, Equatable {
  package enum Outcome: Sendable, Equatable {
    /// It may be there or not.
    case unknown
    case acknowledged
    /// Refused by the fence, at the first attempt: it must not be there.
    case refused
  }

  package let scope: Int
  package let number: Int64
  package let holder: Int
  package var outcome: Outcome

  package init(scope: Int, number: Int64, holder: Int, outcome: Outcome = .unknown) {
    self.scope = scope
    self.number = number
    self.holder = holder
    self.outcome = outcome
  }
}

/// A grant as its holder learned of it, on one monotonic clock.
package struct ChaosGrant: Sendable, Equatable {
  package let scope: Int
  package var number: Int64
  package let holder: Int
  package let invoked: UInt64
  package let returned: UInt64
  /// Whether gateways had confirmed the raise by then.
  package let isConfirmed: Bool

  package init(scope: Int, number: Int64, holder: Int, invoked: UInt64, returned: UInt64, isConfirmed: Bool) {
    self.scope = scope
    self.number = number
    self.holder = holder
    self.invoked = invoked
    self.returned = returned
    self.isConfirmed = isConfirmed
  }
}

/// Any task may use it.
package final class ChaosLedger: Sendable {
  package struct Contents: Sendable {
    /// By id, which is the place.
    package var rows: [ChaosRow] = []
    package var grants: [ChaosGrant] = []
    package var acknowledged = 0
    /// Refused by the fence.
    package var refused = 0
    /// Of those, rows whose number was known to be below the floor when they were sent.
    package var refusedStale = 0
    package var unknown = 0
    /// Answers that were kept from an earlier attempt.
    package var replayed = 0
    package var failedAcquisitions = 0
    package var pauses = 0
    package var problems: [String] = []
    /// Acknowledged of each scope.
    package var byScope: [Int]
    /// Of each scope, the highest number that its database is known to have been told of.
    fileprivate var floors: [Int64]
    fileprivate var isStopped = false
  }

  /// A row under way.
  struct Ticket: Sendable {
    let id: Int
    let floor: Int64
  }

  private let state: Mutex<Contents>

  init(scopes: Int) {
    let none = Array(repeating: 0, count: scopes)
    state = Mutex(Contents(byScope: none, floors: none.map(Int64.init)))
  }

  var contents: Contents { state.withLock { $0 } }
  var isStopped: Bool { state.withLock { $0.isStopped } }
  /// Whether something was taken that had to be refused.
  var hasProblems: Bool { state.withLock { !$0.problems.isEmpty } }
  func stop() { state.withLock { $0.isStopped = true } }
  func acknowledged(_ scope: Int) -> Int { state.withLock { $0.byScope[scope] } }

  func grant(_ grant: ChaosGrant) {
    state.withLock { state in
      state.grants.append(grant)
      if grant.isConfirmed { state.floors[grant.scope] = max(state.floors[grant.scope], grant.number) }
    }
  }

  func countFailedAcquisition() { state.withLock { $0.failedAcquisitions += 1 } }
  func countPause() { state.withLock { $0.pauses += 1 } }

  /// Notes a row that is about to be sent.
  func begin(_ row: ChaosRow) -> Ticket {
    state.withLock { state in
      state.rows.append(row)
      return Ticket(id: state.rows.count - 1, floor: state.floors[row.scope])
    }
  }

  /// - Parameter isReplayed: whether the answer is that of an earlier attempt, which may be told to anybody.
  func end(_ ticket: Ticket, _ outcome: ChaosRow.Outcome, isReplayed: Bool) {
    state.withLock { state in
      state.rows[ticket.id].outcome = outcome
      let row = state.rows[ticket.id]
      let isStale = row.number < ticket.floor
      switch outcome {
      case .unknown: state.unknown += 1
      case .refused:
        state.refused += 1
        if isStale { state.refusedStale += 1 }
      case .acknowledged:
        state.acknowledged += 1
        state.byScope[row.scope] += 1
        state.floors[row.scope] = max(state.floors[row.scope], row.number)
        if isReplayed {
          state.replayed += 1
        } else if isStale {
          state.problems.append(
            "row \(ticket.id) of number \(row.number) was taken when the floor of scope \(row.scope) was known to be"
              + " \(ticket.floor)")
        }
      }
    }
  }
}
