// Owns the making of a store from what was live before its revision log and from the log's events.
//
// Must never: differ from what applying the same changes one by one would give. It is a faster way to the same trees: a
// table instead of a search from a root for each event, since those searches wait for memory at every step, and one sort
// at the end.

struct LogReplay: Sendable {
  private let compacted: Revision
  private var live = KeyTable()
  private var liveBytes = 0
  /// In the order in which they were superseded.
  private var superseded: [KeyVersion] = []
  private var log = OrderedTree<Revision, KeyStore.Events>.Builder()
  private var pending: KeyStore.Events = []
  private var sizeBytes = 0

  init(compactedRevision: Revision) {
    compacted = compactedRevision
  }

  /// Takes in a version that was live before the log.
  mutating func begin(with version: KeyVersion) {
    live.set(version)
    liveBytes += version.weight
    sizeBytes += version.weight
  }

  /// - Returns: the version that was made.
  @discardableResult
  mutating func put(_ key: Key, value: Bytes, lease: LeaseID, at revision: Revision) -> KeyVersion {
    let old = live[key]
    // Puts that kept the value share its bytes, as they did when they were applied.
    let kept = old.flatMap { $0.value == value ? $0.value : nil }
    let version = KeyVersion(
      key: old?.key ?? key, value: kept ?? value, createRevision: old?.createRevision ?? revision,
      modRevision: revision, version: (old?.version ?? 0) + 1, lease: lease)
    live.set(version)
    if let old { superseded.append(old) }
    liveBytes += version.weight - (old?.weight ?? 0)
    sizeBytes += version.weight
    pending.append(KeyEvent(version: version, previous: old))
    return version
  }

  /// - Returns: false when there is nothing to delete.
  mutating func delete(_ key: Key, at revision: Revision) -> Bool {
    guard let old = live[key] else { return false }
    let tombstone = KeyVersion.tombstone(of: old.key, at: revision)
    live.set(tombstone)
    superseded.append(old)
    superseded.append(tombstone)
    liveBytes -= old.weight
    sizeBytes += tombstone.weight
    pending.append(KeyEvent(version: tombstone, previous: old))
    return true
  }

  /// What the compacted revision replaced is known to its events and to nobody else, as after `compact`.
  /// - Returns: false when the revision changed nothing.
  mutating func endRevision(_ revision: Revision) -> Bool {
    guard !pending.isEmpty else { return false }
    log.append(revision, pending)
    pending = []
    if revision == compacted {
      superseded = []
      sizeBytes = liveBytes
    }
    return true
  }

  consuming func finish(at revision: Revision) -> KeyStore {
    var newest = OrderedTree<Key, KeyVersion>.Builder()
    for version in Self.sorted(live.all) { newest.append(version.key, version) }
    var older = OrderedTree<VersionKey, KeyVersion>.Builder()
    let history = Self.sorted(superseded)
    for (place, version) in history.enumerated() {
      // A revision that touched a key twice left both at one place, where the later one stays.
      if place + 1 < history.count, history[place + 1].place == version.place { continue }
      older.append(version.place, version)
    }
    return KeyStore(
      live: newest.finish(), superseded: older.finish(), log: log.finish(), revision: revision,
      compactedRevision: compacted, sizeBytes: sizeBytes)
  }

  /// Versions by key and revision, the earlier one first where both are equal. Keys share a beginning as a rule, so the
  /// eight bytes behind it mostly decide, and they lie side by side where the keys themselves are all over memory.
  private static func sorted(_ versions: [KeyVersion]) -> [KeyVersion] {
    guard let first = versions.first?.key.bytes else { return [] }
    var shared = first.count
    for version in versions { shared = min(shared, version.key.bytes.sharedPrefix(with: first, atMost: shared)) }
    var order: [(word: UInt64, place: Int)] = []
    order.reserveCapacity(versions.count)
    for (place, version) in versions.enumerated() { order.append((version.key.bytes.word(at: shared), place)) }
    order.sort { one, other in
      if one.word != other.word { return one.word < other.word }
      let (a, b) = (versions[one.place].place, versions[other.place].place)
      return a == b ? one.place < other.place : a < b
    }
    return order.map { versions[$0.place] }
  }
}

extension KeyVersion {
  fileprivate var place: VersionKey { VersionKey(key: key, revision: modRevision) }
}

extension Array<UInt8> {
  fileprivate func sharedPrefix(with other: [UInt8], atMost limit: Int) -> Int {
    withUnsafeBufferPointer { a in
      other.withUnsafeBufferPointer { b in
        let end = Swift.min(a.count, b.count, limit)
        var length = 0
        while length < end, a[length] == b[length] { length += 1 }
        return length
      }
    }
  }

  /// Eight bytes from `offset` on as a number that sorts as they do, with zeros for what is missing.
  fileprivate func word(at offset: Int) -> UInt64 {
    withUnsafeBytes { raw in
      var word: UInt64 = 0
      let end = Swift.min(raw.count, offset + 8)
      for position in offset..<Swift.max(end, offset) {
        word |= UInt64(raw[position]) << UInt64(56 - 8 * (position - offset))
      }
      return word
    }
  }
}
