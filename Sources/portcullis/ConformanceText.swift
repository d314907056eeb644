// What a run of `conformance` shows on a terminal and hands to the page: tables, and what a reader must know beside them.

import Commands
import Conformance
import Foundation
import Reporting

enum ConformanceText {
  static func all(_ played: ConformancePlays.Played) -> String {
    table(played.results) + notPlayed(played.notPlayed, played.heading) + lockSet(played.lockSet)
  }

  static func list(_ scenarios: [any Scenario]) -> String {
    var table = TextTable("SCENARIO", "WHAT HAPPENS", "WHAT MUST BE SEEN")
    for scenario in scenarios { table.add("\(scenario.number)", scenario.title, scenario.expectation) }
    return table.text
  }

  static func table(_ results: [ScenarioResult]) -> String {
    let hasSystems = results.contains { $0.system != nil }
    let names = ["WHAT HAPPENS", "STALE", "REFUSED", "LOST", "CONTROL", "VERDICT"]
    var table = TextTable(["SCENARIO"] + (hasSystems ? ["SYSTEM"] : []) + names)
    for result in results {
      let tally = result.fenced.tally
      table.add(
        ["\(result.number)"] + (hasSystems ? [TerminalText.clean(result.system ?? "")] : []) + [
          result.title, "\(tally.staleAttempts)", "\(tally.refusals)", "\(tally.lostUpdates)", control(result),
          result.verdict.rawValue,
        ])
    }
    let remarked = results.filter { $0.verdict != .pass }.flatMap { remarks($0) }
    return ([table.text] + remarked + withoutControl(results) + [sum(results)]).joined(separator: "\n")
  }

  /// What a scenario that did not pass has to be told with.
  private static func remarks(_ result: ScenarioResult) -> [String] {
    let name = "scenario \(result.number)" + (result.system.map { ", \(TerminalText.clean($0))" } ?? "")
    let tally = result.fenced.tally
    var lines = tally.failures.map { "\(name): \($0)" }
    if result.fenced.verdict == .inconclusive { lines += tally.notes.map { "\(name): \($0)" } }
    if result.fenced.verdict == .fail, result.system != nil {
      if tally.landed > 0 { lines.append("\(name): stale writes that took effect: \(tally.landed)") }
      if tally.lostUpdates > 0 { lines.append("\(name): acknowledged updates that were lost: \(tally.lostUpdates)") }
    }
    if result.fenced.verdict == .pass {
      lines.append("\(name): its negative control did not fail, so it shows nothing")
    }
    lines += (result.control.map { $0.isBroken ? $0.tally.failures : [] } ?? []).map { "\(name), control: \($0)" }
    return lines
  }

  /// A pass without a control shows less, and the reader is told what.
  private static func withoutControl(_ results: [ScenarioResult]) -> [String] {
    let passed = results.filter { $0.verdict == .pass && $0.control == nil }
    guard let first = passed.first, let why = first.noControl else { return [] }
    let numbers = passed.map { "\($0.number)" }.joined(separator: ", ")
    return [
      "Without a negative control, because \(why): \(numbers). They show that what was tried was refused, and not that it"
        + " would have done harm without the fence."
    ]
  }

  private static func sum(_ results: [ScenarioResult]) -> String {
    var systems: [String?] = []
    for result in results where !systems.contains(result.system) { systems.append(result.system) }
    guard systems != [nil] else {
      return
        "\(results.count { $0.verdict == .pass }) of \(results.count) scenarios passed, each with its negative control"
        + " where it has one."
    }
    return systems.map { system in
      let own = results.filter { $0.system == system }
      return
        "\(TerminalText.clean(system ?? "")): \(own.count { $0.verdict == .pass }) of \(own.count) scenarios passed."
    }.joined(separator: "\n")
  }

  static func notPlayed(_ scenarios: [ConformanceReport.NotPlayed], _ heading: String) -> String {
    guard !scenarios.isEmpty else { return "" }
    var table = TextTable("SCENARIO", heading)
    for scenario in scenarios { table.add("\(scenario.number)", scenario.why) }
    return "\n\n" + table.text
  }

  static func lockSet(_ rows: [LockSetComparison.Row]) -> String {
    guard !rows.isEmpty else { return "" }
    var table = TextTable("LOCK-SET WORKLOAD", "ACKNOWLEDGED", "LOST", "SHARE", "REFUSED", "PAUSES")
    for row in rows {
      table.add(
        row.system, "\(row.acknowledged)", "\(row.lost)", String(format: "%.1f %%", row.lostPercent), "\(row.refused)",
        "\(row.pauses)")
    }
    return "\n\n" + table.text
  }

  /// What the negative control let through.
  private static func control(_ result: ScenarioResult) -> String {
    guard let control = result.control else { return result.noControl == nil ? "" : "not played" }
    let tally = control.tally
    return "\(control.verdict.rawValue): \(tally.landed) landed, \(tally.lostUpdates) lost"
  }

  static func seconds(_ result: ScenarioResult) -> String {
    String(format: "%.1f s", result.fenced.seconds + (result.control?.seconds ?? 0))
  }

  static func summary(_ report: ConformanceReport, _ startedAt: String) -> ConformanceSummary {
    ConformanceSummary(
      startedAt: startedAt,
      lockSet: report.lockSet.map {
        ConformanceSummary.LockSet(
          system: $0.system, acknowledged: $0.acknowledged, lost: $0.lost, lostPercent: $0.lostPercent,
          refused: $0.refused, pauses: $0.pauses)
      },
      rows: report.scenarios.map(row),
      notPlayed: (report.notPlayed ?? []).map { .init(number: $0.number, title: $0.title, why: $0.why) })
  }

  private static func row(_ entry: ConformanceReport.Entry) -> ConformanceSummary.Row {
    let control = entry.control.map {
      "\($0.staleAttempts) stale attempts, \($0.landed) landed, \($0.lostUpdates) updates lost: \($0.verdict.rawValue)"
    }
    return ConformanceSummary.Row(
      number: entry.number, system: entry.system, title: entry.title, expectation: entry.expectation,
      verdict: entry.verdict.rawValue, staleAttempts: entry.fenced.staleAttempts, refusals: entry.fenced.refusals,
      lostUpdates: entry.fenced.lostUpdates, control: control ?? "not played: \(entry.noControl ?? "")",
      seconds: entry.fenced.seconds + (entry.control?.seconds ?? 0),
      remarks: entry.fenced.failures + entry.fenced.notes + (entry.control?.notes ?? []).map { "without it: \($0)" })
  }
}
