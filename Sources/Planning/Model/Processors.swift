// Owns who runs when: threads that have something to do take a machine's processors in turn.
//
// A thread that is woken while a processor rests begins after the time that the processor takes to wake; while all are busy it
// waits behind those that came first. One that has run for long makes room. It is a simple picture of a scheduler, and all
// that decides latency in a node: who must wait for whom.

import DequeModule
import RaftCore

struct Machine {
  let processors: Int
  /// Since when each processor that has nothing to do rests.
  var resting: [UInt64]
  var ready = Deque<Int>()
  var busyNanoseconds = 0.0

  init(processors: Int) {
    self.processors = processors
    resting = Array(repeating: 0, count: processors)
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
  /// What stands between the nodes passes it on.
  case relay([Message], from: Int, to: Int)
}

struct Worker {
  let machine: Int
  var waiting = Deque<Work>()
  var current: Work?
  /// On a processor or waiting for one.
  var isAwake = false
  /// Was just woken, which costs so much of what it costs after a long rest; 0 when it was awake.
  var wakeShare = 0.0
  /// What going to sleep again will cost, which nobody waits for but who wants the processor.
  var sleepWork = 0.0
  /// Since it got its processor.
  var onProcessorSince: UInt64 = 0

  init(machine: Int) { self.machine = machine }
}

extension Engine {
  /// A thread runs so long before it makes room for others that wait.
  private static let sliceNanoseconds: UInt64 = 1_000_000
  /// From one thread to the next on one processor.
  private static let switchNanoseconds: UInt64 = 1500
  /// A processor that rested for so long takes all of the time and work of waking: it sleeps in steps, and forgets.
  private static let deepRestNanoseconds = 1_000_000.0
  /// What remains of the work of waking after a short rest, and where no processor rests and none has to be woken.
  private static let shortRestWork = 0.6
  private static let busyWork = 0.35
  /// The part of that work that comes before what the thread was woken for; the rest is that of going to sleep.
  private static let workBefore = 0.4

  /// How much of a relay's work on a message is that of being woken for it.
  private static let relayShare = 0.9

  mutating func add(_ work: Work, to thread: Int) {
    workers[thread].waiting.append(work)
    wake(thread)
  }

  /// - Parameter isFresh: whether the wake-up takes time of its own; at the end of a flush it is in the flush's.
  mutating func wake(_ thread: Int, isFresh: Bool = true) {
    guard !workers[thread].isAwake else { return }
    workers[thread].isAwake = true
    let place = workers[thread].machine
    guard let since = machines[place].resting.popLast() else {
      workers[thread].wakeShare = Self.busyWork
      machines[place].ready.append(thread)
      return
    }
    let depth = min(1, Double(queue.nowNanoseconds - min(since, queue.nowNanoseconds)) / Self.deepRestNanoseconds)
    workers[thread].wakeShare = Self.shortRestWork + (1 - Self.shortRestWork) * depth
    let floor = scenario.costs.wakeFloor
    let latency = scenario.costs.wakeLatency * (floor + (1 - floor) * depth)
    queue.push(.begin(thread: thread), afterNanoseconds: isFresh ? UInt64(latency) : 0)
  }

  private func wakeWork(of thread: Int) -> Double {
    let costs = scenario.costs
    switch (thread, node(of: thread)) {
    case (Self.client, _): return costs.clientWake
    case (Self.dispatcher, _): return costs.dispatcherWake
    case (Self.relay, _): return scenario.relayCost * Self.relayShare
    case (_, nil): return 0
    case (_, let place?):
      if thread == loop(of: place) { return costs.loopWake }
      return thread == writer(of: place) ? costs.writerWake : costs.eventLoopWake
    }
  }

  mutating func begin(_ thread: Int) {
    workers[thread].onProcessorSince = queue.nowNanoseconds
    proceed(thread)
  }

  /// The thread has a processor and does the next thing that there is, or sleeps.
  private mutating func proceed(_ thread: Int) {
    let waking = workers[thread].wakeShare * wakeWork(of: thread)
    workers[thread].wakeShare = 0
    workers[thread].sleepWork += waking * (1 - Self.workBefore)
    var cost = waking * Self.workBefore
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
      cost += self.cost(of: work)
    }
    machines[workers[thread].machine].busyNanoseconds += cost
    queue.push(.done(thread: thread), afterNanoseconds: UInt64(cost))
  }

  mutating func done(_ thread: Int) {
    if let place = node(of: thread), thread == loop(of: place) {
      endTurn(place)
    } else if let place = node(of: thread), thread == writer(of: place) {
      endWriting(place)
    } else if let work = workers[thread].current {
      workers[thread].current = nil
      release(work, by: thread)
    }
    let place = workers[thread].machine
    let ran = queue.nowNanoseconds - workers[thread].onProcessorSince
    guard ran >= Self.sliceNanoseconds, !machines[place].ready.isEmpty else { return proceed(thread) }
    machines[place].ready.append(thread)
    freeProcessor(of: place)
  }

  private mutating func sleep(_ thread: Int) {
    let work = workers[thread].sleepWork
    workers[thread].sleepWork = 0
    guard work == 0 else {
      machines[workers[thread].machine].busyNanoseconds += work
      return queue.push(.done(thread: thread), afterNanoseconds: UInt64(work))
    }
    workers[thread].isAwake = false
    freeProcessor(of: workers[thread].machine)
  }

  private mutating func freeProcessor(of place: Int) {
    if let next = machines[place].ready.popFirst() {
      queue.push(.begin(thread: next), afterNanoseconds: Self.switchNanoseconds)
    } else {
      machines[place].resting.append(queue.nowNanoseconds)
    }
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
    case .relay: return scenario.relayCost * (1 - Self.relayShare)
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
    case .send(let operation):
      queue.push(.atNode(operation: operation), afterNanoseconds: scenario.clientOneWay)
    case .receive(let operation): complete(operation)
    case .request(let operation): requested(operation)
    case .answer(let operation): answered(operation)
    case .relay(let messages, let from, let to): deliver(messages, from: from, to: to)
    case .events, .messagesOut, .messagesIn: releaseMessages(of: work, by: thread)
    }
  }

  private mutating func releaseMessages(of work: Work, by thread: Int) {
    guard let place = node(of: thread) else { return }
    switch work {
    case .messagesOut(let messages, let peer):
      queue.push(
        .delivery(messages, from: place, to: peer), afterNanoseconds: scenario.oneWay[place][peer])
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
