// Owns the statistics of a few runs: what is typical, how sure that is, and whether two sets differ.
//
// It must never assume a normal distribution of latencies or rates. Everything here rests on ranks or on resampling,
// because runs are few and a stalled one is not an error to be averaged away.

/// What a handful of figures, one from each run, looks like.
package struct Summary: Sendable, Hashable, Codable {
  package var count: Int
  package var minimum: Double
  package var lowerQuartile: Double
  package var median: Double
  package var upperQuartile: Double
  package var maximum: Double

  package var interquartileRange: Double { upperQuartile - lowerQuartile }

  /// Nil without a single figure.
  package init?(of figures: [Double]) {
    guard !figures.isEmpty else { return nil }
    let sorted = Statistics.sorted(figures)
    count = sorted.count
    minimum = sorted[0]
    lowerQuartile = Statistics.quantile(0.25, ofSorted: sorted)
    median = Statistics.quantile(0.5, ofSorted: sorted)
    upperQuartile = Statistics.quantile(0.75, ofSorted: sorted)
    maximum = sorted[sorted.count - 1]
  }
}

/// An interval and the confidence that it really has, which may be more than was asked for.
package struct ConfidenceInterval: Sendable, Hashable, Codable {
  package var lower: Double
  package var upper: Double
  package var confidence: Double
}

package enum Statistics {
  static func sorted(_ figures: [Double]) -> [Double] {
    precondition(figures.allSatisfy { !$0.isNaN }, "a figure that is not a number has no rank")
    return figures.sorted()
  }

  /// The quantile by linear interpolation between order statistics (type 7 of Hyndman and Fan, 1996).
  package static func quantile(_ fraction: Double, of figures: [Double]) -> Double? {
    figures.isEmpty ? nil : quantile(fraction, ofSorted: sorted(figures))
  }

  static func quantile(_ fraction: Double, ofSorted sorted: [Double]) -> Double {
    precondition(fraction >= 0 && fraction <= 1, "a quantile is between 0 and 1, \(fraction) was asked for")
    let position = fraction * Double(sorted.count - 1)
    let below = Int(position)
    let above = Swift.min(below + 1, sorted.count - 1)
    return sorted[below] + (position - Double(below)) * (sorted[above] - sorted[below])
  }

  /// An interval for the median from order statistics alone: it holds whatever the distribution is. Nil where so few
  /// figures cannot give the confidence; 95 % needs six.
  package static func medianInterval(of figures: [Double], confidence: Double = 0.95) -> ConfidenceInterval? {
    precondition(confidence > 0 && confidence < 1, "a confidence is between 0 and 1, \(confidence) was asked for")
    let sorted = sorted(figures)
    let count = sorted.count
    // The k-th smallest and the k-th largest miss the median when fewer than k figures lie on one side of it, which
    // has twice the binomial chance of at most k - 1 heads in `count` tosses.
    // Kept as a logarithm: 2⁻ⁿ itself is no longer a Double above a thousand figures.
    var logChance = -Double(count) * Elementary.ln(2)
    var missed = 0.0
    var best: ConfidenceInterval?
    for rank in 0..<(count / 2) {
      missed += 2 * Elementary.exp(logChance)
      guard 1 - missed >= confidence else { break }
      best = ConfidenceInterval(lower: sorted[rank], upper: sorted[count - 1 - rank], confidence: 1 - missed)
      logChance += Elementary.ln(Double(count - rank) / Double(rank + 1))
    }
    return best
  }

  /// The percentile bootstrap of any statistic, repeatable from its seed. Nil without a figure.
  package static func bootstrapInterval(
    of figures: [Double], confidence: Double = 0.95, resamples: Int = 2_000, seed: UInt64,
    statistic: ([Double]) -> Double
  ) -> ConfidenceInterval? {
    precondition(confidence > 0 && confidence < 1, "a confidence is between 0 and 1, \(confidence) was asked for")
    precondition(resamples > 0, "a bootstrap needs resamples")
    guard !figures.isEmpty else { return nil }
    var random = SeededRandom(seed: seed, stream: 0x626f_6f74)
    var resample = figures
    var estimates: [Double] = []
    estimates.reserveCapacity(resamples)
    for _ in 0..<resamples {
      for index in resample.indices {
        resample[index] = figures[Int(random.below(UInt64(figures.count)))]
      }
      estimates.append(statistic(resample))
    }
    let sorted = sorted(estimates)
    let tail = (1 - confidence) / 2
    return ConfidenceInterval(
      lower: quantile(tail, ofSorted: sorted), upper: quantile(1 - tail, ofSorted: sorted), confidence: confidence)
  }
}
