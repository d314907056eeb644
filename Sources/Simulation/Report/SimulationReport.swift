// Owns what a run gives back.
// Must never: hold a time or a number that is not of the simulated world.
// Invariant: two runs of one seed give equal reports.

package import RaftCore

/// A rule that did not hold.
package struct Violation: Sendable, Equatable {
  package var rule: String
  package var detail: String
  package var atMicroseconds: UInt64
  /// What happened last, oldest first.
  package var lastEvents: [String]

  package init(rule: String, detail: String, atMicroseconds: UInt64, lastEvents: [String]) {
    self.rule = rule
    self.detail = detail
    self.atMicroseconds = atMicroseconds
    self.lastEvents = lastEvents
  }
}

package struct SimulationReport: Sendable, Equatable {
  package var seed: UInt64
  /// Voters at the beginning.
  package var nodeCount: Int
  /// Of everything that happened: two runs of one seed must agree in it.
  package var digest: UInt64
  package var events: UInt64
  package var simulatedMicroseconds: UInt64
  /// How often each kind fired; by raw value.
  package var faults: [Int]
  /// How often each state was reached; by raw value.
  package var milestones: [Int]
  package var elections: Int
  package var lastTerm: Term
  package var committedEntries: Int
  package var operationsAcknowledged: Int
  package var operationsRefused: Int
  package var operationsUnknown: Int
  package var readsServed: Int
  package var gatewayAccepted: Int
  package var gatewayRefused: Int
  package var watchEvents: Int
  /// Requests with a known end in the histories that the independent checker judged.
  package var historyOperations: Int
  package var historiesUndecided: Int
  package var violation: Violation?

  package func count(_ kind: FaultKind) -> Int { faults[kind.rawValue] }
  package func count(_ milestone: Milestone) -> Int { milestones[milestone.rawValue] }
}

extension Simulator {
  mutating func report(_ violation: Violation?) -> SimulationReport {
    milestones[Milestone.outcomeUnknown.rawValue] += operations.unknown
    milestones[Milestone.unknownButApplied.rawValue] += operations.unknownButApplied
    return SimulationReport(
      seed: seed, nodeCount: world.nodeCount, digest: digest, events: eventCount, simulatedMicroseconds: now,
      faults: faultCounts, milestones: milestones, elections: checker.log.elections, lastTerm: checker.log.lastTerm,
      committedEntries: checker.log.committed.count, operationsAcknowledged: operations.acknowledged,
      operationsRefused: operations.refused, operationsUnknown: operations.unknown, readsServed: readsServed,
      gatewayAccepted: gatewayAccepted, gatewayRefused: gatewayRefused, watchEvents: watchEvents,
      historyOperations: history.completed, historiesUndecided: historiesUndecided, violation: violation)
  }
}
