// Leases, grants and their numbers.

import CoordinationCore
import Testing

@Suite("Leases")
struct LeaseTests {
  @Test("an expiry ends a lease and its keys only when its deadline has passed on the cluster clock")
  func deadline() {
    var machine = Machine()
    machine.apply(.leaseGrant(1, ttlMilliseconds: 2000))
    machine.put("k", "v", lease: 1)
    let candidate = ExpiryCandidate(lease: 1, generation: 0)
    machine.clock += 1999
    #expect(machine.state.leases.expired(at: machine.clock, limit: 10).isEmpty)
    #expect(machine.apply(.leaseExpire(candidate)).error == .leaseNotFound(1))
    #expect(machine.get("k") == "v")
    machine.clock += 1
    #expect(machine.state.leases.expired(at: machine.clock, limit: 10) == [candidate])
    machine.apply(.leaseExpire(candidate))
    #expect(machine.get("k") == nil && machine.state.leases.count == 0)
  }

  @Test("a renewal that is ordered before an expiry wins, one that is ordered after it fails")
  func race() {
    var machine = Machine()
    machine.apply(.leaseGrant(1, ttlMilliseconds: 2000))
    machine.clock += 5000
    let candidate = machine.state.leases.expired(at: machine.clock, limit: 1)[0]
    var other = machine
    machine.apply(.leaseRenew(1))
    machine.apply(.leaseExpire(candidate))
    #expect(machine.state.leases[1] != nil)
    other.apply(.leaseExpire(candidate))
    #expect(other.apply(.leaseRenew(1)).error == .leaseNotFound(1))
  }

  @Test("a key moves between leases with each put, and goes with the last")
  func attachment() {
    var machine = Machine()
    machine.apply(.leaseGrant(1, ttlMilliseconds: 2000))
    machine.apply(.leaseGrant(2, ttlMilliseconds: 2000))
    machine.put("k", "v", lease: 1)
    machine.put("k", "v", lease: 2)
    machine.apply(.leaseRevoke(1))
    #expect(machine.get("k") == "v")
    machine.apply(.leaseRevoke(2))
    #expect(machine.get("k") == nil)
  }

  @Test("a revocation deletes all keys at one revision")
  func oneRevision() {
    var machine = Machine()
    machine.apply(.leaseGrant(1, ttlMilliseconds: 2000))
    for number in 0..<5 { machine.put("k\(number)", "v", lease: 1) }
    let before = machine.state.revision
    machine.apply(.leaseRevoke(1))
    #expect(machine.state.revision == before + 1)
  }
}

@Suite("Grants")
struct GrantTests {
  private func machine(leases: LeaseID...) -> Machine {
    var machine = Machine()
    for lease in leases { machine.apply(.leaseGrant(lease, ttlMilliseconds: 10_000)) }
    return machine
  }

  @Test("a number is the revision of its grant, and rises over release, expiry and re-acquisition")
  func numbersRise() throws {
    var machine = machine(leases: 1, 2)
    var last: Revision = 0
    for round in 0..<6 {
      let lease = LeaseID(round % 2 + 1)
      let grant = try #require(machine.acquire("s", by: "h\(lease)", lease: lease).grant)
      #expect(grant.number > last && grant.number == machine.state.revision)
      last = grant.number
      if round == 3 {
        machine.apply(.leaseRevoke(lease))
        machine.apply(.leaseGrant(lease, ttlMilliseconds: 10_000))
      } else {
        machine.apply(.release(scope: Key("s"), number: grant.number))
      }
    }
  }

  @Test("the same holder and lease get the same grant again, others are refused with the holder")
  func reentrant() throws {
    var machine = machine(leases: 1, 2)
    let first = try #require(machine.acquire("s", by: "a", lease: 1).grant)
    #expect(machine.acquire("s", by: "a", lease: 1).grant == first)
    guard case .refused(.held(let current)) = machine.acquire("s", by: "b", lease: 2).outcome else {
      Issue.record("a held scope must be refused")
      return
    }
    #expect(current == first)
  }

  @Test("the first in the queue gets the scope in the command that frees it")
  func handOver() throws {
    var machine = machine(leases: 1, 2, 3)
    let first = try #require(machine.acquire("s", by: "a", lease: 1).grant)
    for lease in [2, 3] { _ = machine.acquire("s", by: "w\(lease)", lease: LeaseID(lease), waits: true) }
    let released = machine.apply(.release(scope: Key("s"), number: first.number))
    #expect(machine.holder("s") == "w2")
    guard case .granted(_, let next)? = released.notices.first else {
      Issue.record("the waiter must be told")
      return
    }
    #expect(next.number == machine.state.revision && next.number > first.number)
  }

  @Test("a waiter whose lease has died never gets the scope")
  func deadWaiter() throws {
    var machine = machine(leases: 1, 2, 3)
    let first = try #require(machine.acquire("s", by: "a", lease: 1).grant)
    for lease in [2, 3] { _ = machine.acquire("s", by: "w\(lease)", lease: LeaseID(lease), waits: true) }
    #expect(machine.apply(.leaseRevoke(2)).notices.count == 1)
    machine.apply(.release(scope: Key("s"), number: first.number))
    #expect(machine.holder("s") == "w3")
  }

  @Test("a lease's end hands all its scopes on, in one revision")
  func expiryHandsOn() throws {
    var machine = machine(leases: 1, 2)
    for scope in ["s", "t"] {
      _ = machine.acquire(scope, by: "a", lease: 1)
      _ = machine.acquire(scope, by: "b", lease: 2, waits: true)
    }
    let before = machine.state.revision
    #expect(machine.apply(.leaseRevoke(1)).notices.count == 2)
    #expect(machine.state.revision == before + 1)
    #expect(machine.holder("s") == "b" && machine.holder("t") == "b")
  }

  @Test("a late release under an old number leaves the newer grant alone")
  func lateRelease() throws {
    var machine = machine(leases: 1, 2)
    let old = try #require(machine.acquire("s", by: "a", lease: 1).grant)
    machine.apply(.leaseRevoke(1))
    let new = try #require(machine.acquire("s", by: "b", lease: 2).grant)
    guard
      case .refused(.notHolder(let current, let last)) =
        machine.apply(.release(scope: Key("s"), number: old.number)).outcome
    else {
      Issue.record("a stale release must be refused")
      return
    }
    #expect(current == new && last == new.number && machine.holder("s") == "b")
  }

  @Test("whichever way a grant begins or ends, its scope is told of, and no other is")
  func touched() throws {
    var machine = machine(leases: 1, 2, 3)
    let first = try #require(machine.acquire("s", by: "a", lease: 1).grant)
    #expect(machine.acquire("s", by: "b", lease: 2, waits: true).touched.isEmpty)
    #expect(machine.apply(.release(scope: Key("s"), number: first.number + 1)).touched.isEmpty)
    // Once for its end, once for who is next.
    #expect(machine.apply(.release(scope: Key("s"), number: first.number)).touched == [Key("s"), Key("s")])
    #expect(machine.holder("s") == "b")
    #expect(machine.acquire("t", by: "b", lease: 2).touched == [Key("t")])
    #expect(machine.apply(.leaseRevoke(3)).touched.isEmpty)
    #expect(machine.apply(.leaseRevoke(2)).touched == [Key("s"), Key("t")])
    #expect(machine.apply(.markClock).touched.isEmpty)
  }

  @Test("a wait that is given up leaves the queue; asking twice holds one place")
  func queue() throws {
    var machine = machine(leases: 1, 2)
    _ = machine.acquire("s", by: "a", lease: 1)
    guard case .queued(let ticket) = machine.acquire("s", by: "b", lease: 2, waits: true).outcome,
      case .queued(let again) = machine.acquire("s", by: "b", lease: 2, waits: true).outcome
    else {
      Issue.record("a held scope must queue")
      return
    }
    #expect(ticket == again)
    machine.apply(.cancelWait(scope: Key("s"), ticket: ticket))
    #expect(machine.state.scopes[Key("s")]?.waiting.isEmpty == true)
    machine.apply(.leaseRevoke(1))
    #expect(machine.holder("s") == nil)
  }

  @Test("a grant can bring its own lease, and a refused one leaves none behind")
  func ownLease() {
    var machine = Machine()
    #expect(machine.acquire("s", by: "a", lease: 1, ttl: 2000).grant != nil)
    _ = machine.acquire("s", by: "b", lease: 2, ttl: 2000)
    #expect(machine.state.leases[1] != nil && machine.state.leases[2] == nil)
  }
}

@Suite("The cluster clock")
struct ClusterClockTests {
  @Test("goes on from the last entry's stamp, and never ahead of whoever stamped")
  func observes() {
    var clock = ClusterClock(startMilliseconds: 100, longestStepMilliseconds: 1000)
    #expect(clock.now(localMilliseconds: 50_000) == 100)
    #expect(clock.now(localMilliseconds: 50_010) == 110)
    clock.follow(stampMilliseconds: 500, localMilliseconds: 50_020)
    #expect(clock.now(localMilliseconds: 50_030) == 510)
    #expect(clock.now(localMilliseconds: 50_040) == 520)
  }

  @Test("does not count a stall beyond its longest step")
  func stall() {
    var clock = ClusterClock(startMilliseconds: 0, longestStepMilliseconds: 1000)
    _ = clock.now(localMilliseconds: 0)
    #expect(clock.now(localMilliseconds: 60_000) == 1000)
  }
}
