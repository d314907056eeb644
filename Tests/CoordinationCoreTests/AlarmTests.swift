// Alarms raised by hand, and what a cluster takes while one is up.

import CoordinationCore
import Testing

@Suite("Alarms")
struct AlarmTests {
  private func machine(with kind: Alarm.Kind) -> Machine {
    var machine = Machine()
    machine.apply(.leaseGrant(7, ttlMilliseconds: 60_000))
    machine.put("a", "1", lease: 7)
    machine.apply(.alarm(.raise(Alarm(kind, member: 0))))
    return machine
  }

  private func transaction(_ operations: TransactionRequest.Operation...) -> Command {
    var inner = TransactionRequest()
    inner.failure = operations
    var request = TransactionRequest()
    request.success = [.transaction(inner)]
    return .transaction(request)
  }

  @Test("NOSPACE refuses what needs room, wherever it stands, and lets through what makes some")
  func noSpace() {
    var machine = machine(with: .noSpace)
    let put = PutRequest(key: Key("b"), value: [1])
    let delete = DeleteRequest(range: KeyRange(start: Key("a"), end: .single), wantsPrevious: false)
    for command in [.put(put), transaction(.put(put)), .leaseGrant(8, ttlMilliseconds: 1000)] as [Command] {
      #expect(machine.apply(command).error == .spaceExceeded)
    }
    #expect(machine.acquire("scope", by: "h", lease: 7).error == .spaceExceeded)
    #expect(machine.get("b") == nil && machine.state.scopes[Key("scope")] == nil)
    for command in [.leaseRenew(7), transaction(.delete(delete)), .compact(2), .leaseRevoke(7)] as [Command] {
      #expect(machine.apply(command).error == nil)
    }
  }

  @Test("CORRUPT refuses every change, and ends when it is disarmed")
  func corrupt() {
    var machine = machine(with: .corrupt)
    let put = PutRequest(key: Key("b"), value: [1])
    let delete = DeleteRequest(range: KeyRange(start: Key("a"), end: .single), wantsPrevious: false)
    let refused: [Command] = [
      .put(put), .delete(delete), transaction(.delete(delete)), .compact(2), .leaseGrant(8, ttlMilliseconds: 1000),
      .leaseRevoke(7),
    ]
    for command in refused { #expect(machine.apply(command).error == .corruptCluster) }
    #expect(machine.apply(.leaseRenew(7)).error == nil, "a holder that lives goes on living")
    machine.apply(.alarm(.disarm(Alarm(.corrupt, member: 0))))
    #expect(machine.apply(.put(put)).error == nil)
  }

  @Test("each is up once for each member, and only what is up can be disarmed")
  func changes() {
    var machine = Machine()
    func alarms(_ change: AlarmChange) -> [Alarm]? {
      guard case .alarms(let alarms) = machine.apply(.alarm(change)).outcome else { return nil }
      return alarms
    }
    let (one, two) = (Alarm(.noSpace, member: 1), Alarm(.noSpace, member: 2))
    #expect(alarms(.raise(two)) == [two] && alarms(.raise(one)) == [one] && alarms(.raise(one)) == [one])
    #expect(machine.state.alarms == [one, two])
    #expect(alarms(.disarm(Alarm(.corrupt, member: 1))) == [])
    #expect(alarms(.disarm(one)) == [one] && alarms(.disarm(one)) == [])
    #expect(machine.state.alarms == [two])
    for member in 3...200 as ClosedRange<UInt64> { machine.apply(.alarm(.raise(Alarm(.corrupt, member: member)))) }
    #expect(machine.state.alarms.count == StateLimits.maxAlarms, "the state stays bounded")
  }

  @Test("a member's quota refuses as NOSPACE does, and is disarmed under that name and without its number")
  func quota() throws {
    var machine = Machine()
    machine.put("a", "1")
    let (quota, other) = (Alarm(quotaBytes: 4096, member: 7), Alarm(quotaBytes: 8192, member: 7))
    let put = Command.put(PutRequest(key: Key("b"), value: [1]))
    machine.apply(.alarm(.raise(quota)))
    machine.apply(.alarm(.raise(other)))
    #expect(machine.state.alarms == [quota, other] && quota.kindOfEtcd == .noSpace)
    #expect(machine.apply(put).error == .spaceExceeded)
    #expect(machine.apply(.compact(2)).error == nil)
    #expect(try read([CoordinationCoreTests.bytes(of: machine.state)]).alarms == [quota, other])
    let envelope = Envelope(origin: 1, request: 2, command: .alarm(.disarm(other)))
    guard case .alarm(.disarm(let decoded)) = try Envelope.decode(envelope.encoded()).command else {
      Issue.record("another command came back")
      return
    }
    #expect(decoded == other)
    machine.apply(.alarm(.disarm(other)))
    #expect(machine.state.alarms == [quota])
    machine.apply(.alarm(.raise(other)))
    machine.apply(.alarm(.disarm(Alarm(.noSpace, member: 8))))
    #expect(machine.state.alarms == [quota, other], "that is another member's")
    machine.apply(.alarm(.disarm(Alarm(.noSpace, member: 7))))
    #expect(machine.state.alarms.isEmpty && machine.apply(put).error == nil)
  }

  @Test("a state with alarms is read back, and one without has the bytes that it always had")
  func bytes() throws {
    var machine = machine(with: .noSpace)
    machine.apply(.alarm(.raise(Alarm(.corrupt, member: .max))))
    let whole = CoordinationCoreTests.bytes(of: machine.state)
    #expect(try read([whole]).alarms == machine.state.alarms && whole[4] == 2)
    #expect(throws: StateError.self) { try read([Array(whole.dropLast())]) }
    for alarm in machine.state.alarms { machine.apply(.alarm(.disarm(alarm))) }
    #expect(CoordinationCoreTests.bytes(of: machine.state)[4] == 1)
    // A format with alarms, and none of them.
    var empty = CoordinationCoreTests.bytes(of: machine.state)
    empty[4] = 2
    #expect(throws: StateError.self) { try read([empty + [0]]) }
  }
}
