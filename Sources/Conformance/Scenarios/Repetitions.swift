// Scenarios 16 and 17: the same request comes again. A fence does not stop the same holder's duplicates; a key does. The
// negative control is a resource that knows no keys: the same requests go without.

/// A counter that each request raises by one, so that one which is carried out twice shows.
private struct Counter {
  let stage: Stage
  let scene: Handover

  private var table: String { stage.table("counter") }

  /// As the gateway has it, which keeps the keys of other runs too.
  func key(_ name: String) -> String { "\(stage.mark)-\(name)" }

  func prepare() async throws {
    try await scene.a.mustSend(stage.request("CREATE TABLE \(table)(n INTEGER)", "INSERT INTO \(table) VALUES (0)"))
  }

  func raise(_ key: String) -> ResourceRequest {
    stage.request("UPDATE \(table) SET n = n + 1", key: stage.guarding == .fenced ? self.key(key) : nil)
  }

  func value() async throws -> Int {
    Int(try await scene.resource.read("SELECT n FROM \(table)", on: stage.name).value ?? "") ?? -1
  }

  /// Sends a request that was carried out before: whoever sends it again must not change anything.
  func repeatOnce(_ key: String, by writer: Writer, into tally: inout Tally) async throws -> ResourceAnswer {
    let before = try await value()
    let answer = try await writer.send(raise(key))
    let change = try await value() - before
    tally.staleAttempts += 1
    tally.landed += change
    if change == 0 { tally.refusals += 1 }
    return answer
  }
}

struct RepeatedRequest: Scenario {
  let number = 16
  let title = "a request is sent again with the same id"
  let expectation = "the stored answer, applied once; after eviction an error"

  func play(on stage: Stage) async throws -> Tally {
    var tally = Tally()
    let scene = try await Handover.start(on: stage, milliseconds: 30_000)
    let counter = Counter(stage: stage, scene: scene)
    try await counter.prepare()
    let first = try await scene.a.mustSend(counter.raise("order-1"))
    for _ in 0..<3 {
      let again = try await counter.repeatOnce("order-1", by: scene.a, into: &tally)
      if stage.guarding == .fenced {
        tally.expect(again.isReplayed && again.body == first.body, "another answer: \(again.summary)")
      }
    }
    guard stage.guarding == .fenced else { return tally }
    let other = try await scene.a.send(stage.request("DELETE FROM counter", key: counter.key("order-1")))
    tally.expect(other.problem == "key-taken", "another request under the key: \(other.summary)")
    try await stage.end(scene.authorityOfA)
    let new = try await scene.b.acquire(stage.name, milliseconds: 30_000)
    let late = try await counter.repeatOnce("order-1", by: scene.a, into: &tally)
    tally.expect(late.isReplayed, "a stale holder asks what became of its request: \(late.summary)")
    tally.countStale(try await scene.a.send(counter.raise("order-2")))
    try await evict(scene, under: new.proof)
    let gone = try await counter.repeatOnce("order-1", by: scene.a, into: &tally)
    tally.expect(gone.problem == "answer-gone", "after eviction: \(gone.summary)")
    return tally
  }

  /// Fills the room that there is for answers, 64 MiB, with larger ones.
  private func evict(_ scene: Handover, under token: String) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for place in 0..<5 {
        let request = scene.stage.request(
          "UPDATE owner SET who = 'B'", "SELECT hex(zeroblob(7500000))", kind: .request, key: "large-\(place)")
        group.addTask {
          let answer = await scene.resource.send(request, proofs: [token])
          guard answer.status == 200 else { throw ConformanceError("a large answer: \(answer.summary)") }
        }
      }
      try await group.waitForAll()
    }
  }
}

struct UnknownOutcome: Scenario {
  let number = 17
  let title = "a request whose outcome is unknown is sent again"
  let expectation = "applied once; its outcome can be asked for by its id"

  func play(on stage: Stage) async throws -> Tally {
    var tally = Tally()
    let gateway = try await stage.startGateway()
    let proxy = try await CutProxy.start(to: gateway.address)
    let scene = try await Handover.start(
      on: stage, gateway: gateway, gatewayForA: proxy.endpoint, milliseconds: 30_000)
    let counter = Counter(stage: stage, scene: scene)
    try await counter.prepare()
    // The answer is lost, after the commit.
    try await proxy.hold(.toClient)
    async let lost = scene.a.send(counter.raise("order-1"))
    try await proxy.waitUntilHeld()
    try await proxy.breakConnections()
    let outcome = try await lost
    tally.expect(outcome.isUnanswered, "an answer that was lost arrived: \(outcome.summary)")
    try await proxy.release()
    if stage.guarding == .fenced {
      let known = await scene.resource.call("GET", "/db/\(stage.name)/requests/\(counter.key("order-1"))")
      tally.expect(known.isAccepted, "asked for by its id: \(known.summary)")
    }
    _ = try await counter.repeatOnce("order-1", by: scene.a, into: &tally)
    guard stage.guarding == .fenced else { return tally }
    try await loseRequest(counter, proxy, &tally)
    // After the hand-over the outcome can still be learnt, and nothing new can be done.
    try await stage.end(scene.authorityOfA)
    try await scene.b.acquire(stage.scope, milliseconds: 30_000)
    let late = try await counter.repeatOnce("order-1", by: scene.a, into: &tally)
    tally.expect(late.isReplayed, "after the hand-over: \(late.summary)")
    tally.countStale(try await scene.a.send(counter.raise("order-3")))
    await proxy.stop()
    return tally
  }

  /// The request itself is lost: nobody knows its id, and to send it again is its first time.
  private func loseRequest(_ counter: Counter, _ proxy: CutProxy, _ tally: inout Tally) async throws {
    let (stage, scene) = (counter.stage, counter.scene)
    let before = try await counter.value()
    try await proxy.hold(.toServer)
    async let lost = scene.a.send(counter.raise("order-2"))
    try await proxy.waitUntilHeld()
    try await proxy.breakConnections()
    _ = try await lost
    try await proxy.release()
    let unknown = await scene.resource.call("GET", "/db/\(stage.name)/requests/\(counter.key("order-2"))")
    tally.expect(unknown.status == 404, "a request that never arrived is known: \(unknown.summary)")
    try await scene.a.mustSend(counter.raise("order-2"))
    let change = try await counter.value() - before
    tally.expect(change == 1, "a request that was lost and sent again was applied \(change) times")
  }
}
