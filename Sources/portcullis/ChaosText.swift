// What `chaos` says: a line now and then while it runs, and a table at its end.

import Chaos
import Commands
import Foundation

enum ChaosText {
  /// One line again and again on a terminal, and one a minute elsewhere, until the task is cancelled.
  static func follow(_ monitor: ChaosMonitor, of duration: Duration) async {
    let isTerminal = isatty(STDERR_FILENO) == 1
    while true {
      try? await Task.sleep(for: .seconds(isTerminal ? 2 : 60))
      if Task.isCancelled {
        if isTerminal { write("\n") }
        return
      }
      guard let report = monitor.report else { continue }
      let line = progress(report, of: duration)
      write(isTerminal ? "\r\u{1B}[K\(line)" : line + "\n")
    }
  }

  private static func write(_ text: String) { FileHandle.standardError.write(Data(text.utf8)) }

  private static func progress(_ report: ChaosReport, of duration: Duration) -> String {
    "chaos: \(time(.seconds(report.seconds))) of \(time(duration)): round \(report.rounds),"
      + " \(report.operations.acknowledged) operations, \(report.rows.acknowledged) rows,"
      + " \(report.rows.refusedStale) stale ones refused, \(report.faultCount) faults, \(report.violations) violations"
  }

  private static func time(_ duration: Duration) -> String { TerminalText.length(duration) }

  static func table(_ report: ChaosReport) -> String {
    var faults = TextTable("FAULT", "TIMES")
    for (name, count) in report.faults.sorted(by: { $0.key < $1.key }) { faults.add(name, "\(count)") }
    var figures = TextTable("WHAT", "HOW MUCH")
    for (name, value) in rows(report) { figures.add(name, value) }
    var lines = [faults.text, "", figures.text, ""]
    for problem in report.problems { lines.append("violated: \(problem)") }
    if report.violations > report.problems.count {
      lines.append("and \(report.violations - report.problems.count) violations more")
    }
    for shortcoming in report.shortcomings { lines.append("too little: \(shortcoming)") }
    if report.endedEarly { lines.append("Ended early by a signal; what follows is about what was run until then.") }
    lines.append("\(report.verdict.rawValue): seed \(report.seed), \(report.violations) violations.")
    return lines.joined(separator: "\n")
  }

  private static func rows(_ report: ChaosReport) -> [(String, String)] {
    let (operations, rows) = (report.operations, report.rows)
    return [
      ("time under faults", time(.seconds(report.seconds))),
      ("rounds checked", "\(report.rounds)"),
      (
        "operations acknowledged, failed, unknown",
        "\(operations.acknowledged), \(operations.failed), \(operations.unknown)"
      ),
      ("acknowledged by each node", operations.byNode.map { "\($0)" }.joined(separator: ", ")),
      ("rows acknowledged, of unknown outcome", "\(rows.acknowledged), \(rows.unknown)"),
      ("rows in the databases at the end", "\(rows.stored)"),
      ("rows refused, of them known to be stale", "\(rows.refused), \(rows.refusedStale)"),
      ("answers told again to a second attempt", "\(rows.replayed)"),
      ("grants, acquisitions without one", "\(report.grants), \(report.failedAcquisitions)"),
      ("terms begun", "\(report.terms)"),
      ("faults", "\(report.faultCount)"),
      ("longest time until all served again", String(format: "%.1f s", report.longestRecoverySeconds)),
      ("planted violations rejected", "\(report.plants.rejected) of \(report.plants.made)"),
    ]
  }
}
