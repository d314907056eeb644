// Owns a load that was measured, its like in the model, and how far they are apart.

import Foundation
package import Planning

package struct FittingTarget: Sendable {
  /// What is known of the load; nil, or 0 nanoseconds, where something is not.
  package struct Figures: Sendable {
    var p50Nanoseconds: Double?
    var p99Nanoseconds: Double?
    var use: Prediction.Use

    package init(p50Nanoseconds: Double?, p99Nanoseconds: Double?, use: Prediction.Use) {
      (self.p50Nanoseconds, self.p99Nanoseconds, self.use) = (p50Nanoseconds, p99Nanoseconds, use)
    }

    package init(_ prediction: Prediction) {
      self.init(
        p50Nanoseconds: prediction.percentile(50).map(Double.init),
        p99Nanoseconds: prediction.percentile(99).map(Double.init), use: prediction.use)
    }
  }

  private let scenario: WhatIf
  private let measured: Figures

  /// - Parameter scenario: its costs do not matter.
  package init(scenario: WhatIf, measured: Figures) { (self.scenario, self.measured) = (scenario, measured) }

  /// How well each is to be met, as a logarithm: medians well; the 99th of a hundred, of which few were seen, and the processor time
  /// of each kind of thread, less so.
  private static let precision = (p50: 0.05, p99: 0.2, use: 0.2)
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
      Self.off(said.p50Nanoseconds, measured.p50Nanoseconds) / Self.precision.p50,
      Self.off(said.p99Nanoseconds, measured.p99Nanoseconds) / Self.precision.p99,
      prediction.isOverloaded ? Self.offWhereOverloaded : 0,
    ] + Self.uses.map { Self.off(said.use[keyPath: $0], measured.use[keyPath: $0]) / Self.precision.use }
  }

  private static func off(_ one: Double?, _ other: Double?) -> Double {
    guard let one, let other, one > 0, other > 0 else { return 0 }
    return log(one / other)
  }
}
