// The rounds of a soak: clients under faults for a while, and then the checks of what they saw.

import Foundation

/// Used by one task at a time.
struct ChaosRounds {
  private let settings: ChaosSettings
  private let monitor: ChaosMonitor
  private let stage: ChaosStage
  private let ledger: ChaosLedger
  private let source: HistoryRandom
  private var schedule: ChaosSchedule
  private var random: HistoryRandom
  /// Of the round that was not checked yet.
  private var operations: [HistoryOperation]?
  private let began = ContinuousClock.now
  var checks: ChaosChecks
  /// Whether something did not serve again, so that there is nothing to go on with.
  private(set) var hasFailed = false

  init(
    _ settings: ChaosSettings, _ monitor: ChaosMonitor, _ stage: ChaosStage, _ ledger: ChaosLedger,
    _ source: HistoryRandom
  ) {
    self.settings = settings
    self.monitor = monitor
    self.stage = stage
    self.ledger = ledger
    self.source = source
    schedule = ChaosSchedule(settings.faults, random: source.stream(0))
    random = source.stream(1)
    checks = ChaosChecks(stage)
  }

  /// Until the time is over, somebody stops it, or something does not serve again.
  mutating func play(_ report: inout ChaosReport) async {
    let end = began + settings.duration
    do {
      while ContinuousClock.now < end, !monitor.isStopped {
        try await checkLast(&report)
        if report.violations > 0 || ledger.hasProblems { break }
        try await checks.beginRound()
        // No round of a few seconds at the end.
        let left = ContinuousClock.now.duration(to: end)
        let length = Duration.seconds(ChaosSettings.roundSeconds)
        try await playRound(until: left < length * 3 / 2 ? end : .now + length, &report)
      }
    } catch {
      hasFailed = true
      report.add(problems: ["\(error)"])
      try? checks.write(["\(error)", stage.complaints], to: "violation-fault.txt")
    }
  }

  /// Checks the round that is over, where there is one.
  mutating func checkLast(_ report: inout ChaosReport) async throws {
    guard let operations else { return }
    self.operations = nil
    report.add(problems: try await checks.problems(ofRound: report.rounds, operations))
    show(report)
  }

  /// With what the holders have done so far.
  private func show(_ report: ChaosReport) {
    var shown = report
    shown.add(ledger.contents)
    monitor.show(shown)
  }

  private mutating func playRound(until end: ContinuousClock.Instant, _ report: inout ChaosReport) async throws {
    report.rounds += 1
    let round = report.rounds
    let recorder = HistoryRecorder(
      ports: stage.cluster.ports, prefix: ChaosChecks.prefix(of: round), mark: "\(round).",
      pauseMilliseconds: settings.clientPauseMilliseconds)
    var driver = ChaosDriver(stage, recorder, ledger, operationsPerSecond: settings.operationsPerSecond)
    let before = report
    let source = source.stream(10_000 + round)
    var failure: (any Error)?
    await withDiscardingTaskGroup { group in
      for client in 0..<ChaosSettings.clients {
        group.addTask { await recorder.run(client: client, random: source.stream(client)) }
      }
      defer { recorder.stop() }
      do {
        while ContinuousClock.now < end, !monitor.isStopped {
          guard let step = schedule.next() else { break }
          try await driver.carryOut(step, &random)
          count(driver, recorder, before, &report)
        }
      } catch {
        failure = error
      }
    }
    count(driver, recorder, before, &report)
    operations = recorder.operations
    if let failure { throw failure }
  }

  /// What the report says, with the round as far as it has come.
  private func count(
    _ driver: ChaosDriver, _ recorder: HistoryRecorder, _ before: ChaosReport, _ report: inout ChaosReport
  ) {
    report.faults = before.faults.merging(driver.counts) { $0 + $1 }
    report.longestRecoverySeconds = max(before.longestRecoverySeconds, driver.longestRecovery)
    report.operations = before.operations
    report.add(recorder)
    report.seconds = began.duration(to: .now).seconds
    show(report)
  }
}
