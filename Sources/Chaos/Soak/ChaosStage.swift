// The processes of a soak: the nodes behind their proxy, the gateways with their databases, and the controls of the
// faults of each.

import Conformance
import Foundation

/// Used by one task at a time, but for the values.
final class ChaosStage {
  let directory: String
  let cluster: FaultsCluster
  let gateways: [ChaosGateway]
  /// Of each node; none where no fault needs it.
  let nodeControls: [FaultControl]

  init(_ settings: ChaosSettings, on deployment: Deployment) async throws {
    directory = settings.directory
    let needsInjector = settings.faults.contains { $0.needsInjector }
    func controls(_ count: Int) throws -> [FaultControl] {
      guard needsInjector else { return [] }
      return try (0..<count).map { _ in try FaultControl(for: settings.executable, below: settings.directory) }
    }
    nodeControls = try controls(settings.nodes)
    cluster = try await FaultsCluster(
      on: deployment, nodes: settings.nodes, flags: ["--log-level", "info", "--snapshot-count", "10000"],
      environments: nodeControls.map(\.environment))
    try await cluster.start()
    _ = try await cluster.leader()
    let gatewayControls = try controls(settings.gateways)
    var gateways: [ChaosGateway] = []
    for place in 0..<settings.gateways {
      let scopes = (0..<ChaosSettings.scopesOfEachGateway).map { $0 * settings.gateways + place }
      let control = gatewayControls.isEmpty ? nil : gatewayControls[place]
      let databases = scopes.map {
        DatabaseSetup(Self.database($0), at: "\(settings.directory)/\(Self.database($0)).db")
      }
      let process = try await deployment.startGateway(
        databases, endpoints: cluster.core.endpoints, environment: control?.environment ?? [:])
      gateways.append(ChaosGateway(name: "gateway-\(place)", process: process, scopes: scopes, control: control))
    }
    self.gateways = gateways
  }

  /// The name of a scope and of its database.
  static func database(_ scope: Int) -> String { "ledger\(scope)" }

  func gateway(of scope: Int) -> ChaosGateway { gateways[scope % gateways.count] }

  /// As a crash of the whole machine's processes would have it, and all of them again.
  func restartAll() async throws {
    try await killAll()
    // A fault that did not come to its end must not outlive its run.
    try await cluster.proxy.heal()
    for control in nodeControls + gateways.compactMap(\.control) { control.clear() }
    try await launchAll()
  }

  func killAll() async throws {
    for gateway in gateways { await gateway.process.kill() }
    try await cluster.kill(Array(cluster.nodes))
  }

  func launchAll() async throws {
    for node in cluster.nodes { try await cluster.launch(node) }
    for gateway in gateways { try gateway.process.launch() }
  }

  func checkAlive() throws {
    try cluster.checkAlive()
    for gateway in gateways { try gateway.checkAlive() }
  }

  /// For a report of a failure.
  var complaints: String {
    let gateways = gateways.map { "\($0.name): \($0.process.program?.errors.suffix(4000) ?? "")" }
    return ([cluster.complaints] + gateways).joined(separator: "\n")
  }
}

struct ChaosGateway: Sendable {
  let name: String
  let process: ServerProcess
  /// What it serves, a database for each.
  let scopes: [Int]
  let control: FaultControl?

  var resource: GatewayResource { GatewayResource(address: process.address) }

  func checkAlive() throws {
    guard let program = process.program, program.hasEnded else { return }
    throw FaultsCluster.Trouble(description: "\(name) ended by itself: \(program.errors.suffix(4000))")
  }

  /// Waits until every database takes writes.
  func waitUntilServing() async throws {
    _ = try await eventually(within: ChaosSettings.patienceSeconds, "the readiness of \(name)") {
      try checkAlive()
      let answer = await resource.call("GET", "/readyz", timeout: .seconds(2))
      return answer.status == 200 ? true : nil
    }
  }

  /// Every row of a database behind the last that is known, in the order of insertion.
  func rows(of scope: Int, after last: Int) async throws -> (rows: [StoredRow], last: Int) {
    let page = 2000
    var (rows, last): ([StoredRow], Int) = ([], last)
    while true {
      let answer = try await eventually(within: ChaosSettings.patienceSeconds, "the rows of scope \(scope)") {
        let answer = await resource.send(
          ResourceRequest(
            ChaosStage.database(scope),
            "SELECT place, id, number, holder FROM rows WHERE place > \(last) ORDER BY place LIMIT \(page)",
            kind: .query), proofs: [])
        return answer.isAccepted ? answer.rows : nil
      }
      for row in answer {
        let numbers = row.compactMap { $0.flatMap { Int($0) } }
        guard numbers.count == 4 else {
          throw FaultsCluster.Trouble(description: "a row of scope \(scope) cannot be read: \(row)")
        }
        last = numbers[0]
        rows.append(StoredRow(id: numbers[1], number: Int64(numbers[2]), holder: numbers[3]))
      }
      if answer.count < page { return (rows, last) }
    }
  }
}
