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
    Regression(seed: 700_001_936, reason: "two losses were remembered as one that a quiet cluster never outgrows"),
    Regression(seed: 2_997_119_657, reason: "a leader waited for entries that its disk had let go of"),
    Regression(seed: 3_240_290_711, reason: "a healed cluster was asked to outgrow a loss of its newest term"),
    Regression(seed: 3_385_311_584, reason: "the search took a failed comparison for one that tells nothing"),
    Regression(seed: 129_124_859_051, reason: "a voter that was left out did not stand after a start without a commit"),
    Regression(seed: 101_093_830, reason: "a backlog going to a voter whose change was not committed was no progress"),
    Regression(seed: 3_452_903_163, reason: "a holder heard late of a grant that a clock had cut short"),
  ]

  @Test("a seed that failed once does not fail again", arguments: all)
  func again(regression: Regression) { runAll([regression.seed]) }
}
