// The model against what can be counted out by hand, and against itself.

import Measurement
import Planning
import Testing

@Suite("the what-if model")
struct WhatIfTests {
  private func scenario(
    nodes: Int, flush: Double = 2e6, oneWay: UInt64 = 0, puts: Double = 50, operations: Int = 3000
  ) -> WhatIf {
    var scenario = WhatIf(
      nodes: nodes, oneWayNanoseconds: oneWay, disk: DiskModel(tight: Quantiles(constantNanoseconds: flush)),
      load: .open(process: .poisson, perSecond: [.put: puts]))
    scenario.costs = .none
    scenario.clientsAt = .leader
    scenario.processors = 8
    scenario.operations = operations
    return scenario
  }

  private func isNear(_ one: Double, _ other: Double, within share: Double) -> Bool {
    abs(one - other) <= share * other
  }

  @Test("near idle one node waits for one flush")
  func oneNode() throws {
    let p50 = try #require(scenario(nodes: 1).predict().percentile(50))
    #expect(isNear(Double(p50), 2e6, within: 0.01), "\(p50)")
  }

  @Test("near idle three nodes wait for the slower of leader's flush, and round trip with a follower's flush")
  func threeNodes() throws {
    let p50 = try #require(scenario(nodes: 3, oneWay: 500_000).predict().percentile(50))
    #expect(isNear(Double(p50), 3e6, within: 0.01), "\(p50)")
  }

  @Test("with two kinds of flush the median is the order statistic of the quorum")
  func orderStatistic() throws {
    // Each flush takes 1 ms, or with a chance of 1 in 5 it takes 10 ms. A commit needs the leader or both followers, and two
    // of three in all: it is slow when two or three flushes of the three are, 3·0.04·0.8 + 0.008 = 10.4 %.
    var scenario = scenario(nodes: 3, puts: 10, operations: 8000)
    scenario.disk = DiskModel(tight: Quantiles(cells: [(1000, 4), (10_000, 1)])!)
    let histogram = try #require(scenario.predict().latency[.put])
    let slow = histogram.buckets.filter { $0.upToNanoseconds > 5_000_000 }.reduce(0) { $0 + $1.count }
    #expect(isNear(Double(slow) / Double(histogram.count), 0.104, within: 0.25), "\(slow) of \(histogram.count)")
  }

  @Test("a flush takes as long as the disk has rested, and no longer than after the longest rest that was measured")
  func restingDisk() throws {
    func p50(everyMilliseconds gap: Double) throws -> Double {
      var scenario = scenario(nodes: 1, flush: 1e6)
      scenario.disk.add(Quantiles(constantNanoseconds: 3e6), afterRestOf: 8e6)
      scenario.load = .open(process: .constant, perSecond: [.put: 1000 / gap])
      return Double(try #require(scenario.predict().percentile(50)))
    }
    // With 10 ms from put to put, a flush of f ms follows a rest of 10 - f, so f = 1 + 2 · (10 - f) / 8.
    #expect(isNear(try p50(everyMilliseconds: 10), 2.8e6, within: 0.01))
    #expect(isNear(try p50(everyMilliseconds: 50), 3e6, within: 0.01))
  }

  @Test("what comes to a follower takes one round trip more than what comes to the leader")
  func follower() throws {
    var spread = scenario(nodes: 3, flush: 1e6, oneWay: 5_000_000, puts: 20)
    spread.clientsAt = .spread
    let histogram = try #require(spread.predict().latency[.put])
    // A third at the leader: 10 ms of round trip and 1 ms of flush. The others: 10 ms more, there and back.
    let near = histogram.buckets.filter { $0.upToNanoseconds < 12_000_000 }.reduce(0) { $0 + $1.count }
    #expect(isNear(Double(near) / Double(histogram.count), 1 / 3, within: 0.05))
    #expect(isNear(Double(histogram.max), 21e6, within: 0.25), "\(histogram.max)")
  }

  @Test("a disk that takes one flush after the other groups what waits: a rate far beyond one for each flush holds")
  func groupCommit() throws {
    var busy = scenario(nodes: 1, puts: 5000, operations: 20_000)
    busy.commandBytes = 8
    let prediction = busy.predict()
    #expect(!prediction.isOverloaded)
    // 500 flushes a second of 2 ms are all that the disk does.
    #expect(isNear(prediction.commandsPerFlush, 10, within: 0.1), "\(prediction.commandsPerFlush)")
    #expect(prediction.diskShare > 0.95)
    // It waits for what is left of a flush, uniformly, and then for its own: 3 ms in the middle.
    #expect(isNear(Double(try #require(prediction.percentile(50))), 3e6, within: 0.05))
  }

  @Test("a closed loop with more clients than a processor can serve has the rate of the processor")
  func processorBinds() {
    var closed = scenario(nodes: 1, flush: 10_000)
    closed.load = .closed(clients: 200)
    closed.processors = 1
    closed.costs.requestIn = 50_000
    let prediction = closed.predict()
    #expect(isNear(prediction.achievedPerSecond, 20_000, within: 0.05), "\(prediction.achievedPerSecond)")
    #expect(prediction.processorShare > 0.95)
  }

  @Test("a relay works on what it takes up and on what it passes on, and holds it back in between")
  func relay() throws {
    var relayed = scenario(nodes: 1, operations: 4000)
    relayed.sharesMachine = true
    relayed.clientOneWay = 3_000_000
    relayed.hasRelay = true
    let still = try #require(relayed.predict().percentile(50))
    #expect(isNear(Double(still), 8e6, within: 0.01), "\(still)")
    relayed.costs.relay = 50_000
    let working = relayed.predict()
    // Two pieces of work each way.
    #expect(isNear(working.use.clients, 200_000, within: 0.05), "\(working.use.clients)")
    #expect(try #require(working.percentile(50)) > still + 100_000)
  }

  @Test("what now and then holds a processor up shows in the 99th of a hundred, and hardly in the median")
  func stalls() throws {
    var disturbed = scenario(nodes: 1, puts: 500, operations: 6000)
    disturbed.processors = 1
    let quiet = disturbed.predict()
    (disturbed.costs.stallsPerSecond, disturbed.costs.stallNanoseconds) = (4, 8_000_000)
    let stalled = disturbed.predict()
    let medians = (quiet: try #require(quiet.percentile(50)), stalled: try #require(stalled.percentile(50)))
    #expect(isNear(Double(medians.stalled), Double(medians.quiet), within: 0.1), "\(medians)")
    #expect(try #require(stalled.percentile(99)) > 2 * #require(quiet.percentile(99)))
  }

  @Test("where processors leave alone what waits for another one, it waits longer")
  func leftInLine() throws {
    func p90(_ share: Double) throws -> UInt64 {
      var scenario = scenario(nodes: 1, flush: 2e5, puts: 4500, operations: 9000)
      scenario.costs = Costs()
      (scenario.costs.leftInLine, scenario.costs.flushOfHost) = (share, 0)
      (scenario.sharesMachine, scenario.processors) = (true, 2)
      return try #require(scenario.predict().percentile(90))
    }
    let (never, half, always) = (try p90(0), try p90(0.5), try p90(1))
    #expect(half > never && Double(always) > 1.05 * Double(never) && always > half, "\(never), \(half), \(always)")
    var costs = Costs()
    costs.leftInLine = 1.5
    #expect(costs.complaint?.contains("left_in_line") == true)
  }

  @Test("the first request after a wake-up costs more, and what follows it does not")
  func coldRequests() {
    var idle = scenario(nodes: 1, puts: 50, operations: 4000)
    idle.costs.requestWake = 100_000
    // A request and its answer, each after a rest that is long: the 2 ms of a flush are twenty times as much.
    idle.costs.coldRest = 100_000
    #expect(isNear(idle.predict().use.eventLoops, 200_000, within: 0.05), "\(idle.predict().use)")
    idle.load = .closed(clients: 100)
    #expect(idle.predict().use.eventLoops < 40_000, "\(idle.predict().use)")
  }

  @Test("the same seed gives the same prediction, another one another")
  func determinism() {
    var one = scenario(nodes: 3, oneWay: 300_000, puts: 800)
    one.costs = Costs()
    #expect(one.predict() == one.predict())
    var other = one
    other.seed = 2
    #expect(other.predict() != one.predict())
  }

  @Test("more flush and more round trip never answer sooner", arguments: [1, 3, 5])
  func monotone(nodes: Int) throws {
    var last: UInt64 = 0
    for flush in [0.2e6, 1e6, 4e6] {
      let p50 = try #require(scenario(nodes: nodes, flush: flush, oneWay: 100_000, puts: 300).predict().percentile(50))
      #expect(p50 > last)
      last = p50
    }
    guard nodes > 1 else { return }
    last = 0
    for oneWay: UInt64 in [50_000, 500_000, 5_000_000] {
      let p50 = try #require(scenario(nodes: nodes, oneWay: oneWay, puts: 300).predict().percentile(50))
      #expect(p50 > last)
      last = p50
    }
  }

  @Test("a load beyond what a processor does is told as such")
  func overload() {
    var heavy = scenario(nodes: 1, flush: 100_000, puts: 40_000, operations: 40_000)
    heavy.processors = 1
    heavy.costs.requestIn = 50_000
    #expect(heavy.predict().isOverloaded)
  }

  @Test("a linearizable read of three nodes takes a round trip, and of one node none; no flush either way")
  func reads() throws {
    for (nodes, expected) in [(1, 0.0), (3, 2e6)] {
      var scenario = scenario(nodes: nodes, oneWay: 1_000_000)
      scenario.load = .open(process: .poisson, perSecond: [.get: 50])
      let p50 = Double(try #require(scenario.predict().percentile(50, of: .get)))
      #expect(abs(p50 - expected) < 20_000, "\(p50)")
    }
  }

  @Test("replicas that share a disk wait for one another")
  func sharedDisk() throws {
    var scenario = scenario(nodes: 3, flush: 1e6, puts: 50)
    scenario.disk.contended = (Quantiles(constantNanoseconds: 3e6), 3)
    let alone = try #require(scenario.predict().percentile(50))
    scenario.sharesDisk = true
    let together = try #require(scenario.predict().percentile(50))
    #expect(isNear(Double(alone), 1e6, within: 0.01))
    #expect(together > 15 * alone / 10, "\(together)")
  }
}
