// What the store keeps of a key: one immutable record for each revision that touched it.

/// A position in the history of the store. It rises by one with every command that changes something.
package typealias Revision = Int64

package typealias LeaseID = Int64

/// One version of a key, or the tombstone that a deletion leaves (`version` 0). Shared by the live keys, the superseded
/// versions and the revision log, and never changed once made.
package final class KeyVersion: Sendable {
  package let key: Key
  package let value: Bytes
  /// The revision at which the key came into being; 0 in a tombstone.
  package let createRevision: Revision
  /// The revision that made this version.
  package let modRevision: Revision
  /// 1 for a key just created, one more with each put; 0 in a tombstone.
  package let version: Int64
  /// The lease that the key goes with, or 0.
  package let lease: LeaseID

  init(
    key: Key, value: Bytes, createRevision: Revision, modRevision: Revision, version: Int64, lease: LeaseID
  ) {
    self.key = key
    self.value = value
    self.createRevision = createRevision
    self.modRevision = modRevision
    self.version = version
    self.lease = lease
  }

  static func tombstone(of key: Key, at revision: Revision) -> KeyVersion {
    KeyVersion(key: key, value: [], createRevision: 0, modRevision: revision, version: 0, lease: 0)
  }

  package var isTombstone: Bool { version == 0 }

  /// Bytes that the version stands for when the store's size is reported.
  var weight: Int { Self.weight(key: key, valueBytes: value.count) }

  static func weight(key: Key, valueBytes: Int) -> Int { key.bytes.count + valueBytes + 128 }
}

/// A change of one key, as a watcher is told of it.
package struct KeyEvent: Sendable {
  /// The version that was put, or a tombstone.
  package let version: KeyVersion
  /// What it replaced, if anything.
  package let previous: KeyVersion?
}

/// A version's place among the superseded ones: all versions of a key together, oldest first.
struct VersionKey: Comparable, Sendable {
  let key: Key
  let revision: Revision

  static func < (left: VersionKey, right: VersionKey) -> Bool {
    if left.key < right.key { return true }
    if right.key < left.key { return false }
    return left.revision < right.revision
  }

  static func == (left: VersionKey, right: VersionKey) -> Bool {
    left.revision == right.revision && left.key == right.key
  }
}
