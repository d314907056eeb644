// Owns the check that each key by itself is linearizable: a history is if each of its keys is (Herlihy and Wing 1990,
// locality), and keys apart are searched in a tiny part of the time.
//
// Must never: use the order of the store's revisions over several keys. That is the other checker's business, and two
// that share a mistake would not find it.

package struct LinearizabilityChecker: Sendable {
  private let limits: CheckLimits

  package init(limits: CheckLimits = CheckLimits()) {
    self.limits = limits
  }

  package func check(_ history: [Operation]) -> Verdict {
    let answered = history.count { $0.observation != nil }
    guard answered >= limits.minimumOperations else {
      return .tooFew(operations: answered, needed: limits.minimumOperations)
    }
    var steps = 0
    var undecided: Verdict?
    for (key, operations) in partition(history) {
      var search = Search(KeyOperation.all(of: operations))
      let result = search.run(maxSteps: limits.stepsPerKey)
      steps += search.steps
      switch result {
      case .found: break
      case .outOfSteps: undecided = undecided ?? .undecided(key: key, steps: search.steps)
      case .impossible:
        var shrinker = Shrinker(stepsLeft: limits.stepsForShrinking)
        return .violation(shrinker.counterexample(key: key, operations))
      }
    }
    return undecided ?? .consistent(operations: answered, steps: steps)
  }

  private func partition(_ history: [Operation]) -> [(key: Bytes, operations: [Operation])] {
    var places: [Bytes: Int] = [:]
    var parts: [(key: Bytes, operations: [Operation])] = []
    for operation in history {
      if let place = places[operation.key] {
        parts[place].operations.append(operation)
      } else {
        places[operation.key] = parts.count
        parts.append((operation.key, [operation]))
      }
    }
    return parts.sorted { $0.key.precedes($1.key) }
  }
}

/// Makes a history that cannot be explained smaller, so that a person can see why.
///
/// Invariant: it only takes away what a good history stays good without, so what is left is bad because the whole was.
private struct Shrinker {
  var stepsLeft: Int

  mutating func counterexample(key: Bytes, _ operations: [Operation]) -> Counterexample {
    var smallest = operations.sorted { ($0.invoked, $0.returned) < ($1.invoked, $1.returned) }
    smallest = shortestPrefix(of: smallest)
    smallest = withoutNeedless(smallest)
    let parts = KeyOperation.all(of: smallest)
    var search = Search(parts)
    var rule = "no order of these operations explains every answer"
    var stuck: Operation?
    if case .impossible(let place) = search.run(maxSteps: .max), place >= 0 {
      let operation = smallest[parts[place].origin]
      stuck = operation
      rule += "; the furthest that can be explained leaves out: \(operation)"
    }
    let shown = Self.relevant(smallest, to: stuck)
    return Counterexample(key: key, rule: rule, operations: shown, omitted: smallest.count - shown.count)
  }

  /// The last operations, and those that have to do with the value that could not be explained.
  private static func relevant(_ operations: [Operation], to stuck: Operation?) -> [Operation] {
    let most = 24
    guard operations.count > most else { return operations }
    let value = stuck?.observation?.value
    let related = operations.dropLast(most / 2).filter { operation in
      switch operation.action {
      case .put(let written), .compareAndSwap(_, let written): value != nil && written == value
      case .get, .delete: false
      }
    }
    return related.suffix(most / 2) + operations.suffix(most / 2)
  }

  private mutating func isBad(_ operations: [Operation]) -> Bool {
    guard stepsLeft > 0 else { return false }
    var search = Search(KeyOperation.all(of: operations))
    let result = search.run(maxSteps: stepsLeft)
    stepsLeft -= search.steps + operations.count
    if case .impossible = result { return true }
    return false
  }

  /// The history as it was known at an instant is bad from some instant on: what was answered later has no answer yet.
  private mutating func shortestPrefix(of operations: [Operation]) -> [Operation] {
    let instants = operations.filter { $0.observation != nil }.map(\.returned).sorted()
    var low = 0
    var high = instants.count - 1
    while low < high {
      let middle = (low + high) / 2
      if isBad(Self.prefix(of: operations, until: instants[middle])) { high = middle } else { low = middle + 1 }
    }
    guard high >= 0 else { return operations }
    let prefix = Self.prefix(of: operations, until: instants[high])
    return isBad(prefix) ? prefix : operations
  }

  private static func prefix(of operations: [Operation], until instant: UInt64) -> [Operation] {
    operations.compactMap { operation in
      guard operation.invoked <= instant else { return nil }
      guard operation.observation != nil, operation.returned > instant else { return operation }
      var open = operation
      open.outcome = .unknown
      return open
    }
  }

  /// Takes away groups of operations, large runs of groups first, as long as the rest is bad.
  private mutating func withoutNeedless(_ operations: [Operation]) -> [Operation] {
    var kept = operations.filter { $0.outcome != .failed && !($0.action == .get && $0.observation == nil) }
    if kept.count < operations.count, !isBad(kept) { kept = operations }
    var run = max(Self.groups(of: kept).count / 2, 1)
    while stepsLeft > 0 {
      let groups = Self.groups(of: kept)
      var start = 0
      var gone: Set<Int> = []
      while start < groups.count, stepsLeft > 0 {
        let candidate = gone.union(groups[start..<min(start + run, groups.count)].joined())
        if isBad(Self.without(candidate, kept)) { gone = candidate }
        start += run
      }
      kept = Self.without(gone, kept)
      if run == 1 { break }
      run /= 2
    }
    return kept
  }

  private static func without(_ places: Set<Int>, _ operations: [Operation]) -> [Operation] {
    operations.indices.filter { !places.contains($0) }.map { operations[$0] }
  }

  /// What may go together: whatever changed nothing, one by one; and a put with every get of its value where nothing
  /// else can notice it.
  private static func groups(of operations: [Operation]) -> [[Int]] {
    let isPlain = operations.allSatisfy { operation in
      switch operation.action {
      case .get, .put: true
      case .delete, .compareAndSwap: false
      }
    }
    var byValue: [Bytes: Int] = [:]
    var groups: [[Int]] = []
    for (place, operation) in operations.enumerated() {
      let value: Bytes? =
        switch operation.action {
        case .get: operation.observation?.value
        case .put(let value): value
        case .delete, .compareAndSwap: nil
        }
      guard isPlain, let value else {
        if operation.observation != nil, !operation.hasWritten { groups.append([place]) }
        continue
      }
      if let group = byValue[value] {
        groups[group].append(place)
      } else {
        byValue[value] = groups.count
        groups.append([place])
      }
    }
    return groups
  }
}
