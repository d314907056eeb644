// A revision may have changed more than fits into one message: a watcher that asks for fragments gets it in pieces.

import NIOCore
package import Protocol
import SwiftProtobuf

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

extension Etcdserverpb_WatchResponse {
  /// The message's bytes; nil when it is larger than a message may be, which is 2 GiB.
  func encoded() -> ByteBuffer? {
    let bytes: [UInt8]? = try? serializedBytes()
    return bytes.map { ByteBuffer(bytes: $0) }
  }

  /// The field `watch_id` alone. Behind the bytes of a message without it, it is part of that message: whoever reads two
  /// messages one behind the other merges them (protobuf's encoding, "Last One Wins").
  static func watchIDField(_ id: Int64) -> [UInt8] {
    guard id != 0 else { return [] }
    var bytes: [UInt8] = [2 << 3]
    var rest = UInt64(bitPattern: id)
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
    return bytes
  }
}
