// Scenarios 12 and 13: the gateway dies at a bad moment. What a cut of the power leaves on the disk beyond that is enumerated
// state by state elsewhere (docs/crash-testing.md); a process that is killed leaves what it had given to the system.

import Foundation

struct KilledAfterAcknowledgement: Scenario {
  let number = 12
  let title = "the gateway is killed at the moment of an acknowledgement"
  let expectation = "floor and data are both there; the holder before is refused"

  func play(on stage: Stage) async throws -> Tally {
    var tally = Tally()
    let gateway = try await stage.startGateway()
    let resource = GatewayResource(address: gateway.address)
    let writers = try (0..<(stage.isShort ? 3 : 10)).map {
      try stage.startWriter("holder-\($0)", gateway: gateway.address)
    }
    var acknowledged = 0
    for (place, writer) in writers.enumerated() {
      var order = AcquireOrder([stage.name])
      // So that the floor rises with the first write, in its transaction.
      order.barrier = .off
      order.milliseconds = 30_000
      let held = try await writer.acquire(order)[0]
      if place == 0 { try await writer.mustSend(stage.request("CREATE TABLE kept(who TEXT, n INTEGER)")) }
      for n in 0..<5 {
        try await writer.mustSend(stage.request("INSERT INTO kept VALUES ('\(writer.holder)', \(n))"))
        acknowledged += 1
      }
      await gateway.kill()
      try await gateway.start()
      let rows = try await resource.read("SELECT count(*) FROM kept", on: stage.name).value
      let missing = acknowledged - (Int(rows ?? "") ?? 0)
      if missing != 0 { tally.lostUpdates += missing }
      if stage.guarding == .fenced {
        let floor = try await resource.floor(of: stage.name) ?? 0
        tally.expect(floor == held.number, "the floor is \(floor) after the number \(held.number) was acknowledged")
      }
      if place > 0 {
        let late = stage.request("UPDATE kept SET who = 'late'")
        tally.countStale(try await writers[place - 1].send(late))
      }
      try await stage.end(held)
    }
    tally.note("\(writers.count) kills, \(acknowledged) acknowledged writes")
    tally.note("a cut of the power itself is covered by the enumeration of crash states (docs/crash-testing.md)")
    return tally
  }
}

struct KilledWhileWriting: Scenario {
  let number = 13
  let title = "the gateway is killed between raise and write, at random moments"
  let expectation = "both or neither of each transaction"

  /// One after another, each with a higher number, and one request that raises the floor and writes to two tables.
  func play(on stage: Stage) async throws -> Tally {
    var tally = Tally()
    let proxy = try await CutProxy.start(to: stage.core.endpoints)
    let gateway = try await stage.startGateway(endpoints: proxy.endpoint)
    let writer = try stage.startWriter("holder", gateway: gateway.address)
    var held = try await writer.acquire(stage.name, milliseconds: 30_000)
    try await writer.mustSend(stage.request("CREATE TABLE first(n INTEGER)", "CREATE TABLE second(n INTEGER)"))
    var old: [Held] = []
    var (whole, answered) = (0, 0)
    let rounds = stage.isShort ? 8 : 100
    for _ in 0..<rounds {
      // With this the gateway has the cluster's keys; then only the request itself can raise the floor.
      try await writer.mustSend(stage.request("DELETE FROM first WHERE n < 0"))
      try await proxy.hold(.toServer, .toClient)
      old.append(held)
      try await stage.end(held)
      var order = AcquireOrder([stage.name])
      (order.barrier, order.milliseconds) = (.off, 30_000)
      held = try await writer.acquire(order)[0]
      let answer = try await Self.write(held.number, by: writer, andKill: gateway, stage)
      let state = try await AfterCrash.look(at: stage, for: held.number)
      judge(state, held.number, answer, stage, into: &tally)
      whole += state.isInFirst ? 1 : 0
      answered += answer.isAccepted ? 1 : 0
      try await proxy.breakConnections()
      try await proxy.release()
      try await gateway.start()
    }
    try await writer.mustSend(stage.request("DELETE FROM first WHERE n < 0"))
    try await sendLate(old, GatewayResource(address: gateway.address), stage, into: &tally)
    tally.note("\(rounds) kills: \(whole) transactions are there (\(answered) answered), \(rounds - whole) are not")
    await proxy.stop()
    return tally
  }

  private static func write(
    _ number: Int64, by writer: Writer, andKill gateway: ServerProcess, _ stage: Stage
  ) async throws -> ResourceAnswer {
    async let sent = writer.send(
      stage.request("INSERT INTO first VALUES (\(number))", "INSERT INTO second VALUES (\(number))"))
    // A random moment is the point of the scenario; a commit takes a millisecond or two.
    try await Task.sleep(for: .microseconds(Int.random(in: 0..<5000)))
    await gateway.kill()
    return try await sent
  }

  private func judge(
    _ state: AfterCrash.State, _ number: Int64, _ answer: ResourceAnswer, _ stage: Stage, into tally: inout Tally
  ) {
    let isThere = state.isInFirst
    tally.expect(state.isInSecond == isThere, "of number \(number) one of two rows is there")
    tally.expect(
      stage.guarding == .unfenced || (state.floor == number) == isThere,
      "the floor is \(state.floor), and the row of number \(number) is \(isThere ? "there" : "not there")")
    if answer.isAccepted && !isThere { tally.lostUpdates += 1 }
  }

  /// Every holder but the last comes again.
  private func sendLate(
    _ old: [Held], _ resource: GatewayResource, _ stage: Stage, into tally: inout Tally
  ) async throws {
    for held in old {
      let request = stage.request("INSERT INTO first VALUES (-\(held.number))")
      let proofs = stage.guarding == .fenced ? [held.proof] : []
      tally.countStale(await resource.send(request, proofs: proofs))
    }
  }
}
