// Which watchers a change concerns. Watchers of one key are found by hashing, watchers of a range by a search over the
// ranges; a watcher's events themselves are read from the store's log when its stream has room, so that a slow watcher
// holds a revision, not a buffer.

package struct WatcherID: Hashable, Sendable, Comparable {
  package let value: UInt64

  package init(_ value: UInt64) {
    self.value = value
  }

  package static func < (left: WatcherID, right: WatcherID) -> Bool { left.value < right.value }
}

package struct WatchIndex: Sendable {
  /// Watchers of a single key, in the order in which they came.
  private var byKey: [Key: [WatcherID]] = [:]
  private var ranges: [(id: WatcherID, range: KeyRange)] = []

  package init() {}

  package mutating func insert(_ id: WatcherID, range: KeyRange) {
    if case .single = range.end {
      byKey[range.start, default: []].append(id)
    } else {
      ranges.append((id, range))
    }
  }

  package mutating func remove(_ id: WatcherID, range: KeyRange) {
    if case .single = range.end {
      byKey[range.start]?.removeAll { $0 == id }
      if byKey[range.start]?.isEmpty == true { byKey[range.start] = nil }
    } else {
      ranges.removeAll { $0.id == id }
    }
  }

  /// Calls `body` with each watcher of `key`.
  package func forEachWatcher(of key: Key, _ body: (WatcherID) -> Void) {
    if let watchers = byKey[key] { for id in watchers { body(id) } }
    for entry in ranges where entry.range.contains(key) { body(entry.id) }
  }

  package var isEmpty: Bool { byKey.isEmpty && ranges.isEmpty }
}
