// A named request is executed once, and what cannot be told apart from an executed one is refused.

import CoordinationCore
import Testing

@Suite("Named requests")
struct ExactlyOnceTests {
  private struct Caller {
    var machine = Machine()
    var client: ClientID = 0

    init(ttl: Int64 = 5000) {
      machine.apply(.openClient(ttlMilliseconds: ttl))
      client = machine.index
    }

    @discardableResult
    mutating func send(_ sequence: UInt64, _ command: Command) -> Applied {
      machine.index += 1
      let name = ClientSequence(client: client, sequence: sequence)
      // Through the bytes, as it comes out of the log.
      let sent = Envelope(origin: 1, request: machine.index, name: name, command: command).encoded()
      guard let envelope = try? Envelope.decode(sent), envelope.name == name else {
        preconditionFailure("an envelope must come back as it went")
      }
      return machine.state.apply(envelope, index: machine.index, clockMilliseconds: machine.clock)
    }

    mutating func put(_ sequence: UInt64, _ value: String) -> Applied {
      var request = PutRequest(key: Key("k"), value: Bytes(value.utf8))
      request.wantsPrevious = true
      return send(sequence, .put(request))
    }
  }

  @Test("a client's id is the index of the entry that opened it")
  func opened() {
    var machine = Machine()
    machine.index = 41
    guard case .clientOpened(let id, let ttl) = machine.apply(.openClient(ttlMilliseconds: 5000)).outcome else {
      Issue.record("a client must be opened")
      return
    }
    #expect(id == 42 && ttl == 5000 && machine.state.clients[42]?.deadlineMilliseconds == machine.clock + 5000)
    #expect(machine.state.revision == 1)
  }

  @Test("a repeat gets the outcome of the first and changes nothing", arguments: [false, true])
  func repeated(throughSnapshot: Bool) throws {
    var caller = Caller()
    _ = caller.put(1, "a")
    let first = caller.put(2, "b")
    let revision = caller.machine.state.revision
    _ = caller.put(3, "c")
    if throughSnapshot { caller.machine.state = try read(pieces(of: caller.machine.state)) }
    let again = caller.put(2, "b")
    #expect(again.isRepeat && !first.isRepeat && again.notices.isEmpty)
    #expect(again.outcome.encoded() == first.outcome.encoded())
    guard case .put(let previous?) = again.outcome else {
      Issue.record("the previous value must be in the answer")
      return
    }
    #expect(previous.value == Bytes("a".utf8) && caller.machine.get("k") == "c")
    #expect(caller.machine.state.revision == revision + 1)
  }

  @Test("a refusal is remembered as well: the repeat does not succeed later")
  func refusalRemembered() {
    var caller = Caller()
    #expect(caller.send(1, .leaseRevoke(9)).error == .leaseNotFound(9))
    caller.machine.apply(.leaseGrant(9, ttlMilliseconds: 5000))
    #expect(caller.send(1, .leaseRevoke(9)).error == .leaseNotFound(9))
    #expect(caller.machine.state.leases[9] != nil)
  }

  @Test("another command under a sequence that was used is refused")
  func reused() {
    var caller = Caller()
    _ = caller.put(1, "a")
    let name = ClientSequence(client: caller.client, sequence: 1)
    #expect(caller.put(1, "b").error == .sequenceReused(name))
    #expect(caller.machine.get("k") == "a")
  }

  @Test("requests may come in any order within the window")
  func outOfOrder() {
    var caller = Caller()
    for sequence in [5, 2, 9, 1] as [UInt64] { #expect(caller.put(sequence, "\(sequence)").error == nil) }
    for sequence in [5, 2, 9, 1] as [UInt64] { #expect(caller.put(sequence, "\(sequence)").isRepeat) }
    #expect(caller.machine.state.revision == 5)
  }

  @Test("older than the window is refused, executed or not")
  func forgotten() throws {
    var caller = Caller()
    let window = UInt64(StateLimits.maxRememberedPerClient)
    for sequence in 2...(window + 2) { #expect(caller.put(sequence, "v").error == nil) }
    let record = try #require(caller.machine.state.clients[caller.client])
    #expect(record.rememberedCount == Int(window) && record.forgottenThrough == 2)
    let revision = caller.machine.state.revision
    for sequence in [0, 1, 2] as [UInt64] {
      let name = ClientSequence(client: caller.client, sequence: sequence)
      #expect(caller.put(sequence, "v").error == .sequenceForgotten(name))
    }
    #expect(caller.put(3, "v").isRepeat)
    #expect(caller.machine.state.revision == revision)
  }

  @Test("the memory of a client is bounded in bytes, and what does not fit is not executed again")
  func bytesBounded() throws {
    var caller = Caller()
    let large = String(repeating: "x", count: StateLimits.maxRememberedBytesPerClient / 4)
    for sequence in 1...9 as ClosedRange<UInt64> { _ = caller.put(sequence, large) }
    let record = try #require(caller.machine.state.clients[caller.client])
    #expect(record.rememberedCount == 3 && record.forgottenThrough == 6)
    let huge = String(repeating: "y", count: StateLimits.maxRememberedBytesPerClient)
    _ = caller.put(10, huge)
    #expect(caller.put(11, "after").error == nil)
    let revision = caller.machine.state.revision
    let name = ClientSequence(client: caller.client, sequence: 11)
    #expect(caller.put(11, "after").error == .sequenceForgotten(name))
    #expect(caller.machine.state.revision == revision)
  }

  @Test("an unknown client is refused and nothing is executed")
  func unknown() {
    var caller = Caller()
    caller.client = 777
    #expect(caller.put(1, "a").error == .clientExpired(777))
    #expect(caller.machine.get("k") == nil)
  }

  @Test("a client is expired only after its deadline, and is then refused")
  func expiry() {
    var caller = Caller(ttl: 2000)
    let candidate = ClientExpiryCandidate(client: caller.client, generation: 0)
    caller.machine.clock += 1999
    #expect(caller.machine.state.clients.expired(at: caller.machine.clock, limit: 9).isEmpty)
    #expect(caller.machine.apply(.expireClient(candidate)).error == .clientExpired(caller.client))
    caller.machine.clock += 1
    #expect(caller.machine.state.clients.expired(at: caller.machine.clock, limit: 9) == [candidate])
    guard case .clientEnded(caller.client) = caller.machine.apply(.expireClient(candidate)).outcome else {
      Issue.record("an overdue client must be forgotten")
      return
    }
    #expect(caller.machine.state.clients.count == 0 && caller.machine.state.clients.nextDeadlineMilliseconds == nil)
    #expect(caller.put(1, "a").error == .clientExpired(caller.client))
  }

  @Test("any use renews, even a repeat or a refused one, and wins over an expiry that is ordered after it")
  func renewal() {
    var caller = Caller(ttl: 2000)
    _ = caller.put(1, "a")
    for (sequence, value) in [(1, "a"), (1, "other"), (0, "old"), (2, "b")] as [(UInt64, String)] {
      caller.machine.clock += 3000
      let candidate = caller.machine.state.clients.expired(at: caller.machine.clock, limit: 1)[0]
      _ = caller.put(sequence, value)
      caller.machine.apply(.expireClient(candidate))
      #expect(caller.machine.state.clients[caller.client]?.deadlineMilliseconds == caller.machine.clock + 2000)
    }
  }

  @Test("one client too many pushes out the one that is nearest its deadline")
  func evicted() {
    var caller = Caller(ttl: 60_000)
    var other = caller
    caller.machine.clock += 1
    for _ in 1..<StateLimits.maxClients { caller.machine.apply(.openClient(ttlMilliseconds: 60_000)) }
    caller.machine.clock += 1
    #expect(caller.put(1, "a").error == nil)
    caller.machine.apply(.openClient(ttlMilliseconds: 60_000))
    #expect(caller.machine.state.clients.count == StateLimits.maxClients)
    #expect(caller.put(1, "a").isRepeat)
    other.machine = caller.machine
    other.client = caller.client + 1
    #expect(other.put(1, "a").error == .clientExpired(other.client))
  }

  @Test("a command that pushes out its own client is executed once all the same")
  func evictsItself() {
    var caller = Caller(ttl: 1000)
    for _ in 1..<StateLimits.maxClients { caller.machine.apply(.openClient(ttlMilliseconds: 60_000)) }
    #expect(caller.send(1, .openClient(ttlMilliseconds: 60_000)).error == nil)
    #expect(caller.send(1, .openClient(ttlMilliseconds: 60_000)).error == .clientExpired(caller.client))
  }

  @Test("a repeated acquire that had to wait is told where its wait stands")
  func waiting() throws {
    var caller = Caller(ttl: 60_000)
    for lease in [1, 2] as [LeaseID] { caller.machine.apply(.leaseGrant(lease, ttlMilliseconds: 60_000)) }
    let first = try #require(caller.machine.acquire("s", by: "a", lease: 1).grant)
    let wait = Command.acquire(
      AcquireRequest(scope: Key("s"), holder: "b", lease: 2, ttlMilliseconds: 0, waits: true))
    guard case .queued(let ticket) = caller.send(1, wait).outcome,
      case .queued(ticket) = caller.send(1, wait).outcome
    else {
      Issue.record("a held scope must queue, once")
      return
    }
    #expect(caller.machine.state.scopes[Key("s")]?.waiting.count == 1)
    caller.machine.apply(.release(scope: Key("s"), number: first.number))
    let granted = caller.send(1, wait)
    #expect(granted.grant == caller.machine.state.scopes[Key("s")]?.holder && granted.isRepeat)
    caller.machine.apply(.release(scope: Key("s"), number: try #require(granted.grant).number))
    guard case .waitEnded(holder: nil) = caller.send(1, wait).outcome else {
      Issue.record("a wait whose grant is over must not be granted again")
      return
    }
    #expect(caller.machine.holder("s") == nil)
  }
}

@Suite("Outcomes as bytes")
struct OutcomeBytesTests {
  private func samples() -> [Outcome] {
    var machine = Machine()
    machine.apply(.leaseGrant(3, ttlMilliseconds: 5000))
    machine.put("a", "1", lease: 3)
    let range = KeyRange(key: [0], rangeEnd: [0])
    var put = PutRequest(key: Key("a"), value: [2])
    put.wantsPrevious = true
    var inner = TransactionRequest()
    inner.success = [.put(put), .range(RangeQuery(range: range))]
    var outer = TransactionRequest()
    outer.success = [.transaction(inner), .delete(DeleteRequest(range: range, wantsPrevious: true))]
    let grant = machine.acquire("s", by: "hölder", lease: 3)
    let errors: [RequestError] = [
      .keyNotProvided, .keyNotFound, .valueProvided, .leaseProvided, .leaseNotFound(-4), .leaseExists(5), .duplicateKey,
      .tooManyOperations(limit: 6), .compacted(asked: 7, compacted: 8), .futureRevision(asked: 9, current: 1),
      .malformedCommand("why"), .clientExpired(.max), .sequenceForgotten(ClientSequence(client: 1, sequence: 2)),
      .sequenceReused(ClientSequence(client: 3, sequence: 4)), .unknownChoice("which"),
    ]
    let applied = [
      machine.apply(.put(put)), machine.apply(.put(PutRequest(key: Key("b"), value: []))),
      machine.apply(.transaction(outer)), machine.apply(.compact(2)), grant,
      machine.acquire("s", by: "other", lease: 3), machine.acquire("s", by: "other", lease: 3, waits: true),
      machine.apply(.cancelWait(scope: Key("s"), ticket: 0)), machine.apply(.release(scope: Key("s"), number: 1)),
      machine.apply(.release(scope: Key("s"), number: grant.grant?.number ?? 0)),
      machine.apply(.cancelWait(scope: Key("none"), ticket: 0)), machine.apply(.release(scope: Key("t"), number: 1)),
      machine.apply(.leaseGrant(4, ttlMilliseconds: 1)), machine.apply(.leaseRenew(4)), machine.apply(.leaseRevoke(4)),
      machine.apply(.forgetNode(1)), machine.apply(.markClock), machine.apply(.openClient(ttlMilliseconds: 9)),
      machine.apply(.registerNode(NodeRecord(node: 1, keyID: "", publicKey: [], clientURL: ""))),
      machine.apply(.delete(DeleteRequest(range: range, wantsPrevious: true))),
    ]
    return applied.map(\.outcome) + [.clientEnded(7)] + errors.map { .failed($0) }
  }

  /// Versions of keys print as their type's name, so their parts are compared by the bytes.
  @Test("each comes back as it went, whichever it is")
  func roundTrip() throws {
    var kinds: Set<UInt8> = []
    for outcome in samples() {
      let bytes = outcome.encoded()
      kinds.insert(bytes[0])
      let read = try Outcome.decode(bytes)
      #expect(read.encoded() == bytes)
      #expect("\(read)" == "\(outcome)")
      #expect(throws: StateError.self) { try Outcome.decode(bytes + [0]) }
      for length in 0..<bytes.count {
        #expect(throws: StateError.self) { try Outcome.decode(Array(bytes[..<length])) }
      }
    }
    #expect(kinds.count == 19)
  }

  @Test("random bytes never trap")
  func noise() {
    var draw = Draw(state: 11)
    for _ in 0..<20_000 {
      var bytes = (0..<Int(draw.next(upperBound: 40 as UInt64))).map { _ in UInt8(draw.next(upperBound: 5 as UInt64)) }
      if bytes.count > 1 { bytes[0] = [1, 2, 3, 37, 80][Int(draw.next(upperBound: 5 as UInt64))] }
      if let outcome = try? Outcome.decode(bytes) { #expect(outcome.encoded() == bytes) }
    }
    var nested: Bytes = [3]
    for _ in 0..<100_000 { nested += [1, 1, 0, 3] }
    #expect(throws: StateError.self) { try Outcome.decode(nested) }
  }
}
