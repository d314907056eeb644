// Owns the clients of the key space: puts, deletes, compares and reads through random nodes.
// Must never: stop asking because a node refused. Clients come back, and to other nodes.
// Invariants: every value is the number of the request that put it, so that a read tells whose write it saw; a key of
// which too many writes ended unknown is given up, or the search of the linearizability checker would not end.

import CoordinationCore
import RaftCore

/// A client whose requests have names, so that it may send them again.
struct NamedClient {
  struct Waiting {
    var logical: UInt64
    var sequence: UInt64
    var command: Command
    var work: Operation.Work
    var attempt: UInt64
    var sentAt: UInt64
  }

  var id: ClientID?
  var openedBy: UInt64?
  var openedAt: UInt64 = 0
  var nextSequence: UInt64 = 1
  var waiting: [Waiting] = []
}

extension Simulator {
  static let retryMicroseconds: UInt64 = 500_000
  static let namedClients = 2
  static let maxOpenPerKey = 8

  mutating func load() {
    // What is still unsettled at the end has to settle by itself.
    guard phase == .faults || phase == .majority else { return }
    let node = nodes[loadChance.next(below: nodes.count)]
    if node.isUp {
      let batch = 1 + loadChance.next(below: phase == .faults ? world.load.maxBatch : 1)
      if loadChance.chance(perMille: world.load.readPerMille) {
        for _ in 0..<batch { read(at: node) }
      } else {
        write(batch, at: node)
      }
    }
    if world.load.exactlyOncePerMille > 0 { retry() }
    // A cluster that recovers is not loaded beyond what its narrowest limits let through.
    let usual = world.load.operationsPerSecond
    let rate = phase == .faults ? usual : min(20, usual)
    // The mean batch is half of the largest, and a half more.
    let mean = phase == .faults ? UInt64(world.load.maxBatch + 1) : 2
    queue.push(.load, afterMicroseconds: loadChance.next(in: 1..<(mean * 1_000_000 / rate + 1)))
  }

  // MARK: Writing

  private mutating func write(_ count: Int, at node: SimulatedNode) {
    var proposals: [Proposal] = []
    proposals.reserveCapacity(count)
    for _ in 0..<count {
      if world.load.compactionPerMille > 0, loadChance.chance(perMille: world.load.compactionPerMille) {
        proposals.append(propose(.compact, .compact(compactionTarget(of: node)), at: node))
        continue
      }
      let key = keys.pick(loadChance.next())
      let work = drawWork(key, node)
      if loadChance.chance(perMille: world.load.exactlyOncePerMille) {
        if let proposal = proposeNamed(work, at: node) { proposals.append(proposal) }
      } else {
        let id = UInt64(operations.count)
        proposals.append(propose(work, command(for: work, value: id), at: node))
      }
    }
    if !proposals.isEmpty { give(node, .propose(proposals)) }
  }

  private mutating func drawWork(_ key: Int, _ node: SimulatedNode) -> Operation.Work {
    if loadChance.chance(perMille: world.load.comparePerMille) {
      // Mostly what this node believes, which is old at times, and now and then nonsense.
      let seen = node.state.store.current(keys.key(key))?.modRevision ?? 0
      return .compare(key: key, revision: loadChance.chance(perMille: 100) ? seen + 1 : seen)
    }
    return loadChance.chance(perMille: world.load.deletePerMille) ? .delete(key: key) : .put(key: key)
  }

  private func command(for work: Operation.Work, value id: UInt64) -> Command {
    switch work {
    case .put(let key): return .put(PutRequest(key: keys.key(key), value: value(id)))
    case .delete(let key):
      return .delete(DeleteRequest(range: KeyRange(start: keys.key(key), end: .single), wantsPrevious: true))
    case .compare(let key, let revision):
      var request = TransactionRequest()
      let range = KeyRange(start: keys.key(key), end: .single)
      request.compares = [Compare(range: range, target: .modRevision(revision), relation: .equal)]
      request.success = [.put(PutRequest(key: keys.key(key), value: value(id)))]
      return .transaction(request)
    default: preconditionFailure("only writes of keys have a value")
    }
  }

  private func value(_ id: UInt64) -> [UInt8] {
    let size = Int(id &* 0x9E37_79B9 % UInt64(world.load.maxPayloadBytes + 1))
    return ValueBytes.encode(id, sizeBytes: size)
  }

  private func compactionTarget(of node: SimulatedNode) -> Revision { max(1, node.state.revision - 5) }

  mutating func propose(
    _ work: Operation.Work, _ command: Command, at node: SimulatedNode, logical: UInt64? = nil,
    name: ClientSequence? = nil, fence: GrantFence? = nil
  ) -> Proposal {
    let id = operations.begin(work, node: node.position, life: node.life, at: now, logical: logical, name: name)
    if let key = work.key, logical == nil { invoke(id, work, key: key) }
    operations[id].fence = fence
    let kept = fence.flatMap { isCheckedEarly($0, at: node) ? nil : $0 }
    let payload = Envelope(origin: node.id.rawValue, request: id, name: name, fence: kept, command: command).encoded()
    return Proposal(id: id, payload: payload)
  }

  private mutating func invoke(_ id: UInt64, _ work: Operation.Work, key: Int) {
    history.invoke(id, work, key: key, at: now)
    if history.open[key] >= Self.maxOpenPerKey { keys.giveUp(key) }
  }

  // MARK: Requests with names

  private mutating func proposeNamed(_ work: Operation.Work, at node: SimulatedNode) -> Proposal? {
    let position = loadChance.next(below: clients.count)
    guard let client = clients[position].id else {
      if clients[position].openedBy != nil, now < clients[position].openedAt + 2_000_000 { return nil }
      clients[position].openedAt = now
      clients[position].openedBy = UInt64(operations.count)
      let ttl = StateLimits.minClientTTLMilliseconds
      return propose(.openClient(position), .openClient(ttlMilliseconds: ttl), at: node)
    }
    let logical = UInt64(operations.count)
    let name = ClientSequence(client: client, sequence: clients[position].nextSequence)
    clients[position].nextSequence += 1
    let command = command(for: work, value: logical)
    clients[position].waiting.append(
      NamedClient.Waiting(
        logical: logical, sequence: name.sequence, command: command, work: work, attempt: logical, sentAt: now))
    return propose(work, command, at: node, name: name)
  }

  /// Sends again, through some other node, what was not answered in time.
  private mutating func retry() {
    for position in clients.indices {
      guard let client = clients[position].id, let oldest = clients[position].waiting.first,
        oldest.sentAt + Self.retryMicroseconds <= now
      else { continue }
      let node = nodes[loadChance.next(below: nodes.count)]
      guard node.isUp else { continue }
      reach(.retriedExactlyOnce)
      var again = clients[position].waiting.removeFirst()
      if operations[again.attempt].state == .open { operations[again.attempt].state = .superseded }
      let name = ClientSequence(client: client, sequence: again.sequence)
      let proposal = propose(again.work, again.command, at: node, logical: again.logical, name: name)
      again.attempt = proposal.id
      again.sentAt = now
      clients[position].waiting.append(again)
      give(node, .propose([proposal]))
    }
  }

  /// The client with this name got an answer, or learnt that there will be none.
  mutating func settleNamed(_ name: ClientSequence, isForgotten: Bool) {
    for position in clients.indices where clients[position].id == name.client {
      if isForgotten {
        clients[position] = NamedClient()
      } else {
        clients[position].waiting.removeAll { $0.sequence == name.sequence }
      }
    }
  }

  // MARK: Reading

  private mutating func read(at node: SimulatedNode) {
    let key = keys.pick(loadChance.next())
    let id = operations.begin(.get(key: key), node: node.position, life: node.life, at: now)
    operations[id].floor = checker.log.committedIndex
    invoke(id, .get(key: key), key: key)
    if options.plantedBug == .readFromMemory {
      node.waitingReads.append(SimulatedNode.WaitingRead(operation: id, index: .beforeFirst))
    } else {
      node.pendingReads.insert(id)
      give(node, .readIndex(id: id))
    }
  }

  mutating func serve(_ id: UInt64, by node: SimulatedNode) throws(Broken) {
    guard case .get(let key) = operations[id].work else { return }
    let found = node.state.store.current(keys.key(key))
    let value = found.flatMap { ValueBytes.decode($0.value) }
    try checker.state.served(operations[id], key: key, value: value, by: node)
    if node.role != .leader { reach(.readByFollower) }
    operations.acknowledge(id, at: now, index: node.applied)
    let revision = node.state.revision
    history.complete(id, .value(value, modRevision: found?.modRevision, at: revision), at: now)
    readsServed += 1
  }
}

/// The keys that are in use. One that was given up is followed by a fresh one in its place.
struct KeySpace {
  private(set) var names: [Key] = []
  private var current: [Int] = []

  init(count: Int) {
    for slot in 0..<count {
      current.append(slot)
      names.append(Self.name(slot))
    }
  }

  func pick(_ draw: UInt64) -> Int { current[Int(draw % UInt64(current.count))] }

  func key(_ number: Int) -> Key { names[number] }

  mutating func giveUp(_ number: Int) {
    guard let slot = current.firstIndex(of: number) else { return }
    current[slot] = names.count
    names.append(Self.name(names.count))
  }

  private static func name(_ number: Int) -> Key {
    var digits = Array("k/000000".utf8)
    var rest = number
    var position = digits.count - 1
    while rest > 0 {
      digits[position] += UInt8(rest % 10)
      rest /= 10
      position -= 1
    }
    return Key(digits)
  }
}

/// A value: the number of the request that put it, then filler.
enum ValueBytes {
  static func encode(_ id: UInt64, sizeBytes: Int) -> [UInt8] {
    var value = [UInt8](repeating: 0x5A, count: max(8, sizeBytes))
    for position in 0..<8 { value[position] = UInt8(truncatingIfNeeded: id >> UInt64(8 * position)) }
    return value
  }

  static func decode(_ bytes: [UInt8]) -> UInt64? {
    guard bytes.count >= 8 else { return nil }
    var id: UInt64 = 0
    for position in 0..<8 { id |= UInt64(bytes[position]) << UInt64(8 * position) }
    return id
  }
}
