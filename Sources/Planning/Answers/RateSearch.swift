// Owns the search for the highest rate that the model takes within an objective, and what a change of the machine would do.

package import Measurement

package struct HighestRate: Sendable, Equatable, Codable {
  /// Operations a second of all kinds together, in the need's own proportions.
  package var perSecond: Double
  /// What is used most there.
  package var binding: Binding

  package enum Binding: String, Sendable, Codable {
    case processors, disk, waiting
  }
}

extension WhatIf {
  /// Runs of the search are shorter than those whose percentiles are shown, and long enough for a backlog to show: so many
  /// operations, and so many times the objective.
  private static let searchOperations = 5000.0...25_000.0
  private static let searchObjectives = 8.0
  /// And no longer in virtual time than this many seconds, but for what a percentile needs.
  private static let searchSeconds = 60.0
  private static let leastOperations = 1200.0
  private static let narrowEnough = 1.1
  /// Below this many a second operations do not meet, and a lower rate answers no sooner.
  private static let lowest = 20.0
  private static let highest = 1_000_000.0

  /// The same mix at another rate.
  package func offering(_ perSecond: Double) -> WhatIf {
    guard case .open(let process, let rates) = load else { return self }
    var scenario = self
    let total = rates.values.reduce(0, +)
    scenario.load = .open(process: process, perSecond: rates.mapValues { $0 * perSecond / total })
    return scenario
  }

  /// Whether a rate holds: within the objective, without a growing backlog, without an election.
  package func holds(_ objective: LoadObjective) -> (holds: Bool, prediction: Prediction) {
    let prediction = predict()
    guard !prediction.isOverloaded, prediction.elections == 0, prediction.refused == 0,
      let worst = prediction.worst(objective.percentile)
    else { return (false, prediction) }
    return (worst <= objective.latencyNanoseconds, prediction)
  }

  /// Doubles until a rate does not hold, then halves the interval; nil where no rate does.
  package func highestRate(within objective: LoadObjective, startingAt start: Double) -> HighestRate? {
    var scenario = self
    let length = min(1, Self.searchObjectives * Double(objective.latencyNanoseconds) / 1e9)
    var (held, failed): (Double?, Double?) = (nil, nil)
    var last = Prediction()
    var next = max(Self.lowest, min(start, Self.highest))
    while true {
      let wanted = min(Self.searchOperations.upperBound, max(Self.searchOperations.lowerBound, next * length))
      scenario.operations = Int(max(Self.leastOperations, min(wanted, next * Self.searchSeconds)))
      let outcome = scenario.offering(next).holds(objective)
      if outcome.holds { held = next } else { (failed, last) = (next, outcome.prediction) }
      switch (held, failed) {
      case (let low?, let high?):
        guard high / low > Self.narrowEnough else {
          return HighestRate(perSecond: low, binding: last.binding)
        }
        next = (low * high).squareRoot()
      case (let low?, nil):
        guard low < Self.highest else { return HighestRate(perSecond: low, binding: .processors) }
        next = min(Self.highest, low * 2)
      case (nil, let high?):
        guard high > Self.lowest else { return nil }
        next = max(Self.lowest, high / 4)
      case (nil, nil): return nil
      }
    }
  }
}

extension Prediction {
  /// What was used most.
  var binding: HighestRate.Binding {
    if processorShare >= 0.85 { return .processors }
    if diskShare >= 0.85 { return .disk }
    return .waiting
  }
}

/// What one change would do to the latency and to the highest rate.
package struct Sensitivity: Sendable, Equatable, Codable {
  package enum Change: String, Sendable, Codable, CaseIterable {
    case slowerFlush, longerRoundTrip, halfProcessorCost, halfFlush
  }

  package var change: Change
  package var p50Nanoseconds: UInt64?
  package var p99Nanoseconds: UInt64?
  package var highestPerSecond: Double?

  /// How it reads behind a figure.
  package var text: String {
    switch change {
    case .slowerFlush: "+1 ms of flush"
    case .longerRoundTrip: "+1 ms of round trip"
    case .halfProcessorCost: "processors twice as fast"
    case .halfFlush: "a flush of half the time"
    }
  }

  /// Whether it is something to be bought and not to be feared.
  package var isImprovement: Bool { change == .halfProcessorCost || change == .halfFlush }

  static func scenario(_ change: Change, of scenario: WhatIf) -> WhatIf {
    var changed = scenario
    switch change {
    case .slowerFlush: changed.disk = scenario.disk.adding(nanoseconds: 1_000_000)
    case .longerRoundTrip:
      for one in 0..<scenario.nodes {
        for other in 0..<scenario.nodes where other != one { changed.oneWay[one][other] += 500_000 }
      }
    case .halfProcessorCost: changed.costs = scenario.costs.scaled(by: 0.5)
    case .halfFlush: changed.disk = scenario.disk.scaled(by: 0.5)
    }
    return changed
  }
}
