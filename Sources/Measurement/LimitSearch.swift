// Owns the search for the highest rate that a target takes within an objective: which rate is tried next, and what was found.
//
// It must never answer with one number: a limit is between the highest rate that held and the lowest that did not, each seen
// more often than once.

/// What a rate must keep to count as taken.
package struct LoadObjective: Sendable, Equatable, Codable {
  /// Such as 99.
  package var percentile: Double
  package var latencyNanoseconds: UInt64

  package init(percentile: Double, latencyNanoseconds: UInt64) {
    self.percentile = percentile
    self.latencyNanoseconds = latencyNanoseconds
  }

  /// How many operations a run needs for its percentile to be one, and some more, since arrivals are random.
  package var operationsNeeded: Double {
    1.25 * Double(LatencyHistogram.samplesRequiredAbovePercentile) / (1 - percentile / 100)
  }
}

/// One run of the search.
package struct LimitTrial: Sendable, Equatable, Codable {
  package var ratePerSecond: Double
  package var achievedPerSecond: Double
  /// That of the objective. Nil where too few samples support it.
  package var latencyNanoseconds: UInt64?
  /// Nil where too few samples support them, and in results from before they were kept.
  package var p50Nanoseconds: UInt64?
  package var p99Nanoseconds: UInt64?
  /// Why the rate did not hold. Empty where it did.
  package var reasons: [String]
  /// What was busy meanwhile on the machine that made the load. Nil where it could not be read.
  package var usage: HostUsage?
  /// What the target's nodes were busy with, those that say so. Nil where none was asked.
  package var nodes: [NodeUsage]?

  package var holds: Bool { reasons.isEmpty }

  package init(
    ratePerSecond: Double, achievedPerSecond: Double, latencyNanoseconds: UInt64?, reasons: [String],
    usage: HostUsage? = nil
  ) {
    self.ratePerSecond = ratePerSecond
    self.achievedPerSecond = achievedPerSecond
    self.latencyNanoseconds = latencyNanoseconds
    self.reasons = reasons
    self.usage = usage
  }
}

package struct LimitSearch: Sendable {
  package enum Step: Sendable, Equatable {
    case run(ratePerSecond: Double)
    case done
  }

  /// Between these the limit is narrowed down no further: two runs of one rate differ by more.
  package static let narrowEnough = 1.1
  /// How often each edge is run.
  package static let runsOfAnEdge = 3
  package static let lowestRate = 1.0
  package static let highestRate = 1_000_000.0

  private struct Tally {
    var held = 0
    var runs = 0
  }

  package private(set) var trials: [LimitTrial] = []
  /// The highest rate that held, and the lowest above it that did not.
  package private(set) var holds: Double?
  package private(set) var fails: Double?
  private let floor: Double
  private var tallies: [Double: Tally] = [:]
  private var next: Double

  /// - Parameter floor: no rate below it is tried, such as one at which a run would be too short to tell.
  package init(startingAt rate: Double, notBelow floor: Double = lowestRate) {
    self.floor = Swift.min(Swift.max(floor, Self.lowestRate), Self.highestRate)
    next = Swift.min(Swift.max(rate, self.floor), Self.highestRate)
  }

  package var step: Step { isDone ? .done : .run(ratePerSecond: next) }

  private var isDone: Bool {
    guard let holds else { return fails.map { $0 <= floor } ?? false }
    guard let fails else { return holds >= Self.highestRate && runs(of: holds) >= Self.runsOfAnEdge }
    return fails / holds <= Self.narrowEnough && runs(of: holds) >= Self.runsOfAnEdge
      && runs(of: fails) >= Self.runsOfAnEdge
  }

  private func runs(of rate: Double) -> Int { tallies[rate]?.runs ?? 0 }

  /// Takes the run that was asked for last.
  package mutating func record(_ trial: LimitTrial) {
    trials.append(trial)
    tallies[next, default: Tally()].runs += 1
    if trial.holds { tallies[next, default: Tally()].held += 1 }
    settleEdges()
    chooseNext()
  }

  /// A rate holds by the majority of its runs. What held once and does not any more is no edge.
  private mutating func settleEdges() {
    let sorted = tallies.sorted { $0.key < $1.key }
    fails = sorted.first { 2 * $0.value.held < $0.value.runs }?.key
    holds =
      sorted.last { entry in 2 * entry.value.held >= entry.value.runs && fails.map { entry.key < $0 } ?? true }?.key
  }

  private mutating func chooseNext() {
    switch (holds, fails) {
    case (nil, let fails?): next = Swift.max(fails / 2, floor)
    case (let holds?, nil): next = holds >= Self.highestRate ? holds : Swift.min(holds * 2, Self.highestRate)
    case (let holds?, let fails?):
      if fails / holds > Self.narrowEnough {
        next = (holds * fails).squareRoot()
      } else {
        next = runs(of: holds) < Self.runsOfAnEdge ? holds : fails
      }
    case (nil, nil): break
    }
  }
}

extension LimitTrial {
  /// Judges a run by the objective.
  package init(of result: BenchResult, ratePerSecond: Double, objective: LoadObjective, usage: HostUsage?) {
    let figures = result.measured
    let latency = figures.latencyFromIntendedStart.percentile(objective.percentile)
    var reasons: [String] = []
    switch latency {
    case nil: reasons.append("too few answers for the percentile")
    case let latency? where latency > objective.latencyNanoseconds: reasons.append("latency")
    default: break
    }
    let due = figures.started + figures.skipped
    if Double(figures.answeredWithin + figures.refused) < 0.99 * Double(due) { reasons.append("achieved") }
    if Self.grows(result.timeline) { reasons.append("backlog") }
    if figures.failed > 0 { reasons.append("failures") }
    if result.judgement.verdict != .valid { reasons += result.judgement.reasons.map(\.code) }
    self.init(
      ratePerSecond: ratePerSecond, achievedPerSecond: figures.achievedPerSecond, latencyNanoseconds: latency,
      reasons: reasons, usage: usage)
    p50Nanoseconds = figures.latencyFromIntendedStart.percentile(50)
    p99Nanoseconds = figures.latencyFromIntendedStart.percentile(99)
  }

  /// Whether what is in flight grows through the run: the last third has twice as much as the first, and more than noise.
  private static func grows(_ timeline: [TimelineSlice]) -> Bool {
    let third = timeline.count / 3
    guard third > 0 else { return false }
    func mean(_ slices: ArraySlice<TimelineSlice>) -> Double {
      Double(slices.reduce(0) { $0 + $1.inFlight }) / Double(slices.count)
    }
    let (first, last) = (mean(timeline.prefix(third)), mean(timeline.suffix(third)))
    return last > 2 * first && last > first + 50
  }
}

/// What a search found.
package struct LimitResult: Sendable, Equatable, Codable {
  package static let currentSchema = "portcullis.limit/1"
  /// The share of the limit at which a target has room for what a run does not show: a snapshot, a lost node, a busy hour.
  package static let operatingShare = 0.7

  package var schema = LimitResult.currentSchema
  package var objective: LoadObjective
  /// Of the last run; its rate is that of the run.
  package var configuration: LoadConfiguration
  package var target: TargetDescription
  package var environment: RunEnvironment
  /// The highest rate that held. Nil where none did.
  package var holdsPerSecond: Double?
  /// The lowest rate above it that did not. Nil where every one held.
  package var failsPerSecond: Double?
  /// Whether the search came to its end.
  package var isComplete: Bool
  /// Why it did not, where neither it nor whoever ran it ended it.
  package var stopped: String?
  package var trials: [LimitTrial]

  package init(of search: LimitSearch, _ last: BenchResult, objective: LoadObjective) {
    self.objective = objective
    configuration = last.configuration
    target = last.target
    environment = last.environment
    holdsPerSecond = search.holds
    failsPerSecond = search.fails
    isComplete = search.step == .done
    stopped = nil
    trials = search.trials
  }

  package var operatingPerSecond: Double? { holdsPerSecond.map { $0 * Self.operatingShare } }
}
