// The embedded default: a cluster of one does the least possible.

import RaftCore
import Testing

@Suite("A cluster of one")
struct SingleVoterTests {
  @Test("it elects itself when its own vote is durable, and sends nothing to anybody")
  func electsItself() {
    var raft = Raft(configuration: configuration(1, of: 1), restored: .empty)
    let effects = raft.tick(2 * electionTicks)
    #expect(raft.role == .candidate)
    #expect(effects.persists.map(\.hardState) == [HardState(term: Term(1), votedFor: NodeID(1))])
    _ = raft.take(.persisted(sequence: 1))
    #expect(raft.role == .leader)
  }

  @Test("a proposal costs one write, and its report commits it")
  func leastWork() {
    var cluster = Cluster(1)
    cluster.elect(1)
    let proposed = cluster.step(1, .propose([proposal(1)]))
    #expect(proposed.count == 1)
    #expect(proposed.persists.map(\.entries.count) == [1])
    let reported = cluster.step(1, .persisted(sequence: proposed.persists[0].sequence))
    #expect(reported.count == 1)
    #expect(reported.commits == [Index(2)])
  }

  @Test("after a restart everything on its disk is committed once its new no-op is")
  func restart() {
    var cluster = Cluster(1, restored: [restored(terms: [1, 1, 2], votedFor: 1)])
    cluster.elect(1)
    #expect(cluster[1].term == Term(3))
    #expect(cluster[1].commit == Index(4))
    #expect(cluster.applied[0].map(\.term.rawValue) == [1, 1, 2, 3])
  }

  @Test("it stays leader for ever")
  func stays() {
    var cluster = Cluster(1)
    cluster.elect(1)
    cluster.tick(1, 20 * electionTicks)
    #expect(cluster[1].role == .leader)
    #expect(cluster[1].term == Term(1))
  }
}
