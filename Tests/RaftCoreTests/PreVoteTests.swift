// Nodes that were cut off must not disturb those that were not.

import RaftCore
import Testing

@Suite("PreVote and CheckQuorum (dissertation, sections 6.2 and 9.6)")
struct PreVoteTests {
  @Test("a node that was cut off comes back without disturbing the leader")
  func returningNodeDoesNotDisturb() {
    var cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolated = [NodeID(3)]
    cluster.tickAll(10 * electionTicks)
    #expect(cluster[3].role == .preCandidate)
    #expect(cluster[3].term == Term(1), "pre-votes do not raise the term")
    cluster.isolated = []
    cluster.tickAll(3 * electionTicks)
    #expect(cluster[1].role == .leader)
    #expect(cluster[1].term == Term(1))
    #expect(cluster[3].leader == NodeID(1))
  }

  @Test("a vote is refused while a leader is alive, and the term stays")
  func voteRefusedWhileLeaderAlive() {
    var cluster = Cluster(3)
    cluster.elect(1)
    let request = RequestVote(
      term: Term(8), lastIndex: Index(9), lastTerm: Term(7), isPreVote: false, isTransfer: false)
    let effects = cluster.step(2, .received(.requestVote(request), from: NodeID(3)))
    #expect(effects.isEmpty)
    #expect(cluster[2].term == Term(1))
    for _ in 0..<electionTicks { cluster.step(2, .tick) }
    cluster.step(2, .received(.requestVote(request), from: NodeID(3)))
    #expect(cluster[2].term == Term(8), "after an election timeout without a leader votes are given again")
  }

  @Test("a leader that nobody answers steps down within two election timeouts")
  func checkQuorum() {
    var cluster = Cluster(5)
    cluster.elect(1)
    cluster.isolated = [NodeID(1)]
    cluster.tick(1, 2 * electionTicks)
    #expect(cluster[1].role != .leader)
    #expect(cluster[1].leader == nil)
  }

  @Test("a leader that a quorum answers stays, whoever else is gone")
  func minorityLossIsHarmless() {
    var cluster = Cluster(5)
    cluster.elect(1)
    cluster.isolated = [NodeID(4), NodeID(5)]
    cluster.tickAll(10 * electionTicks)
    #expect(cluster[1].role == .leader)
  }

  @Test("a pre-vote is answered without a write")
  func preVoteWritesNothing() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: .empty)
    let request = RequestVote(term: Term(1), lastIndex: Index(0), lastTerm: Term(0), isPreVote: true, isTransfer: false)
    let effects = raft.receive(.requestVote(request), from: 2)
    #expect(effects.persists.isEmpty)
    #expect(effects.sent.compactMap(\.voteResponse?.isGranted) == [true])
    #expect(raft.term == Term(0))
  }

  @Test("a pre-vote is refused to a log that is behind, and for a term that is not ahead")
  func preVoteConditions() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: restored(terms: [1, 2, 2]))
    func ask(_ term: UInt64, _ lastIndex: UInt64, _ lastTerm: UInt64) -> [Bool] {
      let request = RequestVote(
        term: Term(term), lastIndex: Index(lastIndex), lastTerm: Term(lastTerm), isPreVote: true, isTransfer: false)
      return raft.receive(.requestVote(request), from: 2).sent.compactMap(\.voteResponse?.isGranted)
    }
    #expect(ask(3, 2, 2) == [false])
    #expect(ask(3, 9, 1) == [false])
    #expect(ask(2, 3, 2) == [false])
    #expect(ask(3, 3, 2) == [true])
  }

  @Test("a candidate of a higher term that cannot win does not freeze the cluster")
  func strandedCandidateIsFreed() {
    var cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolated = [NodeID(3)]
    // Node 3 was given a higher term before it was cut off.
    cluster.step(3, .received(append(term: 6, after: 0, 0), from: NodeID(2)))
    cluster.tickAll(3 * electionTicks)
    cluster.isolated = []
    cluster.tickAll(10 * electionTicks)
    let leaders = (1...3).filter { cluster[$0].role == .leader }
    #expect(leaders.count == 1)
    #expect((1...3).allSatisfy { cluster[$0].term > Term(6) || cluster[$0].term == cluster[leaders[0]].term })
  }
}
