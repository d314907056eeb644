// Owns a comparison as text for a terminal and as JSON for a program.
//
// It must never be longer than ``reportLineLimit`` lines, and never hand a file's name or an answer of a target to the
// terminal as it came.

import Measurement

/// The whole comparison, indented and with a line break at its end.
package func renderJSON(_ comparison: RunComparison) throws -> String {
  try encodedJSON(comparison, [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]) + "\n"
}

/// The comparison in at most ``reportLineLimit`` lines.
package func renderText(_ comparison: RunComparison) -> String {
  let report = ComparisonText(comparison: comparison)
  let lines = report.heading + report.table + report.leftOut + report.notes
  precondition(lines.count <= reportLineLimit, "a comparison of \(lines.count) lines is not a summary")
  return lines.map { PlainText.line($0).trimmedAtEnd + "\n" }.joined()
}

private struct ComparisonText {
  let comparison: RunComparison

  private static let labelWidth = 22
  private static let medianWidth = 20
  private static let columnWidth = 8
  /// How many reasons, runs that were left out, and notes are shown before the rest is counted.
  private static let shown = (reasons: 1, leftOut: 1, notes: 3)

  private func line(_ label: String, _ text: String) -> String {
    FigureText.padded(label, to: Self.labelWidth) + text
  }

  /// The first lines of many, with the rest counted.
  private func some(_ all: [String], _ label: String, atMost: Int, _ noun: String) -> [String] {
    var lines = all.prefix(atMost).map { line(label, $0) }
    if all.count > atMost, !lines.isEmpty { lines[lines.count - 1] += " (and \(all.count - atMost) more \(noun))" }
    return lines
  }

  var heading: [String] {
    let counts = (used(comparison.baseline).count, used(comparison.candidate).count)
    let verdict = comparison.verdict == .worse ? "WORSE" : "not worse"
    return [
      "\(comparison.scenario): \(verdict), \(FigureText.counted(UInt64(counts.0), "run")) against \(counts.1), "
        + "tolerance \(tolerance) %"
    ] + some(comparison.reasons, "worse", atMost: Self.shown.reasons, "reasons") + [
      line("load", comparison.load),
      line("baseline", targets(comparison.baseline)),
      line("candidate", targets(comparison.candidate)),
    ]
  }

  /// "5" and not "5.00", as it was written.
  private var tolerance: String {
    let percent = comparison.tolerancePercent
    return percent == percent.rounded() ? FigureText.decimals(percent, 0) : FigureText.amount(percent)
  }

  private func used(_ side: RunComparison.Side) -> [RunComparison.Run] { side.runs.filter(\.isUsed) }

  private func targets(_ side: RunComparison.Side) -> String {
    var texts: [String] = []
    for text in used(side).map({ LoadText.target($0.target) }) where !texts.contains(text) { texts.append(text) }
    let rest = texts.count > 2 ? " and \(texts.count - 2) more targets" : ""
    return texts.prefix(2).joined(separator: "; ") + rest
  }

  var table: [String] {
    let head = row("median ± spread", "baseline", "candidate", "ratio", "p", "~ not significant")
    return [head]
      + comparison.figures.map { figure in
        let result = figure.comparison
        return row(
          figure.figure.label, median(result.baselineSummary, figure.figure),
          median(result.candidateSummary, figure.figure),
          result.ratio.map { FigureText.decimals($0, 2) } ?? "–",
          result.outcome == .missing ? "–" : FigureText.chance(result.p),
          outcome(figure))
      }
  }

  private func row(_ label: String, _ first: String, _ second: String, _ ratio: String, _ p: String, _ end: String)
    -> String
  {
    line(
      label,
      FigureText.padded(first, to: Self.medianWidth) + FigureText.padded(second, to: Self.medianWidth)
        + FigureText.padded(ratio, to: Self.columnWidth) + FigureText.padded(p, to: Self.columnWidth) + end)
  }

  /// The median, and how far the furthest run is from it in percent.
  private func median(_ summary: Summary?, _ figure: ComparedFigure) -> String {
    guard let summary else { return "–" }
    let text = figure.text(summary.median)
    guard summary.count > 1, summary.median > 0 else { return text }
    let furthest = max(summary.maximum - summary.median, summary.median - summary.minimum)
    return "\(text) ± \(FigureText.decimals(100 * furthest / summary.median, 0)) %"
  }

  private func outcome(_ row: RunComparison.Row) -> String {
    let word =
      switch row.comparison.outcome {
      case .better: "better"
      case .worse: "WORSE"
      case .withinTolerance: "within tolerance"
      case .notSignificant: "~"
      case .missing: "not enough samples"
      }
    return row.isGated ? word : "\(word) (no gate)"
  }

  var leftOut: [String] {
    let runs = (comparison.baseline.runs + comparison.candidate.runs).filter { !$0.isUsed }
    return some(runs.map { "\($0.file): \($0.state)" }, "left out", atMost: Self.shown.leftOut, "runs")
  }

  var notes: [String] { some(comparison.notes, "note", atMost: Self.shown.notes, "notes") }
}

extension String {
  /// Without the padding of the last column.
  fileprivate var trimmedAtEnd: Substring {
    self[..<(lastIndex { $0 != " " }.map { index(after: $0) } ?? startIndex)]
  }
}
