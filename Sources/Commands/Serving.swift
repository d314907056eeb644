// `portcullis serve`, `core` and `gateway`: which parts run in this process, and how they start and stop together.

package import Client
package import CoreNode
import FencingCore
import Foundation
package import Gateway
import Glibc
package import Logging
import Tokens

/// The parts of one process. A core, a gateway, or both; the gateway takes its keys from the core beside it when there
/// is one, and from `endpoints` otherwise.
package struct Serving: Sendable {
  package var core: NodeConfiguration?
  package var gateway: GatewayConfiguration?
  package var endpoints: [Endpoint] = []
  /// How TLS is spoken with `endpoints`.
  package var tls = TLSOptions()
  package var credentials: Credentials?
  /// Whether `endpoints` are a plain etcd, whose locks' revisions are to be the numbers.
  package var standsOnEtcd = false
  package var logger: Logger

  package init(logger: Logger) {
    self.logger = logger
  }

  /// What is running, for telling the user.
  package struct Running: Sendable {
    package let clusterID: UInt64?
    package let clientPort: Int?
    package let gatewayPort: Int?
  }

  /// Serves until Ctrl-C, SIGTERM or a failure from which there is no going on.
  package func run(onReady: @escaping @Sendable (Running) -> Void) async throws {
    let signals = Signals()
    let fatal = AsyncStream.makeStream(of: NodeError.self)
    let node = try await startCore { fatal.continuation.yield($0) }
    do {
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { _ = await signals.first() }
        group.addTask {
          for await error in fatal.stream {
            guard case .removed = error else { throw CommandFailure(ExitCode.failed, error.description) }
            throw CommandFailure(ExitCode.removed, error.description)
          }
        }
        group.addTask { [self] in try await serve(with: node, onReady) }
        defer { group.cancelAll() }
        try await group.next()
      }
    } catch {
      await node?.stop()
      throw error
    }
    await node?.stop()
  }

  private func startCore(_ onEnd: @escaping @Sendable (NodeError) -> Void) async throws -> CoreNode? {
    guard let core else { return nil }
    return try await CoreNode.start(core, logger: logger, onEnd: onEnd)
  }

  /// Runs until cancelled.
  private func serve(with node: CoreNode?, _ onReady: @escaping @Sendable (Running) -> Void) async throws {
    try await node?.waitUntilReady()
    guard let gateway else {
      onReady(Running(clusterID: node?.clusterID, clientPort: node?.clientPort, gatewayPort: nil))
      try await Task.sleep(for: .seconds(Int64.max / 2_000_000_000))
      return
    }
    let server = try await server(gateway, with: node)
    do {
      try await server.run { port in
        onReady(Running(clusterID: node?.clusterID, clientPort: node?.clientPort, gatewayPort: port))
      }
    } catch is CancellationError {
      return
    }
  }
}

extension Serving {
  private func server(_ gateway: GatewayConfiguration, with node: CoreNode?) async throws -> GatewayServer {
    if let node {
      let source = NodeAuthority(node: node)
      return try await GatewayServer(
        configuration: gateway, keys: source, standings: source, raises: source, logger: logger)
    }
    let client = Portcullis(endpoints: endpoints, tls: tls, credentials: credentials)
    try await EtcdLocks.checkKind(of: client, isTakenForEtcd: standsOnEtcd)
    if standsOnEtcd {
      logger.warning(
        "the gateway stands on a plain etcd: numbers are not signed, and an old holder may write until the new one has",
        metadata: ["endpoints": "\(endpoints.map(\.description).joined(separator: ","))"])
      return try await GatewayServer(configuration: gateway, locks: EtcdLocks(client: client), logger: logger)
    }
    let source = ClusterAuthority(client: client)
    return try await GatewayServer(
      configuration: gateway, keys: source, standings: source, raises: source, logger: logger)
  }
}

/// Keys and standings from the core node in the same process.
private struct NodeAuthority: AuthorityKeys, AuthorityStandings, AuthorityRaises {
  let node: CoreNode

  func keySet(refresh: Bool) async throws -> KeySet { try KeySet(jwks: node.jwks) }

  func protect(
    _ gateway: String, scopes: [String], raise: @escaping @Sendable (String) async -> Bool
  ) async throws {
    try await node.protect(gateway, scopes: scopes, raise: raise)
  }

  func standing(of scope: String) async throws -> Standing {
    let record = try await node.describe(scope: scope)
    return try Standing(
      of: scope, cluster: node.clusterID, incarnation: record.incarnation, current: record.current,
      lastNumber: record.lastNumber)
  }
}

/// Keys and standings from a cluster elsewhere.
private struct ClusterAuthority: AuthorityKeys, AuthorityStandings, AuthorityRaises {
  let client: Portcullis

  func keySet(refresh: Bool) async throws -> KeySet { try KeySet(jwks: await client.keys()) }

  func protect(
    _ gateway: String, scopes: [String], raise: @escaping @Sendable (String) async -> Bool
  ) async throws {
    try await client.protect(gateway, scopes: scopes, raise: raise)
  }

  func standing(of scope: String) async throws -> Standing {
    let description = try await client.describe(scope)
    return try Standing(
      of: scope, cluster: description.cluster, incarnation: description.incarnation,
      current: description.grant.map { ($0.number, $0.holder) }, lastNumber: description.lastNumber)
  }
}

extension Standing {
  /// - Throws: `CommandFailure` where a number is none that the fence could compare.
  fileprivate init(
    of scope: String, cluster: UInt64, incarnation: UInt64, current: (number: Int64, holder: String)?,
    lastNumber: Int64
  ) throws {
    guard let incarnation = Incarnation(incarnation), current.map({ GrantNumber($0.number) != nil }) ?? true else {
      throw CommandFailure(ExitCode.failed, "the core's answer about the scope \"\(scope)\" holds no valid number")
    }
    self.init(
      cluster: cluster, incarnation: incarnation,
      current: current.flatMap { held in GrantNumber(held.number).map { Grant(number: $0, holder: held.holder) } },
      lastNumber: GrantNumber(lastNumber))
  }
}
