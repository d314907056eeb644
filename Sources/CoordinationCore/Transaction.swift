// Transactions as etcd has them: comparisons decide which of two lists of operations runs, all at one revision.

package struct PutRequest: Sendable, Equatable {
  package var key: Key
  package var value: Bytes
  package var lease: LeaseID = 0
  package var wantsPrevious = false
  /// Keep the value that the key has; the key must exist.
  package var ignoresValue = false
  /// Keep the lease that the key has; the key must exist.
  package var ignoresLease = false

  package init(key: Key, value: Bytes) {
    self.key = key
    self.value = value
  }
}

package struct DeleteRequest: Sendable, Equatable {
  package var range: KeyRange
  package var wantsPrevious: Bool

  package init(range: KeyRange, wantsPrevious: Bool) {
    self.range = range
    self.wantsPrevious = wantsPrevious
  }
}

package struct Compare: Sendable {
  package enum Target: Sendable {
    case version(Int64)
    case createRevision(Revision)
    case modRevision(Revision)
    case value(Bytes)
    case lease(LeaseID)
  }

  package enum Relation: UInt8, Sendable { case equal, greater, less, notEqual }

  package var range: KeyRange
  package var target: Target
  package var relation: Relation

  package init(range: KeyRange, target: Target, relation: Relation) {
    self.range = range
    self.target = target
    self.relation = relation
  }

  /// Whether the comparison holds of a version, or of no version at all: a key that does not exist has version 0,
  /// revisions 0 and no lease, but no value, so that a comparison of its value fails whatever the relation.
  func holds(of version: KeyVersion?) -> Bool {
    switch target {
    case .version(let wanted): relates(version?.version ?? 0, wanted)
    case .createRevision(let wanted): relates(version?.createRevision ?? 0, wanted)
    case .modRevision(let wanted): relates(version?.modRevision ?? 0, wanted)
    case .lease(let wanted): relates(version?.lease ?? 0, wanted)
    case .value(let wanted): version.map { relates(Key($0.value), Key(wanted)) } ?? false
    }
  }

  private func relates<T: Comparable>(_ seen: T, _ wanted: T) -> Bool {
    switch relation {
    case .equal: seen == wanted
    case .notEqual: seen != wanted
    case .greater: seen > wanted
    case .less: seen < wanted
    }
  }
}

package struct TransactionRequest: Sendable {
  package enum Operation: Sendable {
    case range(RangeQuery)
    case put(PutRequest)
    case delete(DeleteRequest)
    indirect case transaction(TransactionRequest)
  }

  package var compares: [Compare] = []
  package var success: [Operation] = []
  package var failure: [Operation] = []

  package init() {}

  package var isReadOnly: Bool {
    (success + failure).allSatisfy { operation in
      switch operation {
      case .range: true
      case .put, .delete: false
      case .transaction(let inner): inner.isReadOnly
      }
    }
  }

  /// Refuses a transaction with more operations than `limit` (the longest of its three lists counts, and what is
  /// nested has what is left over), and one whose puts and deletes touch a key twice.
  package func validate(limit: Int) throws(RequestError) {
    let longest = max(compares.count, success.count, failure.count)
    guard longest <= limit else { throw .tooManyOperations(limit: limit) }
    for operation in success + failure {
      if case .transaction(let inner) = operation { try inner.validate(limit: limit - longest) }
    }
    _ = try Self.touched(by: success)
    _ = try Self.touched(by: failure)
  }

  private struct Touched {
    var puts: [Key] = []
    var deletes: [KeyRange] = []
  }

  /// What a list of operations writes. Branches of a nested transaction may touch the same key, since only one runs;
  /// what either touches must not meet what its surroundings touch.
  private static func touched(by operations: [Operation]) throws(RequestError) -> Touched {
    var all = Touched()
    for case .delete(let delete) in operations { all.deletes.append(delete.range) }
    for case .transaction(let inner) in operations {
      let then = try touched(by: inner.success)
      let otherwise = try touched(by: inner.failure)
      let puts = then.puts + otherwise.puts.filter { !then.puts.contains($0) }
      try refuseOverlap(puts: puts, with: all)
      for range in then.deletes + otherwise.deletes where all.puts.contains(where: range.contains) {
        throw .duplicateKey
      }
      all.puts += puts
      all.deletes += then.deletes + otherwise.deletes
    }
    for case .put(let put) in operations {
      try refuseOverlap(puts: [put.key], with: all)
      all.puts.append(put.key)
    }
    return all
  }

  private static func refuseOverlap(puts: [Key], with all: Touched) throws(RequestError) {
    for key in puts where all.puts.contains(key) || all.deletes.contains(where: { $0.contains(key) }) {
      throw .duplicateKey
    }
  }
}

/// What a comparison met of which it did not hold.
package struct FailedCompare: Sendable {
  /// The comparison's place in its transaction, from 0.
  package let index: Int
  /// Of a range, the first one of which it did not hold; nil where there was no key.
  package let version: KeyVersion?
}

package struct TransactionResult: Sendable {
  package enum OperationResult: Sendable {
    case range(RangeResult, keysOnly: Bool)
    case put(previous: KeyVersion?)
    case deleted(count: Int, previous: [KeyVersion])
    indirect case transaction(TransactionResult)
  }

  package let succeeded: Bool
  /// Why it did not succeed, in the order of the comparisons; empty if it did. It is what the state showed when the branch
  /// was chosen, evidence for whoever asked then, and no part of what is remembered of a request.
  package let failed: [FailedCompare]
  /// Each with the revision that its own header carries.
  package let results: [(result: OperationResult, revision: Revision)]
}

// MARK: - Applying

extension Coordination {
  mutating func transact(_ request: TransactionRequest) throws(RequestError) -> TransactionResult {
    let plan = decide(request)
    try checkPuts(of: plan)
    try checkRanges(of: plan)
    return try run(plan)
  }

  /// Answers a transaction that writes nothing, without a place in the log.
  package func answer(readOnly request: TransactionRequest) throws(RequestError) -> TransactionResult {
    precondition(request.isReadOnly, "a transaction that writes goes through the log")
    var scratch = self
    return try scratch.transact(request)
  }

  /// Which branch runs, decided for every level before anything is changed, as etcd does.
  private struct Plan {
    let failed: [FailedCompare]
    let steps: [Step]
  }

  private enum Step {
    case operation(TransactionRequest.Operation)
    indirect case nested(Plan)
  }

  private func decide(_ request: TransactionRequest) -> Plan {
    let failed = request.compares.enumerated().compactMap { index, compare in failure(of: compare, at: index) }
    let steps = (failed.isEmpty ? request.success : request.failure).map { operation -> Step in
      if case .transaction(let inner) = operation { return .nested(decide(inner)) }
      return .operation(operation)
    }
    return Plan(failed: failed, steps: steps)
  }

  /// Nil if the comparison holds.
  private func failure(of compare: Compare, at index: Int) -> FailedCompare? {
    if case .single = compare.range.end {
      let version = store.current(compare.range.start)
      return compare.holds(of: version) ? nil : FailedCompare(index: index, version: version)
    }
    guard let found = try? store.range(RangeQuery(range: compare.range)), !found.versions.isEmpty else {
      return compare.holds(of: nil) ? nil : FailedCompare(index: index, version: nil)
    }
    return found.versions.first { !compare.holds(of: $0) }.map { FailedCompare(index: index, version: $0) }
  }

  /// All puts before any range, as etcd does: of a transaction that lacks something for both, the put is told of.
  private func checkPuts(of plan: Plan) throws(RequestError) {
    for step in plan.steps {
      switch step {
      case .nested(let inner): try checkPuts(of: inner)
      case .operation(.put(let put)): try check(put)
      case .operation: break
      }
    }
  }

  private func checkRanges(of plan: Plan) throws(RequestError) {
    for step in plan.steps {
      switch step {
      case .nested(let inner): try checkRanges(of: inner)
      case .operation(.range(let query)):
        // A read alone takes a negative revision for none; in a transaction it is one that is long gone.
        if query.revision < 0 { throw .compacted(asked: query.revision, compacted: store.compactedRevision) }
        try store.check(readAt: query.revision)
      case .operation: break
      }
    }
  }

  private mutating func run(_ plan: Plan) throws(RequestError) -> TransactionResult {
    var results: [(result: TransactionResult.OperationResult, revision: Revision)] = []
    results.reserveCapacity(plan.steps.count)
    for step in plan.steps {
      let result: TransactionResult.OperationResult
      switch step {
      case .nested(let inner): result = .transaction(try run(inner))
      case .operation(.range(let query)): result = .range(try store.range(query), keysOnly: query.keysOnly)
      case .operation(.put(let request)):
        let previous = put(request)
        result = .put(previous: request.wantsPrevious ? previous : nil)
      case .operation(.delete(let request)):
        let deleted = delete(request.range)
        result = .deleted(count: deleted.count, previous: request.wantsPrevious ? deleted : [])
      case .operation(.transaction): preconditionFailure("nested transactions are planned as such")
      }
      results.append((result, store.hasPendingChanges ? store.pendingRevision : store.revision))
    }
    return TransactionResult(succeeded: plan.failed.isEmpty, failed: plan.failed, results: results)
  }
}
