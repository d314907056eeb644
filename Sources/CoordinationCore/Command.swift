// Commands: what the log carries, and the bytes in which it carries them.
//
// Format of an entry's payload, all integers little-endian or LEB128:
//   format u8 = 1 · origin node u64 · request id u64 · kind u8 · body
//   format u8 = 2 · origin node u64 · request id u64 · client · sequence · kind u8 · body
//   format u8 = 3 · origin node u64 · request id u64 · user · auth revision · kind u8 · body
//   format u8 = 4 · origin node u64 · request id u64 · client · sequence · user · auth revision · kind u8 · body
//   format u8 = 5 to 8: 1 to 4 with scope · number of a guard before the kind
// The second form is a request that is to be executed once, however often it is in the log (ExactlyOnce.swift). The third
// and fourth are the same from somebody whom the node knew (AuthChecks.swift). A guard makes the command fail unless the
// grant that it names is current when the command is applied. The origin and its request id let the node
// that a client talks to find the caller when it applies the entry; a request id of 0 says that nobody waits, since the
// node gave the command of its own accord. A kind, once released, keeps its number and its body for ever: old logs are
// read by new versions.

package enum Command: Sendable {
  case put(PutRequest)
  case delete(DeleteRequest)
  case transaction(TransactionRequest)
  case compact(Revision)
  case leaseGrant(LeaseID, ttlMilliseconds: Int64)
  case leaseRevoke(LeaseID)
  case leaseRenew(LeaseID)
  case leaseExpire(ExpiryCandidate)
  case acquire(AcquireRequest)
  /// - Parameter lease: whose share ends, where the scope is shared; else 0.
  case release(scope: Key, number: Revision, lease: LeaseID = 0)
  case cancelWait(scope: Key, ticket: Ticket)
  /// A node gives back a grant of which it could not tell the caller that asked for it by the entry `since`.
  case giveBack(scope: Key, number: Revision, lease: LeaseID, since: Ticket)
  case openSession(LeaseID, holder: String, ttlMilliseconds: Int64)
  /// The session's holder is done: everything that it holds is free at once.
  case closeSession(LeaseID)
  case proclaim(scope: Key, number: Revision, value: Bytes)
  /// Ends the time for which a scope stays closed behind a holder that was lost.
  case reopen(scope: Key, untilMilliseconds: UInt64)
  case gateway(GatewayChange)
  case registerNode(NodeRecord)
  /// The node is no member any more.
  case forgetNode(UInt64)
  /// Ends what a node's keys may vouch for: all of them where it was removed, or all but the newest.
  case retireKeys(node: UInt64, isRemoved: Bool)
  /// Begins the memory of a client's requests. The entry's index becomes its id.
  case openClient(ttlMilliseconds: Int64)
  case expireClient(ClientExpiryCandidate)
  /// Changes nothing: its entry carries the cluster clock into the log of an idle cluster, so that a restart of every
  /// node does not give leases more than the time since the last mark.
  case markClock
  case alarm(AlarmChange)
  case auth(AuthCommand)
}

/// A command with the address to which its outcome goes.
package struct Envelope: Sendable {
  package let origin: UInt64
  package let request: UInt64
  /// The name under which the request is executed at most once, if it has one.
  package let name: ClientSequence?
  /// Whose request it is, if a node found that out.
  package let caller: Caller?
  /// The grant that must be current when the command is applied (Chubby's CheckSequencer).
  package let fence: GrantFence?
  package let command: Command

  package init(
    origin: UInt64, request: UInt64, name: ClientSequence? = nil, caller: Caller? = nil, fence: GrantFence? = nil,
    command: Command
  ) {
    self.origin = origin
    self.request = request
    self.name = name
    self.caller = caller
    self.fence = fence
    self.command = command
  }

  /// Given by a node for what it has to do, and for nobody.
  var isNodesOwn: Bool { request == 0 }

  private enum Format: UInt8 {
    case plain = 1, named, called, namedAndCalled
    case fenced, fencedNamed, fencedCalled, fencedNamedAndCalled

    /// One less than the number: a bit for each part.
    private var parts: UInt8 { rawValue - 1 }
    var hasName: Bool { parts & 1 != 0 }
    var hasCaller: Bool { parts & 2 != 0 }
    var hasFence: Bool { parts & 4 != 0 }

    static func number(hasName: Bool, hasCaller: Bool, hasFence: Bool) -> UInt8 {
      1 + (hasName ? 1 : 0) + (hasCaller ? 2 : 0) + (hasFence ? 4 : 0)
    }
  }

  package func encoded() -> Bytes {
    var out = ByteWriter(capacity: 64 + command.weight)
    out.byte(Format.number(hasName: name != nil, hasCaller: caller != nil, hasFence: fence != nil))
    out.fixed(origin)
    out.fixed(request)
    if let name {
      out.number(name.client)
      out.number(name.sequence)
    }
    if let caller {
      out.data(caller.user.bytes)
      out.number(caller.authRevision)
    }
    if let fence {
      out.data(fence.scope.bytes)
      out.signed(fence.number)
    }
    command.encode(into: &out)
    return out.bytes
  }

  /// Reads a payload back.
  /// - Throws: `RequestError.malformedCommand`, which a node takes for a damaged log.
  package static func decode(_ payload: Bytes) throws(RequestError) -> Envelope {
    try payload.withBytes { (input: inout ByteReader) throws(RequestError) -> Envelope in
      let number = try input.byte()
      guard let format = Format(rawValue: number) else {
        throw .malformedCommand("format \(number), this version reads 1 to 8")
      }
      let origin = try input.fixed()
      let request = try input.fixed()
      var name: ClientSequence?
      if format.hasName { name = ClientSequence(client: try input.number(), sequence: try input.number()) }
      var caller: Caller?
      if format.hasCaller { caller = Caller(user: Key(try input.data()), authRevision: try input.number()) }
      var fence: GrantFence?
      if format.hasFence { fence = GrantFence(scope: Key(try input.data()), number: try input.signed()) }
      let command = try Command.decode(from: &input)
      guard input.isAtEnd else { throw .malformedCommand("\(input.left) bytes after the command") }
      return Envelope(origin: origin, request: request, name: name, caller: caller, fence: fence, command: command)
    }
  }

  /// The address alone, for an entry whose command need not be read.
  package static func address(of payload: Bytes) throws(RequestError) -> (origin: UInt64, request: UInt64) {
    try payload.withBytes { (input: inout ByteReader) throws(RequestError) in
      _ = try input.byte()
      return (try input.fixed(), try input.fixed())
    }
  }
}

extension Command {
  private enum Kind: UInt8 {
    case put = 1, delete, transaction, compact
    case leaseGrant = 16, leaseRevoke, leaseRenew, leaseExpire
    case openSession = 20, closeSession
    case acquire = 32, release, cancelWait, acquireOnTerms, releaseShare, proclaim, reopen, giveBack
    case registerNode = 48, markClock, registerNodeWithBirth, forgetNode, retireKeys
    case openClient = 64, expireClient
    case raiseAlarm = 80, disarmAlarm
    case auth = 96
    case registerGateway = 112, confirmRaise, retireGateway
  }

  /// Whether a state that has seen the command needs format 4.
  var needsSessionFormat: Bool {
    switch self {
    case .acquire(let request): request.terms != nil
    case .openSession, .gateway, .proclaim: true
    default: false
    }
  }

  /// Roughly the bytes that the body takes, so that one allocation holds it.
  var weight: Int {
    if case .put(let request) = self { return request.key.bytes.count + request.value.count }
    return 128
  }

  func encode(into out: inout ByteWriter) {
    switch self {
    case .put(let request): out.byte(Kind.put.rawValue); out.put(request)
    case .delete(let request): out.byte(Kind.delete.rawValue); out.delete(request)
    case .transaction(let request): out.byte(Kind.transaction.rawValue); out.transaction(request)
    case .compact(let revision): out.byte(Kind.compact.rawValue); out.signed(revision)
    case .leaseGrant(let id, let ttl): out.byte(Kind.leaseGrant.rawValue); out.signed(id); out.signed(ttl)
    case .leaseRevoke(let id): out.byte(Kind.leaseRevoke.rawValue); out.signed(id)
    case .leaseRenew(let id): out.byte(Kind.leaseRenew.rawValue); out.signed(id)
    case .leaseExpire(let candidate):
      out.byte(Kind.leaseExpire.rawValue)
      out.signed(candidate.lease)
      out.number(candidate.generation)
    case .acquire(let request):
      out.byte((request.terms == nil ? Kind.acquire : .acquireOnTerms).rawValue)
      out.data(request.scope.bytes)
      out.data(Bytes(request.holder.utf8))
      out.signed(request.lease)
      out.signed(request.ttlMilliseconds)
      out.flags(request.waits)
      if let terms = request.terms { out.terms(terms) }
    case .release(let scope, let number, let lease):
      out.byte((lease == 0 ? Kind.release : .releaseShare).rawValue)
      out.data(scope.bytes)
      out.signed(number)
      if lease != 0 { out.signed(lease) }
    case .giveBack(let scope, let number, let lease, let since):
      out.byte(Kind.giveBack.rawValue)
      out.data(scope.bytes)
      out.signed(number)
      out.signed(lease)
      out.number(since)
    case .openSession(let id, let holder, let ttl):
      out.byte(Kind.openSession.rawValue); out.signed(id); out.data(Bytes(holder.utf8)); out.signed(ttl)
    case .closeSession(let id): out.byte(Kind.closeSession.rawValue); out.signed(id)
    case .proclaim(let scope, let number, let value):
      out.byte(Kind.proclaim.rawValue); out.data(scope.bytes); out.signed(number); out.data(value)
    case .reopen(let scope, let until):
      out.byte(Kind.reopen.rawValue); out.data(scope.bytes); out.number(until)
    case .gateway(.register(let name, let scopes)):
      out.byte(Kind.registerGateway.rawValue); out.data(name.bytes); out.keys(scopes)
    case .gateway(.confirm(let name, let scope, let number)):
      out.byte(Kind.confirmRaise.rawValue); out.data(name.bytes); out.data(scope.bytes); out.signed(number)
    case .gateway(.retire(let retired)):
      out.byte(Kind.retireGateway.rawValue)
      out.data(retired.name.bytes)
      out.data(Bytes(retired.by.utf8))
      out.data(Bytes(retired.reason.utf8))
    case .cancelWait(let scope, let ticket):
      out.byte(Kind.cancelWait.rawValue); out.data(scope.bytes); out.number(ticket)
    case .registerNode(let record):
      out.byte((record.birth == 0 ? Kind.registerNode : .registerNodeWithBirth).rawValue)
      out.number(record.node)
      out.data(Bytes(record.keyID.utf8))
      out.data(record.publicKey)
      out.data(Bytes(record.clientURL.utf8))
      if record.birth != 0 { out.number(record.birth) }
    case .forgetNode(let node): out.byte(Kind.forgetNode.rawValue); out.number(node)
    case .retireKeys(let node, let isRemoved):
      out.byte(Kind.retireKeys.rawValue); out.number(node); out.flags(isRemoved)
    case .openClient(let ttl): out.byte(Kind.openClient.rawValue); out.signed(ttl)
    case .expireClient(let candidate):
      out.byte(Kind.expireClient.rawValue)
      out.number(candidate.client)
      out.number(candidate.generation)
    case .markClock: out.byte(Kind.markClock.rawValue)
    case .alarm(.raise(let alarm)): out.byte(Kind.raiseAlarm.rawValue); out.alarm(alarm)
    case .alarm(.disarm(let alarm)): out.byte(Kind.disarmAlarm.rawValue); out.alarm(alarm)
    case .auth(let change): out.byte(Kind.auth.rawValue); change.encode(into: &out)
    }
  }

  static func decode(from input: inout ByteReader) throws(RequestError) -> Command {
    let number = try input.byte()
    guard let kind = Kind(rawValue: number) else { throw .malformedCommand("unknown kind \(number)") }
    switch kind {
    case .put: return .put(try input.put())
    case .delete: return .delete(try input.delete())
    case .transaction: return .transaction(try input.transaction(depth: 0))
    case .compact: return .compact(try input.signed())
    case .leaseGrant: return .leaseGrant(try input.signed(), ttlMilliseconds: try input.signed())
    case .leaseRevoke: return .leaseRevoke(try input.signed())
    case .leaseRenew: return .leaseRenew(try input.signed())
    case .leaseExpire:
      return .leaseExpire(ExpiryCandidate(lease: try input.signed(), generation: try input.number()))
    case .acquire, .acquireOnTerms:
      return .acquire(
        AcquireRequest(
          scope: Key(try input.data()), holder: try input.text(), lease: try input.signed(),
          ttlMilliseconds: try input.signed(), waits: try input.flags().0,
          terms: kind == .acquire ? nil : try input.terms()))
    case .releaseShare:
      return .release(scope: Key(try input.data()), number: try input.signed(), lease: try input.signed())
    case .giveBack:
      return .giveBack(
        scope: Key(try input.data()), number: try input.signed(), lease: try input.signed(), since: try input.number())
    case .openSession:
      return .openSession(try input.signed(), holder: try input.text(), ttlMilliseconds: try input.signed())
    case .closeSession: return .closeSession(try input.signed())
    case .proclaim:
      return .proclaim(scope: Key(try input.data()), number: try input.signed(), value: try input.data())
    case .reopen: return .reopen(scope: Key(try input.data()), untilMilliseconds: try input.number())
    case .registerGateway: return .gateway(.register(Key(try input.data()), scopes: try input.keys()))
    case .confirmRaise:
      return .gateway(.confirm(Key(try input.data()), scope: Key(try input.data()), number: try input.signed()))
    case .retireGateway:
      return .gateway(
        .retire(RetiredGateway(name: Key(try input.data()), by: try input.text(), reason: try input.text())))
    case .release: return .release(scope: Key(try input.data()), number: try input.signed())
    case .cancelWait: return .cancelWait(scope: Key(try input.data()), ticket: try input.number())
    case .registerNode, .registerNodeWithBirth:
      return .registerNode(
        NodeRecord(
          node: try input.number(), keyID: try input.text(), publicKey: try input.data(),
          clientURL: try input.text(), birth: kind == .registerNode ? 0 : try input.number()))
    case .forgetNode: return .forgetNode(try input.number())
    case .retireKeys: return .retireKeys(node: try input.number(), isRemoved: try input.flags().0)
    case .openClient: return .openClient(ttlMilliseconds: try input.signed())
    case .expireClient:
      return .expireClient(ClientExpiryCandidate(client: try input.number(), generation: try input.number()))
    case .markClock: return .markClock
    case .raiseAlarm: return .alarm(.raise(try input.alarm()))
    case .disarmAlarm: return .alarm(.disarm(try input.alarm()))
    case .auth: return .auth(try AuthCommand.decode(from: &input))
    }
  }
}
