// Scenario 3: what A sent while it held the scope arrives after its successor has written.

struct DelayedPackets: Scenario {
  let number = 3
  let title = "A's packets are delayed past B's write, and arrive in another order"
  let expectation = "refused; the data is B's"

  func play(on stage: Stage) async throws -> Tally {
    var tally = Tally()
    let gateway = try await stage.startGateway()
    let proxy = try await CutProxy.start(to: gateway.address)
    let scene = try await Handover.start(on: stage, gateway: gateway, gatewayForA: proxy.endpoint)
    try await proxy.hold(.toServer)
    let count = 3
    let answers = try await withThrowingTaskGroup(of: ResourceAnswer.self) { group in
      for packet in 1...count {
        group.addTask { try await scene.a.send(scene.write("A, packet \(packet)")) }
      }
      // All of them are on the wire, sent by a holder in good standing.
      try await proxy.waitUntilHeld(connections: count)
      try await scene.a.pause()
      try await scene.b.acquire(stage.scope)
      try await scene.b.mustSend(scene.write("B"))
      try await proxy.release(newestFirst: true)
      scene.a.resume()
      return try await group.reduce(into: []) { $0.append($1) }
    }
    for answer in answers { tally.countStale(answer) }
    try await scene.expectOwner("B", &tally)
    await proxy.stop()
    return tally
  }
}
