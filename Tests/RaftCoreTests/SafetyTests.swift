// The arguments of section 5.4, each as an example.

import RaftCore
import Testing

@Suite("Safety (section 5.4)")
struct SafetyTests {
  @Test("a vote is refused to a log that is behind (5.4.1)")
  func upToDate() {
    func vote(_ lastIndex: UInt64, _ lastTerm: UInt64) -> Bool? {
      var raft = Raft(configuration: configuration(1, of: 3), restored: restored(terms: [1, 2, 2]))
      let request = RequestVote(
        term: Term(5), lastIndex: Index(lastIndex), lastTerm: Term(lastTerm), isPreVote: false, isTransfer: false)
      let effects = raft.takeDurably(.received(.requestVote(request), from: NodeID(2)))
      return effects.sent.first?.voteResponse?.isGranted
    }
    #expect(vote(3, 2) == true)
    #expect(vote(4, 2) == true)
    #expect(vote(1, 3) == true, "a later term wins over a longer log")
    #expect(vote(2, 2) == false)
    #expect(vote(9, 1) == false)
  }

  @Test("an entry of an earlier term is not committed by counting its copies (figure 8)")
  func figureEight() {
    // Node 1 leads again, in term 4, with entry 2 of term 2 and its own no-op as entry 3.
    var leader = Raft(configuration: configuration(1, of: 5), restored: restored(terms: [1, 2], term: 3))
    _ = leader.tick(2 * electionTicks)
    let yes = { (term: UInt64, isPreVote: Bool) in
      Message.voteResponse(VoteResponse(term: Term(term), isPreVote: isPreVote, isGranted: true))
    }
    _ = leader.takeDurably(.received(yes(4, true), from: NodeID(2)))
    _ = leader.takeDurably(.received(yes(4, true), from: NodeID(3)))
    _ = leader.takeDurably(.received(yes(4, false), from: NodeID(2)))
    _ = leader.takeDurably(.received(yes(4, false), from: NodeID(3)))
    #expect(leader.role == .leader)
    let two = Message.appendResponse(AppendResponse(term: Term(4), outcome: .matched(through: Index(2))))
    #expect(leader.receive(two, from: 2).commits.isEmpty)
    #expect(leader.receive(two, from: 3).commits.isEmpty, "three of five hold entry 2, but it is of term 2")
    let three = Message.appendResponse(AppendResponse(term: Term(4), outcome: .matched(through: Index(3))))
    #expect(leader.receive(three, from: 2).commits.isEmpty)
    #expect(leader.receive(three, from: 3).commits == [Index(3)], "its own term's entry commits all before it")
  }

  @Test(
    "the commit index is the newest that a quorum holds",
    arguments: [
      ([5, 5, 1, 1], 5), ([9, 1, 1, 1], 1), ([4, 3, 2, 1], 3), ([9, 9, 9, 9], 9), ([9, 0, 0, 0], 0),
    ] as [([UInt64], UInt64)])
  func quorumOfFive(matched: [UInt64], expected: UInt64) {
    var cluster = Cluster(5)
    cluster.slowDisks = [NodeID(2), NodeID(3), NodeID(4), NodeID(5)]
    cluster.tick(1, 2 * electionTicks)
    for id in 2...5 as ClosedRange<UInt64> { cluster.finishWrites(of: id) }
    cluster.settle()
    #expect(cluster[1].role == .leader)
    cluster.slowDisks = []
    cluster.inbox = []
    cluster.isolated = [NodeID(2), NodeID(3), NodeID(4), NodeID(5)]
    cluster.step(1, .propose((1...9).map { proposal($0) }))
    cluster.settle()
    for (offset, index) in matched.enumerated() where index > 0 {
      let response = AppendResponse(term: cluster[1].term, outcome: .matched(through: Index(index)))
      cluster.step(1, .received(.appendResponse(response), from: NodeID(UInt64(offset) + 2)))
    }
    #expect(cluster[1].commit == Index(expected))
  }

  @Test("a leader has every committed entry, whoever is elected next")
  func leaderCompleteness() {
    var cluster = Cluster(5)
    cluster.elect(1)
    cluster.isolated = [NodeID(4), NodeID(5)]
    for id in 1...5 as ClosedRange<UInt64> { cluster.step(1, .propose([proposal(id)])) }
    cluster.settle()
    #expect(cluster[1].commit == Index(6))
    cluster.isolated = [NodeID(1)]
    // Nodes 4 and 5 lack the entries, so neither can win against 2 and 3.
    cluster.tickAll(20 * electionTicks)
    let leaders = (2...5).filter { cluster[$0].role == .leader }
    #expect(leaders.count == 1)
    #expect([2, 3].contains(leaders[0]))
    #expect((1...4).allSatisfy { cluster.applied[$0].prefix(6) == cluster.applied[0].prefix(6) })
  }

  @Test("entries of a deposed leader that were not committed give way")
  func uncommittedEntriesGiveWay() {
    var cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolated = [NodeID(1)]
    cluster.step(1, .propose([proposal(66)]))
    cluster.settle()
    #expect(cluster[1].lastIndex == Index(2))
    cluster.elect(2)
    cluster.step(2, .propose([proposal(7)]))
    cluster.settle()
    cluster.isolated = []
    cluster.tickAll(4 * heartbeatTicks)
    #expect(cluster[1].role == .follower)
    #expect(cluster.applied[0].map(\.payload) == [[], [], [7]])
    #expect(cluster.applied[0] == cluster.applied[1])
  }
}
