// The connection that a node makes to one peer: it is kept up, and made again with growing pauses when it breaks. All
// that comes back on it is a refusal of the greeting.

import Glibc
import Logging
import NIOCore
import NIOPosix
import RaftCore
import Wire

/// `@unchecked Sendable`: everything but `send`, `start` and `stop`, which only hand over, runs on `eventLoop`.
final class PeerLink: @unchecked Sendable {
  struct Events: Sendable {
    /// The connection broke, or a message had to be dropped.
    let lost: @Sendable () -> Void
    let refused: @Sendable (PeerRefusal) -> Void
  }

  /// What may wait for the peer's socket. Beyond it messages are dropped, and Raft is told.
  private static let maxQueuedBytes = 64 << 20
  private static let firstPauseMilliseconds: Int64 = 20
  private static let longestPauseMilliseconds: Int64 = 1000
  /// A connection on which the peer takes nothing for so long is made again. Left to itself TCP repeats what was lost in a
  /// partition after pauses that grow with it, so that two nodes would stay apart for up to two minutes after its end
  /// (etcd's streams between peers end after five seconds as well).
  private static let patienceMilliseconds = 5000

  /// The peer's URLs, tried in turn.
  let endpoints: [PeerEndpoint]
  /// The link to the address that the peer had before, which carries on until this one is connected: an operator first tells
  /// the cluster of a new address and then restarts the node. Set before the start.
  var predecessor: PeerLink?
  private let label: String
  private let hello: Hello
  private let eventLoop: any EventLoop
  /// Nil where peers talk in plain text.
  private let connector: TLSConnector?
  private let logger: Logger
  private let events: Events

  private var channel: (any Channel)?
  private var attempts = 0
  private var queuedBytes = 0
  private var pauseMilliseconds = firstPauseMilliseconds
  private var isStopped = false
  /// Why TLS could not be agreed on at the last attempt, so that it is said once.
  private var complaint: String?

  init(
    to peer: Member, at endpoints: [PeerEndpoint], hello: Hello, eventLoop: any EventLoop,
    connector: TLSConnector?, logger: Logger, events: Events
  ) {
    self.endpoints = endpoints
    self.label = peer.label
    self.hello = hello
    self.eventLoop = eventLoop
    self.connector = connector
    self.logger = logger
    self.events = events
  }

  func start() { eventLoop.execute { self.connect() } }

  func stop() {
    eventLoop.execute {
      self.isStopped = true
      self.channel?.close(promise: nil)
      self.retirePredecessor()
    }
  }

  func send(_ messages: [Message]) {
    eventLoop.execute { self.write(messages) }
  }

  private func retirePredecessor() {
    predecessor?.stop()
    predecessor = nil
  }

  private func write(_ messages: [Message]) {
    guard let channel, channel.isActive else {
      predecessor?.send(messages)
      return
    }
    guard queuedBytes < Self.maxQueuedBytes else { return events.lost() }
    var buffer = channel.allocator.buffer(capacity: 256)
    for message in messages { PeerCodec.write(message, into: &buffer) }
    let size = buffer.readableBytes
    queuedBytes += size
    channel.writeAndFlush(buffer).assumeIsolated().whenComplete { _ in self.queuedBytes -= size }
  }

  private func connect() {
    guard !isStopped, !endpoints.isEmpty else { return }
    let endpoint = endpoints[attempts % endpoints.count]
    attempts += 1
    ClientBootstrap(group: eventLoop)
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .channelOption(.tcpOption(.init(rawValue: TCP_USER_TIMEOUT)), value: Self.patienceMilliseconds)
      .connectTimeout(.seconds(1))
      .channelInitializer { channel in
        PeerSecurity.prepare(channel, for: endpoint, self.connector) {
          let reader = OpeningReader(failed: { self.complain(of: $0, at: endpoint) }) { self.received($0) }
          try $0.pipeline.syncOperations.addHandler(reader)
        }
      }
      .connect(host: endpoint.host, port: endpoint.port)
      .flatMap { [connector] in PeerSecurity.secured($0, connector) }
      .assumeIsolated()
      .whenComplete { result in
        switch result {
        case .success(let channel): self.connected(channel)
        case .failure(let error):
          self.complain(of: error, at: endpoint)
          self.retry()
        }
      }
  }

  /// A peer that does not run is no news; one with which TLS cannot be spoken is what an operator must hear of.
  private func complain(of error: any Error, at endpoint: PeerEndpoint) {
    guard let error = TLSError(of: error), complaint != error.description else { return }
    complaint = error.description
    logger.error(
      "a peer is not talked to",
      metadata: ["peer": "\(label)", "address": "\(endpoint.host):\(endpoint.port)", "cause": "\(error)"])
  }

  private func connected(_ channel: any Channel) {
    guard !isStopped else { return channel.close(promise: nil) }
    self.channel = channel
    retirePredecessor()
    queuedBytes = 0
    logger.info("connected to peer", metadata: ["peer": "\(label)"])
    var buffer = channel.allocator.buffer(capacity: 64)
    hello.write(into: &buffer)
    let began = NIODeadline.now()
    channel.writeAndFlush(buffer, promise: nil)
    channel.closeFuture.assumeIsolated().whenComplete { _ in
      self.channel = nil
      // A peer that hangs up at once refused the greeting: asking it again every 20 ms would only fill its log.
      if NIODeadline.now() - began > .seconds(1) {
        self.pauseMilliseconds = Self.firstPauseMilliseconds
        self.complaint = nil
      }
      self.events.lost()
      self.retry()
    }
  }

  /// Only what is meant for this node counts: what listens there may be of another cluster by now.
  private func received(_ opening: Opening) {
    guard case .refusal(let refusal) = opening, refusal.to == hello.from else { return }
    logger.error("refused by a peer", metadata: ["peer": "\(label)", "cause": "\(refusal.text)"])
    guard refusal.clusterID == hello.clusterID, refusal.incarnation == hello.incarnation else { return }
    events.refused(refusal)
  }

  private func retry() {
    guard !isStopped else { return }
    let pause = TimeAmount.milliseconds(pauseMilliseconds)
    pauseMilliseconds = min(pauseMilliseconds * 2, Self.longestPauseMilliseconds)
    _ = eventLoop.assumeIsolated().scheduleTask(in: pause) { self.connect() }
  }
}

/// Reads the one frame that the listening side may answer with, and hangs up behind it. `@unchecked Sendable`: used on its
/// channel's event loop alone.
final class OpeningReader: ChannelInboundHandler, @unchecked Sendable {
  typealias InboundIn = ByteBuffer

  private let failed: (any Error) -> Void
  private let received: (Opening) -> Void
  private var gathered = ByteBuffer()
  private var isDone = false

  /// - Parameter failed: called with each error of the connection.
  init(failed: @escaping (any Error) -> Void = { _ in }, _ received: @escaping (Opening) -> Void) {
    self.failed = failed
    self.received = received
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard !isDone else { return }
    var piece = unwrapInboundIn(data)
    gathered.writeBuffer(&piece)
    guard let body = try? PeerCodec.readFrame(from: &gathered, atMost: PeerCodec.maxOpeningBytes) else {
      if gathered.readableBytes > PeerCodec.maxOpeningBytes { context.close(promise: nil) }
      return
    }
    isDone = true
    if let opening = try? Opening.read(body) { received(opening) }
    context.close(promise: nil)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    failed(error)
    context.close(promise: nil)
  }
}
