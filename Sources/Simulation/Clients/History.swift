// Owns what clients saw: when each request for a key began and ended, and with what.
// Must never: know an index of the log or anything else that no client is told. The independent checker lives on this.
// Invariant: a request that was certainly not carried out is not in it; one whose end nobody knows stays open.

import CoordinationCore
import Linearizability

struct History {
  enum Result: Equatable {
    case value(UInt64?, modRevision: Revision?, at: Revision)
    /// Of a write: whether it changed something, and at which revision, where the answer tells.
    case wrote(Bool, revision: Revision?)
  }

  struct Item {
    var id: UInt64
    var work: Operation.Work
    var invokedAt: UInt64
    var returnedAt: UInt64?
    var result: Result?
    var isRemoved = false
  }

  private(set) var byKey: [[Item]] = []
  /// Where the item of a request is, by its number.
  private var places: [UInt64: (key: Int, position: Int)] = [:]
  private(set) var open: [Int] = []
  private(set) var completed = 0

  mutating func invoke(_ id: UInt64, _ work: Operation.Work, key: Int, at now: UInt64) {
    while byKey.count <= key {
      byKey.append([])
      open.append(0)
    }
    places[id] = (key, byKey[key].count)
    byKey[key].append(Item(id: id, work: work, invokedAt: now))
    open[key] += 1
  }

  mutating func complete(_ id: UInt64, _ result: Result, at now: UInt64) {
    guard let place = places[id], byKey[place.key][place.position].returnedAt == nil else { return }
    byKey[place.key][place.position].returnedAt = now
    byKey[place.key][place.position].result = result
    open[place.key] -= 1
    completed += 1
  }

  mutating func remove(_ id: UInt64) {
    guard let place = places[id], byKey[place.key][place.position].returnedAt == nil else { return }
    byKey[place.key][place.position].isRemoved = true
    open[place.key] -= 1
  }
}

extension History.Item {
  fileprivate func operation(key: Key) -> Linearizability.Operation? {
    guard !isRemoved else { return nil }
    let action: Linearizability.Operation.Action
    switch work {
    case .get: action = .get
    case .put: action = .put(ValueBytes.encode(id, sizeBytes: 8))
    case .delete: action = .delete
    case .compare(_, let revision):
      action = .compareAndSwap(.modRevision(revision), ValueBytes.encode(id, sizeBytes: 8))
    default: return nil
    }
    return Linearizability.Operation(
      client: id, key: key.bytes, action: action, invoked: invokedAt, returned: returnedAt ?? .max,
      outcome: outcome)
  }

  private var outcome: Linearizability.Operation.Outcome {
    switch result {
    case .value(let value, let modRevision, let revision):
      let bytes = value.map { ValueBytes.encode($0, sizeBytes: 8) }
      return .ok(Observation(value: bytes, modRevision: modRevision, revision: revision))
    case .wrote(let changed, let revision): return .ok(Observation(changed: changed, revision: revision))
    case nil: return .unknown
    }
  }
}

extension Simulator {
  private static let searchSteps = 300_000

  /// The whole history of the run: key by key, by a search that knows nothing of logs, and all keys together, by replay
  /// in the order of the revisions that clients were told.
  mutating func judgeHistory() throws(Broken) {
    var operations: [Linearizability.Operation] = []
    for (key, items) in history.byKey.enumerated() {
      operations += items.compactMap { $0.operation(key: keys.key(key)) }
    }
    let limits = CheckLimits(minimumOperations: 0, stepsPerKey: Self.searchSteps)
    try judge("every key is linearizable", LinearizabilityChecker(limits: limits).check(operations))
    try judge(
      "answers follow the order of revisions", ReplayChecker(limits: limits, othersWrite: true).check(operations))
  }

  private mutating func judge(_ rule: String, _ verdict: Linearizability.Verdict) throws(Broken) {
    switch verdict {
    case .consistent: break
    case .violation(let counterexample): throw Broken(rule, "\(counterexample)")
    // A search that is given up proves nothing either way; the report tells how many there were.
    case .undecided, .tooFew: historiesUndecided += 1
    }
  }
}
