// Owns whether one figure differs between two sets of runs, and whether the difference matters.
//
// It must never call a difference significant that so few runs cannot show, and never call it worse because of its
// size alone: it has to be both significant and beyond the tolerance.

/// One figure of two sets of runs, one value from each run.
package struct FigureComparison: Sendable, Equatable, Codable {
  package enum Better: String, Sendable, Codable {
    case higher
    case lower
  }

  package enum Outcome: String, Sendable, Codable {
    case better
    case worse
    /// The sets differ, by no more than is tolerated.
    case withinTolerance
    /// Chance explains the difference well enough.
    case notSignificant
    /// One side has no value.
    case missing
  }

  /// A difference that chance would bring about less often than this is significant.
  package static let significanceLevel = 0.05

  package var better: Better
  /// The values, one a run, in the order of the runs.
  package var baseline: [Double]
  package var candidate: [Double]
  package var baselineSummary: Summary?
  package var candidateSummary: Summary?
  /// The candidate's median over the baseline's. Nil where that is nothing.
  package var ratio: Double?
  /// The two-sided p of Mann and Whitney's test; 1 where nothing can be tested.
  package var p: Double
  /// The least p that so many runs can give. With three on each side it is 0.1, and nothing they show is significant.
  package var leastP: Double
  package var outcome: Outcome

  package var isSignificant: Bool { p < Self.significanceLevel }

  /// - Parameter tolerancePercent: how much worse the candidate's median may be, in percent of the baseline's.
  package init(baseline: [Double], candidate: [Double], better: Better, tolerancePercent: Double) {
    precondition(tolerancePercent >= 0, "a tolerance is at least 0 %, not \(tolerancePercent) %")
    self.better = better
    self.baseline = baseline
    self.candidate = candidate
    baselineSummary = Summary(of: baseline)
    candidateSummary = Summary(of: candidate)
    leastP = Self.leastP(baseline.count, candidate.count)
    // Ties make the test fall back on a normal curve, which promises more than a handful of runs can.
    p = Swift.max(leastP, MannWhitney(baseline, candidate)?.twoSidedP ?? 1)
    outcome = .missing
    guard let before = baselineSummary?.median, let after = candidateSummary?.median else { return }
    if before > 0 { ratio = after / before }
    outcome = Self.outcome(before, after, better, tolerancePercent, isSignificant: isSignificant)
  }

  private static func outcome(
    _ before: Double, _ after: Double, _ better: Better, _ tolerancePercent: Double, isSignificant: Bool
  ) -> Outcome {
    guard isSignificant else { return .notSignificant }
    let gain = better == .higher ? after - before : before - after
    guard gain.magnitude > before.magnitude * tolerancePercent / 100 else { return .withinTolerance }
    return gain > 0 ? .better : .worse
  }

  /// The p of sets of these sizes that do not overlap at all.
  package static func leastP(_ baseline: Int, _ candidate: Int) -> Double {
    let apart = MannWhitney((0..<baseline).map { Double($0) }, (0..<candidate).map { Double(baseline + $0) })
    return apart?.twoSidedP ?? 1
  }
}
