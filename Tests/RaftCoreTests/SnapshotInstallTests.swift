// What a snapshot does to the log of the node that takes it.

import RaftCore
import Testing

@Suite("Installing a snapshot (section 7, figure 13)")
struct SnapshotInstallTests {
  private func description(_ index: UInt64, term: UInt64, voters: UInt64...) -> SnapshotDescription {
    let membership = Membership(voters: voters.isEmpty ? nodes(1, 2, 3) : voters.map { NodeID($0) })
    return SnapshotDescription(
      point: SnapshotPoint(
        index: Index(index), term: Term(term), clockMilliseconds: 1000 + index, membership: membership),
      totalBytes: 4, checksum: UInt32(index))
  }

  private func chunk(_ description: SnapshotDescription, term: UInt64) -> Input {
    let chunk = SnapshotChunk(description: description, offset: 0, bytes: [1, 2, 3, 4])
    return .received(.installSnapshot(InstallSnapshot(term: Term(term), chunk: chunk)), from: NodeID(2))
  }

  /// Stages a snapshot whole, and says that it is ready.
  private func install(_ description: SnapshotDescription, term: UInt64, into raft: inout Raft) -> [Effect] {
    _ = raft.takeDurably(chunk(description, term: term))
    return raft.step(
      [.snapshotStaged(description, through: 4), .snapshotReady(description)], clockMilliseconds: 0)
  }

  @Test("a log that lacks the snapshot's last entry gives way to it")
  func resetsLog() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: restored(terms: [1, 1, 1, 1]))
    let effects = install(description(9, term: 2), term: 3, into: &raft)
    #expect(effects.persists.map(\.base) == [LogBase(index: Index(9), term: Term(2), clockMilliseconds: 1009)])
    #expect(effects.persists.allSatisfy { $0.removeFrom == nil && $0.entries.isEmpty })
    #expect(raft.firstIndex == Index(10) && raft.lastIndex == Index(9) && raft.commit == Index(9))
    #expect(raft.lastClockMilliseconds == 1009, "clocks go on from the snapshot's")
    let more = raft.takeDurably(.received(append(term: 3, after: 9, 2, [entry(10, term: 3)]), from: NodeID(2)))
    #expect(raft.lastIndex == Index(10))
    #expect(more.sent.compactMap(\.appendResponse?.outcome).last == .matched(through: Index(10)))
  }

  @Test("a log with another entry in the snapshot's place gives way too, however long it is")
  func resetsConflictingLog() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: restored(terms: [1, 1, 1, 1]))
    let effects = install(description(3, term: 2), term: 3, into: &raft)
    #expect(effects.persists.map { $0.base?.index } == [Index(3)])
    #expect(raft.lastIndex == Index(3))
  }

  @Test("a log that holds the snapshot's last entry keeps what follows it")
  func keepsSuffix() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: restored(terms: [1, 1, 2, 2]))
    let wanted = description(3, term: 2)
    let effects = install(wanted, term: 3, into: &raft)
    #expect(effects.persists.isEmpty)
    #expect(effects.installs == [wanted], "the state machine takes the snapshot all the same")
    #expect(raft.firstIndex == Index(1) && raft.lastIndex == Index(4) && raft.commit == Index(3))
    #expect(effects.sent.compactMap(\.installResponse?.outcome).last == .installed)
  }

  @Test("the write comes first, then the state machine's turn, then commits beyond")
  func order() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: restored(terms: [1]))
    let wanted = description(9, term: 2)
    _ = raft.takeDurably(chunk(wanted, term: 3))
    let effects = raft.step(
      [
        .snapshotStaged(wanted, through: 4), .snapshotReady(wanted),
        .received(append(term: 3, after: 9, 2, [entry(10, term: 3)], commit: 10), from: NodeID(2)),
      ], clockMilliseconds: 0)
    guard case .persist(let write) = effects.first else { return #expect(Bool(false), "the write comes first") }
    #expect(write.base?.index == Index(9) && write.entries.map(\.index) == [Index(10)])
    guard case .installSnapshot = effects.dropFirst().first else {
      return #expect(Bool(false), "the snapshot comes right behind")
    }
    #expect(effects.commits == [Index(10)])
  }

  @Test("the leader is told only when the log behind the snapshot is durable")
  func acknowledgementWaits() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: restored(terms: [1]))
    let effects = install(description(9, term: 2), term: 3, into: &raft)
    #expect(!effects.sent.contains { $0.installResponse?.outcome == .installed })
    #expect(raft.durableIndex == Index(0), "nothing of the old log was known to be committed")
    let done = raft.take(.persisted(sequence: effects.persists[0].sequence))
    #expect(done.sent.compactMap(\.installResponse?.outcome) == [.installed])
    #expect(raft.durableIndex == Index(9))
  }

  @Test("a write of the former log that is reported late vouches for nothing of the new one (ABA)")
  func lateReportOfFormerLog() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: restored(terms: [1]))
    let old = raft.take(
      .received(append(term: 1, after: 1, 1, (2...20).map { entry($0, term: 1) }), from: NodeID(3)))
    let wanted = description(9, term: 2)
    let staged = raft.take(chunk(wanted, term: 3))
    _ = raft.take(.snapshotStaged(wanted, through: 4))
    let new = raft.take(.snapshotReady(wanted))
    #expect(new.persists.map { $0.base?.index } == [Index(9)])
    let late = raft.take(.persisted(sequence: old.persists[0].sequence))
    #expect(raft.durableIndex == Index(0))
    _ = raft.take(.persisted(sequence: staged.persists[0].sequence))
    #expect(late.sent.isEmpty && raft.durableIndex == Index(0))
    let done = raft.take(.persisted(sequence: new.persists[0].sequence))
    #expect(raft.durableIndex == Index(9))
    #expect(done.sent.compactMap(\.installResponse?.outcome).last == .installed)
  }

  @Test("a snapshot of less than is committed is not staged, and acknowledged when all of that is durable")
  func olderThanCommit() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: restored(terms: [], term: 1))
    let entries = (1...5).map { entry($0, term: 1) }
    let append = raft.take(.received(append(term: 1, after: 0, 0, entries, commit: 5), from: NodeID(2)))
    #expect(raft.commit == Index(5))
    let effects = raft.take(chunk(description(4, term: 1), term: 1))
    #expect(effects.stagedChunks.isEmpty && effects.sent.isEmpty)
    let done = raft.take(.persisted(sequence: append.persists[0].sequence))
    #expect(done.sent.compactMap(\.installResponse?.outcome) == [.installed])
  }

  @Test("a log that catches up while a snapshot is read keeps its state machine")
  func overtaken() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: restored(terms: [], term: 1))
    let wanted = description(4, term: 1)
    _ = raft.takeDurably(chunk(wanted, term: 1))
    _ = raft.take(.snapshotStaged(wanted, through: 4))
    let entries = (1...5).map { entry($0, term: 1) }
    _ = raft.takeDurably(.received(append(term: 1, after: 0, 0, entries, commit: 5), from: NodeID(2)))
    let effects = raft.take(.snapshotReady(wanted))
    #expect(effects.installs.isEmpty && effects.persists.isEmpty)
    #expect(effects.sent.compactMap(\.installResponse?.outcome) == [.installed])
  }

  @Test("reports about a snapshot that was given up change nothing")
  func abandoned() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: restored(terms: [1]))
    let old = description(9, term: 2)
    _ = raft.takeDurably(chunk(old, term: 3))
    _ = raft.takeDurably(chunk(description(12, term: 2), term: 3))
    for report in [.snapshotStaged(old, through: 4), .snapshotReady(old), .snapshotRejected(old)] as [Input] {
      #expect(raft.take(report).isEmpty)
    }
    #expect(raft.commit == Index(0))
  }

  @Test("the configuration becomes the snapshot's, and is announced")
  func membershipOfSnapshot() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: restored(terms: [1]))
    let effects = install(description(9, term: 2, voters: 4, 5), term: 3, into: &raft)
    #expect(effects.memberships.map(\.voters) == [nodes(4, 5)])
    #expect(raft.membership.voters == nodes(4, 5))
    _ = raft.take(.persisted(sequence: effects.persists[0].sequence))
    _ = raft.tick(10 * electionTicks)
    #expect(raft.role == .follower, "it is no member any more")
  }

  @Test("a candidate that installs a snapshot gives up its candidacy: it asked for votes for another log")
  func candidateInstalls() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: restored(terms: [1]))
    let wanted = description(9, term: 2)
    _ = raft.takeDurably(chunk(wanted, term: 3))
    _ = raft.take(.snapshotStaged(wanted, through: 4))
    _ = raft.tick(2 * electionTicks)
    #expect(raft.role == .preCandidate)
    let effects = raft.take(.snapshotReady(wanted))
    #expect(effects.installs == [wanted] && raft.role == .follower && raft.lastIndex == Index(9))
  }

  @Test(
    "chunks beyond their own snapshot's bounds are dropped", arguments: [(5, 1), (1, 4), (.max, 4)] as [(UInt64, Int)])
  func bounds(offset: UInt64, count: Int) {
    var raft = Raft(configuration: configuration(1, of: 3), restored: restored(terms: [1], term: 3))
    let chunk = SnapshotChunk(
      description: description(9, term: 2), offset: offset, bytes: [UInt8](repeating: 0, count: count))
    let effects = raft.take(
      .received(.installSnapshot(InstallSnapshot(term: Term(3), chunk: chunk)), from: NodeID(2)))
    #expect(effects.stagedChunks.isEmpty && effects.sent.isEmpty)
  }

  @Test("a leader of an earlier term that sends a snapshot learns of the later one")
  func staleLeader() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: restored(terms: [1], term: 6))
    let effects = raft.take(chunk(description(9, term: 2), term: 3))
    #expect(effects.sent.map(\.term) == [Term(6)] && effects.stagedChunks.isEmpty)
  }

  @Test("a restart finds the snapshot, its configuration and the terms behind it")
  func restart() {
    let point = description(9, term: 2, voters: 1, 4).point
    let membership = MembershipRecord(membership: Membership(voters: nodes(1, 4, 5)), context: [])
    let entries = [
      entry(10, term: 2),
      Entry(index: Index(11), term: Term(3), clockMilliseconds: 2000, kind: .membership, payload: membership.encoded()),
    ]
    let raft = Raft(
      configuration: configuration(1, of: 3),
      restored: Restored(
        hardState: HardState(term: Term(3), votedFor: nil), firstIndex: Index(10), lastIndex: Index(11),
        termRuns: [TermRun(first: Index(10), term: Term(2)), TermRun(first: Index(11), term: Term(3))], tail: entries,
        lastClockMilliseconds: 2000, snapshot: point, membershipEntries: [entries[1]]))
    #expect(raft.commit == Index(9))
    #expect(raft.membership(at: Index(10)).voters == nodes(1, 4))
    #expect(raft.membership.voters == nodes(1, 4, 5))
    let empty = Raft(
      configuration: configuration(1, of: 3),
      restored: Restored(
        hardState: HardState(term: Term(3), votedFor: nil), firstIndex: Index(10), lastIndex: Index(9), termRuns: [],
        tail: [], lastClockMilliseconds: 0, snapshot: point))
    #expect(empty.commit == Index(9) && empty.lastClockMilliseconds == 1009)
    var voter = empty
    let request = RequestVote(
      term: Term(4), lastIndex: Index(9), lastTerm: Term(1), isPreVote: true, isTransfer: false)
    let answer = voter.receive(.requestVote(request), from: 4).sent
    #expect(answer.compactMap(\.voteResponse?.isGranted) == [false], "it knows the term of the entry before its log")
  }

  @Test("a restart whose log reaches behind the snapshot commits up to it at once")
  func restartWithTrailingEntries() {
    var disk = restored(terms: [1, 1, 2, 2])
    disk.snapshot = description(3, term: 2).point
    let raft = Raft(configuration: configuration(1, of: 3), restored: disk)
    #expect(raft.commit == Index(3) && raft.firstIndex == Index(1))
  }
}
