// A key as the store has it, and what became of it.

import Protocol

/// A key with its value and its place in the store's history. Keys and values are bytes; their texts are for people.
public struct KeyValue: Sendable, Hashable {
  /// The key.
  public let key: [UInt8]
  /// The value; may be empty.
  public let value: [UInt8]
  /// The revision at which the key came to be, after its last deletion.
  public let createRevision: Int64
  /// The revision of the newest change.
  public let modRevision: Int64
  /// Changes since the key came to be, counted from 1.
  public let version: Int64
  /// The lease that the key ends with; 0 for none.
  public let lease: Int64

  /// The key as UTF-8, with U+FFFD for what is none.
  public var keyText: String { String(decoding: key, as: UTF8.self) }
  /// The value as UTF-8, with U+FFFD for what is none.
  public var valueText: String { String(decoding: value, as: UTF8.self) }

  init(_ pair: Mvccpb_KeyValue) {
    key = [UInt8](pair.key)
    value = [UInt8](pair.value)
    createRevision = pair.createRevision
    modRevision = pair.modRevision
    version = pair.version
    lease = pair.lease
  }
}

/// The keys that one call or one mirror is about.
public struct KeySpan: Sendable, Hashable {
  let start: [UInt8]
  /// Empty for the one key `start`; a zero byte for all keys from `start` on (etcd's `range_end`).
  let end: [UInt8]

  /// One key.
  public static func key(_ key: String) -> KeySpan { KeySpan(start: Array(key.utf8), end: []) }

  /// All keys that begin with a text; every key, where it is empty.
  public static func prefix(_ prefix: String) -> KeySpan { Self.prefix(Array(prefix.utf8)) }

  /// All keys that begin with these bytes; every key, where there are none.
  public static func prefix(_ prefix: [UInt8]) -> KeySpan {
    guard !prefix.isEmpty else { return KeySpan(start: [0], end: [0]) }
    var end = prefix
    while let last = end.last {
      if last < 0xFF {
        end[end.count - 1] = last + 1
        return KeySpan(start: prefix, end: end)
      }
      end.removeLast()
    }
    // Nothing but 0xFF: the prefix has no upper neighbour.
    return KeySpan(start: prefix, end: [0])
  }
}
