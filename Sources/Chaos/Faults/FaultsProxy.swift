// What stands between the peers of a cluster under faults: every node's advertised address is a port of this proxy, the
// node itself listens elsewhere, so every message between two nodes goes through here and can be kept from arriving.
//
// A node sends only on connections that it made itself, so a connection is one direction of one pair. Who made it is
// looked up in the system's table of sockets and not read from the messages: the proxy knows nothing of their format.
//
// Invariants:
// - Within one connection bytes arrive in order and without gaps; where some were dropped the connection is closed when
//   the fault ends, as a torn stream would be no stream.
// - Everything is touched on one event loop.

import Conformance
import Foundation
package import Glibc
import NIOCore
import NIOPosix

/// One direction between two nodes, by their places in the list of members.
package struct FaultsDirection: Hashable, Sendable, CustomStringConvertible {
  package let from: Int
  package let to: Int

  package var description: String { "\(FaultsCluster.name(from))→\(FaultsCluster.name(to))" }

  /// Every direction among so many nodes.
  package static func all(_ nodes: Int) -> [FaultsDirection] {
    (0..<nodes).flatMap { from in (0..<nodes).filter { $0 != from }.map { FaultsDirection(from: from, to: $0) } }
  }
}

/// What one direction does to what is sent over it.
package enum FaultsLink: Equatable, Sendable {
  case open
  /// Connections are closed, and new ones as soon as they are made: the sender sees it at once.
  case cut
  /// What is sent is taken and thrown away: the sender sees nothing. Ends with the connection closed.
  case drop
  /// What is sent is kept and arrives when the fault ends, late and in order: the old messages of TCP's own buffers.
  case hold
  /// Everything arrives later by so many milliseconds.
  case delay(Int)
}

/// `@unchecked Sendable`: every `var` is touched on `loop` alone.
package final class FaultsProxy: @unchecked Sendable {
  private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
  private let loop: any EventLoop
  private var links: [FaultsDirection: FaultsLink] = [:]
  private var pairs: [FaultsPair] = []
  private var listeners: [any Channel] = []
  private var processes: [Int: pid_t] = [:]

  package init() { loop = group.any() }

  /// Listens on a free port for each node and passes on to where the node really listens.
  /// - Returns: the ports, which the nodes advertise.
  func start(_ actual: [Int]) async throws -> [Int] {
    let advertised = Ports.free(actual.count)
    for (node, (port, target)) in zip(advertised, actual).enumerated() {
      let listener = try await ServerBootstrap(group: loop)
        .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
        .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
        .childChannelOption(.autoRead, value: false)
        .childChannelInitializer { [self] channel in accept(channel, for: node, at: port, target: target) }
        .bind(host: "127.0.0.1", port: port).get()
      try await loop.submit { self.listeners.append(listener) }.get()
    }
    return advertised
  }

  /// Tells whose sockets are whose. Nil: the process is gone.
  package func setProcess(_ process: pid_t?, of node: Int) async throws {
    try await loop.submit { self.processes[node] = process }.get()
  }

  /// Puts directions into a state; the others stay as they are.
  package func set(_ link: FaultsLink, on directions: [FaultsDirection]) async throws {
    try await loop.submit {
      for direction in directions { self.links[direction] = link }
      self.pairs.removeAll { $0.isClosed }
      for pair in self.pairs where directions.contains(pair.direction) { pair.set(link) }
    }.get()
  }

  package func heal() async throws {
    try await loop.submit {
      for direction in self.links.keys { self.links[direction] = .open }
      self.pairs.removeAll { $0.isClosed }
      for pair in self.pairs { pair.set(.open) }
    }.get()
  }

  package func stop() async {
    try? await loop.submit {
      for listener in self.listeners { listener.close(promise: nil) }
      for pair in self.pairs { pair.close() }
    }.get()
    try? await group.shutdownGracefully()
  }

  private func accept(_ channel: any Channel, for node: Int, at port: Int, target: Int) -> EventLoopFuture<Void> {
    guard let remote = channel.remoteAddress?.port, let sender = sender(from: remote, to: port), sender != node else {
      // Its process is gone, or it is nobody's that is known: nothing of it may get through.
      return channel.close()
    }
    let direction = FaultsDirection(from: sender, to: node)
    let pair = FaultsPair(direction: direction, link: links[direction] ?? .open, inbound: channel, target: target)
    pairs.removeAll { $0.isClosed }
    pairs.append(pair)
    return channel.pipeline.addHandler(
      FaultsHandler {
        pair.received($0)
      } onClosed: {
        pair.close()
      }
    )
    .map { pair.start() }
  }

  /// The node that holds the other end of a connection to `port` from `remote`.
  private func sender(from remote: Int, to port: Int) -> Int? {
    guard let inode = SocketTable.inode(localPort: remote, remotePort: port) else { return nil }
    return processes.first { SocketTable.process($0.value, holds: inode) }?.key
  }
}

/// One connection through the proxy. Touched on the proxy's event loop alone, hence `@unchecked Sendable`.
private final class FaultsPair: @unchecked Sendable {
  let direction: FaultsDirection
  private(set) var isClosed = false
  private var link: FaultsLink
  private let inbound: any Channel
  private let target: Int
  private var outbound: (any Channel)?
  /// What waits for the connection onwards, for a delay or for the end of a fault, with the time at which it may go.
  private var waiting: [(due: NIODeadline, bytes: ByteBuffer)] = []
  private var hasDropped = false

  init(direction: FaultsDirection, link: FaultsLink, inbound: any Channel, target: Int) {
    self.direction = direction
    self.link = link
    self.inbound = inbound
    self.target = target
  }

  func start() {
    if link == .cut { return close() }
    inbound.setOption(.autoRead, value: true).whenFailure { _ in self.close() }
    ClientBootstrap(group: inbound.eventLoop)
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .channelInitializer { channel in
        channel.pipeline.addHandler(
          FaultsHandler {
            self.answered($0)
          } onClosed: {
            self.close()
          })
      }
      .connect(host: "127.0.0.1", port: target)
      .whenComplete { result in
        guard case .success(let channel) = result, !self.isClosed else {
          if case .success(let channel) = result { channel.close(promise: nil) }
          return self.close()
        }
        self.outbound = channel
        self.pump()
      }
  }

  func set(_ new: FaultsLink) {
    guard !isClosed else { return }
    let old = link
    link = new
    if new == .cut || (old == .drop && hasDropped && new != .drop) { return close() }
    pump()
  }

  func received(_ bytes: ByteBuffer) {
    switch link {
    case .drop: hasDropped = true
    case .cut: break
    case .delay(let milliseconds): waiting.append((.now() + .milliseconds(Int64(milliseconds)), bytes))
    case .open, .hold: waiting.append((.now(), bytes))
    }
    pump()
  }

  /// The receiving end says nothing of its own accord; if it does, the sender hears it.
  private func answered(_ bytes: ByteBuffer) { inbound.writeAndFlush(bytes, promise: nil) }

  private func pump() {
    guard let outbound, !isClosed, link != .hold else { return }
    if link == .drop, !waiting.isEmpty {
      hasDropped = true
      waiting = []
    }
    let now = NIODeadline.now()
    while let first = waiting.first {
      guard first.due <= now else {
        inbound.eventLoop.assumeIsolated().scheduleTask(deadline: first.due) { self.pump() }
        return
      }
      waiting.removeFirst()
      outbound.writeAndFlush(first.bytes, promise: nil)
    }
  }

  func close() {
    guard !isClosed else { return }
    isClosed = true
    waiting = []
    inbound.close(promise: nil)
    outbound?.close(promise: nil)
  }
}

/// `@unchecked Sendable`: used on its channel's event loop alone.
private final class FaultsHandler: ChannelInboundHandler, @unchecked Sendable {
  typealias InboundIn = ByteBuffer

  private let onBytes: (ByteBuffer) -> Void
  private let onClosed: () -> Void

  init(onBytes: @escaping (ByteBuffer) -> Void, onClosed: @escaping () -> Void) {
    self.onBytes = onBytes
    self.onClosed = onClosed
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) { onBytes(unwrapInboundIn(data)) }
  func channelInactive(context: ChannelHandlerContext) { onClosed() }
  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
