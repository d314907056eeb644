// The listening socket and the connections that came through it.

import Glibc
package import Logging
import NIOConcurrencyHelpers
package import NIOCore
import NIOHTTP1
import NIOHTTP2
import NIOPosix

/// Why a server could not start, in one line for the person who started it.
package struct WireServerError: Error, Sendable, CustomStringConvertible {
  package enum Code: Sendable {
    case addressInUse
    case addressNotAvailable
    case permissionDenied
    case other
  }

  package var code: Code
  package var description: String

  init(address: WireAddress, cause: any Error) {
    if case .unix(let path) = address {
      self.code = .other
      self.description = "cannot listen on the socket \(path): \(cause)"
      return
    }
    switch (cause as? IOError)?.errnoCode {
    case EADDRINUSE:
      self.code = .addressInUse
      self.description = "\(address) is already in use; stop what listens there or choose another port"
    case EADDRNOTAVAIL:
      self.code = .addressNotAvailable
      self.description = "\(address) is not an address of this machine; listen on one that is, or on 0.0.0.0"
    case EACCES:
      self.code = .permissionDenied
      self.description = "listening on \(address) is not permitted; ports below 1024 need privileges"
    default:
      self.code = cause is SocketAddressError.UnknownHost ? .addressNotAvailable : .other
      self.description = "cannot listen on \(address): \(cause)"
    }
  }
}

/// gRPC and HTTP/1 on one port.
package final class WireServer: Sendable {
  package let localAddress: SocketAddress
  private let channel: any Channel
  private let connections: OpenConnections
  private let address: WireAddress

  private init(
    channel: any Channel, localAddress: SocketAddress, address: WireAddress, connections: OpenConnections
  ) {
    self.channel = channel
    self.address = address
    self.localAddress = localAddress
    self.connections = connections
  }

  /// Listens. Port 0 takes any free port, which `localAddress` then names.
  package static func start(
    host: String, port: Int, group: any EventLoopGroup, router: any RPCRouter, http: @escaping HTTPResponder,
    limits: WireLimits = WireLimits(), tls: TLSSource? = nil, logger: Logger
  ) async throws -> WireServer {
    try await self.start(
      at: .tcp(host: host, port: port), group: group, router: router, http: http, limits: limits, tls: tls,
      logger: logger)
  }

  /// - Parameters:
  ///   - sharesPort: lets other processes that ask for the same listen on the port too (SO_REUSEPORT).
  ///   - tls: nil for plain text. Otherwise nothing but TLS is spoken.
  package static func start(
    at address: WireAddress, sharesPort: Bool = false, group: any EventLoopGroup, router: any RPCRouter,
    http: @escaping HTTPResponder, limits: WireLimits = WireLimits(), tls: TLSSource? = nil,
    traffic: WireTraffic = WireTraffic(), logger: Logger
  ) async throws -> WireServer {
    let connections = OpenConnections()
    var schedulers: [ObjectIdentifier: FlushScheduler] = [:]
    var lookouts: [ObjectIdentifier: Lookout] = [:]
    for eventLoop in group.makeIterator() {
      schedulers[ObjectIdentifier(eventLoop)] = FlushScheduler(eventLoop: eventLoop)
      lookouts[ObjectIdentifier(eventLoop)] = Lookout(eventLoop: eventLoop, interval: limits.lookInterval)
    }
    let setup = ConnectionSetup(
      router: router, http: http, limits: limits, schedulers: schedulers, lookouts: lookouts,
      acceptor: tls.map { TLSAcceptor($0, limits: limits, answersHTTP: true, logger: logger) }, traffic: traffic,
      logger: logger, log: LimitedLog(logger))
    let bootstrap = address.bootstrap(group: group, sharesPort: sharesPort)
      .serverChannelOption(.backlog, value: 1024)
      .serverChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          let gate = ConnectionGate(limit: limits.connections, logger: logger) { connections.pressTheIdle() }
          try channel.pipeline.syncOperations.addHandler(gate)
        }
      }
      .childChannelOption(
        .writeBufferWaterMark, value: .init(low: limits.channelQueueLowBytes, high: limits.channelQueueHighBytes)
      )
      .childChannelInitializer { channel in
        connections.add(channel)
        return setup.accept(channel)
      }
    do {
      let channel = try await address.bind(bootstrap)
      guard let local = channel.localAddress else { throw ChannelError.unknownLocalAddress }
      return WireServer(channel: channel, localAddress: local, address: address, connections: connections)
    } catch {
      throw WireServerError(address: address, cause: error)
    }
  }

  /// Stops listening, lets calls in flight finish, and closes whatever is still open when the grace is over.
  package func shutdown(grace: TimeAmount) async {
    try? await self.channel.close()
    if case .unix(let path) = self.address { unlink(path) }
    self.connections.drain()
    let timer = self.channel.eventLoop.scheduleTask(in: grace) { self.connections.closeAll() }
    await self.connections.whenEmpty(on: self.channel.eventLoop)
    timer.cancel()
  }
}

extension WireAddress {
  fileprivate func bootstrap(group: any EventLoopGroup, sharesPort: Bool) -> ServerBootstrap {
    guard case .tcp = self else { return ServerBootstrap(group: group) }
    let bootstrap = ServerBootstrap(group: group)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      // A peer that vanished without a word is noticed in the end, even on a stream that never sends.
      .childChannelOption(.socketOption(.so_keepalive), value: 1)
    guard sharesPort else { return bootstrap }
    return bootstrap.serverChannelOption(.socketOption(.init(rawValue: SO_REUSEPORT)), value: 1)
  }

  fileprivate func bind(_ bootstrap: ServerBootstrap) async throws -> any Channel {
    switch self {
    case .tcp(let host, let port): try await bootstrap.bind(host: host, port: port).get()
    case .unix(let path):
      try await bootstrap.bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true).get()
    }
  }
}

/// Builds the pipeline of a new connection.
private struct ConnectionSetup: Sendable {
  var router: any RPCRouter
  var http: HTTPResponder
  var limits: WireLimits
  var schedulers: [ObjectIdentifier: FlushScheduler]
  var lookouts: [ObjectIdentifier: Lookout]
  let budget = WireBudget()
  /// Nil for plain text.
  var acceptor: TLSAcceptor?
  var traffic: WireTraffic
  var logger: Logger
  let log: LimitedLog

  func accept(_ channel: any Channel) -> EventLoopFuture<Void> {
    if let acceptor = self.acceptor {
      return acceptor.secure(channel) { try self.sniff($0, caller: $1?.commonName) }
    }
    return channel.eventLoop.makeCompletedFuture { try self.sniff(channel, caller: nil) }
  }

  /// The bytes decide what is spoken, and not what TLS's ALPN agreed on: clients that name nothing there are served too.
  /// - Parameter caller: the common name of the caller's verified certificate.
  private func sniff(_ channel: any Channel, caller: String?) throws {
    let sniffer = ProtocolSniffer(timeout: self.limits.firstBytesTimeout) { finding, channel in
      switch finding {
      case .http2: try self.configureHTTP2(channel, caller)
      case .http1: try self.configureHTTP1(channel)
      case .tls:
        self.log.warning(
          "a connection with TLS to a port that speaks plain text", metadata: ["from": "\(channel.origin)"])
        try self.configureHTTP1(channel)
      }
    }
    try channel.pipeline.syncOperations.addHandler(sniffer)
  }

  private func configureHTTP2(_ channel: any Channel, _ caller: String?) throws {
    guard let scheduler = self.schedulers[ObjectIdentifier(channel.eventLoop)],
      let lookout = self.lookouts[ObjectIdentifier(channel.eventLoop)]
    else {
      preconditionFailure("a connection runs on an event loop that is not of the server's group")
    }
    let errors = ConnectionErrorDetector()
    let coalescer = WriteCoalescer()
    let connection = ServerConnection(
      channel: channel, limits: self.limits, router: self.router, http: self.http, scheduler: scheduler,
      errors: errors, account: ConnectionAccount(budget: self.budget, coalescer: coalescer, lookout: lookout),
      traffic: self.traffic, logger: self.logger)
    connection.peerCommonName = caller
    try channel.pipeline.syncOperations.addHandlers([
      coalescer,
      NIOHTTP2Handler.make(mode: .server, limits: self.limits, errors: errors),
      connection,
    ])
  }

  private func configureHTTP1(_ channel: any Channel) throws {
    var decoder = NIOHTTPDecoderLimitConfiguration()
    decoder.maxHeaderFieldSize = self.limits.httpHeadBytes
    decoder.maxHeaderListSize = self.limits.httpHeadBytes
    try channel.pipeline.syncOperations.configureHTTPServerPipeline(
      withErrorHandling: true, withEncoderConfiguration: .init(), withDecoderLimitConfiguration: decoder)
    try channel.pipeline.syncOperations.addHandler(
      HTTPServiceHandler(responder: self.http, limits: self.limits, budget: self.budget))
  }
}

/// The connections of a server, so that it can stop them.
private final class OpenConnections: Sendable {
  private struct State {
    var channels: [ObjectIdentifier: any Channel] = [:]
    var isDraining = false
    var isEmptyPromise: EventLoopPromise<Void>?
  }

  private let state = NIOLockedValueBox(State())

  func add(_ channel: any Channel) {
    let isDraining = self.state.withLockedValue { state in
      state.channels[ObjectIdentifier(channel)] = channel
      return state.isDraining
    }
    channel.closeFuture.whenComplete { _ in self.remove(channel) }
    // Accepted just before the listening socket closed.
    if isDraining { channel.close(promise: nil) }
  }

  private func remove(_ channel: any Channel) {
    let promise = self.state.withLockedValue { state -> EventLoopPromise<Void>? in
      state.channels[ObjectIdentifier(channel)] = nil
      guard state.channels.isEmpty else { return nil }
      defer { state.isEmptyPromise = nil }
      return state.isEmptyPromise
    }
    promise?.succeed()
  }

  private func all() -> [any Channel] {
    self.state.withLockedValue { Array($0.channels.values) }
  }

  func drain() {
    self.state.withLockedValue { $0.isDraining = true }
    for channel in self.all() {
      channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
    }
  }

  /// Asks those that do nothing to make room.
  func pressTheIdle() {
    for channel in self.all() { channel.pipeline.fireUserInboundEventTriggered(ConnectionsShortEvent()) }
  }

  func closeAll() {
    for channel in self.all() { channel.close(promise: nil) }
  }

  func whenEmpty(on eventLoop: any EventLoop) async {
    let future = self.state.withLockedValue { state -> EventLoopFuture<Void>? in
      guard !state.channels.isEmpty else { return nil }
      if let promise = state.isEmptyPromise { return promise.futureResult }
      let promise = eventLoop.makePromise(of: Void.self)
      state.isEmptyPromise = promise
      return promise.futureResult
    }
    try? await future?.get()
  }
}
