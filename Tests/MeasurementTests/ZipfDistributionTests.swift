// Tests of the skewed draws against the distribution that they are to have.

import Measurement
import Testing

@Suite struct ZipfDistributionTests {
  @Test("ranks are drawn in proportion to the power of their inverse", arguments: [0, 0.5, 1, 2])
  func shares(exponent: Double) {
    let distribution = ZipfDistribution(ranks: 50, exponent: exponent)
    var random = SeededRandom(seed: 7)
    var counts = [Int](repeating: 0, count: 50)
    for _ in 0..<100_000 { counts[Int(distribution.draw(&random))] += 1 }
    for rank in 0..<50 {
      let share = distribution.share(of: UInt64(rank))
      // Five deviations of a binomial count.
      let slack = 5 * (100_000 * share * (1 - share)).squareRoot() + 1
      #expect((Double(counts[rank]) - 100_000 * share).magnitude < slack, "rank \(rank)")
    }
    let ratio = distribution.share(of: 0) / distribution.share(of: 3)
    let expected: [Double: Double] = [0: 1, 0.5: 2, 1: 4, 2: 16]
    #expect((ratio / (expected[exponent] ?? 0) - 1).magnitude < 1e-9, "4 to the power of the exponent")
  }

  @Test("one rank is always drawn, and a seed repeats its draws")
  func edges() {
    var random = SeededRandom(seed: 1)
    let single = ZipfDistribution(ranks: 1, exponent: 3)
    #expect((0..<100).allSatisfy { _ in single.draw(&random) == 0 })
    let many = ZipfDistribution(ranks: 1_000, exponent: 1)
    var (first, second) = (SeededRandom(seed: 9), SeededRandom(seed: 9))
    #expect((0..<100).allSatisfy { _ in many.draw(&first) == many.draw(&second) })
  }
}
