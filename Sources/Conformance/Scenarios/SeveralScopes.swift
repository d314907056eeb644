// Scenario 26: one request under the tokens of several scopes, of which one is stale.

struct SeveralScopes: Scenario {
  let number = 26
  let title = "one request over several scopes, one of them stale"
  let expectation = "all of it is refused, and no floor rises"

  func play(on stage: Stage) async throws -> Tally {
    var tally = Tally()
    // A database that is declared open has no scopes of its tables, which would be closed all the same.
    var database = stage.database()
    let stock = stage.name + "-stock"
    if stage.guarding == .fenced { database.tableScopes = [(stock, ["stock"])] }
    let gateway = try await stage.startGateway([database])
    let resource = GatewayResource(address: gateway.address)
    let a = try stage.startWriter("A", gateway: gateway.address)
    let b = try stage.startWriter("B", gateway: gateway.address)
    var both = AcquireOrder([stage.name, stock])
    both.milliseconds = 30_000
    let held = try await a.acquire(both)
    try await a.mustSend(
      stage.request(
        "CREATE TABLE orders(who TEXT)", "CREATE TABLE stock(who TEXT)", "INSERT INTO orders VALUES ('A')",
        "INSERT INTO stock VALUES ('A')"))
    try await stage.end(held[0])
    // B takes over one of the two; the other is nobody's, and A's token of it is not below its floor.
    try await b.acquire(stock, milliseconds: 30_000)
    try await b.mustSend(stage.request("UPDATE stock SET who = 'B'"))
    let floor = try await resource.floor(of: stage.name)
    let move = stage.request("UPDATE orders SET who = 'A, too late'", "UPDATE stock SET who = 'A, too late'")
    for order in [move, Self.reversed(move)] { tally.countStale(try await a.send(order)) }
    for (table, owner) in [("orders", "A"), ("stock", "B")] {
      let value = try await resource.read("SELECT who FROM \(table)", on: stage.name).value
      if value != owner { tally.lostUpdates += 1 }
    }
    if stage.guarding == .fenced {
      tally.expect(try await resource.floor(of: stage.name) == floor, "a refused request moved the other floor")
      // The other scope alone is still A's to write, as far as the file knows.
      var alone = stage.request("UPDATE orders SET who = 'A, alone'")
      alone.otherProofs = [held[0].proof]
      let answer = try await a.send(alone)
      tally.expect(answer.isAccepted, "under the scope that is not stale: \(answer.summary)")
    }
    return tally
  }

  private static func reversed(_ request: ResourceRequest) -> ResourceRequest {
    var request = request
    request.statements.reverse()
    return request
  }
}
