// The results of a run for programs: JSON of a fixed shape, and JUnit's XML for what shows tests.

import Foundation

/// A run's results. Its JSON has one object for each scenario; names stay as they are.
package struct ConformanceReport: Encodable, Sendable {
  package struct Entry: Encodable, Sendable {
    package let number: Int
    /// Whose locks and resource they were, where the report has several.
    package let system: String?
    package let title: String
    package let expectation: String
    package let verdict: Verdict
    package let fenced: PlayEntry
    /// The negative control.
    package let control: PlayEntry?
    package let noControl: String?

    enum CodingKeys: String, CodingKey {
      case number, system, title, expectation, verdict, fenced, control
      case noControl = "no_control"
    }
  }

  /// A scenario that was asked for and cannot be played with what there is.
  package struct NotPlayed: Encodable, Sendable {
    package let number: Int
    package let title: String
    package let why: String

    package init(_ scenario: any Scenario, why: String) {
      (number, title, self.why) = (scenario.number, scenario.title, why)
    }
  }

  package struct PlayEntry: Encodable, Sendable {
    package let verdict: Verdict
    package let staleAttempts: Int
    package let refusals: Int
    package let landed: Int
    package let lostUpdates: Int
    package let seconds: Double
    package let failures: [String]
    package let notes: [String]

    enum CodingKeys: String, CodingKey {
      case verdict, refusals, landed, seconds, failures, notes
      case staleAttempts = "stale_attempts"
      case lostUpdates = "lost_updates"
    }

    init(_ play: Play) {
      let tally = play.tally
      verdict = play.verdict
      (staleAttempts, refusals) = (tally.staleAttempts, tally.refusals)
      (landed, lostUpdates) = (tally.landed, tally.lostUpdates)
      (failures, notes) = (tally.failures, tally.notes)
      seconds = play.seconds
    }
  }

  /// Whether every scenario passed, and every negative control failed.
  package let passed: Bool
  package let scenarios: [Entry]
  /// The lock-set workload for several systems, where it was played.
  package let lockSet: [LockSetComparison.Row]
  /// Nil where everything can be played.
  package let notPlayed: [NotPlayed]?

  enum CodingKeys: String, CodingKey {
    case passed, scenarios
    case lockSet = "lock_set"
    case notPlayed = "not_played"
  }

  package init(
    _ results: [ScenarioResult], lockSet: [LockSetComparison.Row] = [], notPlayed: [NotPlayed]? = nil
  ) {
    self.lockSet = lockSet
    self.notPlayed = notPlayed
    passed = results.allSatisfy { $0.verdict == .pass }
    scenarios = results.map {
      Entry(
        number: $0.number, system: $0.system, title: $0.title, expectation: $0.expectation, verdict: $0.verdict,
        fenced: PlayEntry($0.fenced), control: $0.control.map(PlayEntry.init), noControl: $0.noControl)
    }
  }

  /// As JUnit has it: one test case for each scenario. What is inconclusive counts as failed, of a type of its own.
  package var junit: String {
    let failed = scenarios.count { $0.verdict != .pass }
    let seconds = scenarios.map { $0.fenced.seconds + ($0.control?.seconds ?? 0) }.reduce(0, +)
    var lines = [
      #"<?xml version="1.0" encoding="UTF-8"?>"#,
      #"<testsuite name="portcullis conformance" tests="\#(scenarios.count + (notPlayed ?? []).count)""#
        + #" failures="\#(failed)" errors="0" skipped="\#((notPlayed ?? []).count)" time="\#(Self.text(seconds))">"#,
    ]
    for entry in scenarios { lines += Self.testCase(entry) }
    for scenario in notPlayed ?? [] {
      lines += [
        #"  <testcase classname="conformance" name="scenario \#(scenario.number): \#(Self.escaped(scenario.title))">"#,
        #"    <skipped message="\#(Self.escaped(scenario.why))"/>"#, "  </testcase>",
      ]
    }
    lines.append("</testsuite>")
    return lines.joined(separator: "\n") + "\n"
  }

  private static func testCase(_ entry: Entry) -> [String] {
    let seconds = entry.fenced.seconds + (entry.control?.seconds ?? 0)
    let system = entry.system.map { ", \(escaped($0))" } ?? ""
    var lines = [
      #"  <testcase classname="conformance" name="scenario \#(entry.number)\#(system): \#(escaped(entry.title))""#
        + #" time="\#(text(seconds))">"#
    ]
    if entry.verdict != .pass {
      let why = entry.fenced.failures.first ?? summary(entry)
      lines.append(
        #"    <failure type="\#(entry.verdict.rawValue)" message="\#(escaped(why))">\#(escaped(summary(entry)))</failure>"#
      )
    }
    let notes = entry.fenced.notes + (entry.control?.notes ?? []).map { "control: \($0)" }
    lines.append("    <system-out>\(escaped(([summary(entry)] + notes).joined(separator: "\n")))</system-out>")
    return lines + ["  </testcase>"]
  }

  private static func summary(_ entry: Entry) -> String {
    func text(_ name: String, _ play: PlayEntry) -> String {
      "\(name): \(play.staleAttempts) stale attempts, \(play.refusals) refused, \(play.landed) landed,"
        + " \(play.lostUpdates) lost, \(play.verdict.rawValue)"
    }
    return text("fenced", entry.fenced) + (entry.control.map { "; " + text("control", $0) } ?? "")
  }

  private static func text(_ seconds: Double) -> String { String(format: "%.3f", seconds) }

  /// For text and for attributes; control characters, which XML cannot hold, are left out.
  private static func escaped(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      case "\n", "\t": result.unicodeScalars.append(scalar)
      case _ where scalar.value < 0x20 || scalar.value == 0x7F: break
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }
}

extension Play {
  package var seconds: Double {
    Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) / 1e18
  }
}
