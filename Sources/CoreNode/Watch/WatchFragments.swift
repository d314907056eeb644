// A revision may have changed more than fits into one message: a watcher that asks for fragments gets it in pieces.

package import Protocol

extension Etcdserverpb_WatchResponse {
  /// The answer in pieces of which none is larger than `limitBytes`, unless a single event is; all but the last are marked.
  package func fragments(limitBytes: Int) -> [Etcdserverpb_WatchResponse] {
    guard limitBytes < .max, events.count > 1 else { return [self] }
    var bare = self
    bare.events = []
    var fragments: [Etcdserverpb_WatchResponse] = []
    var (current, bytes) = (bare, Self.overheadBytes)
    for event in events {
      let eventBytes = event.boundBytes
      if !current.events.isEmpty, bytes + eventBytes > limitBytes {
        current.fragment = true
        fragments.append(current)
        (current, bytes) = (bare, Self.overheadBytes)
      }
      current.events.append(event)
      bytes += eventBytes
    }
    return fragments + [current]
  }

  /// More than everything but keys and values takes of an answer or of an event: two records of four numbers each.
  fileprivate static let overheadBytes = 128
}

extension Mvccpb_Event {
  /// No less than the event takes in a message, found without encoding it.
  fileprivate var boundBytes: Int {
    kv.key.count + kv.value.count + prevKv.key.count + prevKv.value.count + Etcdserverpb_WatchResponse.overheadBytes
  }
}
