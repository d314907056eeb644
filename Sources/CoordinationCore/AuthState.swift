// Owns who may use the keys: users, roles with their permissions, whether anybody is asked at all, and the count of
// changes to all that. A part of the replicated state, so that every node comes to the same verdict of an entry.
//
// Must never: see a password. What is kept of one is bytes made of it elsewhere, and only compared elsewhere.
//
// Invariants: the roles of a user exist, but for root's, which every user may have without; what a user may do
// (`UserRecord.access`) is what its roles permit together; `revision` is above 1 once anything was ever changed.

/// Users and roles are named by bytes: texts that look alike are different names.
package typealias AuthName = Key

extension AuthName {
  /// The user without which authentication cannot be enabled, and the role that permits everything.
  package static var root: AuthName { AuthName(Bytes("root".utf8)) }
}

/// What a role permits of a range of keys.
package struct Permission: Sendable, Equatable {
  package enum Kind: UInt8, Sendable {
    case read, write, readWrite

    var reads: Bool { self != .write }
    var writes: Bool { self != .read }
  }

  package let kind: Kind
  package let range: KeyRange

  package init(_ kind: Kind, _ range: KeyRange) {
    self.kind = kind
    self.range = range
  }

  /// Whether the range is one that etcd takes: it begins with a key, and is not empty.
  var isValid: Bool { !range.start.bytes.isEmpty && !range.isEmpty }
}

package struct UserRecord: Sendable {
  package let name: AuthName
  /// What a password is checked against, in the form of whoever made it; nil for a user that has none and comes by
  /// certificate. Bytes that no password fits are fine.
  package internal(set) var password: Bytes?
  /// In ascending order.
  package internal(set) var roles: [AuthName] = []
  /// Follows from the roles.
  var access = KeyAccess()

  init(name: AuthName, password: Bytes?) {
    self.name = name
    self.password = password
  }

  package var isRoot: Bool { roles.contains(.root) }
}

package struct AuthState: Sendable {
  package internal(set) var isEnabled = false
  /// Counted from 1 as etcd counts: each change of users and roles raises it, and so does disabling. A caller's identity
  /// carries the one that it was found out by, and is worth nothing once it is old.
  package internal(set) var revision: UInt64 = 1
  var users = OrderedTree<AuthName, UserRecord>()
  var roles = OrderedTree<AuthName, [Permission]>()
  package internal(set) var tokens = TokenTable()

  /// Nothing of it was ever used: then the bytes of the state are those of the time before there was any of it.
  var isUntouched: Bool { revision == 1 }

  package func user(_ name: AuthName) -> UserRecord? { users[name] }

  /// A role's permissions by ascending key; nil where there is no such role.
  package func role(_ name: AuthName) -> [Permission]? { roles[name] }

  package var userNames: [AuthName] {
    var all: [AuthName] = []
    users.forEach { name, _ in
      all.append(name); return true
    }
    return all
  }

  package var roleNames: [AuthName] {
    var all: [AuthName] = []
    roles.forEach { name, _ in
      all.append(name); return true
    }
    return all
  }

  package var allUsers: [UserRecord] {
    var all: [UserRecord] = []
    users.forEach { _, user in
      all.append(user); return true
    }
    return all
  }
}

// MARK: - What permissions come to

/// What the roles of a user permit together.
struct KeyAccess: Sendable {
  private(set) var reads = KeySpans()
  private(set) var writes = KeySpans()

  init() {}

  init(_ permissions: [Permission]) {
    reads = KeySpans(permissions.filter(\.kind.reads).map(\.range))
    writes = KeySpans(permissions.filter(\.kind.writes).map(\.range))
  }
}

/// Keys as stretches that neither overlap nor touch, in ascending order: so a range is permitted when one stretch holds
/// all of it, even where several permissions side by side make that up.
struct KeySpans: Sendable {
  private struct Span {
    let start: Key
    /// The first key behind it; nil where it has no end.
    var end: Key?
  }

  private var spans: [Span] = []

  init() {}

  init(_ ranges: [KeyRange]) {
    let sorted = ranges.filter { !$0.isEmpty }.sorted { $0.start < $1.start }
    for range in sorted {
      let next = Span(start: range.start, end: range.exclusiveEnd)
      guard let last = spans.last, last.end.map({ !($0 < next.start) }) ?? true else {
        spans.append(next)
        continue
      }
      guard let lastEnd = last.end else { continue }
      if next.end.map({ lastEnd < $0 }) ?? true { spans[spans.count - 1].end = next.end }
    }
  }

  func holds(_ range: KeyRange) -> Bool {
    guard let span = span(of: range.start) else { return false }
    switch range.end {
    case .single: return true
    // Of a range in which nothing can lie, etcd wants both ends permitted.
    case .before(let bound): return span.start < bound && span.end.map { !($0 < bound) } ?? true
    case .unbounded: return span.end == nil
    }
  }

  private func span(of key: Key) -> Span? {
    var (low, high) = (0, spans.count)
    while low < high {
      let middle = (low + high) / 2
      if key < spans[middle].start { high = middle } else { low = middle + 1 }
    }
    guard low > 0 else { return nil }
    let span = spans[low - 1]
    return span.end.map { key < $0 } ?? true ? span : nil
  }
}
