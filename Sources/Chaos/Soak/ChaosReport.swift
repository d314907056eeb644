// What a soak says of itself while it runs and at its end.

import Synchronization

package struct ChaosReport: Codable, Sendable {
  package enum Verdict: String, Codable, Sendable { case passed, violated, inconclusive }

  package struct Operations: Codable, Sendable {
    package var acknowledged = 0
    package var failed = 0
    package var unknown = 0
    /// Acknowledged by each node.
    package var byNode: [Int] = []
  }

  package struct Rows: Codable, Sendable {
    package var acknowledged = 0
    package var refused = 0
    package var refusedStale = 0
    package var unknown = 0
    package var replayed = 0
    /// As they were in the databases at the end.
    package var stored = 0
  }

  package struct Plants: Codable, Sendable {
    package var made = 0
    package var rejected = 0
  }

  package var verdict = Verdict.inconclusive
  package var seed: UInt64
  package var seconds = 0.0
  package var nodes: Int
  package var gateways: Int
  package var endedEarly = false
  package var rounds = 0
  package var operations = Operations()
  package var rows = Rows()
  package var grants = 0
  package var failedAcquisitions = 0
  package var terms: UInt64 = 0
  /// How often each fault was carried out, by name.
  package var faults: [String: Int] = [:]
  /// The same, by the kind that was asked for.
  package var faultsByKind: [String: Int] = [:]
  package var longestRecoverySeconds = 0.0
  /// Changed copies of what was found good, and how many of them the checks rejected.
  package var plants = Plants()
  /// The first of what was violated; `violations` counts all.
  package var problems: [String] = []
  package var violations = 0
  /// Why it shows too little.
  package var shortcomings: [String] = []

  package var faultCount: Int { faults.values.reduce(0, +) }

  init(_ settings: ChaosSettings) {
    seed = settings.seed
    nodes = settings.nodes
    gateways = settings.gateways
    operations.byNode = Array(repeating: 0, count: settings.nodes)
  }

  private static let mostShown = 40

  mutating func add(problems new: [String]) {
    violations += new.count
    problems += new.prefix(max(0, Self.mostShown - problems.count))
  }

  mutating func add(_ recorder: HistoryRecorder) {
    let all = recorder.operations
    let failed = all.count { if case .failed = $0.outcome { true } else { false } }
    operations.acknowledged += recorder.acknowledged
    operations.failed += failed
    operations.unknown += all.count - recorder.acknowledged - failed
    for (node, count) in recorder.acknowledgedByNode.enumerated() { operations.byNode[node] += count }
  }

  mutating func add(_ ledger: ChaosLedger.Contents) {
    rows.acknowledged = ledger.acknowledged
    rows.refused = ledger.refused
    rows.refusedStale = ledger.refusedStale
    rows.unknown = ledger.unknown
    rows.replayed = ledger.replayed
    grants = ledger.grants.count
    failedAcquisitions = ledger.failedAcquisitions
    if ledger.pauses > 0 { faults["pauseHolder"] = ledger.pauses }
  }

  /// The verdict, when everything is counted.
  mutating func judge(_ asked: Set<ChaosFault>) {
    var counts = faults
    for step in ChaosStep.all {
      let count = counts.removeValue(forKey: step.name) ?? 0
      for fault in step.faults { faultsByKind[fault.rawValue, default: 0] += count }
    }
    faultsByKind[ChaosFault.pause.rawValue, default: 0] += faults["pauseHolder"] ?? 0
    faultsByKind = faultsByKind.filter { asked.map(\.rawValue).contains($0.key) }
    for fault in asked.map(\.rawValue).sorted() where faultsByKind[fault] ?? 0 == 0 {
      shortcomings.append("the fault \(fault) was never carried out")
    }
    if operations.acknowledged < 300 { shortcomings.append("few operations: \(operations.acknowledged) acknowledged") }
    if rows.acknowledged < 30 { shortcomings.append("few rows: \(rows.acknowledged) acknowledged") }
    if asked.contains(.pause), rows.refusedStale == 0 { shortcomings.append("no stale row was sent and refused") }
    verdict = violations > 0 ? .violated : shortcomings.isEmpty ? .passed : .inconclusive
  }
}

/// What whoever waits for a soak sees of it, and how it is ended. Any task may use it.
package final class ChaosMonitor: Sendable {
  private struct State {
    var report: ChaosReport?
    var isStopped = false
  }

  private let state = Mutex(State())

  package init() {}

  /// As it was at the last look, once there is something to see.
  package var report: ChaosReport? { state.withLock { $0.report } }

  /// Ends the load; the final checks follow.
  package func stop() { state.withLock { $0.isStopped = true } }

  var isStopped: Bool { state.withLock { $0.isStopped } }
  func show(_ report: ChaosReport) { state.withLock { $0.report = report } }
}
