// What a log lets go of, and for whom it waits.

import RaftCore
import Testing

@Suite("Compaction (section 7)")
struct CompactionTests {
  private func cluster(trailing: Int = 0, holdTicks: Int = 1000) -> Cluster {
    var cluster = Cluster(
      voters: 3, limits: Limits(trailingEntries: trailing, maxCompactionHoldTicks: holdTicks))
    cluster.elect(1)
    return cluster
  }

  @Test("a snapshot lets the log before it go, but for the entries that are to trail")
  func trailing() {
    var cluster = cluster(trailing: 4)
    cluster.propose(1, 1...9)
    let snapshot = cluster.takeSnapshot(1)
    #expect(snapshot.point.index == Index(10))
    #expect(cluster.effects[0].compactions == [Index(7)])
    #expect(cluster[1].firstIndex == Index(7))
    #expect(cluster.disks[0].entries.count == 4)
    cluster.takeSnapshot(1)
    #expect(cluster.effects[0].compactions == [Index(7)], "the same place lets nothing more go")
  }

  @Test("a log shorter than what is to trail stays whole")
  func shortLog() {
    var cluster = cluster(trailing: 100)
    cluster.propose(1, 1...9)
    cluster.takeSnapshot(1)
    #expect(cluster.effects[0].compactions.isEmpty && cluster[1].firstIndex == Index(1))
  }

  @Test("a follower compacts by its own snapshots")
  func follower() {
    var cluster = cluster()
    cluster.propose(1, 1...9)
    cluster.takeSnapshot(2)
    #expect(cluster[2].firstIndex == Index(11) && cluster[1].firstIndex == Index(1))
    cluster.propose(1, 10...12)
    #expect(cluster.applied[1] == cluster.applied[0])
    cluster.elect(2)
    cluster.propose(2, 13...13)
    #expect(cluster.applied[2] == cluster.applied[0])
  }

  @Test("entries that are not on this node's own disk stay")
  func notDurable() {
    var cluster = cluster()
    cluster.propose(1, 1...3)
    cluster.slowDisks = [NodeID(1)]
    cluster.propose(1, 4...9)
    #expect(cluster[1].commit == Index(10) && cluster[1].durableIndex == Index(4))
    cluster.takeSnapshot(1)
    #expect(cluster[1].firstIndex <= Index(5))
    cluster.slowDisks = []
    cluster.settle()
    #expect(cluster[1].firstIndex == Index(11))
  }

  @Test("followers that are served from the log are waited for")
  func waitsForFollower() {
    var cluster = cluster()
    cluster.slowDisks = [NodeID(3)]
    cluster.propose(1, 1...9)
    cluster.takeSnapshot(1)
    #expect(cluster.effects[0].compactions.isEmpty, "node 3 has acknowledged none of it")
    cluster.slowDisks = []
    cluster.settle()
    #expect(cluster.effects[0].compactions == [Index(11)])
  }

  @Test("a silent follower is not waited for")
  func silentFollower() {
    var cluster = cluster()
    cluster.isolated = [NodeID(3)]
    cluster.propose(1, 1...9)
    cluster.tickAll(electionTicks)
    cluster.takeSnapshot(1)
    #expect(cluster.effects[0].compactions == [Index(11)])
  }

  @Test("a follower that stays behind is waited for only so long")
  func boundedWait() {
    var cluster = cluster(holdTicks: 3 * electionTicks)
    cluster.slowDisks = [NodeID(3)]
    cluster.propose(1, 1...9)
    cluster.takeSnapshot(1)
    cluster.tickAll(2 * electionTicks)
    #expect(cluster.effects[0].compactions.isEmpty)
    cluster.tickAll(electionTicks)
    #expect(cluster.effects[0].compactions == [Index(11)])
    cluster.slowDisks = []
    cluster.tickAll(2 * electionTicks)
    cluster.propose(1, 10...10)
    cluster.tickAll(2 * electionTicks)
    #expect(cluster.applied[2] == cluster.applied[0])
  }

  @Test("the entries behind a snapshot that is being sent are waited for")
  func waitsForTransfer() {
    var cluster = Cluster(
      voters: 3, limits: Limits(maxSnapshotChunkBytes: 16, trailingEntries: 0, maxCompactionHoldTicks: 1000))
    cluster.elect(1)
    cluster.isolated = [NodeID(3)]
    cluster.propose(1, 1...9)
    cluster.step(1, .unreachable(NodeID(3)))
    cluster.tickAll(electionTicks)
    cluster.takeSnapshot(1)
    cluster.propose(1, 10...12)
    cluster.isolated = []
    cluster.forget()
    cluster.tick(1, 2 * heartbeatTicks) { $0.effects[2].stagedChunks.count == 3 }
    cluster.takeSnapshot(1)
    #expect(cluster.effects[0].compactions.isEmpty)
    cluster.settle()
    #expect(cluster.effects[2].installs.map(\.point.index) == [Index(10)], "one snapshot was enough")
    #expect(cluster.applied[2] == cluster.applied[0])
    #expect(cluster.effects[0].compactions == [Index(14)])
  }

  @Test("an answer of storage that comes after the log was compacted is not used")
  func lateFetch() {
    var cluster = Cluster(
      voters: 3,
      limits: Limits(cachedEntryBytes: 0, maxCachedEntries: 0, trailingEntries: 0, maxCompactionHoldTicks: 0))
    cluster.elect(1)
    cluster.isolated = [NodeID(3)]
    cluster.propose(1, 1...9)
    cluster.step(1, .applied(through: Index(10)), .unreachable(NodeID(3)))
    cluster.isolated = []
    cluster.tick(1, 4 * heartbeatTicks) { !$0.reports.isEmpty }
    #expect(cluster.reports.count == 1)
    cluster.takeSnapshot(1)
    cluster.settle()
    cluster.tickAll(4 * heartbeatTicks)
    #expect(cluster.applied[2] == cluster.applied[0])
    #expect(cluster.effects[2].installs.count == 1)
  }

  @Test("a configuration that the compacted log held stays in force, also over a restart")
  func configurationStays() {
    var cluster = Cluster(voters: 3, waiting: 1, limits: Limits(trailingEntries: 0, maxCompactionHoldTicks: 0))
    cluster.elect(1)
    _ = cluster.change(1, .addLearner(member(4)))
    cluster.propose(1, 1...2)
    cluster.takeSnapshot(1)
    #expect(cluster[1].firstIndex == cluster[1].lastIndex.next)
    #expect(cluster[1].membership.learners == nodes(4))
    cluster.restart(1)
    #expect(cluster[1].membership.learners == nodes(4))
    #expect(cluster[1].membership(at: cluster[1].commit).learners == nodes(4))
  }

  @Test("a follower whose log differs before what a compacted log knows gets a snapshot, and no wrong hint is given")
  func differingTerms() {
    var cluster = cluster(holdTicks: 0)
    cluster.isolated = [NodeID(1)]
    cluster.step(1, .propose((20...29).map { proposal($0) }))
    cluster.settle()
    cluster.elect(2)
    cluster.propose(2, 1...5)
    cluster.tick(2, electionTicks)
    cluster.takeSnapshot(2)
    cluster.isolated = []
    cluster.tickAll(3 * electionTicks)
    #expect(cluster[1].role == .follower)
    #expect(cluster.applied[0] == cluster.applied[1])
    #expect(cluster.effects[0].installs.count == 1)
  }
}
