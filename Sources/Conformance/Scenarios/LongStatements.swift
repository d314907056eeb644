// Scenarios 4 and 5: authority ends while a request of the holder is at work.

/// A request of three rows, between which much time passes.
private func longRequest(_ stage: Stage, _ slowCount: String) -> ResourceRequest {
  stage.request(
    "INSERT INTO part VALUES ('first')", "INSERT INTO part VALUES ('counted ' || \(slowCount))",
    "INSERT INTO part VALUES ('last')", "UPDATE counter SET n = n + 1")
}

private func prepare(_ scene: Handover) async throws {
  try await scene.a.mustSend(
    scene.stage.request("CREATE TABLE part(name TEXT)", "CREATE TABLE counter(n)", "INSERT INTO counter VALUES (0)"))
}

private func parts(_ scene: Handover) async throws -> Int {
  Int(try await scene.resource.read("SELECT count(*) FROM part", on: scene.stage.name).value ?? "") ?? -1
}

struct LeaseEndsDuringRequest: Scenario {
  let number = 4
  let title = "the lease ends in the middle of a request, and nobody took over"
  let expectation = "it may commit, whole or not at all; after a raise refused"

  func play(on stage: Stage) async throws -> Tally {
    var tally = Tally()
    let scene = try await Handover.start(on: stage, milliseconds: 500)
    try await prepare(scene)
    let slow = try await stage.slowCount(.milliseconds(1200), at: scene.resource)
    async let ended: Void = stage.waitForEnd(of: scene.authorityOfA)
    async let answered = scene.a.send(longRequest(stage, slow))
    try await stage.waitUntilBusy(scene.resource)
    try await scene.a.pause()
    try await ended
    let wasInTheMiddle = try await scene.resource.isBusy
    scene.a.resume()
    let answer = try await answered
    if !wasInTheMiddle { tally.miss("the request was done before the lease ended, on this machine at this moment") }
    let rows = try await parts(scene)
    tally.expect(rows == (answer.isAccepted ? 3 : 0), "\(rows) of 3 rows are there after \(answer.summary)")
    tally.note(
      "the request whose lease ended was \(answer.isAccepted ? "committed whole" : "not committed (\(answer.status))")")
    // The raise comes with B's grant.
    try await scene.b.acquire(stage.name)
    try await scene.writeLate(into: &tally)
    try await scene.expectOwner("A", &tally)
    return tally
  }
}

struct RaiseDuringStatement: Scenario {
  let number = 5
  let title = "B's raise comes during A's long statement"
  let expectation = "A commits first or is refused; never in between"

  func play(on stage: Stage) async throws -> Tally {
    var tally = Tally()
    let scene = try await Handover.start(on: stage, milliseconds: 30_000)
    try await prepare(scene)
    let slow = try await stage.slowCount(.milliseconds(800), at: scene.resource)
    async let answered = scene.a.send(longRequest(stage, slow))
    try await stage.waitUntilBusy(scene.resource)
    try await stage.end(scene.authorityOfA)
    try await scene.b.acquire(stage.name)
    // What B reads now, with its grant in hand, is what it decides on.
    let seen = try await parts(scene)
    let counter = try await scene.resource.read("SELECT n FROM counter", on: stage.name).value ?? ""
    try await scene.b.mustSend(stage.request("UPDATE counter SET n = \(counter) + 1"))
    let answer = try await answered
    let rows = try await parts(scene)
    tally.expect(
      [0, 3].contains(seen) && rows == (answer.isAccepted ? 3 : 0), "in between: B saw \(seen) rows, then \(rows)")
    if seen == 0 {
      // A's request was under way when B was granted, and nothing of it may come any more.
      tally.countStale(answer)
      if rows > 0 { tally.lostUpdates += 1 }
    } else {
      tally.miss("A's request was committed before B was granted, on this machine at this moment")
    }
    try await scene.writeLate(into: &tally)
    return tally
  }
}
