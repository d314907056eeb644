// Owns what a run says about itself while it goes on. Figures of the last moment, for an eye; the result is exact.

package struct BenchProgress: Sendable, Equatable, Codable {
  package enum Phase: String, Sendable, Codable {
    case warmUp
    case measuring
    /// No new operations; those in flight are waited for.
    case draining
  }

  package var scenario: String
  package var phase: Phase
  package var elapsedNanoseconds: UInt64
  /// Nil when the end is not known, as in a warm-up that ends by itself.
  package var remainingNanoseconds: UInt64?
  /// Successes a second over the last slice.
  package var achievedPerSecond: Double
  /// The rate that an open loop offers.
  package var offeredPerSecond: Double?
  package var p50Nanoseconds: UInt64?
  package var p99Nanoseconds: UInt64?
  package var maximumNanoseconds: UInt64
  package var inFlight: Int
  /// Since the phase began.
  package var succeeded: UInt64
  package var failed: UInt64
  package var late: UInt64
  package var skipped: UInt64
  package var violations: UInt64

  package init(scenario: String, phase: Phase, elapsedNanoseconds: UInt64, remainingNanoseconds: UInt64?) {
    self.scenario = scenario
    self.phase = phase
    self.elapsedNanoseconds = elapsedNanoseconds
    self.remainingNanoseconds = remainingNanoseconds
    achievedPerSecond = 0
    maximumNanoseconds = 0
    inFlight = 0
    succeeded = 0
    failed = 0
    late = 0
    skipped = 0
    violations = 0
  }

  /// Fills in the last slice and what has come together since the phase began.
  package mutating func show(slice: LoadFigures, sliceNanoseconds: UInt64, total: LoadFigures, inFlight: Int) {
    achievedPerSecond =
      sliceNanoseconds == 0 ? 0 : Double(slice.answeredWithin) * 1e9 / Double(sliceNanoseconds)
    p50Nanoseconds = slice.userLatency.percentile(50)
    p99Nanoseconds = slice.userLatency.percentile(99)
    maximumNanoseconds = slice.userLatency.max
    self.inFlight = inFlight
    succeeded = total.succeeded
    failed = total.failed
    late = total.late
    skipped = total.skipped
    violations = total.oracle.violations
  }
}
