// Owns what is kept on disk: entries, the hard state, and the shapes in which they are written and restored.
// Must never: know how a byte of it is encoded. That is the business of the rooms that own a disk or a wire.
// Invariant: the entries of a `Persist` and of a `Restored.tail` are contiguous.

/// One place of the replicated log.
package struct Entry: Sendable, Equatable {
  /// What an entry is for. Only commands reach the state machine with a payload of its own.
  package enum Kind: UInt8, Sendable {
    /// The first entry of every term, by which a leader commits what earlier terms left (dissertation, section 6.4).
    case noOp = 0
    case command = 1
    case membership = 2
  }

  package var index: Index
  package var term: Term
  /// The cluster's clock as the leader stamped it. It never falls from one entry to the next; leases run on it.
  package var clockMilliseconds: UInt64
  package var kind: Kind
  package var payload: [UInt8]

  package init(index: Index, term: Term, clockMilliseconds: UInt64, kind: Kind, payload: [UInt8]) {
    self.index = index
    self.term = term
    self.clockMilliseconds = clockMilliseconds
    self.kind = kind
    self.payload = payload
  }

  /// What an entry counts for in every limit: its payload and about what its own fields take in memory and on the wire.
  package var sizeBytes: Int { payload.count + 48 }
}

/// What a node must remember across a crash besides its log (Raft paper, figure 2, "persistent state").
package struct HardState: Sendable, Equatable {
  package var term: Term
  package var votedFor: NodeID?

  package init(term: Term, votedFor: NodeID?) {
    self.term = term
    self.votedFor = votedFor
  }

  package static let initial = HardState(term: Term(0), votedFor: nil)
}

/// One atomic write: first the hard state and the removal, then the entries, all in one transaction.
package struct Persist: Sendable, Equatable {
  /// Rises by one with each write. `Input.persisted(sequence:)` names the newest write that is durable.
  package var sequence: UInt64
  package var hardState: HardState?
  /// Set only where a conflict was found: this entry and all after it are to be removed before `entries` are written.
  package var removeFrom: Index?
  /// Set only where a snapshot takes the place of the log: every entry is to be removed, and the log begins anew behind
  /// this place. The snapshot itself was durable before.
  package var base: LogBase?
  /// The log that storage found damaged is whole again; what it remembers of the damage is to be removed.
  package var isRepaired = false
  package var entries: [Entry]

  package init(
    sequence: UInt64, hardState: HardState?, removeFrom: Index?, base: LogBase? = nil, isRepaired: Bool = false,
    entries: [Entry]
  ) {
    self.sequence = sequence
    self.hardState = hardState
    self.removeFrom = removeFrom
    self.base = base
    self.isRepaired = isRepaired
    self.entries = entries
  }
}

/// The entry before the first one that a log holds, of which only this is still known.
package struct LogBase: Sendable, Equatable {
  package var index: Index
  package var term: Term
  package var clockMilliseconds: UInt64

  package init(index: Index, term: Term, clockMilliseconds: UInt64) {
    self.index = index
    self.term = term
    self.clockMilliseconds = clockMilliseconds
  }
}

/// Consecutive entries of one term: from `first` up to the next run, or to the end of the log.
package struct TermRun: Sendable, Equatable {
  package var first: Index
  package var term: Term

  package init(first: Index, term: Term) {
    self.first = first
    self.term = term
  }
}

/// What a node finds on its disk when it starts.
package struct Restored: Sendable {
  package var hardState: HardState
  /// The oldest entry that the log still holds; 1 for a log that was never compacted, even when it is empty.
  package var firstIndex: Index
  /// The newest entry; `firstIndex.previous` when the log is empty.
  package var lastIndex: Index
  /// The terms of the whole log. When the log was compacted the first run may begin at `firstIndex.previous`,
  /// which tells the term of the entry that the snapshot ends with.
  package var termRuns: [TermRun]
  /// The newest entries, contiguous up to `lastIndex`. It may be shorter than the log: the rest is fetched on demand.
  package var tail: [Entry]
  /// The clock of the newest entry, 0 for an empty log.
  package var lastClockMilliseconds: UInt64
  /// The newest snapshot that is whole. Its point is at or behind `firstIndex.previous`, and the log either holds the
  /// entry at the point or ends there. nil where there was never one.
  package var snapshot: SnapshotPoint?
  /// Every entry of kind `membership` that the log holds.
  package var membershipEntries: [Entry]
  package var damage: Damage?

  package init(
    hardState: HardState, firstIndex: Index, lastIndex: Index, termRuns: [TermRun], tail: [Entry],
    lastClockMilliseconds: UInt64, snapshot: SnapshotPoint? = nil, membershipEntries: [Entry] = [],
    damage: Damage? = nil
  ) {
    self.hardState = hardState
    self.firstIndex = firstIndex
    self.lastIndex = lastIndex
    self.termRuns = termRuns
    self.tail = tail
    self.lastClockMilliseconds = lastClockMilliseconds
    self.snapshot = snapshot
    self.membershipEntries = membershipEntries
    self.damage = damage
  }

  /// A disk on which nothing was ever written.
  package static let empty = Restored(
    hardState: .initial, firstIndex: Index(1), lastIndex: .beforeFirst, termRuns: [], tail: [],
    lastClockMilliseconds: 0)
}
