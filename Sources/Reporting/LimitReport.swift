// Owns how the result of a search for the limit reads.

package import Measurement

/// At most `reportLineLimit` lines: the interval, what binds, what to do, and the runs at the edge.
package func renderText(_ result: LimitResult) -> String {
  let name = result.configuration.operation.name
  var lines = ["\(name) limit: \(LimitText.interval(result)), with \(LimitText.objective(result))"]
  if let stopped = result.stopped {
    lines.append("cut short   \(stopped); these are the figures of the runs before")
  } else if !result.isComplete {
    lines[0] += " (the search was stopped before its end)"
  }
  lines.append("target      \(result.target.endpoints.joined(separator: ", "))")
  if let operating = result.operatingPerSecond {
    let share = FigureText.amount(100 * LimitResult.operatingShare)
    lines.append(
      "recommended \(FigureText.amount(operating))/s: \(share) % of what held, the rest is for what a run does not show"
    )
  }
  lines.append("binds       \(LimitText.binding(result))")
  lines.append("tried       offered     achieved    latency     processors  disk   did not hold because of")
  let room = reportLineLimit - lines.count
  let shown = result.trials.sorted { $0.ratePerSecond < $1.ratePerSecond }
  let edge = result.failsPerSecond ?? result.holdsPerSecond ?? 0
  let nearest = shown.sorted { distance($0, edge) < distance($1, edge) }.prefix(room)
  for trial in shown where nearest.contains(trial) { lines.append(row(trial)) }
  return lines.prefix(reportLineLimit).map { $0 + "\n" }.joined()
}

/// As JSON, with every run.
package func renderJSON(_ result: LimitResult) throws -> String { try indentedJSON(result) }

private func distance(_ trial: LimitTrial, _ edge: Double) -> Double { (trial.ratePerSecond - edge).magnitude }

private func row(_ trial: LimitTrial) -> String {
  func cell(_ text: String, _ width: Int = 12) -> String { FigureText.padded(text, to: width) }
  func percent(_ share: Double?) -> String { share.map { "\(FigureText.decimals(100 * $0, 0)) %" } ?? "–" }
  let text =
    cell("") + cell("\(FigureText.amount(trial.ratePerSecond))/s")
    + cell("\(FigureText.amount(trial.achievedPerSecond))/s")
    + cell(FigureText.duration(nanoseconds: trial.latencyNanoseconds)) + cell(percent(trial.usage?.processors))
    + cell(percent(trial.usage?.disk), 7) + trial.reasons.joined(separator: ", ")
  return text.replacing(#/ +$/#, with: "")
}
