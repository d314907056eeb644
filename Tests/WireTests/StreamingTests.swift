import NIOCore
import NIOHTTP2
import Testing
import Wire

@Suite("Calls with many messages", .timeLimit(.minutes(1)))
struct StreamingTests {
  @Test("Messages go both ways in order, and each side ends on its own")
  func bothWays() async throws {
    try await withServer { server in
      let connection = try await server.connect()
      let received = Received()
      let stream = connection.openStream(TestPath.echoStream, handler: received)
      for number in 0..<100 { stream.send(ByteBuffer(string: "\(number)")) }
      for number in 0..<100 {
        #expect(try await received.events.next() == .message(ByteBuffer(string: "\(number)")))
      }
      stream.halfClose()
      #expect(try await received.events.next() == .closed(.ok))
    }
  }

  @Test("A stream may end with no message at all")
  func emptyStream() async throws {
    try await withServer { server in
      let connection = try await server.connect()
      let received = Received()
      connection.openStream(TestPath.echoStream, handler: received).halfClose()
      #expect(try await received.events.next() == .closed(.ok))
    }
  }

  @Test("A client that cancels closes the handler at the server")
  func cancelled() async throws {
    try await withServer { server in
      let connection = try await server.connect()
      let received = Received()
      let stream = connection.openStream(TestPath.echoStream, handler: received)
      #expect(try await server.seen.events.next() == .opened)
      stream.cancel()
      #expect(try await server.seen.events.next() == .closed)
      guard case .closed(let status) = try await received.events.next() else {
        Issue.record("a message came after the cancellation")
        return
      }
      #expect(status.code == .cancelled)
    }
  }

  @Test("A client that vanishes closes the handler at the server")
  func lost() async throws {
    try await withServer { server in
      let connection = try await server.connect()
      _ = connection.openStream(TestPath.echoStream, handler: Received())
      #expect(try await server.seen.events.next() == .opened)
      connection.close()
      #expect(try await server.seen.events.next() == .closed)
    }
  }

  @Test("A reader that stops reading blocks its own stream only, and wakes it by reading again")
  func slowReader() async throws {
    try await withServer { server in
      let client = try await RawHTTP2Client.connect(port: server.port)
      defer { client.close() }
      // The connection has room for everything; the stream keeps HTTP/2's 65,535 bytes.
      try await client.send(.windowUpdate(windowSizeIncrement: 100_000_000), on: .rootStream)
      try await client.open(TestPath.flood, on: 1)
      try await client.sendData(RawHTTP2Client.framed("go"), on: 1)
      #expect(try await server.seen.events.next() == .blocked)

      try await client.open(TestPath.echo, on: 3)
      try await client.sendData(RawHTTP2Client.framed("meanwhile"), on: 3, isEnd: true)
      #expect(try await client.answer(on: 3).data == RawHTTP2Client.framed("meanwhile"))

      try await client.send(.windowUpdate(windowSizeIncrement: 10_000_000), on: 1)
      #expect(try await server.seen.events.next() == .writable)
    }
  }

  @Test("A call to a unary method of many messages is refused")
  func tooManyMessages() async throws {
    try await withServer { server in
      let connection = try await server.connect()
      let received = Received()
      let stream = connection.openStream(TestPath.echo, handler: received)
      stream.send(ByteBuffer(string: "one"))
      stream.send(ByteBuffer(string: "two"))
      guard case .closed(let status) = try await received.events.next() else {
        Issue.record("the call was answered")
        return
      }
      #expect(status.code == .internalError)
    }
  }
}
