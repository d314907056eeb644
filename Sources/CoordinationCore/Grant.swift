// Grants: who holds a scope, under which number, and who is next.
//
// A grant is made in `apply` and nowhere else, and its number is the revision at which that happened, so numbers of a
// scope rise for ever: they survive release, expiry, deletion and compaction. A scope is handed on in the very command
// that frees it, to the first waiter whose lease is alive.

/// A place in a scope's queue: the log index of the command that asked for it.
package typealias Ticket = UInt64

package struct GrantRecord: Sendable, Equatable {
  package let scope: Key
  /// The revision at which the grant was applied; of a share, at which the first of those was that are held together.
  package let number: Revision
  package let holder: String
  package let lease: LeaseID
  /// Others may hold the scope under the same number.
  package var isShared = false
}

package struct Waiter: Sendable, Equatable {
  package let ticket: Ticket
  package let holder: String
  package let lease: LeaseID
  /// The first of the scopes that it waits for; it has a place in the queue of each.
  package let scope: Key
  package var terms: GrantTerms?

  var scopes: [Key] { [scope] + (terms?.more ?? []) }
  var isShared: Bool { terms?.isShared ?? false }
}

/// What an acquire may ask for beside one scope for itself alone.
package struct GrantTerms: Sendable, Equatable {
  /// Scopes that are granted together with the first or not at all.
  package var more: [Key] = []
  package var isShared = false
  /// How long the scopes stay closed when the holder is lost.
  package var lockDelayMilliseconds: Int64 = 0
  /// What the holder says of itself.
  package var value: Bytes = []
  /// Whether the holder is told before every gateway has confirmed. The state does not look at it: the node that answers
  /// does.
  package var barrier = Barrier.required
  /// How long that node waits for them.
  package var barrierMilliseconds: Int64 = 0

  package enum Barrier: UInt8, Sendable { case required, preferred, off }

  package init() {}
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
  /// The waiter holds all the scopes now that it asked for together, in the order in which it named them.
  case grantedAll(Ticket, [GrantRecord])
  /// The waiter's lease ended before its turn came.
  case dismissed(Ticket)
  /// The last of the gateways that protect the scope has confirmed the raise to this number, or was deregistered.
  case confirmed(Key, Revision)
}

package struct ScopeState: Sendable {
  /// The number of the newest grant, current or past; 0 before the first.
  package internal(set) var lastNumber: Revision = 0
  /// Who holds it alone.
  package internal(set) var holder: GrantRecord?
  /// Those that hold it together; empty while there is a holder.
  var sharers = OrderedTree<LeaseID, GrantRecord>()
  var queue = OrderedTree<Ticket, Waiter>()
  /// Of a lease that asked again for what it holds or waits for: the newest entry that did. Whoever gives a grant back that
  /// it could not tell of must not take it from whoever asked since.
  var asked = OrderedTree<LeaseID, Ticket>()
  /// Of the newest grant: how long the scope stays closed when its holder is lost.
  var lockDelayMilliseconds: Int64 = 0
  /// On the cluster clock: the scope is granted to nobody before a command opens it, at this time or later. 0: it is open.
  package internal(set) var closedUntilMilliseconds: UInt64 = 0
  /// What the newest holder has said of itself.
  package internal(set) var value: Bytes = []

  package var isHeld: Bool { holder != nil || !sharers.isEmpty }
  package var isClosed: Bool { closedUntilMilliseconds != 0 }
  package var waitingCount: Int { queue.count }
  package var sharersCount: Int { sharers.count }

  package var sharing: [GrantRecord] {
    var all: [GrantRecord] = []
    sharers.forEach { _, record in
      all.append(record); return true
    }
    return all
  }

  /// Whose grant stands in the way of others: the holder's, or that of one of those who share.
  package var foremost: GrantRecord? { holder ?? sharers.first?.value }

  /// The grant that a lease has of the scope.
  package func grant(of lease: LeaseID) -> GrantRecord? {
    if let holder { return holder.lease == lease ? holder : nil }
    return sharers[lease]
  }

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
  /// Nil: one scope, for the holder alone.
  package var terms: GrantTerms?

  /// Each once, in the order in which they were named.
  var scopes: [Key] {
    guard let more = terms?.more, !more.isEmpty else { return [scope] }
    var all = [scope]
    for key in more where !all.contains(key) { all.append(key) }
    return all
  }

  var isShared: Bool { terms?.isShared ?? false }

  /// - Parameter holder: may be empty where the lease is a session, which has one.
  package init(
    scope: Key, holder: String, lease: LeaseID, ttlMilliseconds: Int64, waits: Bool, terms: GrantTerms? = nil
  ) {
    self.scope = scope
    self.holder = holder
    self.lease = lease
    self.ttlMilliseconds = ttlMilliseconds
    self.waits = waits
    self.terms = terms
  }
}

/// A grant that a command leans on.
package struct GrantFence: Sendable, Equatable {
  package let scope: Key
  package let number: Revision

  package init(scope: Key, number: Revision) {
    self.scope = scope
    self.number = number
  }
}

extension Coordination {
  /// Why what leans on a grant is not to be done; nil while the grant is current. A share is not enough to write under.
  package func staleness(of fence: GrantFence, isRead: Bool = false) -> GrantRefusal? {
    let state = scopes[fence.scope]
    if state?.holder?.number == fence.number { return nil }
    if isRead, let state, !state.sharers.isEmpty, state.lastNumber == fence.number { return nil }
    return .notHolder(current: state?.foremost, lastNumber: state?.lastNumber ?? 0)
  }
}

package enum GrantRefusal: Sendable, Equatable {
  /// Somebody else holds the scope.
  case held(by: GrantRecord)
  /// The number presented is not the current grant's: what the scope is at is in `current`.
  case notHolder(current: GrantRecord?, lastNumber: Revision)
  /// Nobody holds the scope, and somebody who came earlier waits for it and for others.
  case awaited(by: String)
  /// The holder was lost, and the scope stays closed until this time of the cluster clock.
  case closed(untilMilliseconds: UInt64)
  /// Gateways have not confirmed the raise in time. A node finds this out, not the state.
  case unconfirmed(GrantRecord, missing: [String])
}

package struct GrantTable: Sendable {
  private(set) var scopes = OrderedTree<Key, ScopeState>()
  /// Closed scopes, by the time at which they are to be opened.
  private var closings = OrderedTree<DeadlineKey<Key>, Void>()

  init() {}

  init(scopes: OrderedTree<Key, ScopeState>) {
    self.scopes = scopes
    scopes.forEach { scope, state in
      if state.isClosed { closings.updateValue((), forKey: Self.closing(scope, state.closedUntilMilliseconds)) }
      return true
    }
  }

  private static func closing(_ scope: Key, _ until: UInt64) -> DeadlineKey<Key> {
    DeadlineKey(deadlineMilliseconds: until, id: scope)
  }

  /// Closed scopes whose time is over on the cluster clock, with that time, the longest overdue first.
  package func reopenable(at clockMilliseconds: UInt64, limit: Int) -> [(scope: Key, untilMilliseconds: UInt64)] {
    var found: [(Key, UInt64)] = []
    closings.forEach { entry, _ in
      guard entry.deadlineMilliseconds <= clockMilliseconds, found.count < limit else { return false }
      found.append((entry.id, entry.deadlineMilliseconds))
      return true
    }
    return found
  }

  mutating func close(_ scope: Key, untilMilliseconds until: UInt64) {
    open(scope)
    update(scope) { $0.closedUntilMilliseconds = until }
    closings.updateValue((), forKey: Self.closing(scope, until))
  }

  mutating func open(_ scope: Key) {
    guard let until = scopes[scope]?.closedUntilMilliseconds, until != 0 else { return }
    closings.removeValue(forKey: Self.closing(scope, until))
    update(scope) { $0.closedUntilMilliseconds = 0 }
  }

  /// Calls `body` for each scope from `first` on, until it returns false.
  package func forEach(from first: Key? = nil, _ body: (Key, ScopeState) -> Bool) {
    scopes.forEach(from: first, body)
  }

  package subscript(scope: Key) -> ScopeState? { scopes[scope] }

  mutating func update<T>(_ scope: Key, _ change: (inout ScopeState) -> T) -> T {
    var state = scopes[scope] ?? ScopeState()
    let result = change(&state)
    scopes.updateValue(state, forKey: scope)
    return result
  }
}
