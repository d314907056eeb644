// Leases: what they keep alive, and when they may end.
//
// A lease ends only through the log: by revocation, or by an expiry command that names the generation which its
// proposer saw. Renewal goes through the log as well and raises the generation, so of a renewal and an expiry that race
// the one that is ordered first wins. Deadlines are on the cluster clock (ClusterClock.swift).

package struct Lease: Sendable {
  package let id: LeaseID
  package let ttlMilliseconds: Int64
  /// Whose session it is; empty for a lease that is none.
  package var holder = ""
  /// Raised by each renewal.
  package internal(set) var generation: UInt64 = 0
  /// On the cluster clock. The lease may be expired from this instant on, and never before.
  package internal(set) var deadlineMilliseconds: UInt64
  /// Keys that are deleted with the lease.
  var keys = OrderedTree<Key, Void>()
  /// Scopes whose grant ends with the lease.
  var scopes = OrderedTree<Key, Void>()
  /// Places in the queue of a scope that end with the lease.
  var waits = OrderedTree<WaitKey, Void>()

  package func remainingMilliseconds(at clockMilliseconds: UInt64) -> Int64 {
    Int64(clamping: deadlineMilliseconds) - Int64(clamping: clockMilliseconds)
  }

  var deadlineKey: DeadlineKey<LeaseID> { DeadlineKey(deadlineMilliseconds: deadlineMilliseconds, id: id) }

  package var heldScopes: [Key] { Self.keys(of: scopes) }
  package var grantsCount: Int { scopes.count }
  package var waitsCount: Int { waits.count }
  /// The scopes in whose queues it stands; one that it waits for twice is there twice.
  package var awaitedScopes: [Key] {
    var all: [Key] = []
    waits.forEach { wait, _ in
      all.append(wait.scope); return true
    }
    return all
  }
  package var attachedKeys: [Key] { Self.keys(of: keys) }

  private static func keys(of tree: OrderedTree<Key, Void>) -> [Key] {
    var all: [Key] = []
    tree.forEach { key, _ in
      all.append(key); return true
    }
    return all
  }
}

/// A place in the order in which leases, or clients, may expire.
struct DeadlineKey<ID: Comparable & Sendable>: Comparable, Sendable {
  let deadlineMilliseconds: UInt64
  let id: ID

  static func < (left: DeadlineKey, right: DeadlineKey) -> Bool {
    (left.deadlineMilliseconds, left.id) < (right.deadlineMilliseconds, right.id)
  }
}

/// The deadline of something that is renewed now. Nonsensical times are cut off instead of overflowing, so that no
/// command in the log can trap a node; the result always fits into 63 bits.
func deadline(after ttlMilliseconds: Int64, from clockMilliseconds: UInt64) -> UInt64 {
  min(clockMilliseconds, 1 << 61) + UInt64(min(max(ttlMilliseconds, 0), 1 << 61))
}

package struct ExpiryCandidate: Sendable, Equatable {
  package let lease: LeaseID
  package let generation: UInt64

  package init(lease: LeaseID, generation: UInt64) {
    self.lease = lease
    self.generation = generation
  }
}

package struct LeaseTable: Sendable {
  private(set) var leases = OrderedTree<LeaseID, Lease>()
  private var deadlines = OrderedTree<DeadlineKey<LeaseID>, Void>()

  init() {}

  /// - Parameter sorted: leases by ascending id.
  init(sorted: [Lease]) {
    leases = OrderedTree(sorted: sorted.map { ($0.id, $0) })
    deadlines = OrderedTree(sorted: sorted.map(\.deadlineKey).sorted().map { ($0, ()) })
  }

  package var count: Int { leases.count }

  package subscript(id: LeaseID) -> Lease? { leases[id] }

  package var ids: [LeaseID] {
    var all: [LeaseID] = []
    leases.forEach { id, _ in
      all.append(id); return true
    }
    return all
  }

  /// Those that end first come first, as etcd lists them.
  package var idsByDeadline: [LeaseID] {
    var all: [LeaseID] = []
    deadlines.forEach { entry, _ in
      all.append(entry.id); return true
    }
    return all
  }

  /// Calls `body` for each lease from an id on, ascending, until it returns false.
  package func forEach(from first: LeaseID? = nil, _ body: (Lease) -> Bool) {
    leases.forEach(from: first) { _, lease in body(lease) }
  }

  /// Leases whose time is over on the cluster clock, the longest overdue first.
  package func expired(at clockMilliseconds: UInt64, limit: Int) -> [ExpiryCandidate] {
    var found: [ExpiryCandidate] = []
    deadlines.forEach { entry, _ in
      guard entry.deadlineMilliseconds <= clockMilliseconds, found.count < limit else { return false }
      if let lease = leases[entry.id] {
        found.append(ExpiryCandidate(lease: lease.id, generation: lease.generation))
      }
      return true
    }
    return found
  }

  /// The earliest deadline on the cluster clock.
  package var nextDeadlineMilliseconds: UInt64? { deadlines.first?.key.deadlineMilliseconds }

  mutating func grant(
    _ id: LeaseID, holder: String = "", ttlMilliseconds: Int64, clock: UInt64
  ) throws(RequestError) {
    // 0 says "no lease" wherever a lease is named, so nothing could ever be attached to a lease of that name.
    guard id != 0 else { throw .leaseNotFound(id) }
    guard leases[id] == nil else { throw .leaseExists(id) }
    let lease = Lease(
      id: id, ttlMilliseconds: max(ttlMilliseconds, 0), holder: holder,
      deadlineMilliseconds: deadline(after: ttlMilliseconds, from: clock))
    leases.updateValue(lease, forKey: id)
    deadlines.updateValue((), forKey: lease.deadlineKey)
  }

  mutating func renew(_ id: LeaseID, clock: UInt64) throws(RequestError) {
    guard var lease = leases[id] else { throw .leaseNotFound(id) }
    deadlines.removeValue(forKey: lease.deadlineKey)
    lease.generation &+= 1
    lease.deadlineMilliseconds = deadline(after: lease.ttlMilliseconds, from: clock)
    deadlines.updateValue((), forKey: lease.deadlineKey)
    leases.updateValue(lease, forKey: id)
  }

  mutating func remove(_ id: LeaseID) -> Lease? {
    guard let lease = leases.removeValue(forKey: id) else { return nil }
    deadlines.removeValue(forKey: lease.deadlineKey)
    return lease
  }

  /// Changes what a lease keeps alive; nothing happens when it is gone.
  mutating func update(_ id: LeaseID, _ change: (inout Lease) -> Void) {
    guard id != 0, var lease = leases[id] else { return }
    change(&lease)
    leases.updateValue(lease, forKey: id)
  }
}
