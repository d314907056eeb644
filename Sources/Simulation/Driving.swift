// Owns what a driver does around the core: feeding inputs, carrying out effects, applying entries, serving reads.
// Must never: do more than a driver may. The core is stepped exactly as in a real node.
// Invariant: effects are carried out in the order in which they came.

import RaftCore

extension Simulator {
  // MARK: Inputs

  mutating func start(_ node: Int) {
    let configuration = Configuration(
      id: nodes[node].id, voters: nodes.map(\.id), heartbeatTicks: world.heartbeatTicks,
      electionTicks: world.electionTicks, seed: seedChance.next(), limits: world.limits)
    nodes[node].start(configuration: configuration, tail: schedulingChance.pick([0, 5, 1 << 20]))
    trace.record(.started(node: node), at: now)
    queue.push(
      .tick(node: node, life: nodes[node].life),
      afterMicroseconds: clockChance.next(in: 1..<nodes[node].tickMicroseconds))
  }

  mutating func give(_ node: Int, _ input: Input) {
    guard nodes[node].raft != nil else { return }
    nodes[node].inputs.append(input)
    schedule(node)
  }

  /// The node will take its inputs shortly. What comes in until then shares the step.
  mutating func schedule(_ node: Int) {
    guard nodes[node].raft != nil, !nodes[node].isScheduled, !nodes[node].inputs.isEmpty else { return }
    let thaw = max(nodes[node].frozenUntil, now) - now
    nodes[node].isScheduled = true
    queue.push(
      .step(node: node, life: nodes[node].life), afterMicroseconds: thaw + schedulingChance.next(in: 1..<100))
  }

  mutating func tick(_ node: Int, life: UInt64) throws(Checker.Broken) {
    guard nodes[node].life == life, nodes[node].raft != nil else { return }
    queue.push(.tick(node: node, life: life), afterMicroseconds: nodes[node].tickMicroseconds)
    // A frozen node loses its ticks and takes everything else when it thaws.
    guard nodes[node].frozenUntil <= now else { return }
    nodes[node].inputs.append(.tick)
    try step(node)
  }

  mutating func step(_ node: Int) throws(Checker.Broken) {
    guard nodes[node].frozenUntil <= now else { return schedule(node) }
    let inputs = nodes[node].inputs
    nodes[node].inputs = []
    let clock = now / 1000 + nodes[node].clockOffsetMilliseconds
    let effects = nodes[node].raft?.step(inputs, clockMilliseconds: clock) ?? []
    if !inputs.isEmpty, !inputs.allSatisfy(\.isTick) { trace.record(.stepped(node: node, inputs: inputs), at: now) }
    mix(now)
    mix(UInt64(node) << 32 | UInt64(inputs.count) << 16 | UInt64(effects.count))
    // Who leads is looked at first, so that a second leader is called by its name and not by what it writes.
    for case .leadership(let leadership) in effects { try changed(leadership, of: node) }
    for effect in effects { try carryOut(effect, of: node) }
    try serveReads(of: node)
  }

  // MARK: Effects

  private mutating func carryOut(_ effect: Effect, of node: Int) throws(Checker.Broken) {
    switch effect {
    case .persist(let write): try persist(write, of: node)
    case .send(let message, let peer): send(message, from: node, to: Int(peer.rawValue) - 1)
    case .commit(let index): try apply(through: index, by: node)
    case .refuse(let ids, _):
      for id in ids { try checker.refuse(id) }
    case .readReady(let ids, let index):
      for id in ids {
        guard let floor = nodes[node].readFloors.removeValue(forKey: id) else { continue }
        nodes[node].waitingReads.append(SimulatedNode.WaitingRead(id: id, index: index.rawValue, floor: floor))
      }
    case .refuseRead(let ids, _):
      for id in ids where nodes[node].readFloors.removeValue(forKey: id) != nil { readsRefused += 1 }
    case .fetch(let request):
      queue.push(
        .fetched(node: node, life: nodes[node].life, request),
        afterMicroseconds: diskChance.next(in: 1..<world.flushMicroseconds))
    case .leadership, .membership, .repaired, .compact: break
    case .readSnapshot, .stageSnapshot, .installSnapshot:
      throw Checker.Broken(rule: "no snapshot is asked for", detail: "none was ever taken")
    }
  }

  private mutating func changed(_ leadership: Leadership, of node: Int) throws(Checker.Broken) {
    trace.record(.leadership(node: node, leadership), at: now)
    mix(leadership.term.rawValue << 8 | UInt64(leadership.role.rawValue))
    guard leadership.role == .leader else { return }
    try checker.elected(node, life: nodes[node].life, term: leadership.term, log: nodes[node].disk.written)
  }

  private mutating func persist(_ write: Persist, of node: Int) throws(Checker.Broken) {
    if let complaint = nodes[node].disk.write(write) {
      throw Checker.Broken(rule: "writes follow each other", detail: "node \(node + 1) \(complaint)")
    }
    mix(write.sequence)
    try checker.wrote(node, write.entries, log: nodes[node].disk.written)
    if options.plantedBug == .reportedBeforeDurable { give(node, .persisted(sequence: write.sequence)) }
    beginFlush(node)
  }

  private mutating func apply(through index: Index, by node: Int) throws(Checker.Broken) {
    guard Int(index.rawValue) > nodes[node].applied, let term = nodes[node].raft?.term else { return }
    trace.record(.committed(node: node, index), at: now)
    mix(index.rawValue)
    let entries = try nodes[node].entriesToApply(through: index)
    let isNews = Int(index.rawValue) > checker.committed.count
    for entry in entries {
      try checker.applied(entry, by: node, in: term)
      _ = checker.acknowledge(entry, by: node, life: nodes[node].life)
    }
    nodes[node].applied = Int(index.rawValue)
    nodes[node].inputs.append(.applied(through: index))
    guard isNews, let last = entries.last else { return }
    try checker.isOnQuorum(last, nodes: nodes)
    for other in nodes.indices {
      guard let raft = nodes[other].raft, raft.role == .leader, raft.term > term else { continue }
      try checker.leads(other, term: raft.term, log: nodes[other].disk.written)
    }
  }

  // MARK: Reads

  private mutating func serveReads(of node: Int) throws(Checker.Broken) {
    guard !nodes[node].waitingReads.isEmpty else { return }
    var waiting: [SimulatedNode.WaitingRead] = []
    for read in nodes[node].waitingReads {
      if UInt64(nodes[node].applied) < read.index, options.plantedBug != .readBeforeApplied {
        waiting.append(read)
        continue
      }
      readsServed += 1
      try checker.served(read.id, by: node, applied: nodes[node].applied, floor: read.floor)
    }
    nodes[node].waitingReads = waiting
  }

  // MARK: Disks

  mutating func beginFlush(_ node: Int) {
    if options.plantedBug == .diskFallsSilent && phase != .faults { return }
    guard nodes[node].disk.beginFlush() else { return }
    let stall = max(nodes[node].disk.stalledUntil, now) - now
    let duration = diskChance.next(in: (world.flushMicroseconds / 2)..<(2 * world.flushMicroseconds))
    queue.push(.flushed(node: node, life: nodes[node].life), afterMicroseconds: stall + duration)
  }

  mutating func flushed(_ node: Int, life: UInt64) {
    guard nodes[node].life == life, nodes[node].raft != nil else { return }
    let sequence = nodes[node].disk.endFlush()
    if options.plantedBug != .reportedBeforeDurable { give(node, .persisted(sequence: sequence)) }
    beginFlush(node)
  }

  mutating func fetched(_ node: Int, life: UInt64, _ request: FetchRequest) {
    guard nodes[node].life == life, nodes[node].raft != nil else { return }
    let stored = nodes[node].disk.durable.entries
    // The log may have been truncated meanwhile, in which case the request is void and the core knows it.
    let written = nodes[node].disk.written
    guard let term = written.term(at: request.first), nodes[node].disk.durable.term(at: request.first) == term else {
      return
    }
    var entries: [Entry] = []
    var size = 0
    for entry in stored[(Int(request.first.rawValue) - 1)..<min(stored.count, Int(request.last.rawValue))] {
      if size + entry.sizeBytes > request.maxBytes, !entries.isEmpty { break }
      entries.append(entry)
      size += entry.sizeBytes
    }
    give(node, .fetched(request, entries: entries))
  }
}

extension Input {
  fileprivate var isTick: Bool { if case .tick = self { true } else { false } }
}
