// `portcullis serve`, `core` and `gateway`: which parts run in this process, and how they start and stop together.

package import Client
package import CoreNode
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
    let keys: any AuthorityKeys
    if let node {
      keys = NodeKeys(node: node)
    } else {
      keys = ClusterKeys(client: Portcullis(endpoints: endpoints, tls: tls))
    }
    let server = try GatewayServer(configuration: gateway, keys: keys, logger: logger)
    do {
      try await server.run { port in
        onReady(Running(clusterID: node?.clusterID, clientPort: node?.clientPort, gatewayPort: port))
      }
    } catch is CancellationError {
      return
    }
  }
}

/// Keys from the core node in the same process.
private struct NodeKeys: AuthorityKeys {
  let node: CoreNode

  func keySet(refresh: Bool) async throws -> KeySet { try KeySet(jwks: node.jwks) }
}

/// Keys from a cluster elsewhere.
private struct ClusterKeys: AuthorityKeys {
  let client: Portcullis

  func keySet(refresh: Bool) async throws -> KeySet { try KeySet(jwks: await client.keys()) }
}
