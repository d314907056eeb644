// Every bound of `Limits`, reached and released.

import RaftCore
import Testing

@Suite("Flow control")
struct FlowControlTests {
  @Test("entries on their way to a follower are bounded by count")
  func inFlightCount() {
    var cluster = Cluster(3, limits: Limits(maxInFlightMessages: 4))
    cluster.elect(1)
    var sent = 0
    for id in 0..<20 as Range<UInt64> {
      sent += cluster.step(1, .propose([proposal(id)])).sent(to: NodeID(2)).compactMap(\.append).count
    }
    #expect(sent == 4)
    #expect(cluster[1].status.peers.map(\.inFlightMessages) == [4, 4])
    cluster.settle()
    #expect(cluster.applied.map(\.count) == [21, 21, 21])
    #expect(cluster[1].status.peers.map(\.inFlightMessages) == [0, 0])
  }

  @Test("entries on their way to a follower are bounded by bytes")
  func inFlightBytes() {
    var cluster = Cluster(3, limits: Limits(maxInFlightBytes: 3000))
    cluster.elect(1)
    var sent = 0
    for id in 0..<20 as Range<UInt64> {
      sent += cluster.step(1, .propose([proposal(id, bytes: 1000)])).sent(to: NodeID(2)).compactMap(\.append).count
    }
    #expect(sent == 3)
    cluster.settle()
    #expect(cluster.applied.map(\.count) == [21, 21, 21])
    #expect(cluster[1].status.peers.map(\.inFlightBytes) == [0, 0])
  }

  @Test("one message carries no more than its limit, and one larger entry travels alone")
  func messageBytes() {
    var cluster = Cluster(3, limits: Limits(maxMessageBytes: 2500))
    cluster.elect(1)
    let proposals = [proposal(1, bytes: 1000), proposal(2, bytes: 1000), proposal(3, bytes: 1000)]
    let effects = cluster.step(1, .propose(proposals + [proposal(4, bytes: 9000)]))
    #expect(effects.sent(to: NodeID(2)).compactMap(\.append?.entries.count) == [2, 1, 1])
    cluster.settle()
    #expect(cluster.applied.map(\.count) == [5, 5, 5])
  }

  @Test("a follower that is probed gets one message until it answers or shows a sign of life")
  func probeWaits() {
    var cluster = Cluster(3)
    cluster.elect(1)
    cluster.step(1, .unreachable(NodeID(2)))
    let effects = cluster.step(1, .propose([proposal(1)]))
    #expect(effects.sent(to: NodeID(2)).isEmpty)
    #expect(effects.sent(to: NodeID(3)).count == 1)
    #expect(cluster[1].status.peers.map(\.isReplicating) == [false, true])
    let alive = HeartbeatResponse(term: Term(1), readContext: 0)
    let resumed = cluster.step(1, .received(.heartbeatResponse(alive), from: NodeID(2)))
    #expect(resumed.sent(to: NodeID(2)).compactMap(\.append?.entries.count) == [1])
    #expect(cluster.step(1, .propose([proposal(2)])).sent(to: NodeID(2)).isEmpty)
    cluster.settle()
    #expect(cluster[1].status.peers.map(\.isReplicating) == [true, true])
    #expect(cluster.applied.map(\.count) == [3, 3, 3])
  }

  @Test("proposals beyond the cap on uncommitted bytes are refused, and room comes back")
  func uncommittedBytes() {
    var cluster = Cluster(3, limits: Limits(maxUncommittedBytes: 5000))
    cluster.elect(1)
    cluster.isolated = [NodeID(2), NodeID(3)]
    let effects = cluster.step(1, .propose((1...9).map { proposal($0, bytes: 1000) }))
    #expect(effects.refused == [5, 6, 7, 8, 9])
    #expect(effects.refusals == [.tooManyUncommittedBytes])
    #expect(effects.persists.map(\.entries.count) == [4])
    cluster.isolated = []
    cluster.tickAll(3 * heartbeatTicks)
    #expect(cluster[1].status.uncommittedBytes == 0)
    #expect(cluster.step(1, .propose([proposal(10, bytes: 1000)])).refused.isEmpty)
  }

  @Test("a proposal above the cap is let in when nothing else waits")
  func largeProposal() {
    var cluster = Cluster(3, limits: Limits(maxUncommittedBytes: 100))
    cluster.elect(1)
    #expect(cluster.step(1, .propose([proposal(1, bytes: 1000)])).refused.isEmpty)
    cluster.settle()
    #expect(cluster.applied.map(\.count) == [2, 2, 2])
  }

  @Test("memory holds no more than its limit of entries that are durable, committed and applied")
  func cacheIsBounded() {
    var cluster = Cluster(1, limits: Limits(maxCachedEntries: 10))
    cluster.elect(1)
    for id in 1...50 as ClosedRange<UInt64> {
      cluster.step(1, .propose([proposal(id)]))
      cluster.settle()
      cluster.step(1, .applied(through: cluster[1].commit))
    }
    #expect(cluster[1].status.cachedEntries == 10)
    #expect(cluster[1].cachedEntries(after: Index(40), through: Index(51)) == nil)
    #expect(cluster[1].cachedEntries(after: Index(41), through: Index(51))?.count == 10)
    #expect(cluster[1].cachedEntries(after: Index(51), through: Index(51))?.isEmpty == true)
  }

  @Test("a state machine that never applies cannot fill the memory")
  func cacheIsBoundedWithoutApplying() {
    var cluster = Cluster(1, limits: Limits(maxCachedEntries: 10))
    cluster.elect(1)
    for id in 1...50 as ClosedRange<UInt64> {
      cluster.step(1, .propose([proposal(id)]))
      cluster.settle()
    }
    #expect(cluster[1].status.cachedEntries == 20)
  }

  @Test("entries that left memory are fetched from storage for a follower that lags")
  func fetches() {
    var cluster = Cluster(3, limits: Limits(maxMessageBytes: 200, maxCachedEntries: 5))
    cluster.elect(1)
    cluster.isolated = [NodeID(3)]
    for id in 1...30 as ClosedRange<UInt64> {
      cluster.step(1, .propose([proposal(id)]))
      cluster.settle()
      cluster.step(1, .applied(through: cluster[1].commit))
    }
    cluster.step(1, .unreachable(NodeID(3)))
    cluster.isolated = []
    cluster.forget()
    for _ in 0..<40 {
      cluster.tickAll(1)
      let fetches = cluster.effects[0].fetches
      cluster.forget()
      #expect(fetches.count <= 1, "one request at a time")
      if let request = fetches.first {
        // Storage gives back at most two entries at a time.
        let entries = cluster.applied[1].filter { $0.index >= request.first && $0.index <= request.last }.prefix(2)
        cluster.step(1, .fetched(request, entries: Array(entries)))
        cluster.settle()
      }
    }
    #expect(cluster.applied[2] == cluster.applied[1])
  }

  @Test("entries fetched for an earlier term or place are not used")
  func staleFetch() {
    var cluster = Cluster(3, restored: [restored(terms: [1, 1, 1], tail: 0), .empty, .empty])
    cluster.elect(1)
    cluster.settle()
    let request = cluster.effects[0].fetches[0]
    #expect(request.first == Index(1) && request.last == Index(3))
    var other = request
    other.term = Term(1)
    #expect(cluster.step(1, .fetched(other, entries: [entry(1, term: 1)])).sent.isEmpty)
    #expect(!cluster.step(1, .fetched(request, entries: [entry(1, term: 1)])).sent.isEmpty)
    #expect(cluster.step(1, .fetched(request, entries: [entry(1, term: 1)])).sent.isEmpty, "each answer counts once")
  }

  @Test("a fetch of what was compacted meanwhile needs no answer: the follower gets a snapshot")
  func voidFetch() {
    var cluster = Cluster(
      3, limits: Limits(trailingEntries: 0, maxCompactionHoldTicks: 0),
      restored: [restored(terms: [1, 1, 1], tail: 0), .empty, .empty])
    cluster.elect(1)
    cluster.settle()
    #expect(cluster.effects[0].fetches.contains { $0.peer == NodeID(3) })
    for request in cluster.effects[0].fetches where request.peer == NodeID(2) {
      cluster.step(1, .fetched(request, entries: (1...3).map { entry($0, term: 1) }))
      cluster.settle()
    }
    #expect(cluster[1].commit == Index(4))
    let point = SnapshotPoint(
      index: Index(4), term: cluster[1].term, clockMilliseconds: 4, membership: configuration(1, of: 3).membership)
    cluster.step(1, .applied(through: Index(4)), .snapshotTaken(point))
    cluster.tickAll(3 * heartbeatTicks)
    let read = cluster.effects[0].compactMap { if case .readSnapshot(let read) = $0 { read.peer } else { nil } }
    #expect(read.contains(NodeID(3)))
  }

  @Test("read confirmations do not make a leader ask again for entries that are merely on their way")
  func readsDoNotProbe() {
    var cluster = Cluster(3)
    cluster.elect(1)
    cluster.slowDisks = [NodeID(2), NodeID(3)]
    cluster.step(1, .propose([proposal(1)]))
    cluster.settle()
    cluster.forget()
    for id in 0..<50 as Range<UInt64> {
      cluster.step(1, .readIndex(id: id))
      cluster.settle()
    }
    #expect(cluster.effects[0].readyReads.count == 50)
    #expect(cluster.effects[0].sent.compactMap(\.append).isEmpty)
  }
}
