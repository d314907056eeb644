// The scene of most scenarios: A holds a scope and has written, and B stands ready to take over.

/// Two writers at one gateway, and a table with one row that says whose it is.
struct Handover: Sendable {
  let stage: Stage
  let gateway: ServerProcess
  let resource: GatewayResource
  let a: Writer
  let b: Writer
  let authorityOfA: Held

  private var table: String { stage.table("owner") }

  /// A holds the scope and has written.
  /// - Parameters:
  ///   - gatewayForA: where A finds the gateway, if that is a proxy.
  ///   - endpointsOfA: where A finds the core, if that is a proxy or not every node.
  ///   - endpointsOfB: likewise.
  ///   - environmentOfA: such as a control of faults.
  ///   - milliseconds: of A's lease.
  static func start(
    on stage: Stage, gateway: ServerProcess? = nil, gatewayForA: String? = nil, endpointsOfA: String? = nil,
    endpointsOfB: String? = nil, environmentOfA: [String: String] = [:], milliseconds: Int = 500
  ) async throws -> Handover {
    let gateway = if let gateway { gateway } else { try await stage.startGateway() }
    let a = try stage.startWriter(
      "A", gateway: gatewayForA ?? gateway.address, endpoints: endpointsOfA, environment: environmentOfA)
    let b = try stage.startWriter("B", gateway: gateway.address, endpoints: endpointsOfB)
    let held = try await a.acquire(stage.scope, milliseconds: milliseconds)
    let owner = stage.table("owner")
    try await a.mustSend(
      stage.request(
        "CREATE TABLE \(owner)(id INTEGER PRIMARY KEY, who TEXT)", "INSERT INTO \(owner) VALUES (1, 'A')",
        text: .write(key: "owner", value: "A")))
    return Handover(
      stage: stage, gateway: gateway, resource: stage.gatewayResource(of: gateway), a: a, b: b,
      authorityOfA: held)
  }

  func write(_ value: String) -> ResourceRequest {
    stage.request("UPDATE \(table) SET who = '\(value)' WHERE id = 1", text: .write(key: "owner", value: value))
  }

  func owner() async throws -> String {
    let reading = stage.request(
      "SELECT who FROM \(table) WHERE id = 1", text: .read(key: "owner"), kind: .query)
    return try await stage.resource(of: gateway).mustRead(reading) ?? ""
  }

  /// A, which does not know better, writes in each way that there is.
  func writeLate(into tally: inout Tally) async throws {
    tally.countStale(try await a.send(write("A, too late")))
    let insertion = "INSERT INTO \(table) VALUES (NULL, 'A, too late')"
    tally.countStale(
      try await a.send(stage.request(insertion, text: .write(key: "another", value: "A, too late"))))
    let deletion = "DELETE FROM \(table) WHERE id > 1"
    tally.countStale(
      try await a.send(stage.request(deletion, text: .write(key: "another", value: ""), kind: .request)))
  }

  /// B's acknowledged value must still be there.
  func expectOwner(_ expected: String, _ tally: inout Tally) async throws {
    let owner = try await owner()
    if owner != expected {
      tally.lostUpdates += 1
      tally.note("the row should be \(expected)'s and is \(owner)'s")
    }
  }
}
