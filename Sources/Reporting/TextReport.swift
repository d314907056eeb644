// Owns the summary of a run for a terminal.
//
// It must never be longer than ``reportLineLimit`` lines, and never show figures of an invalid or failed run without
// saying so in its first line.

package import Measurement

/// The most lines that ``renderText(_:)`` gives.
package let reportLineLimit = 15

/// The summary of a run: the verdict, how the load was made, rate, latencies, what the checks found.
package func renderText(_ result: BenchResult) -> String {
  let report = TextReport(result: result)
  let (lines, optional) = (report.heading + report.latencies + report.special, report.warmUp)
  var rest = report.checks + report.reasons + report.errors
  // What fits no more is in the JSON.
  if lines.count + rest.count < reportLineLimit { rest.insert(optional, at: report.checks.count) }
  return (lines + rest).prefix(reportLineLimit).map { trimmed($0) + "\n" }.joined()
}

/// Without the padding of the last column.
private func trimmed(_ line: String) -> Substring {
  line[..<(line.lastIndex { $0 != " " }.map { line.index(after: $0) } ?? line.startIndex)]
}

private struct TextReport {
  let result: BenchResult

  private static let labelWidth = 24
  private static let columnWidth = 10
  /// How many kinds of errors, and how many reasons, are shown before the rest is counted.
  private static let shownErrors = 2
  private static let shownReasons = 2

  private func line(_ label: String, _ text: String) -> String {
    FigureText.padded(label, to: Self.labelWidth) + text
  }

  var heading: [String] {
    let figures = result.measured
    let version = result.target.version.map { " (version \($0))" } ?? ""
    var throughput = "\(FigureText.amount(figures.achievedPerSecond))/s"
    if case .open(_, let rate, _) = result.configuration.shape {
      throughput += " of \(FigureText.amount(rate))/s offered"
    }
    throughput += ", over \(LoadText.measuredLength(result))"
    throughput += "; \(FigureText.count(figures.succeeded)) answered, \(FigureText.count(figures.failed)) failed"
    if figures.refused > 0 { throughput += ", \(FigureText.count(figures.refused)) refused" }
    if figures.unanswered > 0 { throughput += ", \(FigureText.count(figures.unanswered)) never answered" }
    return [
      "\(result.scenario): \(verdict)",
      line("target", result.target.endpoints.joined(separator: ", ") + version),
      line("load", load),
      line("achieved", throughput),
    ]
  }

  private var verdict: String {
    let word = LoadText.verdict(result.judgement.verdict)
    return switch result.ending {
    case .completed: word
    case .interrupted: "\(word), interrupted: these are the figures of the part that ran"
    case .targetLost: "\(word), target lost: these are the figures of the part that ran"
    }
  }

  private var load: String {
    let configuration = result.configuration
    let shape =
      switch configuration.shape {
      case .open(let process, _, _): "open loop, \(process.rawValue) arrivals"
      case .closed(let clients): "closed loop, \(FigureText.counted(UInt64(clients), "client"))"
      }
    return "\(shape), \(LoadText.size(configuration)), seed \(configuration.seed)"
  }

  var latencies: [String] {
    let figures = result.measured
    let columns = ["p50", "p90", "p99", "p99.9", "max"]
    let header = line("latency", columns.map { FigureText.padded($0, to: Self.columnWidth) }.joined())
    guard result.configuration.shape.isOpen else {
      return [header, row(LoadText.fromSend(result.configuration), figures.latencyFromSend)]
    }
    return [
      header,
      row("from intended start", figures.latencyFromIntendedStart),
      row("from send", figures.latencyFromSend),
      row("schedule lag", figures.scheduleLag)
        + "late \(FigureText.count(figures.late)), skipped \(FigureText.count(figures.skipped))",
    ]
  }

  /// What only some operations have.
  var special: [String] {
    let figures = result.measured
    var lines = (result.commits.map { CommitStages(breakdown: $0).lines } ?? []).map { line($0, $1) }
    if !figures.timeAtTarget.isEmpty { lines.append(row("the target's own share", figures.timeAtTarget)) }
    let answered = figures.succeeded + figures.refused
    if figures.refused > 0 {
      let share = FigureText.decimals(100 * Double(figures.refused) / Double(answered), 1)
      lines.append(row("until a refusal", figures.latencyOfRefusals) + "\(share) % of the answers")
    }
    if let told = figures.deliveries {
      lines.append(row("watchers, from intended", told.fromIntendedStart) + "\(FigureText.count(told.events)) events")
      lines.append(
        row("watchers, from answer", told.fromAcknowledgement)
          + "\(FigureText.count(told.beforeAcknowledgement)) came before it")
    }
    for part in figures.parts.prefix(3) {
      lines.append(
        row("  \(part.name)", part.latency)
          + "\(FigureText.count(part.succeeded)) answered, \(FigureText.count(part.refused + part.failed)) not")
    }
    return lines
  }

  private func row(_ label: String, _ latency: LatencyHistogram) -> String {
    var cells = [50, 90, 99, 99.9].map { FigureText.duration(nanoseconds: latency.percentile($0)) }
    cells.append(latency.isEmpty ? "–" : FigureText.duration(nanoseconds: latency.max))
    return line(label, cells.map { FigureText.padded($0, to: Self.columnWidth) }.joined())
  }

  var checks: [String] {
    let oracle = result.measured.oracle
    let generator = result.generator
    let answers =
      oracle.violations == 0
      ? "\(FigureText.count(oracle.checked)) answers, \(result.configuration.operation.promise)"
      : "\(FigureText.count(oracle.violations)) WRONG of \(FigureText.count(oracle.checked)) answers"
    let cpu = FigureText.duration(nanoseconds: UInt64(generator.cpuNanosecondsPerOperation))
    return [
      line("oracle", answers),
      line(
        "generator",
        "\(FigureText.decimals(generator.coresUsed, 2)) of \(result.environment.processorCount) cores, "
          + "\(cpu) of CPU an operation, \(result.environment.buildConfiguration) build"),
    ]
  }

  var warmUp: String { line("warm-up", LoadText.warmUp(result.warmUp)) }

  var errors: [String] {
    let worst = result.measured.errors.sorted { $0.count > $1.count }
    var lines = worst.prefix(Self.shownErrors).map { tally in
      line("error", "\(FigureText.count(tally.count)) × \(tally.name): \(tally.firstMessage)")
    }
    if worst.count > Self.shownErrors {
      lines[lines.count - 1] += " (and \(worst.count - Self.shownErrors) more kinds)"
    }
    return lines
  }

  var reasons: [String] {
    let all = result.judgement.reasons
    guard !all.isEmpty else {
      return result.configuration.shape.isOpen
        ? [] : [line("note", "a closed loop waits for its target: for the tail that users see, offer a rate")]
    }
    var lines = all.prefix(Self.shownReasons).map { line($0.code, $0.message) }
    if all.count > Self.shownReasons {
      lines[lines.count - 1] += " (and \(all.count - Self.shownReasons) more reasons)"
    }
    return lines
  }
}

extension OperationSetting {
  /// What the oracle saw kept, for a report.
  fileprivate var promise: String {
    switch self {
    case .put, .watch: "each with a revision above those before it"
    case .mix: "none with a revision below those before it"
    case .get: "each with its key and no revision below those before it"
    case .list: "each with its keys and no revision below those before it"
    case .compareAndSwap: "none that both held and failed"
    case .lock(_, let hold):
      (hold ?? 0) == 0 ? "each grant above the one before it" : "each grant above the one before it, no two at once"
    case .renew: "no lease that was renewed in time and lost"
    case .write: "no stale write among them nor in the database, none lost"
    }
  }
}
