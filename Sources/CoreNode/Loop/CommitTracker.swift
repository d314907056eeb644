// Owns the instants of what is on its way to being committed, and says of each commit what completed its quorum.
//
// It works on groups: what one turn of the loop appends is one write, one flush and mostly one message to each peer, so
// an account costs a few clock readings a turn and a search in a short list for each entry.
//
// Must never: hold up or change anything. A commit that it cannot account for (one of an earlier leader, one by a change
// of voters) is left out and not guessed.

package import RaftCore

package struct CommitTracker: Sendable {
  /// What one turn appended.
  private struct Group {
    let first: Index
    let last: Index
    let sequence: UInt64
    /// Appended by this node as the leader.
    let isLed: Bool
    let dequeued: UInt64
    let appended: UInt64
    var flush: (began: UInt64, ended: UInt64)?
  }

  private struct Commit {
    let through: Index
    let at: UInt64
    /// What completed the quorum; nil if it is not known.
    let completing: Arrival?
    let isLed: Bool
  }

  /// News in this turn of how far a disk is: a peer's, or this node's own.
  private struct Arrival {
    let node: NodeID
    let through: Index
    let timing: AppendTiming?
  }

  /// More groups than this are not on their way at once, but for a cluster that makes no progress at all.
  private static let mostGroups = 4096

  private let localID: NodeID
  private var groups: [Group] = []
  private var commits: [Commit] = []
  private var arrivals: [Arrival] = []
  /// How far each disk was before this turn.
  private var known: [NodeID: Index] = [:]
  private var began: UInt64 = 0
  private var stepped: UInt64 = 0
  private var timelines: [CommitTimeline] = []
  /// The timeline that was asked for last, and where its group and commit stand.
  private var newest: (group: Int, commit: Int, timeline: Int)?

  package init(localID: NodeID) { self.localID = localID }

  // MARK: A turn

  /// What came in is taken, and not looked at yet.
  package mutating func turnBegan(at now: UInt64) {
    began = now
    timelines.removeAll(keepingCapacity: true)
    newest = nil
    for arrival in arrivals { known[arrival.node] = max(known[arrival.node] ?? .beforeFirst, arrival.through) }
    arrivals.removeAll(keepingCapacity: true)
  }

  /// Everything up to the write `sequence` is on this node's disk.
  package mutating func flushed(through sequence: UInt64, beganAt: UInt64, endedAt: UInt64) {
    var last: Index?
    for position in groups.indices where groups[position].flush == nil && groups[position].sequence <= sequence {
      groups[position].flush = (beganAt, endedAt)
      last = groups[position].last
    }
    if let last { arrivals.append(Arrival(node: localID, through: last, timing: nil)) }
  }

  /// A peer's answer, in the order in which it came among flushes and others' answers.
  package mutating func received(_ response: AppendResponse, from peer: NodeID) {
    guard case .matched(let index) = response.outcome else { return }
    arrivals.append(Arrival(node: peer, through: index, timing: response.timing))
  }

  /// Raft took the inputs of this turn.
  package mutating func stepped(at now: UInt64) { stepped = now }

  package mutating func persisting(_ persist: Persist, isLed: Bool) {
    if let from = persist.removeFrom ?? persist.base?.index { groups.removeAll { $0.last >= from } }
    guard let first = persist.entries.first, let last = persist.entries.last else { return }
    if groups.count >= Self.mostGroups { groups.removeFirst(Self.mostGroups / 2) }
    groups.append(
      Group(
        first: first.index, last: last.index, sequence: persist.sequence, isLed: isLed, dequeued: began,
        appended: stepped))
  }

  /// Another leader, or another term: what was known of the others' logs is void.
  package mutating func leadershipChanged() { known.removeAll(keepingCapacity: true) }

  package mutating func committed(through index: Index, isLed: Bool, by membership: Membership) {
    let completing = isLed ? completing(index, in: membership) : nil
    commits.append(Commit(through: index, at: stepped, completing: completing, isLed: isLed))
  }

  /// The arrival with which a majority had the entry. In a joint configuration that is taken to be the last one.
  private func completing(_ index: Index, in membership: Membership) -> Arrival? {
    guard !membership.isJoint else {
      return arrivals.last { $0.through >= index && !membership.isLearner($0.node) }
    }
    var having = membership.voters.filter { (known[$0] ?? .beforeFirst) >= index }
    for arrival in arrivals
    where arrival.through >= index && membership.voters.contains(arrival.node) && !having.contains(arrival.node) {
      having.append(arrival.node)
      if having.count == membership.quorum { return arrival }
    }
    return nil
  }

  // MARK: Entries

  /// The place in `finished` of the timeline of an entry that is applied in this turn, or nil if it has none. To be asked
  /// by rising index.
  package mutating func timeline(of index: Index) -> Int? {
    guard let commit = commits.firstIndex(where: { $0.through >= index }) else { return nil }
    // Indices rise, and groups stand in their order: where one disk is slow many wait, and are not gone through again.
    let group = groups[(newest?.group ?? 0)...].firstIndex { $0.last >= index }.flatMap {
      groups[$0].first <= index ? $0 : nil
    }
    if let newest, newest.commit == commit, newest.group == group { return newest.timeline }
    guard let timeline = timeline(group: group, commits[commit]) else { return nil }
    timelines.append(timeline)
    if let group { newest = (group, commit, timelines.count - 1) }
    return timelines.count - 1
  }

  private func timeline(group: Int?, _ commit: Commit) -> CommitTimeline? {
    let led = group.map { groups[$0] }
    // Appended by one leader and committed by another: whoever waited, waited for an election.
    guard commit.isLed == led?.isLed ?? false else { return nil }
    guard commit.isLed, let led else {
      return CommitTimeline(
        dequeued: commit.at, appended: commit.at, quorum: .forwarded, committed: commit.at, applied: commit.at)
    }
    guard let completing = commit.completing else { return nil }
    var timeline = CommitTimeline(
      dequeued: led.dequeued, appended: led.appended, quorum: .forwarded, committed: commit.at, applied: commit.at)
    if completing.node == localID {
      guard let flush = led.flush, flush.began >= led.appended, flush.ended <= commit.at else { return nil }
      timeline.quorum = .ownDisk(flushBegan: flush.began, flushEnded: flush.ended)
    } else {
      guard let wait = wait(for: completing, led, committedAt: commit.at) else { return nil }
      timeline.quorum = .peer(wait: wait, flush: completing.timing?.flushNanoseconds ?? 0)
    }
    return timeline
  }

  /// How long a peer had this group's entries beside flushing. A peer answers for all that one flush made durable, with the
  /// time of the youngest group among them; an older one was there for as much longer as it was appended earlier.
  private func wait(for arrival: Arrival, _ group: Group, committedAt: UInt64) -> UInt64? {
    let timing = arrival.timing ?? AppendTiming(heldNanoseconds: 0, flushNanoseconds: 0)
    let youngest = groups.last { $0.isLed && $0.first <= arrival.through && $0.last >= arrival.through } ?? group
    let earlier = max(youngest.appended, group.appended) - group.appended
    guard timing.heldNanoseconds >= timing.flushNanoseconds,
      committedAt >= group.appended + earlier, committedAt - group.appended - earlier >= timing.heldNanoseconds
    else { return nil }
    return timing.heldNanoseconds - timing.flushNanoseconds + earlier
  }

  /// Everything up to `index` is applied; what concerns it alone is let go of.
  package mutating func applied(through index: Index, at now: UInt64) {
    for position in timelines.indices { timelines[position].applied = now }
    commits.removeAll { $0.through <= index }
    // A group is still needed for its flush, which may come later than a commit by the others.
    groups.removeAll { $0.last <= index && $0.flush != nil }
  }

  /// The timelines of what was applied in this turn.
  package var finished: [CommitTimeline] { timelines }

  /// What the answer to the leader is to say of its entries' time here.
  package func timing(of response: AppendResponse) -> AppendTiming? {
    guard case .matched(let index) = response.outcome,
      let group = groups.last(where: { $0.first <= index && $0.last >= index }), let flush = group.flush,
      stepped >= group.dequeued
    else { return nil }
    return AppendTiming(
      heldNanoseconds: stepped - group.dequeued, flushNanoseconds: flush.ended - flush.began)
  }
}
