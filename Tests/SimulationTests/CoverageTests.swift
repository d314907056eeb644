// A run that never meets a fault or a state has tested less than it says.

import Simulation
import Testing

@Suite("What a run must have reached")
struct CoverageTests {
  @Test("every fault fires and every state is reached within some hundred seeds")
  func everything() {
    var summary = SimulationSummary()
    for seed in 5000..<5400 as Range<UInt64> {
      var simulator = Simulator(seed: seed, options: SimulationOptions())
      summary.add(simulator.run())
      if summary.seeds % 50 == 0, summary.missing.isEmpty { return }
    }
    #expect(summary.missing.isEmpty, "never reached: \(summary.missing.joined(separator: ", "))")
  }

  @Test("what was not reached is named, as text and as JSON")
  func missing() {
    var summary = SimulationSummary()
    #expect(summary.missing.count == FaultKind.allCases.count + Milestone.allCases.count)
    var simulator = Simulator(seed: 1, options: SimulationOptions(faultMilliseconds: 1000))
    summary.add(simulator.run())
    #expect(!summary.missing.isEmpty)
    #expect(summary.lines(wallSeconds: 1).contains { $0.hasPrefix("never reached: ") })
    #expect(summary.json(wallSeconds: 1, violation: nil).hasPrefix("{\"seeds\":1,\"firstSeed\":1,"))
  }

  @Test("a violation is part of the JSON, quoted")
  func violation() {
    let violation = Violation(rule: "a \"rule\"", detail: "line\nbreak", atMicroseconds: 1, lastEvents: [])
    let json = SimulationSummary().json(wallSeconds: 1, violation: (9, violation))
    #expect(json.hasSuffix(#""violation":{"seed":9,"rule":"a \"rule\"","detail":"line break"}}"#))
  }
}
