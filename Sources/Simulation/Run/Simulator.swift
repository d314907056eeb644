// Owns the run: virtual time, the phases of a world, and the report.
// Must never: read a real clock or draw from anything but its own streams.
// Invariants: one seed, one story; the rules are checked after each step, and the first that breaks ends the run.

import RaftCore

package struct Simulator {
  enum Event {
    case tick(node: Int, life: UInt64)
    /// A node takes all that came in since its last step.
    case step(node: Int, life: UInt64)
    case arrive(Message, from: Int, to: Int)
    case flushed(node: Int, life: UInt64)
    case fetched(node: Int, life: UInt64, FetchRequest)
    case crash(node: Int, life: UInt64)
    case restart(node: Int, life: UInt64)
    case load
    case fault
    case partitionEnds(number: UInt64)
    case heal
    case watch
  }

  enum Phase: Equatable {
    case faults
    /// Faults are over, a majority is up: it must serve again.
    case majority
    /// Everybody is up: all must come to agree.
    case convergence
    case done
  }

  let seed: UInt64
  let options: SimulationOptions
  let world: World
  var queue = EventQueue<Event>()
  var nodes: [SimulatedNode]
  var network: SimulatedNetwork
  var checker = Checker()
  var trace = Trace()
  var phase = Phase.faults
  var phaseEnds: UInt64 = 0
  var acknowledgedAtHeal = 0
  var progressAtWatch = 0
  /// The end of all patience, even with a cluster that keeps making progress.
  var watchEnds: UInt64 = 0
  var digest: UInt64 = 0xCBF2_9CE4_8422_2325
  var eventCount: UInt64 = 0
  var faultCounts = Array(repeating: 0, count: FaultKind.allCases.count)
  var readsServed = 0
  var readsRefused = 0
  var nextRead: UInt64 = 0
  var violation: Violation?

  var networkChance: RandomStream
  var diskChance: RandomStream
  var faultChance: RandomStream
  var clockChance: RandomStream
  var loadChance: RandomStream
  var schedulingChance: RandomStream
  var seedChance: RandomStream
  var healingChance: RandomStream

  package init(seed: UInt64, options: SimulationOptions) {
    self.seed = seed
    self.options = options
    let world = World(seed: seed, options: options)
    self.world = world
    networkChance = RandomStream(seed: seed, concern: .network)
    diskChance = RandomStream(seed: seed, concern: .disk)
    faultChance = RandomStream(seed: seed, concern: .faults)
    loadChance = RandomStream(seed: seed, concern: .load)
    schedulingChance = RandomStream(seed: seed, concern: .scheduling)
    seedChance = RandomStream(seed: seed, concern: .seeds)
    healingChance = RandomStream(seed: seed, concern: .healing)
    var clocks = RandomStream(seed: seed, concern: .clocks)
    nodes = (0..<world.nodeCount).map { position in
      let drift = clocks.next(in: 0..<(2 * world.driftPerMille + 1))
      return SimulatedNode(
        id: NodeID(UInt64(position) + 1),
        tickMicroseconds: world.tickMicroseconds * (1000 + drift - world.driftPerMille) / 1000,
        clockOffsetMilliseconds: clocks.next(in: 0..<10_000))
    }
    clockChance = clocks
    network = SimulatedNetwork(nodeCount: world.nodeCount)
    network.lossPerMille = world.lossPerMille
    network.repeatPerMille = world.repeatPerMille
    network.latePerMille = world.latePerMille
  }

  var now: UInt64 { queue.nowMicroseconds }

  // MARK: The run

  package mutating func run() -> SimulationReport {
    for node in nodes.indices { start(node) }
    queue.push(.load, afterMicroseconds: 1)
    queue.push(.fault, afterMicroseconds: faultGap())
    queue.push(.heal, afterMicroseconds: options.faultMilliseconds * 1000)
    do throws(Checker.Broken) {
      while phase != .done, let event = queue.pop() {
        eventCount += 1
        try handle(event)
      }
    } catch {
      violation = Violation(
        rule: error.rule, detail: error.detail, atMicroseconds: now, lastEvents: trace.lines())
    }
    return report()
  }

  private mutating func handle(_ event: Event) throws(Checker.Broken) {
    switch event {
    case .tick(let node, let life): try tick(node, life: life)
    case .step(let node, let life):
      guard nodes[node].life == life, nodes[node].raft != nil else { return }
      nodes[node].isScheduled = false
      try step(node)
    case .arrive(let message, let sender, let node):
      guard nodes[node].raft != nil else { return }
      give(node, .received(message, from: nodes[sender].id))
    case .flushed(let node, let life): flushed(node, life: life)
    case .fetched(let node, let life, let request): fetched(node, life: life, request)
    case .crash(let node, let life):
      if nodes[node].life == life { crash(node, for: faultChance.next(in: 1000..<50_000)) }
    case .restart(let node, let life):
      if nodes[node].life == life, nodes[node].raft == nil { start(node) }
    case .load: load()
    case .fault: beginFault()
    case .partitionEnds(let number):
      guard number == network.partitionNumber, phase == .faults else { return }
      network.heal()
      trace.record(.healed("the partition"), at: now)
    case .heal: heal()
    case .watch: try watch()
    }
  }

  // MARK: Phases

  private mutating func heal() {
    phase = .majority
    phaseEnds = now + options.livenessMilliseconds * 1000
    network.becomeReliable()
    trace.record(.healed("everything"), at: now)
    // A random majority must be enough; the others stay down for now.
    let isMinorityDown = healingChance.chance(perMille: 500)
    let down = isMinorityDown ? healingChance.sample((nodes.count - 1) / 2, below: nodes.count) : []
    for node in nodes.indices {
      nodes[node].frozenUntil = 0
      nodes[node].disk.stalledUntil = 0
      if down.contains(node) {
        if nodes[node].raft != nil { crash(node, for: nil) }
      } else if nodes[node].raft == nil {
        start(node)
      } else {
        schedule(node)
      }
    }
    watchEnds = now + 20 * options.livenessMilliseconds * 1000
    acknowledgedAtHeal = checker.acknowledged
    queue.push(.watch, afterMicroseconds: 100_000)
  }

  private mutating func watch() throws(Checker.Broken) {
    switch phase {
    case .majority where checker.acknowledged >= acknowledgedAtHeal + 10:
      phase = .convergence
      progressAtWatch = 0
      phaseEnds = now + options.livenessMilliseconds * 1000
      for node in nodes.indices where nodes[node].raft == nil { start(node) }
    case .convergence where hasConverged():
      phase = .done
      return
    case .majority where progress() != progressAtWatch, .convergence where progress() != progressAtWatch:
      // A backlog that goes through a narrow window takes its time. It may, as long as it goes on.
      progressAtWatch = progress()
      phaseEnds = min(now + options.livenessMilliseconds * 1000, watchEnds)
    case .majority, .convergence:
      guard now < phaseEnds else { throw stuck() }
    case .faults, .done:
      return
    }
    queue.push(.watch, afterMicroseconds: 100_000)
  }

  /// What everybody has applied and what the others have of the longest log. That one growing is not progress yet.
  private func progress() -> Int {
    let lengths = nodes.map(\.disk.durable.entries.count)
    return nodes.reduce(0) { $0 + $1.applied } + lengths.reduce(0, +) - (lengths.max() ?? 0)
  }

  private func hasConverged() -> Bool {
    nodes.allSatisfy { $0.applied == checker.committed.count && $0.raft?.lastIndex.rawValue == UInt64($0.applied) }
  }

  private func stuck() -> Checker.Broken {
    let nodes = nodes.map { node in
      guard let raft = node.raft else { return "\(node.id) is down" }
      return "\(node.id) is \(raft.role) in \(raft.term), log \(raft.lastIndex.rawValue), commit "
        + "\(raft.commit.rawValue), applied \(node.applied)"
    }
    let expected = phase == .majority ? "serve again" : "agree"
    return Checker.Broken(
      rule: "a healed cluster makes progress",
      detail: "it did not \(expected) within \(options.livenessMilliseconds) ms, \(checker.committed.count) committed: "
        + nodes.joined(separator: "; "))
  }

  // MARK: Report

  mutating func mix(_ value: UInt64) {
    digest = (digest ^ value) &* 0x0000_0100_0000_01B3
    digest ^= digest >> 29
  }

  private func report() -> SimulationReport {
    SimulationReport(
      seed: seed, nodeCount: nodes.count, digest: digest, events: eventCount, simulatedMicroseconds: now,
      faults: zip(FaultKind.allCases, faultCounts).map { FaultCount(kind: $0, count: $1) },
      elections: checker.elections, lastTerm: checker.lastTerm, committedEntries: checker.committed.count,
      proposalsAcknowledged: checker.acknowledged, proposalsRefused: checker.refused,
      proposalsUnknown: checker.proposed - checker.acknowledged - checker.refused,
      readsServed: readsServed, readsRefused: readsRefused, violation: violation)
  }
}
