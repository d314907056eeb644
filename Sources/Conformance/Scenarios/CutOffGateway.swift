// Scenario 9: the gateway cannot reach the core.

struct CutOffGateway: Scenario {
  let number = 9
  let title = "the gateway is cut off from the core"
  let expectation = "stored floors go on deciding; what is not known stays closed"

  func play(on stage: Stage) async throws -> Tally {
    var tally = Tally()
    let proxy = try await CutProxy.start(to: stage.core.endpoints)
    // One that asks the core at each write, and one behind a gateway of its own.
    let (strict, apart) = (stage.database("-strict"), stage.database("-apart"))
    let gateway = try await stage.startGateway(
      [stage.database(), strict], endpoints: proxy.endpoint, flags: ["--check-core", strict.name])
    let second = try await stage.startGateway([apart], endpoints: proxy.endpoint)
    let scene = try await Handover.start(on: stage, gateway: gateway, milliseconds: 30_000)
    try await stage.end(scene.authorityOfA)
    try await scene.b.acquire(stage.name, milliseconds: 30_000)
    try await scene.b.mustSend(scene.write("B"))
    let shut = [
      try await closed(strict, at: gateway, stage, problem: "core-unreachable"),
      // It starts while the core is out of reach, so it has no keys to tell a token by.
      try await closed(apart, at: second, stage, problem: "keys-unavailable"),
    ]
    await second.kill()
    await proxy.stop()

    try await scene.writeLate(into: &tally)
    let own = try await scene.b.send(scene.write("B, cut off"))
    tally.expect(own.isAccepted, "the holder could not go on writing: \(own.summary)")
    try await scene.expectOwner("B, cut off", &tally)
    guard stage.guarding == .fenced else { return tally }
    let bare = await scene.resource.send(scene.write("nobody"), proofs: [])
    tally.expect(bare.problem == "token-required", "without a token: \(bare.summary)")
    try await expectClosed(shut, startingMeanwhile: second, stage, &tally)
    let there = try await GatewayResource(address: second.address).read("SELECT count(*) FROM t", on: apart.name)
    tally.expect(there.value == "0", "something was written: \(there.summary)")
    return tally
  }

  /// What must not be written to, not even by its rightful holder, because that it is cannot be known.
  private struct Closed: Sendable {
    let database: DatabaseSetup
    let gateway: ServerProcess
    let holder: Writer
    let problem: String
  }

  /// With a holder who has written.
  private func closed(
    _ database: DatabaseSetup, at gateway: ServerProcess, _ stage: Stage, problem: String
  ) async throws -> Closed {
    let writer = try stage.startWriter("holder of \(database.name)", gateway: gateway.address)
    try await writer.acquire(database.name, milliseconds: 60_000)
    try await writer.mustSend(stage.request("CREATE TABLE t(v)", on: database.name))
    return Closed(database: database, gateway: gateway, holder: writer, problem: problem)
  }

  private func expectClosed(
    _ closed: [Closed], startingMeanwhile second: ServerProcess, _ stage: Stage, _ tally: inout Tally
  ) async throws {
    let answers = try await withThrowingTaskGroup(of: (Closed, ResourceAnswer).self) { group in
      for one in closed {
        let request = stage.request("INSERT INTO t VALUES (1)", on: one.database.name)
        group.addTask {
          if one.gateway === second { try await second.start() }
          return (one, try await one.holder.send(request))
        }
      }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    for (one, answer) in answers {
      tally.expect(
        answer.problem == one.problem, "\(one.database.name) should be \(one.problem): \(answer.summary)")
    }
    tally.note("a database that asks the core at each write, and a gateway that started without it, took nothing")
  }
}
