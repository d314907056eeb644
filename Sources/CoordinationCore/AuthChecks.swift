// Owns the verdict whether a caller may do what it asks for, by etcd 3.5's rules.
//
// Must never: trust what was found out before an entry had its place in the log. A command that changes anything is
// judged when it is applied, against the users and roles of that very instant, so that what was revoked before it is
// revoked for it.

/// Whom a node took a request to be from, and by which revision of users and roles it found that out.
package struct Caller: Sendable, Equatable {
  package let user: AuthName
  package let authRevision: UInt64

  package init(user: AuthName, authRevision: UInt64) {
    self.user = user
    self.authRevision = authRevision
  }
}

// MARK: - Keys, and standing

extension AuthState {
  package func checkRead(_ range: KeyRange, by caller: Caller?) throws(RequestError) {
    guard isEnabled else { return }
    let user = try identified(caller)
    guard user.isRoot || user.access.reads.holds(range) else { throw .auth(.permissionDenied) }
  }

  package func checkWrite(_ range: KeyRange, by caller: Caller?) throws(RequestError) {
    guard isEnabled else { return }
    let user = try identified(caller)
    guard user.isRoot || user.access.writes.holds(range) else { throw .auth(.permissionDenied) }
  }

  /// For what only an administrator may do. As with etcd the revision does not matter: the role is looked up now.
  package func checkRoot(_ caller: Caller?) throws(RequestError) {
    guard isEnabled else { return }
    guard let caller, !caller.user.bytes.isEmpty else { throw .auth(.userNameEmpty) }
    guard let user = users[caller.user] else { throw .auth(.userNotFound) }
    guard user.isRoot else { throw .auth(.permissionDenied) }
  }

  /// For what every user may do, and nobody else.
  package func checkUser(_ caller: Caller?) throws(RequestError) {
    guard isEnabled else { return }
    guard let caller, !caller.user.bytes.isEmpty else { throw .auth(.userNameEmpty) }
    guard users[caller.user] != nil else { throw .auth(.permissionDenied) }
  }

  package func isRoot(_ caller: Caller?) -> Bool {
    caller.flatMap { users[$0.user] }?.isRoot ?? false
  }

  private func identified(_ caller: Caller?) throws(RequestError) -> UserRecord {
    guard let caller, !caller.user.bytes.isEmpty else { throw .auth(.userNameEmpty) }
    guard caller.authRevision >= revision else { throw .auth(.oldRevision) }
    guard let user = users[caller.user] else { throw .auth(.permissionDenied) }
    return user
  }
}

// MARK: - Commands

extension Coordination {
  /// Refuses a command that its caller may not give. What a node does of its own accord asks nobody.
  func authorize(_ envelope: Envelope) throws(RequestError) {
    guard auth.isEnabled, !envelope.isNodesOwn else { return }
    try authorize(envelope.command, by: envelope.caller)
  }

  /// - Throws: `.auth`, with etcd's reason.
  package func authorize(_ command: Command, by caller: Caller?) throws(RequestError) {
    guard auth.isEnabled else { return }
    switch command {
    case .put(let request): try authorize(request, by: caller)
    case .delete(let request):
      try auth.checkWrite(request.range, by: caller)
      if request.wantsPrevious { try auth.checkRead(request.range, by: caller) }
    case .transaction(let request): try authorize(request, by: caller)
    case .compact, .alarm: try auth.checkRoot(caller)
    case .leaseGrant, .openClient, .openSession: try auth.checkUser(caller)
    case .leaseRevoke(let lease), .leaseRenew(let lease), .closeSession(let lease):
      try auth.checkUser(caller)
      try authorizeAll(of: lease, by: caller)
    case .acquire(let request):
      for scope in request.scopes { try authorize(scope: scope, by: caller) }
      try authorizeAll(of: request.lease, by: caller)
    case .release(let scope, _, _), .proclaim(let scope, _, _): try authorize(scope: scope, by: caller)
    case .gateway(.register(_, let scopes)): for scope in scopes { try authorize(scope: scope, by: caller) }
    case .gateway(.confirm(_, let scope, _)): try authorize(scope: scope, by: caller)
    case .gateway(.retire): try auth.checkRoot(caller)
    case .auth(.authenticate): break
    case .auth(.renewTokens), .cancelWait, .leaseExpire, .registerNode, .forgetNode, .retireKeys, .expireClient,
      .markClock,
      .reopen, .giveBack:
      // Nodes give these, and nobody else can.
      throw .auth(.permissionDenied)
    case .auth: try auth.checkRoot(caller)
    }
  }

  private func authorize(_ request: PutRequest, by caller: Caller?) throws(RequestError) {
    let range = KeyRange(start: request.key, end: .single)
    try auth.checkWrite(range, by: caller)
    // Whoever cannot revoke a lease must not be able to have a key go with it.
    if request.lease != 0 { try authorizeAll(of: request.lease, by: caller) }
    if request.wantsPrevious { try auth.checkRead(range, by: caller) }
  }

  /// Both branches, whichever will run.
  private func authorize(_ request: TransactionRequest, by caller: Caller?) throws(RequestError) {
    for compare in request.compares { try auth.checkRead(compare.range, by: caller) }
    for branch in [request.success, request.failure] {
      for operation in branch {
        switch operation {
        case .range(let query): try auth.checkRead(query.range, by: caller)
        case .put(let put): try authorize(put, by: caller)
        case .delete(let delete):
          if delete.wantsPrevious { try auth.checkRead(delete.range, by: caller) }
          try auth.checkWrite(delete.range, by: caller)
        case .transaction(let inner): try authorize(inner, by: caller)
        }
      }
    }
  }

  /// A scope stands under the key of the same bytes: whoever may read and write that key may hold the scope.
  private func authorize(scope: Key, by caller: Caller?) throws(RequestError) {
    let range = KeyRange(start: scope, end: .single)
    try auth.checkWrite(range, by: caller)
    try auth.checkRead(range, by: caller)
  }

  /// Everything that ends with a lease must be the caller's to end. A lease that does not exist is refused elsewhere.
  private func authorizeAll(of id: LeaseID, by caller: Caller?) throws(RequestError) {
    guard !auth.isRoot(caller), let lease = leases[id] else { return }
    var refusal: RequestError?
    let check = { (key: Key) -> Bool in
      do throws(RequestError) {
        try auth.checkWrite(KeyRange(start: key, end: .single), by: caller)
      } catch {
        refusal = error
      }
      return refusal == nil
    }
    lease.keys.forEach { key, _ in check(key) }
    lease.scopes.forEach { scope, _ in check(scope) }
    lease.waits.forEach { wait, _ in check(wait.scope) }
    if let refusal { throw refusal }
  }

  /// Whether a caller may be told what goes with a lease.
  package func authorizeListing(of id: LeaseID, by caller: Caller?) throws(RequestError) {
    guard auth.isEnabled else { return }
    try auth.checkUser(caller)
    guard !auth.isRoot(caller), let lease = leases[id] else { return }
    for key in lease.attachedKeys { try auth.checkRead(KeyRange(start: key, end: .single), by: caller) }
  }
}
