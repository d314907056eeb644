// Scenarios 18, 19 and 29: two gateways on one file, on copies of it, and of two versions.

import Foundation

struct TwoGatewaysOneFile: Scenario {
  let number = 18
  let title = "a second gateway is started on the same file, also past the lock, and the late writer writes through it"
  let expectation = "the second refuses to start; past the lock the fence in the file decides"

  func play(on stage: Stage) async throws -> Tally {
    var tally = Tally()
    let scene = try await Handover.start(on: stage)
    let database = stage.database()
    let turnedAway = try await stage.deployment.startGateway(
      [database], endpoints: stage.core.endpoints, waits: false)
    let code = await turnedAway.program?.exitCode()
    await turnedAway.program?.waitForEndOfOutput()
    let said = turnedAway.program?.errors ?? ""
    tally.expect(
      code == 1 && said.contains("is served by another gateway"),
      "the second gateway ended with \(code ?? -1) and said: \(said)")

    // Whoever takes the lock's file away takes the lock away.
    try FileManager.default.removeItem(atPath: database.path + "-gateway.lock")
    let second = try await stage.startGateway()
    try await scene.a.pause()
    try await scene.b.acquire(stage.name)
    try await scene.b.mustSend(scene.write("B"))
    scene.a.resume()
    try await scene.writeLate(into: &tally)
    let other = GatewayResource(address: second.address)
    let proofs = stage.guarding == .fenced ? [scene.authorityOfA.proof] : []
    for _ in 0..<3 { tally.countStale(await other.send(scene.write("A, too late"), proofs: proofs)) }
    try await scene.expectOwner("B", &tally)
    return tally
  }
}

struct TwoGatewaysTwoCopies: Scenario {
  let number = 19
  let title = "copies of the file are served beside it, one without and one with the copy of its floors"
  let expectation =
    "the first starts closed; of the second the core says that its identity is served twice, and raises both"

  func play(on stage: Stage) async throws -> Tally {
    var tally = Tally()
    let scene = try await Handover.start(on: stage)
    let file = DatabaseFile(path: stage.database().path)
    let (bare, whole) = (stage.directory + "/bare.db", stage.directory + "/whole.db")
    await scene.gateway.stop()
    try file.copy(to: bare)
    try file.copy(to: whole, floors: stage.guarding == .fenced)
    try await scene.gateway.start()
    try await stage.waitUntilRegistered([stage.database()])

    // Cut off, so that nobody can tell it what the floor is. A holds, and even so nothing is taken.
    let proxy = try await CutProxy.start(to: stage.core.endpoints)
    try await proxy.cut(.toServer, .toClient)
    let proofs = stage.guarding == .fenced ? [scene.authorityOfA.proof] : []
    let first = try await stage.deployment.startGateway([database(bare, stage)], endpoints: proxy.endpoint)
    let bareCopy = GatewayResource(address: first.address)
    let write = scene.write("A, of a copy").waiting(milliseconds: 500)
    tally.countStaleWhereShut(await bareCopy.send(write, proofs: proofs))
    let bareOwner = try await bareCopy.read("SELECT who FROM owner", on: stage.name).value
    tally.expect(bareOwner == "A", "the copy without its floors took a write before the core had spoken")
    await proxy.stop()

    let second = try await stage.startGateway([database(whole, stage)])
    try await scene.a.pause()
    let new = try await scene.b.acquire(stage.name)
    try await scene.b.mustSend(scene.write("B"))
    let other = GatewayResource(address: second.address)
    if stage.guarding == .fenced {
      try await stage.core.nodes[0].program?.waitForErrors("two gateways are connected for one database")
      // Each copy is told; the grant waits for the first of them.
      while try await other.floor(of: stage.name) ?? 0 < new.number { try Task.checkCancellation() }
    }
    scene.a.resume()
    try await scene.reconnectA()
    try await scene.writeLate(into: &tally)
    for _ in 0..<3 { tally.countStale(await other.send(scene.write("A, too late"), proofs: proofs)) }
    try await scene.expectOwner("B", &tally)
    return tally
  }

  private func database(_ path: String, _ stage: Stage) -> DatabaseSetup {
    var setup = stage.database()
    setup.path = path
    return setup
  }
}

struct TwoVersions: Scenario {
  let number = 29
  let title =
    "an old gateway is started on a file that a newer one has served; the other version is played by its number"
  let expectation = "the old one does not serve the file, and takes no unfenced write"

  func play(on stage: Stage) async throws -> Tally {
    var tally = Tally()
    let scene = try await Handover.start(on: stage)
    let path = stage.database().path
    await scene.gateway.stop()
    // What a newer gateway leaves behind. An open file has no fence tables before its first token.
    let isFenced = stage.guarding == .fenced
    if isFenced { try await change("UPDATE _fence_format SET version = version + 1", path) }
    try scene.gateway.launch()
    if isFenced {
      let code = await scene.gateway.program?.exitCode()
      await scene.gateway.program?.waitForEndOfOutput()
      let said = scene.gateway.program?.errors ?? ""
      tally.expect(
        code == 1 && said.contains("this program knows formats up to"), "it ended with \(code ?? -1) and said: \(said)")
    } else {
      try await scene.gateway.waitUntilReady()
    }
    for _ in 0..<2 {
      let write = scene.write("A, past the newer fence").waiting(milliseconds: 300)
      tally.countStaleWhereShut(try await scene.a.send(write))
    }

    // The newer one is back.
    if isFenced {
      try await change("UPDATE _fence_format SET version = version - 1", path)
      try await scene.gateway.start()
    }
    try await stage.waitUntilRegistered([stage.database()])
    try await scene.expectOwner("A", &tally)
    try await scene.a.pause()
    try await scene.b.acquire(stage.name)
    try await scene.b.mustSend(scene.write("B"))
    scene.a.resume()
    try await scene.reconnectA()
    try await scene.writeLate(into: &tally)
    try await scene.expectOwner("B", &tally)
    return tally
  }

  private func change(_ sql: String, _ path: String) async throws {
    if let reason = try await OutsideProgram.run(sql, on: path) {
      throw ConformanceError("the file's format could not be changed: \(reason)")
    }
  }
}
