// A core and a gateway of Portcullis that run already, and a database of theirs that its owner gives to a run.
//
// Must never touch what is not the run's own. Its tables are called `conformance_` with the run's id, which is drawn anew each
// time, and only by these names they are dropped; its keys live on leases of its own.

package import Client
import Foundation
import Protocol

package struct RunningSystem: Sendable {
  /// What stands in the way of being let in.
  package struct Access: Sendable {
    package var tls = TLSOptions()
    package var credentials: Credentials?
    /// The same for a writer: its arguments can be seen by everybody.
    package var environment: [String: String] = [:]

    package init(
      tls: TLSOptions = TLSOptions(), credentials: Credentials? = nil, environment: [String: String] = [:]
    ) {
      (self.tls, self.credentials, self.environment) = (tls, credentials, environment)
    }
  }

  /// Of core nodes, with commas.
  package let endpoints: String
  /// The gateway's, with its scheme where that is https.
  package let gateway: String
  package let database: String
  package let scope: String
  /// One that takes writes without a token, for the negative control.
  package let openDatabase: String?
  package let access: Access

  /// Looks whether everything is there and belongs together, and changes nothing.
  /// - Throws: `OutsideError` or `ClientError` with what is missing.
  package static func find(
    core: [Endpoint], gateway: Endpoint, database: String, openDatabase: String?, access: Access
  ) async throws -> RunningSystem {
    let resource = GatewayResource(address: gateway.description, tls: access.tls)
    let declared = try await resource.databases()
    func find(_ name: String) throws -> GatewayResource.Database {
      if let found = declared.first(where: { $0.name == name }) { return found }
      let names = declared.map(\.name).joined(separator: ", ")
      throw OutsideError(
        isUnreachable: false, "the gateway at \(gateway) has no database \"\(name)\"; it has: \(names)")
    }
    let fenced = try find(database)
    guard !fenced.open else {
      throw OutsideError(
        isUnreachable: false,
        "the database \"\(database)\" is open: it takes writes without a token, so nothing can be shown with it; it may be"
          + " --open-database")
    }
    if let openDatabase, try !find(openDatabase).open {
      throw OutsideError(
        isUnreachable: false,
        "the database \"\(openDatabase)\" of --open-database is protected; the gateway has to be started with --open for it"
      )
    }
    let system = RunningSystem(
      endpoints: core.map(\.description).joined(separator: ","), gateway: gateway.description, database: database,
      scope: fenced.scope, openDatabase: openDatabase, access: access)
    try await system.expectFree()
    try await system.expectRegistered()
    return system
  }

  func client(_ endpoints: [Endpoint]) -> Portcullis {
    Portcullis(endpoints: endpoints, tls: access.tls, credentials: access.credentials)
  }

  private func expectFree() async throws {
    let client = client(try Endpoint.list(parsing: endpoints))
    defer { client.close() }
    let description = try await client.describe(scope)
    guard let grant = description.grant ?? description.sharers.first else { return }
    throw OutsideError(
      isUnreachable: false, isHeld: true,
      "the scope \"\(scope)\" is held by \"\(grant.holder)\": name a database that nobody works with, and that is for this"
        + " alone")
  }

  private static let patience = Duration.seconds(5)

  /// A node knows of the gateways that are connected to it. One that was just started needs a moment.
  private func expectRegistered() async throws {
    let end = ContinuousClock.now + Self.patience
    repeat {
      for endpoint in try Endpoint.list(parsing: endpoints) {
        let client = client([endpoint])
        defer { client.close() }
        if try await client.gateways().contains(where: { $0.isConnected && $0.scopes.contains(scope) }) { return }
      }
      // There is no watch on gateways.
      try await Task.sleep(for: .milliseconds(100))
    } while ContinuousClock.now < end
    throw OutsideError(
      isUnreachable: false,
      "no gateway for the scope \"\(scope)\" is connected to \(endpoints): either the gateway at \(gateway) belongs to another"
        + " core, or --core does not name the node that it is connected to; name all of them")
  }

  /// Ends leases of the run's own. Most are over already.
  func end(_ leases: [Int64]) async {
    guard let list = try? Endpoint.list(parsing: endpoints) else { return }
    let client = client(list)
    defer { client.close() }
    for lease in Set(leases) {
      var request = Etcdserverpb_LeaseRevokeRequest()
      request.id = lease
      // One that is not there is no longer in anybody's way, and one that cannot be ended now ends by itself.
      _ = try? await client.call(
        RPCPath.Lease.leaseRevoke, request, as: Etcdserverpb_LeaseRevokeResponse.self, isRepeatable: true,
        timeout: .seconds(2))
    }
  }

  /// Drops a play's tables, under a grant where the database is protected.
  /// - Throws: where they stay.
  func dropTables(_ tables: [String], in database: String) async throws {
    let locks = PortcullisLocks(
      endpoints: try Endpoint.list(parsing: endpoints), holder: "portcullis conformance", access: access)
    var proofs: [String] = []
    var answer = ResourceAnswer(status: 0, body: "no grant of \(scope) was to be had")
    var request = ResourceRequest(database)
    request.statements = tables.map { "DROP TABLE IF EXISTS \($0)" }
    request.timeoutMilliseconds = 10_000
    do {
      if database == self.database {
        var order = AcquireOrder([scope])
        order.milliseconds = 10_000
        proofs = try await locks.acquire(order).map(\.proof)
      }
      answer = await GatewayResource(address: gateway, tls: access.tls).send(request, proofs: proofs)
    } catch {
      answer = .unanswered(error)
    }
    await locks.close()
    guard answer.isAccepted else {
      throw ConformanceError(
        "the tables \(tables.joined(separator: ", ")) of \"\(database)\" could not be dropped, so some may be left there:"
          + " \(answer.summary)")
    }
  }

  /// - Throws: `OutsideError` when the gateway is not there any more.
  func check() async throws {
    _ = try await GatewayResource(address: gateway, tls: access.tls).databases()
  }
}

extension GatewayResource {
  /// A database as the gateway tells of it.
  struct Database: Decodable, Sendable {
    let name: String
    let scope: String
    let open: Bool
  }

  /// - Throws: `OutsideError` when there is no gateway.
  func databases() async throws -> [Database] {
    struct Status: Decodable { let databases: [Database] }
    let answer = await call("GET", "/status", timeout: .seconds(10))
    if answer.isUnanswered {
      throw OutsideError(
        isUnreachable: true, "the gateway at \(address) did not answer: \(answer.body). Is it running?")
    }
    guard answer.status == 200, let status = try? JSONDecoder().decode(Status.self, from: Data(answer.body.utf8)) else {
      throw OutsideError(
        isUnreachable: false,
        "what listens at \(address) is no gateway of Portcullis: it answered"
          + " \(answer.status) \(AdapterClient.text(Data(answer.body.utf8)))")
    }
    return status.databases
  }
}
