// Owns the shape of a history: what clients asked of single keys, when, and what they were told.
// Must never: know how it was recorded. Times are any numbers that order invocations and answers on one clock, such as
// nanoseconds of one machine or steps of a simulator; keys and values are bytes.

package typealias Bytes = [UInt8]

package struct Operation: Sendable, Equatable {
  package enum Action: Sendable, Equatable {
    case get
    case put(Bytes)
    case delete
    case compareAndSwap(Expectation, Bytes)
  }

  /// What a compare-and-swap demands of the key before it writes.
  package enum Expectation: Sendable, Equatable {
    /// The revision that made the key's version; 0 demands that the key does not exist.
    case modRevision(Int64)
    case value(Bytes)
  }

  package enum Outcome: Sendable, Equatable {
    case ok(Observation)
    /// The client was told that it was not and will not be executed: it must never show an effect.
    case failed
    /// No answer, or one that leaves it open: it may take effect at any time from its invocation on, or never.
    case unknown
  }

  package var client: UInt64
  package var key: Bytes
  package var action: Action
  package var invoked: UInt64
  /// When the answer came; it counts for answered operations only.
  package var returned: UInt64
  package var outcome: Outcome

  package init(
    client: UInt64, key: Bytes, action: Action, invoked: UInt64, returned: UInt64, outcome: Outcome
  ) {
    self.client = client
    self.key = key
    self.action = action
    self.invoked = invoked
    self.returned = returned
    self.outcome = outcome
  }
}

/// What an answer told. What was not recorded is left out, and is then not checked.
package struct Observation: Sendable, Equatable {
  /// Of a get: the value, nil when the key did not exist.
  package var value: Bytes?
  /// Of a get that found the key: the revision that made what it read.
  package var modRevision: Int64?
  /// Of a delete: whether there was something to delete. Of a compare-and-swap: whether it wrote.
  package var changed: Bool
  /// The store's revision at which it happened: of a write the one that it made, of a get and of what changed nothing
  /// the one that it was read at.
  package var revision: Int64?

  package init(value: Bytes? = nil, modRevision: Int64? = nil, changed: Bool = true, revision: Int64? = nil) {
    self.value = value
    self.modRevision = modRevision
    self.changed = changed
    self.revision = revision
  }
}

extension Operation {
  package var observation: Observation? {
    if case .ok(let observation) = outcome { return observation }
    return nil
  }

  /// Whether it is certain to have written.
  var hasWritten: Bool {
    guard let observation else { return false }
    switch action {
    case .get: return false
    case .put: return true
    case .delete, .compareAndSwap: return observation.changed
    }
  }

  var isUnknownWrite: Bool { outcome == .unknown && action != .get }
}

extension Operation: CustomStringConvertible {
  package var description: String {
    let what =
      switch action {
      case .get: "get"
      case .put(let value): "put \(value.text)"
      case .delete: "delete"
      case .compareAndSwap(.modRevision(let revision), let value): "if at revision \(revision) put \(value.text)"
      case .compareAndSwap(.value(let old), let value): "if \(old.text) put \(value.text)"
      }
    return "client \(client) [\(invoked), \(outcome == .unknown ? "?" : "\(returned)")] \(key.text): \(what) \(told)"
  }

  private var told: String {
    guard let observation else { return outcome == .failed ? "failed" : "unknown" }
    let result =
      switch action {
      case .get: "= \(observation.value.map(\.text) ?? "nothing")"
      case .put: "done"
      case .delete, .compareAndSwap: observation.changed ? "done" : "not done"
      }
    let mod = observation.modRevision.map { " of revision \($0)" } ?? ""
    return result + mod + (observation.revision.map { " at revision \($0)" } ?? "")
  }
}

extension Bytes {
  /// The bytes as text where they are some, and as numbers otherwise.
  var text: String {
    guard let text = String(validating: self, as: UTF8.self), !text.isEmpty else { return "\(self)" }
    return text
  }

  /// Bytewise, so that keys are always visited in the same order.
  func precedes(_ other: Bytes) -> Bool { lexicographicallyPrecedes(other) }
}
