// Grants on terms of their own: several scopes, shares, lock-delay, sessions, and what a leader says of itself.

import CoordinationCore
import Testing

extension Machine {
  @discardableResult
  mutating func acquire(
    _ scopes: [String], by holder: String = "", lease: LeaseID, waits: Bool = false, isShared: Bool = false,
    lockDelay: Int64 = 0, value: String = ""
  ) -> Applied {
    var terms = GrantTerms()
    terms.more = scopes.dropFirst().map { Key($0) }
    terms.isShared = isShared
    terms.lockDelayMilliseconds = lockDelay
    terms.value = Bytes(value.utf8)
    return apply(
      .acquire(
        AcquireRequest(
          scope: Key(scopes[0]), holder: holder, lease: lease, ttlMilliseconds: 0, waits: waits, terms: terms)))
  }

  mutating func open(_ id: LeaseID, _ holder: String, ttl: Int64 = 10_000) {
    apply(.openSession(id, holder: holder, ttlMilliseconds: ttl))
  }

  mutating func release(_ scope: String, share lease: LeaseID = 0) -> Applied {
    apply(.release(scope: Key(scope), number: state.scopes[Key(scope)]?.lastNumber ?? 0, lease: lease))
  }

  func sharers(_ scope: String) -> [String] { state.scopes[Key(scope)]?.sharing.map(\.holder) ?? [] }
}

extension Applied {
  var grants: [GrantRecord]? {
    if case .grantedAll(let records) = outcome { return records }
    return grant.map { [$0] }
  }

  var grantRefusal: GrantRefusal? {
    if case .refused(let refusal) = outcome { return refusal }
    return nil
  }
}

@Suite("Grants on sessions")
struct SessionGrantTests {
  private func machine(_ holders: String...) -> Machine {
    var machine = Machine()
    for (number, holder) in holders.enumerated() { machine.open(LeaseID(number + 1), holder) }
    return machine
  }

  @Test("a session brings its holder along; a lease that is none does not")
  func holder() throws {
    var machine = machine("a")
    #expect(try #require(machine.acquire(["s"], lease: 1).grant).holder == "a")
    machine.apply(.leaseGrant(2, ttlMilliseconds: 10_000))
    guard case .unknownChoice(let text) = machine.acquire(["t"], lease: 2).error else {
      Issue.record("a grant for nobody")
      return
    }
    #expect(text.contains("needs a holder"))
    #expect(machine.acquire(["t"], lease: 9).error == .leaseNotFound(9))
  }

  @Test("opening again is the same session; under another's name it is refused")
  func openAgain() {
    var machine = machine("a")
    machine.acquire(["s"], lease: 1)
    machine.open(1, "a", ttl: 500)
    #expect(machine.state.leases[1]?.ttlMilliseconds == 10_000 && machine.holder("s") == "a")
    let other = machine.apply(.openSession(1, holder: "b", ttlMilliseconds: 500))
    #expect(other.error == .leaseExists(1))
  }

  @Test("several scopes are granted together, under one number, or not at all")
  func together() throws {
    var machine = machine("a", "b", "c")
    let both = try #require(machine.acquire(["s", "t"], lease: 1).grants)
    #expect(both.map(\.scope) == [Key("s"), Key("t")] && Set(both.map(\.number)).count == 1)
    #expect(machine.acquire(["u", "t"], lease: 2).grantRefusal == .held(by: both[1]))
    #expect(machine.holder("u") == nil)
    // The same session gets the same grants, and what it asks for beside them.
    let more = try #require(machine.acquire(["t", "u"], lease: 1).grants)
    #expect(more[0] == both[1] && more[1].number > both[0].number)
  }

  @Test("whoever waits for several scopes holds none of them meanwhile, and nobody who came later passes by")
  func order() throws {
    var machine = machine("a", "b", "c")
    machine.acquire(["s"], lease: 1)
    machine.acquire(["s", "t"], lease: 2, waits: true)
    #expect(machine.holder("t") == nil)
    #expect(machine.acquire(["t"], lease: 3).grantRefusal == .awaited(by: "b"))
    machine.acquire(["t"], lease: 3, waits: true)
    let notices = machine.release("s").notices
    guard case .grantedAll(_, let records) = notices.first, notices.count == 1 else {
      Issue.record("\(notices)")
      return
    }
    #expect(records.map(\.holder) == ["b", "b"])
    _ = machine.release("t")
    #expect(machine.holder("t") == "c" && machine.holder("s") == "b")
  }

  /// Found by the simulator: only whoever was first in a queue was looked at.
  @Test("what one request of a session brings it may be what another one waits for")
  func ownRequests() throws {
    var machine = machine("a", "b", "c")
    machine.acquire(["s"], lease: 1)
    machine.acquire(["s"], lease: 2, waits: true)
    machine.acquire(["s"], lease: 3, waits: true)
    machine.acquire(["s", "t"], lease: 2, waits: true)
    let ticket = machine.index
    let notices = machine.release("s").notices
    // The one place is first in the queue and the other behind somebody else's, who is not passed by: "b" has the scope.
    #expect(machine.holder("s") == "b" && machine.holder("t") == "b")
    guard case .grantedAll(ticket, let records) = notices.last, notices.count == 2 else {
      Issue.record("\(notices)")
      return
    }
    #expect(records.map(\.scope) == [Key("s"), Key("t")])
    #expect(machine.state.leases[2]?.waitsCount == 0)
    _ = machine.release("s")
    #expect(machine.holder("s") == "c")
  }

  @Test("a waiter for several that goes away sets free whom it stood before")
  func leaving() {
    for way in 0..<3 {
      var machine = machine("a", "b", "c")
      machine.acquire(["s"], lease: 1)
      machine.acquire(["s", "t"], lease: 2, waits: true)
      let ticket = machine.index
      machine.acquire(["t"], lease: 3, waits: true)
      #expect(machine.holder("t") == nil)
      switch way {
      case 0: machine.apply(.cancelWait(scope: Key("s"), ticket: ticket))
      case 1: machine.apply(.closeSession(2))
      default: machine.apply(.leaseRevoke(2))
      }
      #expect(machine.holder("t") == "c", "\(way)")
    }
  }

  @Test("two that wait for the same scopes in another order do not wait for each other")
  func noCircle() {
    var machine = machine("a", "b", "c")
    machine.acquire(["s", "t"], lease: 1)
    machine.acquire(["s", "t"], lease: 2, waits: true)
    machine.acquire(["t", "s"], lease: 3, waits: true)
    machine.apply(.closeSession(1))
    #expect(machine.holder("s") == "b" && machine.holder("t") == "b")
    machine.apply(.closeSession(2))
    #expect(machine.holder("s") == "c" && machine.holder("t") == "c")
  }

  @Test("those who share hold under one number; who wants it alone waits for the last, and those behind wait for it")
  func shares() throws {
    var machine = machine("a", "b", "c", "d")
    let first = try #require(machine.acquire(["s"], lease: 1, isShared: true).grant)
    let revision = machine.state.revision
    let second = try #require(machine.acquire(["s"], lease: 2, isShared: true).grant)
    #expect(first.number == second.number && first.isShared && second.isShared)
    #expect(machine.state.revision == revision, "a share that joins others needs no revision")
    #expect(machine.acquire(["s"], lease: 3).grantRefusal == .held(by: first))
    machine.acquire(["s"], lease: 3, waits: true)
    #expect(machine.acquire(["s"], lease: 4, isShared: true).grantRefusal == .awaited(by: "c"))
    machine.acquire(["s"], lease: 4, waits: true, isShared: true)
    #expect(machine.release("s").grantRefusal != nil, "it must be said whose share ends")
    _ = machine.release("s", share: 1)
    #expect(machine.holder("s") == nil && machine.sharers("s") == ["b"])
    _ = machine.release("s", share: 2)
    let alone = try #require(machine.state.scopes[Key("s")]?.holder)
    #expect(alone.holder == "c" && alone.number > first.number)
    machine.apply(.closeSession(3))
    #expect(machine.sharers("s") == ["d"] && machine.state.scopes[Key("s")]!.lastNumber > alone.number)
  }

  @Test("a whole row of those who share is let in at once")
  func row() {
    var machine = machine("a", "b", "c", "d")
    machine.acquire(["s"], lease: 1)
    for lease in 2...4 { machine.acquire(["s"], lease: LeaseID(lease), waits: true, isShared: true) }
    #expect(machine.release("s").notices.count == 3)
    #expect(machine.sharers("s") == ["b", "c", "d"])
  }

  @Test("whoever shares a scope and wants it alone is refused at once: it would wait for itself")
  func upgrade() {
    var machine = machine("a")
    machine.acquire(["s"], lease: 1, isShared: true)
    #expect(machine.acquire(["s"], lease: 1, waits: true).grantRefusal != nil)
    machine = self.machine("a")
    let alone = machine.acquire(["s"], lease: 1).grant
    #expect(machine.acquire(["s"], lease: 1, isShared: true).grant == alone)
  }

  @Test("behind a holder that was lost the scope stays closed, behind one that let go it does not")
  func lockDelay() throws {
    var machine = machine("a", "b")
    machine.acquire(["s"], lease: 1, lockDelay: 3000)
    _ = machine.release("s")
    machine.acquire(["s"], lease: 1, lockDelay: 3000)
    machine.acquire(["s"], lease: 2, waits: true)
    machine.apply(.leaseRevoke(1))
    let until = machine.clock + 3000
    #expect(machine.holder("s") == nil)
    machine.open(3, "c")
    #expect(machine.acquire(["s"], lease: 3).grantRefusal == .closed(untilMilliseconds: until))
    machine.clock += 2999
    #expect(machine.state.scopes.reopenable(at: machine.clock, limit: 9).isEmpty)
    machine.apply(.reopen(scope: Key("s"), untilMilliseconds: until))
    #expect(machine.holder("s") == nil, "opened too early")
    machine.clock += 1
    let due = try #require(machine.state.scopes.reopenable(at: machine.clock, limit: 9).first)
    machine.apply(.reopen(scope: due.scope, untilMilliseconds: due.untilMilliseconds))
    #expect(machine.holder("s") == "b" && machine.state.scopes.reopenable(at: .max, limit: 9).isEmpty)
  }

  @Test("what was not told is given back, unless its holder has asked again since")
  func givenBack() throws {
    for isShared in [false, true] {
      var machine = machine("a", "b")
      let grant = try #require(machine.acquire(["s"], lease: 1, isShared: isShared).grant)
      let since = machine.index
      let giveBack = Command.giveBack(scope: Key("s"), number: grant.number, lease: 1, since: since)
      var other = machine
      other.apply(giveBack)
      #expect(other.state.scopes[Key("s")]?.isHeld == false)
      // By another node, say, which told it.
      #expect(machine.acquire(["s"], lease: 1, isShared: isShared).grant == grant)
      #expect(machine.apply(giveBack).grantRefusal == .held(by: grant))
      #expect(machine.state.scopes[Key("s")]?.isHeld == true)
      // The one that asked last may give it back, and what was asked is forgotten with the grant.
      machine.apply(.giveBack(scope: Key("s"), number: grant.number, lease: 1, since: machine.index - 1))
      #expect(machine.state.scopes[Key("s")]?.isHeld == false)
      let next = try #require(machine.acquire(["s"], lease: 1).grant)
      machine.apply(.giveBack(scope: Key("s"), number: next.number, lease: 1, since: machine.index))
      #expect(machine.state.scopes[Key("s")]?.isHeld == false)
    }
  }

  @Test("a caller that went away takes nothing from the one who shares its place in line")
  func givenBackInLine() throws {
    var machine = machine("a", "b")
    machine.acquire(["s"], lease: 1)
    machine.acquire(["s"], lease: 2, waits: true)
    let since = machine.index
    machine.acquire(["s"], lease: 2, waits: true)
    _ = machine.release("s")
    let grant = try #require(machine.state.scopes[Key("s")]?.holder)
    machine.apply(.giveBack(scope: Key("s"), number: grant.number, lease: 2, since: since))
    #expect(machine.holder("s") == "b")
  }

  @Test("closing a session lets go of everything at once, whatever the lock-delay")
  func close() {
    var machine = machine("a", "b")
    machine.acquire(["s", "t"], lease: 1, lockDelay: 3000)
    machine.apply(.closeSession(1))
    #expect(machine.acquire(["s", "t"], lease: 2).grants?.count == 2)
    #expect(machine.apply(.closeSession(1)).error == .leaseNotFound(1))
  }

  @Test("only the current holder says something of itself, and it goes with its grant")
  func proclaim() throws {
    var machine = machine("a", "b")
    let first = try #require(machine.acquire(["s"], lease: 1, value: "one").grant)
    #expect(machine.state.scopes[Key("s")]?.value == Bytes("one".utf8))
    machine.apply(.proclaim(scope: Key("s"), number: first.number, value: [2]))
    #expect(machine.state.scopes[Key("s")]?.value == [2])
    machine.apply(.closeSession(1))
    let second = try #require(machine.acquire(["s"], lease: 2).grant)
    #expect(machine.state.scopes[Key("s")]?.value == [])
    let late = machine.apply(.proclaim(scope: Key("s"), number: first.number, value: [3]))
    #expect(late.grantRefusal == .notHolder(current: second, lastNumber: second.number))
  }

  @Test("a fenced command is carried out while its grant is current, and not after")
  func fence() throws {
    var machine = machine("a", "b")
    let grant = try #require(machine.acquire(["s"], lease: 1).grant)
    func put(_ value: String) -> Envelope {
      Envelope(
        origin: 1, request: 1, fence: GrantFence(scope: Key("s"), number: grant.number),
        command: .put(PutRequest(key: Key("k"), value: Bytes(value.utf8))))
    }
    let decoded = try Envelope.decode(put("x").encoded())
    #expect(decoded.fence == GrantFence(scope: Key("s"), number: grant.number))
    _ = machine.state.apply(put("first"), index: 100, clockMilliseconds: machine.clock)
    #expect(machine.get("k") == "first")
    machine.apply(.closeSession(1))
    let next = try #require(machine.acquire(["s"], lease: 2).grant)
    let late = machine.state.apply(put("late"), index: 101, clockMilliseconds: machine.clock)
    #expect(late.grantRefusal == .notHolder(current: next, lastNumber: next.number) && machine.get("k") == "first")
  }

  @Test("nobody is forgotten: whoever is first in line and could be granted is", arguments: 1...40)
  func nobodyIsForgotten(seed: UInt64) {
    var commands = RandomCommands(seed: seed, usesSessions: true)
    var machine = Machine()
    for _ in 0..<400 {
      machine.step(&commands)
      machine.state.scopes.forEach { scope, state in
        #expect(state.holder == nil || state.sharersCount == 0, "\(scope) is held alone and shared")
        guard let first = state.waiting.first else { return true }
        let isReady = ([first.scope] + (first.terms?.more ?? [])).allSatisfy { wanted in
          guard let other = machine.state.scopes[wanted], !other.isClosed else { return false }
          if let mine = other.grant(of: first.lease) {
            return mine.holder == first.holder && (!mine.isShared || first.terms?.isShared == true)
          }
          let isFree = other.holder == nil && (other.sharersCount == 0 || first.terms?.isShared == true)
          return isFree && other.waiting.first?.ticket == first.ticket
        }
        #expect(!isReady, "\(first) waits for nothing")
        return true
      }
    }
  }
}
