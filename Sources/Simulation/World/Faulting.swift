// Owns what goes wrong, when and for how long.
// Must never: begin a fault after the healing, one that the seed did not pick, or one that no cluster can survive: a
// majority of disks is never damaged or lost at once.
// Invariant: every fault but a lost message and a lost disk ends by itself.

import RaftCore

extension Simulator {
  mutating func count(_ kind: FaultKind) { faultCounts[kind.rawValue] += 1 }

  mutating func reach(_ milestone: Milestone) { milestones[milestone.rawValue] += 1 }

  mutating func faultGap() -> UInt64 { faultChance.next(in: 1..<(2 * world.meanFaultGapMicroseconds)) }

  mutating func beginFault() throws(Broken) {
    guard phase == .faults else { return }
    queue.push(.fault, afterMicroseconds: faultGap())
    guard !world.faults.isEmpty else { return }
    let kind = faultChance.pick(world.faults)
    let node = nodes[faultChance.next(below: nodes.count)]
    switch kind {
    case .crash:
      begin(kind, [node])
      crash(node, for: faultChance.next(in: 10_000..<3_000_000))
    case .powerCut:
      begin(kind, nodes)
      for node in nodes { crash(node, for: faultChance.next(in: 10_000..<1_000_000)) }
    case .splitPartition, .isolation, .oneWayPartition, .linkCut:
      if nodes.count > 1 { partition(kind, around: node) }
    case .freeze:
      begin(kind, [node])
      node.frozenUntil = now + faultChance.next(in: 10_000..<2_000_000)
    case .clockJump, .clockFreeze: disturbClock(kind, node)
    case .diskStall, .flushError, .diskFull, .entryRot, .misdirectedWrite, .snapshotRot, .wipedDisk:
      try disturbDisk(kind, node)
    case .transfer:
      begin(kind, [node])
      for other in nodes { give(other, .transferLeadership(to: node.id)) }
    case .gatewayCrash:
      begin(kind, [])
      let gateway = faultChance.next(below: gateways.count)
      if faultChance.chance(perMille: 500) { gateways[gateway].isDoomed = true } else { try crashGateway(gateway) }
    case .holderPause:
      guard !sessions.isEmpty else { return }
      begin(kind, [])
      let duration = faultChance.next(in: (ttlMicroseconds / 2)..<(3 * ttlMicroseconds))
      sessions[faultChance.next(below: sessions.count)].pausedUntil = now + duration
    case .incarnationRaised:
      begin(kind, [])
      incarnations.append(checker.state.revision)
      // Whoever holds a scope just now is of the old incarnation, and may come late.
      if let holder = sessions.indices.first(where: { sessions[$0].isServing }) {
        sessions[holder].pausedUntil = now + faultChance.next(in: ttlMicroseconds..<(4 * ttlMicroseconds))
      }
    case .crashAfterVote, .lostMessage, .repeatedMessage, .lateMessage, .lostWrites, .tornWrite, .clockDrift,
      .reconfiguration:
      // These happen to votes, messages, writes, clocks and members by themselves.
      break
    }
  }

  private mutating func begin(_ kind: FaultKind, _ affected: [SimulatedNode]) {
    count(kind)
    mix(UInt64(affected.first?.position ?? 0))
    trace.record(.fault(kind, nodes: affected.map(\.position)), at: now)
  }

  // MARK: Clocks

  private mutating func disturbClock(_ kind: FaultKind, _ node: SimulatedNode) {
    begin(kind, [node])
    if kind == .clockFreeze {
      node.localClock.freeze(at: now)
      queue.push(.clockThaws(node: node.position), afterMicroseconds: faultChance.next(in: 10_000..<2_000_000))
      return
    }
    node.localClock.jump(faultChance.next(in: 1000..<60_000_000))
    // The cluster clock counts no more of it than this, and leases may be shorter by as much.
    leaps.append((at: now, microseconds: longestStepMilliseconds * 1000))
  }

  // MARK: Disks

  private mutating func disturbDisk(_ kind: FaultKind, _ node: SimulatedNode) throws(Broken) {
    switch kind {
    case .diskStall:
      begin(kind, [node])
      node.disk.stalledUntil = now + faultChance.next(in: 10_000..<3_000_000)
    case .flushError:
      guard node.isUp, node.disk.hasPending else { return }
      // The process must end: what a failed flush left behind is unknown, and asking again proves nothing.
      begin(kind, [node])
      crash(node, for: faultChance.next(in: 1000..<500_000), losesWrites: true)
    case .diskFull:
      guard node.isUp, !node.disk.isFull else { return }
      begin(kind, [node])
      fill(node)
    case .entryRot: rotEntry(kind, node)
    case .misdirectedWrite: rotEntry(kind, node)
    case .snapshotRot: rotSnapshot(node)
    case .wipedDisk:
      guard world.has(.reconfiguration), !node.isGone, mayLose(node) else { return }
      begin(kind, [node])
      if node.isUp { crash(node, for: nil) }
      node.disk.wipe()
      node.isGone = true
    default: preconditionFailure("\(kind) is no fault of a disk")
    }
  }

  private mutating func fill(_ node: SimulatedNode) {
    node.disk.becomeFull(reserveBytes: world.disk.reserveBytes)
    let isNoticed = options.plantedBug != .fullDiskUnnoticed && options.plantedBug != .fullDiskAcknowledges
    if isNoticed { give(node, .storage(isWritable: false)) }
    reach(.storageFull)
    queue.push(.diskHasRoom(node: node.position), afterMicroseconds: faultChance.next(in: 50_000..<4_000_000))
  }

  mutating func diskHasRoom(_ node: SimulatedNode) {
    guard node.disk.isFull else { return }
    node.disk.isFull = false
    guard node.isUp else { return }
    reach(.storageRecovered)
    give(node, .storage(isWritable: true))
    beginFlush(node)
  }

  /// Whether the cluster can do without what this node has on its disk.
  private func mayLose(_ node: SimulatedNode) -> Bool {
    everyConfigurationHasMajority { self.isHealthy($0) && $0 !== node }
  }

  /// A damaged entry is found when it is read: at the next start, or when somebody needs it.
  private mutating func rotEntry(_ kind: FaultKind, _ node: SimulatedNode) {
    let log = node.disk.durable
    let count = log.entries.count
    guard !node.isGone, count > 1, mayLose(node) else { return }
    let victims = kind == .misdirectedWrite ? 2 : 1
    var isAny = false
    for _ in 0..<victims {
      // The end of a log is worth more than its middle.
      let back =
        faultChance.chance(perMille: 500) ? faultChance.next(below: min(4, count)) : faultChance.next(below: count)
      let index = log.base.index.advanced(by: count - back)
      guard node.disk.mayRot(at: index) else { continue }
      node.disk.rot(at: index)
      isAny = true
    }
    guard isAny else { return }
    begin(kind, [node])
    // Half of the time it is found soon.
    if faultChance.chance(perMille: 500), node.isUp { crash(node, for: faultChance.next(in: 1000..<500_000)) }
  }

  private mutating func rotSnapshot(_ node: SimulatedNode) {
    let count = node.disk.snapshots.count
    guard !node.isGone, count > 0, mayLose(node) else { return }
    begin(.snapshotRot, [node])
    let position = faultChance.chance(perMille: 700) ? count - 1 : 0
    node.disk.rotSnapshot(position, bit: faultChance.next(below: 1 << 20))
    if faultChance.chance(perMille: 500), node.isUp { crash(node, for: faultChance.next(in: 1000..<500_000)) }
  }

  // MARK: Crashes

  /// Without a duration the node stays down until somebody starts it.
  mutating func crash(_ node: SimulatedNode, for duration: UInt64?, losesWrites: Bool = false) {
    guard node.isUp else { return }
    if node.membership.isJoint { reach(.crashInJointConfiguration) }
    node.stop()
    // Without this fault a crash is that of a process: what was written is kept.
    let isWriteLost = losesWrites || world.has(.lostWrites) || options.plantedBug == .reportedBeforeDurable
    let draw = diskChance.next()
    let losses = node.disk.crash(keeping: isWriteLost ? draw : nil, isTearing: world.has(.tornWrite))
    if losses.writes > 0 { count(.lostWrites) }
    if losses.isTorn {
      count(.tornWrite)
      reach(.tornTailCut)
    }
    switch options.plantedBug {
    case .voteNotPersisted: node.disk.forgetVote()
    case .termNotPersisted: node.disk.forgetTerm()
    case .diskForgets: node.disk.forgetEntries(diskChance.next(below: 10))
    default: break
    }
    if let duration {
      queue.push(.restart(node: node.position, life: node.life), afterMicroseconds: duration)
    }
  }

  /// The moment at which a vote that was not durable would do the most harm.
  mutating func crashAfterVote(of node: SimulatedNode) {
    guard phase == .faults, world.has(.crashAfterVote) else { return }
    guard faultChance.chance(perMille: world.crashAfterVotePerMille) else { return }
    begin(.crashAfterVote, [node])
    queue.push(.crash(node: node.position, life: node.life), afterMicroseconds: 1)
  }

  // MARK: Partitions

  private mutating func partition(_ kind: FaultKind, around node: SimulatedNode) {
    network.beginPartition()
    var group = [node.position]
    if kind == .splitPartition {
      group = faultChance.sample(1 + faultChance.next(below: nodes.count), below: nodes.count)
    }
    if kind == .isolation, faultChance.chance(perMille: 500),
      let leader = nodes.first(where: { $0.role == .leader })
    {
      group = [leader.position]
    }
    begin(kind, group.map { nodes[$0] })
    var others = nodes.indices.filter { !group.contains($0) }
    if kind == .linkCut { others = [faultChance.pick(others)] }
    let isOutwardOnly = faultChance.chance(perMille: 500)
    for inside in group {
      for outside in others {
        if kind != .oneWayPartition || isOutwardOnly { network.cut(from: inside, to: outside) }
        if kind != .oneWayPartition || !isOutwardOnly { network.cut(from: outside, to: inside) }
      }
    }
    if faultChance.chance(perMille: 500) { reportCuts(between: group, and: others) }
    queue.push(
      .partitionEnds(number: network.partitionNumber),
      afterMicroseconds: faultChance.next(in: 50_000..<4_000_000))
  }

  /// Drivers notice some cuts, as broken connections.
  private mutating func reportCuts(between group: [Int], and others: [Int]) {
    for inside in group {
      for outside in others {
        give(nodes[inside], .unreachable(nodes[outside].id))
        give(nodes[outside], .unreachable(nodes[inside].id))
      }
    }
  }
}
