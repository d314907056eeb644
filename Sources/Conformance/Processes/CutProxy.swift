// What stands between a client and a server in scenarios. Either direction can be cut without the other, and then what is
// sent that way is taken and thrown away, as by a network that drops; or it is held, and arrives late. Neither end is told.
//
// Invariants: within one connection bytes arrive in order and without gaps. A connection that lost bytes is no stream any
// more: it is closed when the cut ends. Everything is touched on one event loop.

import Client
import NIOCore
import NIOPosix

/// `@unchecked Sendable`: every `var` is touched on `loop` alone.
package final class CutProxy: @unchecked Sendable {
  package enum Direction: Hashable, Sendable { case toServer, toClient }

  package let port: Int
  package var endpoint: String { "127.0.0.1:\(port)" }

  private let loop: any EventLoop
  private let listener: any Channel
  private let relay: Relay

  /// Listens at a free port and passes on to `target`, the last one where there are several with commas.
  package static func start(to target: String) async throws -> CutProxy {
    let loop = MultiThreadedEventLoopGroup.singleton.next()
    let relay = Relay(loop: loop, target: try Endpoint(parsing: String(target.split(separator: ",").last ?? "")))
    let listener = try await ServerBootstrap(group: loop)
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      .childChannelOption(.autoRead, value: false)
      .childChannelInitializer { relay.accept($0) }
      .bind(host: "127.0.0.1", port: 0).get()
    return CutProxy(loop: loop, listener: listener, relay: relay)
  }

  private init(loop: any EventLoop, listener: any Channel, relay: Relay) {
    (self.loop, self.listener, self.relay) = (loop, listener, relay)
    port = listener.localAddress?.port ?? 0
  }

  /// Drops what is sent these ways, and no other.
  package func cut(_ directions: Direction...) async throws { try await cut(directions) }

  package func cut(_ directions: [Direction]) async throws {
    let directions = Set(directions)
    try await loop.submit { [relay] in relay.cut = directions }.get()
  }

  /// Keeps what is sent these ways, and no other, until it is let go.
  package func hold(_ directions: Direction...) async throws {
    let directions = Set(directions)
    try await loop.submit { [relay] in relay.held = directions }.get()
  }

  /// Lets go of what was held, the connections in the order in which they were made or the other way round, and holds no more.
  package func release(newestFirst: Bool = false) async throws {
    try await loop.submit { [relay] in relay.release(newestFirst: newestFirst) }.get()
  }

  /// Returns when so many connections have something held, or when the task is cancelled.
  package func waitUntilHeld(connections: Int = 1) async throws {
    let promise = loop.makePromise(of: Void.self)
    try await withTaskCancellationHandler {
      loop.execute { [relay] in relay.wait(for: connections, promise) }
      try await promise.futureResult.get()
    } onCancel: {
      // By itself, whether the loop has been told of the waiting or will be.
      promise.fail(CancellationError())
    }
  }

  /// Closes every connection that there is, and with it what was held: both ends see it. New ones are taken.
  package func breakConnections() async throws {
    try await loop.submit { [relay] in relay.closeAll() }.get()
  }

  package func stop() async {
    try? await listener.close().get()
    try? await loop.submit { [relay] in relay.closeAll() }.get()
  }

  /// What the connections have in common. `@unchecked Sendable`: touched on `loop` alone.
  private final class Relay: @unchecked Sendable {
    let loop: any EventLoop
    let target: Endpoint
    var cut: Set<Direction> = [] {
      didSet { for channel in damaged where cut.isEmpty { channel.close(promise: nil) } }
    }
    var held: Set<Direction> = []
    private var damaged: [any Channel] = []
    private var all: [any Channel] = []
    /// In the order in which they were made; with those that have closed since.
    private var passes: [Pass] = []
    private var waiting: (connections: Int, promise: EventLoopPromise<Void>)?

    init(loop: any EventLoop, target: Endpoint) { (self.loop, self.target) = (loop, target) }

    func accept(_ client: any Channel) -> EventLoopFuture<Void> {
      all.append(client)
      return ClientBootstrap(group: loop).channelOption(.tcpOption(.tcp_nodelay), value: 1)
        .channelInitializer { [self] server in
          server.eventLoop.makeCompletedFuture {
            try server.pipeline.syncOperations.addHandler(pass(.toClient, to: client))
          }
        }
        .connect(host: target.host, port: target.port)
        .flatMapThrowing { [self] server in
          all.append(server)
          try client.pipeline.syncOperations.addHandler(pass(.toServer, to: server))
          client.setOption(.autoRead, value: true).whenFailure { _ in client.close(promise: nil) }
        }
    }

    private func pass(_ direction: Direction, to other: any Channel) -> Pass {
      let pass = Pass(self, direction, to: other)
      passes.append(pass)
      return pass
    }

    func lose(_ channel: any Channel) { damaged.append(channel) }

    func closeAll() {
      for channel in all { channel.close(promise: nil) }
      (all, passes) = ([], [])
    }

    func release(newestFirst: Bool) {
      held = []
      for pass in newestFirst ? passes.reversed() : passes { pass.release() }
    }

    func noteHeld() {
      guard let waiting, passes.count(where: \.holdsSomething) >= waiting.connections else { return }
      self.waiting = nil
      waiting.promise.succeed()
    }

    func wait(for connections: Int, _ promise: EventLoopPromise<Void>) {
      waiting?.promise.fail(CancellationError())
      waiting = (connections, promise)
      noteHeld()
    }
  }

  private final class Pass: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let relay: Relay
    private let direction: Direction
    private let other: any Channel
    private var kept: [ByteBuffer] = []
    private var hasEnded = false

    init(_ relay: Relay, _ direction: Direction, to other: any Channel) {
      (self.relay, self.direction, self.other) = (relay, direction, other)
    }

    var holdsSomething: Bool { !kept.isEmpty }

    func release() {
      for bytes in kept { other.writeAndFlush(bytes, promise: nil) }
      kept = []
      if hasEnded { other.close(promise: nil) }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      guard !relay.cut.contains(direction) else { return relay.lose(context.channel) }
      guard !relay.held.contains(direction) else {
        kept.append(unwrapInboundIn(data))
        return relay.noteHeld()
      }
      other.writeAndFlush(unwrapInboundIn(data), promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
      hasEnded = true
      // The end of a connection is lost on the way as well, or comes behind what is held.
      if !relay.cut.contains(direction) && !relay.held.contains(direction) { other.close(promise: nil) }
      context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
  }
}
