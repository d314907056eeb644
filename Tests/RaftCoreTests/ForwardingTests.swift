// Proposals that take the way over a follower: once, or not at all, and never a wrong refusal.

import RaftCore
import Testing

@Suite("Forwarded proposals")
struct ForwardingTests {
  private func forwarded(by cluster: inout Cluster, _ proposals: [Proposal]) -> Message? {
    cluster.step(2, .propose(proposals)).sent(to: NodeID(1)).first
  }

  @Test("a follower hands proposals on, in one message a step")
  func forwards() {
    var cluster = Cluster(3)
    cluster.elect(1)
    let effects = cluster.step(2, .propose([proposal(1)]), .propose([proposal(2)]))
    #expect(effects.sent.count == 1)
    cluster.settle()
    #expect(cluster.applied[1].map(\.payload) == [[], [1], [2]])
  }

  @Test("without a leader proposals are refused at once")
  func refusedWithoutLeader() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: .empty)
    let effects = raft.take(.propose([proposal(1), proposal(2)]))
    #expect(effects.refused == [1, 2])
    #expect(effects.refusals == [.noLeader])
  }

  @Test("a repeated message is appended once and not refused")
  func repeated() throws {
    var cluster = Cluster(3)
    cluster.elect(1)
    let message = try #require(forwarded(by: &cluster, [proposal(7)]))
    cluster.settle()
    let effects = cluster.step(1, .received(message, from: NodeID(2)))
    #expect(effects.isEmpty)
    #expect(cluster[1].lastIndex == Index(2))
  }

  @Test("a message that was overtaken is neither appended nor refused")
  func overtaken() throws {
    var cluster = Cluster(3)
    cluster.elect(1)
    let first = try #require(forwarded(by: &cluster, [proposal(1)]))
    cluster.inbox = []
    _ = forwarded(by: &cluster, [proposal(2)])
    cluster.settle()
    #expect(cluster.step(1, .received(first, from: NodeID(2))).isEmpty)
    #expect(cluster.applied[0].map(\.payload) == [[], [2]])
  }

  @Test("a node that restarted is heard again, and its earlier messages stay repeated ones")
  func restartedSender() throws {
    var cluster = Cluster(3)
    cluster.elect(1)
    let before = try #require(forwarded(by: &cluster, [proposal(1)]))
    cluster.settle()
    let after = Message.propose(
      Propose(term: Term(1), epoch: 4711, sequence: 1, proposals: [proposal(2)]))
    cluster.step(1, .received(after, from: NodeID(2)))
    cluster.step(1, .received(before, from: NodeID(2)))
    cluster.settle()
    #expect(cluster.applied[0].map(\.payload) == [[], [1], [2]])
  }

  @Test("a message of an earlier term is not appended, for it may have been already")
  func earlierTerm() throws {
    var cluster = Cluster(3)
    cluster.elect(1)
    let message = try #require(forwarded(by: &cluster, [proposal(1)]))
    cluster.inbox = []
    cluster.elect(3)
    cluster.elect(1)
    let last = cluster[1].lastIndex
    #expect(cluster.step(1, .received(message, from: NodeID(2))).isEmpty)
    #expect(cluster[1].lastIndex == last)
  }

  @Test("a refusal for an earlier run of the node is not taken for one of this run")
  func foreignRefusal() {
    var cluster = Cluster(3)
    cluster.elect(1)
    let refused = ProposalsRefused(term: Term(1), epoch: 4711, ids: [1], refusal: .leadershipTransfer)
    #expect(cluster.step(2, .received(.proposalsRefused(refused), from: NodeID(1))).isEmpty)
  }
}
