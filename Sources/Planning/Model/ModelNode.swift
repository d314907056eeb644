// Owns one node of the model: the core, its loop's turns and its log writer, as CoreNode/Loop/Turn.swift and
// LogStorage/LogWriter.swift have them.
//
// It must never do more or less in a turn than a node does: all that came in is one step, its write and its messages leave
// before anything is applied, and answers leave last.

import RaftCore

/// What waits for a node's loop.
enum LoopInput {
  case command(Int)
  case read(Int)
  case received([Message], from: Int)
  case persisted(UInt64)
  case tick
}

struct ModelNode {
  /// What the log writer is at.
  enum Writing {
    case idle
    case composing
    case flushing
    case reporting
    case settling
    case settlingFlush
    case settled
  }

  var raft: Raft
  var inbox: [LoopInput] = []
  var early: (writes: [Persist], messages: [(peer: Int, messages: [Message])]) = ([], [])
  var late: [Int] = []
  var applied: RaftCore.Index = .beforeFirst
  var committed: RaftCore.Index = .beforeFirst
  var tellsApplied = false
  var reads: [UInt64: [Int]] = [:]
  var confirmed: [(ids: [UInt64], index: RaftCore.Index)] = []
  var nextRead: UInt64 = 1
  var eventsDue = 0.0

  var writing = Writing.idle
  var waitingWrites: [Persist] = []
  var group: (sequence: UInt64, entries: Int, bytes: Int, work: Double) = (0, 0, 0, 0)
  var journalBytes = 0
  var unsettledEntries = 0
  var flushEnded: UInt64 = 0
  var diskBegan: UInt64 = 0

  // What is counted.
  var diskBusyNanoseconds = 0.0
  var flushes = 0
  var flushedEntries = 0
  var lastHeard: UInt64 = 0
  var longestSilence: UInt64 = 0

  init(id: NodeID, voters: [NodeID], scenario: WhatIf) {
    let tick = scenario.tickMilliseconds
    let heartbeat = max(1, scenario.heartbeatMilliseconds / tick)
    raft = Raft(
      configuration: Configuration(
        id: id, voters: voters, heartbeatTicks: heartbeat,
        electionTicks: max(heartbeat + 1, scenario.electionMilliseconds / tick), seed: scenario.seed,
        // A run is short enough to stay in memory, so nothing has to be read back from a disk.
        limits: Limits(cachedEntryBytes: 1 << 40, maxCachedEntries: 1 << 40)),
      restored: .empty)
  }

  mutating func forgetUse() {
    (diskBusyNanoseconds, flushes, flushedEntries, longestSilence) = (0, 0, 0, 0)
  }
}

// MARK: - The loop

extension Engine {
  mutating func give(_ input: LoopInput, to node: Int) {
    nodes[node].inbox.append(input)
    wake(loop(of: node))
  }

  /// Steps Raft with all that came in. Returns what the turn costs, or nil where nothing did.
  /// - Parameter delay: what the thread does before.
  mutating func beginTurn(_ place: Int, after delay: Double) -> Double? {
    guard !nodes[place].inbox.isEmpty else { return nil }
    let work = nodes[place].inbox
    nodes[place].inbox = []
    let costs = scenario.costs
    var cost = costs.turn
    let inputs = gather(work, at: place, cost: &cost)
    cost = varied(cost, pieces: work.count)
    let effects = nodes[place].raft.step(inputs, clockMilliseconds: queue.nowNanoseconds / 1_000_000)
    for effect in effects { carryOut(effect, at: place) }
    queue.push(.midTurn(node: place), afterNanoseconds: UInt64((cost + delay) * (1 + costs.uncounted)))
    cost += apply(at: place)
    return cost
  }

  private mutating func gather(_ work: [LoopInput], at place: Int, cost: inout Double) -> [Input] {
    let costs = scenario.costs
    var inputs: [Input] = []
    var proposals: [Proposal] = []
    var readers: [Int] = []
    var persisted: UInt64?
    if nodes[place].tellsApplied { inputs.append(.applied(through: nodes[place].applied)) }
    nodes[place].tellsApplied = false
    for input in work {
      switch input {
      case .command(let operation): proposals.append(Proposal(id: UInt64(operation), payload: command(operation)))
      case .read(let operation): readers.append(operation)
      case .received(let messages, let peer):
        heard(place, from: peer)
        for message in messages { inputs.append(.received(message, from: NodeID(UInt64(peer) + 1))) }
      case .persisted(let sequence): persisted = max(sequence, persisted ?? 0)
      case .tick: inputs.append(.tick)
      }
    }
    if let persisted { inputs.append(.persisted(sequence: persisted)) }
    cost += Double(proposals.count) * costs.proposal + Double(readers.count) * costs.read
    if !proposals.isEmpty { inputs.append(.propose(proposals)) }
    if !readers.isEmpty {
      let id = nodes[place].nextRead
      nodes[place].reads[id] = readers
      inputs.append(.readIndex(id: id))
      nodes[place].nextRead += 1
    }
    return inputs
  }

  /// The number of the operation is in the first eight bytes, as an envelope has its request's.
  private func command(_ operation: Int) -> [UInt8] {
    var bytes = payload
    for byte in 0..<8 { bytes[byte] = UInt8(truncatingIfNeeded: operation >> (8 * byte)) }
    return bytes
  }

  private func operation(of entry: Entry) -> Int {
    (0..<8).reduce(0) { $0 | Int(entry.payload[$1]) << (8 * $1) }
  }

  private mutating func heard(_ place: Int, from peer: Int) {
    guard peer == leaderNode, place != peer else { return }
    let now = queue.nowNanoseconds
    nodes[place].longestSilence = max(nodes[place].longestSilence, now - min(now, nodes[place].lastHeard))
    nodes[place].lastHeard = now
  }

  private mutating func carryOut(_ effect: Effect, at place: Int) {
    switch effect {
    case .persist(let write): nodes[place].early.writes.append(write)
    case .send(let message, let peer):
      let peer = Int(peer.rawValue) - 1
      if let position = nodes[place].early.messages.firstIndex(where: { $0.peer == peer }) {
        nodes[place].early.messages[position].messages.append(message)
      } else {
        nodes[place].early.messages.append((peer, [message]))
      }
    case .commit(let index): nodes[place].committed = max(nodes[place].committed, index)
    case .refuse(let ids, _): for id in ids { refuse(Int(id)) }
    case .readReady(let ids, let index): nodes[place].confirmed.append((ids, index))
    case .refuseRead(let ids, _):
      for id in ids { for one in nodes[place].reads.removeValue(forKey: id) ?? [] { refuse(one) } }
    case .leadership(let leadership):
      if leadership.role == .leader { leaderNode = place }
      if leadership.role == .candidate || leadership.role == .preCandidate, windowStart != .max { elections += 1 }
    case .fetch, .readSnapshot, .stageSnapshot, .installSnapshot, .compact, .membership, .repaired: break
    }
  }

  /// Applies what is committed, and returns what that costs.
  private mutating func apply(at place: Int) -> Double {
    let (from, through) = (nodes[place].applied, nodes[place].committed)
    var count = 0
    if from < through, let entries = nodes[place].raft.cachedEntries(after: from, through: through) {
      for entry in entries where entry.kind == .command {
        count += 1
        let number = operation(of: entry)
        if operations[number].node == place { nodes[place].late.append(number) }
      }
      nodes[place].applied = through
      nodes[place].tellsApplied = true
    }
    let applied = nodes[place].applied
    var ready: [Int] = []
    for read in nodes[place].confirmed where read.index <= applied {
      for id in read.ids { ready += nodes[place].reads.removeValue(forKey: id) ?? [] }
    }
    nodes[place].confirmed.removeAll { $0.index <= applied }
    nodes[place].late += ready
    nodes[place].eventsDue += Double(count) * scenario.eventsPerWrite / Double(scenario.nodes)
    guard count > 0 || !ready.isEmpty else { return 0 }
    return varied(scenario.costs.applyTurn + Double(count) * scenario.costs.apply, pieces: count + 1)
  }

  /// The write and the messages of a turn leave before anything is applied.
  mutating func releaseEarly(_ place: Int) {
    let (writes, messages) = nodes[place].early
    nodes[place].early = ([], [])
    if !writes.isEmpty {
      nodes[place].waitingWrites += writes
      if nodes[place].writing == .idle { wake(writer(of: place)) }
    }
    for (peer, messages) in messages { add(.messagesOut(messages, to: peer), to: eventLoop(of: place, peer)) }
  }

  mutating func endTurn(_ place: Int) {
    let late = nodes[place].late
    nodes[place].late = []
    for operation in late { reply(to: operation) }
    let events = Int(nodes[place].eventsDue)
    nodes[place].eventsDue -= Double(events)
    guard events > 0 else { return }
    for number in 0..<eventLoops {
      let share = events / eventLoops + (number < events % eventLoops ? 1 : 0)
      if share > 0 { add(.events(share), to: eventLoop(of: place, number)) }
    }
  }
}

// MARK: - The log writer

extension Engine {
  /// What is moved into the tree at once (LogStorage/JournaledWriting.swift), and in how many flushes.
  private static let settleFromBytes = 512 << 10
  private static let flushesOfSettling = 2
  /// In the journal, beside an entry's payload, and for each group.
  private static let entryBytes = 32
  private static let groupBytes = 56

  /// What the writer does next on a processor, as its cost; nil where it has nothing to do.
  mutating func beginWriting(_ place: Int) -> Double? {
    switch nodes[place].writing {
    case .idle:
      let writes = nodes[place].waitingWrites
      guard let last = writes.last else { return nil }
      nodes[place].waitingWrites = []
      let entries = writes.reduce(0) { $0 + $1.entries.count }
      let payloads = writes.reduce(0) { $0 + $1.entries.reduce(0) { $0 + $1.payload.count } }
      let work = varied(scenario.costs.group + Double(entries) * scenario.costs.groupEntry)
      nodes[place].group = (last.sequence, entries, Self.groupBytes + entries * Self.entryBytes + payloads, work)
      nodes[place].writing = .composing
      return work
    case .reporting: return 0
    case .settling: return Double(nodes[place].unsettledEntries) * scenario.costs.settleEntry
    case .settled: return 0
    case .composing, .flushing, .settlingFlush: return nil
    }
  }

  mutating func endWriting(_ place: Int) {
    switch nodes[place].writing {
    case .composing:
      nodes[place].writing = .flushing
      // The measured time of a flush holds the work of its thread as well.
      let group = nodes[place].group
      useDisk(of: place, nanoseconds: max(0, drawFlush(place, bytes: group.bytes) - group.work))
    case .reporting:
      let group = nodes[place].group
      give(.persisted(group.sequence), to: place)
      nodes[place].flushes += 1
      nodes[place].flushedEntries += group.entries
      nodes[place].journalBytes += group.bytes
      nodes[place].unsettledEntries += group.entries
      nodes[place].writing = nodes[place].journalBytes >= Self.settleFromBytes ? .settling : .idle
    case .settling:
      nodes[place].writing = .settlingFlush
      let each = nodes[place].journalBytes / Self.flushesOfSettling
      let time = (0..<Self.flushesOfSettling).reduce(0) { sum, _ in sum + drawFlush(place, bytes: each) }
      useDisk(of: place, nanoseconds: time)
    case .settled:
      (nodes[place].journalBytes, nodes[place].unsettledEntries) = (0, 0)
      nodes[place].writing = .idle
    case .idle, .flushing, .settlingFlush: break
    }
  }

  private mutating func drawFlush(_ place: Int, bytes: Int) -> Double {
    let others =
      scenario.sharesDisk ? nodes.indices.filter { $0 != place && nodes[$0].isOnDisk }.count : 0
    let ended = scenario.sharesDisk ? nodes.map(\.flushEnded).max() ?? 0 : nodes[place].flushEnded
    return scenario.disk.nanoseconds(
      at: random.unitInterval(), bytes: bytes,
      restNanoseconds: Double(queue.nowNanoseconds - min(ended, queue.nowNanoseconds)),
      others: others)
  }

  private mutating func useDisk(of place: Int, nanoseconds: Double) {
    nodes[place].diskBusyNanoseconds += nanoseconds
    queue.push(.flushed(node: place), afterNanoseconds: UInt64(nanoseconds))
  }

  mutating func flushed(_ place: Int) {
    nodes[place].flushEnded = queue.nowNanoseconds
    nodes[place].writing = nodes[place].writing == .settlingFlush ? .settled : .reporting
    wake(writer(of: place), isFresh: false)
    countFlush(at: workers[writer(of: place)].machine)
    if scenario.costs.flushEnd > 0 { add(.endFlush, to: kernel(of: place)) }
  }
}

extension ModelNode {
  var isOnDisk: Bool { writing == .flushing || writing == .settlingFlush }
}
