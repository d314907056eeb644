// Owns what is shown while a run goes on: a line that replaces itself on a terminal, or a line of JSON elsewhere.
//
// It must never contain a line break or a control character: the caller owns the terminal.

package import Measurement

/// One line of at most `columns` characters.
package func renderLiveLine(_ progress: BenchProgress, columns: Int = 110) -> String {
  let phase =
    switch progress.phase {
    case .warmUp: "warming up"
    case .measuring: "measuring"
    case .draining: "draining"
    }
  var parts = ["\(progress.scenario) \(phase) \(seconds(progress.elapsedNanoseconds))"]
  if let remaining = progress.remainingNanoseconds {
    parts.append("\(seconds(remaining)) left")
  }
  var rate = "\(FigureText.amount(progress.achievedPerSecond))/s"
  if let offered = progress.offeredPerSecond { rate += " of \(FigureText.amount(offered))" }
  parts.append(rate)
  parts.append("p50 \(FigureText.duration(nanoseconds: progress.p50Nanoseconds))")
  parts.append("p99 \(FigureText.duration(nanoseconds: progress.p99Nanoseconds))")
  parts.append("in flight \(progress.inFlight)")
  // Trouble comes last but is not cut: what is quiet when all is well may take the place when it is not.
  var trouble: [String] = []
  if progress.violations > 0 { trouble.append("WRONG ANSWERS \(FigureText.count(progress.violations))") }
  if progress.failed > 0 { trouble.append("failed \(FigureText.count(progress.failed))") }
  if progress.skipped > 0 { trouble.append("skipped \(FigureText.count(progress.skipped))") }
  if progress.late > 0 { trouble.append("late \(FigureText.count(progress.late))") }
  while parts.count > 1, (parts + trouble).joined(separator: " · ").count > columns { parts.removeLast() }
  return String((parts + trouble).joined(separator: " · ").prefix(columns))
}

/// Tenths of a second, so that the line moves but does not jitter.
private func seconds(_ nanoseconds: UInt64) -> String {
  "\(FigureText.decimals(Double(nanoseconds) / 1e9, 1)) s"
}
