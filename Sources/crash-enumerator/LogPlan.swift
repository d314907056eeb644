// Owns what the recorded program does to a log, and what the log is after each step of it. Both follow from the seed, so
// that whoever checks a crash state knows what was written without having been there.

import CrashStates
import LogStorage
import RaftCore

/// What a log holds, as far as anybody may rely on it.
struct LogContent: Equatable {
  var hardState = HardState.initial
  /// Behind which place the log begins.
  var base = LogBase(index: .beforeFirst, term: Term(0), clockMilliseconds: 0)
  var entries: [Entry] = []
  var snapshot: SnapshotPoint?

  var lastIndex: Index { base.index.advanced(by: entries.count) }

  /// Forgets everything up to `index`, which the log holds.
  mutating func begin(behind index: Index) {
    let count = index.distance(from: base.index)
    guard count > 0 else { return }
    let last = entries[count - 1]
    base = LogBase(index: last.index, term: last.term, clockMilliseconds: last.clockMilliseconds)
    entries.removeFirst(count)
  }
}

struct LogPlan {
  struct Step {
    var action: Action
    /// How many changes there were with it.
    var changes: Int
  }

  enum Action {
    /// Handed over as one batch, one change each.
    case append([Persist])
    case settle
    case reopen
    case snapshot(SnapshotPoint, [UInt8])
    case compact(before: Index)
    case removeGarbage
    case prune
    /// A snapshot that comes in from a leader, and the persist that puts it in the log's place: two changes.
    case install(SnapshotPoint, [UInt8], Persist)
  }

  static let identity = Identity(clusterID: 0xC1A5, nodeID: NodeID(7), incarnation: 3)

  let options: LogStorage.Options
  /// Whether a LogWriter with its own thread writes, which makes groups as they come. It only gets persists.
  let hasWriter: Bool
  private(set) var steps: [Step] = []
  /// What the log is after each change; the first is the empty log.
  private(set) var contents = [LogContent()]
  /// The bytes of the snapshot at each index.
  private(set) var snapshots: [Index: [UInt8]] = [:]

  private var choosing: Choosing
  private var content = LogContent()
  private var clock: UInt64 = 0

  init(seed: UInt64, steps count: Int) {
    choosing = Choosing(seed: seed)
    hasWriter = seed % 3 == 2
    options = LogStorage.Options(
      mapBytes: 4 << 20, maximumMapBytes: 64 << 20, reserveBytes: 1 << 20,
      fileStepBytes: choosing.below(2) == 0 ? 0 : 64 << 10, diskReserveBytes: 0, minimumFreeBytes: 0,
      journalBytes: 64 << 10, truncationStepEntries: choosing.below(2) == 0 ? 4 : 1024)
    for _ in 0..<count { addStep() }
  }

  private mutating func addStep() {
    switch choosing.below(hasWriter ? 90 : 120) {
    case 0..<35: add(.append([persist()]))
    case 35..<50: add(.append((0..<(2 + choosing.below(4))).map { _ in persist() }))
    case 50..<62: add(.append([conflict()]))
    case 62..<66: add(.append([persist(), conflict(), persist()]))
    case 66..<72: add(.append([hardStateOnly()]))
    case 72..<77: add(.append([persist(entries: 20 + choosing.below(30))]))
    case 77..<83: add(.settle)
    case 83..<90: add(.reopen)
    case 90..<100: addSnapshot()
    case 100..<109: addCompaction()
    case 109..<112: add(.removeGarbage)
    case 112..<114: add(.prune)
    default: addInstall()
    }
  }

  private mutating func add(_ action: Action) {
    steps.append(Step(action: action, changes: contents.count - 1))
  }

  private mutating func take(_ hardState: HardState?, removeFrom: Index?, base: LogBase? = nil, _ new: [Entry])
    -> Persist
  {
    contents.append(content)
    return Persist(
      sequence: UInt64(contents.count - 1), hardState: hardState, removeFrom: removeFrom, base: base, entries: new)
  }
}

// MARK: - Persists

extension LogPlan {
  /// Adds a few entries, and now and then a new term with them.
  private mutating func persist(entries count: Int? = nil) -> Persist {
    var hardState: HardState?
    if content.hardState.term == Term(0) || choosing.below(8) == 0 { hardState = newTerm() }
    let new = (0..<(count ?? 1 + choosing.below(4))).map { _ in entry() }
    return take(hardState, removeFrom: nil, new)
  }

  /// A new leader's entries in the place of some of the last ones. What a snapshot holds was committed, and stays.
  private mutating func conflict() -> Persist {
    let floor = max(content.base.index, content.snapshot?.index ?? .beforeFirst)
    let open = content.lastIndex.distance(from: min(floor, content.lastIndex))
    guard open > 0 else { return persist() }
    let hardState = newTerm()
    let depth = choosing.below(3) == 0 ? open : min(open, 12)
    content.entries.removeLast(1 + choosing.below(depth))
    let removeFrom = content.lastIndex.next
    let new = (0..<choosing.below(4)).map { _ in entry() }
    return take(hardState, removeFrom: removeFrom, new)
  }

  private mutating func hardStateOnly() -> Persist {
    if content.hardState.votedFor == nil, content.hardState.term > Term(0) {
      content.hardState.votedFor = NodeID(UInt64(1 + choosing.below(5)))
      return take(content.hardState, removeFrom: nil, [])
    }
    return take(newTerm(), removeFrom: nil, [])
  }

  private mutating func newTerm() -> HardState {
    content.hardState.term = Term(content.hardState.term.rawValue + 1 + UInt64(choosing.below(2)))
    content.hardState.votedFor = choosing.below(2) == 0 ? nil : NodeID(UInt64(1 + choosing.below(5)))
    return content.hardState
  }

  private mutating func entry() -> Entry {
    clock += UInt64(choosing.below(50))
    let index = content.lastIndex.next
    let kind: Entry.Kind = choosing.below(8) == 0 ? .noOp : choosing.below(12) == 0 ? .membership : .command
    let size = choosing.below(10) == 0 ? choosing.below(3000) : choosing.below(200)
    let record = MembershipRecord(membership: membership(), context: [UInt8(truncatingIfNeeded: index.rawValue)])
    let entry = Entry(
      index: index, term: content.hardState.term, clockMilliseconds: clock, kind: kind,
      payload: kind == .membership ? record.encoded() : random(size))
    content.entries.append(entry)
    return entry
  }

  private mutating func random(_ count: Int) -> [UInt8] {
    (0..<count).map { _ in UInt8(truncatingIfNeeded: choosing.next()) }
  }

  private mutating func membership() -> Membership {
    Membership(voters: (1...UInt64(1 + choosing.below(5))).map { NodeID($0) })
  }
}

// MARK: - Snapshots

extension LogPlan {
  /// Of the state as of some entry that the log holds.
  private mutating func addSnapshot() {
    let oldest = max(content.base.index, content.snapshot?.index ?? .beforeFirst).next
    guard oldest <= content.lastIndex else { return add(.settle) }
    let index = oldest.advanced(by: choosing.below(content.lastIndex.distance(from: oldest) + 1))
    let entry = content.entries[index.distance(from: content.base.index) - 1]
    let point = SnapshotPoint(
      index: index, term: entry.term, clockMilliseconds: entry.clockMilliseconds, membership: membership())
    content.snapshot = point
    contents.append(content)
    add(.snapshot(point, snapshotBytes(at: index)))
  }

  private mutating func snapshotBytes(at index: Index) -> [UInt8] {
    let bytes = random(choosing.below(12) == 0 ? 260 << 10 : choosing.below(4000))
    snapshots[index] = bytes
    return bytes
  }

  private mutating func addCompaction() {
    guard let snapshot = content.snapshot, snapshot.index > content.base.index else { return add(.settle) }
    let behind = content.base.index.advanced(by: 1 + choosing.below(snapshot.index.distance(from: content.base.index)))
    content.begin(behind: behind)
    contents.append(content)
    add(.compact(before: behind.next))
  }

  private mutating func addInstall() {
    let hardState = newTerm()
    clock += 10
    let point = SnapshotPoint(
      index: content.lastIndex.advanced(by: 1 + choosing.below(20)), term: content.hardState.term,
      clockMilliseconds: clock, membership: membership())
    // The term was durable before the leader's snapshot came in.
    add(.append([take(hardState, removeFrom: nil, [])]))
    let bytes = snapshotBytes(at: point.index)
    let base = LogBase(index: point.index, term: point.term, clockMilliseconds: point.clockMilliseconds)
    // A snapshot that is ahead of the log takes its place at the next opening, with or without the persist.
    (content.base, content.entries, content.snapshot) = (base, [], point)
    contents.append(content)
    let persist = take(nil, removeFrom: nil, base: base, [])
    add(.install(point, bytes, persist))
  }
}
