// Scenario 27: the gateway's disk is full, or fails a flush, at the moment of a raise.

import Client
import Glibc

struct FailingDisk: Scenario {
  let number = 27
  let title = "the disk is full, and then fails a flush, while the floor is raised for the next holder"
  let expectation =
    "the next holder is not told that it holds; the gateway takes no more writes, or goes on when there is room"

  func play(on stage: Stage) async throws -> Tally {
    var tally = Tally()
    let faults = try FaultControl(for: stage.deployment.executable, below: stage.directory)
    let gateway = try await stage.startGateway(environment: faults.environment)
    let scene = try await Handover.start(on: stage, gateway: gateway)
    try await scene.a.pause()
    for (fault, code, met) in [
      (FaultControl.Word.writeError, ENOSPC, FaultControl.Word.writeErrors), (.flushError, EIO, .flushErrors),
    ] {
      faults[fault] = Int(code)
      try await expectNotTold(scene, &tally)
      tally.expect(stage.guarding == .unfenced || faults[met] > 0, "the raise did not meet the disk's fault")
      faults.clear()
    }
    // What the disk holds after a flush that failed is known when it is read again.
    let isServing = await scene.resource.call("GET", "/readyz").status == 200
    tally.expect(isServing == (stage.guarding == .unfenced), "after a failed flush the gateway serves: \(isServing)")
    await gateway.kill()
    try await gateway.start()
    let new = try await scene.b.acquire(stage.name)
    tally.expect(stage.guarding == .unfenced || new.isConfirmed, "B was granted without the gateway's word")
    try await scene.b.mustSend(scene.write("B"))
    scene.a.resume()
    try await scene.reconnectA()
    try await scene.writeLate(into: &tally)
    try await scene.expectOwner("B", &tally)
    return tally
  }

  /// A holder that stands in line is not told of a grant whose raise is not on disk.
  private func expectNotTold(_ scene: Handover, _ tally: inout Tally) async throws {
    guard scene.stage.guarding == .fenced else { return }
    try await scene.stage.withClient { client in
      let session = try await Session.open(on: client, holder: "W", timeToLive: .seconds(30))
      var request = GrantRequest([scene.stage.name])
      (request.wait, request.barrier, request.barrierWait) = (.seconds(30), .required, .milliseconds(300))
      do throws(ClientError) {
        let told = try await session.acquire(request)
        tally.expect(false, "a holder was told of number \(told[0].number) while the disk failed")
      } catch {
        tally.note("on the failing disk: \(error)")
      }
      await session.close()
    }
  }
}
