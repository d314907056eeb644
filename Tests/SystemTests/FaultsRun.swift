// One run: a cluster under load and faults, and then what the checks say of what was seen.

import Chaos
import Foundation
import Glibc
import NIOCore

struct FaultsReport: Sendable {
  var seed: UInt64
  var operations: [HistoryOperation] = []
  var logs: [[HistoryEvent]] = []
  var acknowledged = 0
  var failed = 0
  var unknown = 0
  var revisions = 0
  var faults: [FaultsKind: Int] = [:]
  var acknowledgedByNode: [Int] = []
  /// Terms begun while the run lasted.
  var terms: UInt64 = 0
  var duration = Duration.zero
  var problems: [String] = []

  var faultCount: Int { faults.values.reduce(0, +) }

  /// One line of figures.
  var summary: String {
    let kinds = FaultsKind.allCases.map { "\($0) \(faults[$0] ?? 0)" }.joined(separator: ", ")
    return "seed \(seed): \(duration.components.seconds) s; operations \(acknowledged) ok, \(failed) failed, \(unknown)"
      + " unknown; by node \(acknowledgedByNode); revisions \(revisions); terms \(terms); faults"
      + " \(faultCount): \(kinds); problems \(problems.count)"
  }

  mutating func count() {
    acknowledged = operations.count { $0.isAcknowledged }
    failed = operations.count { if case .failed = $0.outcome { true } else { false } }
    unknown = operations.count - acknowledged - failed
    revisions = logs.first?.count ?? 0
  }

  /// Many rounds' histories would fill the memory.
  mutating func forgetHistory() {
    operations = []
    logs = []
  }

  static func total(_ reports: [FaultsReport]) -> FaultsReport {
    var total = FaultsReport(seed: reports.first?.seed ?? 0)
    total.acknowledgedByNode = [0, 0, 0]
    for report in reports {
      total.acknowledged += report.acknowledged
      total.failed += report.failed
      total.unknown += report.unknown
      total.revisions += report.revisions
      total.terms += report.terms
      total.duration += report.duration
      total.problems += report.problems
      total.faults.merge(report.faults, uniquingKeysWith: +)
      for node in 0..<3 { total.acknowledgedByNode[node] += report.acknowledgedByNode[node] }
    }
    return total
  }
}

enum FaultsRun {
  private static let clients = 12

  /// The seed that the environment names, or a new one.
  static var seed: UInt64 {
    ProcessInfo.processInfo.environment["PORTCULLIS_FAULTS_SEED"].flatMap(UInt64.init)
      ?? UInt64.random(in: 0...UInt64(UInt32.max))
  }

  /// Runs a cluster under load, with the steps that `next` gives until it gives none.
  static func run(
    seed: UInt64, next: (_ done: Int, inout HistoryRandom) -> FaultsStep?
  ) async throws -> FaultsReport {
    let began = ContinuousClock.now
    return try await withFaultsCluster { cluster in
      var report: FaultsReport
      do {
        report = try await load(cluster, seed: seed, next: next)
      } catch {
        throw FaultsCluster.Trouble(description: "seed \(seed): \(error)\n\(cluster.complaints)")
      }
      report.problems += HistoryAudit.problems(of: report.operations, logs: report.logs)
      report.problems += HistoryChecking.problems(of: report.operations)
      report.duration = began.duration(to: .now)
      report.count()
      if !report.problems.isEmpty { report.problems.append("the whole history is in \(try keep(report))") }
      return report
    }
  }

  /// A history cannot be had again from its seed, so a bad one is kept.
  private static func keep(_ report: FaultsReport) throws -> String {
    let path = NSTemporaryDirectory() + "/portcullis-history-\(report.seed).txt"
    let events = report.logs.first?.map { "\($0.revision) \($0.key) = \($0.value ?? "deleted")" } ?? []
    let lines = report.problems + report.operations.map(\.description) + events
    try lines.joined(separator: "\n").write(toFile: path, atomically: true, encoding: .utf8)
    return path
  }

  private static func load(
    _ cluster: FaultsCluster, seed: UInt64, next: (_ done: Int, inout HistoryRandom) -> FaultsStep?
  ) async throws -> FaultsReport {
    _ = try await cluster.leader()
    let firstTerm = cluster.term
    let recorder = HistoryRecorder(ports: cluster.ports)
    let source = HistoryRandom(seed: seed)
    let faults = try await withThrowingTaskGroup(of: Void.self) { group in
      for client in 0..<clients {
        group.addTask { await recorder.run(client: client, random: source.stream(client + 1)) }
      }
      defer { recorder.stop() }
      var random = source.stream(0)
      var driver = FaultsDriver(cluster, recorder)
      var done = 0
      while let step = next(done, &random) {
        try await driver.carryOut(step)
        done += 1
      }
      return driver.counts
    }
    var report = FaultsReport(seed: seed)
    report.operations = recorder.operations
    report.acknowledgedByNode = recorder.acknowledgedByNode
    report.faults = faults
    try await lookAtTheEnd(cluster, &report)
    report.terms = cluster.term - firstTerm
    return report
  }

  /// What every node has after all of them were killed once more: the same, and everything that was acknowledged.
  private static func lookAtTheEnd(_ cluster: FaultsCluster, _ report: inout FaultsReport) async throws {
    try await cluster.kill(Array(cluster.nodes))
    for node in cluster.nodes { try await cluster.launch(node) }
    try await cluster.waitUntilServing()
    _ = try await cluster.leader()
    let marker = try await cluster.putMarker()
    for port in cluster.ports { report.logs.append(try await HistoryLog.read(port: port, through: marker)) }
    let last = report.logs[0].last?.revision ?? 0
    let client = HistoryClient(-1, ports: cluster.ports, node: 0)
    defer { client.close() }
    for (node, port) in cluster.ports.enumerated() {
      let revision = await client.status(of: node)?.revision ?? 0
      if revision != last { report.problems.append("node \(node) is at revision \(revision), its log at \(last)") }
      let state = try await HistoryLog.state(port: port, prefix: HistoryRecorder.defaultPrefix)
      if state != finalState(of: report.logs[0]) {
        report.problems.append("node \(node) shows another state than its events make")
      }
    }
  }

  private static func finalState(of log: [HistoryEvent]) -> [String: HistoryState] {
    var state: [String: HistoryState] = [:]
    for event in log where event.key != HistoryAudit.markerKey {
      state[event.key] = event.value.map { HistoryState(value: $0, modRevision: event.revision) }
    }
    return state
  }
}
