// Where one play of a scenario takes place: its own directory, database and processes beside a core that may be shared.

package import Client
import Foundation

package struct Stage: Sendable {
  package let deployment: Deployment
  /// One core for all plays of a run. What pauses or kills nodes starts a core of its own (`deployment.startCore`).
  package var core: CoreProcesses
  package let guarding: Guarding
  /// Of this play alone.
  package let directory: String
  /// A name for the play's database and scope, which nobody else of the run uses.
  package let name: String
  /// Whether there is little time: fewer repetitions, and shorter ones.
  package let isShort: Bool
  /// Where the play takes place with what the run did not start; nil where core and gateway are the run's own.
  package var outside: Outside?
  /// A name that no other play has, of any run; nil where `name` is one.
  var ownMark: String?

  package var mark: String { ownMark ?? name }

  /// The scope of the play's database.
  package var scope: String {
    if case .running(let system) = outside { system.scope } else { name }
  }

  /// The tables that plays make in a database which is not the run's own.
  static let tables = ["owner", "counter", "lockset"]

  /// A table's name as the play has it, in a database where there may be others.
  package func table(_ name: String) -> String {
    guard case .running = outside else { return name }
    precondition(Self.tables.contains(name), "the table \(name) would be left behind")
    return "\(mark)_\(name)".replacingOccurrences(of: "-", with: "_")
  }

  /// The play's database, fenced or open as the play has it.
  package func database(_ suffix: String = "") -> DatabaseSetup {
    var setup = DatabaseSetup(name + suffix, at: "\(directory)/\(name)\(suffix).db")
    setup.isOpen = guarding == .unfenced
    return setup
  }

  /// Starts a gateway on the play's database, or on others, and waits until the core counts on it: from then on the barrier
  /// holds for their scopes. An open database has no barrier.
  /// - Parameter endpoints: in the place of the core's, such as a proxy's.
  package func startGateway(
    _ databases: [DatabaseSetup]? = nil, endpoints: String? = nil, flags: [String] = [],
    environment: [String: String] = [:]
  ) async throws -> ServerProcess {
    if let outside { return .elsewhere(at: outside.resourceAddress) }
    let databases = databases ?? [database()]
    let gateway = try await deployment.startGateway(
      databases, endpoints: endpoints ?? core.endpoints, flags: flags, environment: environment)
    try await waitUntilRegistered(databases)
    return gateway
  }

  /// Returns when the core waits for a connected gateway before it grants the databases' scopes.
  package func waitUntilRegistered(_ databases: [DatabaseSetup]) async throws {
    let scopes = Set(databases.filter { !$0.isOpen }.flatMap(\.scopes))
    // A node knows of the gateways that are connected to it.
    let clients = try core.nodes.map { Portcullis(endpoints: try Endpoint.list(parsing: $0.address)) }
    defer { for client in clients { client.close() } }
    while true {
      var missing = scopes
      for client in clients {
        try Task.checkCancellation()
        // One of them may be down; then another has to have it.
        let gateways = (try? await client.gateways()) ?? []
        missing.subtract(gateways.filter(\.isConnected).flatMap(\.scopes))
      }
      if missing.isEmpty { return }
    }
  }

  /// Starts a writer that reaches the core and the gateway as they are, or through proxies.
  package func startWriter(
    _ holder: String, gateway: String, endpoints: String? = nil, environment: [String: String] = [:]
  ) throws -> Writer {
    var flags: [String] = []
    var environment = environment
    switch outside {
    case .adapter: flags.append("--adapter")
    case .running(let system):
      flags.append("--running")
      environment.merge(system.access.environment) { $1 }
    case nil: break
    }
    return try deployment.startWriter(
      holder, endpoints: endpoints ?? core.endpoints, gateway: gateway, environment: environment, flags: flags,
      outlivesInterrupt: outside != nil)
  }

  /// A gateway's own interface.
  func gatewayResource(of gateway: ServerProcess) -> GatewayResource {
    guard case .running(let system) = outside else { return GatewayResource(address: gateway.address) }
    return GatewayResource(address: gateway.address, tls: system.access.tls)
  }

  /// What is written to, as the run itself reads it.
  package func resource(of gateway: ServerProcess) -> any Resource {
    switch outside {
    case .adapter: AdapterResource(address: gateway.address, owner: "the run")
    case .running, nil: gatewayResource(of: gateway)
    }
  }

  /// A request that shows its token where the play has a fence.
  /// - Parameter text: the same for a resource that knows no SQL.
  package func request(
    _ statements: String..., text: TextRequest? = nil, kind: ResourceRequest.Kind = .execute, key: String? = nil,
    on database: String? = nil
  ) -> ResourceRequest {
    var request = ResourceRequest(database ?? name, kind: kind, key: key)
    request.statements = statements
    request.text = text
    request.showsProof = guarding == .fenced
    return request
  }

  /// A client of the shared core, closed when `body` is done.
  package func withClient<Result>(
    of endpoints: String? = nil, _ body: (Portcullis) async throws -> Result
  ) async throws -> Result {
    let list = try Endpoint.list(parsing: endpoints ?? core.endpoints)
    let client = if case .running(let system) = outside { system.client(list) } else { Portcullis(endpoints: list) }
    defer { client.close() }
    return try await body(client)
  }
}
