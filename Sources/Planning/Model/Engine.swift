// Owns the state of a run of the model and the order in which its events are handled.
//
// It must never wait or draw from anything but its seed.
// Invariant: an operation is in exactly one place: with a client, on its way, in a queue, in the log, or answered.

import Measurement
import RaftCore

struct Engine {
  enum Event {
    case arrival
    /// A processor is there for the thread.
    case begin(thread: Int)
    /// What the thread is at is done.
    case done(thread: Int)
    /// The loop has stepped Raft; what is committed is applied next.
    case midTurn(node: Int)
    case flushed(node: Int)
    case tick(node: Int)
    case arrived(Passing)
    /// What the relay held back is due.
    case due(Passing)
    /// Something else takes a processor, and gives it back.
    case hold(machine: Int)
    case released(machine: Int, processor: Int)
  }

  struct Operation {
    var kind: OperationKind
    var node: Int
    var sent: UInt64
    var isMeasured: Bool
    var isAnswered = false
  }

  let scenario: WhatIf
  var queue = VirtualQueue<Event>()
  var machines: [Machine] = []
  var workers: [Worker] = []
  var nodes: [ModelNode] = []
  var operations: [Operation] = []
  var random: SeededRandom
  var schedule: ArrivalSchedule?
  private var loadStart: UInt64 = 0
  private var weights: [(kind: OperationKind, upTo: Double)] = []
  let eventLoops: Int
  let payload: [UInt8]

  // What is counted.
  var windowStart: UInt64 = .max
  var windowEnd: UInt64?
  var latency: [OperationKind: LatencyHistogram] = [:]
  var measuredStarts = 0
  var answeredWithin = 0
  var unanswered = 0
  var inFlight = 0
  var refused = 0
  var elections = 0
  var sentMessages = 0
  var sentEntries = 0
  var leaderNode: Int?

  init(_ scenario: WhatIf) {
    precondition(scenario.nodes > 0 && scenario.leader < scenario.nodes, "a leader is one of the nodes")
    precondition(scenario.processors > 0 && scenario.operations > 0, "nothing would run")
    self.scenario = scenario
    random = SeededRandom(seed: scenario.seed, stream: 0x706c_616e)
    // As a node has them: one for each processor.
    eventLoops = min(scenario.processors, 16)
    payload = [UInt8](repeating: 0, count: max(8, scenario.commandBytes))
    let count = scenario.sharesMachine ? 1 : scenario.nodes
    machines = (0..<count).map { _ in Machine(processors: scenario.processors) }
    workers = (0..<Self.firstOfNodes).map { _ in Worker(machine: 0) }
    let voters = (0..<scenario.nodes).map { NodeID(UInt64($0) + 1) }
    for node in 0..<scenario.nodes {
      for _ in 0..<(Self.ownThreads + eventLoops) { workers.append(Worker(machine: scenario.sharesMachine ? 0 : node)) }
      nodes.append(ModelNode(id: voters[node], voters: voters, scenario: scenario))
    }
  }

  var tickNanoseconds: UInt64 { UInt64(scenario.tickMilliseconds) * 1_000_000 }
  var isOpen: Bool { schedule != nil }

  // MARK: Threads by number

  static let client = 0
  static let dispatcher = 1
  static let relay = 2
  private static let firstOfNodes = 3
  /// Of a node beside its event loops: the loop, the log writer, and what the kernel does for its flushes.
  private static let ownThreads = 3
  func loop(of node: Int) -> Int { Self.firstOfNodes + node * (Self.ownThreads + eventLoops) }
  func writer(of node: Int) -> Int { loop(of: node) + 1 }
  func kernel(of node: Int) -> Int { loop(of: node) + 2 }
  func eventLoop(of node: Int, _ number: Int) -> Int { loop(of: node) + Self.ownThreads + number % eventLoops }
  /// Nil for the threads beside the nodes.
  func node(of thread: Int) -> Int? {
    thread < Self.firstOfNodes ? nil : (thread - Self.firstOfNodes) / (Self.ownThreads + eventLoops)
  }

  // MARK: Events

  mutating func handle(_ event: Event) {
    switch event {
    case .arrival: arrive()
    case .begin(let thread): begin(thread)
    case .done(let thread): done(thread)
    case .midTurn(let node): releaseEarly(node)
    case .flushed(let node): flushed(node)
    case .tick(let node):
      queue.push(.tick(node: node), afterNanoseconds: tickNanoseconds)
      give(.tick, to: node)
    case .arrived(let passing): arrived(passing)
    case .due(let passing): add(.passOn(passing), to: Self.relay)
    case .hold(let machine): hold(machine: machine)
    case .released(let machine, let processor): released(processor, of: machine)
    }
  }

  // MARK: The network

  /// On its way, which takes the network's time and, where there is one, the relay's.
  mutating func send(_ passing: Passing) {
    let delay = delay(of: passing)
    if scenario.hasRelay, delay > 0 { return add(.takeUp(passing), to: Self.relay) }
    if delay == 0 { return arrived(passing) }
    queue.push(.arrived(passing), afterNanoseconds: delay)
  }

  func delay(of passing: Passing) -> UInt64 {
    switch passing {
    case .request, .answer: scenario.clientOneWay
    case .messages(_, let from, let to): scenario.oneWay[from][to]
    }
  }

  mutating func arrived(_ passing: Passing) {
    switch passing {
    case .request(let operation):
      add(.request(operation), to: eventLoop(of: operations[operation].node, operation / scenario.nodes))
    case .answer(let operation):
      if scenario.sharesMachine { add(.receive(operation), to: Self.client) } else { complete(operation) }
    case .messages(let messages, let from, let to):
      sentMessages += messages.count
      sentEntries += Self.entries(in: messages)
      add(.messagesIn(messages, from: from), to: eventLoop(of: to, from + 1))
    }
  }

  // MARK: Operations

  mutating func beginLoad(at start: UInt64) {
    loadStart = start
    machines.indices.forEach { machines[$0].busyNanoseconds = 0 }
    for node in nodes.indices { nodes[node].lastHeard = start }
    for machine in machines.indices { scheduleHold(of: machine) }
    switch scenario.load {
    case .open(let process, let perSecond):
      let total = perSecond.values.reduce(0, +)
      var upTo = 0.0
      // In a fixed order: that of a dictionary differs from run to run.
      for kind in OperationKind.allCases {
        upTo += (perSecond[kind] ?? 0) / total
        weights.append((kind, upTo))
      }
      schedule = ArrivalSchedule(process: process, ratePerSecond: total, seed: scenario.seed)
      let warmUp = max(Double(scenario.operations) / 10 / total, 0.3)
      openWindow(at: start + UInt64(warmUp * 1e9))
      windowEnd = windowStart + UInt64(Double(scenario.operations) / total * 1e9)
      scheduleArrival()
    case .closed(let clients):
      openWindow(at: start + 300_000_000)
      for _ in 0..<clients { self.start(.put) }
    }
  }

  private mutating func openWindow(at instant: UInt64) { windowStart = instant }

  private mutating func scheduleArrival() {
    guard let due = schedule?.next(), loadStart + due < (windowEnd ?? .max) else { return }
    queue.push(.arrival, atNanoseconds: loadStart + due)
  }

  private mutating func arrive() {
    let draw = random.unitInterval()
    start(weights.first { draw < $0.upTo }?.kind ?? .put)
    scheduleArrival()
  }

  private mutating func start(_ kind: OperationKind) {
    let place = scenario.clientsAt == .leader ? scenario.leader : operations.count % scenario.nodes
    let now = queue.nowNanoseconds
    let isMeasured = now >= windowStart && now < (windowEnd ?? .max)
    if operations.isEmpty || (isMeasured && measuredStarts == 0) { forgetUse() }
    operations.append(Operation(kind: kind, node: place, sent: now, isMeasured: isMeasured))
    inFlight += 1
    if isMeasured {
      measuredStarts += 1
      unanswered += 1
    }
    if scenario.sharesMachine {
      let isOpen = schedule != nil
      add(
        isOpen ? .dispatch(operations.count - 1) : .send(operations.count - 1),
        to: isOpen ? Self.dispatcher : Self.client)
    } else {
      send(.request(operations.count - 1))
    }
  }

  /// Shares are of the measured time alone.
  private mutating func forgetUse() {
    for machine in machines.indices {
      (machines[machine].busyNanoseconds, machines[machine].stoppedNanoseconds) = (0, 0)
    }
    for worker in workers.indices { workers[worker].busyNanoseconds = 0 }
    for node in nodes.indices { nodes[node].forgetUse() }
    (sentMessages, sentEntries) = (0, 0)
  }

  mutating func complete(_ number: Int) {
    let operation = operations[number]
    guard !operation.isAnswered else { return }
    operations[number].isAnswered = true
    inFlight -= 1
    let now = queue.nowNanoseconds
    if now >= windowStart, now <= (windowEnd ?? .max) { answeredWithin += 1 }
    if operation.isMeasured {
      unanswered -= 1
      latency[operation.kind, default: LatencyHistogram()].record(nanoseconds: now - operation.sent)
    }
    guard case .closed = scenario.load else { return }
    if windowEnd == nil, measuredStarts >= scenario.operations { windowEnd = now }
    if windowEnd == nil { start(.put) }
  }

  mutating func refuse(_ number: Int) {
    guard !operations[number].isAnswered else { return }
    operations[number].isAnswered = true
    refused += 1
    inFlight -= 1
    if operations[number].isMeasured { unanswered -= 1 }
  }
}
