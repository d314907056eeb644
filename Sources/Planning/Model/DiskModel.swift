// Owns what a flush takes in the model: drawn from distributions that were measured, never from a formula.
//
// A disk that is asked after a rest answers later than one that is kept busy, the later the longer it rested, and one that
// several write to answers later still. So there are some distributions, and a flush lies between two of them at one and the
// same quantile: by how long the disk rested, or by how many flushes are under way.

import Measurement

/// A measured distribution, as its quantiles.
package struct Quantiles: Sendable, Equatable {
  /// Rising, in nanoseconds, evenly spaced from the 0th to the 100th of a hundred.
  private let values: [Double]
  private static let steps = 2000

  /// What was seen less often than this among many samples is chance, which a run of some ten thousand flushes would repeat
  /// again and again.
  private static let seldom: UInt64 = 3

  /// - Parameter cells: of so many microseconds and how often, rising, as a disk's profile has them.
  /// - Returns: nil without a sample.
  package init?(cells all: [(microseconds: UInt64, count: UInt64)]) {
    let cells = Self.withoutChance(all)
    let total = cells.reduce(0) { $0 + $1.count }
    guard total > 0 else { return nil }
    var values: [Double] = []
    values.reserveCapacity(Self.steps)
    var (position, below) = (0, UInt64(0))
    for step in 0..<Self.steps {
      let rank = (Double(step) + 0.5) / Double(Self.steps) * Double(total)
      while position + 1 < cells.count, Double(below + cells[position].count) <= rank {
        below += cells[position].count
        position += 1
      }
      values.append(Double(cells[position].microseconds) * 1000)
    }
    self.values = values
  }

  /// The longest few, of some hundreds, count as the longest beside them.
  private static func withoutChance(
    _ all: [(microseconds: UInt64, count: UInt64)]
  ) -> [(microseconds: UInt64, count: UInt64)] {
    guard all.reduce(0, { $0 + $1.count }) >= 100 * seldom else { return all }
    var cells = all
    var moved: UInt64 = 0
    while moved < seldom, let last = cells.last, cells.count > 1, last.count <= seldom - moved {
      moved += last.count
      cells.removeLast()
    }
    cells[cells.count - 1].count += moved
    return cells
  }

  /// Every flush takes the same.
  package init(constantNanoseconds value: Double) { values = [value] }

  private init(values: [Double]) { self.values = values }

  /// - Parameter fraction: from 0 to 1.
  package func value(at fraction: Double) -> Double {
    let position = fraction * Double(values.count - 1)
    let below = Int(position)
    let above = min(below + 1, values.count - 1)
    return values[below] + (position - Double(below)) * (values[above] - values[below])
  }

  /// Of the same flushes, measured several times: at each fraction what is in the middle there. The tail of one short measurement is
  /// largely luck, and that of the one whose median is in the middle no less.
  /// - Returns: nil of none.
  package static func median(of all: [Quantiles]) -> Quantiles? {
    guard !all.isEmpty else { return nil }
    return Quantiles(
      values: (0..<steps).map { step in
        all.map { $0.value(at: Double(step) / Double(steps - 1)) }.sorted()[all.count / 2]
      })
  }

  package func adding(nanoseconds: Double) -> Quantiles { Quantiles(values: values.map { max(0, $0 + nanoseconds) }) }
  package func scaled(by factor: Double) -> Quantiles { Quantiles(values: values.map { $0 * factor }) }
}

package struct DiskModel: Sendable, Equatable {
  /// One writer that never rests.
  package var tight: Quantiles
  /// One writer that rests so long before each flush, by rising rests. Empty: resting makes no difference. A rest that is longer than
  /// the longest counts as that.
  package private(set) var rested: [Rested] = []
  /// Several writers on one disk, and how many. Nil: they do not get into one another's way.
  package var contended: (quantiles: Quantiles, writers: Int)?
  /// What each byte of a flush beyond the first few hundred adds.
  package var nanosecondsPerByte = 0.0
  /// Bytes in a flush of the distributions above.
  package var measuredBytes = 0

  package init(tight: Quantiles) { self.tight = tight }

  package static func == (one: DiskModel, other: DiskModel) -> Bool {
    one.tight == other.tight && one.rested == other.rested && one.contended?.quantiles == other.contended?.quantiles
      && one.contended?.writers == other.contended?.writers && one.nanosecondsPerByte == other.nanosecondsPerByte
      && one.measuredBytes == other.measuredBytes
  }

  /// Flushes that each follow a rest.
  package struct Rested: Sendable, Equatable {
    package var restNanoseconds: Double
    package var quantiles: Quantiles
  }

  /// Adds what was measured after rests of that length.
  package mutating func add(_ quantiles: Quantiles, afterRestOf nanoseconds: Double) {
    rested.append(Rested(restNanoseconds: nanoseconds, quantiles: quantiles))
    rested.sort { $0.restNanoseconds < $1.restNanoseconds }
  }

  /// Of one that follows the longest rest, which is how most flushes are of a cluster with little to do.
  package var atRest: Quantiles { rested.last?.quantiles ?? tight }

  /// Between the two measured rests that this one lies between, of which the shorter may be none.
  private func value(at fraction: Double, afterRestOf nanoseconds: Double) -> Double {
    var (shorter, below) = (0.0, tight.value(at: fraction))
    for longer in rested {
      let above = longer.quantiles.value(at: fraction)
      if nanoseconds < longer.restNanoseconds {
        return below + (above - below) * (nanoseconds - shorter) / (longer.restNanoseconds - shorter)
      }
      (shorter, below) = (longer.restNanoseconds, above)
    }
    return below
  }

  /// - Parameters:
  ///   - fraction: drawn from 0 to 1.
  ///   - bytes: in this flush.
  ///   - restNanoseconds: since the last flush on this disk ended.
  ///   - others: flushes that are under way on this disk.
  func nanoseconds(at fraction: Double, bytes: Int, restNanoseconds: Double, others: Int) -> Double {
    var value = others == 0 ? self.value(at: fraction, afterRestOf: restNanoseconds) : tight.value(at: fraction)
    if let contended, others > 0 {
      value +=
        (contended.quantiles.value(at: fraction) - value) * Double(others) / Double(max(1, contended.writers - 1))
    }
    return max(0, value) + nanosecondsPerByte * Double(max(0, bytes - measuredBytes))
  }

  /// The same disk with each flush so much longer, or shorter.
  package func adding(nanoseconds: Double) -> DiskModel {
    var disk = self
    disk.tight = tight.adding(nanoseconds: nanoseconds)
    for place in rested.indices {
      disk.rested[place].quantiles = rested[place].quantiles.adding(nanoseconds: nanoseconds)
    }
    if let contended { disk.contended = (contended.quantiles.adding(nanoseconds: nanoseconds), contended.writers) }
    return disk
  }

  /// The same disk with each flush so much of its time.
  package func scaled(by factor: Double) -> DiskModel {
    var disk = self
    disk.tight = tight.scaled(by: factor)
    for place in rested.indices { disk.rested[place].quantiles = rested[place].quantiles.scaled(by: factor) }
    if let contended { disk.contended = (contended.quantiles.scaled(by: factor), contended.writers) }
    disk.nanosecondsPerByte *= factor
    return disk
  }
}
