// Owns the model that a key is checked against: a register that is absent or has a value, whose writes have rising
// revisions of which some are not known.
//
// Invariants: a value is a number that stands for its bytes. `lowest` is the lowest revision that the newest write can
// have, so a revision that is learnt later can be refused: a write whose revision is not known takes at least one.

struct Register: Hashable, Sendable {
  /// 0 when the key does not exist.
  private(set) var value = 0
  private var lowest: Int64 = 0
  /// Whether the newest write's revision is `lowest` itself.
  private var isKnown = true
  /// Revisions that the newest write is known not to have.
  private var excluded: [Int64] = []

  /// The register after an operation took effect with the answer that it had, or nil when it cannot have.
  func after(_ operation: KeyOperation) -> Register? {
    switch operation.action {
    case .get: afterGet(operation)
    case .put(let value): writing(value, at: operation.writtenRevision)
    case .delete: afterDelete(operation)
    case .compareAndSwap(let expected, let value): afterSwap(expected, value, operation)
    }
  }

  /// Whether whatever can follow `other` can follow this one.
  func allows(_ other: Register) -> Bool {
    guard value == other.value else { return false }
    if isKnown { return other.isKnown && lowest == other.lowest }
    guard lowest <= other.lowest else { return false }
    if other.isKnown { return !excluded.contains(other.lowest) }
    return excluded.allSatisfy { $0 < other.lowest || other.excluded.contains($0) }
  }

  private func afterGet(_ operation: KeyOperation) -> Register? {
    // A get without an answer tells nothing.
    guard let seen = operation.seen else { return self }
    guard seen == value else { return nil }
    guard seen != 0, let revision = operation.modRevision else { return self }
    return at(revision)
  }

  private func afterDelete(_ operation: KeyOperation) -> Register? {
    let exists = value != 0
    if let changed = operation.changed, changed != exists { return nil }
    return exists ? writing(0, at: operation.writtenRevision) : self
  }

  private func afterSwap(
    _ expected: KeyOperation.Expectation, _ value: Int, _ operation: KeyOperation
  ) -> Register? {
    // One without an answer is only ever tried with its effect: without it, it is left out.
    let matched = operation.changed ?? true
    let seen: Register?
    switch expected {
    case .value(let wanted): seen = (self.value == wanted) == matched ? self : nil
    case .modRevision(0): seen = (self.value == 0) == matched ? self : nil
    case .modRevision(let revision): seen = matched ? (self.value == 0 ? nil : at(revision)) : notAt(revision)
    }
    return matched ? seen?.writing(value, at: operation.writtenRevision) : seen
  }

  /// The newest write has this revision.
  private func at(_ revision: Int64) -> Register? {
    if isKnown { return lowest == revision ? self : nil }
    guard revision >= lowest, !excluded.contains(revision) else { return nil }
    var next = self
    next.lowest = revision
    next.isKnown = true
    next.excluded = []
    return next
  }

  /// The newest write does not have this revision, or there is none.
  private func notAt(_ revision: Int64) -> Register? {
    if value == 0 { return self }
    if isKnown { return lowest == revision ? nil : self }
    guard revision >= lowest, !excluded.contains(revision) else { return self }
    var next = self
    next.excluded.append(revision)
    next.excluded.sort()
    while next.excluded.first == next.lowest {
      next.excluded.removeFirst()
      next.lowest += 1
    }
    return next
  }

  private func writing(_ value: Int, at revision: Int64?) -> Register? {
    if let revision, revision <= lowest { return nil }
    var next = Register()
    next.value = value
    next.lowest = revision ?? lowest + 1
    next.isKnown = revision != nil
    return next
  }
}
