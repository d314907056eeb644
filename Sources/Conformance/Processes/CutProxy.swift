// What stands between a client and a server in scenarios: either direction can be cut without the other, and then what is
// sent that way is taken and thrown away, as by a network that drops. Neither end is told.
//
// A connection that lost bytes is no stream any more: it is closed when the cut ends.

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

  /// Listens at a free port and passes on to `target`.
  package static func start(to target: String) async throws -> CutProxy {
    let loop = MultiThreadedEventLoopGroup.singleton.next()
    let relay = Relay(loop: loop, target: Int(target.split(separator: ":").last ?? "") ?? 0)
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

  package func cut(_ directions: Direction...) async throws {
    let directions = Set(directions)
    try await loop.submit { [relay] in relay.cut = directions }.get()
  }

  package func stop() async {
    try? await listener.close().get()
    try? await loop.submit { [relay] in relay.closeAll() }.get()
  }

  /// What the connections have in common. `@unchecked Sendable`: touched on `loop` alone.
  private final class Relay: @unchecked Sendable {
    let loop: any EventLoop
    let target: Int
    var cut: Set<Direction> = [] {
      didSet { for channel in damaged where cut.isEmpty { channel.close(promise: nil) } }
    }
    private var damaged: [any Channel] = []
    private var all: [any Channel] = []

    init(loop: any EventLoop, target: Int) { (self.loop, self.target) = (loop, target) }

    func accept(_ client: any Channel) -> EventLoopFuture<Void> {
      all.append(client)
      return ClientBootstrap(group: loop).channelOption(.tcpOption(.tcp_nodelay), value: 1)
        .channelInitializer { [self] server in
          server.eventLoop.makeCompletedFuture {
            try server.pipeline.syncOperations.addHandler(Pass(self, .toClient, to: client))
          }
        }
        .connect(host: "127.0.0.1", port: target)
        .flatMapThrowing { [self] server in
          all.append(server)
          try client.pipeline.syncOperations.addHandler(Pass(self, .toServer, to: server))
          client.setOption(.autoRead, value: true).whenFailure { _ in client.close(promise: nil) }
        }
    }

    func lose(_ channel: any Channel) { damaged.append(channel) }
    func closeAll() { for channel in all { channel.close(promise: nil) } }
  }

  private final class Pass: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let relay: Relay
    private let direction: Direction
    private let other: any Channel

    init(_ relay: Relay, _ direction: Direction, to other: any Channel) {
      (self.relay, self.direction, self.other) = (relay, direction, other)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      guard !relay.cut.contains(direction) else { return relay.lose(context.channel) }
      other.writeAndFlush(unwrapInboundIn(data), promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
      // The end of a connection is lost on the way as well.
      if !relay.cut.contains(direction) { other.close(promise: nil) }
      context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
  }
}
