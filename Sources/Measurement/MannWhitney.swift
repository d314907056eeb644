// Owns the test of whether two sets of runs differ: Mann and Whitney's U (1947).
//
// It must never be fed the samples of one run as if they were runs: operations of one run are not independent, and a
// thousand of them would make any difference look certain. One figure from each run goes in.

package struct MannWhitney: Sendable, Hashable, Codable {
  /// How often a figure of the first set beats one of the second, ties counting half.
  package let u: Double
  /// The chance of a `u` at least this far from its mean when both sets come from one distribution.
  package let twoSidedP: Double
  /// Whether `twoSidedP` was counted out, as it is for small sets without ties, or approximated by a normal curve.
  package let isExact: Bool

  /// The largest product of set sizes for which the distribution is counted out.
  static let exactProductLimit = 400

  /// Nil when either set is empty.
  package init?(_ first: [Double], _ second: [Double]) {
    guard !first.isEmpty, !second.isEmpty else { return nil }
    let ranking = Ranking(first: first, second: second)
    let n = Double(first.count)
    let m = Double(second.count)
    u = ranking.firstRankSum - n * (n + 1) / 2
    isExact = ranking.tieTerm == 0 && first.count * second.count <= Self.exactProductLimit
    twoSidedP =
      isExact
      ? Self.exactP(u: u, first.count, second.count)
      : Self.approximateP(u: u, n, m, tieTerm: ranking.tieTerm)
  }

  /// Every order of the two sets is equally likely. The number of orders with a given U obeys
  /// f(n, m, u) = f(n - 1, m, u - m) + f(n, m - 1, u), by whether the largest figure is of the first set or the second.
  private static func exactP(u: Double, _ n: Int, _ m: Int) -> Double {
    let size = n * m + 1
    var row = [[Double]](repeating: [1] + [Double](repeating: 0, count: size - 1), count: m + 1)
    for _ in 1...n {
      var next = row
      next[0] = [1] + [Double](repeating: 0, count: size - 1)
      for second in 1...m {
        for value in 0..<size {
          next[second][value] = next[second - 1][value] + (value >= second ? row[second][value - second] : 0)
        }
      }
      row = next
    }
    let total = row[m].reduce(0, +)
    let extreme = Int(Swift.min(u, Double(n * m) - u))
    return Swift.min(1, 2 * row[m][0...extreme].reduce(0, +) / total)
  }

  private static func approximateP(u: Double, _ n: Double, _ m: Double, tieTerm: Double) -> Double {
    let total = n + m
    let variance = n * m / 12 * (total + 1 - (total > 1 ? tieTerm / (total * (total - 1)) : 0))
    // All figures are equal: nothing speaks for a difference.
    guard variance > 0 else { return 1 }
    // The half makes up for approximating steps by a curve.
    let distance = Swift.max(0, (u - n * m / 2).magnitude - 0.5)
    return Swift.min(1, 2 * Elementary.normalUpperTail(distance / variance.squareRoot()))
  }
}

/// The ranks of both sets together, tied figures sharing the mean of their ranks.
private struct Ranking {
  var firstRankSum = 0.0
  /// Σ (t³ - t) over the groups of t tied figures, by which ties shrink the variance.
  var tieTerm = 0.0

  init(first: [Double], second: [Double]) {
    precondition((first + second).allSatisfy { !$0.isNaN }, "a figure that is not a number has no rank")
    let all = (first.map { ($0, true) } + second.map { ($0, false) }).sorted { $0.0 < $1.0 }
    var start = 0
    while start < all.count {
      var end = start
      while end < all.count, all[end].0 == all[start].0 { end += 1 }
      let tied = Double(end - start)
      // Ranks start + 1 ... end have this mean.
      let sharedRank = Double(start + 1 + end) / 2
      for index in start..<end where all[index].1 { firstRankSum += sharedRank }
      tieTerm += tied * tied * tied - tied
      start = end
    }
  }
}
