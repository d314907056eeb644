// What becomes of nodes that are removed, and of those that remain.

import RaftCore
import Testing

@Suite("Removal (dissertation, sections 4.2.2 and 4.2.3)")
struct RemovalTests {
  @Test("a removed follower learns of it and never stands again")
  func removedFollowerIsTold() {
    var cluster = Cluster(voters: 3)
    cluster.elect(1)
    #expect(cluster.change(1, .remove(NodeID(3))).isEmpty)
    cluster.tickAll(2 * heartbeatTicks)
    #expect(cluster[1].membership.voters == nodes(1, 2))
    #expect(cluster[3].membership.voters == nodes(1, 2))
    #expect(cluster[3].commit == cluster[1].commit)
    #expect(cluster[1].status.peers.map(\.id) == nodes(2))
    let term = cluster[3].term
    cluster.forget()
    cluster.tickAll(10 * electionTicks)
    #expect(cluster[3].role == .follower && cluster[3].term == term)
    #expect(!cluster.delivered.contains { $0.to == NodeID(3) || $0.from == NodeID(3) }, "nobody talks to it any more")
    #expect(cluster[1].role == .leader)
  }

  @Test("a dead node that is removed is let go after a bounded time")
  func deadNodeIsLetGo() {
    var cluster = Cluster(voters: 3)
    cluster.elect(1)
    cluster.isolated = [NodeID(3)]
    _ = cluster.change(1, .remove(NodeID(3)))
    cluster.tickAll(5 * electionTicks)
    cluster.isolated = []
    cluster.forget()
    cluster.tickAll(2 * heartbeatTicks)
    #expect(!cluster.delivered.contains { $0.from == NodeID(1) && $0.to == NodeID(3) })
  }

  @Test("a removed node that was not told cannot disturb the others")
  func untoldNodeDoesNotDisturb() {
    var cluster = Cluster(voters: 3)
    cluster.elect(1)
    cluster.isolated = [NodeID(3)]
    _ = cluster.change(1, .remove(NodeID(3)))
    cluster.tickAll(5 * electionTicks)
    cluster.isolated = []
    cluster.forget()
    cluster.tickAll(10 * electionTicks)
    #expect(cluster.delivered.contains { $0.from == NodeID(3) && $0.message.vote != nil }, "it goes on asking")
    #expect(cluster[1].role == .leader && cluster[1].term == Term(1))
    let stands = RequestVote(
      term: Term(7), lastIndex: Index(99), lastTerm: Term(6), isPreVote: false, isTransfer: false)
    cluster.step(1, .received(.requestVote(stands), from: NodeID(3)))
    cluster.step(2, .received(.requestVote(stands), from: NodeID(3)))
    let answer = HeartbeatResponse(term: Term(7), readContext: 0)
    cluster.step(1, .received(.heartbeatResponse(answer), from: NodeID(3)))
    cluster.settle()
    #expect(cluster[1].role == .leader && cluster[1].term == Term(1) && cluster[2].term == Term(1))
  }

  @Test("a removed leader leads until that is committed without it, hands over and steps down")
  func removedLeader() {
    var cluster = Cluster(voters: 3)
    cluster.elect(1)
    cluster.propose(1, 1...2)
    #expect(cluster.change(1, .remove(NodeID(1))).isEmpty)
    #expect(cluster.delivered.contains { $0.message.isTimeoutNow })
    #expect(cluster[1].role == .follower)
    let leader = cluster[2].role == .leader ? 2 : 3 as UInt64
    #expect(cluster[leader].role == .leader, "without an election timeout")
    #expect(cluster[leader].membership.voters == nodes(2, 3))
    #expect(cluster[1].membership.voters == nodes(2, 3))
    cluster.propose(leader, 3...3)
    #expect(cluster.applied[Int(leader) - 1].last?.payload == [3])
    cluster.tick(1, 10 * electionTicks)
    #expect(cluster[1].role == .follower)
  }

  @Test("a removed leader does not count itself for the final configuration")
  func removedLeaderDoesNotCount() {
    var cluster = Cluster(voters: 3)
    cluster.elect(1)
    cluster.step(1, change(.remove(NodeID(1))))
    cluster.settle { !$0[1].membership.isJoint }
    cluster.isolated = [NodeID(3)]
    cluster.settle()
    #expect(cluster[2].lastIndex == cluster[1].lastIndex)
    #expect(cluster[1].commit < cluster[1].lastIndex, "itself and one of two are no majority of two")
    #expect(cluster[1].role == .leader)
    cluster.isolated = []
    cluster.tickAll(3 * heartbeatTicks)
    #expect(cluster[1].role == .follower)
    #expect([2, 3].contains { cluster[$0].role == .leader })
  }

  @Test("a leader that hands over on its removal steps down even when nobody takes over")
  func removedLeaderWithoutHeir() {
    var cluster = Cluster(voters: 3)
    cluster.elect(1)
    cluster.step(1, change(.remove(NodeID(1))))
    cluster.settle { $0[1].status.transferTarget != nil || $0[1].role != .leader }
    cluster.inbox = []
    cluster.isolated = [NodeID(1)]
    cluster.tick(1, 2 * electionTicks)
    #expect(cluster[1].role == .follower && cluster[1].leader == nil)
    cluster.tickAll(6 * electionTicks)
    #expect([2, 3].contains { cluster[$0].role == .leader })
  }

  @Test("a cluster of two is cut down to the one that remains, whichever leads", arguments: [1, 2] as [UInt64])
  func twoBecomeOne(leader: UInt64) {
    var cluster = Cluster(voters: 2)
    cluster.elect(leader)
    #expect(cluster.change(leader, .remove(NodeID(1))).isEmpty)
    cluster.tickAll(2)
    #expect(cluster[2].role == .leader)
    cluster.isolated = [NodeID(1)]
    cluster.propose(2, 8...8)
    #expect(cluster.applied[1].last?.payload == [8])
    cluster.tickAll(4 * electionTicks)
    #expect(cluster[2].role == .leader && cluster[1].role == .follower)
  }

  @Test("leadership is not handed to a learner or to a node that is on its way out")
  func transferTargets() {
    var cluster = Cluster(voters: 3, waiting: 1)
    cluster.elect(1)
    _ = cluster.change(1, .addLearner(member(4)))
    #expect(cluster.step(1, .transferLeadership(to: NodeID(4))).isEmpty)
    cluster.isolated = [NodeID(2)]
    cluster.step(1, change(.remove(NodeID(3))))
    #expect(cluster.step(1, .transferLeadership(to: NodeID(3))).isEmpty)
    #expect(cluster[1].status.transferTarget == nil)
  }

  @Test("no change begins while leadership is being handed over, so that its target stays a member")
  func noChangeDuringTransfer() {
    var cluster = Cluster(voters: 3)
    cluster.elect(1)
    cluster.isolated = [NodeID(3)]
    cluster.step(1, .transferLeadership(to: NodeID(3)))
    #expect(cluster.change(1, .remove(NodeID(3))) == [.leadershipTransfer])
    #expect(cluster[1].status.transferTarget == NodeID(3))
  }

  @Test("a removed node may be added again, as a learner first")
  func addedAgain() {
    var cluster = Cluster(voters: 3)
    cluster.elect(1)
    _ = cluster.change(1, .remove(NodeID(3)))
    cluster.tickAll(heartbeatTicks)
    #expect(cluster.change(1, .addLearner(member(3))).isEmpty)
    cluster.tickAll(heartbeatTicks)
    #expect(cluster.change(1, .promote(NodeID(3))).isEmpty)
    #expect(cluster[3].membership.voters == nodes(1, 2, 3))
    cluster.elect(3)
    #expect(cluster[1].leader == NodeID(3))
  }
}
