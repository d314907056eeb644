// Histories of three real processes under kill -9, SIGSTOP and partitions are linearizable, and nothing that was
// acknowledged is lost. What these tests can prove is the rung of a crash of processes and of the network: the page
// cache outlives a killed process, so loss of power is not among what they show.

import Chaos
import Foundation
import NIOCore
import Testing

@Suite("faults", .serialized)
struct FaultsTests {
  /// Below these a run says nothing.
  private static let fewestOperations = 2000
  private static let fewestFaults = FaultsKind.allCases.count

  @Test("a history of three nodes under every kind of fault is linearizable", .timeLimit(.minutes(5)))
  func everyKind() async throws {
    let seed = FaultsRun.seed
    print("faults: seed \(seed) (PORTCULLIS_FAULTS_SEED=\(seed) draws the same schedule again)")
    var steps: [FaultsStep] = []
    let report = try await FaultsRun.run(seed: seed) { done, random in
      if done == 0 { steps = FaultsSchedule.everyKind(&random) }
      return done < steps.count ? steps[done] : nil
    }
    print("faults: \(report.summary)")
    Self.expectSound(report)
    for kind in FaultsKind.allCases { #expect(report.faults[kind] == 1, "\(kind) was not carried out") }
    #expect(report.terms >= 5, "so many faults of leaders and so few elections: \(report.terms)")
    let plants = HistoryPlants(report.operations, log: report.logs[0]).all
    #expect(plants.count == 3, "the history has no place for some of the planted faults: \(plants.map(\.name))")
    for plant in plants {
      #expect(HistoryAudit.problems(of: plant.operations, logs: report.logs) != [], "the audit passes \(plant.name)")
      let search = HistoryChecking.search(plant.operations.filter { $0.key == plant.key })
      #expect(search.counterexample != nil, "the search passes \(plant.name): \(search)")
      let replay = HistoryChecking.replay(plant.operations)
      #expect(replay.counterexample != nil, "the replay passes \(plant.name): \(replay)")
    }
  }

  /// How long the long version runs; without it there is none.
  private static let soakSeconds = ProcessInfo.processInfo.environment["PORTCULLIS_SOAK_SECONDS"].flatMap(Int.init)

  @Test(
    "hours of the same, with clusters of their own and faults at random",
    .enabled(if: soakSeconds != nil, "PORTCULLIS_SOAK_SECONDS says how long"))
  func soak() async throws {
    let end = ContinuousClock.now + .seconds(Self.soakSeconds ?? 0)
    var seed = FaultsRun.seed
    var reports: [FaultsReport] = []
    repeat {
      let roundEnd = min(end, ContinuousClock.now + .seconds(120))
      print("faults: round \(reports.count + 1), seed \(seed)")
      var report = try await FaultsRun.run(seed: seed) { done, random in
        if done > 0, ContinuousClock.now >= roundEnd { return nil }
        let kinds = FaultsKind.allCases
        return FaultsSchedule.step(kinds[Int.random(in: 0..<kinds.count, using: &random)], &random)
      }
      print("faults: \(report.summary)")
      for problem in report.problems.prefix(10) { Issue.record("seed \(seed): \(problem)") }
      report.forgetHistory()
      reports.append(report)
      seed += 1
    } while ContinuousClock.now < end
    print("faults: all \(reports.count) rounds: \(FaultsReport.total(reports).summary)")
    Self.expectSound(FaultsReport.total(reports))
  }

  /// Nothing is wrong, and enough was done for that to mean something.
  private static func expectSound(_ report: FaultsReport) {
    #expect(report.acknowledged >= fewestOperations, "too few operations to say anything: \(report.acknowledged)")
    #expect(report.acknowledgedByNode.allSatisfy { $0 >= fewestOperations / 10 }, "\(report.acknowledgedByNode)")
    #expect(report.faultCount >= fewestFaults, "too few faults: \(report.faultCount)")
    #expect(report.unknown > 0, "faults that leave no operation unknown did not hit anything")
    for problem in report.problems.prefix(10) { Issue.record("\(problem)") }
    if !report.problems.isEmpty { Issue.record("\(report.problems.count) problems with seed \(report.seed)") }
  }

  @Test("the checks see a stale read: one that did not ask to be linearizable, of a node that is cut off")
  func staleRead() async throws {
    try await withFaultsCluster { cluster in
      let key = HistoryRecorder.defaultPrefix + "stale"
      func perform(_ call: HistoryCall, at node: Int) async throws -> HistoryOperation {
        let client = HistoryClient(node, ports: cluster.ports, node: node)
        defer { client.close() }
        let operation = await client.perform(call, on: key, timeout: .seconds(10))
        try #require(operation.isAcknowledged, "\(operation)")
        return operation
      }
      let leader = try await cluster.leader()
      let follower = (leader + 1) % 3
      var sound = [try await perform(.put("old"), at: leader), try await perform(.get, at: follower)]
      try await cluster.proxy.set(.drop, on: FaultsDriver.around(follower, of: 3))
      sound.append(try await perform(.put("new"), at: leader))
      sound.append(try await perform(.get, at: (leader + 2) % 3))
      let stale = try await perform(.getSerializable, at: follower)
      try await cluster.proxy.heal()
      try await cluster.waitUntilServing()
      let last = try await perform(.put("last"), at: follower)
      var logs: [[HistoryEvent]] = []
      for port in cluster.ports { logs.append(try await HistoryLog.read(port: port, through: "last")) }
      #expect(stale.outcome == .ok(.read(HistoryState(value: "old", modRevision: 2)), revision: 2))
      let operations = sound + [stale, last]
      #expect(HistoryAudit.problems(of: operations, logs: logs).count == 1)
      #expect(HistoryChecking.search(operations).counterexample != nil)
      #expect(HistoryChecking.replay(operations).counterexample != nil)
      #expect(HistoryAudit.problems(of: sound + [last], logs: logs) == [])
      #expect(HistoryChecking.problems(of: sound + [last]) == [])
    }
  }
}
