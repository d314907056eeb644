import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Protocol
import Testing
import Wire

@Suite("The client when things go wrong", .timeLimit(.minutes(1)))
struct ClientTests {
  @Test("A call that is not answered ends at its deadline, and the server is told")
  func deadline() async throws {
    try await withServer { server in
      let connection = try await server.connect()
      // On a busy machine a deadline may pass before the request has even left; then a longer one is tried.
      var milliseconds: Int64 = 30
      repeat {
        let deadline = NIODeadline.now() + .milliseconds(milliseconds)
        let error = await #expect(throws: RPCStatus.self) {
          try await connection.call(TestPath.silent, ByteBuffer(), deadline: deadline)
        }
        #expect(error?.code == .deadlineExceeded)
        #expect(NIODeadline.now() >= deadline)
        milliseconds *= 2
      } while server.seen.silentCallCount.withLockedValue { $0 } == 0
      #expect(try await server.seen.events.next() == .cancelled)
    }
  }

  @Test("Deadlines end calls in their own order, whatever order the calls were made in")
  func deadlines() async throws {
    try await withServer { server in
      let connection = try await server.connect()
      let ended = Signal<Int>()
      // In one turn of the event loop, so that all are waiting before the first can expire, however late the loop is.
      try await connection.eventLoop.submit {
        let now = NIODeadline.now()
        for milliseconds in [90, 30, 60] {
          connection.unary(
            TestPath.silent, ByteBuffer(), deadline: now + .milliseconds(Int64(milliseconds))
          ) { _ in ended.send(milliseconds) }
        }
      }.get()
      for expected in [30, 60, 90] { #expect(try await ended.next() == expected) }
    }
  }

  @Test("A cancelled task cancels its call")
  func cancelledTask() async throws {
    try await withServer { server in
      let connection = try await server.connect()
      let task = Task {
        try await connection.unary(
          TestPath.silent, Portcullis_V1_KeysRequest(), as: Portcullis_V1_KeysResponse.self)
      }
      let call = try await server.seen.silentCalls.next()
      task.cancel()
      let error = await #expect(throws: RPCStatus.self) { try await task.value }
      #expect(error?.code == .cancelled)
      #expect(try await server.seen.events.next() == .cancelled)
      // An answer that comes too late goes nowhere.
      try await call.eventLoop.submit { call.respond(encoded: ByteBuffer()) }.get()
    }
  }

  @Test("A task that is cancelled before its call is open makes none")
  func cancelledBefore() async throws {
    try await withServer { server in
      let connection = try await server.connect()
      let task = Task {
        withUnsafeCurrentTask { $0?.cancel() }
        return try await connection.unary(
          TestPath.silent, Portcullis_V1_KeysRequest(), as: Portcullis_V1_KeysResponse.self)
      }
      let error = await #expect(throws: RPCStatus.self) { try await task.value }
      #expect(error?.code == .cancelled)
      // Behind it on the same connection.
      _ = try await connection.unary(TestPath.echo, Portcullis_V1_KeysRequest(), as: Portcullis_V1_KeysRequest.self)
      #expect(server.seen.silentCallCount.withLockedValue { $0 } == 0)
    }
  }

  @Test("A lost connection fails the calls on it as unavailable, and later ones too")
  func connectionLoss() async throws {
    // Accepts, and closes as soon as it has read something.
    let server = try await ServerBootstrap(group: testGroup)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Closer()) }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    let port = try #require(server.localAddress?.port)
    let connection = try await WireConnection.connect(host: "127.0.0.1", port: port, on: testGroup.next()).get()
    for _ in 0..<2 {
      let error = await #expect(throws: RPCStatus.self) {
        try await connection.call(TestPath.echo, ByteBuffer(string: "x"))
      }
      #expect(error?.code == .unavailable)
      #expect(error?.message.contains("127.0.0.1:\(port)") == true)
      try await connection.closeFuture.get()
    }
    try await server.close()
  }

  private final class Closer: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    func channelRead(context: ChannelHandlerContext, data: NIOAny) { context.close(promise: nil) }
  }

  @Test("A server that is not there is named in the error")
  func nobodyThere() async throws {
    let placeholder = try await ServerBootstrap(group: testGroup).bind(host: "127.0.0.1", port: 0).get()
    let port = try #require(placeholder.localAddress?.port)
    try await placeholder.close()
    let error = await #expect(throws: RPCStatus.self) {
      _ = try await WireConnection.connect(host: "127.0.0.1", port: port, on: testGroup.next()).get()
    }
    #expect(error == RPCStatus(.unavailable, "cannot connect to 127.0.0.1:\(port): Connection refused"))
  }

  @Test("Answers that are not gRPC fail the call instead of hanging it")
  func notGRPC() async throws {
    // Speaks HTTP/1 to everybody.
    let server = try await ServerBootstrap(group: testGroup)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(HTTP1Speaker()) }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    let port = try #require(server.localAddress?.port)
    let connection = try await WireConnection.connect(host: "127.0.0.1", port: port, on: testGroup.next()).get()
    let error = await #expect(throws: RPCStatus.self) {
      try await connection.call(TestPath.echo, ByteBuffer(string: "x"))
    }
    #expect(error?.code == .unavailable)
    try await server.close()
  }

  private final class HTTP1Speaker: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer
    func channelActive(context: ChannelHandlerContext) {
      let answer = ByteBuffer(string: "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
      context.writeAndFlush(self.wrapOutboundOut(answer), promise: nil)
    }
  }
}
