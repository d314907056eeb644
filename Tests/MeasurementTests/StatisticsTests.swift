// Tests of the statistics against figures that are known from tables or that can be counted out by hand.

import Measurement
import Testing

@Suite struct StatisticsTests {
  @Test("quartiles interpolate between order statistics")
  func summary() throws {
    let summary = try #require(Summary(of: [4, 1, 3, 2]))
    #expect(summary.count == 4)
    #expect(summary.minimum == 1)
    #expect(summary.lowerQuartile == 1.75)
    #expect(summary.median == 2.5)
    #expect(summary.upperQuartile == 3.25)
    #expect(summary.maximum == 4)
    #expect(summary.interquartileRange == 1.5)
    #expect(Summary(of: []) == nil)
    #expect(Summary(of: [7])?.median == 7)
  }

  @Test("an interval for the median at 95 % needs six figures, and then spans them all")
  func medianIntervalOfFew() throws {
    #expect(Statistics.medianInterval(of: [1, 2, 3, 4, 5]) == nil)
    let six = try #require(Statistics.medianInterval(of: [6, 1, 5, 2, 4, 3]))
    #expect(six.lower == 1)
    #expect(six.upper == 6)
    #expect((six.confidence - 0.96875).magnitude < 1e-12)
  }

  @Test("the interval for the median of twenty is from the sixth to the fifteenth, as the binomial table says")
  func medianIntervalOfTwenty() throws {
    let interval = try #require(Statistics.medianInterval(of: (1...20).map(Double.init)))
    #expect(interval.lower == 6)
    #expect(interval.upper == 15)
    #expect((interval.confidence - 0.95861).magnitude < 1e-4)
  }

  @Test("an interval of thousands of figures is narrow, where two to the minus n is no longer a number")
  func medianIntervalOfMany() throws {
    let interval = try #require(Statistics.medianInterval(of: (1...4_000).map(Double.init)))
    // ± 1.96 · √n / 2 = 62 ranks about the middle.
    #expect((interval.lower - 1_938.5).magnitude < 2)
    #expect((interval.upper - 2_062.5).magnitude < 2)
  }

  @Test("a bootstrap interval is repeatable from its seed and holds the statistic")
  func bootstrap() throws {
    let figures = (0..<30).map { Double($0 * $0 % 31) }
    func interval(_ seed: UInt64) -> ConfidenceInterval? {
      Statistics.bootstrapInterval(of: figures, seed: seed) { $0.reduce(0, +) / Double($0.count) }
    }
    let mean = figures.reduce(0, +) / Double(figures.count)
    let first = try #require(interval(1))
    #expect(first == interval(1))
    #expect(first != interval(2))
    #expect(first.lower < mean && mean < first.upper)
    #expect(Statistics.bootstrapInterval(of: [], seed: 1) { _ in 0 } == nil)
  }
}

@Suite struct MannWhitneyTests {
  @Test("two sets of five that do not overlap differ with p = 2 / 252")
  func separated() throws {
    let test = try #require(MannWhitney([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]))
    #expect(test.u == 0)
    #expect(test.isExact)
    #expect((test.twoSidedP - 2.0 / 252).magnitude < 1e-12)
    let swapped = try #require(MannWhitney([6, 7, 8, 9, 10], [1, 2, 3, 4, 5]))
    #expect(swapped.u == 25)
    #expect((swapped.twoSidedP - 2.0 / 252).magnitude < 1e-12)
  }

  @Test("the exact distribution is that of counting every order out", arguments: [(2, 3), (3, 3), (4, 2), (1, 5)])
  func countedOut(n: Int, m: Int) throws {
    // Each subset of n of the ranks 1 ... n + m is as likely as any other.
    var distribution: [Int: Double] = [:]
    var subsets = 0.0
    for mask in 0..<(1 << (n + m)) where mask.nonzeroBitCount == n {
      var u = 0
      for winner in 0..<(n + m) where mask >> winner & 1 == 1 {
        for loser in 0..<winner where mask >> loser & 1 == 0 { u += 1 }
      }
      distribution[u, default: 0] += 1
      subsets += 1
    }
    for mask in 0..<(1 << (n + m)) where mask.nonzeroBitCount == n {
      let first = (0..<(n + m)).filter { mask >> $0 & 1 == 1 }.map(Double.init)
      let second = (0..<(n + m)).filter { mask >> $0 & 1 == 0 }.map(Double.init)
      let test = try #require(MannWhitney(first, second))
      let extreme = min(Int(test.u), n * m - Int(test.u))
      let tail = (0...extreme).reduce(0.0) { $0 + (distribution[$1] ?? 0) }
      #expect((test.twoSidedP - min(1, 2 * tail / subsets)).magnitude < 1e-12)
    }
  }

  @Test("equal sets do not differ, and ties are ranked in the middle")
  func ties() throws {
    let same = try #require(MannWhitney([3, 3, 3], [3, 3, 3]))
    #expect(same.u == 4.5)
    #expect(same.twoSidedP == 1)
    #expect(!same.isExact)
  }

  @Test("large sets use the normal curve, which agrees with tables")
  func normalApproximation() throws {
    // Alternating sets of 100 differ by half a rank each: nothing to see.
    let even = stride(from: 0.0, to: 200, by: 2)
    let odd = stride(from: 1.0, to: 200, by: 2)
    let interleaved = try #require(MannWhitney(Array(even), Array(odd)))
    #expect(!interleaved.isExact)
    #expect(interleaved.twoSidedP > 0.9)
    // A shift by k + ½ leaves the pairs i > j + k: (99 - k) · (100 - k) / 2 of them, 3916 for k = 11. Against a mean of
    // 5000 and a deviation of √167500 that is z = 2.6474, and twice the tail beyond it is 0.0081 by the table.
    let first = Array(stride(from: 0.0, to: 100, by: 1))
    let shifted = try #require(MannWhitney(first, first.map { $0 + 11.5 }))
    #expect(shifted.u == 3_916)
    #expect((shifted.twoSidedP - 0.00811).magnitude < 0.00002)
  }

  @Test("an empty set cannot be tested")
  func emptySet() {
    #expect(MannWhitney([], [1]) == nil)
    #expect(MannWhitney([1], []) == nil)
  }
}
