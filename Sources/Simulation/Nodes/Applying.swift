// Owns the way from a committed entry to state, and back to whoever asked for it.
// Must never: change the state by anything but `Coordination.apply` and an installed snapshot.
// Invariant: entries are applied in order and once in each life of a node.

import CoordinationCore
import RaftCore

extension Simulator {
  mutating func apply(through index: RaftCore.Index, by node: SimulatedNode) throws(Broken) {
    guard index > node.applied, let term = node.raft?.term else { return }
    trace.record(.committed(node: node.position, index), at: now)
    mix(index.rawValue)
    let isNews = checker.log.isNews(index)
    guard let entries = try entriesToApply(through: index, by: node) else { return }
    for entry in entries {
      try checker.log.applied(entry, by: node, in: term)
      try apply(entry, by: node)
    }
    if isNews { try checker.committed(through: index, by: node, term: term, nodes: nodes) }
    guard node.isUp else { return }
    node.inputs.append(.applied(through: node.applied))
    considerSnapshot(node)
  }

  private mutating func apply(_ entry: Entry, by node: SimulatedNode) throws(Broken) {
    node.applied = entry.index
    if node.skipsNext {
      node.skipsNext = false
      return
    }
    node.appliedTerm = entry.term
    node.appliedClock = entry.clockMilliseconds
    switch entry.kind {
    case .noOp: try checker.state.skipped(entry)
    case .command: try applyCommand(entry, by: node)
    case .membership:
      try checker.state.skipped(entry)
      try applyMembership(entry, by: node)
    }
    if entry.index.rawValue % StateChecker.sampleEvery == 0 {
      try checker.state.compare(digest: SnapshotCodec.digest(node.state), at: entry.index, of: node.id)
    }
  }

  /// The entries in `(applied, through]`: from the disk what is no longer in memory, from memory the rest, which the
  /// disk may not have yet. nil when the disk gave one that does not check, and the process ended.
  private mutating func entriesToApply(
    through index: RaftCore.Index, by node: SimulatedNode
  ) throws(Broken) -> ArraySlice<Entry>? {
    if let cached = node.raft?.cachedEntries(after: node.applied, through: index) { return cached }
    let onDisk = min(index, node.raft?.firstCachedIndex.previous ?? index)
    guard let first = node.disk.durable.position(of: node.applied.next),
      let last = node.disk.durable.position(of: onDisk), first <= last,
      node.disk.durable.term(at: onDisk) == node.disk.written.term(at: onDisk)
    else {
      throw Broken(
        "what was reported durable can be read",
        "\(node.id) needs entries from \(node.applied.next) through \(onDisk), its disk has "
          + "\(node.disk.durable.base.index.next) through \(node.disk.durable.lastIndex)")
    }
    if node.disk.rotten.contains(where: { $0 > node.applied && $0 <= onDisk }) {
      try foundRot(node)
      return nil
    }
    let stored = node.disk.durable.entries[first...last]
    if index == onDisk { return stored }
    return stored + (node.raft?.cachedEntries(after: onDisk, through: index) ?? [])
  }

  private mutating func applyCommand(_ entry: Entry, by node: SimulatedNode) throws(Broken) {
    let envelope = try checker.state.envelope(of: entry)
    if options.plantedBug != nil { meddle(with: node, envelope.command, entry) }
    let before = node.state.revision
    let command = options.plantedBug == nil ? envelope : distorted(envelope, node.state)
    let result = node.state.apply(
      command, index: entry.index.rawValue,
      clockMilliseconds: entry.clockMilliseconds + expiresEarlyBy(envelope.command))
    let isFirst = try checker.state.applied(entry, result, node.state, by: node.id)
    if isFirst { try judge(entry, envelope, result, revisionBefore: before, node) }
    if case .leaseExpire(let candidate) = envelope.command {
      node.housekeeping.proposed.removeAll { $0.lease == candidate.lease }
    }
    for notice in result.notices { try settle(notice, at: node) }
    guard envelope.origin == node.id.rawValue else { return }
    let operation = operations[envelope.request]
    guard operation.life == node.life, operation.state == .open || operation.state == .superseded else { return }
    if case .queued(let ticket) = result.outcome {
      node.waits[ticket] = envelope.request
      sessionQueued(operation)
      return contenderQueued(envelope.request, operation)
    }
    if case .cancelWait(_, let ticket) = envelope.command, let waiting = node.waits.removeValue(forKey: ticket) {
      reach(.waitCancelled)
      try answer(waiting, result.outcome, at: entry.index)
    }
    // A repeated outcome is that of an earlier revision, which this one does not tell.
    let revision = result.isRepeat ? nil : node.state.revision
    try tell(envelope.request, result.outcome, at: node, isNew: !result.touched.isEmpty, revision: revision)
  }

  /// The first node to apply an entry has it judged by the models.
  private mutating func judge(
    _ entry: Entry, _ envelope: Envelope, _ result: Applied, revisionBefore: Revision, _ node: SimulatedNode
  ) throws(Broken) {
    guard envelope.request < UInt64(operations.count), envelope.origin == UInt64(operations[envelope.request].node) + 1
    else { throw Broken("nothing is invented", "\(entry.index) holds what nobody proposed") }
    let id = envelope.request
    let operation = operations[id]
    guard operation.committedAt == .beforeFirst else {
      throw Broken(
        "a proposal is applied at most once",
        "operation \(id) is at \(operation.committedAt) and at \(entry.index)")
    }
    guard operation.state != .refused else {
      throw Broken("a refused proposal is never applied", "operation \(id) was refused, see \(entry.index)")
    }
    operations[id].committedAt = entry.index
    try checker.state.judge(entry, operation, envelope.command, result, state: node.state)
    checker.state.changed(node.state, after: revisionBefore)
    if result.isRepeat { reach(.duplicateSuppressed) }
    for notice in result.notices {
      if case .dismissed = notice { reach(.waiterDismissed) } else { reach(.waiterGranted) }
    }
    if world.contention != nil {
      noteContention(operation, envelope.command, result)
      if !result.touched.isEmpty {
        trace.record(.note("\(entry.index): \(operation.work) \(envelope.command) ended with \(result)"), at: now)
      }
      try checkOpenings()
    }
    guard case .leaseExpire(let candidate) = envelope.command else { return }
    guard case .leaseEnded(let lease) = result.outcome else {
      if node.state.leases[candidate.lease] != nil { reach(.renewalBeatExpiry) }
      return
    }
    reach(.leaseExpired)
    try checkExpiry(of: lease)
    try checkContenderExpiry(of: lease)
  }

  private mutating func settle(_ notice: Notice, at node: SimulatedNode) throws(Broken) {
    switch notice {
    case .granted(let ticket, let record):
      guard let id = node.waits.removeValue(forKey: ticket) else { return }
      try tell(id, .granted(record), at: node, isNew: true)
    case .grantedAll(let ticket, let records):
      guard let id = node.waits.removeValue(forKey: ticket) else { return }
      try tell(id, .grantedAll(records), at: node, isNew: true)
    case .confirmed: try settleHeld(at: node)
    case .dismissed(let ticket):
      guard let id = node.waits.removeValue(forKey: ticket) else { return }
      try answer(id, .waitEnded(holder: nil), at: node.applied)
    }
  }

  // MARK: Membership

  private mutating func applyMembership(_ entry: Entry, by node: SimulatedNode) throws(Broken) {
    guard let record = MembershipRecord.decode(entry.payload) else {
      throw Broken("what is in the log can be read", "\(entry.index) is no membership")
    }
    let isFirst = try checker.members.applied(record, at: entry.index)
    if isFirst { membershipApplied(record, leader: node) }
    guard !record.membership.isJoint, let id = ContextBytes.decode(record.context), Int(id) < operations.count else {
      return
    }
    let operation = operations[id]
    guard operation.node == node.position, operation.life == node.life, operation.state == .open else { return }
    operations.acknowledge(id, at: now, index: entry.index)
  }
}

/// The number of an operation as the context of a change of membership.
enum ContextBytes {
  static func encode(_ id: UInt64) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: id >> UInt64(8 * $0)) } }

  static func decode(_ bytes: [UInt8]) -> UInt64? {
    guard bytes.count == 8 else { return nil }
    return bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }
}
