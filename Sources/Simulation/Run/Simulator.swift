// Owns the run: virtual time and what happens next.
// Must never: read a real clock or draw from anything but its own streams.
// Invariants: one seed, one story; the rules are checked after each step, and the first that breaks ends the run.

import CoordinationCore
import FencingCore
import RaftCore

package struct Simulator: ~Copyable {
  enum Event {
    case tick(node: Int, life: UInt64)
    /// A node takes all that came in since its last step.
    case step(node: Int, life: UInt64)
    case arrive(Message, from: Int, to: Int)
    case flushed(node: Int, life: UInt64)
    indirect case fetched(node: Int, life: UInt64, FetchRequest)
    indirect case snapshotWritten(node: Int, life: UInt64, SnapshotPoint, Coordination)
    indirect case snapshotRead(node: Int, life: UInt64, SnapshotRead)
    indirect case snapshotChecked(node: Int, life: UInt64, SnapshotDescription)
    case compacted(node: Int, life: UInt64, RaftCore.Index)
    case crash(node: Int, life: UInt64)
    case restart(node: Int, life: UInt64)
    case retire(node: Int)
    case diskHasRoom(node: Int)
    case clockThaws(node: Int)
    indirect case gatewayRequest(Int, GatewayRequest)
    case gatewayFlushed(Int, life: UInt64)
    case gatewayStarts(Int)
    case gatewayCrashes(Int, life: UInt64)
    case session(Int)
    case contender(Int)
    case protector(Int)
    case protectorRequest(Int, ProtectingGateway.Request)
    case protectorFlushed(Int, life: UInt64)
    case protectorStarts(Int)
    case watcher(Int)
    case load
    case administer
    case fault
    case partitionEnds(number: UInt64)
    case heal
    case look
  }

  let seed: UInt64
  let options: SimulationOptions
  let world: World
  /// Nodes that there may ever be.
  let capacity: Int
  var queue = EventQueue<Event>()
  var nodes: [SimulatedNode] = []
  var network: SimulatedNetwork
  var gateways: [SimulatedGateway]
  var sessions: [Session] = []
  var contenders: [Contender] = []
  var protectors: [ProtectingGateway] = []
  /// What contenders asked for, by operation. Looked up, never walked.
  var acquires: [UInt64: AcquireRequest] = [:]
  var watchers: [Watcher]
  var clients: [NamedClient]
  var keys: KeySpace
  var operations = Operations()
  var history = History()
  var administrator = Operator()
  /// The revisions at which the cluster was taken for a restored one.
  var incarnations: [Revision] = []
  /// Clocks that jumped, and what that may have taken from leases.
  var leaps: [(at: UInt64, microseconds: UInt64)] = []
  var checker: Checker
  var trace = Trace()

  var phase = Phase.faults
  var watch = Watch()
  var digest: UInt64 = 0xCBF2_9CE4_8422_2325
  var eventCount: UInt64 = 0
  var faultCounts = Array(repeating: 0, count: FaultKind.allCases.count)
  var milestones = Array(repeating: 0, count: Milestone.allCases.count)
  var readsServed = 0
  var watchEvents = 0
  var gatewayAccepted = 0
  var gatewayRefused = 0
  var historiesUndecided = 0

  var networkChance: RandomStream
  var diskChance: RandomStream
  var faultChance: RandomStream
  var clockChance: RandomStream
  var loadChance: RandomStream
  var schedulingChance: RandomStream
  var seedChance: RandomStream
  var healingChance: RandomStream
  var sessionChance: RandomStream
  var gatewayChance: RandomStream
  var watcherChance: RandomStream
  var memberChance: RandomStream
  var contenderChance: RandomStream
  var protectorChance: RandomStream

  package init(seed: UInt64, options: SimulationOptions) {
    self.seed = seed
    self.options = options
    let world = World(seed: seed, options: options)
    self.world = world
    capacity = world.nodeCount + Self.spareNodes
    networkChance = RandomStream(seed: seed, concern: .network)
    diskChance = RandomStream(seed: seed, concern: .disk)
    faultChance = RandomStream(seed: seed, concern: .faults)
    clockChance = RandomStream(seed: seed, concern: .clocks)
    loadChance = RandomStream(seed: seed, concern: .load)
    schedulingChance = RandomStream(seed: seed, concern: .scheduling)
    seedChance = RandomStream(seed: seed, concern: .seeds)
    healingChance = RandomStream(seed: seed, concern: .healing)
    sessionChance = RandomStream(seed: seed, concern: .sessions)
    gatewayChance = RandomStream(seed: seed, concern: .gateways)
    watcherChance = RandomStream(seed: seed, concern: .watchers)
    memberChance = RandomStream(seed: seed, concern: .members)
    contenderChance = RandomStream(seed: seed, concern: .contenders)
    protectorChance = RandomStream(seed: seed, concern: .protectors)
    network = SimulatedNetwork(capacity: capacity, sizes: world.network)
    let noFloors: [Floor?] = Array(repeating: nil, count: world.sessions.scopes)
    gateways = Array(repeating: SimulatedGateway(durable: noFloors, written: noFloors), count: world.sessions.gateways)
    watchers = Array(repeating: Watcher(node: 0), count: world.load.watchers)
    clients = Array(repeating: NamedClient(), count: Self.namedClients)
    keys = KeySpace(count: world.load.keys)
    let founding = Membership(voters: (0..<world.nodeCount).map { NodeID(UInt64($0) + 1) })
    checker = Checker(
      state: StateChecker(scopes: world.contention?.scopes ?? 0), members: MembershipChecker(founding: founding),
      fence: FenceChecker(gateways: world.sessions.gateways, scopes: world.sessions.scopes))
    for position in 0..<world.nodeCount { nodes.append(makeNode(position: position, founding: founding)) }
    for position in 0..<world.sessions.count {
      let clock = LocalClock(offsetMicroseconds: 0, ratePerMille: drawRate())
      sessions.append(Session(position: position, scope: position % world.sessions.scopes, clock: clock))
    }
  }

  var now: UInt64 { queue.nowMicroseconds }

  mutating func makeNode(position: Int, founding: Membership) -> SimulatedNode {
    let rate = drawRate()
    let clock = LocalClock(offsetMicroseconds: clockChance.next(in: 0..<10_000_000), ratePerMille: rate)
    return SimulatedNode(
      position: position, tickMicroseconds: world.tickMicroseconds * 1000 / rate, localClock: clock,
      founding: founding)
  }

  private mutating func drawRate() -> UInt64 {
    let drift = clockChance.next(in: 0..<(2 * world.driftPerMille + 1))
    return 1000 + drift - world.driftPerMille
  }

  // MARK: The run

  /// Every happening is told to `reader` as it comes up.
  package mutating func run(reader: ((String) -> Void)? = nil) -> SimulationReport {
    trace.reader = reader
    var violation: Violation?
    do throws(Broken) {
      try begin()
      while phase != .done, let event = queue.pop() {
        eventCount += 1
        try handle(event)
      }
      try judgeHistory()
    } catch {
      violation = Violation(
        rule: error.rule, detail: error.detail, atMicroseconds: now, lastEvents: trace.lines())
    }
    return report(violation)
  }

  private mutating func begin() throws(Broken) {
    for node in nodes { try start(node) }
    queue.push(.load, afterMicroseconds: 1)
    for position in sessions.indices {
      queue.push(.session(position), afterMicroseconds: sessionChance.next(in: 1..<ttlMicroseconds))
    }
    beginContention()
    beginProtection()
    for watcher in watchers.indices { queue.push(.watcher(watcher), afterMicroseconds: 100_000) }
    if world.has(.reconfiguration) { queue.push(.administer, afterMicroseconds: 500_000) }
    count(.clockDrift, isWorldly: world.driftPerMille > 0)
    count(.reconfiguration, isWorldly: world.has(.reconfiguration))
    queue.push(.fault, afterMicroseconds: faultGap())
    queue.push(.heal, afterMicroseconds: options.faultMilliseconds * 1000)
  }

  private mutating func count(_ kind: FaultKind, isWorldly: Bool) { if isWorldly { count(kind) } }

  /// The node, if it is still in the life for which something was scheduled.
  private func node(_ position: Int, _ life: UInt64) -> SimulatedNode? {
    let node = nodes[position]
    return node.life == life && node.isUp ? node : nil
  }

  private mutating func handle(_ event: Event) throws(Broken) {
    switch event {
    case .tick(let position, let life): if let node = node(position, life) { try tick(node) }
    case .step(let position, let life):
      guard let node = node(position, life) else { return }
      node.isScheduled = false
      try step(node)
    case .arrive(let message, let sender, let receiver):
      give(nodes[receiver], .received(message, from: nodes[sender].id))
    case .flushed(let position, let life): if let node = node(position, life) { flushed(node) }
    case .load: load()
    case .session(let position): wake(position)
    case .contender(let position): contend(position)
    case .protector(let position): try protect(position)
    case .protectorRequest(let position, let request): enqueue(request, at: position)
    case .protectorFlushed(let position, let life):
      if protectors[position].life == life { try protectorFlushed(position) }
    case .watcher(let watcher): try poll(watcher)
    case .gatewayRequest(let gateway, let request): try arrived(request, at: gateway)
    case .gatewayFlushed(let gateway, let life):
      if gateways[gateway].life == life { try gatewayFlushed(gateway) }
    default: try handleRare(event)
    }
  }

  private mutating func handleRare(_ event: Event) throws(Broken) {
    switch event {
    case .fetched(let position, let life, let request):
      if let node = node(position, life) { try fetched(node, request) }
    case .snapshotWritten(let position, let life, let point, let state):
      if let node = node(position, life) { try snapshotWritten(node, point, state) }
    case .snapshotRead(let position, let life, let request):
      if let node = node(position, life) { try snapshotRead(node, request) }
    case .snapshotChecked(let position, let life, let description):
      if let node = node(position, life) { try snapshotChecked(node, description) }
    case .compacted(let position, let life, let first):
      if let node = node(position, life) { try compact(node, before: first) }
    case .crash(let position, let life):
      if let node = node(position, life) { crash(node, for: faultChance.next(in: 1000..<50_000)) }
    case .restart(let position, let life):
      if nodes[position].life == life, !nodes[position].isUp { try start(nodes[position]) }
    case .retire(let position): retire(nodes[position])
    case .diskHasRoom(let position): diskHasRoom(nodes[position])
    case .clockThaws(let position): nodes[position].localClock.thaw(at: now)
    case .gatewayStarts(let gateway): try startGateway(gateway)
    case .gatewayCrashes(let gateway, let life):
      if gateways[gateway].life == life { try crashGateway(gateway) }
    case .protectorStarts(let position): startProtector(position)
    case .administer: try administer()
    case .fault: try beginFault()
    case .partitionEnds(let number):
      guard number == network.partitionNumber, phase == .faults else { return }
      network.heal()
      trace.record(.healed("the partition"), at: now)
    case .heal: try heal()
    case .look: try look()
    case .tick, .step, .arrive, .flushed, .load, .session, .contender, .protector, .protectorRequest, .protectorFlushed,
      .watcher, .gatewayRequest, .gatewayFlushed:
      preconditionFailure("handled with the frequent ones")
    }
    if options.plantedBug == .canary, now > 1_000_000 {
      throw Broken("the canary sings", "it was planted to be found")
    }
  }

  mutating func mix(_ value: UInt64) {
    digest = (digest ^ value) &* 0x0000_0100_0000_01B3
    digest ^= digest >> 29
  }
}
