// Messages between nodes, over TCP. Each node connects to each other one and sends on the connections that it made
// itself; what it accepts it only reads. Raft copes with lost messages, so a connection that breaks loses what was on
// its way and reports the peer unreachable; it never queues without bound.

import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import RaftCore

final class PeerTransport: Sendable {
  struct Delivery: Sendable {
    /// Called on an event loop with messages in the order in which they were sent.
    let received: @Sendable ([Message], NodeID) -> Void
    let unreachable: @Sendable (NodeID) -> Void
  }

  private let cluster: ClusterMap
  private let incarnation: UInt64
  private let group: any EventLoopGroup
  private let logger: Logger
  private let delivery: Delivery
  private let links: [NodeID: PeerLink]
  private let listener: NIOLockedValueBox<(any Channel)?> = NIOLockedValueBox(nil)
  private let accepted = NIOLockedValueBox<[ObjectIdentifier: any Channel]>([:])

  init(
    cluster: ClusterMap, incarnation: UInt64, group: any EventLoopGroup, logger: Logger, delivery: Delivery
  ) {
    self.cluster = cluster
    self.incarnation = incarnation
    self.group = group
    self.logger = logger
    self.delivery = delivery
    var links: [NodeID: PeerLink] = [:]
    for member in cluster.others {
      let hello = Hello(
        clusterID: cluster.clusterID, incarnation: incarnation, from: cluster.localID, to: member.id)
      links[member.id] = PeerLink(
        member: member, hello: hello, eventLoop: group.next(), logger: logger,
        onLost: { [delivery] in delivery.unreachable(member.id) })
    }
    self.links = links
  }

  /// - Parameters: where to listen; a cluster of one does not.
  func start(host: String, port: Int) async throws(NodeError) {
    guard !cluster.others.isEmpty else { return }
    let bootstrap = ServerBootstrap(group: group)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      .childChannelInitializer { [self] channel in
        channel.eventLoop.makeCompletedFuture {
          let reader = PeerReaderHandler(
            cluster: cluster, incarnation: incarnation, logger: logger, received: delivery.received)
          try channel.pipeline.syncOperations.addHandler(reader)
          accepted.withLockedValue { $0[ObjectIdentifier(channel)] = channel }
          channel.closeFuture.whenComplete { [accepted] _ in
            accepted.withLockedValue { $0[ObjectIdentifier(channel)] = nil }
          }
        }
      }
    do {
      let channel = try await bootstrap.bind(host: host, port: port).get()
      listener.withLockedValue { $0 = channel }
    } catch {
      throw .network(
        "cannot listen for peers on \(host):\(port): \(error). Is another node using the address (--listen-peer-urls)?")
    }
    for link in links.values { link.start() }
  }

  /// Sends messages in order, if the peer can be reached. Any thread.
  func send(_ messages: [Message], to peer: NodeID) {
    links[peer]?.send(messages)
  }

  func stop() async {
    for link in links.values { link.stop() }
    try? await listener.withLockedValue { $0 }?.close()
    for channel in accepted.withLockedValue({ Array($0.values) }) { try? await channel.close() }
  }
}

/// The reading end of a connection. `@unchecked Sendable`: used on its channel's event loop alone.
private final class PeerReaderHandler: ChannelInboundHandler, @unchecked Sendable {
  typealias InboundIn = ByteBuffer

  private let cluster: ClusterMap
  private let incarnation: UInt64
  private let logger: Logger
  private let received: @Sendable ([Message], NodeID) -> Void
  private var gathered = ByteBuffer()
  private var peer: NodeID?

  init(
    cluster: ClusterMap, incarnation: UInt64, logger: Logger, received: @escaping @Sendable ([Message], NodeID) -> Void
  ) {
    self.cluster = cluster
    self.incarnation = incarnation
    self.logger = logger
    self.received = received
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var piece = unwrapInboundIn(data)
    if gathered.readableBytes == 0 { gathered = piece } else { gathered.writeBuffer(&piece) }
    do {
      var messages: [Message] = []
      while let body = try PeerCodec.readFrame(from: &gathered) {
        if peer == nil {
          guard try greet(body) else { return context.close(promise: nil) }
        } else {
          messages.append(try PeerCodec.read(body))
        }
      }
      if let peer, !messages.isEmpty { received(messages, peer) }
      if gathered.readableBytes == 0 { gathered = ByteBuffer() } else { gathered.discardReadBytes() }
    } catch {
      logger.error("a peer's connection is closed", metadata: ["cause": "\(error)"])
      context.close(promise: nil)
    }
  }

  /// Answers with the same greeting, or says nothing and hangs up, which the other side logs.
  private func greet(_ body: ByteBuffer) throws -> Bool {
    let hello = try Hello.read(body)
    if let problem = hello.problem(for: cluster, incarnation: incarnation) {
      logger.error("a peer is refused", metadata: ["cause": "\(problem)"])
      return false
    }
    peer = hello.from
    return true
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
