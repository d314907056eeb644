// Draws commands of every kind, as likely to meet each other as a test needs: few keys, few leases, few scopes.

import CoordinationCore

struct RandomCommands {
  var draw: Draw
  /// Clients that were opened and may be gone by now.
  private var clients: [ClientID] = []
  private var sequence: UInt64 = 0
  private var sent: [(name: ClientSequence, command: Command)] = []
  /// Whether there are sessions, gateways and grants on terms of their own, as states have them from format 4 on.
  private let usesSessions: Bool

  init(seed: UInt64, usesSessions: Bool? = nil) {
    draw = Draw(state: seed)
    self.usesSessions = usesSessions ?? seed.isMultiple(of: 2)
  }

  private mutating func below(_ bound: Int) -> Int { Int(draw.next(upperBound: UInt64(bound))) }

  mutating func key() -> Key { Key(Bytes("key/\(below(30))".utf8)) }

  private mutating func lease() -> LeaseID { LeaseID(below(8)) - 2 }

  private mutating func scope() -> Key { Key(Bytes("scope/\(below(3))".utf8)) }

  private mutating func range() -> KeyRange {
    switch below(4) {
    case 0: KeyRange(start: key(), end: .unbounded)
    case 1: KeyRange(start: key(), end: .before(key()))
    default: KeyRange(start: key(), end: .single)
    }
  }

  private mutating func put() -> PutRequest {
    let length = below(9)
    var request = PutRequest(key: key(), value: Bytes(repeating: UInt8(below(256)), count: length))
    if below(3) == 0 { request.lease = lease() }
    request.wantsPrevious = below(2) == 0
    request.ignoresValue = below(8) == 0
    request.ignoresLease = below(8) == 0
    return request
  }

  private mutating func delete() -> DeleteRequest { DeleteRequest(range: range(), wantsPrevious: below(2) == 0) }

  private mutating func transaction(depth: Int) -> TransactionRequest {
    var request = TransactionRequest()
    request.compares = [Compare(range: range(), target: .version(Int64(below(3))), relation: .less)]
    for _ in 0..<below(4) { request.success.append(operation(depth: depth)) }
    for _ in 0..<below(4) { request.failure.append(operation(depth: depth)) }
    return request
  }

  /// Unlike a node, it lets a transaction touch a key twice.
  private mutating func operation(depth: Int) -> TransactionRequest.Operation {
    switch below(8) {
    case 0..<4: return .put(put())
    case 4: return .delete(delete())
    case 5 where depth < 2: return .transaction(transaction(depth: depth + 1))
    default:
      var query = RangeQuery(range: range())
      query.limit = Int64(below(3))
      query.keysOnly = below(2) == 0
      return .range(query)
    }
  }

  private mutating func terms() -> GrantTerms {
    var terms = GrantTerms()
    terms.isShared = below(3) == 0
    for _ in 0..<below(3) { terms.more.append(scope()) }
    terms.lockDelayMilliseconds = Int64(below(2) * below(2000))
    terms.value = Bytes(repeating: 7, count: below(3))
    return terms
  }

  /// What states of old formats do not have.
  private mutating func session(_ state: Coordination, clock: UInt64) -> Command {
    switch below(8) {
    case 0, 1: return .openSession(lease(), holder: "session \(below(3))", ttlMilliseconds: Int64(below(5000)))
    case 2: return .closeSession(lease())
    case 3:
      let scope = scope()
      return .proclaim(scope: scope, number: state.scopes[scope]?.lastNumber ?? 1, value: [UInt8(below(256))])
    case 4:
      let due = state.scopes.reopenable(at: clock, limit: 3)
      guard let last = due.last else { return .reopen(scope: scope(), untilMilliseconds: clock) }
      return .reopen(scope: last.scope, untilMilliseconds: last.untilMilliseconds)
    case 5: return .gateway(.register(Key("g\(below(3))"), scopes: (0..<below(4)).map { _ in scope() }))
    case 6 where below(4) == 0:
      return .gateway(.retire(RetiredGateway(name: Key("g\(below(3))"), by: "root", reason: "gone")))
    default:
      let record = state.gateways[Key("g\(below(3))")]
      let (scope, number) = record?.raises.last ?? (scope(), 1)
      return .gateway(.confirm(Key("g\(below(3))"), scope: scope, number: number))
    }
  }

  private mutating func acquire() -> Command {
    let lease = lease()
    if usesSessions, below(2) == 0 {
      return .acquire(
        AcquireRequest(
          scope: scope(), holder: below(4) == 0 ? "" : "h\(lease)", lease: lease,
          ttlMilliseconds: Int64(below(2) * 3000), waits: below(3) > 0, terms: terms()))
    }
    return .acquire(
      AcquireRequest(
        scope: scope(), holder: "h\(lease)", lease: lease, ttlMilliseconds: Int64(below(2) * 3000),
        waits: below(3) > 0))
  }

  private mutating func release(_ state: Coordination) -> Command {
    let scope = scope()
    let sharer = state.scopes[scope]?.sharing.last?.lease ?? 0
    if usesSessions, below(4) == 0 {
      let lease = state.scopes[scope]?.holder?.lease ?? sharer
      return .giveBack(
        scope: scope, number: state.scopes[scope]?.lastNumber ?? 1, lease: lease, since: UInt64(below(2000)))
    }
    return .release(scope: scope, number: state.scopes[scope]?.lastNumber ?? 1, lease: sharer)
  }

  private mutating func cancelWait(_ state: Coordination) -> Command {
    let scope = scope()
    return .cancelWait(scope: scope, ticket: state.scopes[scope]?.waiting.first?.ticket ?? 0)
  }

  private mutating func compact(_ state: Coordination) -> Command {
    let low = state.store.compactedRevision
    return .compact(Revision.random(in: low...(state.revision + 1), using: &draw))
  }

  private mutating func node() -> Command {
    let node = UInt64(below(4))
    if below(3) == 0 { return below(2) == 0 ? .forgetNode(node) : .retireKeys(node: node, isRemoved: below(2) == 0) }
    return .registerNode(
      NodeRecord(
        node: node, keyID: "kid\(below(6))", publicKey: [UInt8(below(256))], clientURL: "http://n\(node)",
        birth: UInt64(below(3))))
  }

  mutating func command(for state: Coordination, clock: UInt64) -> Command {
    // None is up for long, or nothing else would be tried.
    if let alarm = state.alarms.last, below(3) == 0 { return .alarm(.disarm(alarm)) }
    switch below(100) {
    case 0..<20 where usesSessions: return session(state, clock: clock)
    case 0..<40: return .put(put())
    case 40..<48: return .delete(delete())
    case 48..<56: return .transaction(transaction(depth: 0))
    case 56..<58: return compact(state)
    case 58..<64: return .leaseGrant(lease(), ttlMilliseconds: Int64(below(5000)))
    case 64..<66: return .leaseRevoke(lease())
    case 66..<69: return .leaseRenew(lease())
    case 69..<71:
      let expired = state.leases.expired(at: clock, limit: 3)
      return .leaseExpire(expired.last ?? ExpiryCandidate(lease: lease(), generation: 0))
    case 71..<82: return acquire()
    case 82..<86: return release(state)
    case 86..<88: return cancelWait(state)
    case 88..<91: return node()
    case 91..<95: return .openClient(ttlMilliseconds: Int64(below(9000)))
    case 95..<97:
      let expired = state.clients.expired(at: clock, limit: 3)
      return .expireClient(expired.last ?? ClientExpiryCandidate(client: 1, generation: 0))
    case 97..<98:
      if below(3) == 0 { return .alarm(.raise(Alarm(quotaBytes: UInt64(below(1000)), member: UInt64(below(2))))) }
      return .alarm(.raise(Alarm(below(2) == 0 ? .noSpace : .corrupt, member: UInt64(below(2)))))
    default: return .markClock
    }
  }

  /// A command, under a name now and then, or one that was sent before.
  mutating func envelope(for state: Coordination, index: UInt64, clock: UInt64) -> Envelope {
    if below(20) == 0, !sent.isEmpty {
      let again = sent[below(sent.count)]
      return Envelope(origin: 1, request: index, name: again.name, command: again.command)
    }
    let command = command(for: state, clock: clock)
    if case .openClient = command { clients.append(index) }
    guard below(2) == 0, let client = clients.last else {
      return Envelope(origin: 1, request: index, command: command)
    }
    sequence += 1
    let name = ClientSequence(client: below(6) == 0 ? clients[below(clients.count)] : client, sequence: sequence)
    sent.append((name, command))
    return Envelope(origin: 1, request: index, name: name, command: command)
  }
}
