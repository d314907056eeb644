// Owns what a driver does around the core: feeding inputs and carrying out effects.
// Must never: do more than a driver may. The core is stepped exactly as in a real node.
// Invariant: effects are carried out in the order in which they came.

import CoordinationCore
import RaftCore

extension Simulator {
  // MARK: Starting

  mutating func start(_ node: SimulatedNode) throws(Broken) {
    guard !node.isGone else { return }
    let opened = node.disk.open(tail: schedulingChance.pick([0, 5, 1 << 20]))
    if opened.foundDamage { reach(.damageFound) }
    if opened.fellBack { reach(.snapshotFallback) }
    if opened.snapshot != nil { reach(.restartedFromSnapshot) }
    let configuration = Configuration(
      id: node.id, membership: node.founding, heartbeatTicks: world.heartbeatTicks,
      electionTicks: world.electionTicks, seed: seedChance.next(), limits: world.limits)
    var handed = opened
    if options.plantedBug == .damageIgnored { handed.restored.damage = nil }
    do {
      try node.start(configuration: configuration, opened: handed, longestStepMilliseconds: longestStepMilliseconds)
    } catch {
      throw Broken("a whole snapshot can be read", "\(node.id) cannot read its own: \(error)")
    }
    node.membership = node.raft?.membership ?? node.founding
    trace.record(.started(node: node.position, handed.restored), at: now)
    try checker.restored(node, snapshot: opened.snapshot)
    if node.disk.isFull { node.inputs.append(.storage(isWritable: false)) }
    queue.push(
      .tick(node: node.position, life: node.life), afterMicroseconds: clockChance.next(in: 1..<node.tickMicroseconds))
  }

  var longestStepMilliseconds: UInt64 { world.tickMicroseconds * UInt64(world.electionTicks) / 1000 }

  // MARK: Inputs

  mutating func give(_ node: SimulatedNode, _ input: Input) {
    guard node.isUp else { return }
    node.inputs.append(input)
    schedule(node)
  }

  /// The node will take its inputs shortly. What comes in until then shares the step.
  mutating func schedule(_ node: SimulatedNode) {
    guard node.isUp, !node.isScheduled, !node.inputs.isEmpty else { return }
    let thaw = max(node.frozenUntil, now) - now
    node.isScheduled = true
    queue.push(
      .step(node: node.position, life: node.life), afterMicroseconds: thaw + schedulingChance.next(in: 1..<100))
  }

  mutating func tick(_ node: SimulatedNode) throws(Broken) {
    queue.push(.tick(node: node.position, life: node.life), afterMicroseconds: node.tickMicroseconds)
    // A frozen node loses its ticks and takes everything else when it thaws.
    guard node.frozenUntil <= now else { return }
    node.inputs.append(.tick)
    keepHouse(node, localMilliseconds: node.localClock.milliseconds(at: now))
    try endHeld(at: node)
    try step(node)
  }

  mutating func step(_ node: SimulatedNode) throws(Broken) {
    guard node.frozenUntil <= now else { return schedule(node) }
    let inputs = node.inputs
    node.inputs = []
    let clock = node.clock.now(localMilliseconds: node.localClock.milliseconds(at: now))
    if !(inputs.count == 1 && inputs[0].isTick) { trace.record(.stepped(node: node.position, inputs: inputs), at: now) }
    let effects = node.raft?.step(inputs, clockMilliseconds: clock) ?? []
    mix(now &* 31 ^ UInt64(node.position) << 32 ^ UInt64(inputs.count) << 16 ^ UInt64(effects.count))
    // Who leads is looked at first, so that a second leader is called by its name and not by what it writes.
    for case .leadership(let leadership) in effects { try changed(leadership, of: node) }
    for effect in effects { try carryOut(effect, of: node) }
    if options.plantedBug == .priorTermCounted { try countPriorTerm(node) }
    try serveReads(of: node)
    schedule(node)
  }

  // MARK: Effects

  private mutating func carryOut(_ effect: Effect, of node: SimulatedNode) throws(Broken) {
    guard node.isUp else { return }
    switch effect {
    case .persist(let write): try persist(write, of: node)
    case .send(let message, let peer): try send(message, from: node, to: peer)
    case .commit(let index): try apply(through: index, by: node)
    case .refuse(let ids, let refusal): try refused(ids, refusal)
    case .readReady(let ids, let index):
      for id in ids where node.pendingReads.remove(id) != nil {
        node.waitingReads.append(SimulatedNode.WaitingRead(operation: id, index: index))
      }
    case .refuseRead(let ids, _):
      for id in ids where node.pendingReads.remove(id) != nil {
        reach(.readRefused)
        operations.refuse(id)
        history.remove(id)
      }
    case .fetch(let request):
      queue.push(
        .fetched(node: node.position, life: node.life, request),
        afterMicroseconds: diskChance.next(in: 1..<world.disk.flushMicroseconds))
    case .leadership: break
    case .readSnapshot(let request):
      queue.push(
        .snapshotRead(node: node.position, life: node.life, request),
        afterMicroseconds: diskChance.next(in: 1..<world.disk.flushMicroseconds))
    case .stageSnapshot(let chunk): stage(chunk, at: node)
    case .installSnapshot(let description): try install(description, at: node)
    case .compact(let first):
      queue.push(
        .compacted(node: node.position, life: node.life, first),
        afterMicroseconds: diskChance.next(in: 1..<(4 * world.disk.flushMicroseconds)))
    case .membership(let membership): changed(membership, of: node)
    case .repaired:
      reach(.damageRepaired)
      trace.record(.note("\(node.id) is repaired"), at: now)
    }
  }

  private mutating func changed(_ leadership: Leadership, of node: SimulatedNode) throws(Broken) {
    trace.record(.leadership(node: node.position, leadership), at: now)
    mix(leadership.term.rawValue << 8 | UInt64(leadership.role.rawValue))
    let isGivingUp = node.wasLeader && leadership.role == .follower
    node.wasLeader = leadership.role == .leader
    if isGivingUp && node.disk.isFull { reach(.leadershipGivenUpFull) }
    guard leadership.role != .follower else { return }
    try checker.stands(node, leadership)
    guard leadership.role == .leader else { return }
    try checker.elected(node, term: leadership.term)
  }

  private mutating func changed(_ membership: Membership, of node: SimulatedNode) {
    node.membership = membership
    if membership.isJoint { reach(.jointConfiguration) }
    trace.record(.membership(node: node.position, membership), at: now)
  }

  private mutating func persist(_ write: Persist, of node: SimulatedNode) throws(Broken) {
    if let complaint = node.disk.write(write) {
      throw Broken("writes follow each other and fit", "\(node.id) \(complaint)")
    }
    mix(write.sequence)
    if node.role != .leader, let stamp = write.entries.last?.clockMilliseconds ?? write.base?.clockMilliseconds {
      node.clock.follow(stampMilliseconds: stamp, localMilliseconds: node.localClock.milliseconds(at: now))
    }
    try checker.wrote(node, write)
    if reportsEarly(node) { give(node, .persisted(sequence: write.sequence)) }
    beginFlush(node)
  }

  /// Planted bugs: a disk that says so before it is true.
  private func reportsEarly(_ node: SimulatedNode) -> Bool {
    options.plantedBug == .reportedBeforeDurable || (options.plantedBug == .fullDiskAcknowledges && node.disk.isFull)
  }

  private mutating func refused(_ ids: [UInt64], _ refusal: Refusal) throws(Broken) {
    for id in ids {
      try checker.refused(id, operations[id])
      operations.refuse(id)
      reach(.proposalRefused)
      if refusal == .storageFull { reach(.storageFullRefusal) }
      refusedAnswer(id, refusal)
    }
  }

  // MARK: Reads

  private mutating func serveReads(of node: SimulatedNode) throws(Broken) {
    guard !node.waitingReads.isEmpty else { return }
    let waiting = node.waitingReads
    node.waitingReads = []
    for read in waiting {
      if node.applied < read.index, options.plantedBug != .readBeforeApplied {
        node.waitingReads.append(read)
      } else {
        try serve(read.operation, by: node)
      }
    }
  }

  // MARK: Disks

  mutating func beginFlush(_ node: SimulatedNode) {
    if options.plantedBug == .diskFallsSilent && phase != .faults { return }
    if options.plantedBug == .fullDiskAcknowledges && node.disk.isFull { return }
    guard node.disk.beginFlush() else { return }
    let stall = max(node.disk.stalledUntil, now) - now
    let usual = world.disk.flushMicroseconds
    let duration = diskChance.next(in: (usual / 2)..<(2 * usual))
    queue.push(.flushed(node: node.position, life: node.life), afterMicroseconds: stall + duration)
  }

  mutating func flushed(_ node: SimulatedNode) {
    let sequence = node.disk.endFlush()
    if options.plantedBug != .reportedBeforeDurable { give(node, .persisted(sequence: sequence)) }
    beginFlush(node)
  }

  mutating func fetched(_ node: SimulatedNode, _ request: FetchRequest) throws(Broken) {
    // The log may have been truncated or compacted meanwhile, in which case the request is void and the core knows it.
    guard let term = node.disk.written.term(at: request.first),
      let start = node.disk.durable.position(of: request.first),
      node.disk.durable.entries[start].term == term
    else { return }
    reach(.fetchedFromDisk)
    let stored = node.disk.durable.entries
    var entries: [Entry] = []
    var size = 0
    var position = start
    while position < stored.count, stored[position].index <= request.last {
      let entry = stored[position]
      if node.disk.rotten.contains(entry.index) { return try foundRot(node) }
      if size + entry.sizeBytes > request.maxBytes, !entries.isEmpty { break }
      entries.append(entry)
      size += entry.sizeBytes
      position += 1
    }
    give(node, .fetched(request, entries: entries))
  }

  /// A record that does not check ends the process: what it would say next cannot be trusted.
  mutating func foundRot(_ node: SimulatedNode) throws(Broken) {
    trace.record(.note("\(node.id) read a record that does not check"), at: now)
    crash(node, for: diskChance.next(in: 1000..<50_000))
  }
}

extension Input {
  fileprivate var isTick: Bool { if case .tick = self { true } else { false } }
}
