// Which watchers a change concerns. Watchers of one key are found by hashing, watchers of a range in a tree of ranges, so
// watchers of other keys cost a change nothing; a watcher's events themselves are read from the store's log when its stream
// has room, so that a slow watcher holds a revision, not a buffer.

package struct WatcherID: Hashable, Sendable, Comparable {
  package let value: UInt64

  package init(_ value: UInt64) {
    self.value = value
  }

  package static func < (left: WatcherID, right: WatcherID) -> Bool { left.value < right.value }
}

package struct WatchIndex: Sendable {
  /// Watchers of a single key, by ascending id.
  private var byKey: [Key: [WatcherID]] = [:]
  private var ranges = RangeTree()

  package init() {}

  /// An id must not be inserted again before it was removed.
  package mutating func insert(_ id: WatcherID, range: KeyRange) {
    guard case .single = range.end else { return ranges.insert(id, range: range) }
    var watchers = byKey.removeValue(forKey: range.start) ?? []
    watchers.insert(id, at: Self.place(of: id, in: watchers))
    byKey[range.start] = watchers
  }

  /// - Parameter range: with which the id was inserted.
  package mutating func remove(_ id: WatcherID, range: KeyRange) {
    guard case .single = range.end else { return ranges.remove(id, range: range) }
    guard var watchers = byKey.removeValue(forKey: range.start) else { return }
    let place = Self.place(of: id, in: watchers)
    if place < watchers.count, watchers[place] == id { watchers.remove(at: place) }
    if !watchers.isEmpty { byKey[range.start] = watchers }
  }

  /// Where an id is, or belongs: ten thousand may watch one key, and each comes and goes.
  private static func place(of id: WatcherID, in watchers: [WatcherID]) -> Int {
    var (low, high) = (0, watchers.count)
    // Ids that rise, as the hub's do, belong at the end.
    if let last = watchers.last, last < id { return high }
    while low < high {
      let middle = (low + high) / 2
      if watchers[middle] < id { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// Calls `body` with each watcher of `key`.
  package func forEachWatcher(of key: Key, _ body: (WatcherID) -> Void) {
    if let watchers = byKey[key] { for id in watchers { body(id) } }
    if !ranges.isEmpty { ranges.forEach(holding: key, body) }
  }

  package var isEmpty: Bool { byKey.isEmpty && ranges.isEmpty }
}
