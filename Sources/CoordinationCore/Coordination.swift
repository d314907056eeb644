// The replicated state and the one way to change it: `apply`, called with each committed entry in the order of the
// log. It uses nothing but the state, the command and the entry's index and clock, so every node that has applied the
// same entries has the same state.

package struct Coordination: Sendable {
  package internal(set) var store = KeyStore()
  package internal(set) var leases = LeaseTable()
  package internal(set) var scopes = GrantTable()
  /// What the nodes have said of themselves, oldest first: the keys that verify their tokens, and where they serve.
  /// Removed nodes are among them, marked as such.
  package internal(set) var nodes: [NodeRecord] = []
  package internal(set) var clients = ClientTable()
  /// Raised by hand and not yet disarmed, in order.
  package internal(set) var alarms: [Alarm] = []
  package internal(set) var auth = AuthState()

  package internal(set) var gateways = GatewayTable()
  /// Something of it was used that states did not have before format 4: from then on they are written in that one.
  var usesSessions = false

  /// Set by a grant: the command takes a revision of its own though it may have changed no key.
  var takesRevision = false
  /// The scopes that the command has granted, freed or said something new of; empty between commands.
  var touchedScopes: [Key] = []

  package init() {}

  package var revision: Revision { store.revision }
}

package enum Outcome: Sendable {
  case put(previous: KeyVersion?)
  case deleted(count: Int, previous: [KeyVersion])
  case transaction(TransactionResult)
  case compacted
  case leaseGranted(LeaseID, ttlMilliseconds: Int64)
  case leaseEnded(LeaseID)
  case leaseRenewed(LeaseID, ttlMilliseconds: Int64)
  case granted(GrantRecord)
  /// Of several scopes, in the order in which they were named.
  case grantedAll([GrantRecord])
  case queued(Ticket)
  case released(GrantRecord)
  case waitEnded(holder: GrantRecord?)
  case refused(GrantRefusal)
  case proclaimed(GrantRecord)
  /// Whether the scope was closed, and its time was over.
  case reopened(Bool)
  /// Whether there was anything to change.
  case gatewayChanged(Bool)
  case nodeRegistered
  case nodeForgotten
  case clockMarked
  case clientOpened(ClientID, ttlMilliseconds: Int64)
  case clientEnded(ClientID)
  /// The alarms that were raised or disarmed: none where there was nothing to disarm.
  case alarms([Alarm])
  /// Users and roles are as they were asked to be.
  case authChanged
  /// A token was made, by the entry of this index.
  case authenticated(tokenIndex: UInt64)
  case failed(RequestError)
}

package struct Applied: Sendable {
  package let outcome: Outcome
  package let notices: [Notice]
  /// Scopes that were granted or freed, or of which something else is said, for whoever watches over one; some may be there
  /// twice. A state that comes in a snapshot tells of none.
  package internal(set) var touched: [Key] = []
  /// The outcome is that of an earlier entry; this one changed nothing.
  package let isRepeat: Bool
}

extension Coordination {
  /// Applies a committed command.
  /// - Parameters:
  ///   - index: the entry's index, which serves as the ticket of a waiter.
  ///   - clockMilliseconds: the entry's stamp on the cluster clock.
  package mutating func apply(_ command: Command, index: UInt64, clockMilliseconds: UInt64) -> Applied {
    var notices: [Notice] = []
    takesRevision = false
    let outcome: Outcome
    do {
      outcome = try run(command, index: index, clock: clockMilliseconds, notices: &notices)
    } catch {
      precondition(!store.hasPendingChanges && !takesRevision, "a refused command must not have changed anything")
      return Applied(outcome: .failed(error), notices: [], isRepeat: false)
    }
    store.commitPending(force: takesRevision)
    guard !touchedScopes.isEmpty else { return Applied(outcome: outcome, notices: notices, isRepeat: false) }
    defer { touchedScopes = [] }
    return Applied(outcome: outcome, notices: notices, touched: touchedScopes, isRepeat: false)
  }

  private mutating func run(
    _ command: Command, index: UInt64, clock: UInt64, notices: inout [Notice]
  ) throws(RequestError) -> Outcome {
    try checkAlarms(command)
    switch command {
    case .put(let request):
      // etcd looks for the lease of a lone put first, and of one in a transaction after its key.
      try checkLease(of: request)
      try check(request)
      let previous = put(request)
      return .put(previous: request.wantsPrevious ? previous : nil)
    case .delete(let request):
      let deleted = delete(request.range)
      return .deleted(count: deleted.count, previous: request.wantsPrevious ? deleted : [])
    case .transaction(let request):
      return .transaction(try transact(request))
    case .compact(let revision):
      try store.compact(at: revision)
      return .compacted
    case .leaseGrant(let id, let ttlMilliseconds):
      try leases.grant(id, ttlMilliseconds: ttlMilliseconds, clock: clock)
      return .leaseGranted(id, ttlMilliseconds: ttlMilliseconds)
    case .leaseRevoke(let id):
      guard leases[id] != nil else { throw .leaseNotFound(id) }
      end(id, lostAt: clock, notices: &notices)
      return .leaseEnded(id)
    case .leaseRenew(let id):
      try leases.renew(id, clock: clock)
      return .leaseRenewed(id, ttlMilliseconds: leases[id]?.ttlMilliseconds ?? 0)
    case .leaseExpire(let candidate):
      return expire(candidate, clock: clock, notices: &notices)
    case .acquire, .release, .giveBack, .cancelWait, .openSession, .closeSession, .proclaim, .reopen, .gateway:
      return try runGrants(command, index: index, clock: clock, notices: &notices)
    case .registerNode, .forgetNode, .retireKeys, .openClient, .expireClient, .markClock, .alarm, .auth:
      return try runRest(command, index: index, clock: clock, notices: &notices)
    }
  }

  /// Sessions, grants and gateways.
  private mutating func runGrants(
    _ command: Command, index: UInt64, clock: UInt64, notices: inout [Notice]
  ) throws(RequestError) -> Outcome {
    if command.needsSessionFormat { usesSessions = true }
    switch command {
    case .acquire(let request):
      return try acquire(request, ticket: index, clock: clock)
    case .release(let scope, let number, let lease):
      return release(scope, number: number, lease: lease, notices: &notices)
    case .giveBack(let scope, let number, let lease, let since):
      return giveBack(scope, number: number, lease: lease, since: since, notices: &notices)
    case .cancelWait(let scope, let ticket):
      return cancelWait(scope, ticket: ticket, notices: &notices)
    case .openSession(let id, let holder, let ttlMilliseconds):
      return try openSession(id, holder: holder, ttlMilliseconds: ttlMilliseconds, clock: clock)
    case .closeSession(let id):
      return try closeSession(id, notices: &notices)
    case .proclaim(let scope, let number, let value):
      return proclaim(scope, number: number, value: value)
    case .reopen(let scope, let until):
      return reopen(scope, untilMilliseconds: until, clock: clock, notices: &notices)
    case .gateway(let change):
      return try self.change(change, notices: &notices)
    default: preconditionFailure("the other commands are run elsewhere")
    }
  }

  /// Nodes, clients and users.
  private mutating func runRest(
    _ command: Command, index: UInt64, clock: UInt64, notices: inout [Notice]
  ) throws(RequestError) -> Outcome {
    switch command {
    case .registerNode(let record):
      register(record)
      return .nodeRegistered
    case .forgetNode(let node):
      forget(node: node)
      return .nodeForgotten
    case .retireKeys(let node, let isRemoved):
      retireKeys(of: node, isRemoved: isRemoved)
      return .nodeForgotten
    case .openClient(let ttlMilliseconds):
      let client = clients.open(index, ttlMilliseconds: ttlMilliseconds, clock: clock)
      return .clientOpened(client.id, ttlMilliseconds: client.ttlMilliseconds)
    case .expireClient(let candidate):
      return expire(candidate, clock: clock)
    case .markClock:
      return .clockMarked
    case .alarm(let change):
      return .alarms(self.change(change))
    case .auth(let change):
      return try self.change(change, index: index, clock: clock)
    default: preconditionFailure("the other commands are run elsewhere")
    }
  }

  /// A renewal that was ordered first has raised the generation or moved the deadline: then the lease lives on.
  private mutating func expire(_ candidate: ExpiryCandidate, clock: UInt64, notices: inout [Notice]) -> Outcome {
    guard let lease = leases[candidate.lease], lease.generation == candidate.generation,
      lease.deadlineMilliseconds <= clock
    else { return .failed(.leaseNotFound(candidate.lease)) }
    end(lease.id, lostAt: clock, notices: &notices)
    return .leaseEnded(lease.id)
  }

  /// - Parameter clock: nil where the lease's holder says itself that it is done.
  mutating func end(_ id: LeaseID, lostAt clock: UInt64?, notices: inout [Notice]) {
    guard let lease = leases.remove(id) else { return }
    for key in lease.attachedKeys { _ = store.delete(KeyRange(start: key, end: .single)) }
    endAuthority(of: lease, lostAt: clock, notices: &notices)
  }
}

// MARK: - Keys

extension Coordination {
  /// What a put needs to be there before anything changes.
  func check(_ request: PutRequest) throws(RequestError) {
    if request.ignoresValue || request.ignoresLease, store.current(request.key) == nil { throw .keyNotFound }
    try checkLease(of: request)
  }

  private func checkLease(of request: PutRequest) throws(RequestError) {
    if request.lease != 0, leases[request.lease] == nil { throw .leaseNotFound(request.lease) }
  }

  /// Puts a key that has passed `check`, and moves it from the lease that it had to the one that it has now.
  mutating func put(_ request: PutRequest) -> KeyVersion? {
    let current = request.ignoresValue || request.ignoresLease ? store.current(request.key) : nil
    let value = request.ignoresValue ? current?.value ?? [] : request.value
    let lease = request.ignoresLease ? current?.lease ?? 0 : request.lease
    let previous = store.put(request.key, value: value, lease: lease)
    if let previous, previous.lease != lease {
      leases.update(previous.lease) { $0.keys.removeValue(forKey: request.key) }
    }
    if lease != 0, previous?.lease != lease {
      leases.update(lease) { $0.keys.updateValue((), forKey: request.key) }
    }
    return previous
  }

  mutating func delete(_ range: KeyRange) -> [KeyVersion] {
    let deleted = store.delete(range)
    for version in deleted where version.lease != 0 {
      leases.update(version.lease) { $0.keys.removeValue(forKey: version.key) }
    }
    return deleted
  }
}
