// Owns corners where changes of membership, snapshots and compaction meet, each as an example.
// Must never: hold what a file of its own already covers.

import RaftCore
import Testing

@Suite("Corners of membership and snapshots")
struct CornerTests {
  private func request(_ change: MembershipChange, id: UInt64) -> Input {
    .propose([
      Proposal(id: id, kind: .membership, payload: MembershipRequest(change: change, context: []).encoded())
    ])
  }

  /// Delivers everything between a leader 1 and a learner 2 until nothing is said any more.
  private func exchange(_ leader: inout Raft, _ learner: inout Raft, _ effects: [Effect]) {
    var toLearner = effects.sent(to: NodeID(2))
    while let message = toLearner.first {
      toLearner.removeFirst()
      for answer in learner.takeDurably(.received(message, from: NodeID(1))).sent(to: NodeID(1)) {
        toLearner += leader.takeDurably(.received(answer, from: NodeID(2))).sent(to: NodeID(2))
      }
    }
  }

  @Test("a learner that has everything can be promoted after its connection broke, though nothing new is written")
  func promotionInAnIdleCluster() {
    var leader = Raft(configuration: configuration(1, of: 1), restored: .empty)
    var learner = Raft(
      configuration: Configuration(
        id: NodeID(2), membership: .nobody, heartbeatTicks: heartbeatTicks, electionTicks: electionTicks, seed: 3),
      restored: .empty)
    _ = leader.takeDurably(.tick)
    let added = leader.takeDurably(request(.addLearner(Member(id: NodeID(2), address: [])), id: 1))
    exchange(&leader, &learner, added)
    #expect(learner.durableIndex == leader.lastIndex)
    exchange(&leader, &learner, leader.takeDurably(.unreachable(NodeID(2))))
    for _ in 0..<(3 * heartbeatTicks) { exchange(&leader, &learner, leader.takeDurably(.tick)) }
    #expect(leader.status.peers.first?.isReplicating == true)
    let promoted = leader.takeDurably(request(.promote(NodeID(2)), id: 2))
    #expect(promoted.refusals.isEmpty)
    #expect(leader.membership.isVoter(NodeID(2)))
  }

  @Test("a log that begins behind its snapshot is restored when its first run begins with its first entry")
  func restoredBehindASnapshotOfTheSameTerm() {
    let point = SnapshotPoint(
      index: Index(10), term: Term(5), clockMilliseconds: 10, membership: configuration(1, of: 3).membership)
    let raft = Raft(
      configuration: configuration(1, of: 3),
      restored: Restored(
        hardState: HardState(term: Term(5), votedFor: nil), firstIndex: Index(11), lastIndex: Index(12),
        termRuns: [TermRun(first: Index(11), term: Term(5))], tail: [entry(11, term: 5), entry(12, term: 5)],
        lastClockMilliseconds: 12, snapshot: point))
    #expect(raft.lastIndex == Index(12))
    #expect(raft.commit == Index(10))
  }

  @Test("a compaction that a snapshot overtook does not take away the time that followers are given later")
  func overtakenCompaction() {
    let founding = configuration(2, of: 3).membership
    var raft = Raft(
      configuration: configuration(2, of: 3, limits: Limits(trailingEntries: 0, maxCompactionHoldTicks: 20)),
      restored: .empty)
    // Three entries are committed and in a snapshot, and this node's disk has none of them yet.
    let heartbeat = Message.heartbeat(Heartbeat(term: Term(1), commit: .beforeFirst, readContext: 0))
    _ = raft.takeDurably(.received(heartbeat, from: NodeID(1)))
    let entries = (1...3).map { entry($0, term: 1) }
    _ = raft.receive(append(term: 1, after: 0, 0, entries, commit: 3), from: 1)
    let early = SnapshotPoint(index: Index(3), term: Term(1), clockMilliseconds: 3, membership: founding)
    _ = raft.take(.snapshotTaken(early))
    let point = SnapshotPoint(index: Index(10), term: Term(1), clockMilliseconds: 10, membership: founding)
    let description = SnapshotDescription(point: point, totalBytes: 1, checksum: 7)
    let chunk = SnapshotChunk(description: description, offset: 0, bytes: [1])
    _ = raft.receive(.installSnapshot(InstallSnapshot(term: Term(1), chunk: chunk)), from: 1)
    _ = raft.take(.snapshotStaged(description, through: 1))
    _ = raft.takeDurably(.snapshotReady(description))
    #expect(raft.firstIndex == Index(11))

    for _ in 0..<(3 * electionTicks) { _ = raft.takeDurably(.tick) }
    let yes = { Message.voteResponse(VoteResponse(term: Term(2), isPreVote: $0, isGranted: true)) }
    _ = raft.takeDurably(.received(yes(true), from: NodeID(1)))
    _ = raft.takeDurably(.received(yes(false), from: NodeID(1)))
    #expect(raft.role == .leader)
    let matched = { Message.appendResponse(AppendResponse(term: Term(2), outcome: .matched(through: Index($0)))) }
    _ = raft.takeDurably(.received(matched(10), from: NodeID(3)))
    _ = raft.takeDurably(.received(matched(11), from: NodeID(1)))
    #expect(raft.commit == Index(11))
    _ = raft.takeDurably(.applied(through: Index(11)))
    let late = SnapshotPoint(index: Index(11), term: Term(2), clockMilliseconds: 11, membership: founding)
    _ = raft.takeDurably(.snapshotTaken(late))
    #expect(raft.firstIndex == Index(11), "node 3 is served from the log and still needs entry 11")
  }

  @Test("a leader whose removal is in no other log stands again, for nobody else could be elected")
  func removedButNotCommitted() {
    var raft = Raft(configuration: configuration(1, of: 2), restored: .empty)
    func receive(_ message: Message) -> [Effect] { raft.takeDurably(.received(message, from: NodeID(2))) }
    func elect(_ term: UInt64) {
      for _ in 0..<(3 * electionTicks) where raft.role != .preCandidate { _ = raft.takeDurably(.tick) }
      for isPreVote in [true, false] {
        _ = receive(.voteResponse(VoteResponse(term: Term(term), isPreVote: isPreVote, isGranted: true)))
      }
    }
    func matched(_ term: UInt64, _ index: UInt64) -> Message {
      .appendResponse(AppendResponse(term: Term(term), outcome: .matched(through: Index(index))))
    }
    elect(1)
    _ = receive(matched(1, 1))
    _ = raft.takeDurably(request(.remove(NodeID(1)), id: 1))
    // Node 2 has the joint configuration, so it needs the vote of node 1, whose log holds the final one besides.
    _ = receive(matched(1, 2))
    #expect(raft.lastIndex == Index(3) && !raft.membership.contains(NodeID(1)))
    for _ in 0..<(3 * electionTicks) where raft.role == .leader { _ = raft.takeDurably(.tick) }
    #expect(raft.role == .follower)

    elect(2)
    #expect(raft.role == .leader)
    _ = receive(matched(2, 4))
    #expect(raft.commit == Index(4))
    #expect(raft.role == .follower, "node 2 leads from here on")
    for _ in 0..<(3 * electionTicks) { #expect(raft.takeDurably(.tick).sent.isEmpty) }
  }

  @Test("a voter that its log took in and left out again stands after a start, when no commit is known")
  func leftOutSinceTheStart() {
    func configuring(_ index: UInt64, _ voters: [UInt64]) -> Entry {
      let record = MembershipRecord(membership: Membership(voters: voters.map { NodeID($0) }), context: [])
      var entry = entry(index, term: 1, payload: record.encoded())
      entry.kind = .membership
      return entry
    }
    func start(_ entries: [Entry]) -> Raft {
      var disk = restored(terms: [1, 1, 1])
      disk.tail.replaceSubrange(1...2, with: entries)
      disk.membershipEntries = entries
      return Raft(configuration: configuration(4, of: 3), restored: disk)
    }
    // The others may have lost what gives them a majority without this node, and its log is longer than theirs.
    var left = start([configuring(2, [1, 2, 3, 4]), configuring(3, [1, 2, 3])])
    _ = left.tick(3 * electionTicks)
    #expect(left.role == .preCandidate)

    var never = start([configuring(2, [1, 2]), configuring(3, [1, 2, 3])])
    _ = never.tick(3 * electionTicks)
    #expect(never.role == .follower)
  }
}
