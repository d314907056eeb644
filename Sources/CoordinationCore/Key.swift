// Keys and key ranges as etcd orders them: plain bytes, compared as unsigned numbers from the left.

/// A value or a key as it travels: bytes with no meaning of their own.
package typealias Bytes = [UInt8]

/// A key of the store.
package struct Key: Hashable, Sendable {
  package let bytes: Bytes

  package init(_ bytes: Bytes) {
    self.bytes = bytes
  }

  /// All bytes at once: an array hands them over one by one.
  package func hash(into hasher: inout Hasher) {
    bytes.withUnsafeBytes { hasher.combine(bytes: $0) }
  }
}

extension Key: Comparable {
  /// Compares eight bytes at a time: this is the innermost loop of every put and range.
  package static func < (left: Key, right: Key) -> Bool {
    left.bytes.withUnsafeBytes { a in
      right.bytes.withUnsafeBytes { b in
        let shared = min(a.count, b.count)
        var offset = 0
        while offset + 8 <= shared {
          let x = UInt64(bigEndian: a.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
          let y = UInt64(bigEndian: b.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
          if x != y { return x < y }
          offset += 8
        }
        while offset < shared {
          if a[offset] != b[offset] { return a[offset] < b[offset] }
          offset += 1
        }
        return a.count < b.count
      }
    }
  }
}

/// The keys that a request is about: one key, an interval, or everything from a key on.
package struct KeyRange: Sendable, Equatable {
  package enum End: Sendable, Equatable {
    /// Just the key `start`.
    case single
    /// Every key before this one.
    case before(Key)
    /// No end: every key from `start` on.
    case unbounded
  }

  package let start: Key
  package let end: End

  package init(start: Key, end: End) {
    self.start = start
    self.end = end
  }

  /// Reads a range as etcd writes it: an empty `rangeEnd` means one key, a single zero byte means no end, and an
  /// empty `key` with a `rangeEnd` means from the first key on.
  package init(key: Bytes, rangeEnd: Bytes) {
    self.start = Key(key)
    if rangeEnd.isEmpty {
      self.end = .single
    } else if rangeEnd == [0] {
      self.end = .unbounded
    } else {
      self.end = .before(Key(rangeEnd))
    }
  }

  /// Every key that begins with `prefix`.
  package init(prefix: Bytes) {
    var end = prefix
    while let last = end.last, last == 0xFF { end.removeLast() }
    self.start = Key(prefix)
    if end.isEmpty {
      self.end = .unbounded
    } else {
      end[end.count - 1] += 1
      self.end = .before(Key(end))
    }
  }

  package func contains(_ key: Key) -> Bool {
    switch end {
    case .single: key == start
    case .before(let bound): !(key < start) && key < bound
    case .unbounded: !(key < start)
    }
  }

  package func overlaps(_ other: KeyRange) -> Bool {
    if case .single = end { return other.contains(start) }
    if case .single = other.end { return contains(other.start) }
    return starts(beforeEndOf: other) && other.starts(beforeEndOf: self) && !isEmpty && !other.isEmpty
  }

  /// Whether no key at all can lie in the range, as when its end is not after its start.
  package var isEmpty: Bool {
    if case .before(let bound) = end { return !(start < bound) }
    return false
  }

  /// The first key that lies after the range, or nil when there is none.
  var exclusiveEnd: Key? {
    switch end {
    case .single: Key(start.bytes + [0])
    case .before(let bound): bound
    case .unbounded: nil
    }
  }

  private func starts(beforeEndOf other: KeyRange) -> Bool {
    guard case .before(let bound) = other.end else { return true }
    return start < bound
  }
}
