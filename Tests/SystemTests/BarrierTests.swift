// Fence before grant, with gateways that confirm when they are told to, against three real nodes.

import Foundation
import Protocol
import Testing
import Wire

@Suite("fence before grant", .serialized, .timeLimit(.minutes(3)))
struct BarrierTests {
  @Test("a holder is told of its grant when the gateway has confirmed the raise, whichever nodes they are at")
  func required() async throws {
    try await withThreeNodes { calls in
      let session = try await calls[0].open("one")
      let gateway = try await ProtectCalls.register("g", ["s"], at: calls[1])
      async let answer = calls[2].acquire(["s"], session) { $0.barrierMs = 30_000 }
      let raise = try await gateway.raise()
      #expect(raise.scope == "s" && !raise.token.isEmpty)
      // Granted in the state, and told to nobody.
      let described = try await calls[0].describe("s")
      #expect(described.holder.number == raise.number && described.holder.barrier == .unconfirmed)
      try gateway.confirm(raise)
      let granted = try await answer.granted
      #expect(granted.number == raise.number && granted.barrier == .confirmed)
    }
  }

  @Test("without the gateway's word there is no grant: what is missing is said, and the scope is free again")
  func missing() async throws {
    try await withThreeNodes { calls in
      let session = try await calls[0].open("one")
      let gateway = try await ProtectCalls.register("g", ["s"], at: calls[1])
      let refused = try await calls[2].acquire(["s"], session) { $0.barrierMs = 300 }.refused
      #expect(refused.missing == ["g"] && refused.reason.contains("not confirmed in time by g"))
      let raise = try await gateway.raise()
      #expect(raise.number > 0)
      // It is taken back by a release, which may come behind this look.
      while try await calls[0].describe("s").hasHolder { try Task.checkCancellation() }
      let preferred = try await calls[2].acquire(["s"], session) {
        $0.barrier = .preferred
        $0.barrierMs = 300
      }.granted
      #expect(preferred.barrier == .unconfirmed && preferred.number > raise.number)
      // Who asks again, and requires it, is refused, and keeps what it had.
      let again = try await calls[0].acquire(["s"], session) { $0.barrierMs = 300 }
      #expect(again.refused.missing == ["g"])
      #expect(try await calls[1].describe("s").holder.number == preferred.number)
    }
  }

  @Test("with the barrier off, a grant waits for nobody, and the gateway hears of it")
  func off() async throws {
    try await withThreeNodes { calls in
      let session = try await calls[0].open("one")
      let gateway = try await ProtectCalls.register("g", ["s"], at: calls[1])
      let granted = try await calls[2].acquire(["s"], session) { $0.barrier = .off }.granted
      #expect(granted.barrier == .unconfirmed)
      #expect(try await gateway.raise().number == granted.number)
    }
  }

  @Test("a gateway that is away holds grants up until it is back or deregistered, and both are on record")
  func away() async throws {
    try await withThreeNodes { calls in
      let session = try await calls[0].open("one")
      let gone = try await ProtectCalls.register("g", ["s"], at: calls[1])
      gone.stream.cancel()
      while try await calls[1].gateways().first?.isConnected == true { try Task.checkCancellation() }
      async let waiting = calls[2].acquire(["s"], session) { $0.barrierMs = 30_000 }
      while try await calls[0].gateways().first?.unconfirmed != 1 { try Task.checkCancellation() }
      let back = try await ProtectCalls.register("g", ["s"], at: calls[0])
      try back.confirm(try await back.raise())
      #expect(try await waiting.granted.barrier == .confirmed)

      back.stream.cancel()
      let other = try await calls[0].open("two")
      async let next = calls[2].acquire(["s"], other, waitMilliseconds: 30_000) { $0.barrierMs = 30_000 }
      while try await calls[0].describe("s").waiting.isEmpty { try Task.checkCancellation() }
      try await calls[0].close(session)
      var request = Portcullis_V1_DeregisterGatewayRequest()
      request.gateway = "g"
      await #expect(throws: RPCStatus.self) {
        _ = try await calls[0].call(
          RPCPath.Gateways.deregister, request, as: Portcullis_V1_DeregisterGatewayResponse.self)
      }
      request.reason = "the machine was scrapped"
      let answer = try await calls[0].call(
        RPCPath.Gateways.deregister, request, as: Portcullis_V1_DeregisterGatewayResponse.self)
      #expect(answer.wasRegistered)
      #expect(try await next.granted.holder == "two")
      let listed = try await calls[1].gateways()
      #expect(listed.map(\.isDeregistered) == [true] && listed[0].reason == "the machine was scrapped")
    }
  }

  @Test("the barrier holds also for whoever waited in line, and over a change of leader")
  func inLine() async throws {
    let nodes = try Nodes()
    try await nodes.found("a", "b", "c")
    try await withConnection(nodes.client("a")) { connection in
      let calls = DefectsCalls(connection: connection)
      let (one, two) = (try await calls.open("one"), try await calls.open("two"))
      let gateway = try await ProtectCalls.register("g", ["s", "t"], at: calls)
      async let first = calls.acquire(["s"], one) { $0.barrierMs = 30_000 }
      try gateway.confirm(try await gateway.raise())
      _ = try await first
      async let second = calls.acquire(["t", "s"], two, waitMilliseconds: 60_000) { $0.barrierMs = 60_000 }
      while try await calls.describe("s").waiting.isEmpty { try Task.checkCancellation() }
      let leader = try #require(try await nodes.members().first(where: \.isLeader)).name
      let target = leader == "a" ? "b" : "a"
      #expect(try await nodes.run("move-leader", target).exitCode == 0)
      try await calls.close(one)
      for _ in 0..<2 { try gateway.confirm(try await gateway.raise()) }
      let answer = try await second
      #expect(answer.granted.scope == "t" && answer.alsoGranted.map(\.scope) == ["s"])
      #expect(answer.granted.barrier == .confirmed && answer.alsoGranted[0].barrier == .confirmed)
    }
    await nodes.stop()
  }
}
