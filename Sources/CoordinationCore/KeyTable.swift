// Owns the newest version of each key while a log is replayed: a hash table that is made for a million keys at once.
//
// Must never: show its order; it differs from run to run with the seed of `Hasher`, which keeps those who choose keys
// from choosing collisions.
//
// A slot holds half of a key's hash beside the place of its version, so a search reads a key only where that half agrees,
// and growing reads none. Versions lie in the order in which their keys came, which is mostly that of memory.

struct KeyTable: Sendable {
  /// 0, or half a hash above a place counted from one.
  private var slots: [UInt64] = Array(repeating: 0, count: 64)
  /// A deleted key keeps its place with its tombstone.
  private var versions: [KeyVersion] = []

  /// Of all keys that are not deleted.
  var all: [KeyVersion] { versions.filter { !$0.isTombstone } }

  subscript(key: Key) -> KeyVersion? {
    guard case .taken(let place) = find(key, Self.tag(of: key)), !versions[place].isTombstone else { return nil }
    return versions[place]
  }

  /// The version takes the place of its key's last one.
  mutating func set(_ version: KeyVersion) {
    let tag = Self.tag(of: version.key)
    switch find(version.key, tag) {
    case .taken(let place): versions[place] = version
    case .free(let slot):
      versions.append(version)
      slots[slot] = tag << 32 | UInt64(versions.count)
      precondition(versions.count < UInt32.max, "a table of keys is full")
      if versions.count * 2 > slots.count { grow() }
    }
  }

  private enum Found {
    case taken(place: Int)
    case free(slot: Int)
  }

  private static func tag(of key: Key) -> UInt64 { UInt64(UInt32(truncatingIfNeeded: key.hashValue)) }

  private func find(_ key: Key, _ tag: UInt64) -> Found {
    let mask = slots.count - 1
    var slot = Int(tag) & mask
    while slots[slot] != 0 {
      if slots[slot] >> 32 == tag {
        let place = Int(slots[slot] & 0xFFFF_FFFF) - 1
        if versions[place].key == key { return .taken(place: place) }
      }
      slot = (slot + 1) & mask
    }
    return .free(slot: slot)
  }

  private mutating func grow() {
    var larger = [UInt64](repeating: 0, count: slots.count * 2)
    let mask = larger.count - 1
    for content in slots where content != 0 {
      var slot = Int(content >> 32) & mask
      while larger[slot] != 0 { slot = (slot + 1) & mask }
      larger[slot] = content
    }
    slots = larger
  }
}
