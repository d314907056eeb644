// What a node says of where the time of its commits went.

import CoreNode
import RaftCore
import Testing

@Suite("commit timelines")
struct CommitTrackerTests {
  private static func persist(_ sequence: UInt64, _ indices: ClosedRange<UInt64>, removeFrom: UInt64? = nil) -> Persist
  {
    Persist(
      sequence: sequence, hardState: nil, removeFrom: removeFrom.map { Index($0) },
      entries: indices.map {
        Entry(index: Index($0), term: Term(1), clockMilliseconds: 0, kind: .command, payload: [])
      })
  }

  private static func matched(_ index: UInt64, held: UInt64 = 0, flush: UInt64 = 0) -> AppendResponse {
    AppendResponse(
      term: Term(1), outcome: .matched(through: Index(index)),
      timing: held == 0 ? nil : AppendTiming(heldNanoseconds: held, flushNanoseconds: flush))
  }

  /// One turn: what came in from `begin` on, Raft's step ten later, and its effects.
  private static func turn(
    _ tracker: inout CommitTracker, at begin: UInt64, _ came: (inout CommitTracker) -> Void = { _ in },
    _ effects: (inout CommitTracker) -> Void = { _ in }
  ) {
    tracker.turnBegan(at: begin)
    came(&tracker)
    tracker.stepped(at: begin + 10)
    effects(&tracker)
  }

  /// Entries 1 to 3 are appended at 110 by the leader, node 1.
  private static func appended() -> CommitTracker {
    var tracker = CommitTracker(localID: NodeID(1))
    turn(&tracker, at: 100) { _ in
    } _: {
      $0.persisting(persist(1, 1...3), isLed: true)
    }
    return tracker
  }

  private static let three = Membership(voters: [NodeID(1), NodeID(2), NodeID(3)])

  private static func commit(
    _ tracker: inout CommitTracker, at begin: UInt64, by membership: Membership = three,
    _ came: (inout CommitTracker) -> Void
  ) -> CommitTimeline? {
    turn(&tracker, at: begin, came) { $0.committed(through: Index(3), isLed: true, by: membership) }
    let place = tracker.timeline(of: Index(2))
    tracker.applied(through: Index(3), at: begin + 20)
    return place.map { tracker.finished[$0] }
  }

  @Test("a node alone waits for its own disk")
  func alone() {
    var tracker = Self.appended()
    let timeline = Self.commit(&tracker, at: 500, by: Membership(voters: [NodeID(1)])) {
      $0.flushed(through: 1, beganAt: 150, endedAt: 450)
    }
    #expect(timeline?.path == .ownDisk)
    // Proposed at 40 and answered at 600.
    #expect(timeline?.durations(proposed: 40, replied: 600) == [60, 10, 40, 300, 60, 10, 80])
  }

  @Test("a quorum that a peer completes is charged to the peer, whose durations take the place of its clock")
  func peer() {
    var tracker = Self.appended()
    Self.turn(&tracker, at: 200) { $0.flushed(through: 1, beganAt: 120, endedAt: 190) }
    let timeline = Self.commit(&tracker, at: 500) {
      $0.received(Self.matched(3, held: 250, flush: 200), from: NodeID(2))
    }
    #expect(timeline?.path == .peer)
    #expect(timeline?.durations(proposed: 40, replied: 600) == [60, 10, 50, 200, 150, 10, 80])
  }

  @Test("a quorum that two peers complete before this node's disk does is charged to the second of them")
  func peersAlone() {
    var tracker = Self.appended()
    Self.turn(&tracker, at: 200) { $0.received(Self.matched(3, held: 30, flush: 20), from: NodeID(2)) }
    let timeline = Self.commit(&tracker, at: 500) {
      $0.received(Self.matched(3, held: 300, flush: 100), from: NodeID(3))
    }
    #expect(timeline?.quorum == .peer(wait: 200, flush: 100))
  }

  @Test("a quorum that waits for this node's disk is charged to it, and in one turn the order decides")
  func ownDisk() {
    var tracker = Self.appended()
    Self.turn(&tracker, at: 200) { $0.received(Self.matched(3, held: 30, flush: 20), from: NodeID(2)) }
    #expect(Self.commit(&tracker, at: 500) { $0.flushed(through: 1, beganAt: 150, endedAt: 450) }?.path == .ownDisk)

    for ownLast in [true, false] {
      var tracker = Self.appended()
      let timeline = Self.commit(&tracker, at: 500) {
        if !ownLast { $0.flushed(through: 1, beganAt: 150, endedAt: 450) }
        $0.received(Self.matched(3, held: 30, flush: 20), from: NodeID(2))
        if ownLast { $0.flushed(through: 1, beganAt: 150, endedAt: 450) }
      }
      #expect(timeline?.path == (ownLast ? .ownDisk : .peer))
    }
  }

  @Test("of five voters the third completes; learners and answers to older entries count for nothing")
  func five() {
    var tracker = Self.appended()
    let members = Membership(
      voters: (1...5).map { Member(id: NodeID($0), address: []) }, learners: [Member(id: NodeID(9), address: [])])
    Self.turn(&tracker, at: 200) {
      $0.flushed(through: 1, beganAt: 120, endedAt: 190)
      $0.received(Self.matched(3, held: 30, flush: 20), from: NodeID(9))
      $0.received(Self.matched(2, held: 30, flush: 20), from: NodeID(5))
    }
    let timeline = Self.commit(&tracker, at: 500, by: members) {
      $0.received(Self.matched(3, held: 30, flush: 21), from: NodeID(2))
      $0.received(Self.matched(3, held: 30, flush: 22), from: NodeID(3))
      $0.received(Self.matched(3, held: 30, flush: 23), from: NodeID(4))
    }
    #expect(timeline?.quorum == .peer(wait: 8, flush: 22))
  }

  @Test("a peer's answer for several groups has the time of the youngest: an older one was there for longer")
  func oneAnswerForMany() {
    var tracker = Self.appended()
    Self.turn(&tracker, at: 200) { _ in
    } _: {
      $0.persisting(Self.persist(2, 4...5), isLed: true)
    }
    Self.turn(&tracker, at: 300) { $0.flushed(through: 2, beganAt: 220, endedAt: 290) }
    Self.turn(&tracker, at: 500) {
      $0.received(Self.matched(5, held: 50, flush: 40), from: NodeID(2))
    } _: {
      $0.committed(through: Index(5), isLed: true, by: Self.three)
    }
    let places = [2, 4].compactMap { tracker.timeline(of: Index($0)) }
    #expect(places == [0, 1])
    #expect(tracker.finished.map(\.quorum) == [.peer(wait: 110, flush: 40), .peer(wait: 10, flush: 40)])
    for timeline in tracker.finished {
      #expect(timeline.durations(proposed: 40, replied: 600).reduce(0, +) == 560)
    }
  }

  @Test("what cannot be accounted for is left out")
  func leftOut() {
    // A peer that had the entries for longer than they exist.
    var tracker = Self.appended()
    Self.turn(&tracker, at: 200) { $0.flushed(through: 1, beganAt: 120, endedAt: 190) }
    #expect(
      Self.commit(&tracker, at: 500) { $0.received(Self.matched(3, held: 900, flush: 1), from: NodeID(2)) } == nil)
    // A commit that nothing in this turn explains.
    tracker = Self.appended()
    #expect(Self.commit(&tracker, at: 500) { _ in } == nil)
    // One that another leader committed.
    tracker = Self.appended()
    Self.turn(&tracker, at: 500) { _ in
    } _: {
      $0.committed(through: Index(3), isLed: false, by: Self.three)
    }
    #expect(tracker.timeline(of: Index(2)) == nil)
    // An entry that is not committed yet.
    tracker = Self.appended()
    #expect(tracker.timeline(of: Index(2)) == nil)
  }

  @Test("entries that a leader replaced have no timeline of their own; a follower knows when it heard of the commit")
  func replaced() {
    var tracker = Self.appended()
    Self.turn(&tracker, at: 300) { _ in
    } _: {
      $0.leadershipChanged()
      $0.persisting(Self.persist(2, 2...2, removeFrom: 2), isLed: false)
    }
    Self.turn(&tracker, at: 400) { _ in
    } _: {
      $0.committed(through: Index(2), isLed: false, by: Self.three)
    }
    let place = tracker.timeline(of: Index(2))
    tracker.applied(through: Index(2), at: 420)
    let timeline = place.map { tracker.finished[$0] }
    #expect(timeline?.path == .forwarded)
    #expect(timeline?.durations(proposed: 40, replied: 450) == [370, 10, 30])
  }

  @Test("a follower tells how long it had what it acknowledges, once it is on its disk")
  func timing() {
    var tracker = CommitTracker(localID: NodeID(2))
    Self.turn(&tracker, at: 100) { _ in
    } _: {
      $0.persisting(Self.persist(1, 1...3), isLed: false)
    }
    #expect(tracker.timing(of: Self.matched(3)) == nil)
    // The commit may be known before the own disk has it.
    Self.turn(&tracker, at: 200) { _ in
    } _: {
      $0.committed(through: Index(3), isLed: false, by: Self.three)
    }
    tracker.applied(through: Index(3), at: 220)
    Self.turn(&tracker, at: 400) { $0.flushed(through: 1, beganAt: 150, endedAt: 390) }
    #expect(tracker.timing(of: Self.matched(3)) == AppendTiming(heldNanoseconds: 310, flushNanoseconds: 240))
    tracker.applied(through: Index(3), at: 420)
    #expect(tracker.timing(of: Self.matched(3)) == nil)
  }

  @Test("entries of one group share a timeline, and those that are committed apart do not")
  func shared() {
    var tracker = Self.appended()
    Self.turn(&tracker, at: 200) {
      $0.received(Self.matched(2, held: 5, flush: 4), from: NodeID(2))
    } _: {
      $0.persisting(Self.persist(2, 4...5), isLed: true)
    }
    Self.turn(&tracker, at: 300) {
      $0.flushed(through: 2, beganAt: 150, endedAt: 290)
    } _: {
      $0.committed(through: Index(2), isLed: true, by: Self.three)
    }
    #expect(tracker.timeline(of: Index(1)) == 0)
    #expect(tracker.timeline(of: Index(2)) == 0)
    #expect(tracker.timeline(of: Index(3)) == nil)
    tracker.applied(through: Index(2), at: 320)
    Self.turn(&tracker, at: 400) {
      $0.received(Self.matched(5, held: 50, flush: 4), from: NodeID(2))
    } _: {
      $0.committed(through: Index(5), isLed: true, by: Self.three)
    }
    let places = (3...5).map { tracker.timeline(of: Index($0)) }
    #expect(places == [0, 1, 1])
    #expect(tracker.finished.map(\.appended) == [110, 210])
  }

  @Test("whatever the instants, the stages of a path sum to the total", arguments: UInt64(0)..<50)
  func sums(seed: UInt64) {
    var state = seed &* 0x9e37_79b9_7f4a_7c15 &+ 1
    func next() -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return (state >> 33) % 10_000_000
    }
    let instants = (0..<8).map { _ in next() }.sorted()
    let spare = instants[5] - instants[2]
    let flush = spare / 3
    let quorums: [CommitTimeline.Quorum] = [
      .ownDisk(flushBegan: instants[3], flushEnded: instants[4]), .peer(wait: spare / 2, flush: flush), .forwarded,
    ]
    for quorum in quorums {
      let timeline = CommitTimeline(
        dequeued: instants[1], appended: instants[2], quorum: quorum, committed: instants[5], applied: instants[6])
      let durations = timeline.durations(proposed: instants[0], replied: instants[7])
      #expect(durations.count == timeline.path.stages.count)
      #expect(durations.reduce(0, +) == instants[7] - instants[0])
    }
  }

  @Test("a duration is counted in the first bucket whose bound is not below it")
  func buckets() {
    for (nanoseconds, bucket) in [(0, 0), (16_000, 0), (16_001, 1), (32_000, 1), (32_001, 2), (128_000, 3)] {
      var buckets = DurationBuckets()
      buckets.add(nanoseconds: UInt64(nanoseconds))
      #expect(buckets.counts.firstIndex(of: 1) == bucket, "\(nanoseconds)")
    }
    var buckets = DurationBuckets()
    buckets.add(nanoseconds: 3_600_000_000_000)
    #expect(buckets.counts.last == 1 && buckets.sumNanoseconds == 3_600_000_000_000)
  }
}
