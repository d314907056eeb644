// Owns the one way in which this project counts latencies: a high dynamic range histogram of nanoseconds with three
// significant digits.
//
// It must never lose a sample, and never show a percentile that the samples do not support.
//
// Invariants: `count` is the number of samples ever recorded or merged; the sum of the bucket counts equals `count`;
// `min`, `max` and the sum behind `mean` are exact, where a percentile is exact to one part in a thousand.

import Histogram

/// A distribution of latencies in nanoseconds.
///
/// A value type without any lock. Each thread or event loop records into its own, and the owner merges them at the end.
package struct LatencyHistogram: Sendable {
  /// A percentile is an order statistic, and one with fewer samples than this above it is decided by luck.
  package static let samplesRequiredAbovePercentile: UInt64 = 10

  /// Samples above this are counted as this. It is 146 years, which is there only to keep the bucket arithmetic of
  /// the histogram below from overflowing on a subtraction that went wrong.
  package static let largestSampleNanoseconds: UInt64 = 1 << 62

  /// One cell of the distribution: `count` samples that are at most `upToNanoseconds`, and above the cell before.
  package struct Bucket: Sendable, Hashable {
    package var upToNanoseconds: UInt64
    package var count: UInt64

    package init(upToNanoseconds: UInt64, count: UInt64) {
      self.upToNanoseconds = upToNanoseconds
      self.count = count
    }
  }

  /// Nil until the first sample: the cells are many pages of memory, and to make and clear those of an interval in which
  /// nothing came, again and again, would hold up the very loop that is measuring.
  private var cells: Histogram<UInt64>?
  private var sumNanoseconds: UInt64 = 0
  private var smallest: UInt64 = .max
  private var largest: UInt64 = 0

  /// An empty distribution. With its first sample it covers a minute, and it grows by itself when a longer one comes.
  package init() {}

  private static func makeCells() -> Histogram<UInt64> {
    var histogram = Histogram<UInt64>(
      lowestDiscernibleValue: 1, highestTrackableValue: 60_000_000_000, numberOfSignificantValueDigits: .three)
    histogram.autoResize = true
    return histogram
  }

  package mutating func record(nanoseconds: UInt64) {
    record(nanoseconds: nanoseconds, times: 1)
  }

  package mutating func record(nanoseconds: UInt64, times: UInt64) {
    guard times > 0 else { return }
    let sample = Swift.min(nanoseconds, Self.largestSampleNanoseconds)
    if cells == nil { cells = Self.makeCells() }
    let wasCounted = cells?.record(sample, count: times)
    precondition(
      wasCounted == true, "a histogram that resizes itself refused \(sample) ns, so its count would be wrong")
    smallest = Swift.min(smallest, sample)
    largest = Swift.max(largest, sample)
    addToSum(sample.multipliedReportingOverflow(by: times))
  }

  /// Takes over every sample of `other`. Exact: both have the same cells.
  package mutating func merge(_ other: LatencyHistogram) {
    guard let others = other.cells else { return }
    if cells == nil { cells = others } else { cells?.add(others) }
    smallest = Swift.min(smallest, other.smallest)
    largest = Swift.max(largest, other.largest)
    addToSum((other.sumNanoseconds, false))
  }

  /// The sum saturates. A mean that is too low after five centuries of latency harms nobody, a trap in a run would.
  private mutating func addToSum(_ addend: (partialValue: UInt64, overflow: Bool)) {
    let (sum, overflow) = sumNanoseconds.addingReportingOverflow(addend.partialValue)
    sumNanoseconds = overflow || addend.overflow ? .max : sum
  }

  package var count: UInt64 { cells?.totalCount ?? 0 }
  package var isEmpty: Bool { count == 0 }

  /// The smallest sample in nanoseconds, exact; 0 when there is none.
  package var min: UInt64 { isEmpty ? 0 : smallest }

  /// The largest sample in nanoseconds, exact; 0 when there is none. It needs no minimum of samples, unlike a percentile.
  package var max: UInt64 { largest }

  /// The mean in nanoseconds; 0 when there is no sample.
  package var mean: Double { isEmpty ? 0 : Double(sumNanoseconds) / Double(count) }

  /// The latency in nanoseconds that `percent` of a hundred samples do not exceed, or nil when fewer than
  /// ``samplesRequiredAbovePercentile`` samples lie above that rank, so that the figure would be noise.
  package func percentile(_ percent: Double) -> UInt64? {
    precondition(percent >= 0 && percent <= 100, "a percentile is between 0 and 100, \(percent) was asked for")
    let rank = Self.rank(of: percent, in: count)
    guard let cells, count >= rank, count - rank >= Self.samplesRequiredAbovePercentile else { return nil }
    // The cell's upper edge may lie beyond the largest sample that was seen, and below the smallest it never can.
    return Swift.min(cells.valueAtPercentile(percent), largest)
  }

  /// How many of `count` samples are at or below the percentile: its nearest rank, 1 at least.
  private static func rank(of percent: Double, in count: UInt64) -> UInt64 {
    Swift.max(1, UInt64((percent.nextDown * Double(count) / 100).rounded(.up)))
  }

  /// The cells that hold samples, in rising order: the whole distribution, for a report or another program.
  package var buckets: [Bucket] {
    guard let cells else { return [] }
    return cells.recordedValues().map { cell in
      Bucket(upToNanoseconds: cells.highestEquivalentForValue(cell.value), count: cell.count)
    }
  }
}

extension LatencyHistogram: Equatable {
  /// Equal when they tell the same: the same cells and the same exact figures, however much room each has reserved.
  package static func == (left: LatencyHistogram, right: LatencyHistogram) -> Bool {
    left.count == right.count && left.sumNanoseconds == right.sumNanoseconds && left.min == right.min
      && left.max == right.max && left.buckets == right.buckets
  }
}

extension LatencyHistogram: Codable {
  /// The percentiles that a report shows, as far as the samples support them.
  package static let reportedPercentiles: [Double] = [50, 90, 99, 99.9, 99.99]

  private enum CodingKeys: String, CodingKey {
    case count, minimumNanoseconds, maximumNanoseconds, sumNanoseconds, percentiles, buckets
  }

  private struct Percentile: Encodable {
    var percent: Double
    var nanoseconds: UInt64
  }

  /// The percentiles are written for whoever reads the file by eye or with a shell; reading takes the cells alone.
  package func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(count, forKey: .count)
    try container.encode(min, forKey: .minimumNanoseconds)
    try container.encode(max, forKey: .maximumNanoseconds)
    try container.encode(sumNanoseconds, forKey: .sumNanoseconds)
    let percentiles = Self.reportedPercentiles.compactMap { percent in
      percentile(percent).map { Percentile(percent: percent, nanoseconds: $0) }
    }
    try container.encode(percentiles, forKey: .percentiles)
    // Pairs, not objects: a histogram has hundreds of cells, and repeating two names in each would treble the file.
    try container.encode(buckets.map { [$0.upToNanoseconds, $0.count] }, forKey: .buckets)
  }

  package init(from decoder: any Decoder) throws {
    self.init()
    let container = try decoder.container(keyedBy: CodingKeys.self)
    for pair in try container.decode([[UInt64]].self, forKey: .buckets) {
      try restore(cell: pair, from: container)
    }
    let statedCount = try container.decode(UInt64.self, forKey: .count)
    guard statedCount == count else {
      throw Self.corrupted(.count, "\(statedCount) samples are stated, the cells hold \(count)", container)
    }
    guard !isEmpty else { return }
    smallest = try container.decode(UInt64.self, forKey: .minimumNanoseconds)
    largest = try container.decode(UInt64.self, forKey: .maximumNanoseconds)
    sumNanoseconds = try container.decode(UInt64.self, forKey: .sumNanoseconds)
    guard smallest <= largest else {
      let what = "the smallest sample, \(smallest) ns, is above the largest, \(largest) ns"
      throw Self.corrupted(.maximumNanoseconds, what, container)
    }
  }

  private mutating func restore(cell: [UInt64], from container: KeyedDecodingContainer<CodingKeys>) throws {
    guard cell.count == 2 else {
      throw Self.corrupted(.buckets, "a cell is [up to nanoseconds, count], not \(cell.count) numbers", container)
    }
    let (total, overflow) = count.addingReportingOverflow(cell[1])
    guard !overflow, total <= UInt64(Int64.max) else {
      throw Self.corrupted(.buckets, "the cells hold more samples than can be counted", container)
    }
    record(nanoseconds: cell[0], times: cell[1])
  }

  private static func corrupted(
    _ key: CodingKeys, _ what: String, _ container: KeyedDecodingContainer<CodingKeys>
  ) -> DecodingError {
    DecodingError.dataCorruptedError(forKey: key, in: container, debugDescription: what)
  }
}
