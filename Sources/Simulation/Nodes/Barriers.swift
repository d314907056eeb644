// Owns how a node tells a contender of its grant: at once, or when every gateway has confirmed, or not at all.
// Must never: tell one that requires the barrier of a grant that is not confirmed, or leave it with that grant.
// Invariant: it goes by its own state, as a real node does.

import CoordinationCore
import RaftCore

/// A grant that was made and is not told yet.
struct HeldAnswer {
  let operation: UInt64
  let outcome: Outcome
  let records: [GrantRecord]
  let isRequired: Bool
  /// In real time.
  let endsAt: UInt64
  /// The grant was made for this request, and not met by it.
  let isNew: Bool
}

extension Outcome {
  fileprivate var records: [GrantRecord] {
    switch self {
    case .granted(let record): [record]
    case .grantedAll(let records): records
    default: []
    }
  }
}

extension Simulator {
  /// Answers, or holds the answer back.
  mutating func tell(
    _ id: UInt64, _ outcome: Outcome, at node: SimulatedNode, isNew: Bool, revision: Revision? = nil
  ) throws(Broken) {
    let records = outcome.records
    guard let request = acquires[id], !records.isEmpty else {
      return try answer(id, outcome, at: node.applied, revision: revision)
    }
    let barrier = request.terms?.barrier ?? .required
    guard barrier != .off, options.plantedBug != .barrierNotAwaited, isAnyUnconfirmed(records, node) else {
      return try tellNow(id, outcome, records, isRequired: barrier == .required, at: node)
    }
    reach(.barrierAwaited)
    let patience = UInt64(request.terms?.barrierMilliseconds ?? 0)
    node.held.append(
      HeldAnswer(
        operation: id, outcome: outcome, records: records, isRequired: barrier == .required,
        endsAt: now + (patience > 0 ? patience : contention.ttlMilliseconds) * 1000, isNew: isNew))
  }

  private func isAnyUnconfirmed(_ records: [GrantRecord], _ node: SimulatedNode) -> Bool {
    records.contains { !node.state.gateways.missing(for: $0.scope).isEmpty }
  }

  private mutating func tellNow(
    _ id: UInt64, _ outcome: Outcome, _ records: [GrantRecord], isRequired: Bool, at node: SimulatedNode
  ) throws(Broken) {
    if isRequired {
      for record in records {
        try checker.state.barrier.told(
          record.number, scope: Self.contended(record.scope), at: node.applied, gateways: protectors)
      }
    }
    try answer(id, outcome, at: node.applied)
  }

  /// Raises were confirmed, or gateways retired, or the state became another one.
  mutating func settleHeld(at node: SimulatedNode) throws(Broken) {
    guard !node.held.isEmpty else { return }
    let done = node.held.filter { !isAnyUnconfirmed($0.records, node) }
    guard !done.isEmpty else { return }
    node.held.removeAll { !isAnyUnconfirmed($0.records, node) }
    for held in done { try finish(held, at: node) }
  }

  private mutating func finish(_ held: HeldAnswer, at node: SimulatedNode) throws(Broken) {
    // Its lease may have ended while the gateways were asked.
    let isCurrent = held.records.allSatisfy { record in
      node.state.scopes[record.scope]?.grant(of: record.lease)?.number == record.number
    }
    guard isCurrent else {
      reach(.lostBehindBarrier)
      return try answer(held.operation, .waitEnded(holder: nil), at: node.applied)
    }
    let isConfirmed = !isAnyUnconfirmed(held.records, node)
    if isConfirmed { reach(.barrierPassed) }
    try tellNow(
      held.operation, held.outcome, held.records, isRequired: held.isRequired && isConfirmed, at: node)
  }

  /// Whoever is held for too long is told that, and its grant is given back.
  mutating func endHeld(at node: SimulatedNode) throws(Broken) {
    guard !node.held.isEmpty else { return }
    let over = node.held.filter { $0.endsAt <= now }
    guard !over.isEmpty else { return }
    node.held.removeAll { $0.endsAt <= now }
    for held in over {
      let unconfirmed = held.records.first { !node.state.gateways.missing(for: $0.scope).isEmpty }
      guard held.isRequired, let unconfirmed else {
        reach(.toldUnconfirmed)
        try finish(held, at: node)
        continue
      }
      reach(.barrierTimedOut)
      trace.record(
        .note("\(node.id) gives back what was not confirmed: \(held.records.count) scopes under \(unconfirmed.number)"),
        at: now)
      if held.isNew {
        let since = operations[held.operation].committedAt.rawValue
        for record in held.records {
          let giveBack = Command.giveBack(
            scope: record.scope, number: record.number, lease: record.lease, since: since)
          proposeHousekeeping(giveBack, at: node)
        }
      }
      let missing = held.records.flatMap { node.state.gateways.missing(for: $0.scope) }
      let names = missing.map { String(decoding: $0.bytes, as: UTF8.self) }
      try answer(held.operation, .refused(.unconfirmed(unconfirmed, missing: names)), at: node.applied)
    }
  }
}
