// Scenario 28: numbers at the edge of signed 64 bits, in tokens that are signed with the cluster's own key.

import Foundation

struct EdgeNumbers: Scenario {
  let number = 28
  let title = "numbers at the edge of signed 64 bits"
  let expectation = "bounds are checked, and nothing wraps"

  func play(on stage: Stage) async throws -> Tally {
    var tally = Tally()
    let scene = try await Handover.start(on: stage, milliseconds: 30_000)
    let forge = try TokenForge(keyFile: stage.core.directories[0] + "/node.key", like: scene.authorityOfA.proof)
    let highest = Int64.max
    func send(_ number: String, _ value: String) async throws -> ResourceAnswer {
      let token = try forge.token(["number": number])
      return await scene.resource.send(scene.write(value), proofs: stage.guarding == .fenced ? [token] : [])
    }
    for number in [highest - 1, highest, highest] {
      let answer = try await send("\(number)", "the highest")
      tally.expect(answer.isAccepted, "number \(number): \(answer.summary)")
    }
    // Below the floor by one, and by all that there is.
    for number in [highest - 1, 1] { tally.countStale(try await send("\(number)", "stale")) }
    try await scene.writeLate(into: &tally)
    // What would be low, or negative, if it wrapped; none of these is a number of a grant at all.
    for number in [
      "9223372036854775808", "18446744073709551615", "18446744073709551617", "-1", "-9223372036854775808", "0", "1e19",
      "9223372036854775807.5",
    ] {
      tally.countStale(try await send(number, "number \(number)"))
    }
    try await scene.expectOwner("the highest", &tally)
    if stage.guarding == .fenced {
      let floor = try await scene.resource.floor(of: stage.name)
      tally.expect(floor == highest, "the floor is \(floor ?? 0)")
      try await sendIncarnations(forge, scene, &tally)
    }
    return tally
  }

  /// The incarnation stands above the number, and has the same bound.
  private func sendIncarnations(_ forge: TokenForge, _ scene: Handover, _ tally: inout Tally) async throws {
    for incarnation in ["9223372036854775808", "-1"] {
      let token = try forge.token(["incarnation": incarnation, "number": "7"])
      tally.countStale(await scene.resource.send(scene.write("incarnation \(incarnation)"), proofs: [token]))
    }
    let highest = try forge.token(["incarnation": "\(Int64.max)", "number": "1"])
    let answer = await scene.resource.send(scene.write("the highest incarnation"), proofs: [highest])
    tally.expect(answer.isAccepted, "the highest incarnation: \(answer.summary)")
    let below = try forge.token(["number": "\(Int64.max)"])
    tally.countStale(await scene.resource.send(scene.write("the incarnation before"), proofs: [below]))
  }
}
