// Owns how skewed draws are made: ranks in proportion to a power of their inverse.

/// Ranks from 0, of which rank r is drawn in proportion to 1 / (r + 1)^exponent. It holds the whole distribution, 8 bytes a
/// rank, so that a draw is one search and exact.
package struct ZipfDistribution: Sendable {
  /// Above this the table would be larger than what it is to load.
  package static let mostRanks: UInt64 = 1_000_000

  /// The probability of all ranks up to this one.
  private let upTo: [Double]

  /// - Precondition: there is a rank, at most `mostRanks` of them, and the exponent is finite and not negative.
  package init(ranks: UInt64, exponent: Double) {
    precondition((1...Self.mostRanks).contains(ranks) && exponent.isFinite && exponent >= 0)
    var sums: [Double] = []
    sums.reserveCapacity(Int(ranks))
    var sum = 0.0
    for rank in 1...ranks {
      sum += Elementary.exp(-exponent * Elementary.ln(Double(rank)))
      sums.append(sum)
    }
    upTo = sums.map { $0 / sum }
  }

  /// The share of the draws that a rank gets.
  package func share(of rank: UInt64) -> Double {
    let index = Int(rank)
    return index == 0 ? upTo[0] : upTo[index] - upTo[index - 1]
  }

  package func draw(_ random: inout SeededRandom) -> UInt64 {
    let point = random.unitInterval()
    var (low, high) = (0, upTo.count - 1)
    while low < high {
      let middle = (low + high) / 2
      if upTo[middle] > point { high = middle } else { low = middle + 1 }
    }
    return UInt64(low)
  }
}
