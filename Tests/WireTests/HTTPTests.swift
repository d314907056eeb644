import NIOCore
import NIOPosix
import Testing
import Wire

@Suite("HTTP/1 on the gRPC port", .timeLimit(.minutes(1)))
struct HTTPTests {
  /// Sends bytes as given and reads until the server closes.
  private func exchange(_ text: String, port: Int, pieceBytes: Int = .max) async throws -> String {
    let channel = try await ClientBootstrap(group: testGroup)
      .connect(host: "127.0.0.1", port: port) { channel in
        channel.eventLoop.makeCompletedFuture {
          try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
        }
      }
    return try await channel.executeThenClose { inbound, outbound in
      var rest = ByteBuffer(string: text)
      while let piece = rest.readSlice(length: min(pieceBytes, rest.readableBytes)), piece.readableBytes > 0 {
        try await outbound.write(piece)
      }
      var answer = ByteBuffer()
      for try await var bytes in inbound { answer.writeBuffer(&bytes) }
      return String(buffer: answer)
    }
  }

  @Test("A request is answered with the method, target, headers and body that it had", arguments: [1, 7, 10_000])
  func request(pieceBytes: Int) async throws {
    try await withServer { server in
      let text = try await self.exchange(
        "POST /v3/kv/put?x=1 HTTP/1.1\r\nHost: h\r\nX-Test: yes\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody",
        port: server.port, pieceBytes: pieceBytes)
      #expect(text.hasPrefix("HTTP/1.1 200 OK\r\n"))
      #expect(text.contains("content-length: 28\r\n"))
      #expect(text.hasSuffix("\r\n\r\nPOST /v3/kv/put?x=1 yes body"), "\(text)")
    }
  }

  @Test("A method that begins like HTTP/2's preface is still HTTP/1")
  func similarMethod() async throws {
    try await withServer { server in
      let text = try await self.exchange(
        "PRIOR / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", port: server.port)
      #expect(text.hasPrefix("HTTP/1.1 "))
    }
  }

  @Test("Requests on one connection are answered one after the other")
  func keepAlive() async throws {
    try await withServer { server in
      let text = try await self.exchange(
        "GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", port: server.port)
      let first = try #require(text.firstRange(of: "GET /a"))
      let second = try #require(text.firstRange(of: "GET /b"))
      #expect(first.lowerBound < second.lowerBound)
    }
  }

  @Test("A body beyond the limit is refused with 413")
  func tooLarge() async throws {
    var limits = WireLimits.patient
    limits.httpBodyBytes = 10
    try await withServer(limits: limits) { server in
      let text = try await self.exchange(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\nhello world", port: server.port)
      #expect(text.hasPrefix("HTTP/1.1 413 "))
    }
  }

  @Test("gRPC works on the port that HTTP/1 works on")
  func samePort() async throws {
    try await withServer { server in
      let connection = try await server.connect()
      #expect(try await connection.call(TestPath.echo, ByteBuffer(string: "x")) == ByteBuffer(string: "x"))
      let text = try await self.exchange("GET / HTTP/1.0\r\n\r\n", port: server.port)
      #expect(text.hasPrefix("HTTP/1.0 200 "))
    }
  }

  @Test("A connection that says nothing is closed")
  func silentConnection() async throws {
    var limits = WireLimits()
    limits.firstBytesTimeout = .milliseconds(20)
    try await withServer(limits: limits) { server in
      let text = try await self.exchange("", port: server.port)
      #expect(text.isEmpty)
    }
  }
}
