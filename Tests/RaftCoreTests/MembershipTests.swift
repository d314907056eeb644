// How a cluster changes its members while it works.

import RaftCore
import Testing

@Suite("Membership (section 6; dissertation, chapter 4)")
struct MembershipTests {
  @Test("a node that waits to be added never stands, and is reached by the leader that adds it")
  func addLearner() {
    var cluster = Cluster(voters: 3, waiting: 1)
    cluster.tick(4, 10 * electionTicks)
    #expect(cluster[4].term == Term(0) && cluster[4].role == .follower)
    cluster.elect(1)
    cluster.propose(1, 1...3)
    #expect(cluster.change(1, .addLearner(member(4))).isEmpty)
    #expect(cluster[4].membership == cluster[1].membership)
    #expect(cluster[4].membership.learners == nodes(4))
    #expect(cluster[4].membership[NodeID(4)] == member(4), "its address travels with it")
    #expect(cluster.applied[3] == cluster.applied[0])
    #expect(cluster[4].leader == NodeID(1))
  }

  @Test("a learner counts for no commit, no vote and no confirmation")
  func learnerDoesNotCount() {
    var cluster = Cluster(voters: 3, waiting: 1)
    cluster.elect(1)
    _ = cluster.change(1, .addLearner(member(4)))
    cluster.isolated = nodes(2, 3).reduce(into: []) { $0.insert($1) }
    let before = cluster[1].commit
    cluster.step(1, .propose([proposal(1)]), .readIndex(id: 9))
    cluster.settle()
    #expect(cluster[4].lastIndex == cluster[1].lastIndex)
    #expect(cluster[1].commit == before, "leader and learner are no quorum of three")
    #expect(!cluster.effects[0].readyReads.contains(9))
    cluster.tick(1, 2 * electionTicks)
    #expect(cluster[1].role != .leader, "a learner's answers do not keep a leader")
    cluster.tick(1, 4 * electionTicks)
    #expect(cluster[1].role == .preCandidate)
  }

  @Test("a learner never stands, even when all voters are gone")
  func learnerNeverStands() {
    var cluster = Cluster(voters: 1, waiting: 1)
    cluster.elect(1)
    _ = cluster.change(1, .addLearner(member(2)))
    let term = cluster[2].term
    cluster.isolated = [NodeID(1)]
    cluster.tick(2, 10 * electionTicks)
    #expect(cluster[2].role == .follower && cluster[2].term == term)
    #expect(cluster[2].leader == nil, "but it says that it knows no leader")
    let told = RaftCore.TimeoutNow(term: term)
    cluster.step(2, .received(.heartbeat(Heartbeat(term: term, commit: Index(0), readContext: 0)), from: NodeID(1)))
    cluster.step(2, .received(.timeoutNow(told), from: NodeID(1)))
    #expect(cluster[2].role == .follower)
  }

  @Test("a learner votes when it is asked: its configuration may be the old one")
  func learnerVotes() {
    var cluster = Cluster(voters: 1, waiting: 1)
    cluster.elect(1)
    _ = cluster.change(1, .addLearner(member(2)))
    for _ in 0..<electionTicks { cluster.step(2, .tick) }
    let request = RequestVote(
      term: Term(9), lastIndex: Index(90), lastTerm: Term(8), isPreVote: false, isTransfer: false)
    cluster.step(2, .received(.requestVote(request), from: NodeID(6)))
    cluster.finishWrites(of: 2)
    #expect(cluster.effects[1].sent(to: NodeID(6)).compactMap(\.voteResponse?.isGranted) == [true])
  }

  @Test("a learner hands proposals and reads on to the leader")
  func learnerForwards() {
    var cluster = Cluster(voters: 3, waiting: 1)
    cluster.elect(1)
    _ = cluster.change(1, .addLearner(member(4)))
    cluster.step(4, .propose([proposal(55)]), .readIndex(id: 3))
    cluster.settle()
    cluster.tickAll(heartbeatTicks)
    #expect(cluster.applied[3].last?.payload == [55])
    #expect(cluster.effects[3].readyReads == [3])
  }

  @Test("a learner is promoted only when it lacks no more than the limit")
  func promotionGate() {
    var cluster = Cluster(voters: 3, waiting: 1, limits: Limits(maxPromotionLag: 4))
    cluster.elect(1)
    #expect(cluster.change(1, .promote(NodeID(4))) == [.noSuchMember])
    _ = cluster.change(1, .addLearner(member(4)))
    cluster.isolated = [NodeID(4)]
    cluster.propose(1, 1...5)
    #expect(cluster.change(1, .promote(NodeID(4))) == [.learnerIsBehind])
    #expect(cluster.change(1, .replace(NodeID(3), with: NodeID(4))) == [.learnerIsBehind])
    cluster.isolated = []
    cluster.tickAll(4 * heartbeatTicks)
    #expect(cluster.change(1, .promote(NodeID(4))).isEmpty)
    #expect(cluster[4].membership.voters == nodes(1, 2, 3, 4))
    #expect(cluster[4].membership.learners.isEmpty && !cluster[4].membership.isJoint)
  }

  @Test("a learner that is silent is not promoted, however far it once was")
  func silentLearner() {
    var cluster = Cluster(voters: 3, waiting: 1)
    cluster.elect(1)
    _ = cluster.change(1, .addLearner(member(4)))
    cluster.isolated = [NodeID(4)]
    cluster.tickAll(electionTicks)
    #expect(cluster.change(1, .promote(NodeID(4))) == [.learnerIsBehind])
  }

  @Test("no more learners than the limit")
  func learnerLimit() {
    var cluster = Cluster(voters: 1, waiting: 2)
    cluster.elect(1)
    _ = cluster.change(1, .addLearner(member(2)))
    #expect(cluster.change(1, .addLearner(member(3))) == [.tooManyLearners])
    #expect(cluster.change(1, .remove(NodeID(2))).isEmpty)
    #expect(cluster.change(1, .addLearner(member(3))).isEmpty)
    #expect(cluster[1].membership.learners == nodes(3))
  }

  @Test("changes that make no sense are refused by name")
  func refusals() {
    var cluster = Cluster(voters: 1, waiting: 1)
    cluster.elect(1)
    #expect(cluster.change(1, .addLearner(member(1))) == [.alreadyMember])
    #expect(cluster.change(1, .addVoter(member(1))) == [.alreadyMember])
    #expect(cluster.change(1, .promote(NodeID(1))) == [.alreadyMember])
    #expect(cluster.change(1, .remove(NodeID(9))) == [.noSuchMember])
    #expect(cluster.change(1, .update(member(9))) == [.noSuchMember])
    #expect(cluster.change(1, .replace(NodeID(1), with: NodeID(9))) == [.noSuchMember])
    #expect(cluster.change(1, .remove(NodeID(1))) == [.noVoterWouldRemain])
    cluster.forget()
    cluster.step(1, .propose([Proposal(id: 3, kind: .membership, payload: [99]), proposal(4)]))
    cluster.settle()
    #expect(cluster.effects[0].refusals == [.malformedChange])
    #expect(cluster.effects[0].refused == [3])
    #expect(cluster.applied[0].last?.payload == [4], "what came with it is taken")
  }

  @Test("a change proposed at a follower is handed on, and its refusal comes back")
  func forwardedChange() {
    var cluster = Cluster(voters: 3, waiting: 1)
    cluster.elect(1)
    #expect(cluster.change(2, .addLearner(member(4))).isEmpty)
    #expect(cluster[1].membership.learners == nodes(4))
    #expect(cluster.change(2, .addLearner(member(4))) == [.alreadyMember])
  }

  @Test("new addresses are told to everybody without a joint step")
  func update() {
    var cluster = Cluster(voters: 3)
    cluster.elect(1)
    let moved = Member(id: NodeID(2), address: [9, 9])
    _ = cluster.change(1, .update(moved))
    #expect((1...3).allSatisfy { cluster[$0].membership[NodeID(2)] == moved })
    #expect(cluster[1].membership.voters == nodes(1, 2, 3))
    #expect(cluster.effects.allSatisfy { $0.memberships.count == 1 })
  }

  @Test("a configuration is in force from when its entry is appended, and the driver hears of it before its sends")
  func inForceAtOnce() {
    var cluster = Cluster(voters: 3, waiting: 1)
    cluster.elect(1)
    let effects = cluster.step(1, change(.addVoter(member(4))))
    #expect(cluster[1].membership.voters == nodes(1, 2, 3, 4))
    #expect(cluster[1].membership.outgoing == nodes(1, 2, 3))
    #expect(cluster[1].commit < cluster[1].lastIndex)
    let told = effects.firstIndex { if case .membership = $0 { true } else { false } }
    let sent = effects.firstIndex { if case .send = $0 { true } else { false } }
    #expect(told != nil && sent != nil && (told ?? 0) < (sent ?? 0))
    #expect(!effects.sent(to: NodeID(4)).isEmpty, "the new node is contacted at once")
  }

  @Test("a configuration that is cut away with its entry gives way to the one before")
  func rolledBack() {
    var cluster = Cluster(voters: 3, waiting: 1)
    cluster.elect(1)
    cluster.isolated = [NodeID(1)]
    cluster.step(1, change(.addLearner(member(4))))
    cluster.settle()
    #expect(cluster[1].membership.contains(NodeID(4)))
    cluster.elect(2)
    cluster.propose(2, 1...1)
    cluster.isolated = []
    cluster.forget()
    cluster.tickAll(4 * heartbeatTicks)
    #expect(!cluster[1].membership.contains(NodeID(4)))
    #expect(cluster.effects[0].memberships.count == 1)
    #expect(cluster[1].membership == cluster[2].membership)
  }

  @Test("the configuration as of an applied index is known while a newer one is in force")
  func membershipAt() {
    var cluster = Cluster(voters: 3, waiting: 1)
    cluster.elect(1)
    cluster.propose(1, 1...1)
    let before = cluster[1].lastIndex
    _ = cluster.change(1, .addLearner(member(4)))
    #expect(cluster[1].membership(at: before).learners.isEmpty)
    #expect(cluster[1].membership(at: before.next).learners == nodes(4))
    #expect(cluster[1].membership(at: Index(0)).voters == nodes(1, 2, 3))
  }

  @Test("a follower goes no further than a configuration that it cannot read")
  func unreadableConfiguration() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: restored(terms: [1]))
    let odd = Entry(index: Index(3), term: Term(1), clockMilliseconds: 3, kind: .membership, payload: [77])
    let entries = [entry(2, term: 1), odd, entry(4, term: 1)]
    let effects = raft.takeDurably(.received(append(term: 1, after: 1, 1, entries, commit: 4), from: NodeID(2)))
    #expect(raft.lastIndex == Index(2) && raft.commit == Index(2))
    #expect(effects.sent.compactMap(\.appendResponse?.outcome).last == .matched(through: Index(2)))
  }

  @Test("the configuration survives a restart, from the log")
  func restart() {
    var cluster = Cluster(voters: 3, waiting: 1)
    cluster.elect(1)
    _ = cluster.change(1, .addLearner(member(4)))
    _ = cluster.change(1, .promote(NodeID(4)))
    for id in 1...4 as ClosedRange<UInt64> { cluster.restart(id) }
    #expect((1...4).allSatisfy { cluster[$0].membership.voters == nodes(1, 2, 3, 4) })
    cluster.elect(4)
    #expect(cluster[1].leader == NodeID(4))
  }
}
