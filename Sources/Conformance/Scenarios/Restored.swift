// Scenarios 14 and 15: an old database file is put back, and an old state of the core.

import Foundation

extension Tally {
  /// Counts the answer to a stale write at a gateway that is shut, still asks a core that is away, or is not there. Whether a
  /// write that was not answered took effect must be seen in the data, before and after.
  mutating func countStaleWhereShut(_ answer: ResourceAnswer) {
    let isShut = answer.status == 503 && ["scope-closed", "keys-unavailable", "unopened"].contains(answer.problem)
    guard isShut || answer.isUnanswered else { return countStale(answer) }
    staleAttempts += 1
    refusals += 1
  }
}

extension ResourceRequest {
  /// For a gateway that may not answer.
  func waiting(milliseconds: Int) -> ResourceRequest {
    var request = self
    request.timeoutMilliseconds = milliseconds
    return request
  }
}

extension Handover {
  /// Lets A find out by a read that its connection to a gateway that was started again is gone, so that its writes are
  /// answered.
  func reconnectA() async throws {
    var read = stage.request("SELECT 1", kind: .query)
    read.showsProof = false
    while try await a.send(read).isUnanswered { try Task.checkCancellation() }
  }

  /// B writes as soon as the gateway takes anything. A refusal by the fence is not waited out.
  func writeAsB(_ value: String) async throws {
    var answer = try await b.send(write(value))
    while answer.isUnanswered || answer.status == 503 {
      try Task.checkCancellation()
      answer = try await b.send(write(value))
    }
    guard answer.isAccepted else { throw ConformanceError("B's write was answered with \(answer.summary)") }
  }
}

/// A database's file and what SQLite keeps beside it, while nobody serves it.
struct DatabaseFile {
  let path: String

  /// - Parameter floors: whether the copy of the floors comes along.
  func copy(to other: String, floors: Bool = false) throws {
    for suffix in ["", "-wal", "-shm", "-gateway.floors"] {
      try? FileManager.default.removeItem(atPath: other + suffix)
    }
    try FileManager.default.copyItem(atPath: path, toPath: other)
    if floors { try FileManager.default.copyItem(atPath: path + "-gateway.floors", toPath: other + "-gateway.floors") }
  }

  /// The floors' copy beside the file stays, as it does for whoever restores a database.
  func replace(with backup: String) throws {
    for suffix in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: path + suffix) }
    try FileManager.default.copyItem(atPath: backup, toPath: path)
  }
}

struct RestoredDatabase: Scenario {
  let number = 14
  let title = "a backup from before the hand-over is put back in the database's place"
  let expectation = "closed until the core has spoken, and then at its number: no old token gets in"

  func play(on stage: Stage) async throws -> Tally {
    var tally = Tally()
    let proxy = try await CutProxy.start(to: stage.core.endpoints)
    let gateway = try await stage.startGateway(endpoints: proxy.endpoint)
    let scene = try await Handover.start(on: stage, gateway: gateway)
    let file = DatabaseFile(path: stage.database().path)
    await gateway.stop()
    try file.copy(to: file.path + ".backup")
    try await gateway.start()
    try await stage.waitUntilRegistered([stage.database()])
    try await scene.a.pause()
    try await scene.b.acquire(stage.name)
    try await scene.b.mustSend(scene.write("B"))

    await gateway.stop()
    try file.replace(with: file.path + ".backup")
    try await proxy.cut(.toServer, .toClient)
    try await gateway.start()
    scene.a.resume()
    try await scene.reconnectA()
    // Nobody has told this file of B.
    tally.countStaleWhereShut(try await scene.a.send(scene.write("A, too late").waiting(milliseconds: 500)))
    try await scene.expectOwner("A", &tally)
    try await proxy.cut()
    try await scene.writeAsB("B")
    try await scene.writeLate(into: &tally)
    try await scene.expectOwner("B", &tally)
    await proxy.stop()
    return tally
  }
}

struct RestoredCore: Scenario {
  let number = 15
  let title = "the core is lost and made anew from a backup of before the newest grant"
  let expectation = "the higher incarnation wins, whatever the numbers; the old ones are refused"

  func play(on stage: Stage) async throws -> Tally {
    var tally = Tally()
    let core = try await stage.deployment.startCore(name: "\(stage.name)-core")
    let stage = stage.with(core)
    let scene = try await Handover.start(on: stage)
    let backup = "\(stage.directory)/core.pcb"
    try await run(["snapshot", "save", backup], on: stage)
    try await scene.a.pause()
    let lost = try await acquireOften(scene.b, stage.name)
    try await scene.b.mustSend(scene.write("B"))

    await core.nodes[0].kill()
    try FileManager.default.removeItem(atPath: core.directories[0])
    try await run(
      [
        "snapshot", "restore", backup, "--name", core.names[0], "--data-dir", core.directories[0], "--initial-cluster",
        "\(core.names[0])=\(core.peerURLs[0])", "--initial-cluster-token", core.token, "--initial-advertise-peer-urls",
        core.peerURLs[0],
      ], on: stage)
    try await core.nodes[0].start()
    try await stage.waitUntilRegistered([stage.database()])
    // A is the holder in the backup; its lease ends, because A does not renew it.
    let c = try stage.startWriter("C", gateway: scene.gateway.address)
    let new = try await c.acquire(stage.name)
    let incarnation = try await stage.withClient { try await $0.describe(stage.name).incarnation }
    tally.expect(incarnation == 2, "a restored core has incarnation \(incarnation)")
    tally.expect(
      new.number > scene.authorityOfA.number,
      "number \(new.number) was given again: A had \(scene.authorityOfA.number) before the backup")
    tally.note("B had number \(lost.number) in incarnation 1, which was lost; C has \(new.number) in incarnation 2")
    if lost.number <= new.number {
      tally.miss("B's number is not above C's: numbers alone would have refused B as well")
    }
    try await c.mustSend(scene.write("C"))
    scene.a.resume()
    for _ in 0..<3 { tally.countStale(try await scene.b.send(scene.write("B, of the lost core"))) }
    try await scene.writeLate(into: &tally)
    try await scene.expectOwner("C", &tally)
    return tally
  }

  /// Takes the scope again and again, so that the number which is lost with the core is higher than what the restored core
  /// gives out at first: by numbers alone, B would go before C.
  private func acquireOften(_ writer: Writer, _ scope: String) async throws -> Held {
    var held = try await writer.acquire(scope)
    for _ in 0..<8 {
      try await writer.release()
      held = try await writer.acquire(scope)
    }
    return held
  }

  private func run(_ arguments: [String], on stage: Stage) async throws {
    let program = try RunningProgram(
      arguments, executable: stage.deployment.executable,
      environment: ["PORTCULLIS_ENDPOINTS": stage.core.endpoints])
    guard await program.exitCode() == 0 else {
      throw ConformanceError("\(arguments.prefix(2).joined(separator: " ")) failed: \(program.errors)")
    }
  }
}
