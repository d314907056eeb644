// How logs come to agree, from every state in which they can differ.

import RaftCore
import Testing

@Suite("Replication (section 5.3)")
struct ReplicationTests {
  @Test("a proposal is applied by every node in the same place")
  func proposalReachesAll() {
    var cluster = Cluster(3)
    cluster.elect(1)
    cluster.step(1, .propose([proposal(1), proposal(2)]))
    cluster.step(1, .propose([proposal(3)]))
    cluster.settle()
    for id in 0..<3 {
      #expect(cluster.applied[id].map(\.payload) == [[], [1], [2], [3]])
      #expect(cluster.applied[id].map(\.index.rawValue) == [1, 2, 3, 4])
      #expect(cluster.applied[id] == cluster.applied[0])
    }
  }

  @Test("a batch of proposals makes one write and one message a follower")
  func batchesAreCoalesced() {
    var cluster = Cluster(3)
    cluster.elect(1)
    let inputs = (0..<50).map { Input.propose([proposal($0), proposal($0 + 100)]) }
    let effects = cluster.step(1, inputs)
    #expect(effects.persists.map(\.entries.count) == [100])
    #expect(effects.sent(to: NodeID(2)).map { $0.append?.entries.count } == [100])
    #expect(effects.sent(to: NodeID(3)).map { $0.append?.entries.count } == [100])
  }

  @Test("a leader begins its term with a no-op")
  func noOpFirst() {
    var cluster = Cluster(3)
    cluster.elect(1)
    #expect(cluster.applied[1].map(\.kind) == [.noOp])
    #expect(cluster.applied[1].map(\.term) == [Term(1)])
  }

  @Test("an append is refused where the logs differ, with a hint that skips a whole term")
  func conflictHint() {
    // The follower has entries of terms 2 and 3 that the leader of term 6 never saw (figure 7, f).
    let follower = restored(terms: [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3])
    let leader = restored(terms: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6], term: 6)
    var cluster = Cluster(2, restored: [leader, follower])
    cluster.elect(1)
    #expect(cluster[1].term == Term(7))
    #expect(cluster[2].lastIndex == Index(11))
    let conflicts = cluster.delivered.filter {
      if case .conflict = $0.message.appendResponse?.outcome { true } else { false }
    }
    #expect(conflicts.count == 1, "one answer is enough to find the place")
    #expect(cluster.applied[1].map(\.term.rawValue) == [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7])
  }

  @Test(
    "every log of figure 7 is brought to agree with the leader's",
    arguments: [
      [1, 1, 1, 4, 4, 5, 5, 6, 6],
      [1, 1, 1, 4],
      [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
      [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
      [1, 1, 1, 4, 4, 4, 4],
      [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
      [],
    ] as [[UInt64]])
  func figureSeven(terms: [UInt64]) {
    let leading = restored(terms: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6], term: 7)
    // A second follower agrees already, so that the leader has its quorum whatever the first one's log is.
    var cluster = Cluster(3, restored: [leading, restored(terms: terms, term: 7), leading])
    cluster.elect(1)
    #expect(cluster.applied[1] == cluster.applied[0])
    #expect(cluster.applied[1].count == 11)
    #expect(cluster[2].lastIndex == cluster[1].lastIndex)
  }

  @Test("an old, shorter append removes nothing")
  func staleAppendKeepsEntries() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: .empty)
    let entries = (1...5).map { entry($0, term: 1) }
    _ = raft.takeDurably(.received(append(term: 1, after: 0, 0, entries), from: NodeID(2)))
    let effects = raft.takeDurably(.received(append(term: 1, after: 0, 0, Array(entries[0..<2])), from: NodeID(2)))
    #expect(raft.lastIndex == Index(5))
    #expect(effects.persists.isEmpty)
    #expect(effects.sent.map(\.appendResponse?.outcome) == [.matched(through: Index(5))])
  }

  @Test("only what conflicts is removed")
  func truncatesOnlyOnConflict() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: restored(terms: [1, 1, 2, 2]))
    let effects = raft.receive(append(term: 3, after: 1, 1, [entry(2, term: 1), entry(3, term: 3)]), from: 2)
    #expect(effects.persists.map(\.removeFrom) == [Index(3)])
    #expect(effects.persists.map { $0.entries.map(\.index) } == [[Index(3)]])
    #expect(raft.lastIndex == Index(3))
  }

  @Test("followers hear of a higher commit index in the same step in which the leader does")
  func commitIsTold() {
    var cluster = Cluster(3)
    cluster.elect(1)
    cluster.forget()
    cluster.step(1, .propose([proposal(1)]))
    cluster.settle()
    #expect(cluster[2].commit == Index(2))
    #expect(cluster[3].commit == Index(2), "without a tick")
    // With something to send, the commit index travels with it.
    cluster.step(1, .propose([proposal(2)]))
    cluster.inbox = []
    cluster.finishWrites(of: 1)
    let response = AppendResponse(term: Term(1), outcome: .matched(through: Index(3)))
    let effects = cluster.step(
      1, .received(.appendResponse(response), from: NodeID(2)), .propose([proposal(3)]))
    #expect(effects.commits == [Index(3)])
    #expect(effects.sent(to: NodeID(2)).map { $0.append?.commit } == [Index(3)])
    #expect(effects.sent(to: NodeID(2)).compactMap(\.commitAdvanced).isEmpty)
  }

  @Test("a follower commits no further than it has verified against this term's leader")
  func commitStopsAtVerified() {
    // Entry 2 is left over from a deposed leader. The new leader has committed another one there.
    var raft = Raft(configuration: configuration(1, of: 3), restored: restored(terms: [1, 2]))
    let advanced = CommitAdvanced(term: Term(3), commit: Index(2))
    #expect(raft.takeDurably(.received(.commitAdvanced(advanced), from: NodeID(2))).commits.isEmpty)
    let agreed = raft.takeDurably(.received(append(term: 3, after: 1, 1), from: NodeID(2)))
    #expect(agreed.commits == [Index(1)])
    let replaced = raft.takeDurably(.received(append(term: 3, after: 1, 1, [entry(2, term: 3)]), from: NodeID(2)))
    #expect(replaced.commits == [Index(2)])
  }

  @Test("a heartbeat names no commit index beyond what the follower acknowledged")
  func heartbeatCommit() {
    var cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolated = [NodeID(3)]
    cluster.step(1, .propose([proposal(1)]))
    cluster.settle()
    let effects = cluster.step(1, .readIndex(id: 1))
    #expect(effects.sent(to: NodeID(2)).map(\.heartbeat?.commit) == [Index(2)])
    #expect(effects.sent(to: NodeID(3)).map(\.heartbeat?.commit) == [Index(1)])
  }

  @Test("a follower that restarts with a complete log learns the commit index from a heartbeat alone")
  func restartInTheSameTerm() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: restored(terms: [1, 1, 1], votedFor: 2))
    let heartbeat = Heartbeat(term: Term(1), commit: Index(3), readContext: 0)
    #expect(raft.take(.received(.heartbeat(heartbeat), from: NodeID(2))).commits == [Index(3)])
  }

  @Test("a follower catches up after it was cut off, even when messages were lost")
  func catchesUp() {
    var cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolated = [NodeID(3)]
    for id in 1...20 as ClosedRange<UInt64> {
      cluster.step(1, .propose([proposal(id)]))
      cluster.settle()
    }
    #expect(cluster.applied[2].count == 1)
    cluster.isolated = []
    cluster.tickAll(3 * heartbeatTicks)
    #expect(cluster.applied[2] == cluster.applied[0])
    #expect(cluster.applied[2].count == 21)
  }

  @Test("one lost message at the end is noticed by the heartbeats")
  func lostTailIsNoticed() {
    var cluster = Cluster(3)
    cluster.elect(1)
    cluster.step(1, .propose([proposal(1)]))
    cluster.inbox = []
    cluster.tickAll(4 * heartbeatTicks)
    #expect(cluster.applied.map(\.count) == [2, 2, 2])
  }

  @Test("entry clocks never fall, whatever the driver's clock does")
  func clocksRise() {
    var cluster = Cluster(3)
    cluster.clockMilliseconds = 500
    cluster.elect(1)
    cluster.clockMilliseconds = 100
    cluster.step(1, .propose([proposal(1)]))
    cluster.settle()
    cluster.elect(2)
    cluster.step(2, .propose([proposal(2)]))
    cluster.clockMilliseconds = 900
    cluster.step(2, .propose([proposal(3)]))
    cluster.settle()
    #expect(cluster.applied[0].map(\.clockMilliseconds) == [500, 500, 500, 500, 900])
    #expect(cluster[3].lastClockMilliseconds == 900)
  }
}
