// Nodes whose disk lost entries, and nodes whose disk is full.

import RaftCore
import Testing

@Suite("A damaged log (Protocol-Aware Recovery)")
struct DamageTests {
  private func damaged(terms: [UInt64], lost: ClosedRange<UInt64>, term: UInt64) -> Restored {
    var disk = restored(terms: terms, term: term)
    disk.damage = Damage(Loss(first: Index(lost.lowerBound), last: Index(lost.upperBound), term: Term(term)))
    return disk
  }

  @Test("an impaired node grants neither votes nor pre-votes, and does not stand")
  func neitherVotesNorStands() {
    var raft = Raft(
      configuration: configuration(1, of: 3), restored: damaged(terms: [1, 1], lost: 3...5, term: 1))
    _ = raft.tick(10 * electionTicks)
    #expect(raft.role == .follower && raft.term == Term(1) && raft.status.isImpaired)
    for isPreVote in [true, false] {
      let request = RequestVote(
        term: Term(4), lastIndex: Index(90), lastTerm: Term(3), isPreVote: isPreVote, isTransfer: false)
      let effects = raft.takeDurably(.received(.requestVote(request), from: NodeID(2)))
      #expect(effects.sent.compactMap(\.voteResponse?.isGranted) == [false])
    }
  }

  @Test("a lone voter with a damaged log never leads")
  func loneVoter() {
    var raft = Raft(configuration: configuration(1, of: 1), restored: damaged(terms: [1, 1], lost: 3...3, term: 1))
    _ = raft.tick(10 * electionTicks)
    #expect(raft.role == .follower && raft.leader == nil)
  }

  @Test("an impaired node does not stand when its leader tells it to")
  func transfer() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: damaged(terms: [1], lost: 2...3, term: 1))
    _ = raft.takeDurably(.received(append(term: 1, after: 1, 1), from: NodeID(2)))
    _ = raft.take(.received(.timeoutNow(TimeoutNow(term: Term(1))), from: NodeID(2)))
    #expect(raft.role == .follower)
  }

  @Test("it is whole again when its durable log reaches what was lost")
  func reachesLost() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: damaged(terms: [1], lost: 2...3, term: 2))
    let first = raft.takeDurably(.received(append(term: 2, after: 1, 1, [entry(2, term: 1)]), from: NodeID(2)))
    #expect(!first.isRepaired)
    let second = raft.take(.received(append(term: 2, after: 2, 1, [entry(3, term: 1)]), from: NodeID(2)))
    #expect(!second.isRepaired, "not before its disk has it")
    let done = raft.take(.persisted(sequence: second.persists[0].sequence))
    #expect(done.isRepaired && done.persists.map(\.isRepaired) == [true])
    #expect(!raft.status.isImpaired)
    #expect(!raft.take(.tick).isRepaired)
    _ = raft.tick(2 * electionTicks)
    #expect(raft.role == .preCandidate, "it takes part again")
  }

  @Test("it is whole again when it holds an entry of a later term than the damage")
  func laterTerm() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: damaged(terms: [1], lost: 2...9, term: 2))
    let same = raft.takeDurably(.received(append(term: 2, after: 1, 1, [entry(2, term: 2)]), from: NodeID(2)))
    #expect(!same.isRepaired)
    let later = raft.takeDurably(.received(append(term: 3, after: 2, 2, [entry(3, term: 3)]), from: NodeID(3)))
    #expect(later.isRepaired)
  }

  @Test("two losses end one by one: the older by its term, the newer by its length")
  func twoLosses() {
    var disk = restored(terms: [1], term: 2)
    disk.damage = Damage([
      Loss(first: Index(2), last: Index(9), term: Term(1)), Loss(first: Index(2), last: Index(3), term: Term(2)),
    ])
    var raft = Raft(configuration: configuration(1, of: 3), restored: disk)
    let older = raft.takeDurably(.received(append(term: 2, after: 1, 1, [entry(2, term: 2)]), from: NodeID(2)))
    #expect(!older.isRepaired)
    let newer = raft.takeDurably(.received(append(term: 2, after: 2, 2, [entry(3, term: 2)]), from: NodeID(2)))
    #expect(newer.isRepaired)
  }

  @Test("of two losses the one that is over no later than the other is not kept")
  func joining() {
    var damage = Damage(Loss(first: Index(5), last: Index(9), term: Term(3)))
    damage.add(Loss(first: Index(2), last: Index(7), term: Term(3)))
    #expect(damage.losses == [Loss(first: Index(2), last: Index(9), term: Term(3))])
    damage.add(Loss(first: Index(4), last: Index(9), term: Term(4)))
    #expect(damage.losses == [Loss(first: Index(2), last: Index(9), term: Term(4))])
    for round in 1...40 as ClosedRange<UInt64> {
      damage.add(Loss(first: Index(50 - round), last: Index(60 - round), term: Term(4 + round)))
      #expect(damage.losses.count <= Damage.mostLosses && Damage(damage.losses) == damage)
    }
    #expect(damage.firstLost == Index(2) && damage.lastLost == Index(59))
  }

  @Test("what a leader has not verified counts for nothing")
  func unverified() {
    // The log still holds an entry of term 3 beyond the lost ones' first index, but no leader has spoken for it.
    var disk = restored(terms: [1, 1, 3], term: 3)
    disk.damage = Damage(Loss(first: Index(2), last: Index(9), term: Term(2)))
    var raft = Raft(configuration: configuration(1, of: 3), restored: disk)
    _ = raft.takeDurably(.received(append(term: 4, after: 1, 1), from: NodeID(2)))
    #expect(raft.status.isImpaired)
    _ = raft.takeDurably(.received(append(term: 4, after: 3, 3), from: NodeID(2)))
    #expect(!raft.status.isImpaired)
  }

  @Test("a snapshot beyond what was lost repairs it too")
  func snapshot() {
    var cluster = Cluster(
      voters: 3, limits: Limits(trailingEntries: 0, maxCompactionHoldTicks: 0))
    cluster.elect(1)
    cluster.propose(1, 1...9)
    cluster.takeSnapshot(1)
    cluster.disks[2].entries = []
    cluster.disks[2].damage = Damage(Loss(first: Index(1), last: Index(10), term: Term(1)))
    cluster.restart(3)
    #expect(cluster[3].status.isImpaired)
    cluster.step(1, .unreachable(NodeID(3)))
    cluster.tickAll(6 * heartbeatTicks)
    #expect(!cluster[3].status.isImpaired)
    #expect(cluster.disks[2].damage == nil)
    #expect(cluster.applied[2] == cluster.applied[0])
  }

  @Test("a leader that has an acknowledgement of lost entries sends them again", arguments: [true, false])
  func leaderSendsAgain(isNoticed: Bool) {
    var cluster = Cluster(voters: 3)
    cluster.elect(1)
    cluster.propose(1, 1...9)
    cluster.disks[2].entries.removeAll { $0.index > Index(4) }
    cluster.disks[2].damage = Damage(Loss(first: Index(5), last: Index(10), term: Term(1)))
    cluster.restart(3)
    if isNoticed { cluster.step(1, .unreachable(NodeID(3))) }
    cluster.tickAll(6 * heartbeatTicks)
    #expect(!cluster[3].status.isImpaired, "without a new entry and without a new leader")
    #expect(cluster[3].lastIndex == cluster[1].lastIndex)
    cluster.propose(1, 10...10)
    #expect(cluster.applied[2] == cluster.applied[0])
  }

  @Test("it asks a quiet leader for the entries by which it outgrows a loss that was never committed")
  func asksQuietLeader() {
    var cluster = Cluster(voters: 3)
    cluster.elect(1)
    cluster.propose(1, 1...9)
    cluster.disks[2].damage = Damage(Loss(first: Index(5), last: Index(200), term: Term(1)))
    cluster.disks[2].entries.removeAll { $0.index > Index(4) }
    cluster.restart(3)
    cluster.step(1, .unreachable(NodeID(3)))
    cluster.tickAll(6 * electionTicks)
    #expect(!cluster[3].status.isImpaired && cluster.disks[2].damage == nil)
    #expect(cluster[1].term == Term(1) && cluster[1].lastIndex == Index(200), "as many as it takes, and no more")
    #expect(cluster.applied[2].suffix(190).allSatisfy { $0.kind == .noOp })
  }

  @Test("it asks for nothing while its log is not whole, where too much is missing, and without a leader")
  func asksInVain() {
    func asked(lost: ClosedRange<UInt64>, leaderEnds: Index?) -> Bool {
      var raft = Raft(configuration: configuration(1, of: 3), restored: damaged(terms: [1, 1], lost: lost, term: 1))
      if let leaderEnds {
        _ = raft.takeDurably(.received(append(term: 1, after: leaderEnds.rawValue, 1), from: NodeID(2)))
      }
      let heartbeat = Heartbeat(term: Term(1), commit: Index(0), readContext: 0)
      var sent: [Message] = []
      for _ in 0..<(2 * electionTicks) {
        if leaderEnds != nil { _ = raft.take(.received(.heartbeat(heartbeat), from: NodeID(2))) }
        sent += raft.take(.tick).sent
      }
      return sent.contains { if case .propose = $0 { true } else { false } }
    }
    #expect(asked(lost: 3...5, leaderEnds: Index(2)))
    #expect(!asked(lost: 3...5, leaderEnds: Index(1)), "the leader has spoken for one entry of two")
    #expect(!asked(lost: 3...9999, leaderEnds: Index(2)))
    #expect(!asked(lost: 3...5, leaderEnds: nil))
  }

  @Test("a leader lets nothing grow for a node that has yet to get what is there", arguments: [true, false])
  func growsOnlyForWhole(isWhole: Bool) {
    var cluster = Cluster(voters: 3)
    cluster.elect(1)
    if !isWhole { cluster.isolated = [NodeID(3)] }
    cluster.propose(1, 1...9)
    let before = cluster[1].lastIndex
    let ask = Propose(term: Term(1), epoch: 1, sequence: 1, proposals: [Proposal(id: 0, kind: .noOp, payload: [])])
    cluster.step(1, .received(.propose(ask), from: NodeID(3)))
    #expect(cluster[1].lastIndex == (isWhole ? before.next : before))
  }

  @Test("a leader that cannot append what an impaired node asks for says nothing")
  func asksFullLeader() {
    var cluster = Cluster(voters: 3)
    cluster.elect(1)
    cluster.step(1, .storage(isWritable: false))
    cluster.forget()
    let ask = Propose(term: Term(1), epoch: 1, sequence: 1, proposals: [Proposal(id: 0, kind: .noOp, payload: [])])
    let effects = cluster.step(1, .received(.propose(ask), from: NodeID(3)))
    #expect(!effects.contains { if case .send(.proposalsRefused, _) = $0 { true } else { false } })
    let own = Propose(term: Term(1), epoch: 1, sequence: 2, proposals: [Proposal(id: 7, payload: [1])])
    let answered = cluster.step(1, .received(.propose(own), from: NodeID(3)))
    #expect(answered.contains { if case .send(.proposalsRefused, _) = $0 { true } else { false } })
  }

  @Test("a majority of impaired nodes elects nobody")
  func majorityImpaired() {
    var cluster = Cluster(voters: 3)
    cluster.elect(1)
    cluster.propose(1, 1...9)
    for id in [2, 3] as [UInt64] {
      cluster.disks[Int(id) - 1].entries.removeAll { $0.index > Index(4) }
      cluster.disks[Int(id) - 1].damage = Damage(Loss(first: Index(5), last: Index(10), term: Term(1)))
      cluster.restart(id)
    }
    cluster.isolated = [NodeID(1)]
    cluster.tickAll(10 * electionTicks)
    #expect((1...3).allSatisfy { cluster[$0].role != .leader }, "what node 1 committed would be lost")
    cluster.isolated = []
    cluster.tickAll(10 * electionTicks)
    #expect((1...3).allSatisfy { cluster[$0].role != .leader })
  }
}

@Suite("A full disk")
struct FullDiskTests {
  @Test("a leader refuses proposals, its own and those handed on")
  func leaderRefuses() {
    var cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolated = [NodeID(3)]
    cluster.step(1, .transferLeadership(to: NodeID(3)), .storage(isWritable: false))
    let effects = cluster.step(1, .propose([proposal(1)]))
    #expect(effects.refusals == [.storageFull] && effects.persists.isEmpty)
    cluster.step(2, .propose([proposal(2)]))
    cluster.settle()
    #expect(cluster.effects[1].refusals == [.storageFull])
  }

  @Test("a leader hands over to a follower that has everything")
  func leaderHandsOver() {
    var cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolated = [NodeID(2)]
    cluster.step(1, .propose([proposal(1)]))
    cluster.settle()
    cluster.step(1, .storage(isWritable: false))
    cluster.settle()
    #expect(cluster[3].role == .leader, "node 2 is behind")
    cluster.tick(1, 4 * electionTicks)
    #expect(cluster[1].role == .follower)
  }

  @Test("a leader that nobody relieves steps down, and does not stand again until there is room")
  func leaderStepsDown() {
    var cluster = Cluster(3)
    cluster.elect(1)
    cluster.step(1, .storage(isWritable: false))
    cluster.inbox = []
    cluster.isolated = [NodeID(2), NodeID(3)]
    cluster.tick(1, 2 * electionTicks)
    #expect(cluster[1].role == .follower && cluster[1].leader == nil)
    let term = cluster[1].term
    cluster.tick(1, 6 * electionTicks)
    #expect(cluster[1].role == .follower && cluster[1].term == term)
    cluster.step(1, .storage(isWritable: true))
    cluster.tick(1, 2 * electionTicks)
    #expect(cluster[1].role == .preCandidate)
  }

  @Test("a lone voter goes on leading for its readers and takes proposals again when there is room")
  func loneVoter() {
    var cluster = Cluster(1)
    cluster.elect(1)
    cluster.step(1, .storage(isWritable: false))
    cluster.settle()
    let effects = cluster.step(1, .propose([proposal(1)]), .readIndex(id: 4))
    #expect(cluster[1].role == .leader && effects.refusals == [.storageFull] && effects.readyReads == [4])
    cluster.step(1, .storage(isWritable: true), .propose([proposal(2)]))
    cluster.settle()
    #expect(cluster.applied[0].last?.payload == [2])
  }

  @Test("a lone voter that starts with a full disk leads for its readers")
  func loneVoterStarts() {
    var raft = Raft(configuration: configuration(1, of: 1), restored: restored(terms: [1, 1]))
    _ = raft.takeDurably(.storage(isWritable: false))
    _ = raft.takeDurably(.tick)
    let effects = raft.takeDurably(.readIndex(id: 4)) + raft.takeDurably(.propose([proposal(1)]))
    #expect(raft.role == .leader && effects.readyReads == [4] && effects.refusals == [.storageFull])
  }

  @Test("a follower takes and acknowledges no entries, but answers heartbeats and votes")
  func followerTakesNothing() {
    var cluster = Cluster(3)
    cluster.elect(1)
    cluster.step(3, .storage(isWritable: false))
    cluster.forget()
    cluster.step(1, .propose([proposal(1)]))
    cluster.settle()
    cluster.tickAll(6 * heartbeatTicks)
    #expect(cluster[3].lastIndex == Index(1) && cluster[1].commit == Index(2))
    #expect(cluster.effects[2].persists.isEmpty)
    #expect(!cluster.effects[2].sent.contains { $0.appendResponse != nil })
    #expect(cluster.effects[2].sent.contains { $0.heartbeatResponse != nil })
    for _ in 0..<electionTicks { cluster.step(3, .tick) }
    let request = RequestVote(
      term: Term(4), lastIndex: Index(9), lastTerm: Term(3), isPreVote: false, isTransfer: false)
    cluster.step(3, .received(.requestVote(request), from: NodeID(2)))
    cluster.finishWrites(of: 3)
    #expect(cluster.effects[2].sent.compactMap(\.voteResponse?.isGranted) == [true])
  }

  @Test("a follower removes nothing that it could not replace")
  func followerKeepsConflict() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: restored(terms: [1, 1]))
    _ = raft.take(.storage(isWritable: false))
    let effects = raft.takeDurably(.received(append(term: 2, after: 1, 1, [entry(2, term: 2)]), from: NodeID(2)))
    #expect(raft.lastIndex == Index(2) && effects.persists.allSatisfy { $0.removeFrom == nil })
    #expect(raft.commit == Index(0))
  }

  @Test("clients of a follower with a full disk are refused at once, for it would not learn what became of theirs")
  func followerRefusesClients() {
    var cluster = Cluster(3)
    cluster.elect(1)
    cluster.step(3, .storage(isWritable: false))
    #expect(cluster.step(3, .propose([proposal(1)])).refusals == [.storageFull])
  }

  @Test("a follower catches up by itself when there is room again")
  func followerCatchesUp() {
    var cluster = Cluster(3)
    cluster.elect(1)
    cluster.step(3, .storage(isWritable: false))
    for id in 1...9 as ClosedRange<UInt64> {
      cluster.step(1, .propose([proposal(id)]))
      cluster.settle()
    }
    cluster.tickAll(6 * heartbeatTicks)
    cluster.step(3, .storage(isWritable: true))
    cluster.tickAll(6 * heartbeatTicks)
    #expect(cluster.applied[2] == cluster.applied[0] && cluster.applied[2].count == 10)
  }

  @Test("a follower without room is not sent the same entries again and again")
  func nothingIsRepeated() {
    var cluster = Cluster(3)
    cluster.elect(1)
    cluster.step(3, .storage(isWritable: false))
    cluster.step(1, .unreachable(NodeID(3)))
    cluster.forget()
    cluster.step(1, .propose([proposal(1, bytes: 1000)]))
    cluster.settle()
    cluster.tickAll(20 * heartbeatTicks)
    let entries = cluster.delivered.filter { $0.to == NodeID(3) }.compactMap(\.message.append?.entries.count)
    #expect(entries.reduce(0, +) <= 1)
    #expect(entries.count >= 5, "it is asked all the same")
  }

  @Test("a snapshot is not staged on a full disk, and comes when there is room")
  func noStaging() {
    var cluster = Cluster(voters: 3, limits: Limits(trailingEntries: 0, maxCompactionHoldTicks: 0))
    cluster.elect(1)
    cluster.isolated = [NodeID(3)]
    cluster.propose(1, 1...9)
    cluster.step(1, .unreachable(NodeID(3)))
    cluster.takeSnapshot(1)
    cluster.propose(1, 10...10)
    cluster.isolated = []
    cluster.step(3, .storage(isWritable: false))
    cluster.tickAll(6 * heartbeatTicks)
    #expect(cluster.effects[2].stagedChunks.isEmpty)
    cluster.step(3, .storage(isWritable: true))
    cluster.tickAll(6 * heartbeatTicks)
    #expect(cluster.applied[2] == cluster.applied[0])
  }

  @Test("a candidate whose disk fills up stands no more, nor does a target of a transfer")
  func candidate() {
    var raft = Raft(configuration: configuration(1, of: 3), restored: .empty)
    _ = raft.tick(2 * electionTicks)
    #expect(raft.role == .preCandidate)
    _ = raft.take(.storage(isWritable: false))
    #expect(raft.role == .follower)
    _ = raft.takeDurably(.received(append(term: 1, after: 0, 0), from: NodeID(2)))
    _ = raft.take(.received(.timeoutNow(TimeoutNow(term: Term(1))), from: NodeID(2)))
    #expect(raft.role == .follower && !raft.status.isStorageWritable)
  }
}
