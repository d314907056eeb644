// What stands between two nodes, or a client and its node, and passes everything on later by a fixed time.
//
// Bytes of one connection arrive in order and without gaps. Everything is touched on one event loop, a thread of its own: a
// relay that waited for the generator's would add its time.

import NIOCore
import NIOPosix

/// `@unchecked Sendable`: every `var` is touched on `loop` alone.
final class DelayRelay: @unchecked Sendable {
  private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
  private let loop: any EventLoop
  private let delay: TimeAmount
  private var channels: [any Channel] = []

  /// - Parameter microseconds: each way.
  init(delayMicroseconds microseconds: Int) {
    loop = group.next()
    delay = .microseconds(Int64(microseconds))
  }

  /// Listens at a free port for each target, and returns those ports.
  func start(to targets: [Int]) async throws -> [Int] {
    var ports: [Int] = []
    for target in targets {
      let listener = try await ServerBootstrap(group: loop)
        .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
        .childChannelOption(.autoRead, value: false)
        .childChannelInitializer { [self] channel in accept(channel, target: target) }
        .bind(host: "127.0.0.1", port: 0).get()
      try await loop.submit { self.channels.append(listener) }.get()
      ports.append(listener.localAddress?.port ?? 0)
    }
    return ports
  }

  func stop() async {
    try? await loop.submit {
      for channel in self.channels { channel.close(promise: nil) }
      self.channels = []
    }.get()
    try? await group.shutdownGracefully()
  }

  private func accept(_ client: any Channel, target: Int) -> EventLoopFuture<Void> {
    channels.append(client)
    return ClientBootstrap(group: loop).channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .channelInitializer { [delay] server in
        server.eventLoop.makeCompletedFuture {
          try server.pipeline.syncOperations.addHandler(DelayedPass(to: client, delay))
        }
      }
      .connect(host: "127.0.0.1", port: target)
      .flatMapThrowing { [self] server in
        channels.append(server)
        try client.pipeline.syncOperations.addHandler(DelayedPass(to: server, delay))
        client.setOption(.autoRead, value: true).whenFailure { _ in client.close(promise: nil) }
      }
  }
}

/// One direction of one connection.
private final class DelayedPass: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer

  private let other: any Channel
  private let delay: TimeAmount
  private var waiting = CircularBuffer<(due: NIODeadline, bytes: ByteBuffer)>()
  private var hasEnded = false
  private var isScheduled = false

  init(to other: any Channel, _ delay: TimeAmount) { (self.other, self.delay) = (other, delay) }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    waiting.append((.now() + delay, unwrapInboundIn(data)))
    schedule(on: context.eventLoop)
  }

  private func schedule(on loop: any EventLoop) {
    guard !isScheduled, let first = waiting.first else { return }
    isScheduled = true
    loop.assumeIsolated().scheduleTask(deadline: first.due) { self.pump(loop) }
  }

  private func pump(_ loop: any EventLoop) {
    isScheduled = false
    let now = NIODeadline.now()
    var hasWritten = false
    while let first = waiting.first, first.due <= now {
      waiting.removeFirst()
      other.write(first.bytes, promise: nil)
      hasWritten = true
    }
    if hasWritten { other.flush() }
    if hasEnded, waiting.isEmpty { other.close(promise: nil) }
    schedule(on: loop)
  }

  func channelInactive(context: ChannelHandlerContext) {
    hasEnded = true
    if waiting.isEmpty { other.close(promise: nil) }
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
