// Owns how the latencies of a disk are counted: cells of one microsecond over the whole range.
//
// It must never lose a sample, and never show a percentile that the samples do not support.
//
// `LatencyHistogram` keeps three digits, which is a cell of 8 µs at 10 ms. That is right for a report. It is not for
// finding two modes close together, nor for whoever replays the distribution. A disk is asked some thousand times and
// not some million, so the finer cells cost nothing.
//
// Invariants: `cells` rise and none is empty; their counts sum to `count`; `minimumNanoseconds`, `maximumNanoseconds`
// and `sumNanoseconds` are exact, and so is a cell to half a microsecond.

import Measurement

package struct FlushDistribution: Sendable, Equatable {
  /// `count` samples that round to `microseconds`.
  package struct Cell: Sendable, Hashable {
    package var microseconds: UInt64
    package var count: UInt64
  }

  package private(set) var cells: [Cell] = []
  package private(set) var count: UInt64 = 0
  package private(set) var minimumNanoseconds: UInt64 = 0
  package private(set) var maximumNanoseconds: UInt64 = 0
  package private(set) var sumNanoseconds: UInt64 = 0

  package init(nanoseconds samples: [UInt64]) {
    for sample in samples.sorted() {
      let microseconds = (min(sample, LatencyHistogram.largestSampleNanoseconds) + 500) / 1000
      if let last = cells.indices.last, cells[last].microseconds == microseconds {
        cells[last].count += 1
      } else {
        cells.append(Cell(microseconds: microseconds, count: 1))
      }
      count += 1
      sumNanoseconds &+= sample
      minimumNanoseconds = count == 1 ? sample : minimumNanoseconds
      maximumNanoseconds = sample
    }
  }

  package var meanNanoseconds: Double { count == 0 ? 0 : Double(sumNanoseconds) / Double(count) }

  /// What `percent` of a hundred samples do not exceed, in nanoseconds and exact to half a microsecond. Nil with fewer
  /// samples above it than `LatencyHistogram.samplesRequiredAbovePercentile`: chance would decide it.
  package func percentile(_ percent: Double) -> UInt64? {
    precondition(percent >= 0 && percent <= 100, "a percentile is between 0 and 100, \(percent) was asked for")
    let rank = max(1, UInt64((percent.nextDown * Double(count) / 100).rounded(.up)))
    guard count >= rank, count - rank >= LatencyHistogram.samplesRequiredAbovePercentile else { return nil }
    var below: UInt64 = 0
    for cell in cells {
      below += cell.count
      guard below < rank else { return min(max(cell.microseconds * 1000, minimumNanoseconds), maximumNanoseconds) }
    }
    return nil
  }
}

extension FlushDistribution: Codable {
  /// The percentiles that are shown, as far as the samples support them.
  package static let shownPercentiles: [Double] = [50, 90, 99, 99.9]

  private enum CodingKeys: String, CodingKey {
    case count, minimumNanoseconds, maximumNanoseconds, sumNanoseconds, percentiles, microseconds
  }

  private struct Percentile: Encodable {
    var percent: Double
    var nanoseconds: UInt64
  }

  /// The percentiles are written for whoever reads the file by eye or with a shell; reading takes the cells alone.
  package func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(count, forKey: .count)
    try container.encode(minimumNanoseconds, forKey: .minimumNanoseconds)
    try container.encode(maximumNanoseconds, forKey: .maximumNanoseconds)
    try container.encode(sumNanoseconds, forKey: .sumNanoseconds)
    let percentiles = Self.shownPercentiles.compactMap { percent in
      percentile(percent).map { Percentile(percent: percent, nanoseconds: $0) }
    }
    try container.encode(percentiles, forKey: .percentiles)
    try container.encode(cells.map { [$0.microseconds, $0.count] }, forKey: .microseconds)
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    func corrupted(_ key: CodingKeys, _ what: String) -> DecodingError {
      .dataCorruptedError(forKey: key, in: container, debugDescription: what)
    }
    for pair in try container.decode([[UInt64]].self, forKey: .microseconds) {
      guard pair.count == 2, pair[1] > 0 else {
        throw corrupted(.microseconds, "a cell is [microseconds, count], with a count above 0")
      }
      guard cells.last.map({ $0.microseconds < pair[0] }) ?? true else {
        throw corrupted(.microseconds, "the cells do not rise at \(pair[0]) µs")
      }
      let (sum, overflow) = count.addingReportingOverflow(pair[1])
      guard !overflow else { throw corrupted(.microseconds, "the cells hold more samples than can be counted") }
      count = sum
      cells.append(Cell(microseconds: pair[0], count: pair[1]))
    }
    let stated = try container.decode(UInt64.self, forKey: .count)
    guard stated == count else { throw corrupted(.count, "\(stated) samples are stated, the cells hold \(count)") }
    minimumNanoseconds = try container.decode(UInt64.self, forKey: .minimumNanoseconds)
    maximumNanoseconds = try container.decode(UInt64.self, forKey: .maximumNanoseconds)
    sumNanoseconds = try container.decode(UInt64.self, forKey: .sumNanoseconds)
    // Percentiles are held between the two, so a file that has them wrong would give wrong percentiles.
    guard let first = cells.first, let last = cells.last else { return }
    guard maximumNanoseconds <= LatencyHistogram.largestSampleNanoseconds,
      first.microseconds == (minimumNanoseconds + 500) / 1000, last.microseconds == (maximumNanoseconds + 500) / 1000
    else { throw corrupted(.maximumNanoseconds, "the smallest or the largest sample is not in the outermost cells") }
  }
}
