// Owns when each operation of an open loop is meant to start.
//
// It must never look at the system that is being measured: a schedule that waits for an answer hides exactly the
// stalls that it is there to find (coordinated omission).
//
// Invariants: offsets never fall; the same kind, rate and seed give the same offsets on every machine.

/// How the gaps between arrivals are drawn.
package enum ArrivalProcess: String, Sendable, Codable, CaseIterable {
  /// Independent arrivals, as from many users who do not know of one another. Bursts are part of it.
  case poisson
  /// Equal gaps. Easier on a queue than any real load, and the thing to use where two runs must have the same batches.
  case constant
}

/// The endless sequence of intended starts, in nanoseconds after the start of the schedule, made as it is asked for.
package struct ArrivalSchedule: Sendable {
  /// Rates outside of this are refused: one arrival in eleven days and one each nanosecond.
  package static let acceptedRatePerSecond: ClosedRange<Double> = 1e-6...1e9

  package let process: ArrivalProcess
  package let ratePerSecond: Double
  private let gapNanoseconds: Double
  private var random: SeededRandom
  private var arrivals: UInt64 = 0
  private var clockNanoseconds = 0.0

  package init(process: ArrivalProcess, ratePerSecond: Double, seed: UInt64) {
    precondition(
      Self.acceptedRatePerSecond.contains(ratePerSecond),
      "a schedule needs a rate within \(Self.acceptedRatePerSecond) a second, not \(ratePerSecond)")
    self.process = process
    self.ratePerSecond = ratePerSecond
    gapNanoseconds = 1e9 / ratePerSecond
    random = SeededRandom(seed: seed, stream: 0x6172_7269_7661_6c73)
  }

  /// The next intended start. The first arrival of a constant schedule is at 0.
  package mutating func next() -> UInt64 {
    switch process {
    case .constant:
      // By multiplication, because adding up a rounded gap drifts off the rate over a long run.
      clockNanoseconds = Double(arrivals) * gapNanoseconds
    case .poisson:
      clockNanoseconds += random.exponential(mean: gapNanoseconds)
    }
    arrivals += 1
    // 2⁶² ns are 146 years. A schedule that is asked to go on beyond stays there and does not trap.
    return UInt64(Swift.min(clockNanoseconds, 0x1p62))
  }
}
