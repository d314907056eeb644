// Owns what the state must be after each entry: by comparing nodes with each other, and all of them with a small model
// of keys, leases and scopes that shares no code with the state.
// Must never: look at the state of a node to decide what is right. Only outcomes are judged.
// Invariant: everything here is about committed entries in their order.

import CoordinationCore
import RaftCore

struct StateChecker {
  /// How often nodes compare all of their state and not only the outcomes.
  static let sampleEvery: UInt64 = 128

  private struct Version {
    var index: RaftCore.Index
    var revision: Revision
    /// nil for a key that was deleted.
    var value: UInt64?
  }

  /// What one revision changed.
  struct Change {
    var revision: Revision
    var digest: UInt64
  }

  private var envelopes: [Envelope?] = []
  private var outcomes: [UInt64] = []
  /// Digests of the whole state at some indexes. Looked up by index, never walked.
  private var digests: [UInt64: UInt64] = [:]
  private var versions: [[Version]] = []
  private var executed: [UInt64: RaftCore.Index] = [:]
  private(set) var revision: Revision = 1
  private(set) var compacted: Revision = 0
  private(set) var changes: [Change] = []
  var authority = AuthorityModel()
  var barrier: BarrierChecker
  private let contendedScopes: Int

  init(scopes: Int) {
    contendedScopes = scopes
    barrier = BarrierChecker(scopes: scopes)
  }

  // MARK: Every node

  mutating func envelope(of entry: Entry) throws(Broken) -> Envelope {
    let position = Int(entry.index.rawValue) - 1
    if position < envelopes.count, let known = envelopes[position] { return known }
    do {
      let envelope = try Envelope.decode(entry.payload)
      while envelopes.count <= position { envelopes.append(nil) }
      envelopes[position] = envelope
      return envelope
    } catch {
      throw Broken("what is in the log can be read", "\(entry.index): \(error)")
    }
  }

  /// True when this is the first node to apply the entry.
  mutating func applied(
    _ entry: Entry, _ result: Applied, _ state: Coordination, by node: NodeID
  ) throws(Broken) -> Bool {
    try record(result.fingerprint(revision: state.revision), at: entry.index, by: node)
  }

  mutating func skipped(_ entry: Entry) throws(Broken) {
    _ = try record(0, at: entry.index, by: nil)
  }

  private mutating func record(
    _ fingerprint: UInt64, at index: RaftCore.Index, by node: NodeID?
  ) throws(Broken) -> Bool {
    let position = Int(index.rawValue) - 1
    if position == outcomes.count {
      outcomes.append(fingerprint)
      return true
    }
    guard position < outcomes.count, outcomes[position] == fingerprint else {
      throw Broken(
        "what is applied has one outcome", "\(node?.description ?? "a node") got another one from \(index)")
    }
    return false
  }

  mutating func compare(digest: UInt64, at index: RaftCore.Index, of node: NodeID) throws(Broken) {
    if let known = digests[index.rawValue] {
      guard known == digest else {
        throw Broken("nodes that applied the same have the same state", "\(node) has another one at \(index)")
      }
    } else {
      digests[index.rawValue] = digest
    }
  }

  // MARK: The model of keys

  mutating func judge(
    _ entry: Entry, _ operation: Operation, _ command: Command, _ result: Applied, state: Coordination
  ) throws(Broken) {
    if operation.name != nil { try judgeName(entry, operation, result) }
    let isFailure = if case .failed = result.outcome { true } else { false }
    if !result.isRepeat && !isFailure { try run(entry, operation, command, result, state) }
    guard revision == state.revision else {
      throw Broken(
        "a revision for each change",
        "\(entry.index) led to revision \(state.revision), the model is at \(revision) after \(operation.work)")
    }
  }

  private mutating func judgeName(_ entry: Entry, _ operation: Operation, _ result: Applied) throws(Broken) {
    if case .failed = result.outcome { return }
    if let earlier = executed[operation.logical] {
      guard result.isRepeat else {
        throw Broken(
          "a named request is executed once",
          "request \(operation.logical) was executed at \(earlier) and again at \(entry.index)")
      }
    } else {
      guard !result.isRepeat else {
        throw Broken("a named request is executed once", "\(entry.index) repeats what was never executed")
      }
      executed[operation.logical] = entry.index
    }
  }

  private mutating func run(
    _ entry: Entry, _ operation: Operation, _ command: Command, _ result: Applied, _ state: Coordination
  ) throws(Broken) {
    switch (operation.work, result.outcome) {
    case (.put(let key), .put): put(operation.logical, key, entry.index)
    case (.delete(let key), .deleted(let count, _)):
      let isThere = current(key)?.value != nil
      guard (count == 1) == isThere else { throw disagreement(entry, "\(count) keys were deleted") }
      if isThere { put(nil, key, entry.index) }
    case (.compare(let key, let revision), .transaction(let result)):
      let version = current(key)
      let expected = (version?.value == nil ? 0 : version?.revision ?? 0) == revision
      guard result.succeeded == expected else { throw disagreement(entry, "the comparison gave \(!expected)") }
      if expected { put(operation.logical, key, entry.index) }
    case (.compact, .compacted), (.openClient, .clientOpened), (.housekeeping, .clientEnded),
      (.housekeeping, .clockMarked):
      break
    default:
      let judged = AuthorityModel.Case(
        entry: entry, operation: operation, command: command, result: result, revision: revision + 1)
      let before = authority.contendedNumbers(contendedScopes)
      if try authority.judge(judged) { revision += 1 }
      try authority.compare(state, judged)
      let after = authority.contendedNumbers(contendedScopes)
      for scope in 0..<contendedScopes where before[scope] != after[scope] {
        barrier.raised(scope, to: after[scope])
      }
      if case .gateway(let change) = command { try barrier.changed(change, judged, numbers: after) }
    }
  }

  private mutating func put(_ value: UInt64?, _ key: Int, _ index: RaftCore.Index) {
    while versions.count <= key { versions.append([]) }
    revision += 1
    versions[key].append(Version(index: index, revision: revision, value: value))
  }

  private func current(_ key: Int) -> Version? { key < versions.count ? versions[key].last : nil }

  private func disagreement(_ entry: Entry, _ what: String) -> Broken {
    Broken("outcomes are those of the model", "\(entry.index): \(what)")
  }

  /// What the newest revision changed, for the watchers.
  mutating func changed(_ state: Coordination, after before: Revision) {
    guard state.revision > before else { return }
    state.store.forEachRevision(from: before + 1, through: state.revision) { revision, events in
      changes.append(Change(revision: revision, digest: events.digest))
      return true
    }
    compacted = max(compacted, state.store.compactedRevision)
  }

  // MARK: Answers

  /// A read sees everything that anybody had committed when it was asked for, and nothing that is not there.
  func served(_ operation: Operation, key: Int, value: UInt64?, by node: SimulatedNode) throws(Broken) {
    guard node.applied >= operation.floor else {
      throw Broken(
        "a read is never stale",
        "\(node.id) read at \(node.applied), but \(operation.floor) was committed when it was asked")
    }
    let expected = key < versions.count ? versions[key].last { $0.index <= node.applied }?.value : nil
    guard value == expected else {
      throw Broken(
        "a read sees the newest write",
        "\(node.id) read \(value.map(String.init) ?? "nothing") at \(node.applied), the model has "
          + "\(expected.map(String.init) ?? "nothing")")
    }
  }

  func acknowledged(_ id: UInt64, _ operation: Operation) throws(Broken) {
    guard operation.committedAt > .beforeFirst else {
      throw Broken("nothing is acknowledged that is not committed", "operation \(id) is in no committed entry")
    }
  }
}

extension KeyStore.Events {
  /// Of a whole revision, so that a part of it does not pass for all of it.
  var digest: UInt64 {
    var hash: UInt64 = UInt64(count)
    for event in self {
      hash = (hash ^ UInt64(bitPattern: event.version.modRevision)) &* 0x9E37_79B9_7F4A_7C15
      hash ^= hash >> 29
      hash = (hash ^ UInt64(bitPattern: event.version.version)) &* 0x0000_0100_0000_01B3
      hash ^= Checksum.of(event.version.key.bytes) << 16
      hash ^= Checksum.of(event.version.value)
    }
    return hash
  }
}
