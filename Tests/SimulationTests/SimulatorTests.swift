// Whole clusters under faults: fixed seeds that every build runs, and fresh ones for as long as there is time.

import Simulation
import Testing

/// Runs seeds and fails with the story of each that broke a rule.
@discardableResult
func runAll(_ seeds: some Sequence<UInt64>, _ options: SimulationOptions = SimulationOptions()) -> [SimulationReport] {
  seeds.map { seed in
    var simulator = Simulator(seed: seed, options: options)
    let report = simulator.run()
    if let violation = report.violation { Issue.record("\(story(of: violation, seed: seed))") }
    return report
  }
}

func story(of violation: Violation, seed: UInt64) -> Comment {
  let events = violation.lastEvents.suffix(40).joined(separator: "\n")
  return """
    seed \(seed): \(violation.rule): \(violation.detail)
    \(events)
    Replay: portcullis simulate --seed \(seed) --seeds 1 --trace
    """
}

@Suite("Whole clusters under faults")
struct SimulatorTests {
  private static let short = SimulationOptions(faultMilliseconds: 6000)

  @Test("no seed breaks a rule", arguments: [0, 1, 2, 3] as [UInt64])
  func noViolation(part: UInt64) {
    let reports = runAll((1 + part * 60)..<(61 + part * 60), Self.short)
    #expect(reports.allSatisfy { $0.operationsAcknowledged >= 10 }, "every healed cluster serves")
  }

  @Test("every size of cluster holds", arguments: [1, 2, 3, 4, 5, 7])
  func sizes(count: Int) {
    let reports = runAll(1000..<1010, SimulationOptions(nodeCount: count, faultMilliseconds: 6000))
    #expect(reports.allSatisfy { $0.nodeCount == count })
    #expect(reports.allSatisfy { $0.committedEntries > 0 && $0.operationsAcknowledged >= 10 })
    #expect(reports.contains { $0.readsServed > 0 })
  }

  @Test("the same seed tells the same story, to the last bit")
  func reproducible() {
    for seed in 500..<520 as Range<UInt64> {
      var once = Simulator(seed: seed, options: Self.short)
      var again = Simulator(seed: seed, options: Self.short)
      #expect(once.run() == again.run())
    }
  }

  @Test("reading along changes nothing")
  func traced() {
    var silent = Simulator(seed: 7, options: Self.short)
    var traced = Simulator(seed: 7, options: Self.short)
    var lines = 0
    #expect(silent.run() == traced.run { _ in lines += 1 })
    #expect(lines > 1000)
  }

  @Test("different seeds tell different stories")
  func different() {
    let digests = Set(runAll(600..<640, Self.short).map(\.digest))
    #expect(digests.count == 40)
  }

  /// Fresh seeds each time: what a night's run does, for a moment. The first one is printed, so that a failure can be
  /// found again.
  @Test("fresh seeds break no rule", .timeLimit(.minutes(10)))
  func fresh() {
    let first = UInt64.random(in: 1 << 20..<1 << 40)
    print("simulation: fresh seeds from \(first)")
    let began = ContinuousClock.now
    var seed = first
    while began.duration(to: .now) < .seconds(40) {
      var simulator = Simulator(seed: seed, options: SimulationOptions())
      if let violation = simulator.run().violation {
        Issue.record("\(story(of: violation, seed: seed))")
        return
      }
      seed += 1
    }
  }
}
