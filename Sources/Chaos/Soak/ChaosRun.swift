// A soak from its first process to its verdict.
//
// - Clients on keys work in rounds. When a round is over its history is checked and forgotten, its keys go, and the core
//   forgets what was before, so hours need no more room than minutes.
// - Holders work through all rounds. What they asked for is a few words a row, and is checked at the end.
// - Whatever ends the load, the final checks follow, after everything was killed and started once more.
//
// Must never leave a process behind: the deployment ends all of them on every way out.

import Conformance
import Foundation

package struct ChaosRun: Sendable {
  private let settings: ChaosSettings
  private let monitor: ChaosMonitor

  package init(_ settings: ChaosSettings, monitor: ChaosMonitor) {
    self.settings = settings
    self.monitor = monitor
  }

  package func run() async throws -> ChaosReport {
    try await Deployment.withDeployment(
      of: settings.executable, in: settings.directory, isOutOfReach: true
    ) { deployment in
      let stage = try await ChaosStage(settings, on: deployment)
      do {
        let report = try await play(stage, deployment)
        for gateway in stage.gateways { await gateway.process.stop() }
        await stage.cluster.stop()
        return report
      } catch {
        await stage.cluster.proxy.stop()
        throw error
      }
    }
  }

  private func play(_ stage: ChaosStage, _ deployment: Deployment) async throws -> ChaosReport {
    var report = ChaosReport(settings)
    let source = HistoryRandom(seed: settings.seed)
    let ledger = ChaosLedger(scopes: settings.scopes)
    let holders = try holders(stage, deployment, ledger)
    for holder in holders where holder.number < settings.scopes { try await holder.prepare() }
    let firstTerm = stage.cluster.term
    var rounds = ChaosRounds(settings, monitor, stage, ledger, source)
    await withDiscardingTaskGroup { group in
      for holder in holders { group.addTask { await holder.run(random: source.stream(1000 + holder.number)) } }
      await rounds.play(&report)
      ledger.stop()
      // Whoever waits for a cluster that does not serve would wait for long.
      if rounds.hasFailed { group.cancelAll() }
    }
    for holder in holders { await holder.writer.end() }
    await finish(stage, &rounds, ledger, &report)
    report.terms = stage.cluster.term - firstTerm
    report.add(ledger.contents)
    report.plants = rounds.checks.plants
    report.endedEarly = monitor.isStopped
    report.shortcomings += rounds.checks.gaps
    if report.violations == 0, !rounds.checks.isTested {
      report.shortcomings.append("too little happened to plant a violation of each kind")
    }
    report.judge(settings.faults)
    monitor.show(report)
    return report
  }

  private func holders(
    _ stage: ChaosStage, _ deployment: Deployment, _ ledger: ChaosLedger
  ) throws -> [ChaosHolder] {
    try (0..<settings.scopes * ChaosSettings.holdersOfEachScope).map { number in
      let scope = number % settings.scopes
      let writer = try deployment.startWriter(
        "holder-\(number)", endpoints: stage.cluster.core.endpoints, gateway: stage.gateway(of: scope).process.address)
      return ChaosHolder(
        number: number, scope: scope, writer: writer, ledger: ledger, isPaused: settings.faults.contains(.pause),
        pause: settings.holderPauseMilliseconds)
    }
  }

  /// Everything is killed and started once more, and then everything has to be there.
  private func finish(
    _ stage: ChaosStage, _ rounds: inout ChaosRounds, _ ledger: ChaosLedger, _ report: inout ChaosReport
  ) async {
    do {
      try await stage.restartAll()
      try await stage.cluster.waitUntilServing(within: ChaosSettings.patienceSeconds)
      _ = try await stage.cluster.leader()
      for gateway in stage.gateways { try await gateway.waitUntilServing() }
      try await rounds.checkLast(&report)
      var stored: [[StoredRow]] = []
      for scope in 0..<settings.scopes {
        stored.append(try await stage.gateway(of: scope).rows(of: scope, after: 0).rows)
      }
      report.rows.stored = stored.map(\.count).reduce(0, +)
      report.add(problems: try rounds.checks.problems(ofRows: ledger.contents, stored: stored))
      report.add(problems: try await rounds.checks.problemsOfFloors(stored))
    } catch {
      report.add(problems: ["at the end: \(error)"])
      try? rounds.checks.write(["at the end: \(error)", stage.complaints], to: "violation-end.txt")
    }
  }
}
