// The connection that a node makes to one peer: it is kept up, and made again with growing pauses when it breaks.

import Logging
import NIOCore
import NIOPosix
import RaftCore

/// `@unchecked Sendable`: everything but `send`, `start` and `stop`, which only hand over, runs on `eventLoop`.
final class PeerLink: @unchecked Sendable {
  /// What may wait for the peer's socket. Beyond it messages are dropped, and Raft is told.
  private static let maxQueuedBytes = 64 << 20
  private static let firstPauseMilliseconds: Int64 = 20
  private static let longestPauseMilliseconds: Int64 = 1000

  private let member: ClusterMap.Member
  private let hello: Hello
  private let eventLoop: any EventLoop
  private let logger: Logger
  private let onLost: @Sendable () -> Void

  private var channel: (any Channel)?
  private var queuedBytes = 0
  private var pauseMilliseconds = firstPauseMilliseconds
  private var isStopped = false

  init(
    member: ClusterMap.Member, hello: Hello, eventLoop: any EventLoop, logger: Logger,
    onLost: @escaping @Sendable () -> Void
  ) {
    self.member = member
    self.hello = hello
    self.eventLoop = eventLoop
    self.logger = logger
    self.onLost = onLost
  }

  func start() { eventLoop.execute { self.connect() } }

  func stop() {
    eventLoop.execute {
      self.isStopped = true
      self.channel?.close(promise: nil)
    }
  }

  func send(_ messages: [Message]) {
    eventLoop.execute { self.write(messages) }
  }

  private func write(_ messages: [Message]) {
    guard let channel, channel.isActive else { return }
    guard queuedBytes < Self.maxQueuedBytes else { return onLost() }
    var buffer = channel.allocator.buffer(capacity: 256)
    for message in messages { PeerCodec.write(message, into: &buffer) }
    let size = buffer.readableBytes
    queuedBytes += size
    channel.writeAndFlush(buffer).assumeIsolated().whenComplete { _ in self.queuedBytes -= size }
  }

  private func connect() {
    guard !isStopped else { return }
    ClientBootstrap(group: eventLoop)
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .connectTimeout(.seconds(1))
      .connect(host: member.peer.host, port: member.peer.port)
      .assumeIsolated()
      .whenComplete { result in
        switch result {
        case .success(let channel): self.connected(channel)
        case .failure: self.retry()
        }
      }
  }

  private func connected(_ channel: any Channel) {
    guard !isStopped else { return channel.close(promise: nil) }
    self.channel = channel
    queuedBytes = 0
    logger.info("connected to peer", metadata: ["peer": "\(member.peer.name)"])
    var buffer = channel.allocator.buffer(capacity: 64)
    hello.write(into: &buffer)
    let began = NIODeadline.now()
    channel.writeAndFlush(buffer, promise: nil)
    channel.closeFuture.assumeIsolated().whenComplete { _ in
      self.channel = nil
      // A peer that hangs up at once refused the greeting: asking it again every 20 ms would only fill its log.
      if NIODeadline.now() - began > .seconds(1) { self.pauseMilliseconds = Self.firstPauseMilliseconds }
      self.onLost()
      self.retry()
    }
  }

  private func retry() {
    guard !isStopped else { return }
    let pause = TimeAmount.milliseconds(pauseMilliseconds)
    pauseMilliseconds = min(pauseMilliseconds * 2, Self.longestPauseMilliseconds)
    _ = eventLoop.assumeIsolated().scheduleTask(in: pause) { self.connect() }
  }
}
