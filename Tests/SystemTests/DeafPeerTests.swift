// A peer that takes nothing any more, though its connection stands: a machine behind a partition, or one that hangs.

import Foundation
import NIOCore
import NIOPosix
import Testing

@Suite("a deaf peer", .timeLimit(.minutes(2)))
struct DeafPeerTests {
  /// The kernel of a machine that is gone does not say so. What stands in for it here is a peer that never reads: once its
  /// small buffer is full nothing more is taken, and nothing is closed.
  @Test("a connection on which a peer takes nothing for seconds is made again")
  func connectsAnew() async throws {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let (accepted, feed) = AsyncStream<Void>.makeStream()
    let peer = try await ServerBootstrap(group: group)
      .serverChannelOption(.socketOption(.so_rcvbuf), value: 2048)
      .childChannelOption(.autoRead, value: false)
      .childChannelInitializer { channel in
        feed.yield()
        return channel.eventLoop.makeSucceededVoidFuture()
      }
      .bind(host: "127.0.0.1", port: 0).get()
    let deaf = try #require(peer.localAddress?.port)
    let directory = try ScratchDirectory()
    let ports = Ports.free(2)
    let node = try RunningProgram([
      "core", "--name", "a", "--data-dir", directory("a"), "--listen-client-urls", "http://127.0.0.1:\(ports[0])",
      "--listen-peer-urls", "http://127.0.0.1:\(ports[1])",
      "--initial-cluster", "a=http://127.0.0.1:\(ports[1]),b=http://127.0.0.1:\(deaf)",
      "--initial-cluster-token", "deaf-peer",
      // It asks for a vote in every election timeout, which is what fills the peer's buffer.
      "--heartbeat-interval", "10", "--election-timeout", "50",
    ])
    var connections = accepted.makeAsyncIterator()
    for number in 1...3 { #expect(await connections.next() != nil, "connection \(number)") }
    node.send(SIGTERM)
    _ = await node.exitCode()
    try await peer.close()
    try await group.shutdownGracefully()
  }
}
