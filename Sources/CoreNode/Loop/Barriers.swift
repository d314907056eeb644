// Fence before grant: a holder is told of its grant when every gateway that protects its scopes has made the raise durable.
//
// The state has the grant already, and which gateways have yet to confirm. This is about telling: who waits here to be told,
// for how long, and what becomes of a grant that was never told because a gateway did not confirm in time.
//
// Must never: tell a holder that requires the barrier of a grant that is not confirmed, or leave it with that grant.

import CoordinationCore
import LogStorage

/// Grants that were made and are not told yet.
struct BarrierTable {
  struct Held {
    let completion: Completion
    let outcome: Outcome
    let records: [GrantRecord]
    let barrier: GrantTerms.Barrier
    let endsAtNanoseconds: UInt64
    /// The entry by which this caller asked.
    let since: Ticket
    /// The grant was made for this caller, and not met by it.
    let isNew: Bool
  }

  private(set) var held: [Held] = []

  var isEmpty: Bool { held.isEmpty }

  mutating func add(_ item: Held) { held.append(item) }

  mutating func remove(where isDone: (Held) -> Bool) -> [Held] {
    guard !held.isEmpty else { return [] }
    let done = held.filter(isDone)
    if !done.isEmpty { held.removeAll(where: isDone) }
    return done
  }
}

extension GrantTerms {
  /// How long a holder waits for the gateways if it does not say.
  var patienceMilliseconds: Int64 {
    if barrierMilliseconds > 0 { return barrierMilliseconds }
    return barrier == .required ? 5000 : 1000
  }
}

extension Outcome {
  /// The grants that an acquire ended with.
  var grants: [GrantRecord] {
    switch self {
    case .granted(let record): [record]
    case .grantedAll(let records): records
    default: []
    }
  }
}

extension CoreLoop {
  /// Tells the caller of an acquire how it ended, or has it wait for the gateways.
  /// - Parameter isNew: whether the grant was made by the very entry that is being applied.
  func tell(
    _ completion: Completion, _ outcome: Outcome, terms: GrantTerms?, since: Ticket, isNew: Bool,
    timeline: Int? = nil
  ) {
    let terms = terms ?? GrantTerms()
    let grants = outcome.grants
    guard state.gateways.count > 0, terms.barrier != .off, grants.contains(where: { isUnconfirmed($0) }) else {
      return answer(completion, outcome, timeline: timeline)
    }
    let patience = UInt64(terms.patienceMilliseconds) * 1_000_000
    barriers.add(
      BarrierTable.Held(
        completion: completion, outcome: outcome, records: grants, barrier: terms.barrier,
        endsAtNanoseconds: MachineClock.monotonicNanoseconds + patience, since: since, isNew: isNew))
  }

  private func isUnconfirmed(_ grant: GrantRecord) -> Bool { !state.gateways.missing(for: grant.scope).isEmpty }

  /// A raise of the scope was the last that was waited for.
  func settleBarriers(of scope: Key) {
    let done = barriers.remove { held in
      held.records.contains { $0.scope == scope } && !held.records.contains { isUnconfirmed($0) }
    }
    for held in done { finish(held) }
  }

  /// The state became another one: what was confirmed on the way is in it.
  func settleAllBarriers() {
    for held in barriers.remove(where: { held in !held.records.contains { isUnconfirmed($0) } }) { finish(held) }
  }

  private func finish(_ held: BarrierTable.Held) {
    // Its lease may have ended while the gateways were asked.
    let current = held.records.allSatisfy { state.scopes[$0.scope]?.grant(of: $0.lease)?.number == $0.number }
    let lost = Outcome.waitEnded(holder: held.records.first.flatMap { state.scopes[$0.scope]?.foremost })
    answer(held.completion, current ? held.outcome : lost)
  }

  func endBarriers(nowNanoseconds now: UInt64) {
    guard !barriers.isEmpty else { return }
    for held in barriers.remove(where: { $0.endsAtNanoseconds <= now }) {
      changedSincePublication = true
      guard held.barrier == .required, let first = held.records.first(where: { isUnconfirmed($0) }) else {
        finish(held)
        continue
      }
      // This caller was never told. One that asked again may have been, by another node: then it stays.
      if held.isNew { for record in held.records { propose(.giveBack(record, since: held.since)) } }
      let missing = Set(held.records.flatMap { state.gateways.missing(for: $0.scope) }).sorted()
      let names = missing.map { String(decoding: $0.bytes, as: UTF8.self) }
      answer(held.completion, .refused(.unconfirmed(first, missing: names)))
    }
    // There is no other turn before the next tick that would tell them.
    publish()
  }
}
