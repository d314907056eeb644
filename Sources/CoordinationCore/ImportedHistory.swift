// Owns the making of a state from another store's history: every version that is kept, in the order of revisions.
//
// Must never: believe what contradicts itself. A version says when its key came into being and how many it had before, and
// both must follow from what came before it.

/// One change of a key, as etcd's store keeps it.
package struct ImportedChange: Sendable {
  package var key: Bytes
  package var value: Bytes = []
  package var revision: Revision
  package var createRevision: Revision = 0
  package var version: Int64 = 0
  package var lease: LeaseID = 0
  package var isDeletion = false

  package init(key: Bytes, revision: Revision) {
    self.key = key
    self.revision = revision
  }
}

package struct ImportError: Error, Sendable, Equatable, CustomStringConvertible {
  package let description: String

  init(_ description: String) {
    self.description = description
  }
}

package struct ImportedHistory: Sendable {
  private let compacted: Revision
  /// Time to live in milliseconds, by id. Only looked up, so its order does not matter.
  private let leases: [LeaseID: Int64]
  /// The newest version of each key up to the compaction; its order does not matter either, since a replay sorts.
  private var base: [Key: KeyVersion] = [:]
  private var replay: LogReplay
  private var isInLog = false
  private var revision: Revision = 1
  private var hasEvents = false
  /// Puts that named a lease which is not there any more.
  package private(set) var leaselessPuts = 0

  /// - Parameters:
  ///   - compactedRevision: where the other store was last compacted, or began to be; 0 for never. Of each key the newest
  ///     version up to there counts, and older ones are passed over.
  ///   - leases: the leases that are alive, with their time to live in milliseconds.
  package init(compactedRevision: Revision, leases: [LeaseID: Int64]) throws(ImportError) {
    guard compactedRevision >= 0, UInt64(compactedRevision) < StateLimits.highestRevision else {
      throw ImportError("it was compacted at revision \(compactedRevision), which cannot be")
    }
    compacted = compactedRevision
    self.leases = leases
    // What the compacted revision itself replaced is gone from etcd's store, while the log here begins with that revision's
    // changes, each with what it replaced. So the log begins one revision later.
    replay = LogReplay(compactedRevision: compactedRevision == 0 ? 0 : compactedRevision + 1)
  }

  /// Takes in the next change. Revisions must not fall.
  package mutating func add(_ change: ImportedChange) throws(ImportError) {
    guard change.revision >= max(revision, 2), UInt64(change.revision) < StateLimits.highestRevision,
      UInt64(change.key.count) <= StateLimits.longestBytes, UInt64(change.value.count) <= StateLimits.longestBytes
    else { throw ImportError("revision \(change.revision) is out of order, or a key or value is too long") }
    if change.revision <= compacted {
      addToBase(change)
    } else {
      try addToLog(change)
    }
    revision = change.revision
  }

  private mutating func addToBase(_ change: ImportedChange) {
    let key = Key(change.key)
    guard !change.isDeletion else {
      base[key] = nil
      return
    }
    base[key] = KeyVersion(
      key: key, value: change.value, createRevision: change.createRevision, modRevision: change.revision,
      version: change.version, lease: known(change.lease))
  }

  private mutating func addToLog(_ change: ImportedChange) throws(ImportError) {
    try beginLog()
    if change.revision != revision, hasEvents { endRevision() }
    if change.isDeletion {
      // A deletion of what is not there changed nothing.
      if replay.delete(Key(change.key), at: change.revision) { hasEvents = true }
      return
    }
    let made = replay.put(
      Key(change.key), value: change.value, lease: known(change.lease), at: change.revision)
    guard made.version == change.version, made.createRevision == change.createRevision else {
      throw ImportError(
        "revision \(change.revision) holds version \(change.version) of a key, and what is before it makes it version"
          + " \(made.version)")
    }
    hasEvents = true
  }

  private mutating func known(_ lease: LeaseID) -> LeaseID {
    if lease == 0 || leases[lease] != nil { return lease }
    leaselessPuts += 1
    return 0
  }

  private mutating func beginLog() throws(ImportError) {
    guard !isInLog else { return }
    isInLog = true
    for version in base.values {
      guard version.version >= 1, version.createRevision >= 1, version.createRevision <= version.modRevision else {
        throw ImportError("revision \(version.modRevision) holds a version that cannot be")
      }
      replay.begin(with: version)
    }
    base = [:]
  }

  private mutating func endRevision() {
    _ = replay.endRevision(revision)
    hasEvents = false
  }

  /// The state, without anything but keys and leases.
  /// - Parameter clock: the cluster clock from which the leases' time is counted.
  package consuming func finish(clockMilliseconds clock: UInt64) throws(ImportError) -> Coordination {
    try beginLog()
    if hasEvents { endRevision() }
    var state = Coordination()
    state.store = replay.finish(at: max(revision, compacted == 0 ? 1 : compacted + 1))
    var keys: [LeaseID: OrderedTree<Key, Void>.Builder] = [:]
    state.store.live.forEach { key, version in
      if version.lease != 0 { keys[version.lease, default: .init()].append(key, ()) }
      return true
    }
    let all = leases.sorted { $0.key < $1.key }.map { id, ttlMilliseconds -> Lease in
      var lease = Lease(
        id: id, ttlMilliseconds: max(ttlMilliseconds, 0),
        deadlineMilliseconds: deadline(after: ttlMilliseconds, from: clock))
      if let attached = keys[id] { lease.keys = attached.finish() }
      return lease
    }
    state.leases = LeaseTable(sorted: all)
    return state
  }
}
