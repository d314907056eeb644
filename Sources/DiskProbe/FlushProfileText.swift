// Owns how a profile reads on a terminal: a table in microseconds, modes where there are several, the verdict.

extension FlushProfile {
  /// - Parameter withHistograms: also draws the distribution of each cell.
  package func text(withHistograms: Bool = false) -> String {
    var lines = [disk.text, ""] + table
    for series in series where series.modes.count > 1 && series.cell.method != .none {
      lines.append("\(series.modes.count) modes: \(series.cell.text): \(Self.text(of: series.modes))")
    }
    lines += skipped.map { "skipped: \($0.cell.text): \($0.reason)" }
    if withHistograms {
      for series in series { lines += ["", series.cell.text] + series.commit.histogramLines }
    }
    switch ending {
    case .completed: break
    case .interrupted:
      lines += ["", "interrupted: the last line has fewer samples, and what would have followed is missing"]
    case .failed: lines += ["", "ended by an error: \(problem ?? "unknown")"]
    }
    lines += ["", "verdict: \(verdict.grade.rawValue)"]
    lines += verdict.reasons.map { "  because \($0)" }
    lines += verdict.advice.map { "  to do: \($0)" }
    return lines.joined(separator: "\n")
  }

  private var table: [String] {
    let heading = ["size", "file", "call", "load", "cpu", "count", "p50 µs", "p90", "p99", "p99.9", "max"]
    let rows = series.map { series in
      let cell = series.cell
      let percentiles = FlushDistribution.shownPercentiles.map { percent in
        series.commit.percentile(percent).map(wholeMicroseconds) ?? "-"
      }
      return [cell.amountText, cell.targetText, cell.methodText, cell.loadText, cell.processors.rawValue]
        + ["\(series.commit.count)"] + percentiles + [wholeMicroseconds(series.commit.maximumNanoseconds)]
    }
    let all = [heading] + rows
    let widths = heading.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
    return all.map { row in
      zip(row, widths).enumerated().map { column, cell in
        let padding = String(repeating: " ", count: cell.1 - cell.0.count)
        return column < 5 ? cell.0 + padding : padding + cell.0
      }.joined(separator: "  ")
    }
  }

  private static func text(of modes: [FlushMode]) -> String {
    modes.map { "\(Int(($0.share * 100).rounded())) % around \(microseconds($0.peakNanoseconds))" }
      .joined(separator: ", ")
  }
}

extension ProbedDisk {
  fileprivate var text: String {
    var facts = ["\(fileSystem) at \(mountPoint)"]
    if let device { facts.append("on \(device)") }
    if let isVirtual, isVirtual { facts.append("(virtual)") }
    var text = "\(directory): \(facts.joined(separator: " "))"
    if let writeCache { text += ", \(writeCache) cache" }
    if isRotating == true, isVirtual != true { text += ", rotating" }
    text += "; Linux \(kernel), \(processors) processors"
    return text
  }
}

extension FlushDistribution {
  /// A line for each step of a quarter of an octave or more, so that there are twelve at most; what is rarer than a
  /// character is wide still shows as a thin one.
  package var histogramLines: [String] {
    guard let first = cells.first?.microseconds, let last = cells.last?.microseconds else { return ["no samples"] }
    let least = max(1, Double(first))
    var factor = 1.189
    while least * Self.power(factor, 12) <= Double(last) { factor *= 1.02 }
    var bins: [(upTo: UInt64, count: UInt64)] = []
    var upTo = least
    while (bins.last?.upTo ?? 0) < last || bins.isEmpty {
      upTo *= factor
      let end = max(UInt64(upTo), (bins.last?.upTo ?? first) + (bins.isEmpty ? 0 : 1))
      bins.append((end, 0))
    }
    var bin = 0
    for cell in cells {
      while cell.microseconds > bins[bin].upTo { bin += 1 }
      bins[bin].count += cell.count
    }
    let most = bins.map(\.count).max() ?? 1
    var from = first
    return bins.map { bin in
      defer { from = bin.upTo + 1 }
      let width = Int((Double(bin.count) / Double(most) * 40).rounded())
      let bar = width > 0 ? String(repeating: "█", count: width) : bin.count > 0 ? "▏" : ""
      let range = "\(padded("\(from)", to: 8)) – \(padded("\(bin.upTo)", to: 8)) µs"
      return "\(range) \(padded("\(bin.count)", to: 8))  \(bar)"
    }
  }

  private static func power(_ base: Double, _ exponent: Int) -> Double {
    (0..<exponent).reduce(1) { product, _ in product * base }
  }
}

private func padded(_ text: String, to width: Int) -> String {
  String(repeating: " ", count: max(0, width - text.count)) + text
}

private func wholeMicroseconds(_ nanoseconds: UInt64) -> String { "\((nanoseconds + 500) / 1000)" }

func microseconds(_ nanoseconds: UInt64) -> String { "\(wholeMicroseconds(nanoseconds)) µs" }

/// With two digits behind the point below ten, where they tell.
func milliseconds(_ nanoseconds: UInt64) -> String {
  guard nanoseconds < 10_000_000 else { return "\((nanoseconds + 500_000) / 1_000_000) ms" }
  let hundredths = (nanoseconds + 5000) / 10_000
  return "\(hundredths / 100).\(hundredths % 100 < 10 ? "0" : "")\(hundredths % 100) ms"
}
