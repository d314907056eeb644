// Owns the sums of many runs, and what they say as text and as JSON.
// Must never: leave out what was not reached: seeds alone say little.
// Invariant: the order in which reports are added changes nothing but `firstSeed`.

package struct SimulationSummary: Sendable {
  package private(set) var firstSeed: UInt64?
  package private(set) var seeds = 0
  package private(set) var events: UInt64 = 0
  package private(set) var simulatedMicroseconds: UInt64 = 0
  package private(set) var elections = 0
  package private(set) var committedEntries = 0
  package private(set) var operationsAcknowledged = 0
  package private(set) var operationsRefused = 0
  package private(set) var operationsUnknown = 0
  package private(set) var readsServed = 0
  package private(set) var gatewayAccepted = 0
  package private(set) var gatewayRefused = 0
  package private(set) var watchEvents = 0
  package private(set) var historyOperations = 0
  package private(set) var historiesUndecided = 0
  package private(set) var faults = Array(repeating: 0, count: FaultKind.allCases.count)
  package private(set) var milestones = Array(repeating: 0, count: Milestone.allCases.count)

  package init() {}

  package mutating func add(_ report: SimulationReport) {
    if firstSeed == nil { firstSeed = report.seed }
    seeds += 1
    events += report.events
    simulatedMicroseconds += report.simulatedMicroseconds
    elections += report.elections
    committedEntries += report.committedEntries
    operationsAcknowledged += report.operationsAcknowledged
    operationsRefused += report.operationsRefused
    operationsUnknown += report.operationsUnknown
    readsServed += report.readsServed
    gatewayAccepted += report.gatewayAccepted
    gatewayRefused += report.gatewayRefused
    watchEvents += report.watchEvents
    historyOperations += report.historyOperations
    historiesUndecided += report.historiesUndecided
    for kind in FaultKind.allCases { faults[kind.rawValue] += report.count(kind) }
    for milestone in Milestone.allCases { milestones[milestone.rawValue] += report.count(milestone) }
  }

  /// What a long run must have seen and has not.
  package var missing: [String] {
    FaultKind.allCases.filter { faults[$0.rawValue] == 0 }.map { "fault \($0)" }
      + Milestone.allCases.filter { milestones[$0.rawValue] == 0 }.map { "state \($0)" }
  }

  package var simulatedSeconds: Double { Double(simulatedMicroseconds) / 1e6 }

  private var figures: [(name: String, value: UInt64)] {
    [
      ("seeds", UInt64(seeds)), ("firstSeed", firstSeed ?? 0), ("events", events),
      ("simulatedMilliseconds", simulatedMicroseconds / 1000), ("elections", UInt64(elections)),
      ("committedEntries", UInt64(committedEntries)), ("operationsAcknowledged", UInt64(operationsAcknowledged)),
      ("operationsRefused", UInt64(operationsRefused)), ("operationsUnknown", UInt64(operationsUnknown)),
      ("readsServed", UInt64(readsServed)), ("gatewayAccepted", UInt64(gatewayAccepted)),
      ("gatewayRefused", UInt64(gatewayRefused)), ("watchEvents", UInt64(watchEvents)),
      ("historyOperations", UInt64(historyOperations)), ("historiesUndecided", UInt64(historiesUndecided)),
    ]
  }

  /// - Parameter wallSeconds: measured by the caller; this room has no clock.
  package func lines(wallSeconds: Double) -> [String] {
    var lines = figures.map { "\($0.name): \($0.value)" }
    lines.append("wall: \(Self.rounded(wallSeconds)) s")
    lines.append("events a second: \(Self.rounded(Double(events) / wallSeconds))")
    lines.append("simulated seconds a second: \(Self.rounded(simulatedSeconds / wallSeconds))")
    lines.append("simulated hours a core-hour: \(Self.rounded(simulatedSeconds / wallSeconds))")
    lines.append("faults: " + Self.list(FaultKind.allCases.map { ("\($0)", faults[$0.rawValue]) }))
    lines.append("states: " + Self.list(Milestone.allCases.map { ("\($0)", milestones[$0.rawValue]) }))
    if !missing.isEmpty { lines.append("never reached: " + missing.joined(separator: ", ")) }
    return lines
  }

  package func json(wallSeconds: Double, violation: (seed: UInt64, violation: Violation)?) -> String {
    var parts = figures.map { "\"\($0.name)\":\($0.value)" }
    parts.append("\"wallSeconds\":\(Self.rounded(wallSeconds))")
    parts.append("\"eventsPerSecond\":\(Self.rounded(Double(events) / wallSeconds))")
    parts.append("\"simulatedHoursPerCoreHour\":\(Self.rounded(simulatedSeconds / wallSeconds))")
    parts.append("\"faults\":" + Self.object(FaultKind.allCases.map { ("\($0)", faults[$0.rawValue]) }))
    parts.append("\"states\":" + Self.object(Milestone.allCases.map { ("\($0)", milestones[$0.rawValue]) }))
    parts.append("\"neverReached\":[" + missing.map { "\"\($0)\"" }.joined(separator: ",") + "]")
    if let (seed, violation) = violation {
      let text = "\"seed\":\(seed),\"rule\":\(Self.quoted(violation.rule)),\"detail\":\(Self.quoted(violation.detail))"
      parts.append("\"violation\":{" + text + "}")
    }
    return "{" + parts.joined(separator: ",") + "}"
  }

  private static func list(_ counts: [(name: String, count: Int)]) -> String {
    counts.map { "\($0.name) \($0.count)" }.joined(separator: ", ")
  }

  private static func object(_ counts: [(name: String, count: Int)]) -> String {
    "{" + counts.map { "\"\($0.name)\":\($0.count)" }.joined(separator: ",") + "}"
  }

  private static func rounded(_ value: Double) -> Double {
    value.isFinite ? (value * 100).rounded() / 100 : 0
  }

  private static func quoted(_ text: String) -> String {
    let escaped = text.unicodeScalars.map { scalar -> String in
      switch scalar {
      case "\"": "\\\""
      case "\\": "\\\\"
      case _ where scalar.value < 0x20: " "
      default: String(scalar)
      }
    }
    return "\"" + escaped.joined() + "\""
  }
}
