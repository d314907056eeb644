// Owns a load that was measured, its like in the model, and how far they are apart.

import Foundation
package import Planning

package struct FittingTarget: Sendable {
  /// What is known of the load; nil, or 0 nanoseconds, where something is not.
  package struct Figures: Sendable {
    var p50Nanoseconds: Double?
    var p90Nanoseconds: Double?
    var p99Nanoseconds: Double?
    var use: Prediction.Use

    package init(p50Nanoseconds: Double?, p90Nanoseconds: Double?, p99Nanoseconds: Double?, use: Prediction.Use) {
      (self.p50Nanoseconds, self.p90Nanoseconds) = (p50Nanoseconds, p90Nanoseconds)
      (self.p99Nanoseconds, self.use) = (p99Nanoseconds, use)
    }

    package init(_ prediction: Prediction) {
      self.init(
        p50Nanoseconds: prediction.percentile(50).map { Double($0) },
        p90Nanoseconds: prediction.percentile(90).map { Double($0) },
        p99Nanoseconds: prediction.percentile(99).map { Double($0) }, use: prediction.use)
    }
  }

  private let scenario: WhatIf
  private let measured: Figures
  private let operationsOfRun: Double

  /// - Parameters:
  ///   - scenario: its costs do not matter, and its number of operations is that of a run of the search.
  ///   - operationsOfRun: that the figures are of.
  package init(scenario: WhatIf, measured: Figures, operationsOfRun: Double) {
    (self.scenario, self.measured, self.operationsOfRun) = (scenario, measured, operationsOfRun)
  }

  /// How well each is to be met, as a logarithm: medians well; the 90th of a hundred, and the processor time of each kind of thread,
  /// less so. A closed loop's median is the length of a full queue, which no row has: it tells of work, and that is met less well,
  /// too. The 99th is not among them, for in a short run of the model it moves by chance.
  private static let precision = (p50: 0.05, p50OfClosed: 0.15, p90: 0.2, use: 0.2)
  private static let offWhereOverloaded = 10.0
  private static let uses: [any KeyPath<Prediction.Use, Double> & Sendable] = [
    \.clients, \.loop, \.writer, \.eventLoops,
  ]

  /// The logarithm of what the model says over what was measured, for each figure, in units of its precision.
  package func offs(with costs: Costs) -> [Double] {
    var scenario = scenario
    scenario.costs = costs
    let prediction = scenario.predict()
    let said = Figures(prediction)
    return [
      Self.off(said.p50Nanoseconds, measured.p50Nanoseconds)
        / (isOpen ? Self.precision.p50 : Self.precision.p50OfClosed),
      Self.off(said.p90Nanoseconds, measured.p90Nanoseconds) / Self.precision.p90,
      prediction.isOverloaded ? Self.offWhereOverloaded : 0,
    ] + Self.uses.map { Self.off(said.use[keyPath: $0], measured.use[keyPath: $0]) / Self.precision.use }
  }

  /// The logarithms of the 90th and of the 99th of a hundred that the model says over those that were measured.
  struct TailOffs: Sendable {
    var p90: Double
    var p99: Double
    /// The quota of the processors is used up now and then.
    var isStopped: Bool
  }

  /// Nil where the 99th is not known, and where the tail is that of a queue: of closed loops, and where the processors are nearly
  /// used up.
  func tailOffs(with costs: Costs) -> TailOffs? {
    guard isOpen, let measured99 = measured.p99Nanoseconds else { return nil }
    var scenario = scenario
    scenario.costs = costs
    let runs = ModelRuns(scenario, operations: operationsOfRun)
    guard runs.processorShare < Self.busyShare, let said99 = runs.p99Nanoseconds else { return nil }
    return TailOffs(
      p90: Self.off(runs.p90Nanoseconds.map { Double($0) }, measured.p90Nanoseconds),
      p99: log(Double(said99) / measured99), isStopped: runs.stoppedShare > Self.hardlyStopped)
  }
  private static let hardlyStopped = 0.001
  private static let busyShare = 0.75

  private var isOpen: Bool {
    if case .open = scenario.load { true } else { false }
  }

  private static func off(_ one: Double?, _ other: Double?) -> Double {
    guard let one, let other, one > 0, other > 0 else { return 0 }
    return log(one / other)
  }
}
