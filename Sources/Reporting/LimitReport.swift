// Owns how the result of a search for the limit reads.

package import Measurement

/// At most `reportLineLimit` lines: the interval, what binds, what to do, and the runs at the edge.
package func renderText(_ result: LimitResult) -> String {
  let objective =
    "p\(FigureText.amount(result.objective.percentile).replacing(".0", with: "")) within "
    + FigureText.duration(nanoseconds: result.objective.latencyNanoseconds)
  var lines = ["\(result.configuration.operation.name) limit: \(interval(result)), with \(objective)"]
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
  lines.append("binds       \(binding(result))")
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

private func interval(_ result: LimitResult) -> String {
  switch (result.holdsPerSecond, result.failsPerSecond) {
  case (let holds?, let fails?): "between \(FigureText.amount(holds)) and \(FigureText.amount(fails)) a second"
  case (let holds?, nil): "above \(FigureText.amount(holds)) a second, the highest that was tried"
  case (nil, let fails?): "below \(FigureText.amount(fails)) a second, the lowest that was tried"
  case (nil, nil): "not found"
  }
}

private func binding(_ result: LimitResult) -> String {
  switch result.binding {
  case .generator: "the generator: run it on a machine of its own, or with more event loops"
  case .processors: "the processors of this machine"
  case .disk: "the disk of this machine: see portcullis fsync"
  case .elsewhere: "nothing of this machine: the target's, where that is another one, or the network"
  case nil: "not known"
  }
}

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
