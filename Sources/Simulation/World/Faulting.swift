// Owns what goes wrong, when and for how long.
// Must never: begin a fault after the healing, or one that the seed did not pick.
// Invariant: every fault but a lost message ends by itself.

import RaftCore

extension Simulator {
  mutating func count(_ kind: FaultKind) {
    if let position = FaultKind.allCases.firstIndex(of: kind) { faultCounts[position] += 1 }
  }

  mutating func faultGap() -> UInt64 { faultChance.next(in: 1..<(2 * world.meanFaultGapMicroseconds)) }

  mutating func beginFault() {
    guard phase == .faults else { return }
    queue.push(.fault, afterMicroseconds: faultGap())
    guard !world.faults.isEmpty else { return }
    let kind = faultChance.pick(world.faults)
    let node = faultChance.next(below: nodes.count)
    switch kind {
    case .crash:
      begin(kind, [node])
      crash(node, for: faultChance.next(in: 10_000..<3_000_000))
    case .powerCut:
      begin(kind, Array(nodes.indices))
      for node in nodes.indices { crash(node, for: faultChance.next(in: 10_000..<1_000_000)) }
    case .splitPartition, .isolation, .oneWayPartition, .linkCut:
      if nodes.count > 1 { partition(kind, around: node) }
    case .diskStall:
      begin(kind, [node])
      nodes[node].disk.stalledUntil = now + faultChance.next(in: 10_000..<3_000_000)
    case .freeze:
      begin(kind, [node])
      nodes[node].frozenUntil = now + faultChance.next(in: 10_000..<2_000_000)
    case .clockJump:
      begin(kind, [node])
      nodes[node].clockOffsetMilliseconds = faultChance.next(in: 0..<60_000)
    case .transfer:
      begin(kind, [node])
      for other in nodes.indices { give(other, .transferLeadership(to: nodes[node].id)) }
    case .crashAfterVote, .lostMessage, .repeatedMessage, .lateMessage, .lostWrites:
      // These happen to votes, messages and writes one by one.
      break
    }
  }

  private mutating func begin(_ kind: FaultKind, _ affected: [Int]) {
    count(kind)
    mix(UInt64(affected.first ?? 0))
    trace.record(.fault(kind, nodes: affected), at: now)
  }

  // MARK: Crashes

  /// Without a duration the node stays down until somebody starts it.
  mutating func crash(_ node: Int, for duration: UInt64?) {
    guard nodes[node].raft != nil else { return }
    // Without this fault a crash is that of a process: what was written is kept.
    let isWriteLost = world.faults.contains(.lostWrites) || options.plantedBug == .reportedBeforeDurable
    let draw = diskChance.next()
    let lost = nodes[node].stop(keepingWrites: isWriteLost ? draw : nil)
    if lost > 0 { count(.lostWrites) }
    switch options.plantedBug {
    case .voteNotPersisted: nodes[node].disk.forgetVote()
    case .termNotPersisted: nodes[node].disk.forgetTerm()
    case .diskForgets: nodes[node].disk.forgetEntries(diskChance.next(below: 10))
    default: break
    }
    if let duration { queue.push(.restart(node: node, life: nodes[node].life), afterMicroseconds: duration) }
  }

  /// The moment at which a vote that was not durable would do the most harm.
  mutating func crashAfterVote(of node: Int) {
    guard phase == .faults, world.faults.contains(.crashAfterVote) else { return }
    guard faultChance.chance(perMille: world.crashAfterVotePerMille) else { return }
    begin(.crashAfterVote, [node])
    queue.push(.crash(node: node, life: nodes[node].life), afterMicroseconds: 1)
  }

  // MARK: Partitions

  private mutating func partition(_ kind: FaultKind, around node: Int) {
    network.beginPartition()
    var group = [node]
    if kind == .splitPartition {
      group = faultChance.sample(1 + faultChance.next(below: nodes.count), below: nodes.count)
    }
    if kind == .isolation, faultChance.chance(perMille: 500), let leader = leaderToIsolate() { group = [leader] }
    begin(kind, group)
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

  /// Leaders are the most interesting nodes to cut off.
  private func leaderToIsolate() -> Int? {
    nodes.firstIndex { $0.raft?.role == .leader }
  }

  /// Drivers notice some cuts, as broken connections.
  private mutating func reportCuts(between group: [Int], and others: [Int]) {
    for inside in group {
      for outside in others {
        give(inside, .unreachable(nodes[outside].id))
        give(outside, .unreachable(nodes[inside].id))
      }
    }
  }
}
