// Handing over leadership, and giving up on it.

import RaftCore
import Testing

@Suite("Leadership transfer (dissertation, section 3.10)")
struct TransferTests {
  @Test("leadership goes to the target although the leader is alive")
  func transfers() {
    var cluster = Cluster(3)
    cluster.elect(1)
    cluster.step(1, .transferLeadership(to: NodeID(3)))
    cluster.settle()
    #expect(cluster[3].role == .leader)
    #expect((1...3).allSatisfy { cluster[$0].leader == NodeID(3) && cluster[$0].term == Term(2) })
  }

  @Test("a target that lags is brought up first")
  func waitsForTarget() {
    var cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolated = [NodeID(3)]
    for id in 1...5 as ClosedRange<UInt64> {
      cluster.step(1, .propose([proposal(id)]))
      cluster.settle()
    }
    let effects = cluster.step(1, .transferLeadership(to: NodeID(3)))
    #expect(!effects.sent.contains { $0.isTimeoutNow })
    cluster.isolated = []
    cluster.tickAll(2 * heartbeatTicks)
    #expect(cluster[3].role == .leader)
    #expect(cluster.applied[2].count == 7)
  }

  @Test("proposals are refused meanwhile, and taken again when the target is dead")
  func proposalsAreHeldOff() {
    var cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolated = [NodeID(3)]
    cluster.step(1, .transferLeadership(to: NodeID(3)))
    cluster.settle()
    let refused = cluster.step(1, .propose([proposal(1)]))
    #expect(refused.refused == [1])
    #expect(refused.refusals == [.leadershipTransfer])
    #expect(refused.persists.isEmpty)
    cluster.forget()
    cluster.step(2, .propose([proposal(2)]))
    cluster.settle()
    #expect(cluster.effects[1].refused == [2], "a forwarded proposal is refused to the node that it came from")
    #expect(cluster.effects[1].refusals == [.leadershipTransfer])
    cluster.tickAll(electionTicks)
    #expect(cluster[1].role == .leader)
    #expect(cluster[1].status.transferTarget == nil)
    cluster.forget()
    cluster.step(1, .propose([proposal(3)]))
    cluster.settle()
    #expect(cluster.effects[0].refused.isEmpty)
    #expect(cluster[1].commit == Index(2))
  }

  @Test("only the leader is obeyed when it says to stand")
  func timeoutNowFromOthers() {
    var cluster = Cluster(3)
    cluster.elect(1)
    cluster.step(2, .received(.timeoutNow(TimeoutNow(term: Term(1))), from: NodeID(3)))
    #expect(cluster[2].role == .follower)
    cluster.step(2, .received(.timeoutNow(TimeoutNow(term: Term(0))), from: NodeID(1)))
    #expect(cluster[2].role == .follower)
  }

  @Test("a transfer to oneself, to a stranger or asked of a follower does nothing")
  func impossibleTransfers() {
    var cluster = Cluster(3)
    cluster.elect(1)
    #expect(cluster.step(1, .transferLeadership(to: NodeID(1))).isEmpty)
    #expect(cluster.step(1, .transferLeadership(to: NodeID(9))).isEmpty)
    #expect(cluster.step(2, .transferLeadership(to: NodeID(3))).isEmpty)
    #expect(cluster[1].status.transferTarget == nil)
  }
}
