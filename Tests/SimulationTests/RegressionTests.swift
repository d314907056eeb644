// Every seed that ever failed for a reason of the code under test, with that reason. They run with every build. A seed
// tells another story once the world has changed, so each reason has a test of its own in the room that was wrong.

import Simulation
import Testing

@Suite("Seeds that failed once")
struct RegressionTests {
  struct Regression: Sendable, CustomTestStringConvertible {
    var seed: UInt64
    var reason: String
    var testDescription: String { "seed \(seed): \(reason)" }
  }

  static let all = [
    Regression(seed: 458_044_373_815, reason: "a follower noted stamps when it applied, not when they arrived"),
    Regression(seed: 918_608_518_490, reason: "the simulated sum of a snapshot left out half of its last word"),
    Regression(seed: 700_001_936, reason: "a healed cluster was asked to outgrow a loss that was never committed"),
  ]

  @Test("a seed that failed once does not fail again", arguments: all)
  func again(regression: Regression) { runAll([regression.seed]) }
}
