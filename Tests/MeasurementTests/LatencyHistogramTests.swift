// Tests of the histogram: no sample lost, no percentile that the samples do not support.

import Foundation
import Measurement
import Testing

@Suite struct LatencyHistogramTests {
  @Test("an empty histogram has no percentile, and its exact figures are zero")
  func empty() {
    let histogram = LatencyHistogram()
    #expect(histogram.count == 0)
    #expect(histogram.max == 0)
    #expect(histogram.min == 0)
    #expect(histogram.mean == 0)
    #expect(histogram.percentile(50) == nil)
    #expect(histogram.buckets.isEmpty)
  }

  @Test("a percentile is shown from the sample on that puts ten above it")
  func tenAbove() {
    var histogram = LatencyHistogram()
    for sample in 1...19 { histogram.record(nanoseconds: UInt64(sample)) }
    #expect(histogram.percentile(50) == nil, "nine of nineteen lie above the tenth")
    histogram.record(nanoseconds: 20)
    #expect(histogram.percentile(50) == 10)
    #expect(histogram.percentile(90) == nil)
    #expect(histogram.percentile(100) == nil, "nothing can lie above all samples; the maximum is asked for by name")
    #expect(histogram.max == 20)
  }

  @Test("p99 needs a thousand samples and p99.9 ten thousand")
  func tailNeedsSamples() {
    var histogram = LatencyHistogram()
    for sample in 1...999 { histogram.record(nanoseconds: UInt64(sample)) }
    #expect(histogram.percentile(99) == nil)
    histogram.record(nanoseconds: 1_000)
    #expect(histogram.percentile(99) == 990)
    #expect(histogram.percentile(99.9) == nil)
    for sample in 1_001...10_000 { histogram.record(nanoseconds: UInt64(sample)) }
    #expect(histogram.percentile(99.9).map { isWithinThousandth($0, of: 9_990) } == true)
  }

  @Test("percentiles agree with the sorted samples to one part in a thousand, over nine decades")
  func agreesWithSorting() throws {
    var random = SeededRandom(seed: 7)
    var histogram = LatencyHistogram()
    var samples: [UInt64] = []
    for _ in 0..<50_000 {
      let sample = UInt64(random.exponential(mean: 1e6)) << (random.below(16))
      samples.append(sample)
      histogram.record(nanoseconds: sample)
    }
    samples.sort()
    for permille in [10, 250, 500, 750, 900, 990, 999] {
      let exact = samples[permille * samples.count / 1_000 - 1]
      let shown = try #require(histogram.percentile(Double(permille) / 10))
      #expect(isWithinThousandth(shown, of: exact), "\(permille) permille")
    }
    #expect(histogram.max == samples.last)
    #expect(histogram.min == samples.first)
    let mean = Double(samples.reduce(0, +)) / Double(samples.count)
    #expect((histogram.mean / mean - 1).magnitude < 1e-12)
  }

  @Test("merging gives what recording everything into one gives, in either order")
  func mergeIsExact() {
    var random = SeededRandom(seed: 11)
    var parts = [LatencyHistogram](repeating: LatencyHistogram(), count: 4)
    var whole = LatencyHistogram()
    for index in 0..<20_000 {
      // The last part holds samples far beyond the range that a new histogram covers.
      let sample = index % 4 == 3 ? 3_600_000_000_000 + random.below(1 << 40) : random.below(1 << 30)
      parts[index % 4].record(nanoseconds: sample)
      whole.record(nanoseconds: sample)
    }
    var forward = LatencyHistogram()
    for part in parts { forward.merge(part) }
    var backward = LatencyHistogram()
    for part in parts.reversed() { backward.merge(part) }
    forward.merge(LatencyHistogram())
    #expect(forward == whole)
    #expect(backward == whole)
    #expect(forward.percentile(99) == whole.percentile(99))
  }

  @Test("a sample beyond every bound is counted and does not trap")
  func hugeSample() {
    var histogram = LatencyHistogram()
    histogram.record(nanoseconds: .max)
    histogram.record(nanoseconds: .max, times: 9)
    histogram.record(nanoseconds: 0)
    #expect(histogram.count == 11)
    #expect(histogram.max == LatencyHistogram.largestSampleNanoseconds)
    #expect(histogram.min == 0)
  }

  @Test("the cells add up to the count and rise")
  func buckets() {
    var histogram = LatencyHistogram()
    for sample in [5, 5, 70_000, 123_456_789] as [UInt64] { histogram.record(nanoseconds: sample) }
    let buckets = histogram.buckets
    #expect(buckets.map(\.count) == [2, 1, 1])
    #expect(buckets.map(\.upToNanoseconds).sorted() == buckets.map(\.upToNanoseconds))
    #expect(buckets[0].upToNanoseconds == 5)
  }

  @Test("a histogram survives JSON as it was")
  func codable() throws {
    var histogram = LatencyHistogram()
    var random = SeededRandom(seed: 3)
    for _ in 0..<5_000 { histogram.record(nanoseconds: random.below(1 << 36)) }
    let back = try JSONDecoder().decode(LatencyHistogram.self, from: JSONEncoder().encode(histogram))
    #expect(back == histogram)
    #expect(back.percentile(99) == histogram.percentile(99))
    let empty = try JSONDecoder().decode(LatencyHistogram.self, from: JSONEncoder().encode(LatencyHistogram()))
    #expect(empty == LatencyHistogram())
  }

  @Test(
    "JSON whose cells do not make up the stated count is refused",
    arguments: [
      #"{"count":3,"minimumNanoseconds":1,"maximumNanoseconds":1,"sumNanoseconds":2,"buckets":[[1,2]]}"#,
      #"{"count":2,"minimumNanoseconds":9,"maximumNanoseconds":1,"sumNanoseconds":2,"buckets":[[1,2]]}"#,
      #"{"count":2,"minimumNanoseconds":1,"maximumNanoseconds":1,"sumNanoseconds":2,"buckets":[[1]]}"#,
      #"{"count":2,"minimumNanoseconds":1,"maximumNanoseconds":1,"sumNanoseconds":2,"buckets":[[1,18446744073709551615]]}"#,
    ])
  func damagedJSON(text: String) {
    #expect(throws: DecodingError.self) {
      try JSONDecoder().decode(LatencyHistogram.self, from: Data(text.utf8))
    }
  }

  private func isWithinThousandth(_ value: UInt64, of exact: UInt64) -> Bool {
    value >= exact && Double(value) <= Double(exact) * 1.001 + 1
  }
}
