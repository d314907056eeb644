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

  /// For each watcher that is concerned, its events in order, whole revisions of them.
  private(set) var events: [Int64: [Mvccpb_Event]] = [:]
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
    var found: [Int64: [Mvccpb_Event]] = [:]
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
        var form = EventForm(change)
        waiting(change.version.key) { watcher, since in
          guard since <= revision,
            change.version.isTombstone ? watcher.wantsDeletes : watcher.wantsPuts
          else { return }
          if !form.isMade { bytes += change.version.value.count + change.version.key.bytes.count }
          found[watcher.id, default: []].append(form.message(withPrevious: watcher.wantsPrevious))
          isTouched = true
        }
      }
      if isTouched { revisions += 1 }
      return true
    }
    events = found
    through = reached
  }

  /// An event as a message, made when it is first wanted and shared from then on.
  private struct EventForm {
    let change: KeyEvent
    private var plain: Mvccpb_Event?
    private var withPrevious: Mvccpb_Event?

    init(_ change: KeyEvent) { self.change = change }

    var isMade: Bool { plain != nil || withPrevious != nil }

    mutating func message(withPrevious wantsPrevious: Bool) -> Mvccpb_Event {
      if let made = wantsPrevious ? withPrevious : plain { return made }
      let made = Mvccpb_Event(change, withPrevious: wantsPrevious)
      if wantsPrevious { withPrevious = made } else { plain = made }
      return made
    }
  }
}
