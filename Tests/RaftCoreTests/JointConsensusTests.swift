// The steps of a change of voters, and what holds between them.

import RaftCore
import Testing

@Suite("Joint consensus (section 6)")
struct JointConsensusTests {
  private let four: Set<NodeID> = [NodeID(4), NodeID(5)]

  /// Three founders become {1, 4, 5} in two changes, of which the last is stopped while it is joint.
  private func stopped(outside isolated: Set<NodeID>) -> Cluster {
    var cluster = Cluster(voters: 3, waiting: 2)
    cluster.elect(1)
    _ = cluster.change(1, .addLearner(member(4)))
    cluster.isolated = isolated
    cluster.step(1, change(.replace(NodeID(3), with: NodeID(4))))
    cluster.settle()
    return cluster
  }

  @Test("the leader appends the final configuration by itself, with the context of the request")
  func twoSteps() {
    var cluster = Cluster(voters: 3, waiting: 1)
    cluster.elect(1)
    _ = cluster.change(1, .addVoter(member(4)))
    let records = cluster.applied[3].filter { $0.kind == .membership }.compactMap {
      MembershipRecord.decode($0.payload)
    }
    #expect(records.map(\.membership.isJoint) == [true, false])
    #expect(records.map(\.context) == [[7], [7]])
    #expect(records.last?.membership == cluster[4].membership)
    #expect(cluster.effects[1].memberships.map(\.isJoint) == [true, false])
  }

  @Test("the final configuration is not appended before the joint one is committed")
  func finalWaits() {
    let cluster = stopped(outside: [NodeID(2), NodeID(3)])
    #expect(cluster[1].membership.isJoint)
    #expect(cluster[1].commit < cluster[1].lastIndex)
  }

  @Test("a joint configuration needs a majority of the old side")
  func needsOldSide() {
    // 1 and 4 are a majority of {1, 2, 4}, but of {1, 2, 3} only one is there.
    var cluster = stopped(outside: [NodeID(2), NodeID(3)])
    #expect(cluster[4].lastIndex == cluster[1].lastIndex)
    #expect(cluster[1].membership.isJoint)
    cluster.step(1, .readIndex(id: 5))
    cluster.settle()
    #expect(!cluster.effects[0].readyReads.contains(5), "neither is a read confirmed")
    cluster.tick(1, 2 * electionTicks)
    #expect(cluster[1].role != .leader, "nor does its leader stay")
  }

  @Test("a joint configuration needs a majority of the new side")
  func needsNewSide() {
    // 1 and 3 are a majority of {1, 2, 3}, but of {1, 2, 4} only one is there.
    var cluster = stopped(outside: [NodeID(2), NodeID(4)])
    #expect(cluster[3].lastIndex == cluster[1].lastIndex)
    #expect(cluster[1].membership.isJoint)
    cluster.step(1, .readIndex(id: 5))
    cluster.settle()
    #expect(!cluster.effects[0].readyReads.contains(5))
    cluster.tick(1, 2 * electionTicks)
    #expect(cluster[1].role != .leader)
  }

  @Test("both sides together decide, without the nodes that are on neither")
  func bothSides() {
    let cluster = stopped(outside: [NodeID(3)])
    #expect(!cluster[1].membership.isJoint)
    #expect(cluster[1].membership.voters == nodes(1, 2, 4))
    #expect(cluster[1].commit == cluster[1].lastIndex)
  }

  @Test("a candidate with a joint configuration needs votes of both sides")
  func electionNeedsBoth() {
    var cluster = stopped(outside: [NodeID(2), NodeID(3)])
    cluster.inbox = []
    // Node 4 holds the joint configuration. 1 is one of {1, 2, 4} with it, but alone of {1, 2, 3}.
    for id in [1, 2, 3] as [UInt64] { for _ in 0..<(2 * electionTicks) { cluster.step(id, .tick) } }
    cluster.inbox = []
    cluster.isolated = [NodeID(2), NodeID(3)]
    cluster.tick(4, 6 * electionTicks)
    #expect(cluster[4].role == .preCandidate, "a pre-vote of one side is not enough")
    cluster.isolated = [NodeID(3)]
    for id in [1, 2] as [UInt64] { for _ in 0..<electionTicks { cluster.step(id, .tick) } }
    cluster.inbox = []
    cluster.tick(4, 3 * electionTicks) { $0[4].role == .leader }
    #expect(cluster[4].role == .leader)
  }

  @Test("a new leader that finds a joint configuration ends the change")
  func newLeaderFinishes() {
    var cluster = Cluster(voters: 3, waiting: 1)
    cluster.elect(1)
    _ = cluster.change(1, .addLearner(member(4)))
    cluster.step(1, change(.promote(NodeID(4)), context: [42]))
    cluster.settle { $0[2].membership.isJoint && $0[4].membership.isJoint && $0[3].membership.isJoint }
    cluster.isolated = [NodeID(1)]
    cluster.inbox = []
    cluster.elect(2)
    cluster.settle()
    #expect(cluster[2].membership.voters == nodes(1, 2, 3, 4))
    #expect(!cluster[2].membership.isJoint && cluster[2].commit == cluster[2].lastIndex)
    let last = cluster.applied[3].last { $0.kind == .membership }
    #expect(MembershipRecord.decode(last?.payload ?? [])?.context == [42])
  }

  @Test("one change at a time")
  func oneAtATime() {
    var cluster = stopped(outside: [NodeID(2), NodeID(3)])
    let effects = cluster.step(1, change(.addLearner(member(5))))
    #expect(effects.refusals == [.membershipChangeUnderWay])
    cluster.isolated = []
    cluster.tickAll(4 * heartbeatTicks)
    #expect(cluster.change(1, .addLearner(member(5))).isEmpty)
  }

  @Test("no change before the leader has committed in its own term (Ongaro's bug)")
  func notBeforeOwnCommit() {
    var cluster = Cluster(voters: 3, waiting: 1)
    cluster.elect(1)
    cluster.isolated = [NodeID(1)]
    cluster.elect(2)
    cluster.isolated = []
    cluster.slowDisks = [NodeID(1), NodeID(2), NodeID(3)]
    for id in [1, 3] as [UInt64] { for _ in 0..<(2 * electionTicks) { cluster.step(id, .tick) } }
    var leader = Raft(configuration: configuration(1, of: 3), restored: restored(terms: [1], term: 1))
    _ = leader.tick(2 * electionTicks)
    for isPreVote in [true, false] {
      let yes = VoteResponse(term: Term(2), isPreVote: isPreVote, isGranted: true)
      _ = leader.takeDurably(.received(.voteResponse(yes), from: NodeID(2)))
    }
    #expect(leader.role == .leader)
    #expect(leader.take(change(.addLearner(member(4)))).refusals == [.membershipChangeUnderWay])
    let matched = AppendResponse(term: Term(2), outcome: .matched(through: Index(2)))
    _ = leader.receive(.appendResponse(matched), from: 2)
    #expect(leader.take(change(.addLearner(member(4)))).refusals.isEmpty)
  }

  @Test("a change of one voter goes the same joint way, and a cluster of one grows to three")
  func growing() {
    var cluster = Cluster(voters: 1, waiting: 2)
    cluster.elect(1)
    cluster.propose(1, 1...3)
    #expect(cluster.change(1, .addVoter(member(2))).isEmpty)
    cluster.tickAll(heartbeatTicks)
    #expect(cluster.change(1, .addVoter(member(3))).isEmpty)
    cluster.tickAll(heartbeatTicks)
    #expect((1...3).allSatisfy { cluster[$0].membership.voters == nodes(1, 2, 3) })
    cluster.isolated = [NodeID(2)]
    cluster.propose(1, 4...4)
    #expect(cluster.applied[2].last?.payload == [4])
    cluster.isolated = [NodeID(2), NodeID(3)]
    let before = cluster[1].commit
    cluster.propose(1, 5...5)
    #expect(cluster[1].commit == before)
  }

  @Test("votes and acknowledgements of nodes that are no voters are not counted")
  func strangersDoNotCount() {
    var cluster = Cluster(voters: 3)
    cluster.elect(1)
    cluster.isolated = [NodeID(2), NodeID(3)]
    cluster.step(1, .propose([proposal(1)]))
    cluster.settle()
    let matched = AppendResponse(term: Term(1), outcome: .matched(through: Index(2)))
    for stranger in [7, 8] as [UInt64] {
      cluster.step(1, .received(.appendResponse(matched), from: NodeID(stranger)))
    }
    #expect(cluster[1].commit == Index(1))
    var candidate = Raft(configuration: configuration(1, of: 3), restored: .empty)
    _ = candidate.tick(2 * electionTicks)
    for stranger in [7, 8, 9] as [UInt64] {
      let yes = VoteResponse(term: Term(1), isPreVote: true, isGranted: true)
      _ = candidate.receive(.voteResponse(yes), from: stranger)
    }
    #expect(candidate.role == .preCandidate)
  }
}
