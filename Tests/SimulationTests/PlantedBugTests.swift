// A checker that never fails proves nothing: each of these bugs must set off the right alarm, and soon.

import Simulation
import Testing

@Suite("Planted bugs prove the alarm")
struct PlantedBugTests {
  private static let options = SimulationOptions(livenessMilliseconds: 10_000)

  private static func options(_ bug: PlantedBug) -> SimulationOptions {
    var options = Self.options
    options.plantedBug = bug
    return options
  }

  @Test("there are at least twenty")
  func enough() { #expect(PlantedBug.allCases.count >= 20) }

  @Test("a canary dies in every world")
  func canary() {
    for seed in 1...50 as ClosedRange<UInt64> {
      var simulator = Simulator(seed: seed, options: Self.options(.canary))
      let violation = simulator.run().violation
      #expect(violation?.rule == "the canary sings", "seed \(seed)")
      #expect(violation?.lastEvents.isEmpty == false)
    }
  }

  @Test("every planted bug is found within its number of seeds, by the right rule", arguments: PlantedBug.allCases)
  func found(bug: PlantedBug) {
    for seed in 1...bug.seedsToDetect {
      var simulator = Simulator(seed: seed, options: Self.options(bug))
      guard let violation = simulator.run().violation else { continue }
      #expect(!violation.lastEvents.isEmpty)
      #expect(bug.rules.contains(violation.rule), "seed \(seed) broke \(violation.rule)")
      return
    }
    Issue.record("no seed noticed \(bug)")
  }
}

extension PlantedBug {
  /// docs/simulation.md has the table of what was measured; these are bounds with room above it.
  fileprivate var seedsToDetect: UInt64 { 100 }

  /// The rules by which a bug may come to light. Anything else would be an alarm for the wrong reason.
  fileprivate var rules: Set<String> {
    switch self {
    case .canary: ["the canary sings"]
    case .voteNotPersisted, .termNotPersisted, .voteForged: Self.elections
    case .reportedBeforeDurable: ["what is committed is on a quorum of disks", "what was reported durable can be read"]
    case .fullDiskAcknowledges:
      [
        "what is committed is on a quorum of disks", "what was reported durable can be read",
        "writes follow each other and fit",
      ]
    case .diskForgets: Self.elections.union(["what is committed is on a quorum of disks", "logs match", Self.stuck])
    // A leader that believes a forged acknowledgement may also wait for ever for what it need not send again.
    case .acknowledgementForged: ["what is committed is on a quorum of disks", Self.stuck]
    case .learnerCounted, .jointOneSided: ["what is committed is on a quorum of disks"]
    case .payloadChanged: ["logs match", "a log begins behind a committed entry"]
    case .proposalRepeated: ["a proposal is applied at most once", "a refused proposal is never applied"]
    case .priorTermCounted: Self.elections.union(["a read is never stale"])
    case .damageIgnored:
      Self.elections.union(["an impaired node does not vote", "an impaired node does not stand"])
    case .fullDiskUnnoticed: ["writes follow each other and fit"]
    case .snapshotMembershipWrong: ["a snapshot holds the members of its point"]
    case .applySkippedAfterInstall: Self.states
    case .readFromMemory, .readBeforeApplied, .confirmationForged, .oldRoundConfirms: ["a read is never stale"]
    case .executedTwice: ["a named request is executed once"]
    case .leaseExpiresEarly, .generationIgnored, .deadlineFromAnswer:
      ["a lease never ends before its holder's own deadline"]
    case .releaseIgnoresNumber:
      [
        "a lease never ends before its holder's own deadline", "authority is that of the model",
        "a scope has one holder",
      ]
    case .fenceRefusesEqual: ["only the stale are refused"]
    case .fenceCheckedEarly: ["a gateway's accepted numbers never fall", "only the stale are refused"]
    case .floorNotDurable: ["a floor outlives a crash"]
    case .incarnationIgnored: ["a gateway's accepted numbers never fall", "only the stale are refused"]
    case .watchSkipsRevision, .watchResumesFromHeader: ["a watch is a contiguous slice of the log"]
    case .grantedInPart: ["scopes asked for together are granted together"]
    case .laterPassesBy: ["nobody who came later passes by"]
    case .shareBesideHolder: ["a scope has one holder"]
    case .reopenedEarly: ["a closed scope is granted to nobody before its time"]
    case .closeTakenForLoss: ["a closed session releases at once"]
    case .guardCheckedBeforeLog: ["a guarded write is applied only while its grant is current"]
    case .barrierNotAwaited, .confirmedBeforeDurable:
      ["a holder is told when every gateway has made the raise durable"]
    case .givenBackFromHolder:
      ["a lease never ends before its holder's own deadline", "authority is that of the model"]
    case .olderConfirmationCounts: ["only the raise that is waited for is confirmed"]
    case .floorForgotten:
      [
        "a holder is told when every gateway has made the raise durable",
        "once a holder is told, no gateway lets in what is older",
      ]
    case .olderLetIn: ["once a holder is told, no gateway lets in what is older"]
    case .diskFallsSilent: [Self.stuck]
    }
  }

  private static let stuck = "a healed cluster makes progress"
  private static let elections: Set<String> = [
    "at most one leader a term", "a leader has every committed entry", "a committed entry never changes",
  ]
  private static let states: Set<String> = [
    "what is applied has one outcome", "nodes that applied the same have the same state",
    "a read sees the newest write",
  ]
}
