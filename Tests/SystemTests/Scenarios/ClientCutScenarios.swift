// Scenarios 7, 8 and 24: a holder that the network keeps from the core, and one that comes back after its lease.

import Client
import Foundation
import Testing

@Suite("scenarios: a holder cut off from the core", .serialized, .timeLimit(.minutes(2)))
struct ClientCutScenarios {
  /// A server with a fenced database, a client that reaches the core through a proxy, and one that reaches it directly.
  private struct Scene {
    let proxy: CutProxy
    let cutOff: Portcullis
    let direct: Portcullis
    let gateway: GatewayClient

    func write(_ value: String, _ token: String) async throws -> GatewayAnswer {
      try await gateway.run(.execute, ["UPDATE t SET v = '\(value)'"], on: "orders", token: token)
    }

    func value() async throws -> String {
      try await gateway.run(.query, ["SELECT v FROM t"], on: "orders", token: nil).body
    }
  }

  private func withScene(_ body: (Scene) async throws -> Void) async throws {
    let directory = try ScratchDirectory()
    let serving = try await Serving.start(directory("data"), databases: ["orders": directory("orders.db")])
    let proxy = try await CutProxy.start(to: serving.core)
    let scene = Scene(
      proxy: proxy, cutOff: Portcullis(endpoints: try Endpoint.list(parsing: proxy.endpoint)),
      direct: Portcullis(endpoints: try Endpoint.list(parsing: serving.core)),
      gateway: GatewayClient(endpoint: try Endpoint(parsing: serving.gateway)))
    try await scene.direct.withGrant(on: "orders") { grant in
      let made = try await scene.gateway.run(
        .execute, ["CREATE TABLE t(v TEXT)", "INSERT INTO t VALUES('first')"], on: "orders", token: grant.token)
      #expect(made.isAccepted && !made.hasStatementError, "\(made.body)")
    }
    try await body(scene)
    scene.cutOff.close()
    scene.direct.close()
    await proxy.stop()
    await serving.stop()
  }

  @Test(
    "scenario 7: cut off from the core and not from the gateway, a holder stops at its own deadline, and the fence holds"
  )
  func bothWays() async throws {
    try await withScene { scene in
      let session = try await Session.open(on: scene.cutOff, holder: "A", timeToLive: .seconds(2))
      let old = try await session.acquire("orders")
      #expect(try await scene.write("by A", old.token).isAccepted)
      try await scene.proxy.cut(.toServer, .toClient)
      await session.waitUntilOver()
      #expect(session.current == .lost(.deadlinePassed) && ContinuousClock.now >= session.deadline)
      try await scene.direct.withGrant(on: "orders", holder: "B", wait: .seconds(30)) { new in
        #expect(new.number > old.number)
        #expect(try await scene.write("by B", new.token).isAccepted)
        // A does not look at its session and writes on: through the gateway, which it still reaches.
        for attempt in 0..<20 {
          let late = try await scene.write("late \(attempt)", old.token)
          #expect(late.status == 409, "\(late.body)")
        }
        #expect(try await scene.value().contains("by B"))
      }
    }
  }

  @Test(
    "scenario 8: where only answers are lost, the holder's deadline passes before the core's, which goes on being renewed"
  )
  func answersOnly() async throws {
    try await withScene { scene in
      let session = try await Session.open(on: scene.cutOff, holder: "A", timeToLive: .seconds(3))
      let old = try await session.acquire("orders")
      let deadline = session.deadline
      try await scene.proxy.cut(.toClient)
      await session.waitUntilOver()
      #expect(session.current == .lost(.deadlinePassed))
      #expect(session.deadline - deadline < .seconds(3), "at most one answer was on its way when they were cut")
      let held = try await scene.direct.describe("orders").grant
      #expect(held?.number == old.number, "what A sent still arrived, so the core let it live longer than A did")
      try await scene.proxy.cut()
      #expect(session.current == .lost(.deadlinePassed), "a connection that is whole again brings nothing back")
      try await scene.direct.withGrant(on: "orders", holder: "B", wait: .seconds(30)) { new in
        #expect(new.number > old.number)
        let (own, late) = (try await scene.write("by B", new.token), try await scene.write("late", old.token))
        #expect(own.isAccepted && late.status == 409, "\(own.body) \(late.body)")
        #expect(try await scene.value().contains("by B"))
      }
    }
  }

  @Test(
    "scenario 24: a holder that acquires again after its lease ended has a new token, and its own older writes are refused"
  )
  func again() async throws {
    try await withScene { scene in
      let first = try await Session.open(on: scene.cutOff, holder: "A", timeToLive: .seconds(2))
      let old = try await first.acquire("orders")
      #expect(try await scene.write("one", old.token).isAccepted)
      try await scene.proxy.cut(.toServer, .toClient)
      await first.waitUntilOver()
      try await scene.proxy.cut()
      let second = try await Session.open(on: scene.cutOff, holder: "A", timeToLive: .seconds(30))
      let new = try await second.acquire("orders", wait: .seconds(30))
      #expect(new.number > old.number && new.holder == old.holder && new.token != old.token)
      #expect(try await scene.write("two", new.token).isAccepted)
      let late = try await scene.write("older", old.token)
      #expect(late.status == 409 && late.body.contains("\(new.number)"), "\(late.body)")
      #expect(try await scene.value().contains("two"))
      await second.close()
    }
  }
}
