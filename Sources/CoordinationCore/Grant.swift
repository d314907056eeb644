// Grants: who holds a scope, under which number, and who is next.
//
// A grant is made in `apply` and nowhere else, and its number is the revision at which that happened, so numbers of a
// scope rise for ever: they survive release, expiry, deletion and compaction. A scope is handed on in the very command
// that frees it, to the first waiter whose lease is alive.

/// A place in a scope's queue: the log index of the command that asked for it.
package typealias Ticket = UInt64

package struct GrantRecord: Sendable, Equatable {
  package let scope: Key
  /// The revision at which the grant was applied.
  package let number: Revision
  package let holder: String
  package let lease: LeaseID
}

package struct Waiter: Sendable, Equatable {
  package let ticket: Ticket
  package let holder: String
  package let lease: LeaseID
}

/// A waiter's place, as its lease remembers it.
struct WaitKey: Comparable, Sendable {
  let scope: Key
  let ticket: Ticket

  static func < (left: WaitKey, right: WaitKey) -> Bool {
    if left.scope < right.scope { return true }
    if right.scope < left.scope { return false }
    return left.ticket < right.ticket
  }
}

/// What became of a waiter by somebody else's command.
package enum Notice: Sendable, Equatable {
  /// The waiter holds the scope now.
  case granted(Ticket, GrantRecord)
  /// The waiter's lease ended before its turn came.
  case dismissed(Ticket)
}

package struct ScopeState: Sendable {
  /// The number of the newest grant, current or past; 0 before the first.
  package internal(set) var lastNumber: Revision = 0
  package internal(set) var holder: GrantRecord?
  var queue = OrderedTree<Ticket, Waiter>()

  package var waiting: [Waiter] {
    var all: [Waiter] = []
    queue.forEach { _, waiter in
      all.append(waiter); return true
    }
    return all
  }
}

package struct AcquireRequest: Sendable, Equatable {
  package var scope: Key
  package var holder: String
  package var lease: LeaseID
  /// Above 0: the lease is made with the grant, if it does not exist, with this time to live.
  package var ttlMilliseconds: Int64
  /// Whether to queue when the scope is held.
  package var waits: Bool

  package init(scope: Key, holder: String, lease: LeaseID, ttlMilliseconds: Int64, waits: Bool) {
    self.scope = scope
    self.holder = holder
    self.lease = lease
    self.ttlMilliseconds = ttlMilliseconds
    self.waits = waits
  }
}

package enum GrantRefusal: Sendable, Equatable {
  /// Somebody else holds the scope.
  case held(by: GrantRecord)
  /// The number presented is not the current grant's: what the scope is at is in `current`.
  case notHolder(current: GrantRecord?, lastNumber: Revision)
}

package struct GrantTable: Sendable {
  private(set) var scopes = OrderedTree<Key, ScopeState>()

  init() {}

  init(scopes: OrderedTree<Key, ScopeState>) {
    self.scopes = scopes
  }

  package subscript(scope: Key) -> ScopeState? { scopes[scope] }

  mutating func update<T>(_ scope: Key, _ change: (inout ScopeState) -> T) -> T {
    var state = scopes[scope] ?? ScopeState()
    let result = change(&state)
    scopes.updateValue(state, forKey: scope)
    return result
  }
}

// MARK: - Applying

extension Coordination {
  mutating func acquire(_ request: AcquireRequest, ticket: Ticket, clock: UInt64) throws(RequestError) -> Outcome {
    let state = scopes[request.scope]
    if let current = state?.holder {
      if current.lease == request.lease, current.holder == request.holder { return .granted(current) }
      guard request.waits else { return .refused(.held(by: current)) }
      guard leases[request.lease] != nil else { throw .leaseNotFound(request.lease) }
      return .queued(enqueue(request, ticket: ticket, state: state))
    }
    if leases[request.lease] == nil {
      guard request.ttlMilliseconds > 0 else { throw .leaseNotFound(request.lease) }
      try leases.grant(request.lease, ttlMilliseconds: request.ttlMilliseconds, clock: clock)
    }
    return .granted(grant(request.scope, to: Waiter(ticket: ticket, holder: request.holder, lease: request.lease)))
  }

  /// Ends a grant. Only the current number ends it: a late release by a past holder must not take the scope from its
  /// successor (etcd#22082).
  mutating func release(_ scope: Key, number: Revision, notices: inout [Notice]) -> Outcome {
    let state = scopes[scope]
    guard let current = state?.holder, current.number == number else {
      return .refused(.notHolder(current: state?.holder, lastNumber: state?.lastNumber ?? 0))
    }
    leases.update(current.lease) { $0.scopes.removeValue(forKey: scope) }
    handOn(scope, notices: &notices)
    return .released(current)
  }

  /// Gives up waiting. When the turn came first, the answer is the grant.
  mutating func cancelWait(_ scope: Key, ticket: Ticket, notices: inout [Notice]) -> Outcome {
    guard let waiter = scopes[scope]?.queue[ticket] else { return .waitEnded(holder: scopes[scope]?.holder) }
    leases.update(waiter.lease) { $0.waits.removeValue(forKey: WaitKey(scope: scope, ticket: ticket)) }
    _ = scopes.update(scope) { $0.queue.removeValue(forKey: ticket) }
    return .waitEnded(holder: scopes[scope]?.holder)
  }

  /// Takes everything that a dead lease held or waited for from it.
  mutating func endAuthority(of lease: Lease, notices: inout [Notice]) {
    lease.waits.forEach { wait, _ in
      _ = scopes.update(wait.scope) { $0.queue.removeValue(forKey: wait.ticket) }
      notices.append(.dismissed(wait.ticket))
      return true
    }
    lease.scopes.forEach { scope, _ in
      handOn(scope, notices: &notices)
      return true
    }
  }

  /// A retry by the same waiter gets its old place.
  private mutating func enqueue(_ request: AcquireRequest, ticket: Ticket, state: ScopeState?) -> Ticket {
    var earlier: Ticket?
    leases[request.lease]?.waits.forEach(from: WaitKey(scope: request.scope, ticket: 0)) { wait, _ in
      if wait.scope == request.scope, state?.queue[wait.ticket]?.holder == request.holder { earlier = wait.ticket }
      return earlier == nil && wait.scope == request.scope
    }
    if let earlier { return earlier }
    let waiter = Waiter(ticket: ticket, holder: request.holder, lease: request.lease)
    leases.update(request.lease) { $0.waits.updateValue((), forKey: WaitKey(scope: request.scope, ticket: ticket)) }
    _ = scopes.update(request.scope) { $0.queue.updateValue(waiter, forKey: ticket) }
    return ticket
  }

  /// Passes a scope to the first in its queue. A waiter leaves the queue with its lease, so whoever is first is alive.
  private mutating func handOn(_ scope: Key, notices: inout [Notice]) {
    if let ended = scopes[scope]?.holder { endedGrants.append(ended) }
    let next = scopes.update(scope) { state -> Waiter? in
      state.holder = nil
      guard let (ticket, waiter) = state.queue.first else { return nil }
      state.queue.removeValue(forKey: ticket)
      return waiter
    }
    guard let next else { return }
    precondition(leases[next.lease] != nil, "a waiter outlived its lease")
    leases.update(next.lease) { $0.waits.removeValue(forKey: WaitKey(scope: scope, ticket: next.ticket)) }
    notices.append(.granted(next.ticket, grant(scope, to: next)))
  }

  private mutating func grant(_ scope: Key, to waiter: Waiter) -> GrantRecord {
    let number = store.pendingRevision
    takesRevision = true
    let record = GrantRecord(scope: scope, number: number, holder: waiter.holder, lease: waiter.lease)
    scopes.update(scope) { state in
      precondition(number > state.lastNumber, "the numbers of a scope must rise")
      state.lastNumber = number
      state.holder = record
    }
    leases.update(waiter.lease) { $0.scopes.updateValue((), forKey: scope) }
    return record
  }
}
