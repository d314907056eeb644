// How a follower that needs more than the log still has gets it.

import RaftCore
import Testing

@Suite("Snapshots (section 7; dissertation, chapter 5)")
struct SnapshotTests {
  private static let limits = Limits(maxSnapshotChunkBytes: 16, trailingEntries: 0, maxCompactionHoldTicks: 0)

  /// Node 3 missed ten entries, of which the log has none any more.
  private func behind(limits: Limits = SnapshotTests.limits, bytes: Int = 100) -> Cluster {
    var cluster = Cluster(voters: 3, limits: limits)
    cluster.elect(1)
    cluster.isolated = [NodeID(3)]
    cluster.propose(1, 1...10)
    cluster.step(1, .unreachable(NodeID(3)))
    cluster.takeSnapshot(1, bytes: bytes)
    cluster.propose(1, 11...12)
    cluster.isolated = []
    cluster.forget()
    return cluster
  }

  @Test("a follower slower than compaction is brought up by a snapshot and the log behind it")
  func catchesUp() {
    var cluster = behind()
    #expect(cluster[1].firstIndex == Index(12))
    cluster.tickAll(2 * heartbeatTicks)
    #expect(cluster.applied[2] == cluster.applied[0])
    #expect(cluster.applied[2].count == 13)
    #expect(cluster[3].firstIndex == Index(12) && cluster[3].commit == cluster[1].commit)
    #expect(cluster.effects[2].installs.count == 1)
    #expect(cluster[1].status.peers.allSatisfy { $0.isReplicating && $0.snapshot == nil })
  }

  @Test("one chunk at a time is on its way, and none is larger than the limit")
  func throttled() {
    var cluster = behind()
    cluster.tick(1, 4 * heartbeatTicks) { $0.effects[2].stagedChunks.count >= 3 }
    #expect(cluster[1].status.peers.last?.snapshot?.totalBytes == 100)
    cluster.settle()
    let kinds = cluster.delivered.compactMap { letter -> Bool? in
      if letter.message.install != nil { true } else if letter.message.installResponse != nil { false } else { nil }
    }
    #expect(kinds.count == 2 * 7 + 1, "seven chunks are answered one by one, and the last one twice")
    #expect(kinds.prefix(14).enumerated().allSatisfy { $1 == ($0 % 2 == 0) })
    let chunks = cluster.effects[2].stagedChunks
    #expect(chunks.allSatisfy { $0.bytes.count <= 16 })
    #expect(chunks.flatMap(\.bytes) == cluster.disks[0].snapshots[0].bytes)
  }

  @Test("a chunk or an answer that is lost is asked for again, and nothing is staged twice")
  func lossIsRepaired() {
    for lost in 0..<16 {
      var cluster = behind()
      var seen = 0
      cluster.tick(1, 4 * heartbeatTicks) { cluster in
        guard let next = cluster.inbox.first?.message else { return false }
        return next.install != nil || next.installResponse != nil
      }
      while seen < lost, !cluster.inbox.isEmpty {
        let before = cluster.delivered.count
        cluster.settle { $0.delivered.count > before }
        if cluster.delivered.last?.message.install != nil || cluster.delivered.last?.message.installResponse != nil {
          seen += 1
        }
      }
      cluster.settle { $0.inbox.first?.message.install != nil || $0.inbox.first?.message.installResponse != nil }
      if !cluster.inbox.isEmpty { cluster.inbox.removeFirst() }
      cluster.tickAll(6 * heartbeatTicks)
      #expect(cluster.applied[2] == cluster.applied[0])
      #expect(cluster.effects[2].stagedChunks.reduce(0) { $0 + $1.bytes.count } == 100)
    }
  }

  @Test("a transfer goes on where it stopped when the connection comes back")
  func resumes() {
    var cluster = behind()
    cluster.tick(1, 4 * heartbeatTicks) { $0.effects[2].stagedChunks.count == 3 }
    cluster.inbox = []
    cluster.isolated = [NodeID(3)]
    cluster.step(1, .unreachable(NodeID(3)))
    cluster.tickAll(3 * heartbeatTicks)
    cluster.isolated = []
    cluster.tickAll(3 * heartbeatTicks)
    #expect(cluster.applied[2] == cluster.applied[0])
    #expect(cluster.effects[2].stagedChunks.map(\.offset) == [0, 16, 32, 48, 64, 80, 96])
  }

  @Test("a repeated chunk is answered with how much is there")
  func repeatedChunk() {
    var cluster = behind()
    cluster.tick(1, 4 * heartbeatTicks) { $0.effects[2].stagedChunks.count == 3 }
    let first = cluster.delivered.first { $0.message.install != nil }
    cluster.settle { $0.reports.isEmpty && $0.writes.allSatisfy(\.isEmpty) }
    let effects = cluster.step(3, .received(first!.message, from: NodeID(1)))
    #expect(effects.stagedChunks.isEmpty)
    #expect(effects.sent.compactMap(\.installResponse?.outcome) == [.staged(through: 48)])
  }

  @Test("a question that comes while a chunk is being written is answered when it is")
  func questionWhileStaging() throws {
    var cluster = behind()
    cluster.tick(1, 4 * heartbeatTicks) { $0.effects[2].stagedChunks.count == 1 }
    let description = try #require(cluster.effects[2].stagedChunks.first?.description)
    let report = cluster.reports.removeFirst()
    let question = InstallSnapshot(
      term: Term(1), chunk: SnapshotChunk(description: description, offset: 0, bytes: []))
    #expect(cluster.step(3, .received(.installSnapshot(question), from: NodeID(1))).sent.isEmpty)
    let effects = cluster.step(3, report.input)
    #expect(effects.sent.compactMap(\.installResponse?.outcome) == [.staged(through: 16)])
  }

  @Test("a follower that restarts in the middle begins again")
  func followerRestarts() {
    var cluster = behind()
    cluster.tick(1, 4 * heartbeatTicks) { $0.effects[2].stagedChunks.count == 4 }
    cluster.restart(3)
    cluster.tickAll(6 * heartbeatTicks)
    #expect(cluster.applied[2] == cluster.applied[0])
  }

  @Test("a snapshot that does not check is rejected, and the newest one is sent from its start")
  func rejected() {
    var cluster = behind()
    cluster.tick(1, 4 * heartbeatTicks) { $0.effects[2].stagedChunks.count == 4 }
    cluster.disks[2].staged[5] ^= 1
    cluster.settle()
    #expect(cluster.effects[2].installs.isEmpty)
    cluster.tickAll(4 * heartbeatTicks)
    #expect(cluster.effects[2].stagedChunks.filter { $0.offset == 0 }.count == 2)
    #expect(cluster.applied[2] == cluster.applied[0])
  }

  @Test("when the snapshot is gone in the middle the newest one takes its place")
  func snapshotIsGone() {
    var cluster = behind()
    cluster.tick(1, 4 * heartbeatTicks) { $0.effects[2].stagedChunks.count == 2 }
    cluster.takeSnapshot(1)
    cluster.disks[0].snapshots.removeFirst()
    cluster.settle()
    cluster.tickAll(4 * heartbeatTicks)
    #expect(cluster.effects[2].installs.map(\.point.index) == [Index(13)])
    #expect(cluster.applied[2] == cluster.applied[0])
  }

  @Test("as long as there is no snapshot the leader asks again")
  func noSnapshotYet() {
    var cluster = behind()
    let snapshot = cluster.disks[0].snapshots.removeFirst()
    cluster.tickAll(4 * heartbeatTicks)
    #expect(cluster.effects[0].snapshotReads.count >= 2)
    cluster.disks[0].snapshots = [snapshot]
    cluster.tickAll(2 * heartbeatTicks)
    #expect(cluster.applied[2] == cluster.applied[0])
  }

  @Test("two snapshots in quick succession are both installed, each behind its own write")
  func twoInSuccession() {
    var cluster = behind()
    cluster.slowDisks = [NodeID(3)]
    cluster.tick(1, 4 * heartbeatTicks) { !$0.effects[2].installs.isEmpty }
    let second = cluster.takeSnapshot(1)
    let chunk = SnapshotChunk(description: second, offset: 0, bytes: cluster.disks[0].snapshots[1].bytes)
    cluster.step(3, .received(.installSnapshot(InstallSnapshot(term: Term(1), chunk: chunk)), from: NodeID(1)))
    cluster.settle { $0.effects[2].installs.count == 2 }
    #expect(cluster.effects[2].installs.map(\.point.index) == [Index(11), Index(13)])
    #expect(cluster.writes[2].compactMap { $0.base?.index } == [Index(11), Index(13)])
    #expect(cluster[3].durableIndex < Index(11))
    cluster.finishWrites(of: 3)
    #expect(cluster[3].durableIndex == Index(13) && cluster[3].commit == Index(13))
    cluster.slowDisks = []
    cluster.tickAll(4 * heartbeatTicks)
    #expect(cluster.applied[2] == cluster.applied[0])
  }

  @Test("the next leader goes on with what was staged of the same snapshot")
  func resumedByNextLeader() {
    var cluster = behind()
    cluster.tick(1, 4 * heartbeatTicks) { $0.effects[2].stagedChunks.count == 3 }
    cluster.settle { $0.reports.isEmpty && $0.writes.allSatisfy(\.isEmpty) }
    cluster.disks[1].snapshots = cluster.disks[0].snapshots
    cluster.step(2, .applied(through: Index(11)), .snapshotTaken(cluster.disks[0].snapshots[0].description.point))
    cluster.isolated = [NodeID(1)]
    cluster.inbox = []
    cluster.elect(2)
    cluster.tickAll(6 * heartbeatTicks)
    #expect(cluster.applied[2] == cluster.applied[1])
    #expect(cluster.effects[2].stagedChunks.reduce(0) { $0 + $1.bytes.count } == 100)
  }

  @Test("another snapshot of the next leader takes the place of what was staged")
  func replacedByNextLeader() {
    var cluster = behind()
    cluster.tick(1, 4 * heartbeatTicks) { $0.effects[2].stagedChunks.count == 3 }
    cluster.settle { $0.reports.isEmpty && $0.writes.allSatisfy(\.isEmpty) }
    cluster.takeSnapshot(2)
    cluster.isolated = [NodeID(1)]
    cluster.inbox = []
    cluster.elect(2)
    cluster.tickAll(6 * heartbeatTicks)
    #expect(cluster.effects[2].installs.map(\.point.index) == [Index(13)])
    #expect(cluster.applied[2] == cluster.applied[1])
  }

  @Test("a follower that shows that it has more than was known goes back to the log")
  func endsWhenNeedless() {
    var cluster = behind()
    cluster.tick(1, 4 * heartbeatTicks) { $0.effects[2].stagedChunks.count == 1 }
    let matched = AppendResponse(term: Term(1), outcome: .matched(through: Index(11)))
    cluster.step(1, .received(.appendResponse(matched), from: NodeID(3)))
    #expect(cluster[1].status.peers.last?.snapshot == nil)
    #expect(cluster[1].status.peers.last?.matched == Index(11))
  }

  @Test("answers about another snapshot, or of more than it has, mean nothing")
  func oddAnswers() {
    var cluster = behind()
    cluster.tick(1, 4 * heartbeatTicks) { $0.effects[2].stagedChunks.count == 2 }
    cluster.inbox = []
    let description = cluster.disks[0].snapshots[0].description
    for (index, checksum, outcome) in [
      (Index(11), description.checksum ^ 1, .installed), (Index(12), description.checksum, .installed),
      (Index(11), description.checksum, .staged(through: .max)),
    ] as [(RaftCore.Index, UInt32, InstallSnapshotResponse.Outcome)] {
      let response = InstallSnapshotResponse(term: Term(1), index: index, checksum: checksum, outcome: outcome)
      #expect(cluster.step(1, .received(.installSnapshotResponse(response), from: NodeID(3))).sent.isEmpty)
    }
    #expect(cluster[1].status.peers.last?.snapshot?.index == Index(11))
    cluster.tickAll(4 * heartbeatTicks)
    #expect(cluster.applied[2] == cluster.applied[0])
  }

  @Test("a new member of a cluster whose log is compacted gets a snapshot, and with it the configuration")
  func newMember() {
    var cluster = Cluster(voters: 1, waiting: 1, limits: Self.limits)
    cluster.elect(1)
    cluster.propose(1, 1...5)
    cluster.takeSnapshot(1)
    #expect(cluster.change(1, .addLearner(member(2))).isEmpty)
    cluster.tickAll(2 * heartbeatTicks)
    #expect(cluster.applied[1] == cluster.applied[0])
    #expect(cluster[2].membership == cluster[1].membership)
    cluster.takeSnapshot(1)
    #expect(cluster.disks[0].snapshots.last?.description.point.membership.learners == nodes(2))
  }
}
