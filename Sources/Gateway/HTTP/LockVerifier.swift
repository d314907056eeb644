// Fences on a cluster that signs nothing: from a lock's key in etcd and its create revision to claims.
//
// etcd's own lock, clientv3's `concurrency`, and what other clients made after them, put a key with a lease under
// `NAME/`; whoever has the lowest create revision there holds the lock. python-etcd3 makes the one key `NAME` itself. The
// create revision is the number here, the key is the holder, and the incarnation is 0.
//
// Must never take a number above the floor on a client's word: it is read from the cluster, linearizably, and the read
// begins after the request came. Up to the floor nothing is asked: what is equal is whom the file knows already, and what
// is lower is stale, whatever the cluster says.

package import FencingCore
import Hummingbird
import Logging
import Synchronization

/// What a cluster says of a scope's lock, in one linearizable read.
package struct LockStanding: Sendable, Hashable {
  package struct Lock: Sendable, Hashable {
    package let key: String
    /// The revision at which the key was created.
    package let number: GrantNumber
    /// Without one the lock outlives whoever took it, and is no lock.
    package let hasLease: Bool

    package init(key: String, number: GrantNumber, hasLease: Bool) {
      self.key = key
      self.number = number
      self.hasLease = hasLease
    }
  }

  package let cluster: UInt64
  /// Of the store: every lock that is taken later has a higher number.
  package let revision: Int64
  /// The key that is called like the scope.
  package let own: Lock?
  /// The key under `SCOPE/` with the lowest create revision.
  package let first: Lock?

  package init(cluster: UInt64, revision: Int64, own: Lock?, first: Lock?) {
    self.cluster = cluster
    self.revision = revision
    self.own = own
    self.first = first
  }

  /// Where both kinds of lock are taken, the newer one counts: its number is the one that fences.
  fileprivate var current: Lock? {
    guard let own, own.hasLease else { return first.flatMap { $0.hasLease ? $0 : nil } }
    guard let first, first.hasLease else { return own }
    return own.number > first.number ? own : first
  }
}

/// Where locks are looked up.
package protocol AuthorityLocks: Sendable {
  func locks(of scope: String) async throws -> LockStanding
}

extension Incarnation {
  /// A cluster that knows no incarnations.
  fileprivate static let none: Incarnation = {
    guard let zero = Incarnation(Int64(0)) else { preconditionFailure("zero is an incarnation") }
    return zero
  }()
}

/// What a client presents: `Fence: etcd key=orders%2F694d7f0a, rev=12`.
struct PresentedLock: Sendable, Hashable {
  let key: String
  let number: GrantNumber

  static let shape =
    "Fence is \"etcd key=KEY, rev=REVISION\": the lock's key, percent-encoded, and the revision at which it was created"

  /// - Throws: where a field is not of that shape. Proxies may write several fields as one, with commas between them.
  static func all(in headers: HTTPFields) throws(Problem) -> [PresentedLock] {
    var found: [PresentedLock] = []
    for field in headers[values: .fence] {
      var words = field.split { $0 == "," || $0 == ";" || $0 == " " }[...]
      guard !words.isEmpty else { throw .badFence(shape) }
      while let scheme = words.popFirst() {
        guard scheme.lowercased() == "etcd" else { throw .badFence(shape) }
        var (key, number): (String?, GrantNumber?)
        while let word = words.first, word.lowercased() != "etcd" {
          words.removeFirst()
          let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
          switch (parts[0], parts.count) {
          case ("key", 2) where key == nil: key = percentDecoded(parts[1])
          case ("rev", 2) where number == nil: number = Int64(parts[1]).flatMap { GrantNumber($0) }
          default: throw .badFence(shape)
          }
        }
        guard let key, let number, (1...4096).contains(key.utf8.count) else { throw .badFence(shape) }
        found.append(PresentedLock(key: key, number: number))
      }
    }
    return found
  }

  /// `nil` for what is no percent-encoding of UTF-8.
  private static func percentDecoded(_ text: Substring) -> String? {
    var bytes: [UInt8] = []
    var rest = text.utf8[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%") else {
        bytes.append(byte)
        continue
      }
      guard rest.count >= 2, let escaped = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) else {
        return nil
      }
      bytes.append(escaped)
      rest = rest.dropFirst(2)
    }
    return String(validating: bytes, as: UTF8.self)
  }
}

final class LockVerifier: AuthorityStandings {
  /// Reads of one scope's lock: one that runs, and one behind it for whoever came since.
  private struct Reads {
    var running: Task<LockStanding, any Error>?
    var next: Task<LockStanding, any Error>?
  }

  private let source: any AuthorityLocks
  private let logger: Logger
  private let reads = Mutex<[String: Reads]>([:])
  /// By database and scope: the claims that passed last, so that a holder's next request asks nobody.
  private let passed = Mutex<[String: FenceClaims]>([:])

  init(source: any AuthorityLocks, logger: Logger) {
    self.source = source
    self.logger = logger
  }

  /// - Parameter floor: of a scope, from the file.
  func claims(
    _ lock: PresentedLock, for declaration: DatabaseDeclaration,
    floor: (String) async throws(Problem) -> Floor?
  ) async throws(Problem) -> FenceClaims {
    let map = ScopeMap(declaration)
    guard let scope = map.all.filter({ Self.belongs(lock.key, to: $0) }).max(by: { $0.utf8.count < $1.utf8.count })
    else { throw .foreignLock(lock.key, scope: declaration.scope) }
    let name = declaration.name + "/" + scope
    if let known = passed.withLock({ $0[name] }), known.number == lock.number, known.holder == lock.key { return known }
    if let floor = try await floor(scope), floor.incarnation == .none, lock.number <= floor.number,
      declaration.adoptedCluster ?? floor.cluster == floor.cluster
    {
      let claims = Self.claims(lock, scope: scope, cluster: floor.cluster)
      if claims.floor == floor { passed.withLock { $0[name] = claims } }
      return claims
    }
    let claims = try await verified(lock, scope: scope)
    passed.withLock { $0[name] = claims }
    return claims
  }

  /// Whether the key is a lock of the scope: the one key of its name, or one directly below it.
  private static func belongs(_ key: String, to scope: String) -> Bool {
    if key == scope { return true }
    guard key.utf8.starts(with: (scope + "/").utf8) else { return false }
    let rest = key.utf8.dropFirst(scope.utf8.count + 1)
    return !rest.isEmpty && !rest.contains(UInt8(ascii: "/"))
  }

  private static func claims(_ lock: PresentedLock, scope: String, cluster: UInt64) -> FenceClaims {
    FenceClaims(cluster: cluster, incarnation: .none, scope: scope, number: lock.number, holder: lock.key)
  }

  private func verified(_ lock: PresentedLock, scope: String) async throws(Problem) -> FenceClaims {
    let standing: LockStanding
    do {
      standing = try await freshStanding(of: scope)
    } catch {
      logger.warning("etcd could not be asked", metadata: ["scope": "\(scope)", "why": "\(error)"])
      throw .lockUnverified(scope: scope)
    }
    let claims = Self.claims(lock, scope: scope, cluster: standing.cluster)
    let holder = lock.key == scope ? standing.own : standing.first
    guard let holder, holder.key == lock.key, holder.number == lock.number else {
      throw .notHolder(claims, holder: holder ?? standing.current)
    }
    guard holder.hasLease else { throw .lockWithoutLease(claims) }
    return claims
  }

  /// Reads after now, together with whoever asks at the same time: requests that make numbers up must not become a flood
  /// for the cluster.
  private func freshStanding(of scope: String) async throws -> LockStanding {
    let task = reads.withLock { reads -> Task<LockStanding, any Error> in
      if let next = reads[scope]?.next { return next }
      let running = reads[scope]?.running
      let task = Task { [self] in
        _ = await running?.result
        self.reads.withLock { reads in
          let own = reads[scope]?.next
          reads[scope] = Reads(running: own)
        }
        defer {
          self.reads.withLock { reads in
            if reads[scope]?.next == nil { reads[scope] = nil } else { reads[scope]?.running = nil }
          }
        }
        return try await source.locks(of: scope)
      }
      reads[scope, default: Reads()].next = task
      return task
    }
    return try await task.value
  }

  // MARK: The core's part

  func standing(of scope: String) async throws -> Standing {
    let standing = try await freshStanding(of: scope)
    return Standing(
      cluster: standing.cluster, incarnation: .none,
      current: standing.current.map { Standing.Grant(number: $0.number, holder: $0.key) },
      lastNumber: GrantNumber(standing.revision))
  }
}

extension Problem {
  static func badFence(_ detail: String) -> Problem {
    Problem(
      status: .unauthorized, type: "unverifiable-token", title: "The fence cannot be read", detail: detail + ".",
      recovery: "Send the key that the lock gave, percent-encoded, and its create revision.")
  }

  static func foreignLock(_ key: String, scope: String) -> Problem {
    Problem(
      status: .forbidden, type: "wrong-scope", title: "The lock is of another scope",
      detail: "The database is bound to the scope \"\(scope)\", and \"\(key.prefix(128))\" is no lock of it.",
      recovery: "Take the lock \"\(scope)\", and send the key that it gave.", scope: scope)
  }

  static func notHolder(_ claims: FenceClaims, holder: LockStanding.Lock?) -> Problem {
    let word =
      holder.map { "\"\($0.key)\", created at revision \($0.number), holds the lock" } ?? "nobody holds the lock"
    return Problem(
      status: .conflict, type: "not-current", title: "The cluster does not confirm the lock",
      detail: "Of the scope \"\(claims.scope)\" etcd says that \(word).",
      recovery: "Stop acting on this lock. Take it again, read the data anew, then decide again.", scope: claims.scope,
      presented: claims)
  }

  static func lockWithoutLease(_ claims: FenceClaims) -> Problem {
    Problem(
      status: .conflict, type: "not-current", title: "The lock has no lease",
      detail: "The key \"\(claims.holder)\" outlives whoever made it, so it tells nothing about who is alive.",
      recovery: "Take the lock with a lease.", scope: claims.scope, presented: claims)
  }

  static func lockUnverified(scope: String) -> Problem {
    Problem(
      status: .serviceUnavailable, type: "core-unreachable", title: "The cluster cannot be asked",
      detail: "The number is above what the file knows, so etcd must confirm it, and etcd does not answer.",
      recovery: "Send the request again once etcd can be reached; nothing of it was done.", scope: scope,
      retryAfterSeconds: 1)
  }

  /// A token where locks are taken, or a lock where tokens are.
  static func otherKind(_ detail: String, scope: String) -> Problem {
    Problem(
      status: .unauthorized, type: "unverifiable-token", title: "This gateway takes another kind of fence",
      detail: detail, recovery: "GET /status says under \"authority\" what this gateway stands on.", scope: scope)
  }
}
