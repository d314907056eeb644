// Owns how a validation reads on a terminal: every cell with its error, and what is outside said so.

import Planning

extension ValidationReport {
  package var text: String {
    var lines = [
      Self.cells([
        "nodes", "disk", "network", "rate", "p50 said", "measured", "error", "p99 said", "measured", "error", "",
      ])
    ]
    for row in rows { lines.append(Self.cells(row.columns)) }
    lines.append(verdict)
    return lines.joined(separator: "\n")
  }

  private static let widths = [6, 7, 8, 16, 10, 10, 8, 10, 10, 8, 0]

  private static func cells(_ texts: [String]) -> String {
    var line = ""
    for (text, width) in zip(texts, widths) { line += text + String(repeating: " ", count: max(1, width - text.count)) }
    while line.hasSuffix(" ") { line.removeLast() }
    return line
  }

  private var verdict: String {
    let valid = rows.filter { $0.invalid == nil }
    let within = rows.filter(\.isWithin)
    let head =
      "\(isGood ? "GOOD" : "NOT GOOD"): \(within.count) of \(rows.count) within \(Words.percent(Self.p50Tolerance)) at p50 and "
      + "\(Words.percent(Self.p99Tolerance)) at p99"
    let invalid = rows.count - valid.count
    return invalid == 0 ? head : "\(head); \(invalid) INVALID, which say nothing: measure again on a machine at rest"
  }
}

extension ValidationReport.Row {
  fileprivate var columns: [String] {
    let note = invalid.map { "INVALID: \($0)" } ?? (isWithin ? "" : "outside")
    return [
      "\(delays.nodes)", "\(delays.diskMilliseconds) ms", "\(delays.networkMilliseconds) ms",
      "\(Words.percent(share)): \(Words.count(ratePerSecond))/s", Words.time(predictedP50Nanoseconds),
      Words.time(measuredP50Nanoseconds), Self.signed(p50Error), Words.time(predictedP99Nanoseconds),
      Words.time(measuredP99Nanoseconds), Self.signed(p99Error), note,
    ]
  }

  private static func signed(_ error: Double?) -> String {
    guard let error else { return "–" }
    let percent = Int((error * 100).rounded())
    return percent > 0 ? "+\(percent) %" : "\(percent) %"
  }
}
