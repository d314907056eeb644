import DiskProbe
import Foundation
import Measurement
import Testing

@Suite("Latencies of a disk are counted to the microsecond")
struct FlushDistributionTests {
  @Test("A sample at 10 ms keeps its microsecond, which three digits would not")
  func resolution() {
    let samples: [UInt64] = [10_000_400, 10_000_600, 10_001_400, 10_003_000]
    let distribution = FlushDistribution(nanoseconds: samples)
    #expect(distribution.cells.map(\.microseconds) == [10_000, 10_001, 10_003])
    #expect(distribution.cells.map(\.count) == [1, 2, 1])
    #expect(distribution.minimumNanoseconds == 10_000_400 && distribution.maximumNanoseconds == 10_003_000)
    #expect(distribution.sumNanoseconds == samples.reduce(0, +))
  }

  @Test("A percentile is the order statistic, to half a microsecond")
  func percentiles() throws {
    let samples = Synthetic.logNormal(medianMicroseconds: 150, deviation: 0.6, count: 20_000)
    let distribution = FlushDistribution(nanoseconds: samples)
    let sorted = samples.sorted()
    for percent in [1.0, 50, 90, 99, 99.9] {
      let exact = sorted[Int((percent * 200).rounded()) - 1]
      let found = try #require(distribution.percentile(percent))
      #expect(found.subtractingReportingOverflow(exact).overflow ? exact - found <= 500 : found - exact <= 500)
    }
  }

  @Test("A percentile with fewer than ten samples above it is not shown")
  func unsupported() {
    let thousand = FlushDistribution(nanoseconds: Synthetic.same(microseconds: 100, count: 1000))
    #expect(thousand.percentile(99) == 100_000)
    #expect(thousand.percentile(99.9) == nil)
    let fewer = FlushDistribution(nanoseconds: Synthetic.same(microseconds: 100, count: 999))
    #expect(fewer.percentile(99) == nil && fewer.percentile(90) == 100_000)
    #expect(FlushDistribution(nanoseconds: []).percentile(50) == nil)
  }

  @Test("It goes through JSON unchanged")
  func roundTrip() throws {
    for samples in [[], [1_234_567], Synthetic.logNormal(medianMicroseconds: 90, deviation: 1, count: 3000)] {
      let distribution = FlushDistribution(nanoseconds: samples)
      let data = try JSONEncoder().encode(distribution)
      #expect(try JSONDecoder().decode(FlushDistribution.self, from: data) == distribution)
    }
  }

  @Test(
    "A file whose figures contradict each other is refused",
    arguments: [
      (3, "[[5,1],[7,1]]", 7000), (2, "[[7,1],[5,1]]", 7000), (2, "[[5,1],[5,1]]", 5000), (1, "[[5,1,3]]", 5000),
      (0, "[[5,0]]", 5000), (1, "[[5,1]]", 9000), (1, "[[6,1]]", 6000), (-1, "[[5,1]]", 5000),
    ])
  func contradictions(count: Int, cells: String, maximum: Int) {
    let json = """
      {"count": \(count), "microseconds": \(cells), "minimumNanoseconds": 5000, "maximumNanoseconds": \(maximum),
      "sumNanoseconds": 12000}
      """
    #expect(throws: DecodingError.self) {
      try JSONDecoder().decode(FlushDistribution.self, from: Data(json.utf8))
    }
  }

  @Test("Every sample is in the drawing, in twelve lines or so", arguments: [1, 100, 3000])
  func drawing(count: Int) {
    let samples = Synthetic.logNormal(medianMicroseconds: 200, deviation: 1, count: count)
    let lines = FlushDistribution(nanoseconds: samples).histogramLines
    #expect((1...14).contains(lines.count))
    let drawn = lines.compactMap { line in
      line.split(separator: "µs").last.flatMap { $0.split(separator: " ").first }.flatMap { Int($0) }
    }
    #expect(drawn.reduce(0, +) == count)
  }
}
