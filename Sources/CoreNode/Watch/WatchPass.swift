// One walk over what the store's revisions changed, for all watchers of a stream that wait. However many they are, a revision
// is read once, and an event that concerns many is put into a message's form once.

import CoordinationCore
import Protocol

struct WatchPass {
  /// The most revisions that concern anybody, as etcd has in an answer; the bytes of their events; and the events that are
  /// looked at, whomever they concern, before others on the event loop have their turn.
  private static let maxRevisions = 1000
  private static let maxBytes = 512 * 1024
  private static let maxEvents = 10_000

  /// Every event that concerns anybody, in the form or forms in which it is wanted.
  private(set) var events: [Mvccpb_Event] = []
  /// For each watcher that is concerned, its events in order, whole revisions of them, by their places in `events`.
  private(set) var places: [Int64: [Int]] = [:]
  /// The last revision that was looked at.
  private(set) var through: Revision

  /// - Parameters:
  ///   - first: the lowest revision that anybody waits from, which `snapshot` has.
  ///   - waiting: calls its argument with each watcher of a key that waits, and from which revision on it does.
  init(
    _ snapshot: Snapshot, from first: Revision,
    waiting: (Key, (WatchStream.Watcher, Revision) -> Void) -> Void
  ) {
    let last = snapshot.state.revision
    var found: [Mvccpb_Event] = []
    var places: [Int64: [Int]] = [:]
    var (revisions, bytes, seen) = (0, 0, 0)
    var reached = last
    snapshot.state.store.forEachRevision(from: first, through: last) { revision, changes in
      if revisions >= Self.maxRevisions || bytes >= Self.maxBytes || seen >= Self.maxEvents {
        reached = revision - 1
        return false
      }
      var isTouched = false
      for change in changes {
        seen += 1
        // Where the event is in `found`, without and with what was there before it.
        var (plain, withPrevious): (Int?, Int?)
        waiting(change.version.key) { watcher, since in
          guard since <= revision,
            change.version.isTombstone ? watcher.wantsDeletes : watcher.wantsPuts
          else { return }
          if plain == nil, withPrevious == nil {
            bytes += change.version.value.count + change.version.key.bytes.count
          }
          let place = (watcher.wantsPrevious ? withPrevious : plain) ?? found.count
          if place == found.count {
            found.append(Mvccpb_Event(change, withPrevious: watcher.wantsPrevious))
            if watcher.wantsPrevious { withPrevious = place } else { plain = place }
          }
          places[watcher.id, default: []].append(place)
          isTouched = true
        }
      }
      if isTouched { revisions += 1 }
      return true
    }
    events = found
    self.places = places
    through = reached
  }
}
