// A checker that never fails proves nothing: each of these bugs must set off the right alarm.

import RaftCore
import Simulation
import Testing

@Suite("Planted bugs prove the alarm")
struct PlantedBugTests {
  @Test("every planted bug is found within a hundred seeds", arguments: PlantedBug.allCases)
  func found(bug: PlantedBug) {
    let options = SimulationOptions(livenessMilliseconds: 10_000, plantedBug: bug)
    for seed in 1...100 as ClosedRange<UInt64> {
      var simulator = Simulator(seed: seed, options: options)
      guard let violation = simulator.run().violation else { continue }
      #expect(!violation.lastEvents.isEmpty)
      #expect(Self.rules(for: bug).contains(violation.rule), "seed \(seed) broke \(violation.rule)")
      var sound = Simulator(seed: seed, options: SimulationOptions())
      #expect(sound.run().violation == nil, "seed \(seed) must find nothing where there is nothing")
      return
    }
    Issue.record("no seed noticed \(bug)")
  }

  /// The rules by which a bug may come to light. Anything else would be an alarm for the wrong reason.
  private static func rules(for bug: PlantedBug) -> Set<String> {
    switch bug {
    case .voteNotPersisted, .voteForged: ["at most one leader a term", "a leader has every committed entry"]
    case .termNotPersisted:
      ["at most one leader a term", "a leader has every committed entry", "a committed entry never changes"]
    case .reportedBeforeDurable: ["what is committed is on a quorum of disks", "what was reported durable can be read"]
    case .acknowledgementForged: ["what is committed is on a quorum of disks"]
    case .diskForgets:
      [
        "a leader has every committed entry", "what is committed is on a quorum of disks",
        "a healed cluster makes progress", "at most one leader a term", "logs match",
      ]
    case .payloadChanged: ["logs match"]
    case .proposalRepeated: ["a proposal is applied at most once", "a refused proposal is never applied"]
    case .readFromMemory, .readBeforeApplied, .confirmationForged: ["a read is never stale"]
    case .diskFallsSilent: ["a healed cluster makes progress"]
    }
  }
}
