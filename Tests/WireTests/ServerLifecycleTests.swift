import Foundation
import Logging
import NIOCore
import NIOPosix
import Testing
import Wire

@Suite("Starting and stopping a server", .timeLimit(.minutes(1)))
struct ServerLifecycleTests {
  private func start(host: String, port: Int) async throws -> WireServer {
    try await WireServer.start(
      host: host, port: port, group: testGroup, router: RPCRoutes([:]),
      http: { _, eventLoop in eventLoop.makeSucceededFuture(HTTPReply(status: 404, text: "")) },
      logger: Logger(label: "test"))
  }

  @Test("A port in use is named in the error")
  func portInUse() async throws {
    try await withServer { server in
      let error = await #expect(throws: WireServerError.self) {
        try await self.start(host: "127.0.0.1", port: server.port)
      }
      #expect(error?.code == .addressInUse)
      #expect(error?.description.hasPrefix("127.0.0.1:\(server.port) is already in use") == true)
    }
  }

  @Test("An address of another machine is named in the error", arguments: ["192.0.2.1", "256.1.1.1"])
  func foreignAddress(host: String) async throws {
    let error = await #expect(throws: WireServerError.self) { try await self.start(host: host, port: 0) }
    #expect(error?.code == .addressNotAvailable)
    #expect(error?.description.contains(host) == true)
  }

  @Test("A socket in the file system serves, takes the place of a stale one, and is gone after the shutdown")
  func unixSocket() async throws {
    let path = NSTemporaryDirectory() + "/portcullis-\(UUID().uuidString.prefix(8)).sock"
    func start() async throws -> WireServer {
      try await WireServer.start(
        at: .unix(path: path), group: testGroup, router: RPCRoutes([:]),
        http: { _, eventLoop in eventLoop.makeSucceededFuture(HTTPReply(status: 404, text: "")) },
        logger: Logger(label: "test"))
    }
    let first = try await start()
    let client = try await ClientBootstrap(group: testGroup).connect(unixDomainSocketPath: path).get()
    let second = try await start()
    try await client.close()
    await second.shutdown(grace: .zero)
    #expect(!FileManager.default.fileExists(atPath: path))
    await first.shutdown(grace: .zero)
    try Data().write(to: URL(fileURLWithPath: path))
    await #expect { _ = try await start() } throws: { "\($0)".contains(path) }
    try FileManager.default.removeItem(atPath: path)
  }

  @Test("A call in flight is finished by a shutdown, and the connection then closes")
  func finishesCalls() async throws {
    try await withServer { server in
      let connection = try await server.connect()
      async let answer = connection.call(TestPath.silent, ByteBuffer())
      let call = try await server.seen.silentCalls.next()
      async let stopped: Void = server.server.shutdown(grace: .minutes(1))
      // Only a draining server refuses a new connection, so from here on the call is in flight during the shutdown.
      while (try? await server.connect()) != nil {}
      call.eventLoop.execute { call.respond(encoded: ByteBuffer(string: "done")) }
      #expect(try await answer == ByteBuffer(string: "done"))
      await stopped
      try await connection.closeFuture.get()
    }
  }

  @Test("A streaming call is told to go elsewhere when the server stops")
  func endsStreams() async throws {
    try await withServer { server in
      let connection = try await server.connect()
      let received = Received()
      _ = connection.openStream(TestPath.echoStream, handler: received)
      #expect(try await server.seen.events.next() == .opened)
      await server.server.shutdown(grace: .minutes(1))
      #expect(try await received.events.next() == .closed(RPCStatus(.unavailable, "etcdserver: server stopped")))
      #expect(try await server.seen.events.next() == .closed)
    }
  }

  @Test("A call that outlasts the grace is cut off")
  func graceEnds() async throws {
    try await withServer { server in
      let connection = try await server.connect()
      let answer = Task { try await connection.call(TestPath.silent, ByteBuffer()) }
      _ = try await server.seen.silentCalls.next()
      await server.server.shutdown(grace: .milliseconds(20))
      let error = await #expect(throws: RPCStatus.self) { try await answer.value }
      #expect(error?.code == .unavailable)
      #expect(try await server.seen.events.next() == .cancelled)
    }
  }
}
