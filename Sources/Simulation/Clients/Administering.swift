// Owns the operator: members are added, promoted, replaced and removed, dead ones are given up.
// Must never: ask for a configuration in which too few healthy nodes would be left to decide anything.
// Invariant: one change is asked for at a time; one that was not answered counts as possible for a while.

import RaftCore

struct Operator {
  var pending: UInt64?
  var askedAt: UInt64 = 0
  /// Configurations that were asked for, until they can no longer come into force.
  var requested: [(voters: [NodeID], until: UInt64)] = []
}

extension Simulator {
  static let operatorPatienceMicroseconds: UInt64 = 3_000_000
  static let spareNodes = 5

  mutating func administer() throws(Broken) {
    guard phase == .faults else { return }
    queue.push(.administer, afterMicroseconds: memberChance.next(in: 100_000..<1_500_000))
    if let pending = administrator.pending {
      let isOpen = operations[pending].state == .open
      if isOpen, now < administrator.askedAt + Self.operatorPatienceMicroseconds { return }
      if !isOpen { administrator.requested = [] }
    }
    let time = now
    administrator.requested.removeAll { $0.until < time }
    let membership = checker.members.newest
    guard !membership.isJoint, let change = try drawChange(membership) else { return }
    let voters = membership.voters(after: change)
    let isSafe = hasMajority(of: voters) { self.isHealthy($0) }
    let node = nodes[memberChance.next(below: nodes.count)]
    guard isSafe, node.isUp else { return }
    let id = operations.begin(.membership, node: node.position, life: node.life, at: now)
    administrator.pending = id
    administrator.askedAt = now
    administrator.requested.append((voters, now + 4 * Self.operatorPatienceMicroseconds))
    let request = MembershipRequest(change: change, context: ContextBytes.encode(id))
    trace.record(.note("\(node.id) is asked for \(change)"), at: now)
    give(node, .propose([Proposal(id: id, kind: .membership, payload: request.encoded())]))
  }

  private mutating func drawChange(_ membership: Membership) throws(Broken) -> MembershipChange? {
    let learner = membership.learners.first { !isGone($0) }
    if let dead = membership.learners.first(where: { isGone($0) }) { return .remove(dead) }
    if let dead = membership.voters.first(where: { isGone($0) }) {
      if let learner { return .replace(dead, with: learner) }
      return memberChance.chance(perMille: 300) ? .remove(dead) : try newMember()
    }
    let draw = memberChance.next(below: 100)
    if let learner {
      if draw < 60 { return .promote(learner) }
      if draw < 90 { return .replace(victim(membership), with: learner) }
      return .remove(learner)
    }
    if membership.voters.count > 1, draw < 45 || membership.voters.count >= 6 { return .remove(victim(membership)) }
    if draw < 50 { return .update(Member(id: victim(membership), address: [UInt8(draw)])) }
    return try newMember()
  }

  /// Leaders are the most interesting members to remove.
  private mutating func victim(_ membership: Membership) -> NodeID {
    let leader = nodes.first { $0.role == .leader && membership.voters.contains($0.id) }
    if let leader, memberChance.chance(perMille: 500) { return leader.id }
    return memberChance.pick(membership.voters)
  }

  private mutating func newMember() throws(Broken) -> MembershipChange? {
    // One that waits already, for an earlier request that came to nothing.
    if let waiting = nodes.first(where: { !$0.isGone && $0.founding == .nobody && isStranger($0.id) }) {
      return change(adding: waiting.id)
    }
    guard nodes.count < capacity else { return nil }
    let node = makeNode(position: nodes.count, founding: .nobody)
    nodes.append(node)
    try start(node)
    return change(adding: node.id)
  }

  private mutating func change(adding id: NodeID) -> MembershipChange {
    let member = Member(id: id, address: [])
    return memberChance.chance(perMille: 100) ? .addVoter(member) : .addLearner(member)
  }

  /// Never a member in anything that was committed.
  private func isStranger(_ id: NodeID) -> Bool {
    checker.members.records.allSatisfy { !$0.membership.contains(id) }
  }

  func isGone(_ id: NodeID) -> Bool {
    let position = Int(id.rawValue) - 1
    return position >= nodes.count || nodes[position].isGone
  }

  // MARK: Who may fail

  func isHealthy(_ node: SimulatedNode) -> Bool { !node.isGone && !node.disk.isDamaged }

  func hasMajority(of voters: [NodeID], _ counts: (SimulatedNode) -> Bool) -> Bool {
    var members = 0
    for voter in voters where !isGone(voter) && counts(nodes[Int(voter.rawValue) - 1]) { members += 1 }
    return members > voters.count / 2
  }

  /// Whether every configuration that is or may come into force keeps a majority among these nodes.
  func everyConfigurationHasMajority(_ counts: (SimulatedNode) -> Bool) -> Bool {
    func holds(_ membership: Membership) -> Bool {
      hasMajority(of: membership.voters, counts)
        && (!membership.isJoint || hasMajority(of: membership.outgoing, counts))
    }
    guard holds(checker.members.newest) else { return false }
    for requested in administrator.requested where requested.until >= now {
      guard hasMajority(of: requested.voters, counts) else { return false }
    }
    for node in nodes where !node.isGone {
      for entry in node.disk.written.entries.reversed() {
        guard entry.index > checker.log.committedIndex else { break }
        guard entry.kind == .membership, let record = MembershipRecord.decode(entry.payload) else { continue }
        guard holds(record.membership) else { return false }
      }
    }
    return true
  }

  // MARK: What became of it

  mutating func membershipApplied(_ record: MembershipRecord, leader node: SimulatedNode) {
    let membership = record.membership
    let records = checker.members.records
    guard records.count > 1, !membership.isJoint else { return }
    let before = records[records.count - 2].membership
    if membership.learners.contains(where: { !before.contains($0) }) { reach(.learnerAdded) }
    let isReplacement = before.voters.count == before.outgoing.count
    if membership.voters.contains(where: { !before.outgoing.contains($0) }), before.isJoint { reach(.learnerPromoted) }
    for gone in before.members where !membership.contains(gone.id) {
      reach(.memberRemoved)
      if isReplacement, isGone(gone.id), before.isJoint { reach(.deadNodeReplaced) }
      guard !isGone(gone.id) else { continue }
      let removed = nodes[Int(gone.id.rawValue) - 1]
      if removed === node, node.role == .leader { reach(.leaderRemoved) }
      // It goes on for a while, as one that nobody told would.
      queue.push(.retire(node: removed.position), afterMicroseconds: memberChance.next(in: 100_000..<3_000_000))
    }
  }

  mutating func retire(_ node: SimulatedNode) {
    guard !node.isGone else { return }
    trace.record(.note("\(node.id) is taken out of service"), at: now)
    if node.isUp { crash(node, for: nil) }
    node.isGone = true
  }
}

extension Membership {
  /// Who would vote once the change is complete.
  fileprivate func voters(after change: MembershipChange) -> [NodeID] {
    switch change {
    case .addLearner, .update: voters
    case .addVoter(let member): voters.contains(member.id) ? voters : voters + [member.id]
    case .promote(let id): voters + [id]
    case .remove(let id): voters.filter { $0 != id }
    case .replace(let old, let new): voters.filter { $0 != old } + [new]
    }
  }
}
