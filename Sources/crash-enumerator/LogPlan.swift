// Owns what the recorded program does to a log, and what the log is after each step of it. Both follow from the seed, so
// that whoever checks a crash state knows what was written without having been there.

import CrashStates
import LogStorage
import RaftCore

/// What a log holds, as far as anybody may rely on it.
struct LogContent: Equatable {
  var hardState = HardState.initial
  var entries: [Entry] = []
}

struct LogPlan {
  enum Step {
    /// Handed over as one batch.
    case append([Persist])
    case settle
    case reopen
  }

  static let identity = Identity(clusterID: 0xC1A5, nodeID: NodeID(7), incarnation: 3)

  let options: LogStorage.Options
  /// Whether a LogWriter with its own thread writes, which makes groups as they come.
  let hasWriter: Bool
  private(set) var steps: [Step] = []
  /// What the log is after each persist; the first is the empty log.
  private(set) var contents = [LogContent()]

  private var choosing: Choosing
  private var content = LogContent()
  private var clock: UInt64 = 0
  private var sequence: UInt64 = 0

  init(seed: UInt64, steps count: Int) {
    choosing = Choosing(seed: seed)
    hasWriter = seed % 3 == 2
    options = LogStorage.Options(
      mapBytes: 4 << 20, maximumMapBytes: 64 << 20, reserveBytes: 1 << 20,
      fileStepBytes: choosing.below(2) == 0 ? 0 : 64 << 10, diskReserveBytes: 0, minimumFreeBytes: 0,
      journalBytes: 64 << 10,
      truncationStepEntries: choosing.below(2) == 0 ? 4 : 1024)
    for _ in 0..<count { addStep() }
  }

  private mutating func addStep() {
    switch choosing.below(100) {
    case 0..<40: steps.append(.append([persist()]))
    case 40..<55: steps.append(.append((0..<(2 + choosing.below(4))).map { _ in persist() }))
    case 55..<70: steps.append(.append([conflict()]))
    case 70..<74: steps.append(.append([persist(), conflict(), persist()]))
    case 74..<80: steps.append(.append([hardStateOnly()]))
    case 80..<86: steps.append(.append([persist(entries: 20 + choosing.below(30))]))
    case 86..<93: steps.append(.settle)
    default: steps.append(.reopen)
    }
  }

  /// Adds a few entries, and now and then a new term with them.
  private mutating func persist(entries count: Int? = nil) -> Persist {
    var hardState: HardState?
    if content.hardState.term == Term(0) || choosing.below(8) == 0 { hardState = newTerm() }
    let new = (0..<(count ?? 1 + choosing.below(4))).map { _ in entry() }
    return take(hardState, removeFrom: nil, new)
  }

  /// A new leader's entries in the place of some of the last ones.
  private mutating func conflict() -> Persist {
    guard !content.entries.isEmpty else { return persist() }
    let hardState = newTerm()
    let depth = choosing.below(3) == 0 ? content.entries.count : min(content.entries.count, 12)
    let kept = content.entries.count - 1 - choosing.below(depth)
    content.entries.removeLast(content.entries.count - kept)
    let new = (0..<choosing.below(4)).map { _ in entry() }
    return take(hardState, removeFrom: Index(UInt64(kept) + 1), new)
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
    let size = choosing.below(10) == 0 ? choosing.below(3000) : choosing.below(200)
    let entry = Entry(
      index: Index(UInt64(content.entries.count) + 1), term: content.hardState.term, clockMilliseconds: clock,
      kind: choosing.below(8) == 0 ? .noOp : .command,
      payload: (0..<size).map { _ in UInt8(truncatingIfNeeded: choosing.next()) })
    content.entries.append(entry)
    return entry
  }

  private mutating func take(_ hardState: HardState?, removeFrom: Index?, _ new: [Entry]) -> Persist {
    sequence += 1
    contents.append(content)
    return Persist(sequence: sequence, hardState: hardState, removeFrom: removeFrom, entries: new)
  }
}
