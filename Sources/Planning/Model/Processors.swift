// Owns who runs when: threads that have something to do take a machine's processors in turn.
//
// A picture of the kernel's scheduler, of which only that is kept which decides latency: each processor has a queue of its own;
// a thread that is woken goes to a processor that rests, best to the one where it ran last, and otherwise stands in line there; a
// processor with an empty line takes over the first of another's, or not. How long a piece of work takes varies, and now and then
// something else holds a processor up (Holds.swift).
//
// The kernel leaves alone what has just run (for half a millisecond), and does not look where it expects to rest for less than looking
// costs; but it also chooses among busy processors when it wakes a thread. With the first as a rule of time and without the last,
// open loads came out slower than measured, by an eighth; with always taking over, one node's 90ths came out a
// fifth too fast. It is a share, `leftInLine`, that calibration finds.

import DequeModule
import RaftCore

struct Processor {
  /// The thread that has it.
  var running: Int?
  var ready = Deque<Int>()
  /// Since when it has had nothing to do.
  var restingSince: UInt64 = 0
  /// Until when it stands still, or something else has it; the past where neither is so.
  var heldUntil: UInt64 = 0
  /// By how much longer the work that it was at takes, for it was held meanwhile.
  var owed: UInt64 = 0
  /// Until when what it used is counted against the machine's quota.
  var countedUntil: UInt64 = 0
  var polling = HaltPolling()

  func isHeld(at now: UInt64) -> Bool { heldUntil > now }
}

struct Machine {
  var processors: [Processor]
  var busyNanoseconds = 0.0
  var quota: ProcessorQuota
  /// In which processors stood still for want of it.
  var stoppedNanoseconds = 0.0

  init(processors: Int) {
    self.processors = Array(repeating: Processor(), count: processors)
    quota = ProcessorQuota(processors: processors)
  }
}

/// What a thread of an event loop or of the clients has to do.
enum Work {
  case dispatch(Int)
  case send(Int)
  case receive(Int)
  case request(Int)
  case answer(Int)
  case messagesOut([Message], to: Int)
  case messagesIn([Message], from: Int)
  case events(Int)
  /// The kernel ends a flush.
  case endFlush
  /// The relay sees it come, and later passes it on.
  case takeUp(Passing)
  case passOn(Passing)

  /// Whether a node does it for a client.
  var isOfClient: Bool {
    switch self {
    case .request, .answer: true
    default: false
    }
  }
}

/// What is on its way between two nodes, or between a client and its node.
enum Passing {
  case request(Int)
  case answer(Int)
  case messages([Message], from: Int, to: Int)
}

struct Worker {
  let machine: Int
  var waiting = Deque<Work>()
  var current: Work?
  /// On a processor or waiting for one.
  var isAwake = false
  /// The processor that it has, waits for or had last.
  var processor = 0
  /// When it last gave its processor back.
  var ranUntil: UInt64 = 0
  /// Was just woken, which costs so much of what it costs after a long rest: the part that is always due, and that which is due
  /// because it has rested; 0 when it was awake.
  var wakeShare = (base: 0.0, cold: 0.0)
  /// What going to sleep again will cost, which nobody waits for but who wants the processor.
  var sleepWork = 0.0
  var busyNanoseconds = 0.0
  /// Since it got its processor.
  var onProcessorSince: UInt64 = 0

  init(machine: Int) { self.machine = machine }
}

extension Engine {
  /// A thread runs so long before it makes room for others that wait.
  private static let sliceNanoseconds: UInt64 = 1_000_000
  /// From one thread to the next on one processor.
  private static let switchNanoseconds: UInt64 = 1500

  /// A piece of work as it turns out: exponential around its mean, as runs of threads were seen to be, and never more than
  /// eight times that. Of many small ones in one the sum varies less.
  mutating func varied(_ mean: Double, pieces: Int = 1) -> Double {
    guard mean > 0 else { return 0 }
    let counted = min(max(1, pieces), 16)
    var sum = 0.0
    for _ in 0..<counted { sum += min(8, random.exponential(mean: 1)) }
    return mean * sum / Double(counted)
  }

  mutating func add(_ work: Work, to thread: Int) {
    workers[thread].waiting.append(work)
    wake(thread)
  }

  /// - Parameter isFresh: whether the wake-up takes time of its own; at the end of a flush it is in the flush's.
  mutating func wake(_ thread: Int, isFresh: Bool = true) {
    guard !workers[thread].isAwake else { return }
    workers[thread].isAwake = true
    let (place, now, costs) = (workers[thread].machine, queue.nowNanoseconds, scenario.costs)
    let cold = Self.share(of: Double(now - min(workers[thread].ranUntil, now)), half: costs.coldRest)
    guard let free = restingProcessor(of: place, for: thread) else {
      workers[thread].wakeShare = wakeShare(costs.wakeWorkWithoutRest, cold: cold)
      return machines[place].processors[workers[thread].processor].ready.append(thread)
    }
    let rested = Double(now - min(machines[place].processors[free].restingSince, now))
    let depth = Self.share(of: rested, half: costs.deepRest)
    workers[thread].wakeShare = wakeShare(
      costs.wakeWorkWithoutRest + (costs.wakeWorkAfterRest - costs.wakeWorkWithoutRest) * depth, cold: cold)
    let latency = varied(
      costs.wakeLatency * (costs.wakeFloor + (1 - costs.wakeFloor) * depth)
        + costs.coldWakeLatency * Self.share(of: rested, half: costs.coldRest))
    run(thread, on: free, of: place)
    queue.push(.begin(thread: thread), afterNanoseconds: isFresh ? UInt64(latency) : 0)
  }

  private func wakeShare(_ base: Double, cold: Double) -> (base: Double, cold: Double) { (base, (1 - base) * cold) }

  /// How much of what comes with rest is there after one of so long: next to nothing after a short one, a half after `half`.
  private static func share(of rest: Double, half: Double) -> Double {
    let (square, halfSquare) = (rest * rest, max(1, half * half))
    return square / (square + halfSquare)
  }

  /// The one where the thread ran last, or else the one that has rested least.
  private func restingProcessor(of place: Int, for thread: Int) -> Int? {
    let now = queue.nowNanoseconds
    let processors = machines[place].processors
    func rests(_ number: Int) -> Bool { processors[number].running == nil && !processors[number].isHeld(at: now) }
    let last = workers[thread].processor
    if rests(last) { return last }
    return processors.indices.filter(rests).max { processors[$0].restingSince < processors[$1].restingSince }
  }

  private func wakeWork(of thread: Int) -> Double {
    let costs = scenario.costs
    switch (thread, node(of: thread)) {
    case (Self.client, _): return costs.clientWake
    case (Self.dispatcher, _): return costs.dispatcherWake
    case (Self.relay, _): return costs.relayWake
    case (_, nil): return 0
    case (_, let place?):
      if thread == loop(of: place) { return costs.loopWake }
      if thread == kernel(of: place) { return 0 }
      return thread == writer(of: place) ? costs.writerWake : costs.eventLoopWake
    }
  }

  private mutating func count(_ nanoseconds: Double, of thread: Int) {
    machines[workers[thread].machine].busyNanoseconds += nanoseconds
    workers[thread].busyNanoseconds += nanoseconds
  }

  mutating func begin(_ thread: Int) {
    workers[thread].onProcessorSince = queue.nowNanoseconds
    proceed(thread)
  }

  /// The thread has a processor and does the next thing that there is, or sleeps.
  private mutating func proceed(_ thread: Int) {
    let (share, costs) = (workers[thread].wakeShare, scenario.costs)
    let always = varied(share.base * wakeWork(of: thread))
    let cold = varied(share.cold * wakeWork(of: thread))
    workers[thread].wakeShare = (0, 0)
    workers[thread].sleepWork += always * (1 - costs.wakeWorkBefore) + cold * (1 - costs.coldWorkBefore)
    var cost = always * costs.wakeWorkBefore + cold * costs.coldWorkBefore
    if let place = node(of: thread), thread == loop(of: place) {
      guard let more = beginTurn(place, after: cost) else { return sleep(thread) }
      cost += more
    } else if let place = node(of: thread), thread == writer(of: place) {
      guard let more = beginWriting(place) else { return sleep(thread) }
      cost += more
    } else {
      guard let work = workers[thread].waiting.popFirst() else { return sleep(thread) }
      workers[thread].current = work
      if case .send(let operation) = work { operations[operation].sent = queue.nowNanoseconds }
      cost += varied(self.cost(of: work), pieces: Self.pieces(of: work))
      if work.isOfClient { cost += varied((share.base + share.cold) * costs.requestWake) }
    }
    count(cost, of: thread)
    queue.push(.done(thread: thread), afterNanoseconds: UInt64(cost * (1 + scenario.costs.uncounted)))
  }

  mutating func done(_ thread: Int) {
    if let delay = delayByHold(of: thread) { return queue.push(.done(thread: thread), afterNanoseconds: delay) }
    countUse(of: workers[thread].processor, at: workers[thread].machine)
    if let place = node(of: thread), thread == loop(of: place) {
      endTurn(place)
    } else if let place = node(of: thread), thread == writer(of: place) {
      endWriting(place)
    } else if let work = workers[thread].current {
      workers[thread].current = nil
      release(work, by: thread)
    }
    let (machine, processor) = (workers[thread].machine, workers[thread].processor)
    let ran = queue.nowNanoseconds - workers[thread].onProcessorSince
    guard ran >= Self.sliceNanoseconds, !machines[machine].processors[processor].ready.isEmpty else {
      return proceed(thread)
    }
    machines[machine].processors[processor].ready.append(thread)
    freeProcessor(of: thread)
  }

  private mutating func sleep(_ thread: Int) {
    let work = workers[thread].sleepWork
    workers[thread].sleepWork = 0
    guard work == 0 else {
      count(work, of: thread)
      return queue.push(.done(thread: thread), afterNanoseconds: UInt64(work * (1 + scenario.costs.uncounted)))
    }
    workers[thread].isAwake = false
    freeProcessor(of: thread)
  }

  /// The thread gives its processor back.
  private mutating func freeProcessor(of thread: Int) {
    workers[thread].ranUntil = queue.nowNanoseconds
    giveOut(workers[thread].processor, of: workers[thread].machine)
  }

  /// To the next in its own line, or in another.
  mutating func giveOut(_ processor: Int, of machine: Int) {
    let now = queue.nowNanoseconds
    machines[machine].processors[processor].running = nil
    machines[machine].processors[processor].restingSince = now
    guard !machines[machine].processors[processor].isHeld(at: now) else { return }
    guard
      let next = machines[machine].processors[processor].ready.popFirst() ?? takeOver(of: machine)
    else { return }
    run(next, on: processor, of: machine)
    queue.push(.begin(thread: next), afterNanoseconds: Self.switchNanoseconds)
  }

  private mutating func run(_ thread: Int, on processor: Int, of machine: Int) {
    workers[thread].processor = processor
    machines[machine].processors[processor].running = thread
    machines[machine].processors[processor].owed = 0
    countRest(of: processor, at: machine)
  }

  private mutating func takeOver(of machine: Int) -> Int? {
    let waiting = machines[machine].processors.indices.first { !machines[machine].processors[$0].ready.isEmpty }
    guard let waiting, random.unitInterval() >= scenario.costs.leftInLine else { return nil }
    return machines[machine].processors[waiting].ready.popFirst()
  }

  // MARK: Event loops and clients

  private func cost(of work: Work) -> Double {
    let costs = scenario.costs
    switch work {
    case .dispatch: return costs.clientDispatch
    case .send: return costs.clientSend
    case .receive: return costs.clientReceive
    case .request: return costs.requestIn
    case .answer: return costs.answerOut
    case .messagesOut(let messages, _):
      return Double(messages.count) * costs.messageOut + Double(Self.entries(in: messages)) * costs.entryOnWire
    case .messagesIn(let messages, _):
      return Double(messages.count) * costs.messageIn + Double(Self.entries(in: messages)) * costs.entryOnWire
    case .events(let count): return Double(count) * costs.event
    case .takeUp, .passOn: return costs.relay
    case .endFlush: return costs.flushEnd
    }
  }

  /// Of how many things a piece of work consists.
  private static func pieces(of work: Work) -> Int {
    switch work {
    case .messagesOut(let messages, _), .messagesIn(let messages, _):
      max(1, messages.count + entries(in: messages))
    case .events(let count): max(1, count)
    case .dispatch, .send, .receive, .request, .answer, .takeUp, .passOn, .endFlush: 1
    }
  }

  static func entries(in messages: [Message]) -> Int {
    messages.reduce(0) { count, message in
      switch message {
      case .appendEntries(let append): count + append.entries.count
      case .propose(let proposals): count + proposals.proposals.count
      default: count
      }
    }
  }

  private mutating func release(_ work: Work, by thread: Int) {
    switch work {
    case .dispatch(let operation): add(.send(operation), to: Self.client)
    case .send(let operation): send(.request(operation))
    case .receive(let operation): complete(operation)
    case .request(let operation): requested(operation)
    case .answer(let operation): send(.answer(operation))
    case .takeUp(let passing): queue.push(.due(passing), afterNanoseconds: delay(of: passing))
    case .passOn(let passing): arrived(passing)
    case .endFlush: break
    case .events, .messagesOut, .messagesIn: releaseMessages(of: work, by: thread)
    }
  }

  private mutating func releaseMessages(of work: Work, by thread: Int) {
    guard let place = node(of: thread) else { return }
    switch work {
    case .messagesOut(let messages, let peer): send(.messages(messages, from: place, to: peer))
    case .messagesIn(let messages, let peer): give(.received(messages, from: peer), to: place)
    default: break
    }
  }

  private mutating func requested(_ operation: Int) {
    let place = operations[operation].node
    switch operations[operation].kind {
    case .put, .transaction, .renewal: give(.command(operation), to: place)
    // A cluster of one needs no confirmation, and its reads do not go to the loop.
    case .get where scenario.nodes > 1: give(.read(operation), to: place)
    case .get, .serializableGet: reply(to: operation)
    }
  }

  mutating func reply(to operation: Int) {
    add(.answer(operation), to: eventLoop(of: operations[operation].node, operation / scenario.nodes))
  }
}
