// Owns changes of the configuration: what a request leads to, when it may begin and how it ends.
// Must never: begin a change while another one is not committed, or before this leader has committed in its own term.
// That is the bug that Ongaro found in one-at-a-time changes (raft-dev, July 2015), and it would break these as well.
// Invariants: every change of voters goes through a joint configuration; a configuration is in force from when its
// entry is appended; whoever leads when a joint one is committed appends the final one (Raft paper, section 6).

extension Membership {
  enum Outcome {
    case next(Membership)
    case refused(Refusal)
  }

  /// The configuration that a change leads to first, which is joint when it changes who votes.
  func changed(by change: MembershipChange, limits: Limits, isCaughtUp: (NodeID) -> Bool) -> Outcome {
    switch change {
    case .addLearner(let member):
      if contains(member.id) { return .refused(.alreadyMember) }
      if learners.count >= limits.maxLearners || members.count >= Self.maxMembers { return .refused(.tooManyLearners) }
      return .next(with(member, learners: (learners + [member.id]).sorted()))
    case .addVoter(let member):
      if contains(member.id) { return .refused(.alreadyMember) }
      if members.count >= Self.maxMembers { return .refused(.tooManyLearners) }
      return .next(with(member).joint(voters: voters + [member.id]))
    case .promote(let node):
      guard isLearner(node) else { return .refused(isVoter(node) ? .alreadyMember : .noSuchMember) }
      guard isCaughtUp(node) else { return .refused(.learnerIsBehind) }
      return .next(joint(voters: voters + [node]))
    case .remove(let node):
      guard contains(node) else { return .refused(.noSuchMember) }
      if isLearner(node) { return .next(without(node)) }
      guard voters.count > 1 else { return .refused(.noVoterWouldRemain) }
      return .next(joint(voters: voters.filter { $0 != node }))
    case .replace(let node, let other):
      guard voters.contains(node), isLearner(other) else { return .refused(.noSuchMember) }
      guard isCaughtUp(other) else { return .refused(.learnerIsBehind) }
      return .next(joint(voters: voters.filter { $0 != node } + [other]))
    case .update(let member):
      guard contains(member.id) else { return .refused(.noSuchMember) }
      return .next(with(member, learners: learners))
    }
  }

  /// What a joint configuration ends in: the old side is gone, and with it whoever was on no other.
  var final: Membership {
    var next = self
    next.outgoing = []
    next.members.removeAll { !voters.contains($0.id) && !learners.contains($0.id) }
    return next
  }

  private func with(_ member: Member, learners: [NodeID]? = nil) -> Membership {
    var next = self
    next.members.removeAll { $0.id == member.id }
    next.members.append(member)
    next.members.sort { $0.id < $1.id }
    if let learners { next.learners = learners }
    return next
  }

  private func without(_ learner: NodeID) -> Membership {
    var next = self
    next.learners.removeAll { $0 == learner }
    return next.final
  }

  private func joint(voters new: [NodeID]) -> Membership {
    var next = self
    next.outgoing = voters
    next.voters = new.sorted()
    next.learners.removeAll { new.contains($0) }
    return next
  }
}

extension Raft {
  /// The configuration as of an index that is applied, for a snapshot of the state there.
  package func membership(at index: Index) -> Membership { history.membership(at: index) }

  /// Begins the change that a proposal asks for, or says why not.
  mutating func beginChange(_ payload: [UInt8]) -> Refusal? {
    guard let request = MembershipRequest.decode(payload) else { return .malformedChange }
    guard !membership.isJoint, history.newest.index <= commit, hasCommittedInTerm else {
      return .membershipChangeUnderWay
    }
    switch membership.changed(by: request.change, limits: limits, isCaughtUp: isCaughtUp) {
    case .refused(let refusal): return refusal
    case .next(let next):
      append(MembershipRecord(membership: next, context: request.context))
      return nil
    }
  }

  /// A learner that would hold up every commit until it caught up must not count yet (dissertation, section 4.2.1).
  private func isCaughtUp(_ node: NodeID) -> Bool {
    guard let position = leading.position(of: node) else { return false }
    let peer = leading.peers[position]
    guard peer.state == .replicate, isHeard(peer) else { return false }
    return log.lastIndex.distance(from: peer.matched) <= limits.maxPromotionLag
  }

  private mutating func append(_ record: MembershipRecord) {
    append(kind: .membership, payload: record.encoded())
    history.append(record, at: log.lastIndex)
    adoptMembership()
  }

  /// Once a joint configuration is committed the final one follows, also under a leader that only found it in its log.
  mutating func finishChange() {
    let newest = history.newest
    guard newest.index <= commit, hasCommittedInTerm, leading.transfer == nil, isStorageWritable else { return }
    append(MembershipRecord(membership: membership.final, context: newest.record.context))
  }

  /// A leader that is no longer a member leads until that is committed, and leaves when everybody can do without it
  /// (dissertation, section 4.2.2).
  mutating func leaveWhenRemoved() {
    guard leading.sides.isEmpty, history.newest.index <= commit, leading.transfer == nil else { return }
    handOver()
  }

  /// Brings into force what the log says by now.
  mutating func adoptMembership() {
    membership = history.newest.record.membership
    isMembershipNews = true
    if role == .leader { adjustPeers() }
  }

  /// The leader's peers are all members but itself, and for a while those that were members and have yet to be told.
  mutating func adjustPeers() {
    for member in membership.members where member.id != id && leading.position(of: member.id) == nil {
      // The newest entry, which names it, is the first question to a new peer.
      leading.peers.append(Progress(id: member.id, next: max(log.lastIndex, Index(1)), tick: ticks))
    }
    for position in leading.peers.indices {
      let peer = leading.peers[position].id
      leading.peers[position].sides = membership.sides(of: peer)
      if membership.contains(peer) {
        leading.peers[position].leaving = nil
      } else if leading.peers[position].leaving == nil {
        leading.peers[position].leaving = Progress.Leaving(
          index: history.newest.index, untilTick: ticks + UInt64(electionTicks) * 4)
      }
    }
    leading.sides = membership.sides(of: id)
    if let target = leading.transfer?.target, !membership.voters.contains(target) { leading.transfer = nil }
    dismissPeers()
  }

  /// Lets go of former members that know it, that cannot be reached, or that would need a whole snapshot to know it.
  mutating func dismissPeers() {
    guard leading.peers.contains(where: { $0.leaving != nil }) else { return }
    let now = ticks
    leading.peers.removeAll { peer in
      guard let leaving = peer.leaving else { return false }
      let knows = peer.matched >= leaving.index && peer.sentCommit >= leaving.index
      return knows || now >= leaving.untilTick || peer.state == .snapshot
    }
    let peers = leading.peers
    leading.snapshots.removeAll { sending in !peers.contains { $0.id == sending.peer } }
  }
}
