// Scenarios 6 and 22: leaders that are gone for a while, or for good between a commit and its answer.

import Client
import Foundation

struct StoppedLeader: Scenario {
  let number = 6
  let title = "the leader and A stop; another leads and B takes over and writes; both go on"
  let expectation = "the old leader grants nothing, ends nothing and shows nothing old; A is refused"

  func play(on stage: Stage) async throws -> Tally {
    var tally = Tally()
    let core = try await stage.deployment.startCore(nodes: 3, name: "\(stage.name)-core")
    let stage = stage.with(core)
    let old = try await core.leader()
    let others = core.endpoints(without: old)
    let gateway = try await stage.startGateway(endpoints: others)
    let scene = try await Handover.start(on: stage, gateway: gateway, endpointsOfA: others, endpointsOfB: others)
    try await stage.withClient(of: others) { client in
      // Renewed in time through the others: no leader may end it.
      let session = try await Session.open(on: client, holder: "C", timeToLive: .seconds(5))
      let kept = try await session.acquire("\(stage.name)-kept")
      _ = try await client.put("conformance/\(stage.name)/k", "old")
      let stopped = ContinuousClock.now
      try await core.nodes[old].pause()
      try await scene.a.pause()
      let new = try await scene.b.acquire(stage.name, milliseconds: 30_000)
      try await scene.b.mustSend(scene.write("B"))
      _ = try await whenLed { try await client.put("conformance/\(stage.name)/k", "new") }
      // Two election timeouts, of a second each: how long it stands still is the fault itself.
      try await Task.sleep(until: stopped + .seconds(2))
      core.nodes[old].resume()
      try await expectNothingOld(
        at: core.nodes[old].address, stage, [stage.name: new.number, kept.scope: kept.number], &tally)
      scene.a.resume()
      tally.expect(session.current == .active, "a session that was renewed in time is \(session.current)")
      await session.close()
    }
    try await scene.writeLate(into: &tally)
    try await scene.expectOwner("B", &tally)
    return tally
  }

  /// Asks the old leader from its first moment on, until it has answered often enough.
  private func expectNothingOld(
    at endpoint: String, _ stage: Stage, _ numbers: [String: Int64], _ tally: inout Tally
  ) async throws {
    let client = Portcullis(endpoints: try Endpoint.list(parsing: endpoint))
    defer { client.close() }
    let calls = CoreCalls(client: client)
    let session = try await whenLed { try await calls.openSession("D", milliseconds: 30_000) }
    for _ in 0..<50 {
      let value = try await whenLed { try await client.get("conformance/\(stage.name)/k") }?.value
      tally.expect(value == Array("new".utf8), "the old leader shows an old value")
      for (scope, number) in numbers {
        let shown = try await whenLed { try await client.describe(scope).grant?.number }
        tally.expect(shown == number, "the old leader shows \(shown ?? 0) for \(scope), which has \(number)")
        if case .granted(let again, _) = try await whenLed({ try await calls.acquire(scope, session) }) {
          tally.failures.append("\(scope) was granted twice: \(number) and \(again)")
        }
      }
    }
  }
}

struct LostGrant: Scenario {
  let number = 22
  let title = "the leader dies between the commit of A's grant and its answer; A asks again; B takes over later"
  let expectation = "the same grant or a higher one, one holder at any time; after B's grant A is refused"

  func play(on stage: Stage) async throws -> Tally {
    var tally = Tally()
    let core = try await stage.deployment.startCore(nodes: 3, name: "\(stage.name)-core")
    let stage = stage.with(core)
    let first = try await core.leader()
    let others = core.endpoints(without: first)
    let gateway = try await stage.startGateway(endpoints: others)
    let scene = Scene(stage: stage, gateway: gateway)
    try await stage.withClient(of: others) { client in
      let calls = CoreCalls(client: client)
      let session = try await calls.openSession("A", milliseconds: 30_000)
      let granted = try await losingTheAnswer(core, first, stage, session, client)
      let again = try await whenLed { try await calls.mustAcquire(stage.name, session, requestID: "one") }
      tally.expect(again.number >= granted, "asked again, A has \(again.number) and had \(granted)")
      tally.expect(!again.token.isEmpty, "asked again, A got no token")
      let rival = try await calls.openSession("B", milliseconds: 30_000)
      if case .granted(let number, _) = try await calls.acquire(stage.name, rival) {
        tally.failures.append("two holders: \(again.number) and \(number)")
      }
      try await scene.mustWrite("A", again.token)
      // An operator ends A's session; A is not told.
      try await calls.closeSession(session)
      let next = try await calls.mustAcquire(stage.name, rival, waitMilliseconds: 30_000)
      tally.expect(next.number > again.number, "B's number \(next.number) is not above A's, \(again.number)")
      try await scene.mustWrite("B", next.token)
      for _ in 0..<3 { tally.countStale(try await scene.write("A, too late", again.token)) }
      let owner = try await scene.owner()
      if owner != "B" { tally.lostUpdates += 1 }
    }
    return tally
  }

  /// - Returns: the number of the grant, whose answer nobody got.
  private func losingTheAnswer(
    _ core: CoreProcesses, _ leader: Int, _ stage: Stage, _ session: Int64, _ others: Portcullis
  ) async throws -> Int64 {
    let proxy = try await CutProxy.start(to: core.nodes[leader].address)
    let cutOff = Portcullis(endpoints: try Endpoint.list(parsing: proxy.endpoint))
    defer { cutOff.close() }
    // So that the connection is there before answers are lost on it.
    _ = try await cutOff.describe(stage.name)
    try await proxy.cut([.toClient])
    async let lost = CoreCalls(client: cutOff).acquire(stage.name, session, requestID: "one")
    // It is in the log and applied when another node shows it.
    while try await others.describe(stage.name).grant == nil { try Task.checkCancellation() }
    await core.nodes[leader].kill()
    await proxy.stop()
    cutOff.close()
    if let answer = try? await lost { throw ConformanceError("the answer that was to be lost is \(answer)") }
    return try await whenLed { try await others.describe(stage.name).grant?.number } ?? 0
  }

  /// A gateway, and holders that are not processes of their own.
  private struct Scene {
    let stage: Stage
    let gateway: ServerProcess
    var resource: GatewayResource { GatewayResource(address: gateway.address) }

    func write(_ who: String, _ token: String) async throws -> ResourceAnswer {
      let request = stage.request(
        "CREATE TABLE IF NOT EXISTS owner(id INTEGER PRIMARY KEY, who TEXT)",
        "INSERT OR REPLACE INTO owner VALUES (1, '\(who)')")
      return await resource.send(request, proofs: stage.guarding == .fenced ? [token] : [])
    }

    func mustWrite(_ who: String, _ token: String) async throws {
      let answer = try await write(who, token)
      guard answer.isAccepted else { throw ConformanceError("\(who)'s write was answered with \(answer.summary)") }
    }

    func owner() async throws -> String {
      try await resource.read("SELECT who FROM owner", on: stage.name).value ?? ""
    }
  }
}
