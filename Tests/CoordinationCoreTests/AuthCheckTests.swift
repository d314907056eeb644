// Who may give which command, judged when it is applied.

import CoordinationCore
import Testing

@Suite("What callers may do")
struct AuthCheckTests {
  private static let commands: [Command] = {
    var transaction = TransactionRequest()
    transaction.success = [.put(PutRequest(key: Key("mine/a"), value: [1]))]
    return [
      .put(PutRequest(key: Key("mine/a"), value: [1])),
      .delete(DeleteRequest(range: KeyRange("mine/a"), wantsPrevious: false)), .transaction(transaction), .compact(2),
      .leaseGrant(9, ttlMilliseconds: 1000), .leaseRevoke(9), .leaseRenew(9), .openClient(ttlMilliseconds: 1000),
      .acquire(AcquireRequest(scope: Key("mine/s"), holder: "h", lease: 8, ttlMilliseconds: 9, waits: false)),
      .release(scope: Key("mine/s"), number: 2), .alarm(.raise(Alarm(.noSpace, member: 1))),
      .auth(.addRole(.init("x"))),
      .auth(.disable), .auth(.enable),
    ]
  }()

  private func machine() -> AuthMachine {
    var auth = AuthMachine()
    auth.user("u", Permission(.readWrite, KeyRange("mine/", "mine0")), Permission(.read, KeyRange("seen")))
    return auth
  }

  @Test("nobody may do anything without a name, and a node may do what it must")
  func anonymous() {
    for command in Self.commands {
      var auth = machine()
      #expect(auth.apply(command, by: nil).refusal == .userNameEmpty, "\(command)")
      let own = Envelope(origin: 1, request: 0, command: command)
      #expect(auth.machine.state.apply(own, index: 99, clockMilliseconds: 9).refusal == nil)
    }
  }

  @Test("with authentication off nobody is asked")
  func off() {
    for command in Self.commands {
      var auth = machine()
      auth.change(.disable)
      #expect(auth.apply(command, by: nil).refusal == nil, "\(command)")
    }
  }

  @Test("a user may do what its roles permit, root everything, and what root alone may do is refused to others")
  func standing() {
    for command in Self.commands {
      var auth = machine()
      #expect(auth.refusal(of: command, by: "root") == nil, "\(command)")
      auth = machine()
      let isForRoot =
        switch command {
        case .compact, .alarm, .auth: true
        default: false
        }
      #expect(auth.refusal(of: command, by: "u") == (isForRoot ? .permissionDenied : nil), "\(command)")
      auth = machine()
      #expect(auth.refusal(of: command, by: "stranger") == (isForRoot ? .userNotFound : .permissionDenied))
    }
  }

  @Test("what nodes say of themselves nobody else can say")
  func nodesOwn() {
    let record = NodeRecord(node: 1, keyID: "k", publicKey: [1], clientURL: "u")
    let commands: [Command] = [
      .registerNode(record), .forgetNode(1), .retireKeys(node: 1, isRemoved: true), .markClock,
      .cancelWait(scope: Key("s"), ticket: 1),
      .leaseExpire(ExpiryCandidate(lease: 1, generation: 0)), .auth(.renewTokens([])),
    ]
    for command in commands {
      var auth = machine()
      #expect(auth.refusal(of: command, by: "root") == .permissionDenied)
    }
  }

  @Test("keys: of a previous value, a comparison and both branches as well, however deep")
  func keys() {
    var auth = machine()
    func put(_ key: String, previous: Bool = false) -> PutRequest {
      var request = PutRequest(key: Key(key), value: [1])
      request.wantsPrevious = previous
      return request
    }
    auth.user("w", Permission(.write, KeyRange("mine/", "mine0")))
    #expect(auth.refusal(of: .put(put("mine/a")), by: "w") == nil)
    #expect(auth.refusal(of: .put(put("mine/a", previous: true)), by: "w") == .permissionDenied)
    #expect(auth.refusal(of: .put(put("other")), by: "u") == .permissionDenied)
    func delete(_ range: KeyRange, previous: Bool = false) -> Command {
      .delete(DeleteRequest(range: range, wantsPrevious: previous))
    }
    #expect(auth.refusal(of: delete(KeyRange("mine/", "mine0")), by: "w") == nil)
    #expect(auth.refusal(of: delete(KeyRange("mine/", "mine0"), previous: true), by: "w") == .permissionDenied)
    #expect(auth.refusal(of: delete(KeyRange("mine/", "mine1")), by: "u") == .permissionDenied)
    #expect(auth.refusal(of: delete(KeyRange("seen")), by: "u") == .permissionDenied)

    func transaction(_ change: (inout TransactionRequest) -> Void) -> Command {
      var inner = TransactionRequest()
      change(&inner)
      var request = TransactionRequest()
      request.success = [.put(put("mine/x"))]
      request.failure = [.transaction(inner)]
      return .transaction(request)
    }
    func compare(_ key: String) -> Compare { Compare(range: KeyRange(key), target: .version(0), relation: .equal) }
    #expect(auth.refusal(of: transaction { $0.compares = [compare("seen")] }, by: "u") == nil)
    #expect(auth.refusal(of: transaction { $0.compares = [compare("other")] }, by: "u") == .permissionDenied)
    #expect(auth.refusal(of: transaction { $0.success = [.put(put("other"))] }, by: "u") == .permissionDenied)
    #expect(auth.refusal(of: transaction { $0.failure = [.put(put("seen"))] }, by: "u") == .permissionDenied)
    #expect(auth.refusal(of: transaction { $0.failure = [.range(RangeQuery(range: KeyRange("z")))] }, by: "u") != nil)
    #expect(auth.machine.get("mine/x") != nil && auth.machine.get("other") == nil)
  }

  @Test("a lease is the affair of whoever may write all that goes with it")
  func leases() {
    var auth = machine()
    auth.user("v", Permission(.readWrite, KeyRange("v")))
    func attach(_ key: String, lease: LeaseID) -> Command {
      var request = PutRequest(key: Key(key), value: [1])
      request.lease = lease
      return .put(request)
    }
    auth.machine.apply(.leaseGrant(5, ttlMilliseconds: 60_000))
    #expect(auth.refusal(of: attach("v", lease: 5), by: "v") == nil)
    for command in [attach("mine/a", lease: 5), .leaseRevoke(5), .leaseRenew(5)] {
      #expect(auth.refusal(of: command, by: "u") == .permissionDenied)
    }
    #expect(throws: RequestError.auth(.permissionDenied)) {
      try auth.machine.state.authorizeListing(of: 5, by: auth.caller("u"))
    }
    #expect(auth.refusal(of: .leaseRenew(5), by: "v") == nil && auth.refusal(of: .leaseRevoke(5), by: "root") == nil)
    // A scope that is held ends with its lease, too.
    let acquire = AcquireRequest(scope: Key("v"), holder: "v", lease: 6, ttlMilliseconds: 60_000, waits: false)
    #expect(auth.refusal(of: .acquire(acquire), by: "u") == .permissionDenied)
    #expect(auth.refusal(of: .acquire(acquire), by: "v") == nil)
    #expect(auth.refusal(of: .leaseRevoke(6), by: "u") == .permissionDenied)
    #expect(auth.refusal(of: .release(scope: Key("v"), number: 1), by: "u") == .permissionDenied)
  }

  @Test("a permission that was revoked lets no later write through, and an old identity none at all")
  func revoked() {
    var auth = machine()
    let put = Command.put(PutRequest(key: Key("mine/a"), value: [1]))
    let before = auth.caller("u")
    #expect(auth.apply(put, by: before).refusal == nil)
    auth.change(.addRole(.init("another")))
    #expect(auth.apply(put, by: before).refusal == .oldRevision, "whatever was changed")
    auth.change(.revokePermission(KeyRange("mine/", "mine0"), from: .init("u")))
    #expect(auth.apply(put, by: auth.caller("u")).refusal == .permissionDenied)
    auth.change(.deleteRole(.init("u")))
    #expect(auth.machine.state.auth.user(.init("u"))?.roles == [])
    // What only root may do is judged by the role that it has now.
    let root = auth.caller("root")
    auth.change(.addRole(.init("one more")))
    #expect(auth.apply(.compact(2), by: root).refusal == nil)
  }

  @Test("what was refused is not remembered: the same request is carried out once it may be")
  func named() {
    var auth = machine()
    guard
      case .clientOpened(let client, _) = auth.apply(.openClient(ttlMilliseconds: 9000), by: auth.caller("u")).outcome
    else {
      Issue.record("a user may open a client")
      return
    }
    let name = ClientSequence(client: client, sequence: 1)
    let put = Command.put(PutRequest(key: Key("mine/a"), value: [1]))
    let old = auth.caller("u")
    auth.change(.addRole(.init("another")))
    #expect(auth.apply(put, by: old, named: name).refusal == .oldRevision)
    let again = auth.apply(put, by: auth.caller("u"), named: name)
    #expect(again.refusal == nil && !again.isRepeat)
    #expect(auth.apply(put, by: auth.caller("u"), named: name).isRepeat)
  }
}
