// The MVCC store: every version of every key since the last compaction, in memory, as persistent trees.
//
// `live` holds the newest version of each key that exists. `superseded` holds older versions and tombstones, for reads
// at an old revision. `log` holds what each revision changed, for watchers. All three share the same immutable records.
//
// Invariants: a key in `live` is not a tombstone; every version below `revision` and above the compaction is either in
// `live` or in `superseded`; `log` has an entry for each revision from the compaction on that changed a key.

package struct KeyStore: Sendable {
  /// What one revision changed, in the order in which it did.
  package typealias Events = [KeyEvent]

  private(set) var live = OrderedTree<Key, KeyVersion>()
  private(set) var superseded = OrderedTree<VersionKey, KeyVersion>()
  private(set) var log = OrderedTree<Revision, Events>()

  /// The newest revision. An empty store is at 1, as etcd's is.
  package private(set) var revision: Revision = 1
  /// Reads below this revision are refused; 0 before the first compaction.
  package private(set) var compactedRevision: Revision = 0
  /// Bytes of keys, values and their records, of every version that is kept: live, superseded, or seen by watchers alone
  /// because one revision touched the key twice. Counted along with each change, and the same on every node that has
  /// applied the same entries.
  package private(set) var sizeBytes = 0

  /// Changes of the revision that is being made, not yet in the log.
  private var pending: Events = []

  package init() {}

  package var keyCount: Int { live.count }
}

// MARK: - Reading

extension KeyStore {
  package func current(_ key: Key) -> KeyVersion? { live[key] }

  package func range(_ query: RangeQuery) throws(RequestError) -> RangeResult {
    let revision = query.revision
    try check(readAt: revision)
    if query.range.isEmpty { return RangeResult(versions: [], count: 0, more: false) }
    if revision > 0, revision < self.revision { return rangeInHistory(query) }
    if case .single = query.range.end { return rangeOfOne(query) }
    let end = query.range.exclusiveEnd
    let total = (end.map(live.rank(of:)) ?? live.count) - live.rank(of: query.range.start)
    if query.countOnly { return RangeResult(versions: [], count: Int64(total), more: false) }
    let stop = query.limit > 0 && query.inStoreOrder ? Int(min(query.limit, .max - 1)) + 1 : Int.max
    var found: [KeyVersion] = []
    found.reserveCapacity(min(total, stop))
    live.forEach(from: query.range.start, before: end) { _, version in
      if query.admits(version) { found.append(version) }
      return found.count < stop
    }
    let (versions, more) = query.select(from: found)
    return RangeResult(versions: versions, count: Int64(total), more: more)
  }

  /// Refuses a read of what no longer or not yet exists.
  package func check(readAt revision: Revision) throws(RequestError) {
    if revision > self.revision { throw .futureRevision(asked: revision, current: self.revision) }
    if revision > 0, revision < compactedRevision {
      throw .compacted(asked: revision, compacted: compactedRevision)
    }
  }

  private func rangeOfOne(_ query: RangeQuery) -> RangeResult {
    guard let version = live[query.range.start] else { return RangeResult(versions: [], count: 0, more: false) }
    return RangeResult(versions: query.countOnly || !query.admits(version) ? [] : [version], count: 1, more: false)
  }

  private func rangeInHistory(_ query: RangeQuery) -> RangeResult {
    var found: [KeyVersion] = []
    forEachKey(in: query.range) { key in
      if let version = version(of: key, at: query.revision) { found.append(version) }
    }
    let count = Int64(found.count)
    if query.countOnly { return RangeResult(versions: [], count: count, more: false) }
    let (versions, more) = query.select(from: found)
    return RangeResult(versions: versions, count: count, more: more)
  }

  /// What a key had at a revision that is not before the compaction.
  func version(of key: Key, at revision: Revision) -> KeyVersion? {
    if let version = live[key], version.modRevision <= revision { return version }
    guard let entry = superseded.last(atOrBefore: VersionKey(key: key, revision: revision)), entry.key.key == key
    else { return nil }
    return entry.value.isTombstone ? nil : entry.value
  }

  /// The first key that has a live or a superseded version, up to but excluding `end`.
  func firstKey(atOrAfter key: Key, before end: Key?) -> Key? {
    let alive = live.first(atOrAfter: key)?.key
    let old = superseded.first(atOrAfter: VersionKey(key: key, revision: 0))?.key.key
    guard let first = [alive, old].compactMap({ $0 }).min() else { return nil }
    return end.map(first.isBefore) ?? true ? first : nil
  }

  /// Visits every key of the range that has a live or a superseded version, once and in order.
  private func forEachKey(in range: KeyRange, _ body: (Key) -> Void) {
    let end = range.exclusiveEnd
    func bounded(_ key: Key?) -> Key? { key.flatMap { end.map($0.isBefore) ?? true ? $0 : nil } }
    var alive = bounded(live.first(atOrAfter: range.start)?.key)
    var old = bounded(superseded.first(atOrAfter: VersionKey(key: range.start, revision: 0))?.key.key)
    while let key = [alive, old].compactMap({ $0 }).min() {
      body(key)
      if alive == key { alive = bounded(live.first(atOrAfter: key.successor)?.key) }
      if old == key { old = bounded(superseded.first(atOrAfter: VersionKey(key: key.successor, revision: 0))?.key.key) }
    }
  }

  /// Visits the changes of the revisions from `first` up to `last` in order, a whole revision at a time, until `body`
  /// answers false.
  package func forEachRevision(
    from first: Revision, through last: Revision, _ body: (Revision, Events) -> Bool
  ) {
    log.forEach(from: first, before: last + 1, body)
  }
}

extension Key {
  /// The first key behind this one.
  var successor: Key { Key(bytes + [0]) }
  fileprivate func isBefore(_ bound: Key) -> Bool { self < bound }
}

// MARK: - Changing

extension KeyStore {
  /// The revision that the change being made will have.
  var pendingRevision: Revision { revision + 1 }
  var hasPendingChanges: Bool { !pending.isEmpty }

  mutating func put(_ key: Key, value: Bytes, lease: LeaseID) -> KeyVersion? {
    let old = live[key]
    let version = KeyVersion(
      key: old?.key ?? key, value: value, createRevision: old?.createRevision ?? pendingRevision,
      modRevision: pendingRevision, version: (old?.version ?? 0) + 1, lease: lease)
    live.updateValue(version, forKey: version.key)
    if let old { superseded.updateValue(old, forKey: VersionKey(key: old.key, revision: old.modRevision)) }
    sizeBytes += version.weight
    pending.append(KeyEvent(version: version, previous: old))
    return old
  }

  mutating func delete(_ range: KeyRange) -> [KeyVersion] {
    var doomed: [KeyVersion] = []
    if case .single = range.end {
      if let version = live[range.start] { doomed.append(version) }
    } else if !range.isEmpty {
      live.forEach(from: range.start, before: range.exclusiveEnd) { _, version in
        doomed.append(version)
        return true
      }
    }
    for version in doomed {
      live.removeValue(forKey: version.key)
      let tombstone = KeyVersion.tombstone(of: version.key, at: pendingRevision)
      superseded.updateValue(version, forKey: VersionKey(key: version.key, revision: version.modRevision))
      superseded.updateValue(tombstone, forKey: VersionKey(key: version.key, revision: pendingRevision))
      sizeBytes += tombstone.weight
      pending.append(KeyEvent(version: tombstone, previous: version))
    }
    return doomed
  }

  /// Ends the change being made. A change of keys takes one revision however many keys it touched; `force` takes one
  /// for a grant, whose number it becomes, though no key changed.
  mutating func commitPending(force: Bool = false) {
    guard !pending.isEmpty || force else { return }
    revision += 1
    if !pending.isEmpty { log.updateValue(pending, forKey: revision) }
    pending = []
  }

  /// Goes on so many revisions later, as if each of them had changed nothing.
  mutating func leaveOutRevisions(_ count: Revision) {
    precondition(pending.isEmpty && count >= 0, "revisions are left out between two commands")
    revision += count
  }

  /// Forgets what only reads below `revision` could see.
  mutating func compact(at revision: Revision) throws(RequestError) {
    if revision <= compactedRevision { throw .compacted(asked: revision, compacted: compactedRevision) }
    if revision > self.revision { throw .futureRevision(asked: revision, current: self.revision) }
    var doomed: [KeyVersion] = []
    log.forEach(from: compactedRevision + 1, before: revision + 1) { _, events in
      for event in events {
        if let previous = event.previous { doomed.append(previous) }
        if event.version.isTombstone { doomed.append(event.version) }
      }
      return true
    }
    for version in doomed {
      let place = VersionKey(key: version.key, revision: version.modRevision)
      // A revision that touched a key twice left both at one place, and the later one may still be needed.
      if let removed = superseded.removeValue(forKey: place), removed !== version {
        superseded.updateValue(removed, forKey: place)
      }
      sizeBytes -= version.weight
    }
    compactedRevision = revision
    log.removeAll(before: revision)
  }
}

// MARK: - Restoring from a snapshot

extension KeyStore {
  /// A store put together again by `LogReplay`, which answers for the invariants.
  init(
    live: OrderedTree<Key, KeyVersion>, superseded: OrderedTree<VersionKey, KeyVersion>,
    log: OrderedTree<Revision, Events>, revision: Revision, compactedRevision: Revision, sizeBytes: Int
  ) {
    self.live = live
    self.superseded = superseded
    self.log = log
    self.revision = revision
    self.compactedRevision = compactedRevision
    self.sizeBytes = sizeBytes
  }
}
