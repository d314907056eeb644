// Scenarios 7, 8 and 24: a holder that the network keeps from the core, and one that comes back after its lease.

struct HolderCutOff: Scenario {
  let number = 7
  let title = "A is cut off from the core, and not from the gateway"
  let expectation = "A takes its grant for lost before anybody else has it; writing on, it is refused"

  func play(on stage: Stage) async throws -> Tally {
    try await playCut([.toServer, .toClient], on: stage)
  }
}

struct AnswersCutOff: Scenario {
  let number = 8
  let title = "only what the core answers to A is lost; A's renewals arrive"
  let expectation =
    "A takes its grant for lost at its own deadline all the same, and a whole connection brings nothing back"

  func play(on stage: Stage) async throws -> Tally {
    try await playCut([.toClient], on: stage)
  }
}

/// A holds, B stands in line, and A's way to the core is cut in some directions.
private func playCut(_ directions: [CutProxy.Direction], on stage: Stage) async throws -> Tally {
  var tally = Tally()
  let gateway = try await stage.startGateway()
  let proxy = try await CutProxy.start(to: stage.core.endpoints)
  let scene = try await Handover.start(
    on: stage, gateway: gateway, endpointsOfA: proxy.endpoint, milliseconds: 1500)
  async let next = scene.b.acquire(stage.scope)
  if stage.outside?.showsLine ?? true {
    try await stage.withClient { client in
      while try await client.describe(stage.scope).waiting.isEmpty { try Task.checkCancellation() }
    }
  }
  try await proxy.cut(directions)
  let loss = try await scene.a.waitUntilLost()
  tally.expect(loss.why.contains("deadline"), "A lost its grant otherwise than at its deadline: \(loss.why)")
  try await proxy.cut([])
  let new = try await next
  // Both by the clock of this machine: a holder that looks at its deadline never writes beside its successor.
  tally.expect(loss.nanoseconds <= new.nanoseconds, "B had the scope before A took it for lost")
  tally.note(
    "A took its grant for lost \((Int64(new.nanoseconds) - Int64(loss.nanoseconds)) / 1_000_000) ms before B was granted"
  )
  try await scene.b.mustSend(scene.write("B"))
  // A does not look at what it knows, and still reaches the gateway.
  try await scene.writeLate(into: &tally)
  try await scene.expectOwner("B", &tally)
  await proxy.stop()
  return tally
}

struct HolderComesBack: Scenario {
  let number = 24
  let title = "A acquires again after its lease ended, and its own older writes arrive"
  let expectation = "a new, higher number; the older writes are refused"

  func play(on stage: Stage) async throws -> Tally {
    var tally = Tally()
    let gateway = try await stage.startGateway()
    let proxy = try await CutProxy.start(to: stage.core.endpoints)
    let scene = try await Handover.start(
      on: stage, gateway: gateway, endpointsOfA: proxy.endpoint, milliseconds: 1000)
    let old = scene.authorityOfA
    try await proxy.cut([.toServer, .toClient])
    _ = try await scene.a.waitUntilLost()
    try await proxy.cut([])
    let new = try await scene.a.acquire(stage.scope, milliseconds: 30_000)
    tally.expect(
      new.isNewer(than: old),
      "A's new number \(new.number) is not above its old one, \(old.number), or its token is old")
    try await scene.a.mustSend(scene.write("A, anew"))
    var late = scene.write("A, before")
    for kind in [ResourceRequest.Kind.execute, .request, .execute] {
      late.kind = kind
      if stage.guarding == .fenced { late.otherProofs = [old.proof] }
      tally.countStale(try await scene.a.send(late))
    }
    try await scene.expectOwner("A, anew", &tally)
    await proxy.stop()
    return tally
  }
}
