// Owns what happens between finding a directory and having a log: what the journal holds goes into the tree, what is
// damaged is cut away and remembered, a snapshot that the log needs is found.
//
// It must never: forget that something is lost before its record of it is durable; come to another end when it is cut
// off anywhere and begun again; let a hard state be older than any whole record shows.
//
// The order: (1) the journal is settled; (2) the log is scanned and a snapshot chosen, which says what is to be done;
// (3) damage and hard state are recorded; (4) what is behind the log's end is removed in steps, newest entries first;
// (5) the log's beginning is recorded. Each is durable before the next, and each finds the same to do again.

import RaftCore

struct Opening {
  let path: String
  let identity: Identity
  let options: LogStorage.Options
  let environment: Environment
  let snapshots: SnapshotStore
  /// Called after each durable step.
  let onStep: () -> Void

  private var hardState = HardState.initial
  private var damage: Damage?
  private var base: LogBase?
  private var lastKeyIndex = Index.beforeFirst
  private(set) var sequence: UInt64 = 0
  private(set) var birth: UInt64 = 0

  init(
    path: String, identity: Identity, options: LogStorage.Options, environment: Environment, snapshots: SnapshotStore,
    onStep: @escaping () -> Void
  ) {
    self.path = path
    self.identity = identity
    self.options = options
    self.environment = environment
    self.snapshots = snapshots
    self.onStep = onStep
  }

  /// Runs it all. The journal it returns is empty.
  mutating func run() throws(StorageError) -> (journal: Journal, log: LogState, restored: Restored) {
    let facts = try environment.read { (transaction) throws(StorageError) in
      try TreeFacts(in: transaction, path: self.path)
    }
    try check(facts.stored.identity)
    // The tree has taken from it, so it was there; and what it held besides, a vote perhaps, nobody knows.
    guard facts.journalPosition == 0 || Journal.exists(in: path) else {
      throw .corruptFile(reason: "\(path) has no journal any more")
    }
    let isOld = facts.stored.format == Format.first
    birth = isOld ? UInt64.random(in: 1...UInt64.max) : facts.stored.birth
    let journal = try Journal(directory: path, capacityBytes: options.journalBytes, birth: birth)
    try settle(journal, facts)
    let outcome = try environment.read { (transaction) throws(StorageError) in
      try self.outcome(in: transaction)
    }
    try carryOut(outcome)
    return try environment.read { (transaction) throws(StorageError) in
      let scan = outcome.scan
      let garbage = try transaction.garbage(upTo: scan.base.index)
      let restored = Restored(
        hardState: self.hardState, firstIndex: scan.base.index.next, lastIndex: scan.lastIndex,
        termRuns: scan.termRuns, tail: try scan.tail(in: transaction, options: self.options),
        lastClockMilliseconds: scan.lastClockMilliseconds, snapshot: outcome.snapshot?.point,
        membershipEntries: scan.membershipEntries, damage: self.damage)
      return (journal, LogState(scan, hardState: self.hardState, garbage: garbage), restored)
    }
  }

  private func check(_ found: Identity) throws(StorageError) {
    guard found.clusterID == identity.clusterID else {
      throw .otherCluster(path: path, found: found, expected: identity)
    }
    guard found.nodeID == identity.nodeID else { throw .otherNode(path: path, found: found, expected: identity) }
    guard found.incarnation == identity.incarnation else {
      throw .otherIncarnation(path: path, found: found, expected: identity)
    }
  }

  // MARK: The journal

  /// Moves what the journal has into the tree, and a log of an older format into this one, in one transaction.
  private mutating func settle(_ journal: Journal, _ facts: TreeFacts) throws(StorageError) {
    let isOld = facts.stored.format == Format.first
    guard !isOld || facts.journalPosition != nil else {
      throw .corruptFile(reason: "how much of the journal was taken cannot be read")
    }
    let findings =
      isOld
      ? try journal.findingsInFirstFormat(after: facts.journalPosition ?? 0)
      : try journal.findings(after: facts.journalPosition, end: facts.end)
    hardState = try newestHardState(facts, findings)
    base = facts.base
    sequence = findings.newestSequence
    damage = facts.damage
    if facts.isDamageUnreadable { damage = Damage(.worst(in: hardState.term)) }

    let fitting = facts.entriesThatFit(from: findings)
    if let lost = facts.lost(findings, fitting: fitting.count, term: hardState.term) {
      add(lost)
      try refuseIfAsked()
    }
    lastKeyIndex = fitting.last?.index ?? facts.lastIndex

    let isNew = (hardState: (try? facts.hardState.get()) != hardState, damage: damage != facts.damage)
    guard isOld || isNew.hardState || isNew.damage || facts.journalPosition != sequence || !fitting.isEmpty else {
      return
    }
    let persist = Persist(sequence: 0, hardState: nil, removeFrom: nil, entries: fitting)
    try environment.makeRoom(forBytes: LogState.pageBytesNeeded(for: [persist]), use: .recovering)
    let (birth, sequence) = (birth, sequence)
    try environment.write { (transaction) throws(StorageError) in
      if isOld {
        _ = try transaction.remove(key: Key.identity)
        try transaction.put(key: Key.identity, bytes: IdentityRecord.bytes) {
          IdentityRecord.write(facts.stored.identity, birth: birth, to: $0)
        }
      }
      for entry in fitting { try transaction.put(entry, .replacing) }
      try self.putHardStateAndDamage(in: transaction)
      try transaction.put(key: Key.journal, bytes: JournalPositionRecord.bytes) {
        JournalPositionRecord.write(sequence, to: $0)
      }
    }
    onStep()
  }

  private func newestHardState(
    _ facts: TreeFacts, _ findings: JournalFindings
  ) throws(StorageError) -> HardState {
    switch (facts.hardState, findings.hardState) {
    case (.success(let settled), let later?): return later.isNewer(than: settled) ? later : settled
    case (.success(let settled), nil): return settled
    // The journal's records tell the whole of it, and what follows on the tree is newer than the tree.
    case (.failure, let later?) where facts.journalPosition != nil: return later
    case (.failure(let corruption), _): throw .corruptHardState(reason: corruption.reason)
    }
  }

  private mutating func add(_ loss: Loss) {
    if damage == nil { damage = Damage(loss) } else { damage?.add(loss) }
  }

  private func putHardStateAndDamage(in transaction: borrowing Transaction) throws(StorageError) {
    let (hardState, damage) = (hardState, damage)
    try transaction.put(key: Key.hardState, bytes: HardStateRecord.bytes) { HardStateRecord.write(hardState, to: $0) }
    if let damage {
      try transaction.put(key: Key.damage, bytes: DamageRecord.bytes(damage)) { DamageRecord.write(damage, to: $0) }
    }
  }

  private func refuseIfAsked() throws(StorageError) {
    if options.refusesDamage, let damage { throw .damaged(path: path, damage) }
  }

  // MARK: The log and its snapshot

  private func outcome(in transaction: borrowing Transaction) throws(StorageError) -> Outcome {
    try SnapshotChoice(snapshots: snapshots, storedTerm: hardState.term, lastKeyIndex: lastKeyIndex)
      .outcome(base: base, in: transaction)
  }

  private mutating func carryOut(_ outcome: Outcome) throws(StorageError) {
    let before = (hardState, damage)
    if outcome.highestTerm > hardState.term {
      // Something shows a term of which the hard state does not know, so whom this node voted for in it is not known
      // either. With its own name there it votes for nobody else in that term.
      hardState = HardState(term: outcome.highestTerm, votedFor: identity.nodeID)
    }
    if let lost = outcome.lost {
      add(Loss(first: lost.lowerBound, last: lost.upperBound, term: hardState.term))
    }
    try refuseIfAsked()
    if hardState != before.0 || damage != before.1 {
      try step { (opening, transaction) throws(StorageError) in
        try opening.putHardStateAndDamage(in: transaction)
      }
    }
    if let cutFrom = outcome.cutFrom { try cut(from: cutFrom) }
    if let base = outcome.newBase {
      try step { (_, transaction) throws(StorageError) in
        try transaction.put(key: Key.base, bytes: BaseRecord.bytes) { BaseRecord.write(base, to: $0) }
      }
    }
    snapshots.settle(on: outcome.snapshot)
  }

  private func step(
    _ body: (Opening, borrowing Transaction) throws(StorageError) -> Void
  ) throws(StorageError) {
    try environment.makeRoom(forBytes: LogState.pageBytesNeeded(for: []), use: .recovering)
    try environment.write { (transaction) throws(StorageError) in try body(self, transaction) }
    onStep()
  }

  private func cut(from first: Index) throws(StorageError) {
    var isDone = false
    while !isDone {
      let stepEntries = options.truncationStepEntries
      try step { (_, transaction) throws(StorageError) in
        for _ in 0..<stepEntries {
          guard let key = try transaction.lastKey(atMost: .max), key >= Key.entry(first) else {
            isDone = true
            return
          }
          _ = try transaction.remove(key: key)
        }
      }
    }
  }
}

extension TreeFacts {
  /// The last index of what the tree has.
  fileprivate var end: Index { max(lastIndex, base?.index ?? .beforeFirst) }

  /// The journal's entries as far as they continue the tree's.
  fileprivate func entriesThatFit(from findings: JournalFindings) -> [Entry] {
    guard base != nil, journalPosition != nil else { return [] }
    var fitting: [Entry] = []
    var next = end.next
    for entry in findings.entries {
      guard entry.index == next else { break }
      fitting.append(entry)
      next = next.next
    }
    return fitting
  }

  /// What was acknowledged from the journal and is not to be had, if anything.
  fileprivate func lost(_ findings: JournalFindings, fitting: Int, term: Term) -> Loss? {
    let isSuspect = findings.isDamaged || fitting < findings.entries.count || journalPosition == nil
    guard isSuspect else { return nil }
    let next = end.advanced(by: fitting + 1)
    let last = max(findings.lastIndex ?? .beforeFirst, findings.entries.last?.index ?? .beforeFirst)
    if fitting < findings.entries.count {
      let first = min(next, findings.entries[fitting].index)
      return Loss(first: first, last: max(last, lastIndex, first), term: term)
    }
    return last < next ? nil : Loss(first: next, last: last, term: term)
  }
}

extension Loss {
  /// A record of damage that cannot be read counts as the worst there can be.
  fileprivate static func worst(in term: Term) -> Loss { Loss(first: Index(1), last: Index(.max), term: term) }
}
