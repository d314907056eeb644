// Owns the checks that need more than one of the checkers, and the alarm.
// Must never: repair, skip or forgive.
// Invariant: the first rule that breaks ends the run.

import CoordinationCore
import RaftCore

/// A rule that did not hold.
struct Broken: Error {
  var rule: String
  var detail: String

  init(_ rule: String, _ detail: String) {
    self.rule = rule
    self.detail = detail
  }
}

struct Checker {
  var log = LogChecker()
  var state: StateChecker
  var members: MembershipChecker
  var fence: FenceChecker

  // MARK: Elections

  mutating func elected(_ node: SimulatedNode, term: Term) throws(Broken) {
    try log.elected(node, term: term)
  }

  /// A node that lost entries which it may have acknowledged takes no part in elections (Protocol-Aware Recovery).
  func stands(_ node: SimulatedNode, _ leadership: Leadership) throws(Broken) {
    guard node.disk.written.damage == nil else {
      throw Broken("an impaired node does not stand", "\(node.id) is \(leadership.role) in \(leadership.term)")
    }
  }

  func votes(_ node: SimulatedNode, isPreVote: Bool) throws(Broken) {
    guard node.disk.written.damage == nil else {
      throw Broken("an impaired node does not vote", "\(node.id) granted a \(isPreVote ? "pre-vote" : "vote")")
    }
  }

  // MARK: Logs

  mutating func wrote(_ node: SimulatedNode, _ write: Persist) throws(Broken) {
    if let base = write.base {
      guard let committed = entry(at: base.index), committed.term == base.term,
        committed.clockMilliseconds == base.clockMilliseconds
      else { throw Broken("a log begins behind a committed entry", "\(node.id) begins behind \(base.index)") }
    }
    try log.wrote(node, write.entries)
  }

  private func entry(at index: RaftCore.Index) -> Entry? {
    let position = Int(index.rawValue) - 1
    return log.committed.indices.contains(position) ? log.committed[position] : nil
  }

  /// Called with the newest entry of a commit: those before it are on the same disks.
  func committed(
    through index: RaftCore.Index, by node: SimulatedNode, term: Term, nodes: [SimulatedNode]
  ) throws(Broken) {
    guard let newest = entry(at: index) else { return }
    if node.role == .leader, let membership = node.raft?.membership {
      try isOnQuorum(newest, of: membership.voters, nodes)
      if membership.isJoint { try isOnQuorum(newest, of: membership.outgoing, nodes) }
    }
    for other in nodes where other.role == .leader {
      guard let itsTerm = other.raft?.term, itsTerm > term else { continue }
      try log.leads(other, term: itsTerm)
    }
  }

  private func isOnQuorum(_ entry: Entry, of voters: [NodeID], _ nodes: [SimulatedNode]) throws(Broken) {
    var holders = 0
    for voter in voters {
      let position = Int(voter.rawValue) - 1
      guard position < nodes.count else { continue }
      let node = nodes[position]
      // A disk that was lost meanwhile had it when it said so; it is known to be lost and does not vote.
      let isExcused = node.isGone || node.disk.durable.damage != nil
      let log = node.disk.durable
      if isExcused || log.base.index > entry.index || log.term(at: entry.index) == entry.term { holders += 1 }
    }
    guard holders > voters.count / 2 else {
      throw Broken(
        "what is committed is on a quorum of disks",
        "\(entry.index) of \(entry.term) is on \(holders) of \(voters.count)")
    }
  }

  // MARK: Proposals

  func refused(_ id: UInt64, _ operation: Operation) throws(Broken) {
    guard operation.committedAt == .beforeFirst else {
      throw Broken(
        "a refused proposal is never applied", "operation \(id) was applied at \(operation.committedAt), then refused")
    }
  }

  // MARK: Snapshots

  /// A snapshot says what the log says: the entry at its point, and who is a member there.
  mutating func snapshot(
    _ description: SnapshotDescription, of node: SimulatedNode, digest: UInt64
  ) throws(Broken) {
    let point = description.point
    guard let entry = entry(at: point.index), entry.term == point.term,
      entry.clockMilliseconds == point.clockMilliseconds
    else { throw Broken("a snapshot stands for a committed entry", "\(node.id) has one at \(point.index)") }
    guard members.membership(at: point.index) == point.membership else {
      throw Broken(
        "a snapshot holds the members of its point",
        "\(node.id) has one at \(point.index) with \(point.membership.voters), not "
          + "\(members.membership(at: point.index).voters)")
    }
    try state.compare(digest: digest, at: point.index, of: node.id)
  }

  mutating func received(_ description: SnapshotDescription, by node: SimulatedNode, digest: UInt64) throws(Broken) {
    try snapshot(description, of: node, digest: digest)
  }

  mutating func restored(_ node: SimulatedNode, snapshot: SnapshotFile?) throws(Broken) {
    guard let snapshot else { return }
    try self.snapshot(snapshot.description, of: node, digest: SnapshotCodec.digest(node.state))
  }
}

/// Who the members were at each committed entry.
struct MembershipChecker {
  private(set) var records: [(index: RaftCore.Index, membership: Membership)]

  init(founding: Membership) { records = [(.beforeFirst, founding)] }

  var newest: Membership { records[records.count - 1].membership }

  func membership(at index: RaftCore.Index) -> Membership {
    records.last { $0.index <= index }?.membership ?? records[0].membership
  }

  /// True when this is the first node to apply it. One change at a time: from a configuration to the next, joint or
  /// with the same voters (Raft paper, section 6).
  mutating func applied(_ record: MembershipRecord, at index: RaftCore.Index) throws(Broken) -> Bool {
    if let last = records.last, index <= last.index { return false }
    let before = newest
    let after = record.membership
    let isSound =
      before.isJoint
      ? !after.isJoint && after.voters == before.voters
      : after.isJoint ? after.outgoing == before.voters : after.voters == before.voters
    guard isSound else {
      throw Broken(
        "voters change through a joint configuration",
        "\(index) goes from \(before.voters) (leaving \(before.outgoing)) to \(after.voters) (leaving \(after.outgoing))"
      )
    }
    records.append((index, after))
    return true
  }
}
