// Owns what a node serves where: clients, and besides them metrics and health, each at as many places as were asked for.
// Must never: leave a place open when another could not be opened.

import Logging
import NIOCore
import Wire

struct Listeners: Sendable {
  let peers: [PeerEndpoint]
  private let configuration: NodeConfiguration
  /// For the places that are to have TLS.
  private let security: TLSSource?
  private let router: RPCRoutes
  private let endpoints: HTTPEndpoints
  private let traffic: WireTraffic

  /// - Throws: `NodeError.configuration` for a place that cannot serve what it is to.
  init(
    _ configuration: NodeConfiguration, access: CoreAccess, security: TLSSource?, router: RPCRoutes
  ) throws(NodeError) {
    self.configuration = configuration
    self.security = security
    self.router = router
    let own = configuration.peers.first { $0.name == configuration.name }
    var peers: [PeerEndpoint] = []
    for url in configuration.peerListeners {
      guard case .tcp(let host, let port) = url.place else {
        throw .configuration("peers are served over TCP alone, not at \(url.description)")
      }
      peers.append(PeerEndpoint(host: host, port: port, usesTLS: url.usesTLS))
    }
    self.peers = peers.isEmpty ? own?.endpoints ?? [PeerEndpoint(host: "127.0.0.1", port: 0)] : peers
    traffic = access.statistics.traffic
    endpoints = HTTPEndpoints(
      core: access,
      gateway: configuration.servesJSON ? JSONGateway(router: router, limits: Self.limits(configuration)) : nil)
  }

  /// A message may be 512 KiB larger than what goes into the log, as with etcd; in JSON its bytes are a third longer.
  private static func limits(_ configuration: NodeConfiguration) -> WireLimits {
    var limits = WireLimits()
    limits.messageBytes = configuration.limits.maxRequestBytes + 512 * 1024
    limits.httpBodyBytes = max(limits.httpBodyBytes, limits.messageBytes / 3 * 4 + 64 * 1024)
    limits.keepalive = configuration.keepalive
    if let most = configuration.maxConcurrentStreams { limits.concurrentStreams = most }
    if let most = configuration.maxConnections { limits.connections = most }
    return limits
  }

  /// Opens every place, clients' first.
  func start(group: any EventLoopGroup, logger: Logger) async throws -> [WireServer] {
    let limits = Self.limits(configuration)
    let endpoints = endpoints
    let figures: HTTPResponder = { request, eventLoop in
      endpoints.figures(for: request, on: eventLoop) ?? eventLoop.makeSucceededFuture(HTTPEndpoints.notFound)
    }
    var servers: [WireServer] = []
    do {
      for url in configuration.clientListeners {
        var access = configuration.access
        // A certificate says as much as a list of names.
        if url.usesTLS { access.hosts = nil }
        let all = access.guarding { endpoints.respond(to: $0, on: $1) }
        servers.append(try await start(url, router, all, limits, group, logger))
      }
      for url in configuration.metricsListeners {
        servers.append(try await start(url, RPCRoutes([:]), figures, limits, group, logger))
      }
      return servers
    } catch {
      for server in servers { await server.shutdown(grace: .zero) }
      throw error
    }
  }

  private func start(
    _ url: ListenURL, _ router: RPCRoutes, _ http: @escaping HTTPResponder, _ limits: WireLimits,
    _ group: any EventLoopGroup, _ logger: Logger
  ) async throws -> WireServer {
    let address: WireAddress =
      switch url.place {
      case .tcp(let host, let port): .tcp(host: host, port: port)
      case .unix(let path): .unix(path: path)
      }
    return try await WireServer.start(
      at: address, sharesPort: configuration.sharesPorts, group: group, router: router, http: http, limits: limits,
      tls: url.usesTLS ? security : nil, traffic: traffic, logger: logger)
  }
}
