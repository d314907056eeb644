// Scenario 20: a program that opens the file itself. A guarded file refuses it; one that is not guarded cannot, and the pages
// say so (docs/guarded-files.md).

struct WriteAround: Scenario {
  let number = 20
  let title = "a program of the same machine writes the file without the gateway"
  let expectation = "a guarded file refuses every write of a program that has not loaded the extension"

  func play(on stage: Stage) async throws -> Tally {
    var tally = Tally()
    let scene = try await Handover.start(on: stage)
    let path = stage.database().path
    if stage.guarding == .fenced {
      await scene.gateway.stop()
      try await guardFile(path, on: stage)
      try await scene.gateway.start()
      try await stage.waitUntilRegistered([stage.database()])
    }
    try await scene.a.pause()
    try await scene.b.acquire(stage.name)
    try await scene.b.mustSend(scene.write("B"))
    for sql in [
      "UPDATE owner SET who = 'around'", "INSERT INTO owner VALUES (2, 'around')", "DELETE FROM owner",
      "INSERT OR REPLACE INTO owner VALUES (1, 'around')",
      "WITH n(i) AS (SELECT 1) INSERT INTO owner SELECT 9, 'around' FROM n",
    ] {
      let reason = try await OutsideProgram.run(sql, on: path)
      tally.staleAttempts += 1
      guard let reason else {
        tally.landed += 1
        continue
      }
      tally.refusals += 1
      tally.expect(reason.contains("no such function: portcullis_guard"), "\(sql) was refused with: \(reason)")
    }
    scene.a.resume()
    try await scene.reconnectA()
    try await scene.writeLate(into: &tally)
    if stage.guarding == .fenced { try await tryFence(path, &tally) }
    try await scene.b.mustSend(scene.write("B again"))
    try await scene.expectOwner("B again", &tally)
    return tally
  }

  /// Nor can such a program lower the floor.
  private func tryFence(_ path: String, _ tally: inout Tally) async throws {
    for sql in ["UPDATE _fence SET number = 1", "DELETE FROM _fence", "DELETE FROM _fence_key"] {
      let reason = try await OutsideProgram.run(sql, on: path)
      tally.expect(reason?.contains("no such function") == true, "\(sql) was answered with: \(reason ?? "done")")
    }
  }

  private func guardFile(_ path: String, on stage: Stage) async throws {
    let program = try RunningProgram(
      ["guard", path, "--scope", stage.name], executable: stage.deployment.executable,
      environment: ["PORTCULLIS_ENDPOINTS": stage.core.endpoints])
    guard await program.exitCode() == 0 else { throw ConformanceError("guard failed: \(program.errors)") }
  }
}
