// Which raises a gateway has yet to confirm, and when a grant counts as confirmed.

import CoordinationCore
import Testing

@Suite("Gateways")
struct GatewayBarrierTests {
  private func machine() -> Machine {
    var machine = Machine()
    for (id, holder) in [(1, "a"), (2, "b")] as [(LeaseID, String)] { machine.open(id, holder) }
    return machine
  }

  private func register(_ name: String, _ scopes: String...) -> Command {
    .gateway(.register(Key(name), scopes: scopes.map { Key($0) }))
  }

  private func confirm(_ name: String, _ scope: String, _ number: Revision) -> Command {
    .gateway(.confirm(Key(name), scope: Key(scope), number: number))
  }

  @Test("a grant is confirmed by the last of the gateways that protect its scope")
  func confirmed() throws {
    var machine = machine()
    machine.apply(register("g", "s", "t"))
    machine.apply(register("h", "s"))
    let grant = try #require(machine.acquire(["s"], lease: 1).grant)
    #expect(machine.state.gateways.missing(for: Key("s")) == [Key("g"), Key("h")])
    #expect(machine.apply(confirm("g", "s", grant.number)).notices.isEmpty)
    #expect(machine.apply(confirm("g", "s", grant.number)).notices.isEmpty, "one gateway's word counts once")
    #expect(machine.apply(confirm("h", "s", grant.number)).notices == [.confirmed(Key("s"), grant.number)])
    #expect(machine.state.gateways.missing(for: Key("s")).isEmpty)
  }

  @Test("the word for an older number is not that for the newest")
  func older() throws {
    var machine = machine()
    machine.apply(register("g", "s"))
    let first = try #require(machine.acquire(["s"], lease: 1).grant)
    machine.apply(.closeSession(1))
    let second = try #require(machine.acquire(["s"], lease: 2).grant)
    #expect(machine.apply(confirm("g", "s", first.number)).notices.isEmpty)
    #expect(machine.state.gateways[Key("g")]?.raises.map(\.number) == [second.number])
  }

  @Test("a gateway that comes to protect a scope hears of its newest number")
  func late() throws {
    var machine = machine()
    let grant = try #require(machine.acquire(["s"], lease: 1).grant)
    machine.apply(register("g", "s", "unknown"))
    #expect(machine.state.gateways[Key("g")]?.raises.map(\.number) == [grant.number])
    // What it confirmed once it need not confirm again for having come back.
    machine.apply(confirm("g", "s", grant.number))
    machine.apply(register("g", "s", "t"))
    #expect(machine.state.gateways[Key("g")]?.raises.isEmpty == true)
  }

  @Test("one that is deregistered is waited for no longer, and that is on record")
  func retired() throws {
    var machine = machine()
    machine.apply(register("g", "s"))
    let grant = try #require(machine.acquire(["s"], lease: 1).grant)
    let gone = RetiredGateway(name: Key("g"), by: "root", reason: "its disk is dust")
    #expect(machine.apply(.gateway(.retire(gone))).notices == [.confirmed(Key("s"), grant.number)])
    #expect(machine.state.gateways.retired == [gone] && machine.state.gateways[Key("g")] == nil)
    guard case .gatewayChanged(false) = machine.apply(.gateway(.retire(gone))).outcome else {
      Issue.record("it was there twice")
      return
    }
    #expect(machine.state.gateways.retired.count == 1)
    #expect(machine.acquire(["s"], lease: 1).grant == grant)
  }

  @Test("whoever joins those who share a scope needs no raise of its own")
  func shares() throws {
    var machine = machine()
    machine.apply(register("g", "s"))
    let grant = try #require(machine.acquire(["s"], lease: 1, isShared: true).grant)
    machine.apply(confirm("g", "s", grant.number))
    machine.acquire(["s"], lease: 2, isShared: true)
    #expect(machine.state.gateways.missing(for: Key("s")).isEmpty)
  }

  @Test("there is a bound on how many there are")
  func bound() {
    var machine = machine()
    for number in 0..<256 { machine.apply(register("g\(number)", "s")) }
    guard case .unknownChoice(let text) = machine.apply(register("one more", "s")).error else {
      Issue.record("one too many was taken")
      return
    }
    #expect(text.contains("256"))
  }
}
