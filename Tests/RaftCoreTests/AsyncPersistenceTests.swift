// What may leave before the disk is done, and what must not.

import RaftCore
import Testing

@Suite("Asynchronous persistence (dissertation, section 10.2.1)")
struct AsyncPersistenceTests {
  @Test("a leader sends entries while its own disk writes them")
  func sendsBeforeOwnDisk() {
    var cluster = Cluster(3)
    cluster.elect(1)
    let effects = cluster.step(1, .propose([proposal(1)]))
    #expect(effects.persists.map(\.entries.count) == [1])
    #expect(effects.sent.compactMap(\.append?.entries.count) == [1, 1])
  }

  @Test("a leader commits on its followers' disks before its own is done")
  func commitsBeforeOwnDisk() {
    var cluster = Cluster(3)
    cluster.elect(1)
    cluster.slowDisks = [NodeID(1)]
    cluster.step(1, .propose([proposal(1)]))
    cluster.settle()
    #expect(cluster[1].commit == Index(2))
    #expect(cluster[1].durableIndex == Index(1))
  }

  @Test("a leader does not count itself before its own disk is done")
  func doesNotCountItselfEarly() {
    var cluster = Cluster(3)
    cluster.elect(1)
    cluster.slowDisks = [NodeID(1), NodeID(3)]
    cluster.step(1, .propose([proposal(1)]))
    cluster.settle()
    #expect(cluster[1].commit == Index(1), "only one of three has it on disk")
    cluster.finishWrites(of: 1)
    #expect(cluster[1].commit == Index(2))
  }

  @Test("a follower acknowledges what is durable and no more")
  func acknowledgesDurable() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: restored(terms: [], term: 1))
    let first = raft.receive(append(term: 1, after: 0, 0, [entry(1, term: 1)]), from: 2)
    let second = raft.receive(append(term: 1, after: 1, 1, [entry(2, term: 1)]), from: 2)
    #expect(first.sent.isEmpty && second.sent.isEmpty)
    let done = raft.take(.persisted(sequence: first.persists[0].sequence))
    #expect(done.sent.map(\.appendResponse?.outcome) == [.matched(through: Index(1))])
    let all = raft.take(.persisted(sequence: second.persists[0].sequence))
    #expect(all.sent.map(\.appendResponse?.outcome) == [.matched(through: Index(2))])
  }

  @Test("one report of the disk answers all appends that it covers with one message")
  func acknowledgementsAreCoalesced() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: restored(terms: [], term: 1))
    var last: UInt64 = 0
    for index in 1...10 as ClosedRange<UInt64> {
      let previousTerm: UInt64 = index == 1 ? 0 : 1
      let effects = raft.receive(append(term: 1, after: index - 1, previousTerm, [entry(index, term: 1)]), from: 2)
      last = effects.persists[0].sequence
    }
    let done = raft.take(.persisted(sequence: last))
    #expect(done.sent.map(\.appendResponse?.outcome) == [.matched(through: Index(10))])
  }

  @Test("a late report never acknowledges entries that were replaced since (ABA)")
  func lateReportAfterTruncation() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: restored(terms: [1], term: 1))
    // Entries 2 and 3 of term 1 are being written when the leader of term 2 replaces them.
    let old = raft.receive(append(term: 1, after: 1, 1, [entry(2, term: 1), entry(3, term: 1)]), from: 2)
    let new = raft.receive(append(term: 2, after: 1, 1, [entry(2, term: 2), entry(3, term: 2)]), from: 3)
    #expect(new.persists.map(\.removeFrom) == [Index(2)])
    let late = raft.take(.persisted(sequence: old.persists[0].sequence))
    #expect(late.sent.allSatisfy { $0.appendResponse?.outcome != .matched(through: Index(3)) })
    #expect(raft.durableIndex == Index(1))
    let done = raft.take(.persisted(sequence: new.persists[0].sequence))
    #expect(done.sent.map(\.appendResponse?.outcome) == [.matched(through: Index(3))])
  }

  @Test("entries that come back after they were replaced need their own write (ABA, twice)")
  func sameEntriesAgain() {
    var raft = Raft(configuration: configuration(1, of: 5), restored: restored(terms: [1], term: 1))
    let original = [entry(2, term: 1), entry(3, term: 1)]
    let first = raft.receive(append(term: 1, after: 1, 1, original), from: 2)
    let second = raft.receive(append(term: 2, after: 1, 1, [entry(2, term: 2)]), from: 3)
    // A leader of term 3 holds the entries of term 1 and sends them again.
    let third = raft.receive(append(term: 3, after: 1, 1, original), from: 4)
    _ = raft.take(.persisted(sequence: first.persists[0].sequence))
    #expect(raft.durableIndex == Index(1), "that write was undone by the second one")
    _ = raft.take(.persisted(sequence: second.persists[0].sequence))
    #expect(raft.durableIndex == Index(1))
    let done = raft.take(.persisted(sequence: third.persists[0].sequence))
    #expect(done.sent.map(\.appendResponse?.outcome) == [.matched(through: Index(3))])
  }

  @Test("an acknowledgement that a former leader waited for is not sent to the next one as if it had asked")
  func acknowledgementIsForThisTerm() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: restored(terms: [1], term: 1))
    let old = raft.receive(append(term: 1, after: 1, 1, [entry(2, term: 1)]), from: 2)
    let heartbeat = Heartbeat(term: Term(2), commit: Index(0), readContext: 0)
    let new = raft.receive(.heartbeat(heartbeat), from: 3)
    let done = raft.take(.persisted(sequence: old.persists[0].sequence))
    #expect(done.sent.compactMap(\.appendResponse).isEmpty)
    let later = raft.take(.persisted(sequence: new.persists[0].sequence))
    #expect(later.sent.compactMap(\.appendResponse).isEmpty, "nothing is verified against the new leader yet")
    #expect(later.sent.compactMap(\.heartbeatResponse).count == 1)
  }

  @Test("the term is written no later than the entries of that term")
  func termBeforeEntries() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: .empty)
    let effects = raft.receive(append(term: 4, after: 0, 0, [entry(1, term: 4)]), from: 2)
    #expect(effects.persists.map(\.hardState?.term) == [Term(4)])
    #expect(effects.persists.map(\.entries.count) == [1])
  }

  @Test("writes are numbered one by one, and a step makes at most one")
  func writesAreNumbered() {
    var cluster = Cluster(3)
    cluster.elect(1)
    for id in 1...5 as ClosedRange<UInt64> { cluster.step(1, .propose([proposal(id)]), .propose([proposal(id + 9)])) }
    let sequences = cluster.effects[0].persists.map(\.sequence)
    #expect(sequences == Array(1...UInt64(sequences.count)))
    #expect(cluster.effects[0].persists.suffix(5).allSatisfy { $0.entries.count == 2 })
  }

  @Test("appending and truncating in one step makes one write of what is left")
  func coalescedTruncation() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: restored(terms: [1, 1], term: 1))
    let effects = raft.step(
      [
        .received(append(term: 1, after: 2, 1, [entry(3, term: 1), entry(4, term: 1)]), from: NodeID(2)),
        .received(append(term: 2, after: 1, 1, [entry(2, term: 2)]), from: NodeID(3)),
        .received(append(term: 2, after: 2, 2, [entry(3, term: 2)]), from: NodeID(3)),
      ], clockMilliseconds: 0)
    #expect(effects.persists.count == 1)
    #expect(effects.persists.map(\.removeFrom) == [Index(2)])
    #expect(effects.persists.first?.entries.map(\.term) == [Term(2), Term(2)])
  }

  @Test("what was never handed to the disk is not asked to be removed from it")
  func unwrittenEntriesNeedNoRemoval() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: restored(terms: [1], term: 1))
    let effects = raft.step(
      [
        .received(append(term: 1, after: 1, 1, [entry(2, term: 1)]), from: NodeID(2)),
        .received(append(term: 2, after: 1, 1, [entry(2, term: 2)]), from: NodeID(3)),
      ], clockMilliseconds: 0)
    #expect(effects.persists.map(\.removeFrom) == [nil])
    #expect(effects.persists.first?.entries.map(\.term) == [Term(2)])
  }

  @Test("while a disk hangs no more than the newest answer to a peer is held")
  func heldAnswersAreBounded() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: .empty)
    var sequence: UInt64 = 0
    for context in 1...100 as ClosedRange<UInt64> {
      let heartbeat = Heartbeat(term: Term(2), commit: Index(0), readContext: context)
      let effects = raft.receive(.heartbeat(heartbeat), from: 2)
      #expect(effects.sent.isEmpty)
      if let write = effects.persists.first { sequence = write.sequence }
    }
    let done = raft.take(.persisted(sequence: sequence))
    #expect(done.sent.compactMap(\.heartbeatResponse?.readContext) == [100])
  }

  @Test("a candidate whose vote is still being written does not stand again")
  func candidateWaits() {
    var raft = Raft(configuration: configuration(1, of: 1), restored: .empty)
    let effects = raft.tick(20 * electionTicks)
    #expect(effects.persists.count == 1)
    #expect(raft.term == Term(1))
    _ = raft.take(.persisted(sequence: 1))
    #expect(raft.role == .leader)
  }
}
