// Tells watch streams that there is something for them. It holds no events: a watcher is a range and a revision, and
// its stream reads the events from a snapshot when its client has room for them. So memory is bounded however slow a
// client is, and no slow client delays another.

import CoordinationCore
import NIOConcurrencyHelpers
import NIOCore

/// Whoever is told that keys changed: a watch stream, or a call that waits for a lock.
protocol WatchObserver: AnyObject, Sendable {
  /// Called on the loop's thread with the watchers that are concerned and the first revision that does; must only hand
  /// over to an event loop.
  func mark(_ marks: [(watch: Int64, revision: Revision)])
}

final class WatchHub: Sendable {
  private struct Entry {
    let observer: any WatchObserver
    let watch: Int64
    let range: KeyRange
  }

  private struct Registry {
    var index = WatchIndex()
    var entries: [WatcherID: Entry] = [:]
    var nextID: UInt64 = 1
    /// Every change up to here has been told to the streams that it concerns: their marks were handed to their event
    /// loops before this rose.
    var revision: Revision
  }

  private let registry: NIOLockedValueBox<Registry>

  /// - Parameter revision: of the state with which the node starts. Nobody watches yet, so nobody missed anything.
  init(revision: Revision) {
    registry = NIOLockedValueBox(Registry(revision: revision))
  }

  /// A revision such that every stream has been told of all changes up to it, once its event loop has run what was
  /// handed to it before this call.
  var revision: Revision { registry.withLockedValue { $0.revision } }

  /// How many watch, over all streams and calls.
  var count: Int { registry.withLockedValue { $0.entries.count } }

  /// Adds a watcher and answers the revision up to which it will not be told of changes.
  func add(_ watch: Int64, of observer: any WatchObserver, range: KeyRange) -> (id: WatcherID, toldThrough: Revision) {
    registry.withLockedValue { registry in
      let id = WatcherID(registry.nextID)
      registry.nextID += 1
      registry.entries[id] = Entry(observer: observer, watch: watch, range: range)
      registry.index.insert(id, range: range)
      return (id, registry.revision)
    }
  }

  func remove(_ id: WatcherID) {
    registry.withLockedValue { registry in
      guard let entry = registry.entries.removeValue(forKey: id) else { return }
      registry.index.remove(id, range: entry.range)
    }
  }

  /// Called by the loop's thread after it has published `snapshot`.
  func advance(to snapshot: Snapshot) {
    registry.withLockedValue { registry in
      let revision = snapshot.state.revision
      guard revision > registry.revision else { return }
      if !registry.index.isEmpty {
        // What happened in between may be gone already: by a compaction in the same turn as the changes, or by a snapshot
        // from the leader. Nobody can tell whom it concerned, so everybody looks, and whoever missed it is told where
        // history begins now.
        let isGone = snapshot.state.store.compactedRevision > registry.revision + 1
        let marks = isGone ? Self.marksForAll(registry) : Self.marks(snapshot, registry)
        for (observer, marks) in marks { observer.mark(marks) }
      }
      registry.revision = revision
    }
  }

  private static func marksForAll(_ registry: Registry) -> [(any WatchObserver, [Mark])] {
    registry.entries.values.map { ($0.observer, [($0.watch, registry.revision + 1)]) }
  }

  private typealias Mark = (watch: Int64, revision: Revision)

  /// For each observer concerned, its watchers with the first revision that touches them.
  private static func marks(
    _ snapshot: Snapshot, _ registry: Registry
  ) -> [(any WatchObserver, [Mark])] {
    var seen: Set<WatcherID> = []
    var marks: [(observer: any WatchObserver, marks: [Mark])] = []
    var place: [ObjectIdentifier: Int] = [:]
    // Watchers of one stream follow each other more often than not.
    var last: (observer: (any WatchObserver)?, index: Int) = (nil, 0)
    let isOne = snapshot.state.revision == registry.revision + 1
    snapshot.state.store.forEachRevision(from: registry.revision + 1, through: snapshot.state.revision) {
      revision, events in
      for event in events {
        registry.index.forEachWatcher(of: event.version.key) { id in
          // One event finds everybody once.
          guard isOne && events.count == 1 || seen.insert(id).inserted, let entry = registry.entries[id] else { return }
          if last.observer !== entry.observer {
            let observer = ObjectIdentifier(entry.observer)
            last = (entry.observer, place[observer] ?? marks.count)
            if last.index == marks.count {
              marks.append((entry.observer, []))
              place[observer] = last.index
            }
          }
          marks[last.index].marks.append((entry.watch, revision))
        }
      }
      return true
    }
    return marks
  }
}
