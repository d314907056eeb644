// Tests of what a limit is laid to.

import Measurement
import Testing

@Suite struct LimitBindingTests {
  private typealias Binding = LimitResult.Binding

  private func trial(
    _ rate: Double, _ reasons: [String], processors: Double? = 0.4, disk: Double? = 0.1, nodes: [NodeUsage]? = nil
  ) -> LimitTrial {
    var trial = LimitTrial(
      ratePerSecond: rate, achievedPerSecond: rate, latencyNanoseconds: 1, reasons: reasons,
      usage: processors.map { HostUsage(processors: $0, disk: disk) })
    trial.nodes = nodes
    return trial
  }

  private func node(
    _ role: NodeUsage.Role, _ cores: Double, of processors: Int? = 4, flushing: Double? = 0.2,
    at endpoint: String = "a:1"
  ) -> NodeUsage {
    var usage = NodeUsage(endpoint: endpoint, cores: cores)
    (usage.role, usage.processors, usage.flushing) = (role, processors, flushing)
    return usage
  }

  /// Of a search that ended with these runs of the lowest rate that did not hold.
  private func binding(_ edge: [LimitTrial]) -> Binding? {
    var search = LimitSearch(startingAt: 1_000)
    for one in [trial(1_000, [])] + edge { search.record(one) }
    var result = LimitResult(of: search, Samples.bench(), objective: .init(percentile: 99, latencyNanoseconds: 1))
    result.trials = [trial(1_000, [], processors: 1, disk: 1)] + edge
    (result.holdsPerSecond, result.failsPerSecond) = (1_000, 2_000)
    return result.binding
  }

  @Test("what was busy at the edge binds, the nearest to the load first")
  func order() {
    let busy = trial(2_000, ["latency"], processors: 0.9, disk: 0.9)
    #expect(binding([trial(2_000, ["generator-late"], processors: 0.9)]) == .generator)
    #expect(binding([busy]) == .processors)
    #expect(binding([trial(2_000, ["latency"], disk: 0.9)]) == .disk)
    #expect(binding([trial(2_000, ["latency"])]) == .nothingSeen(nodes: 0))
    #expect(binding([trial(2_000, ["latency"], processors: nil)]) == nil)
    #expect(binding([trial(2_000, ["latency"], disk: nil)]) == .nothingSeen(nodes: 0))
  }

  @Test("a node that is busy is named, by the mean of the runs at the edge")
  func nodes() {
    let follower = node(.follower, 1, at: "b:1")
    let leader = [3.2, 3.6, 3.7].map { node(.leader, $0) }
    let edge = leader.map { trial(2_000, ["latency"], nodes: [$0, follower]) }
    guard case .processorsOf(let found) = binding(edge) else {
      Issue.record("\(binding(edge).debugDescription)")
      return
    }
    #expect(found.role == .leader && found.endpoint == "a:1" && (found.cores - 3.5).magnitude < 1e-9)
    // A run at another rate, and one that held, say nothing of the edge.
    let others = [trial(4_000, ["latency"], nodes: leader), trial(2_000, [], nodes: leader)]
    #expect(binding([trial(2_000, ["latency"], nodes: [node(.leader, 1)])] + others) == .nothingSeen(nodes: 1))
    let slow = node(.follower, 1, flushing: 0.95, at: "b:1")
    #expect(binding([trial(2_000, ["latency"], nodes: [node(.leader, 1), slow])]) == .diskOf(slow))
    #expect(
      binding([trial(2_000, ["latency"], nodes: [node(.follower, 3.9, at: "b:1"), node(.leader, 1)])])
        == .processorsOf(node(.follower, 3.9, at: "b:1")))
  }

  @Test("how many processors a node has is never guessed")
  func unknown() {
    let unknown = node(.leader, 64, of: nil, flushing: nil)
    #expect(unknown.processorShare == nil)
    #expect(binding([trial(2_000, ["latency"], nodes: [unknown])]) == .nothingSeen(nodes: 1))
    #expect(node(.leader, 9, of: 4).processorShare == 1)
    #expect(node(.leader, 2, of: 4).processorShare == 0.5)
  }
}

/// A run of which only the load counts here.
private enum Samples {
  static func bench() -> BenchResult {
    let configuration = LoadConfiguration(
      operation: .put, shape: .open(process: .poisson, ratePerSecond: 1, maxInFlight: 1), connections: 1, eventLoops: 1,
      durationNanoseconds: 1, totalOperations: nil, callTimeoutNanoseconds: 1, keyPrefix: "k", keySizeBytes: 9,
      keyCount: 1, keyOrder: .random, valueSizeBytes: 1, seed: 1)
    return BenchResult(
      scenario: "put", startedAt: "", configuration: configuration,
      environment: RunEnvironment(processorCount: 1, buildConfiguration: "release"),
      target: TargetDescription(endpoints: ["a:1"]), ending: .completed,
      judgement: Judgement(verdict: .valid, reasons: []),
      warmUp: WarmUpRecord(end: .skipped, durationNanoseconds: 0, operations: 0), measured: LoadFigures(),
      generator: GeneratorFigures(cpuNanoseconds: 0, durationNanoseconds: 0, operations: 0, busiestThreadShare: 0),
      timeline: [])
  }
}
