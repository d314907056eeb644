// Owns what the figures of a disk mean for a node that is to run on it.
//
// It must never call a disk good on too few samples, nor a fast one safe: what answers in less time than any medium
// needs has not been written to one.

import Measurement

package enum FlushVerdict: Sendable, Equatable {
  /// Fast enough, and not faster than a real disk can be.
  case plausible(p50Nanoseconds: UInt64)
  /// A cache answers in the disk's place. Whether it outlives a power cut cannot be measured.
  case tooFastToBeTrue(p50Nanoseconds: UInt64)
  /// One flush in a hundred takes as long as `p99Nanoseconds` or longer.
  case slow(p99Nanoseconds: UInt64)
  case tooFewSamples(count: UInt64)

  /// etcd's hardware guide asks for a 99th percentile of fdatasync below this.
  package static let slowFromNanoseconds: UInt64 = 10_000_000
  /// The fastest flash with a capacitor answers a flush in some 20 µs through a file system.
  package static let tooFastBelowNanoseconds: UInt64 = 15_000

  /// Judges by the plain file, since the log's own figure holds more than the disk.
  package init(_ series: [FlushSeries]) {
    let flushed = series.filter { $0.path == .file }.map(\.latency)
    let medians = flushed.compactMap { $0.percentile(50) }
    guard let fastest = medians.min(), let slowest = medians.max(), medians.count == flushed.count else {
      self = .tooFewSamples(count: flushed.map(\.count).min() ?? 0)
      return
    }
    if fastest < Self.tooFastBelowNanoseconds {
      self = .tooFastToBeTrue(p50Nanoseconds: fastest)
    } else if let p99 = flushed.compactMap(Self.knownSlowPercentile).max() {
      self = .slow(p99Nanoseconds: p99)
    } else if flushed.allSatisfy(Self.isSurelyFast) {
      self = .plausible(p50Nanoseconds: slowest)
    } else {
      self = .tooFewSamples(count: flushed.map(\.count).min() ?? 0)
    }
  }

  /// A percentile of at most 99 that is over the limit, so that the 99th surely is.
  private static func knownSlowPercentile(_ latency: LatencyHistogram) -> UInt64? {
    [99, 90, 50].lazy.compactMap { latency.percentile($0) }.first { $0 >= slowFromNanoseconds }
  }

  /// With fewer samples than a 99th percentile needs, the largest of all still bounds it.
  private static func isSurelyFast(_ latency: LatencyHistogram) -> Bool {
    (latency.percentile(99) ?? latency.max) < slowFromNanoseconds
  }

  package var text: String {
    switch self {
    case .plausible(let p50):
      "plausible: half of all flushes take less than \(microseconds(p50)) µs, and the 99th percentile is below the "
        + "10 ms that etcd asks for"
    case .tooFastToBeTrue(let p50):
      "too fast to be true: half of all flushes take less than \(microseconds(p50)) µs, so a volatile cache or a file "
        + "system in memory answers for the disk: a power cut would lose what was acknowledged"
    case .slow(let p99):
      "slow: one flush in a hundred takes \(microseconds(p99)) µs or longer, and etcd asks for less than 10 000 µs: "
        + "raise the election timeout, or use a faster disk"
    case .tooFewSamples(let count):
      "undecided: \(count) flushes are too few for a 99th percentile: measure longer"
    }
  }
}

extension FlushProfile {
  /// A table of the series in microseconds and the verdict, for a terminal.
  package var text: String {
    let header = row(["path", "pace", "records", "count", "p50 µs", "p90 µs", "p99 µs", "p99.9 µs", "max µs"])
    let rows = series.map { series in
      let percentiles = [50.0, 90, 99, 99.9].map { percentile in
        series.latency.percentile(percentile).map(microseconds) ?? "-"
      }
      return row(
        [
          series.path.rawValue, series.pace.rawValue, "\(series.recordsPerCommit) × \(series.recordBytes)",
          "\(series.latency.count)",
        ] + percentiles + [microseconds(series.latency.max)])
    }
    return ([header] + rows + ["", verdict.text]).joined(separator: "\n")
  }

  private func row(_ cells: [String]) -> String {
    let widths = [10, 6, 11, 7, 9, 9, 9, 9, 9]
    return zip(cells, widths).enumerated().map { column, cell in
      let (text, width) = cell
      let padding = String(repeating: " ", count: max(0, width - text.count))
      return column < 2 ? text + padding : padding + text
    }.joined(separator: " ")
  }
}

/// With one digit after the point: a flush is judged in microseconds.
private func microseconds(_ nanoseconds: UInt64) -> String {
  let tenths = (nanoseconds + 50) / 100
  return "\(tenths / 10).\(tenths % 10)"
}
