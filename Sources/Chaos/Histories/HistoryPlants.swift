// Proof that the alarm works on the very history that was found good: one answer in it is changed into what a broken
// cluster would have said, and every check must see it.

package struct HistoryPlant: Sendable {
  package let name: String
  package let operations: [HistoryOperation]
  /// The key that it is about.
  package let key: String
}

package struct HistoryPlants {
  private let operations: [HistoryOperation]
  /// Who wrote a value, where that was acknowledged.
  private var writers: [String: HistoryOperation] = [:]
  /// What a value replaced.
  private var replaced: [String: HistoryState] = [:]

  package init(_ operations: [HistoryOperation], log: [HistoryEvent]) {
    self.operations = operations
    for operation in operations where operation.writtenRevision != nil {
      if let value = operation.call.value { writers[value] = operation }
    }
    var current: [String: HistoryState] = [:]
    for event in log {
      if let value = event.value { replaced[value] = current[event.key] ?? .absent }
      current[event.key] = event.value.map { HistoryState(value: $0, modRevision: event.revision) } ?? .absent
    }
  }

  package static let names: Set<String> = [
    "a stale read", "a write that was refused and done", "a comparison with what was no longer there",
  ]

  /// One of each kind that the history has a place for.
  package var all: [HistoryPlant] { [staleRead, forgottenWrite, secondExchange].compactMap { $0 } }

  /// A read that shows what was there before the newest write, although that write had returned.
  private var staleRead: HistoryPlant? {
    for (place, operation) in operations.enumerated() {
      guard operation.call == .get, case .ok(.read(let seen), let revision) = operation.outcome,
        let old = clearlyReplaced(by: seen.value, before: operation)
      else { continue }
      return plant("a stale read", at: place, .ok(.read(old), revision: revision))
    }
    return nil
  }

  /// A write that was refused, and whose value was read all the same.
  private var forgottenWrite: HistoryPlant? {
    let read = operations.lazy.compactMap { operation -> String? in
      guard operation.call == .get, case .ok(.read(let seen), _) = operation.outcome else { return nil }
      return seen.value
    }
    for value in read {
      let place = operations.firstIndex { $0.call.value == value && $0.writtenRevision != nil }
      if let place { return plant("a write that was refused and done", at: place, .failed("planted")) }
    }
    return nil
  }

  /// A comparison that held although another write had come between and had returned.
  private var secondExchange: HistoryPlant? {
    for (place, operation) in operations.enumerated() {
      guard case .compareAndPut(.modRevision(let expected), _) = operation.call, expected != 0,
        case .ok(.differed(let seen), let revision) = operation.outcome,
        let old = clearlyReplaced(by: seen.value, before: operation), old.modRevision == expected
      else { continue }
      return plant("a comparison with what was no longer there", at: place, .ok(.exchanged, revision: revision))
    }
    return nil
  }

  /// What `value` replaced, if all of it had been written and acknowledged one after the other before `operation`.
  private func clearlyReplaced(by value: String?, before operation: HistoryOperation) -> HistoryState? {
    guard let value, let writer = writers[value], writer.returned < operation.invoked, let old = replaced[value],
      let oldWriter = old.value.flatMap({ writers[$0] }), oldWriter.returned < writer.invoked
    else { return nil }
    return old
  }

  private func plant(_ name: String, at place: Int, _ outcome: HistoryOutcome) -> HistoryPlant {
    let old = operations[place]
    var changed = operations
    changed[place] = HistoryOperation(
      client: old.client, node: old.node, key: old.key, call: old.call, invoked: old.invoked, returned: old.returned,
      outcome: outcome)
    return HistoryPlant(name: name, operations: changed, key: old.key)
  }
}
