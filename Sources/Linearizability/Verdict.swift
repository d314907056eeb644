// Owns what the checkers of this room answer.
// Must never: call a history good that was not searched to the end, or that was too short to mean anything.

package enum Verdict: Sendable, Equatable {
  /// Every operation that was answered has its place in one order.
  case consistent(operations: Int, steps: Int)
  case violation(Counterexample)
  /// The steps ran out before an answer was found.
  case undecided(key: Bytes, steps: Int)
  /// The history is void: a run in which next to nothing was answered shows nothing.
  case tooFew(operations: Int, needed: Int)

  package var isConsistent: Bool {
    if case .consistent = self { return true }
    return false
  }

  package var counterexample: Counterexample? {
    if case .violation(let counterexample) = self { return counterexample }
    return nil
  }
}

package struct Counterexample: Sendable, Equatable, CustomStringConvertible {
  package let key: Bytes
  /// Which rule is broken, in words.
  package let rule: String
  /// Operations that break it together, in the order of their invocation: few, but not always the fewest.
  package let operations: [Operation]
  /// Operations that belong to it as well and are too many to show.
  package let omitted: Int

  init(key: Bytes, rule: String, operations: [Operation], omitted: Int = 0) {
    self.key = key
    self.rule = rule
    self.operations = operations
    self.omitted = omitted
  }

  package var description: String {
    let rest = omitted > 0 ? "\n  and \(omitted) earlier ones" : ""
    return "\(key.text): \(rule)\n" + operations.map { "  \($0)" }.joined(separator: "\n") + rest
  }
}

package struct CheckLimits: Sendable {
  /// Answered operations below which a history is void.
  package var minimumOperations: Int
  /// Steps of the search for one key, a millisecond holding about a thousand of them.
  package var stepsPerKey: Int
  /// Steps for making a counterexample smaller.
  package var stepsForShrinking: Int

  package init(minimumOperations: Int = 100, stepsPerKey: Int = 5_000_000, stepsForShrinking: Int = 2_000_000) {
    self.minimumOperations = minimumOperations
    self.stepsPerKey = stepsPerKey
    self.stepsForShrinking = stepsForShrinking
  }
}
