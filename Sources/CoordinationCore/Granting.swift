// Owns how grants are made, handed on and ended.
//
// Must never: grant a scope to somebody while another holds it, but for those who share it; or pass by whoever asked first.
// A place in a queue has the number of the entry that asked, and whoever waits for several scopes has the same number in
// the queue of each. So of two that wait for the same scopes the same one is first everywhere, and nobody waits in a circle.

extension Coordination {
  mutating func acquire(_ asked: AcquireRequest, ticket: Ticket, clock: UInt64) throws(RequestError) -> Outcome {
    let request = try named(asked)
    let wanted = request.scopes
    let mine = wanted.compactMap { own($0, request) }
    noteAsked(mine.map(\.scope), by: request.lease, at: ticket)
    if mine.count == wanted.count { return .granted(mine, of: request) }
    if let obstacle = obstacle(for: request, wanted) {
      guard request.waits, !isUpgrade(request, wanted) else { return .refused(obstacle) }
      guard leases[request.lease] != nil else { throw .leaseNotFound(request.lease) }
      return .queued(enqueue(request, wanted, ticket: ticket))
    }
    if leases[request.lease] == nil {
      guard request.ttlMilliseconds > 0 else { throw .leaseNotFound(request.lease) }
      try leases.grant(request.lease, ttlMilliseconds: request.ttlMilliseconds, clock: clock)
    }
    let waiter = Waiter(
      ticket: ticket, holder: request.holder, lease: request.lease, scope: request.scope, terms: request.terms)
    return .granted(give(wanted, to: waiter), of: request)
  }

  /// A session brings its holder along.
  private func named(_ request: AcquireRequest) throws(RequestError) -> AcquireRequest {
    guard request.holder.isEmpty else { return request }
    guard let lease = leases[request.lease] else { throw .leaseNotFound(request.lease) }
    guard !lease.holder.isEmpty else {
      throw .unknownChoice("acquire needs a holder: lease \(request.lease) is no session, which would have one")
    }
    var request = request
    request.holder = lease.holder
    return request
  }

  /// What the asker holds of a scope already. Who holds it alone may do all that one who shares it may.
  private func own(_ scope: Key, _ request: AcquireRequest) -> GrantRecord? {
    guard let grant = scopes[scope]?.grant(of: request.lease), grant.holder == request.holder else { return nil }
    return grant.isShared && !request.isShared ? nil : grant
  }

  /// Whether the asker shares a scope and wants it alone. It would wait for itself.
  private func isUpgrade(_ request: AcquireRequest, _ wanted: [Key]) -> Bool {
    wanted.contains { scope in
      own(scope, request) == nil && scopes[scope]?.grant(of: request.lease)?.holder == request.holder
    }
  }

  /// What stands in the way of the first scope that cannot be had now.
  private func obstacle(for request: AcquireRequest, _ wanted: [Key]) -> GrantRefusal? {
    for scope in wanted where own(scope, request) == nil {
      guard let state = scopes[scope] else { continue }
      if let holder = state.holder { return .held(by: holder) }
      if let sharer = state.sharers.first?.value, !request.isShared || state.sharers[request.lease] != nil {
        return .held(by: sharer)
      }
      if state.isClosed { return .closed(untilMilliseconds: state.closedUntilMilliseconds) }
      if let first = state.queue.first?.value { return .awaited(by: first.holder) }
    }
    return nil
  }

  /// A retry by the same waiter gets its old place.
  private mutating func enqueue(_ request: AcquireRequest, _ wanted: [Key], ticket: Ticket) -> Ticket {
    var earlier: Ticket?
    leases[request.lease]?.waits.forEach(from: WaitKey(scope: request.scope, ticket: 0)) { wait, _ in
      guard wait.scope == request.scope else { return false }
      if let waiter = scopes[wait.scope]?.queue[wait.ticket], waiter.holder == request.holder,
        waiter.scope == request.scope, waiter.terms == request.terms
      {
        earlier = wait.ticket
      }
      return earlier == nil
    }
    if let earlier {
      noteAsked(wanted, by: request.lease, at: ticket)
      return earlier
    }
    let waiter = Waiter(
      ticket: ticket, holder: request.holder, lease: request.lease, scope: request.scope, terms: request.terms)
    for scope in wanted {
      leases.update(request.lease) { $0.waits.updateValue((), forKey: WaitKey(scope: scope, ticket: ticket)) }
      _ = scopes.update(scope) { $0.queue.updateValue(waiter, forKey: ticket) }
    }
    return ticket
  }

  private mutating func noteAsked(_ met: [Key], by lease: LeaseID, at ticket: Ticket) {
    for scope in met { _ = scopes.update(scope) { $0.asked.updateValue(ticket, forKey: lease) } }
    if !met.isEmpty { usesSessions = true }
  }

  /// Called when a lease has let go of something: what it asked for is remembered as long as it has or awaits it.
  private mutating func forgetAsked(_ scope: Key, by lease: LeaseID) {
    guard let state = scopes[scope], state.asked[lease] != nil, state.grant(of: lease) == nil else { return }
    var waits = false
    leases[lease]?.waits.forEach(from: WaitKey(scope: scope, ticket: 0)) { wait, _ in
      waits = wait.scope == scope
      return false
    }
    if !waits { _ = scopes.update(scope) { $0.asked.removeValue(forKey: lease) } }
  }

  private mutating func leaveQueues(_ waiter: Waiter) {
    for scope in waiter.scopes {
      leases.update(waiter.lease) { $0.waits.removeValue(forKey: WaitKey(scope: scope, ticket: waiter.ticket)) }
      if scopes[scope]?.queue[waiter.ticket] != nil {
        _ = scopes.update(scope) { $0.queue.removeValue(forKey: waiter.ticket) }
      }
    }
  }
}

// MARK: - Giving

extension Coordination {
  /// All of the scopes, with one revision for those that are new to the waiter.
  private mutating func give(_ wanted: [Key], to waiter: Waiter) -> [GrantRecord] {
    wanted.map { scope in
      if let mine = scopes[scope]?.grant(of: waiter.lease) { return mine }
      return give(scope, to: waiter)
    }
  }

  private mutating func give(_ scope: Key, to waiter: Waiter) -> GrantRecord {
    // Whoever joins others that share a scope holds it under their number.
    let joins = waiter.isShared && scopes[scope]?.sharers.isEmpty == false
    let number = joins ? scopes[scope]?.lastNumber ?? 0 : store.pendingRevision
    if !joins { takesRevision = true }
    let record = GrantRecord(
      scope: scope, number: number, holder: waiter.holder, lease: waiter.lease, isShared: waiter.isShared)
    let delay = waiter.terms?.lockDelayMilliseconds ?? 0
    scopes.update(scope) { state in
      precondition(joins || number > state.lastNumber, "the numbers of a scope must rise")
      precondition(state.holder == nil && (waiter.isShared || state.sharers.isEmpty), "a scope has one holder")
      state.lastNumber = number
      state.lockDelayMilliseconds = joins ? max(delay, state.lockDelayMilliseconds) : delay
      if !joins || !(waiter.terms?.value ?? []).isEmpty { state.value = waiter.terms?.value ?? [] }
      if waiter.isShared { state.sharers.updateValue(record, forKey: waiter.lease) } else { state.holder = record }
    }
    leases.update(waiter.lease) { $0.scopes.updateValue((), forKey: scope) }
    if !joins { gateways.raise(scope, to: number) }
    touchedScopes.append(scope)
    return record
  }

  /// Grants scopes that may have become free to whoever is next, and what that makes possible.
  ///
  /// A waiter leaves the queues with its lease, so whoever is first is alive.
  mutating func handOn(_ freed: [Key], notices: inout [Notice]) {
    var toLook = freed
    while let scope = toLook.popLast() {
      while let waiter = scopes[scope]?.queue.first?.value, isTurn(of: waiter) {
        toLook += grantTurn(of: waiter, notices: &notices).filter { $0 != scope }
        // What the lease holds now may be what another of its requests waits for, wherever in the queue that is.
        while let other = nextTurn(of: waiter.lease) {
          toLook += grantTurn(of: other, notices: &notices).filter { $0 != scope }
        }
      }
    }
  }

  /// - Returns: the scopes in whose queues somebody else may be first now.
  private mutating func grantTurn(of waiter: Waiter, notices: inout [Notice]) -> [Key] {
    precondition(leases[waiter.lease] != nil, "a waiter outlived its lease")
    leaveQueues(waiter)
    let wanted = AcquireRequest(waiter).scopes
    let records = give(wanted, to: waiter)
    notices.append(records.count == 1 ? .granted(waiter.ticket, records[0]) : .grantedAll(waiter.ticket, records))
    return wanted
  }

  private func nextTurn(of lease: LeaseID) -> Waiter? {
    var next: Waiter?
    leases[lease]?.waits.forEach { wait, _ in
      if let waiter = scopes[wait.scope]?.queue[wait.ticket], isTurn(of: waiter) { next = waiter }
      return next == nil
    }
    return next
  }

  private func isTurn(of waiter: Waiter) -> Bool {
    waiter.scopes.allSatisfy { scope in
      guard let state = scopes[scope] else { return false }
      if let mine = state.grant(of: waiter.lease) {
        return mine.holder == waiter.holder && (!mine.isShared || waiter.isShared)
      }
      let isFree = state.holder == nil && (state.sharers.isEmpty || waiter.isShared)
      return isFree && !state.isClosed && state.queue.first?.key == waiter.ticket
    }
  }
}

// MARK: - Ending

extension Coordination {
  /// Ends a grant. Only the current number ends it: a late release by a past holder must not take the scope from its
  /// successor (etcd#22082).
  /// - Parameter lease: whose share ends, where the scope is shared; else 0.
  mutating func release(_ scope: Key, number: Revision, lease: LeaseID, notices: inout [Notice]) -> Outcome {
    let state = scopes[scope]
    let current = lease == 0 ? state?.holder : state?.grant(of: lease)
    guard let current, current.number == number else {
      return .refused(.notHolder(current: state?.foremost, lastNumber: state?.lastNumber ?? 0))
    }
    leases.update(current.lease) { $0.scopes.removeValue(forKey: scope) }
    end(current)
    handOn([scope], notices: &notices)
    return .released(current)
  }

  /// Ends a grant of which a node could not tell its holder, unless the holder has asked again since: then another node may
  /// have told it.
  /// - Parameter since: the entry by which the node was asked.
  mutating func giveBack(
    _ scope: Key, number: Revision, lease: LeaseID, since: Ticket, notices: inout [Notice]
  ) -> Outcome {
    if let state = scopes[scope], let grant = state.grant(of: lease), let asked = state.asked[lease], asked > since {
      return .refused(.held(by: grant))
    }
    return release(scope, number: number, lease: lease, notices: &notices)
  }

  private mutating func end(_ grant: GrantRecord) {
    touchedScopes.append(grant.scope)
    scopes.update(grant.scope) { state in
      if grant.isShared { state.sharers.removeValue(forKey: grant.lease) } else { state.holder = nil }
    }
    forgetAsked(grant.scope, by: grant.lease)
  }

  /// Gives up waiting. When the turn came first, the answer is the grant.
  mutating func cancelWait(_ scope: Key, ticket: Ticket, notices: inout [Notice]) -> Outcome {
    guard let waiter = scopes[scope]?.queue[ticket] else { return .waitEnded(holder: scopes[scope]?.foremost) }
    leaveQueues(waiter)
    for left in waiter.scopes { forgetAsked(left, by: waiter.lease) }
    handOn(waiter.scopes, notices: &notices)
    return .waitEnded(holder: scopes[scope]?.foremost)
  }

  /// Takes everything that a dead lease held or waited for from it.
  /// - Parameter clock: on the cluster clock, when the holder was lost; nil where it said itself that it is done.
  mutating func endAuthority(of lease: Lease, lostAt clock: UInt64?, notices: inout [Notice]) {
    var freed: [Key] = []
    // Asked for membership alone: the order is that of the tree.
    var dismissed: Set<Ticket> = []
    lease.waits.forEach { wait, _ in
      _ = scopes.update(wait.scope) { $0.queue.removeValue(forKey: wait.ticket) }
      forgetAsked(wait.scope, by: lease.id)
      if dismissed.insert(wait.ticket).inserted { notices.append(.dismissed(wait.ticket)) }
      freed.append(wait.scope)
      return true
    }
    lease.scopes.forEach { scope, _ in
      guard let state = scopes[scope], let grant = state.grant(of: lease.id) else { return true }
      end(grant)
      if let clock, state.lockDelayMilliseconds > 0, scopes[scope]?.isHeld == false {
        scopes.close(scope, untilMilliseconds: deadline(after: state.lockDelayMilliseconds, from: clock))
      }
      freed.append(scope)
      return true
    }
    // The list is worked off from its end.
    handOn(freed.reversed(), notices: &notices)
  }

  /// Ends the time for which a scope stays closed behind a holder that was lost.
  mutating func reopen(
    _ scope: Key, untilMilliseconds until: UInt64, clock: UInt64, notices: inout [Notice]
  ) -> Outcome {
    guard scopes[scope]?.closedUntilMilliseconds == until, until <= clock else { return .reopened(false) }
    scopes.open(scope)
    handOn([scope], notices: &notices)
    return .reopened(true)
  }

  /// Says something else of the holder; only the current one can.
  mutating func proclaim(_ scope: Key, number: Revision, value: Bytes) -> Outcome {
    let state = scopes[scope]
    guard let current = state?.holder, current.number == number else {
      return .refused(.notHolder(current: state?.foremost, lastNumber: state?.lastNumber ?? 0))
    }
    scopes.update(scope) { $0.value = value }
    touchedScopes.append(scope)
    return .proclaimed(current)
  }
}

extension Outcome {
  static func granted(_ records: [GrantRecord], of request: AcquireRequest) -> Outcome {
    request.terms?.more.isEmpty ?? true ? .granted(records[0]) : .grantedAll(records)
  }
}

extension AcquireRequest {
  /// What a waiter asked for.
  fileprivate init(_ waiter: Waiter) {
    self.init(
      scope: waiter.scope, holder: waiter.holder, lease: waiter.lease, ttlMilliseconds: 0, waits: true,
      terms: waiter.terms)
  }
}
