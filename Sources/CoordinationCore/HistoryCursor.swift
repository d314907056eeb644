// Owns the way through everything that is kept of the keys, in the order of revisions: what backups are made of.
// Must never: give a version twice, or a tombstone of what the compaction has already let go of.

package struct HistoryCursor: Sendable {
  package struct Item: Sendable {
    package let version: KeyVersion
    /// Which change of its revision it is, from 0.
    package let place: Int
  }

  private let compacted: Revision
  private var base: ArraySlice<KeyVersion>
  private var log: OrderedTree<Revision, KeyStore.Events>.Cursor
  private var events: ArraySlice<KeyEvent> = []
  private var last: (revision: Revision, place: Int) = (0, -1)

  package init(_ store: KeyStore) {
    compacted = store.compactedRevision
    // What the compacted revision replaced, or deleted, only its own events still know. Given without them, a key that this
    // very revision deleted would be there again.
    let replaced = Set((store.log[compacted] ?? []).map(\.version.key))
    var versions: [KeyVersion] = []
    var cursor = BaseCursor(store)
    while let version = cursor.next() {
      if !replaced.contains(version.key) { versions.append(version) }
    }
    // They come by key. Those of one revision stay in that order.
    versions.sort { ($0.modRevision, $0.key) < ($1.modRevision, $1.key) }
    base = versions[...]
    log = .init(store.log)
  }

  package mutating func next() -> Item? {
    guard let version = base.popFirst() ?? nextOfLog() else { return nil }
    last = (version.modRevision, version.modRevision == last.revision ? last.place + 1 : 0)
    return Item(version: version, place: last.place)
  }

  private mutating func nextOfLog() -> KeyVersion? {
    while true {
      while let event = events.popFirst() {
        if !event.version.isTombstone || event.version.modRevision > compacted { return event.version }
      }
      guard let (_, next) = log.next() else { return nil }
      events = next[...]
    }
  }
}
