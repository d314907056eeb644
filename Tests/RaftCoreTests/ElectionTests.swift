// Who may lead, when, and what must be durable before.

import RaftCore
import Testing

@Suite("Elections (section 5.2)")
struct ElectionTests {
  @Test("a cluster elects exactly one leader and everybody follows it")
  func electsOne() {
    for count in [1, 3, 5, 7] {
      var cluster = Cluster(count)
      cluster.elect(1)
      for id in 1...UInt64(count) {
        #expect(cluster[id].leader == NodeID(1))
        #expect(cluster[id].term == Term(1))
        #expect(cluster[id].role == (id == 1 ? .leader : .follower))
      }
    }
  }

  @Test("a node waits at least an election timeout and less than two")
  func timeoutRange() {
    var seen: Set<Int> = []
    for seed in 0..<200 as Range<UInt64> {
      var raft = Raft(configuration: configuration(1, of: 3, seed: seed), restored: .empty)
      var ticks = 0
      while raft.role == .follower {
        _ = raft.take(.tick)
        ticks += 1
      }
      #expect((electionTicks..<2 * electionTicks).contains(ticks))
      seen.insert(ticks)
    }
    #expect(seen.count == electionTicks, "every wait of the range is drawn")
  }

  @Test("a leader's heartbeats keep followers from standing")
  func heartbeatsKeepFollowers() {
    var cluster = Cluster(3)
    cluster.elect(1)
    cluster.tickAll(10 * electionTicks)
    #expect(cluster[1].role == .leader)
    #expect(cluster[1].term == Term(1))
  }

  @Test("a vote is given once a term")
  func oneVoteATerm() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: .empty)
    let request = RequestVote(
      term: Term(4), lastIndex: Index(0), lastTerm: Term(0), isPreVote: false, isTransfer: false)
    let first = raft.takeDurably(.received(.requestVote(request), from: NodeID(2)))
    let second = raft.takeDurably(.received(.requestVote(request), from: NodeID(3)))
    let again = raft.takeDurably(.received(.requestVote(request), from: NodeID(2)))
    #expect(first.sent.compactMap(\.voteResponse?.isGranted) == [true])
    #expect(second.sent.compactMap(\.voteResponse?.isGranted) == [false])
    #expect(again.sent.compactMap(\.voteResponse?.isGranted) == [true])
  }

  @Test("a restored vote still binds")
  func restoredVoteBinds() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: restored(terms: [], term: 4, votedFor: 3))
    let request = RequestVote(
      term: Term(4), lastIndex: Index(9), lastTerm: Term(3), isPreVote: false, isTransfer: false)
    let effects = raft.takeDurably(.received(.requestVote(request), from: NodeID(2)))
    #expect(effects.sent.compactMap(\.voteResponse?.isGranted) == [false])
  }

  @Test("a vote leaves only after term and vote are durable")
  func voteWaitsForDisk() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: .empty)
    let request = RequestVote(
      term: Term(4), lastIndex: Index(0), lastTerm: Term(0), isPreVote: false, isTransfer: false)
    let before = raft.take(.received(.requestVote(request), from: NodeID(2)))
    #expect(before.sent.isEmpty)
    #expect(before.persists.map(\.hardState) == [HardState(term: Term(4), votedFor: NodeID(2))])
    let after = raft.take(.persisted(sequence: before.persists[0].sequence))
    #expect(after.sent.compactMap(\.voteResponse?.isGranted) == [true])
  }

  @Test("a candidate asks for votes only after its own is durable, and leads only then")
  func candidateWaitsForDisk() {
    var cluster = Cluster(3)
    cluster.slowDisks = [NodeID(1)]
    cluster.tick(1, 2 * electionTicks - 1)
    #expect(cluster[1].role == .candidate)
    #expect(!cluster.delivered.contains { $0.message.vote?.isPreVote == false })
    let granted = VoteResponse(term: Term(1), isPreVote: false, isGranted: true)
    cluster.step(1, .received(.voteResponse(granted), from: NodeID(2)))
    cluster.step(1, .received(.voteResponse(granted), from: NodeID(3)))
    #expect(cluster[1].role == .candidate, "two peers are a quorum, but its own vote is not durable")
    cluster.finishWrites(of: 1)
    #expect(cluster[1].role == .leader)
  }

  @Test("a node that hears of a higher term follows it at once")
  func higherTermWins() {
    var cluster = Cluster(3)
    cluster.elect(1)
    cluster.step(1, .received(append(term: 9, after: 1, 1), from: NodeID(2)))
    #expect(cluster[1].role == .follower)
    #expect(cluster[1].term == Term(9))
    #expect(cluster[1].leader == NodeID(2))
  }

  @Test("a split vote is resolved by another election")
  func splitVote() {
    var cluster = Cluster(3)
    // Everybody stands at the same time and votes for itself.
    let request = RequestVote(term: Term(1), lastIndex: Index(0), lastTerm: Term(0), isPreVote: true, isTransfer: false)
    for id in 1...3 as ClosedRange<UInt64> {
      cluster.isolated = []
      while cluster[id].role == .follower { cluster.step(id, .tick) }
      let peer = NodeID(id % 3 + 1)
      let yes = VoteResponse(term: request.term, isPreVote: true, isGranted: true)
      cluster.step(id, .received(.voteResponse(yes), from: peer))
      #expect(cluster[id].role == .candidate)
    }
    cluster.settle()
    #expect((1...3).allSatisfy { cluster[$0].role == .candidate })
    cluster.tickAll(20 * electionTicks)
    #expect((1...3).filter { cluster[$0].role == .leader }.count == 1)
  }

  @Test("messages of a lower term change nothing, and a stale leader learns of the higher term")
  func lowerTermIsAnswered() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: restored(terms: [], term: 5))
    let effects = raft.receive(append(term: 3, after: 0, 0, [entry(1, term: 3)]), from: 2)
    #expect(raft.lastIndex == .beforeFirst)
    #expect(raft.leader == nil)
    #expect(effects.sent.map(\.term) == [Term(5)])
    let heartbeat = Heartbeat(term: Term(3), commit: Index(0), readContext: 1)
    #expect(raft.receive(.heartbeat(heartbeat), from: 2).sent.map(\.term) == [Term(5)])
  }

  @Test("a stranger gets a vote when no leader is alive: this node's configuration may be the older one")
  func strangersGetVotes() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: .empty)
    let request = RequestVote(
      term: Term(9), lastIndex: Index(9), lastTerm: Term(8), isPreVote: false, isTransfer: false)
    let effects = raft.takeDurably(.received(.requestVote(request), from: NodeID(8)))
    #expect(effects.sent(to: NodeID(8)).compactMap(\.voteResponse?.isGranted) == [true])
    #expect(raft.term == Term(9))
  }

  @Test("a change of role, term or leader is announced once")
  func leadershipIsAnnounced() {
    var cluster = Cluster(3)
    cluster.elect(1)
    let announced = cluster.effects[0].leaderships
    #expect(announced.last == Leadership(role: .leader, term: Term(1), leader: NodeID(1)))
    #expect(zip(announced, announced.dropFirst()).allSatisfy { $0 != $1 })
    cluster.forget()
    cluster.tickAll(50)
    #expect(cluster.effects[0].leaderships.isEmpty)
  }
}
