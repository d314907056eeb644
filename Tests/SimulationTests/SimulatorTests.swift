// Whole clusters under faults, a few hundred seeds of them. More seeds are for a night, not for every build.

import RaftCore
import Simulation
import Testing

@Suite("Whole clusters under faults")
struct SimulatorTests {
  private static let short = SimulationOptions(faultMilliseconds: 6000)

  /// Runs seeds and fails with the story of the first that broke a rule.
  private func run(_ seeds: Range<UInt64>, _ options: SimulationOptions) -> [SimulationReport] {
    seeds.map { seed in
      var simulator = Simulator(seed: seed, options: options)
      let report = simulator.run()
      if let violation = report.violation {
        let story = violation.lastEvents.suffix(30).joined(separator: "\n")
        Issue.record("seed \(seed): \(violation.rule): \(violation.detail)\n\(story)")
      }
      return report
    }
  }

  @Test("no seed breaks a rule", arguments: [0, 1, 2, 3] as [UInt64])
  func noViolation(part: UInt64) {
    let reports = run((1 + part * 60)..<(61 + part * 60), Self.short)
    #expect(reports.allSatisfy { $0.proposalsAcknowledged >= 10 }, "every healed cluster serves")
  }

  @Test("every size of cluster holds", arguments: [1, 2, 3, 4, 5, 7])
  func sizes(count: Int) {
    let reports = run(1000..<1010, SimulationOptions(nodeCount: count, faultMilliseconds: 6000))
    #expect(reports.allSatisfy { $0.nodeCount == count })
    #expect(reports.allSatisfy { $0.committedEntries > 0 && $0.readsServed > 0 })
  }

  @Test("the same seed tells the same story, to the last bit")
  func reproducible() {
    for seed in 500..<520 as Range<UInt64> {
      var once = Simulator(seed: seed, options: Self.short)
      var again = Simulator(seed: seed, options: Self.short)
      #expect(once.run() == again.run())
    }
  }

  @Test("different seeds tell different stories")
  func different() {
    let digests = Set(run(600..<640, Self.short).map(\.digest))
    #expect(digests.count == 40)
  }

  @Test("all kinds of faults come up within a few seeds, and elections, refusals and reads with them")
  func coverage() {
    let reports = run(700..<780, Self.short)
    for kind in FaultKind.allCases {
      let count = reports.reduce(0) { sum, report in
        sum + report.faults.filter { $0.kind == kind }.reduce(0) { $0 + $1.count }
      }
      #expect(count > 0, "\(kind) never happened")
    }
    #expect(reports.contains { $0.elections > 5 })
    #expect(reports.contains { $0.proposalsRefused > 0 })
    #expect(reports.contains { $0.proposalsUnknown > 0 })
    #expect(reports.contains { $0.readsServed > 100 })
    #expect(reports.contains { $0.readsRefused > 0 })
  }
}
