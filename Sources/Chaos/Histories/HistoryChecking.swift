// The other checks: the two of the room Linearizability, which know nothing of each other and nothing of HistoryAudit.
// One searches an order for each key by itself, without believing a word about order; the other replays all keys in the
// order of the revisions that the answers named.

package import Linearizability

package enum HistoryChecking {
  /// Enough for a key with many operations at once; a search that needs more is reported and not passed over.
  private static let limits = CheckLimits(minimumOperations: 1, stepsPerKey: 20_000_000)

  package static func search(_ operations: [HistoryOperation]) -> Verdict {
    LinearizabilityChecker(limits: limits).check(operations.flatMap(translated))
  }

  /// - Parameter othersWrite: whether revisions are also made by what is not recorded, such as grants.
  package static func replay(_ operations: [HistoryOperation], othersWrite: Bool = false) -> Verdict {
    ReplayChecker(limits: limits, othersWrite: othersWrite).check(operations.flatMap(translated))
  }

  /// What is wrong by either of them; that nothing was decided is wrong as well.
  package static func problems(of operations: [HistoryOperation]) -> [String] {
    let (problems, gaps) = findings(in: operations)
    return problems + gaps
  }

  /// What is wrong by either of them, and why one of them cannot say.
  package static func findings(
    in operations: [HistoryOperation], othersWrite: Bool = false
  ) -> (problems: [String], gaps: [String]) {
    var (problems, gaps): ([String], [String]) = ([], [])
    for (name, verdict) in [
      ("search", search(operations)), ("replay", replay(operations, othersWrite: othersWrite)),
    ] where !verdict.isConsistent {
      if let found = verdict.counterexample {
        problems.append("\(name): \(found)")
      } else {
        gaps.append("\(name): \(verdict)")
      }
    }
    return (problems, gaps)
  }

  /// In the room's words. A comparison that did not hold also read its key in the same instant: that is one more
  /// operation, with the same beginning and end.
  private static func translated(_ operation: HistoryOperation) -> [Operation] {
    var whole = Operation(
      client: UInt64(operation.client), key: bytes(operation.key), action: action(operation.call),
      invoked: operation.invoked, returned: operation.returned, outcome: .unknown)
    switch operation.outcome {
    case .failed: whole.outcome = .failed
    case .unknown: break
    case .ok(.read(let state), let revision): whole.outcome = .ok(observation(state, revision))
    case .ok(.written, let revision), .ok(.exchanged, let revision), .ok(.deleted(true), let revision):
      whole.outcome = .ok(Observation(changed: true, revision: revision))
    case .ok(.deleted(false), let revision): whole.outcome = .ok(Observation(changed: false, revision: revision))
    case .ok(.differed(let state), let revision):
      whole.outcome = .ok(Observation(changed: false, revision: revision))
      var read = whole
      read.action = .get
      read.outcome = .ok(observation(state, revision))
      return [whole, read]
    }
    return [whole]
  }

  private static func observation(_ state: HistoryState, _ revision: Int64) -> Observation {
    Observation(
      value: state.value.map(bytes), modRevision: state.value == nil ? nil : state.modRevision, revision: revision)
  }

  private static func action(_ call: HistoryCall) -> Operation.Action {
    switch call {
    case .get, .getSerializable: .get
    case .put(let value): .put(bytes(value))
    case .delete: .delete
    case .compareAndPut(.modRevision(let revision), let value): .compareAndSwap(.modRevision(revision), bytes(value))
    case .compareAndPut(.value(let old), let value): .compareAndSwap(.value(bytes(old)), bytes(value))
    }
  }

  private static func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
}
