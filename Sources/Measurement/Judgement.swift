// Owns whether the figures of a run may be believed.
//
// It must never soften: a run with a wrong answer has failed whatever its speed, and a run whose generator could not
// keep up is invalid whatever it shows. Every reason says what was seen and what to do.

package struct Judgement: Sendable, Equatable, Codable {
  package enum Verdict: String, Sendable, Codable {
    case valid
    /// The target may be fine; these figures do not say.
    case invalid
    /// The target answered wrongly, or not at all.
    case failed
  }

  package struct Reason: Sendable, Equatable, Codable {
    package var code: String
    package var message: String

    package init(code: String, message: String) {
      self.code = code
      self.message = message
    }
  }

  package var verdict: Verdict
  /// The reasons of the verdict, the gravest first. Empty when it is valid.
  package var reasons: [Reason]

  package init(verdict: Verdict, reasons: [Reason]) {
    self.verdict = verdict
    self.reasons = reasons
  }
}

/// How much of what is measured may be the generator's own doing.
package struct GeneratorBudget: Sendable, Equatable {
  /// p99 of the schedule lag may always be this much: the wake-up of a thread on a busy machine.
  package var alwaysAcceptedLagNanoseconds: UInt64
  /// Beyond that it may be this share of the p99 latency that it is part of.
  package var lagShareOfLatency: Double
  /// A thread that is on a CPU for more of the time than this is the bottleneck, not the target.
  package var threadShare: Double
  /// The share of due operations that may be skipped.
  package var skippedShare: Double

  package static let standard = GeneratorBudget(
    alwaysAcceptedLagNanoseconds: 1_000_000, lagShareOfLatency: 0.1, threadShare: 0.9, skippedShare: 0.001)

  package init(
    alwaysAcceptedLagNanoseconds: UInt64, lagShareOfLatency: Double, threadShare: Double, skippedShare: Double
  ) {
    self.alwaysAcceptedLagNanoseconds = alwaysAcceptedLagNanoseconds
    self.lagShareOfLatency = lagShareOfLatency
    self.threadShare = threadShare
    self.skippedShare = skippedShare
  }
}

extension Judgement {
  /// Judges a run by its own figures.
  package init(of figures: LoadFigures, generator: GeneratorFigures, ending: RunEnding, budget: GeneratorBudget) {
    let failures = Self.failures(figures, ending)
    let doubts = Self.doubts(figures, generator, ending, budget)
    self.init(
      verdict: failures.isEmpty ? (doubts.isEmpty ? .valid : .invalid) : .failed, reasons: failures + doubts)
  }

  private static func failures(_ figures: LoadFigures, _ ending: RunEnding) -> [Reason] {
    var reasons: [Reason] = []
    if figures.oracle.violations > 0 {
      reasons.append(
        Reason(
          code: "wrong-answer",
          message: "\(figures.oracle.violations) of \(figures.oracle.checked) answers were wrong; "
            + "the first: \(figures.oracle.firstViolation ?? "not kept"). "
            + "The target does not keep its promise here, or a proxy mixes clusters."))
    }
    if ending == .targetLost {
      reasons.append(
        Reason(
          code: "target-lost",
          message: "every connection was lost and none came back; the figures cover the part before. "
            + "Look at the target's log."))
    }
    if figures.started > 0, figures.succeeded + figures.refused == 0, ending != .interrupted {
      reasons.append(
        Reason(code: "no-success", message: "not one of \(figures.started) operations succeeded; see the errors."))
    }
    return reasons
  }

  private static func doubts(
    _ figures: LoadFigures, _ generator: GeneratorFigures, _ ending: RunEnding, _ budget: GeneratorBudget
  ) -> [Reason] {
    var reasons: [Reason] = []
    if let lag = figures.scheduleLag.percentile(99) {
      let share = Double(figures.userLatency.percentile(99) ?? 0) * budget.lagShareOfLatency
      let accepted = Swift.max(budget.alwaysAcceptedLagNanoseconds, UInt64(share))
      if lag > accepted {
        reasons.append(
          Reason(
            code: "generator-late",
            message: "p99 of the schedule lag is \(milliseconds(lag)), above the accepted \(milliseconds(accepted)). "
              + "Lower the rate, or run the generator on a machine of its own."))
      }
    }
    if generator.busiestThreadShare > budget.threadShare {
      reasons.append(
        Reason(
          code: "generator-busy",
          message: "a generator thread was on a CPU for \(percent(generator.busiestThreadShare)) of the time, so it "
            + "may be what limits the rate. Use more event loops or more machines."))
    }
    let due = figures.started + figures.skipped
    if due > 0, Double(figures.skipped) > budget.skippedShare * Double(due) {
      reasons.append(
        Reason(
          code: "skipped",
          message: "\(figures.skipped) of \(due) due operations were never started, because too many were in flight. "
            + "The target is beyond its limit: lower the rate."))
    }
    if figures.started == 0 {
      let why = ending == .interrupted ? "it was interrupted before it began" : "nothing was due in the time given"
      reasons.append(Reason(code: "empty", message: "nothing was measured: \(why)."))
    }
    return reasons
  }

  private static func milliseconds(_ nanoseconds: UInt64) -> String {
    let hundredths = (nanoseconds + 5_000) / 10_000
    let fraction = hundredths % 100
    return "\(hundredths / 100).\(fraction < 10 ? "0" : "")\(fraction) ms"
  }

  private static func percent(_ share: Double) -> String { "\(Int((share * 100).rounded())) %" }
}
