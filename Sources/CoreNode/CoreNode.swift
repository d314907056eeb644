// A core node: opens the log, starts the loop, the peers and the client port, and stops them in the reverse order.

import CoordinationCore
import Foundation
import LogStorage
package import Logging
import NIOCore
import NIOPosix
import Protocol
import RaftCore
import Wire

package final class CoreNode: Sendable {
  package let cluster: ClusterMap
  /// The port on which clients are served, whatever was asked for.
  package let clientPort: Int
  private let access: CoreAccess
  private let loop: CoreLoop
  private let storage: LogStorage
  private let peers: PeerTransport
  private let server: WireServer
  private let group: MultiThreadedEventLoopGroup

  /// Starts a node. It serves at once; `waitUntilReady` tells when it has a leader.
  /// - Parameter onFatal: called, once and from any thread, when the node must not go on: a damaged log, a disk that
  ///   failed. The process should end.
  package static func start(
    _ configuration: NodeConfiguration, logger: Logger, onFatal: @escaping @Sendable (String) -> Void
  ) async throws -> CoreNode {
    let directory = configuration.dataDirectory
    try makeDirectory(directory)
    let cluster = try ClusterMap(configuration, token: try clusterToken(configuration))
    let identity = Identity(clusterID: cluster.clusterID, nodeID: cluster.localID, incarnation: 1)
    let opened = try open(directory, identity)
    let group = MultiThreadedEventLoopGroup(numberOfThreads: System.coreCount)
    do {
      return try await CoreNode(
        configuration, cluster: cluster, identity: identity, opened: opened, group: group, logger: logger,
        onFatal: onFatal)
    } catch {
      opened.storage.close()
      try? await group.shutdownGracefully()
      throw error
    }
  }

  private static func makeDirectory(_ directory: String) throws(NodeError) {
    do {
      try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    } catch {
      throw .storage("the data directory \(directory) cannot be made: \(error.localizedDescription)")
    }
  }

  /// The token that was configured, or the one that a cluster of one drew for itself.
  private static func clusterToken(_ configuration: NodeConfiguration) throws(NodeError) -> String {
    if let token = configuration.clusterToken { return token }
    guard configuration.peers.count == 1 else {
      throw .configuration("a cluster of several nodes needs a token that all of them are given")
    }
    let file = URL(fileURLWithPath: configuration.dataDirectory + "/cluster.token")
    if let kept = try? String(contentsOf: file, encoding: .utf8), !kept.isEmpty { return kept }
    let token = UUID().uuidString
    do {
      try Data(token.utf8).write(to: file, options: .atomic)
    } catch {
      throw .storage("\(file.path) cannot be written: \(error.localizedDescription)")
    }
    return token
  }

  private static func open(
    _ directory: String, _ identity: Identity
  ) throws(NodeError) -> (storage: LogStorage, recovered: Restored) {
    do {
      return try LogStorage.open(directory: directory + "/log", identity: identity)
    } catch {
      throw .storage("\(error)")
    }
  }

  private init(
    _ configuration: NodeConfiguration, cluster: ClusterMap, identity: Identity,
    opened: (storage: LogStorage, recovered: Restored), group: MultiThreadedEventLoopGroup, logger: Logger,
    onFatal: @escaping @Sendable (String) -> Void
  ) async throws {
    self.cluster = cluster
    self.group = group
    self.storage = opened.storage
    let issuer = try TokenIssuer(
      directory: configuration.dataDirectory, clusterID: cluster.clusterID, incarnation: identity.incarnation)
    let watches = WatchHub()
    let outbound = Outbound()
    let loop = CoreLoop(
      CoreLoop.Parts(
        configuration: configuration, cluster: cluster, storage: opened.storage, restored: opened.recovered,
        nodeRecord: issuer.record(of: cluster.localID.rawValue, clientURL: configuration.clientURL), watches: watches,
        logger: logger,
        send: { messages, peer in outbound.transport?.send(messages, to: peer) }, onFatal: onFatal))
    self.loop = loop
    let inbox = loop.inbox
    peers = PeerTransport(
      cluster: cluster, incarnation: identity.incarnation, group: group, logger: logger,
      delivery: PeerTransport.Delivery(
        received: { inbox.append(.received($0, from: $1)) }, unreachable: { inbox.append(.unreachable($0)) }))
    outbound.transport = peers
    let access = CoreAccess(
      configuration: configuration, cluster: cluster, incarnation: identity.incarnation, loop: loop, watches: watches,
      issuer: issuer)
    self.access = access
    let endpoints = HTTPEndpoints(core: access)
    let local = cluster[cluster.localID]?.peer
    try await peers.start(
      host: configuration.peerListenHost ?? local?.host ?? "127.0.0.1",
      port: configuration.peerListenPort ?? local?.port ?? 0)
    do {
      server = try await WireServer.start(
        host: configuration.clientHost, port: configuration.clientPort, group: group,
        router: RPCRoutes(Self.routes(access)), http: { endpoints.respond(to: $0, on: $1) }, logger: logger)
    } catch {
      await peers.stop()
      throw error
    }
    clientPort = server.localAddress.port ?? configuration.clientPort
    loop.start()
  }

  private static func routes(_ core: CoreAccess) -> [String: RPCMethod] {
    let services = [
      KVService(core: core).routes, LeaseService(core: core).routes, LockService(core: core).routes,
      AuthorityService(core: core).routes, ClusterService(core: core).routes,
      [RPCPath.Watch.watch: .streaming { call in WatchStream(call, core: core) }],
    ]
    return services.reduce(into: [:]) { all, some in
      all.merge(some) { _, _ in preconditionFailure("two services answer the same path") }
    }
  }

  /// Returns when the node knows a leader and its public key is in the state, so that tokens which it signs can be
  /// verified everywhere.
  package func waitUntilReady() async throws {
    while !access.isReady { try await Task.sleep(for: .milliseconds(5)) }
  }

  /// The public keys of all nodes as a JWKS, from this node's newest state.
  package var jwks: String { access.publication.snapshot.jwks }

  /// Stops in order: no new calls, answers to those in flight, then peers, log and threads.
  package func stop() async {
    async let drained: Void = server.shutdown(grace: .milliseconds(500))
    await drained
    await peers.stop()
    await withCheckedContinuation { continuation in
      let thread = Thread { [loop, storage] in
        loop.stop()
        storage.close()
        continuation.resume()
      }
      thread.start()
    }
    try? await group.shutdownGracefully()
  }
}

/// Ties the knot between the loop and the transport, each of which is made with the other. `@unchecked Sendable`: set
/// once, before the loop's thread is started, and only read after that.
private final class Outbound: @unchecked Sendable {
  var transport: PeerTransport?
}
