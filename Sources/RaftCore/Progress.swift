// Owns what a leader knows about one follower, and the bounds on what is on its way there.
// Must never: take `matched` back, unless the follower itself says that its disk lost what it had acknowledged.
// Invariants: `matched < next`; entries in flight are all below `next` and above `matched`.

import DequeModule

struct Progress: Sendable {
  /// How entries are sent. `probe` sends one message and waits, since nobody knows yet where the logs agree;
  /// `replicate` sends ahead of the answers; in `snapshot` what it needs is no longer in the log.
  enum State: UInt8, Sendable {
    case probe
    case replicate
    case snapshot
  }

  /// A former member is told of its removal, so that it need not go on asking for votes.
  struct Leaving: Sendable {
    /// Of the configuration without it.
    var index: Index
    var untilTick: UInt64
  }

  private struct InFlight: Sendable {
    var last: Index
    var sizeBytes: Int
  }

  let id: NodeID
  /// Where it counts. Learners and former members count nowhere.
  var sides: Sides = []
  var leaving: Leaving?
  private(set) var state: State = .probe
  private(set) var matched: Index = .beforeFirst
  private(set) var next: Index
  private(set) var inFlightBytes = 0
  private var inFlight: Deque<InFlight> = []
  /// In `probe`: the question is out, and only an answer or a sign of life allows another one.
  private(set) var isPaused = false
  /// In `probe`: the question went unanswered, so it is repeated without the entries that came with it.
  private(set) var asksAgain = false
  /// Heard from since the leader last counted its quorum.
  var isActive = true
  private(set) var heardAtTick: UInt64
  /// The newest commit index that was sent.
  var sentCommit: Index = .beforeFirst
  /// The newest round of read confirmations that this follower answered.
  var readContext: UInt64 = 0
  /// Entries that were asked of storage for this follower.
  var fetching: FetchRequest?
  /// In `probe`: when the question was sent. In `replicate`: since when nothing was acknowledged. In ticks.
  private var waitingSinceTick: UInt64 = 0
  /// What was acknowledged at `waitingSinceTick`.
  private var matchedThen: Index?

  init(id: NodeID, next: Index, tick: UInt64) {
    self.id = id
    self.next = next
    heardAtTick = tick
  }

  var inFlightCount: Int { inFlight.count }

  func maySend(within limits: Limits) -> Bool {
    if fetching != nil { return false }
    switch state {
    case .probe: return !isPaused
    case .snapshot: return false
    case .replicate: return inFlight.count < limits.maxInFlightMessages && inFlightBytes < limits.maxInFlightBytes
    }
  }

  mutating func heard(tick: UInt64) {
    isActive = true
    heardAtTick = tick
  }

  /// In `probe`: `next` stays, and until the follower agrees the same place is asked about again.
  mutating func asked(tick: UInt64) {
    isPaused = true
    asksAgain = true
    waitingSinceTick = tick
  }

  mutating func sent(through last: Index, sizeBytes: Int, tick: UInt64) {
    switch state {
    case .probe:
      asked(tick: tick)
    case .snapshot:
      preconditionFailure("\(id) is sent a snapshot and no entries meanwhile")
    case .replicate:
      next = last.next
      inFlight.append(InFlight(last: last, sizeBytes: sizeBytes))
      inFlightBytes += sizeBytes
    }
  }

  mutating func acknowledged(through index: Index) {
    if index > matched { matched = index }
    if next <= matched { next = matched.next }
    if state == .probe { begin(.replicate) }
    while let oldest = inFlight.first, oldest.last <= matched {
      inFlightBytes -= oldest.sizeBytes
      inFlight.removeFirst()
    }
  }

  /// The follower did not agree at `previous`; `hint` is the newest place where it still may.
  mutating func conflicted(at previous: Index, hint: Index) {
    switch state {
    case .probe:
      // Only the answer to the present question counts; an older one says nothing new.
      guard previous.next == next else { return }
    case .replicate:
      guard previous >= matched else { return }
    case .snapshot:
      return
    }
    // It acknowledged this place and has it no more: its disk was damaged. Should this be a late answer after all,
    // then some entries are sent twice.
    if previous == matched { matched = min(matched, hint) }
    begin(.probe)
    next = max(matched.next, min(hint.next, previous))
  }

  /// The connection broke: whatever was on its way is taken for lost, and the next sign of life resumes.
  mutating func becameUnreachable() {
    guard state != .snapshot else { return }
    begin(.probe)
    next = matched.next
    isPaused = true
  }

  /// A heartbeat was answered. True when entries are on their way of which none was acknowledged for as long as
  /// `patienceTicks`: they may be lost, so the follower should be asked what it has. Heartbeats may be much more
  /// frequent than that, since every round of read confirmations is one.
  mutating func heardHeartbeat(tick: UInt64, patienceTicks: Int) -> Bool {
    let isOverdue = tick >= waitingSinceTick + UInt64(patienceTicks)
    switch state {
    case .probe:
      if isOverdue { isPaused = false }
      return false
    case .snapshot:
      return false
    case .replicate:
      guard matched.next < next, matchedThen == matched else {
        matchedThen = matched
        waitingSinceTick = tick
        return false
      }
      if isOverdue { waitingSinceTick = tick }
      return isOverdue
    }
  }

  mutating func beginSnapshot() { begin(.snapshot) }

  /// The follower has the snapshot, or whatever else it needs for the log to be enough again.
  mutating func endSnapshot(matched index: Index) {
    precondition(state == .snapshot, "\(id) was not sent a snapshot")
    begin(.probe)
    matched = max(matched, index)
    next = matched.next
  }

  private mutating func begin(_ new: State) {
    state = new
    isPaused = false
    asksAgain = false
    inFlight.removeAll(keepingCapacity: true)
    inFlightBytes = 0
    matchedThen = nil
    waitingSinceTick = 0
  }
}
