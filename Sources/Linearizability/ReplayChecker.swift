// Owns the check by replay: the store says of everything at which revision it happened, so there is one order of all
// keys to compare with a map, and nothing to search for.
//
// Rules: no two writes made one revision; what began after an answer has a higher revision than that answer if it wrote
// and no lower one otherwise; whatever was read at a revision is what the writes up to it left. Operations without an
// answer may have made revisions that no answer names (gaps). What a get saw at a gap's revision binds the gap to such
// an operation of that key and value for good, once each.
//
// Must never: take a revision that nobody can have made for one that somebody may have.

package struct ReplayChecker: Sendable {
  private let limits: CheckLimits
  private let othersWrite: Bool

  /// - Parameter othersWrite: revisions may also be made by what the history does not record, such as grants.
  package init(limits: CheckLimits = CheckLimits(), othersWrite: Bool = false) {
    self.limits = limits
    self.othersWrite = othersWrite
  }

  package func check(_ history: [Operation]) -> Verdict {
    let answered = history.count { $0.observation?.revision != nil }
    guard answered >= limits.minimumOperations else {
      return .tooFew(operations: answered, needed: limits.minimumOperations)
    }
    var replay = Replay(history, othersWrite: othersWrite, stepsLeft: limits.stepsPerKey)
    do throws(Replay.Stop) {
      try replay.run()
      return .consistent(operations: answered, steps: limits.stepsPerKey - replay.stepsLeft)
    } catch {
      switch error {
      case .broken(let counterexample): return .violation(counterexample)
      case .outOfSteps(let key): return .undecided(key: key, steps: limits.stepsPerKey)
      }
    }
  }
}

struct Replay {
  enum Stop: Error {
    case broken(Counterexample)
    case outOfSteps(Bytes)
  }

  /// A write at a revision: known from its answer, or bound because a get saw it.
  private struct Write {
    let revision: Int64
    let value: Bytes?
    let operation: Operation
  }

  /// What happened to one key.
  private struct Timeline {
    /// By revision.
    var writes: [Write] = []
    /// Writes whose revision no answer names.
    var unplaced: [Operation] = []
  }

  private let history: [Operation]
  private let othersWrite: Bool
  private(set) var stepsLeft: Int
  private var keys: [Bytes: Timeline] = [:]
  /// Revisions that some write's answer names, and gaps that were bound.
  private var owners: [Int64: Operation] = [:]
  private var revisions: [Int64] = []
  private var instants: [(returned: UInt64, highest: Operation)] = []

  init(_ history: [Operation], othersWrite: Bool, stepsLeft: Int) {
    self.history = history.filter { $0.outcome != .failed }.sorted {
      ($0.invoked, $0.returned, $0.client) < ($1.invoked, $1.returned, $1.client)
    }
    self.othersWrite = othersWrite
    self.stepsLeft = stepsLeft
  }

  mutating func run() throws(Stop) {
    gatherInstants()
    try placeWrites()
    try bindGaps()
    try checkGaps()
    for operation in history { try checkTime(operation) }
    for operation in history { try checkReading(operation) }
  }

  private mutating func spend(_ count: Int, _ key: Bytes) throws(Stop) {
    stepsLeft -= count
    if stepsLeft < 0 { throw .outOfSteps(key) }
  }

  private func broken(_ rule: String, _ operations: [Operation]) -> Stop {
    let ordered = operations.sorted { ($0.invoked, $0.returned) < ($1.invoked, $1.returned) }
    return .broken(Counterexample(key: operations.first?.key ?? [], rule: rule, operations: ordered))
  }

  // MARK: Writes

  private mutating func placeWrites() throws(Stop) {
    for operation in history {
      try spend(1, operation.key)
      if operation.hasWritten, let revision = operation.observation?.revision {
        if let other = owners[revision] { throw broken("two writes at revision \(revision)", [other, operation]) }
        owners[revision] = operation
        keys[operation.key, default: Timeline()].writes.append(
          Write(revision: revision, value: operation.written, operation: operation))
      } else if operation.isUnknownWrite || operation.hasWritten {
        keys[operation.key, default: Timeline()].unplaced.append(operation)
      }
    }
    for (key, timeline) in keys {
      keys[key]?.writes = timeline.writes.sorted { $0.revision < $1.revision }
    }
    revisions = owners.keys.sorted()
  }

  /// A revision that no answer names, though a get saw its version.
  private struct Gap {
    let revision: Int64
    let value: Bytes
    let reader: Operation
    /// Whoever made it had begun by then.
    var latest: UInt64
  }

  /// A get that saw a version of a revision that no answer names has found the revision of a write without one.
  private mutating func bindGaps() throws(Stop) {
    var gaps: [Int64: Gap] = [:]
    for operation in history {
      guard operation.action == .get, let value = operation.observation?.value,
        let revision = operation.observation?.modRevision
      else { continue }
      try spend(1, operation.key)
      if let owner = owners[revision] {
        guard owner.key == operation.key, owner.written == value else {
          throw broken("a get saw a version of revision \(revision) that another write made", [owner, operation])
        }
      } else if let gap = gaps[revision] {
        guard gap.reader.key == operation.key, gap.value == value else {
          throw broken("two gets saw different versions of revision \(revision)", [gap.reader, operation])
        }
        gaps[revision]?.latest = min(gap.latest, operation.returned)
      } else {
        let known = instants.countBefore { $0.highest.revision < revision }
        let latest = known < instants.count ? min(operation.returned, instants[known].returned) : operation.returned
        gaps[revision] = Gap(revision: revision, value: value, reader: operation, latest: latest)
      }
    }
    // Whoever can have made a gap can have made any that allows for a later beginning, so taking the most demanding
    // first, and of its candidates the one that began last, finds a writer for each if there is a way to.
    for gap in gaps.values.sorted(by: { ($0.latest, $0.revision) < ($1.latest, $1.revision) }) { try bind(gap) }
    revisions = owners.keys.sorted()
  }

  private mutating func bind(_ gap: Gap) throws(Stop) {
    let key = gap.reader.key
    var timeline = keys[key] ?? Timeline()
    try spend(timeline.unplaced.count + 1, key)
    let place = timeline.unplaced.lastIndex { $0.written == gap.value && $0.invoked <= gap.latest }
    guard let place else {
      throw broken("a get saw a version of revision \(gap.revision) that no write can have made", [gap.reader])
    }
    let writer = timeline.unplaced.remove(at: place)
    owners[gap.revision] = writer
    let write = Write(revision: gap.revision, value: gap.value, operation: writer)
    timeline.writes.insert(write, at: timeline.writes.countBefore { $0.revision < gap.revision })
    keys[key] = timeline
  }

  /// Revisions that nobody's answer names were made by what has no answer.
  private func checkGaps() throws(Stop) {
    guard !othersWrite, let first = revisions.first, let last = revisions.last else { return }
    let missing = Int(last - first) + 1 - revisions.count
    let unplaced = keys.values.reduce(0) { $0 + $1.unplaced.count }
    guard missing > unplaced, let edge = owners[last] else { return }
    throw broken("\(missing) revisions are missing, but only \(unplaced) writes have none", [edge])
  }

  // MARK: Time

  /// For each answer, the highest revision that was known by then.
  private mutating func gatherInstants() {
    for operation in history.sorted(by: { $0.returned < $1.returned }) {
      guard let revision = operation.observation?.revision else { continue }
      if let last = instants.last, last.highest.revision >= revision { continue }
      instants.append((operation.returned, operation))
    }
  }

  private func highest(before instant: UInt64) -> Operation? {
    let count = instants.countBefore { $0.returned < instant }
    return count > 0 ? instants[count - 1].highest : nil
  }

  private func checkTime(_ operation: Operation) throws(Stop) {
    guard let revision = operation.observation?.revision, let before = highest(before: operation.invoked) else {
      return
    }
    if operation.hasWritten, revision <= before.revision {
      throw broken("a write has a revision that was known before it began", [before, operation])
    }
    if revision < before.revision {
      throw broken("a read is older than what was known before it began", [before, operation])
    }
  }

  // MARK: Reading

  private mutating func checkReading(_ operation: Operation) throws(Stop) {
    guard let observation = operation.observation, let revision = observation.revision else { return }
    let at = operation.hasWritten ? revision - 1 : revision
    let timeline = keys[operation.key] ?? Timeline()
    let count = timeline.writes.countBefore { $0.revision <= at }
    let newest = count > 0 ? timeline.writes[count - 1] : nil
    try spend(1, operation.key)
    if operation.isExplained(by: newest?.value, of: newest?.revision) { return }
    // A write without an answer may have come between, at a revision that nobody's answer names.
    try spend(timeline.unplaced.count, operation.key)
    let gap = firstGap(after: newest?.revision ?? 0, through: at)
    let isExplained = timeline.unplaced.contains { candidate in
      guard let gap, candidate.invoked <= operation.returned, candidate != operation else { return false }
      return operation.isExplained(by: candidate.written, of: nil, laterThan: gap - 1)
    }
    if isExplained { return }
    throw broken(
      "at revision \(at) the key was \(newest?.value.map(\.text) ?? "absent"), which this answer contradicts",
      [newest?.operation, operation].compactMap { $0 })
  }

  private func firstGap(after low: Int64, through high: Int64) -> Int64? {
    guard low < high else { return nil }
    let count = revisions.countBefore { $0 <= low }
    var candidate = low + 1
    for revision in revisions[count...] {
      if revision > candidate { break }
      candidate = revision + 1
    }
    return candidate <= high ? candidate : nil
  }
}

extension Operation {
  fileprivate var revision: Int64 { observation?.revision ?? 0 }

  /// What it left, nil for nothing.
  fileprivate var written: Bytes? {
    switch action {
    case .put(let value), .compareAndSwap(_, let value): value
    case .get, .delete: nil
    }
  }

  /// Whether its answer fits a key that has this value, of this revision if it is known.
  fileprivate func isExplained(by value: Bytes?, of mod: Int64?, laterThan low: Int64 = 0) -> Bool {
    guard let observation else { return true }
    switch action {
    case .get:
      guard observation.value == value else { return false }
      guard value != nil, let seen = observation.modRevision else { return true }
      return mod.map { $0 == seen } ?? (seen > low)
    case .put: return true
    case .delete: return observation.changed == (value != nil)
    case .compareAndSwap(.value(let wanted), _): return observation.changed == (value == wanted)
    case .compareAndSwap(.modRevision(0), _): return observation.changed == (value == nil)
    case .compareAndSwap(.modRevision(let wanted), _):
      guard value != nil else { return !observation.changed }
      guard let mod else { return !observation.changed || wanted > low }
      return observation.changed == (mod == wanted)
    }
  }
}

extension Array {
  /// How many elements come before the first of which `isBefore` no longer holds, in an array that it divides in two.
  fileprivate func countBefore(_ isBefore: (Element) -> Bool) -> Int {
    var low = 0
    var high = count
    while low < high {
      let middle = (low + high) / 2
      if isBefore(self[middle]) { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
