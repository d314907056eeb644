// Owns what a leader knows about one follower, and the bounds on what is on its way there.
// Must never: take `matched` back. A follower that acknowledged entries has them on its disk.
// Invariants: `matched < next`; entries in flight are all below `next` and above `matched`.

import DequeModule

struct Progress: Sendable {
  /// How entries are sent. `probe` sends one message and waits, since nobody knows yet where the logs agree;
  /// `replicate` sends ahead of the answers.
  enum State: UInt8, Sendable {
    case probe
    case replicate
  }

  private struct InFlight: Sendable {
    var last: Index
    var sizeBytes: Int
  }

  let id: NodeID
  private(set) var state: State = .probe
  private(set) var matched: Index = .beforeFirst
  private(set) var next: Index
  private(set) var inFlightBytes = 0
  private var inFlight: Deque<InFlight> = []
  /// In `probe`: the question is out, and only an answer or a sign of life allows another one.
  private(set) var isPaused = false
  /// Heard from since the leader last counted its quorum.
  var isActive = true
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

  init(id: NodeID, next: Index) {
    self.id = id
    self.next = next
  }

  var inFlightCount: Int { inFlight.count }

  func maySend(within limits: Limits) -> Bool {
    if fetching != nil { return false }
    switch state {
    case .probe: return !isPaused
    case .replicate: return inFlight.count < limits.maxInFlightMessages && inFlightBytes < limits.maxInFlightBytes
    }
  }

  mutating func sent(through last: Index, sizeBytes: Int, tick: UInt64) {
    switch state {
    case .probe:
      // `next` stays: until the follower agrees, the same place is asked about again.
      isPaused = true
      waitingSinceTick = tick
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
      guard previous > matched else { return }
    }
    begin(.probe)
    next = max(matched.next, min(hint.next, previous))
  }

  /// The connection broke: whatever was on its way is taken for lost, and the next sign of life resumes.
  mutating func becameUnreachable() {
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

  private mutating func begin(_ new: State) {
    state = new
    isPaused = false
    inFlight.removeAll(keepingCapacity: true)
    inFlightBytes = 0
    matchedThen = nil
    waitingSinceTick = 0
  }
}
