// Scenarios 1 and 2: a holder that stands still for longer than its lease, and goes on as if nothing had happened.

struct PausedHolder: Scenario {
  let number = 1
  let title = "the holder stops past its lease, B acquires and writes, A goes on and writes"
  let expectation = "A is refused; the data is B's"

  func play(on stage: Stage) async throws -> Tally {
    var tally = Tally()
    let scene = try await Handover.start(on: stage)
    try await scene.a.pause()
    // B is granted when A's lease has ended, which the core decides.
    let new = try await scene.b.acquire(stage.scope)
    tally.expect(
      new.isNewer(than: scene.authorityOfA), "B's number \(new.number) is not above \(scene.authorityOfA.number)")
    try await scene.b.mustSend(scene.write("B"))
    scene.a.resume()
    try await scene.writeLate(into: &tally)
    try await scene.expectOwner("B", &tally)
    return tally
  }
}

struct PausedBeforeFirstWrite: Scenario {
  let number = 2
  let title = "as 1, and B has acquired and not yet written"
  let expectation = "refused with the barrier; without it A's writes may land until B's first"

  func play(on stage: Stage) async throws -> Tally {
    var tally = Tally()
    let scene = try await Handover.start(on: stage)
    try await scene.a.pause()
    let new = try await scene.b.acquire(stage.scope)
    tally.expect(
      stage.guarding == .unfenced || new.isConfirmed, "B was granted without the gateway's word, with the barrier on")
    scene.a.resume()
    try await scene.writeLate(into: &tally)
    try await scene.expectOwner("A", &tally)
    if stage.outside != nil {
      tally.note("without the part that has no barrier, which needs a gateway of the run's own")
    }
    if stage.guarding == .fenced && stage.outside == nil { try await playPlain(on: stage, &tally) }
    return tally
  }

  /// The plain mode, with a gateway that cannot hear of B's grant. What lands before B's first write is documented and not
  /// counted as stale; what comes after is.
  private func playPlain(on stage: Stage, _ tally: inout Tally) async throws {
    let proxy = try await CutProxy.start(to: stage.core.endpoints)
    let database = stage.database("-plain")
    let gateway = try await stage.startGateway([database], endpoints: proxy.endpoint)
    let a = try stage.startWriter("A", gateway: gateway.address)
    let b = try stage.startWriter("B", gateway: gateway.address)
    var order = AcquireOrder([database.name])
    order.barrier = .off
    _ = try await a.acquire(order)
    try await a.mustSend(stage.request("CREATE TABLE log(who TEXT)", on: database.name))
    try await proxy.cut(.toServer, .toClient)
    try await a.pause()
    let new = try await b.acquire(order)[0]
    tally.expect(!new.isConfirmed, "a gateway that was cut off confirmed a raise")
    a.resume()
    let insertion = stage.request("INSERT INTO log VALUES ('A')", on: database.name)
    let early = try await a.send(insertion)
    try await b.mustSend(stage.request("INSERT INTO log VALUES ('B')", on: database.name))
    tally.countStale(try await a.send(insertion))
    tally.note(
      "without the barrier, at a gateway cut off from the core: A's write before B's first was "
        + (early.isAccepted ? "taken" : "refused (\(early.status))") + ", as documented; the one after it is counted")
    await proxy.stop()
  }
}
