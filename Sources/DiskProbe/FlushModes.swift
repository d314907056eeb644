// Owns whether a disk has one way of answering or several, and where they lie.
//
// It must never call chance a mode. A percentile between two modes is a figure that the disk never gives: a model fed
// with it, or a person who plans with it, is wrong by the distance of the two.
//
// How it is found: a density over the logarithm of the latency, since a disk's modes differ by a factor; smoothed by
// the rule of thumb for a bandwidth (Silverman 1986, 3.4.2), which gets narrower with more samples; peaks of it that
// are apart, with a valley between them that is deep and that so many samples would not show by chance.

import Glibc

/// A latency around which samples gather.
package struct FlushMode: Sendable, Equatable, Codable {
  /// Where the density is highest.
  package var peakNanoseconds: UInt64
  /// How much of all samples lies nearer to this mode than to another, between 0 and 1.
  package var share: Double
}

extension FlushDistribution {
  /// The modes in rising order: one for a disk that has one way of answering; none with too few samples to say.
  package var modes: [FlushMode] {
    guard count >= 100 else { return [] }
    return LogDensity(of: self).modes
  }
}

/// A smoothed density over log₂ of microseconds.
private struct LogDensity {
  private static let binsPerOctave = 32
  /// A dip counts from here on: the valley has at most this part of the lower of its two peaks.
  private static let deepestValley = 0.6
  /// Modes nearer than this factor are one, for all that anybody would do about them.
  private static let leastFactor = 1.3
  /// What has less than this of all samples is the tail of its neighbour.
  private static let leastShare = 0.02
  private static let leastSamples = 20.0
  /// In standard deviations of the difference between the samples of a peak and those of a valley.
  private static let leastSignificance = 4.0

  private let origin: Double
  private var mass: [Double]
  private var smoothed: [Double] = []
  private var halfWidthBins = 1

  init(of distribution: FlushDistribution) {
    let first = Self.edges(of: distribution.cells[0].microseconds).lower
    let last = Self.edges(of: distribution.cells[distribution.cells.count - 1].microseconds).upper
    origin = first - 1
    mass = [Double](repeating: 0, count: Int((last - origin) * Double(Self.binsPerOctave)) + Self.binsPerOctave)
    for cell in distribution.cells { spread(cell) }
    smooth(bandwidthBins: bandwidthBins(samples: Double(distribution.count)))
  }

  /// A sample of 2 µs lies anywhere from 1.5 to 2.5. Taken as a point, each microsecond would be a mode of its own.
  private static func edges(of microseconds: UInt64) -> (lower: Double, upper: Double) {
    (log2(max(0.25, Double(microseconds) - 0.5)), log2(Double(microseconds) + 0.5))
  }

  private mutating func spread(_ cell: FlushDistribution.Cell) {
    let edges = Self.edges(of: cell.microseconds)
    let lower = (edges.lower - origin) * Double(Self.binsPerOctave)
    let upper = (edges.upper - origin) * Double(Self.binsPerOctave)
    for bin in Int(lower)...Int(upper) {
      let overlap = min(upper, Double(bin + 1)) - max(lower, Double(bin))
      mass[bin] += Double(cell.count) * max(0, overlap) / (upper - lower)
    }
  }

  private func bandwidthBins(samples: Double) -> Double {
    var mean = 0.0
    var squares = 0.0
    for (bin, mass) in mass.enumerated() {
      mean += mass * Double(bin)
      squares += mass * Double(bin) * Double(bin)
    }
    mean /= samples
    let deviation = max(0, squares / samples - mean * mean).squareRoot()
    let quartiles = bin(atFraction: 0.75, of: samples) - bin(atFraction: 0.25, of: samples)
    let spread = quartiles > 0 ? min(deviation, Double(quartiles) / 1.349) : deviation
    let bandwidth = 0.9 * spread * pow(samples, -0.2)
    return min(max(bandwidth, Double(Self.binsPerOctave) / 16), Double(Self.binsPerOctave) / 2)
  }

  private func bin(atFraction fraction: Double, of samples: Double) -> Int {
    var below = 0.0
    for (bin, mass) in mass.enumerated() {
      below += mass
      if below >= fraction * samples { return bin }
    }
    return mass.count - 1
  }

  private mutating func smooth(bandwidthBins: Double) {
    halfWidthBins = max(1, Int(bandwidthBins.rounded()))
    let reach = Int((4 * bandwidthBins).rounded(.up))
    var kernel = (-reach...reach).map { exp(-0.5 * pow(Double($0) / bandwidthBins, 2)) }
    let total = kernel.reduce(0, +)
    kernel = kernel.map { $0 / total }
    smoothed = [Double](repeating: 0, count: mass.count)
    for (bin, mass) in mass.enumerated() where mass > 0 {
      for offset in -reach...reach where smoothed.indices.contains(bin + offset) {
        smoothed[bin + offset] += mass * kernel[offset + reach]
      }
    }
  }

  var modes: [FlushMode] {
    var peaks = smoothed.indices.filter { bin in
      let left = bin > 0 ? smoothed[bin - 1] : 0
      let right = bin + 1 < smoothed.count ? smoothed[bin + 1] : 0
      return smoothed[bin] > left && smoothed[bin] >= right
    }
    let samples = mass.reduce(0, +)
    // The least convincing peak goes first, since its neighbours look different without it.
    while peaks.count > 1, let weakest = weakest(of: peaks, samples: samples) { peaks.remove(at: weakest) }
    let borders = [0] + zip(peaks, peaks.dropFirst()).map { valley(between: $0, and: $1) } + [mass.count]
    return peaks.enumerated().map { index, peak in
      let position = (Double(peak) + 0.5) / Double(Self.binsPerOctave) + origin
      return FlushMode(
        peakNanoseconds: UInt64(exp2(position) * 1000),
        share: mass[borders[index]..<borders[index + 1]].reduce(0, +) / samples)
    }
  }

  /// The peak that is to be given up, or nil when all of them convince.
  private func weakest(of peaks: [Int], samples: Double) -> Int? {
    var worst: (index: Int, score: Double)?
    for pair in 0..<(peaks.count - 1) {
      let (left, right) = (peaks[pair], peaks[pair + 1])
      let lower = smoothed[left] < smoothed[right] ? pair : pair + 1
      let valley = valley(between: left, and: right)
      let share = share(of: lower, in: peaks, samples: samples)
      let isConvincing =
        smoothed[valley] <= Self.deepestValley * smoothed[peaks[lower]]
        && Double(right - left) >= log2(Self.leastFactor) * Double(Self.binsPerOctave)
        && significance(peak: peaks[lower], valley: valley) >= Self.leastSignificance
        && share >= Self.leastShare && share * samples >= Self.leastSamples
      guard !isConvincing else { continue }
      let score = smoothed[peaks[lower]] - smoothed[valley]
      if score < worst?.score ?? .infinity { worst = (lower, score) }
    }
    return worst?.index
  }

  private func share(of index: Int, in peaks: [Int], samples: Double) -> Double {
    let start = index > 0 ? valley(between: peaks[index - 1], and: peaks[index]) : 0
    let end = index + 1 < peaks.count ? valley(between: peaks[index], and: peaks[index + 1]) : mass.count
    return mass[start..<end].reduce(0, +) / samples
  }

  /// The middle of the lowest stretch, so that an empty gap is shared evenly.
  private func valley(between left: Int, and right: Int) -> Int {
    let least = smoothed[left...right].min() ?? 0
    let lowest = (left...right).filter { smoothed[$0] <= least * 1.0001 + 1e-12 }
    return lowest[lowest.count / 2]
  }

  private func significance(peak: Int, valley: Int) -> Double {
    let (high, low) = (samples(around: peak), samples(around: valley))
    return high > low ? (high - low) / (high + low).squareRoot() : 0
  }

  private func samples(around bin: Int) -> Double {
    mass[max(0, bin - halfWidthBins)...min(mass.count - 1, bin + halfWidthBins)].reduce(0, +)
  }
}
