// Reads that are never stale, and the ways in which they could have been.

import RaftCore
import Testing

@Suite("ReadIndex (dissertation, section 6.4)")
struct ReadIndexTests {
  @Test("a read is ready after a quorum confirmed the leader, at the commit index of its start")
  func readIsConfirmed() {
    var cluster = Cluster(3)
    cluster.elect(1)
    let effects = cluster.step(1, .readIndex(id: 5))
    #expect(effects.readyReads.isEmpty)
    #expect(effects.sent.compactMap(\.heartbeat).count == 2)
    cluster.settle()
    #expect(cluster.effects[0].readyReads == [5])
    #expect(cluster.effects[0].readIndexes == [Index(1)])
  }

  @Test("reads of one step share a round")
  func readsAreBatched() {
    var cluster = Cluster(5)
    cluster.elect(1)
    let effects = cluster.step(1, (0..<100).map { Input.readIndex(id: $0) })
    #expect(effects.sent.count == 4)
    cluster.settle()
    #expect(cluster.effects[0].readyReads == Array(0..<100))
  }

  @Test("rounds under way are bounded, and no read is forgotten")
  func roundsAreBounded() {
    var cluster = Cluster(3, limits: Limits(maxReadRounds: 2))
    cluster.elect(1)
    var heartbeats = 0
    for id in 0..<10 as Range<UInt64> {
      heartbeats += cluster.step(1, .readIndex(id: id)).sent.compactMap(\.heartbeat).count
    }
    #expect(heartbeats == 4)
    cluster.settle()
    #expect(cluster.effects[0].readyReads == Array(0..<10))
  }

  @Test("a new leader answers no read before it has committed in its own term")
  func waitsForCommitInTerm() {
    var cluster = Cluster(3)
    cluster.tick(2, 2 * electionTicks, until: { $0[2].role == .leader })
    #expect(cluster[2].commit == .beforeFirst, "the no-op is on its way")
    let effects = cluster.step(2, .readIndex(id: 1))
    #expect(effects.readyReads.isEmpty && effects.refusedReads.isEmpty)
    #expect(effects.sent.compactMap(\.heartbeat).isEmpty, "no round can begin yet")
    cluster.settle()
    #expect(cluster.effects[1].readyReads == [1])
    #expect(cluster.effects[1].readIndexes == [Index(1)])
  }

  @Test("a leader that was deposed without knowing it answers no read")
  func deposedLeaderDoesNotAnswer() {
    var cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolated = [NodeID(1)]
    cluster.elect(2)
    cluster.step(2, .propose([proposal(1)]))
    cluster.settle()
    cluster.forget()
    cluster.step(1, .readIndex(id: 9))
    cluster.settle()
    #expect(cluster[1].role == .leader)
    #expect(cluster.effects[0].readyReads.isEmpty)
    cluster.isolated = []
    cluster.tickAll(2 * heartbeatTicks)
    #expect(cluster.effects[0].refusedReads == [9])
    #expect(cluster.effects[0].refusals == [.leadershipLost])
    #expect(cluster.effects[0].readyReads.isEmpty)
  }

  @Test("an answer to an earlier round confirms nothing later")
  func contextsAreUnique() {
    var cluster = Cluster(3)
    cluster.elect(1)
    cluster.step(1, .readIndex(id: 1))
    let old = cluster.inbox.compactMap(\.message.heartbeat).first?.readContext ?? 0
    cluster.settle()
    cluster.step(1, .readIndex(id: 2))
    cluster.inbox = []
    let stale = HeartbeatResponse(term: Term(1), readContext: old)
    for peer in [2, 3] as [UInt64] {
      let effects = cluster.step(1, .received(.heartbeatResponse(stale), from: NodeID(peer)))
      #expect(effects.readyReads.isEmpty)
    }
    let fresh = HeartbeatResponse(term: Term(1), readContext: old + 1)
    #expect(cluster.step(1, .received(.heartbeatResponse(fresh), from: NodeID(2))).readyReads == [2])
  }

  @Test("the answer to a heartbeat of an earlier term confirms nothing in this one")
  func contextOfEarlierTerm() {
    var raft = Raft(configuration: configuration(2, of: 3), restored: restored(terms: [], term: 5))
    let late = Heartbeat(term: Term(4), commit: Index(0), readContext: 9)
    let effects = raft.receive(.heartbeat(late), from: 1)
    #expect(effects.sent.compactMap(\.heartbeatResponse) == [HeartbeatResponse(term: Term(5), readContext: 0)])
  }

  @Test("contexts go on rising when a node leads again")
  func contextsRiseOverTerms() {
    var cluster = Cluster(3)
    cluster.elect(1)
    for id in 1...5 as ClosedRange<UInt64> {
      cluster.step(1, .readIndex(id: id))
      cluster.settle()
    }
    cluster.elect(2)
    cluster.elect(1)
    let effects = cluster.step(1, .readIndex(id: 6))
    #expect(effects.sent.compactMap(\.heartbeat?.readContext) == [6, 6])
  }

  @Test("a follower reads by way of the leader")
  func followerReads() {
    var cluster = Cluster(3)
    cluster.elect(1)
    cluster.step(1, .propose([proposal(1)]))
    cluster.settle()
    cluster.step(2, .readIndex(id: 4), .readIndex(id: 5))
    cluster.settle()
    #expect(cluster.effects[1].readyReads == [4, 5])
    #expect(cluster.effects[1].readIndexes == [Index(2)])
    #expect(cluster[1].status.pendingReads == 0)
    #expect(cluster[2].status.pendingReads == 0)
  }

  @Test("a follower whose leader is silent refuses after an election timeout")
  func silentLeader() {
    var cluster = Cluster(3)
    cluster.elect(1)
    cluster.step(2, .readIndex(id: 4))
    cluster.inbox = []
    cluster.tickAll(electionTicks)
    #expect(cluster.effects[1].refusedReads == [4])
    #expect(cluster.effects[1].refusals == [.leaderSilent])
  }

  @Test("a repeated or foreign answer is not taken for one's own")
  func foreignAnswer() {
    var cluster = Cluster(3)
    cluster.elect(1)
    cluster.step(2, .readIndex(id: 4))
    cluster.settle()
    let answer = cluster.delivered.first { if case .readIndexResponse = $0.message { true } else { false } }
    cluster.step(2, .readIndex(id: 5))
    cluster.inbox = []
    if let answer { cluster.step(2, .received(answer.message, from: answer.from)) }
    let other = ReadIndexResponse(term: Term(1), epoch: 12345, sequence: 2, outcome: .ready(index: Index(0)))
    cluster.step(2, .received(.readIndexResponse(other), from: NodeID(1)))
    #expect(answer != nil)
    #expect(cluster.effects[1].readyReads == [4])
  }

  @Test("without a leader a read is refused at once")
  func noLeader() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: .empty)
    let effects = raft.take(.readIndex(id: 3))
    #expect(effects.refusedReads == [3])
    #expect(effects.refusals == [.noLeader])
  }

  @Test("more reads than the limit are refused, and room comes back")
  func readsAreBounded() {
    var cluster = Cluster(3, limits: Limits(maxPendingReads: 10))
    cluster.elect(1)
    let effects = cluster.step(1, (0..<15).map { Input.readIndex(id: $0) })
    #expect(effects.refusedReads == [10, 11, 12, 13, 14])
    #expect(effects.refusals == [.tooManyReads])
    cluster.settle()
    #expect(cluster.effects[0].readyReads.count == 10)
    cluster.forget()
    cluster.step(1, .readIndex(id: 99))
    cluster.settle()
    #expect(cluster.effects[0].readyReads == [99])
  }

  @Test("a single voter answers in the same step")
  func singleVoter() {
    var cluster = Cluster(1)
    cluster.step(1, .readIndex(id: 1))
    #expect(cluster.effects[0].refusedReads == [1])
    cluster.tick(1, 2 * electionTicks)
    #expect(cluster[1].role == .leader)
    let effects = cluster.step(1, .readIndex(id: 2))
    #expect(effects.readyReads == [2])
    #expect(effects.readIndexes == [Index(1)])
  }
}
