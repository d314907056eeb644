import NIOCore
import NIOHTTP2
import Testing
import Wire

@Suite("Windows and limits", .timeLimit(.minutes(1)))
struct FlowControlTests {
  private static func pattern(_ count: Int) -> ByteBuffer {
    var buffer = ByteBuffer()
    buffer.reserveCapacity(count)
    for index in 0..<count { buffer.writeInteger(UInt8(truncatingIfNeeded: index &* 31 &+ index / 251)) }
    return buffer
  }

  @Test("A message of ten megabytes passes windows of 64 KiB in both directions")
  func bigMessage() async throws {
    var limits = WireLimits.patient
    limits.messageBytes = 11_000_000
    limits.streamWindowBytes = 64 * 1024
    limits.connectionWindowBytes = 100_000
    try await withServer(limits: limits) { server in
      let connection = try await server.connect(limits: limits)
      let message = Self.pattern(10_000_000)
      let answer = try await connection.call(TestPath.echo, message)
      #expect(answer == message)
    }
  }

  @Test("Many messages on one stream use its windows up again and again")
  func longStream() async throws {
    var limits = WireLimits.patient
    limits.streamWindowBytes = 64 * 1024
    limits.connectionWindowBytes = 100_000
    try await withServer(limits: limits) { server in
      let connection = try await server.connect(limits: limits)
      let received = Received()
      let stream = connection.openStream(TestPath.echoStream, handler: received)
      let message = Self.pattern(50_000)
      for _ in 0..<200 { stream.send(message) }
      for _ in 0..<200 { #expect(try await received.events.next() == .message(message)) }
      stream.halfClose()
      #expect(try await received.events.next() == .closed(.ok))
    }
  }

  @Test("A request that is too large is refused in gRPC's words, and the connection goes on")
  func tooLarge() async throws {
    try await withServer { server in
      let connection = try await server.connect()
      let limit = WireLimits().messageBytes
      let fits = ByteBuffer(repeating: 1, count: limit)
      #expect(try await connection.call(TestPath.echo, fits).readableBytes == limit)
      // More than the connection's window in sum: refused requests must give their bytes back.
      for _ in 0..<12 {
        let error = await #expect(throws: RPCStatus.self) {
          try await connection.call(TestPath.echo, ByteBuffer(repeating: 1, count: limit + 1))
        }
        let message = "grpc: received message larger than max (\(limit + 1) vs. \(limit))"
        #expect(error == RPCStatus(.resourceExhausted, message))
      }
      #expect(try await connection.call(TestPath.echo, fits).readableBytes == limit)
    }
  }

  @Test("An answer that is too large for the client fails that call only")
  func answerTooLarge() async throws {
    try await withServer { server in
      var limits = WireLimits.client
      limits.messageBytes = 1000
      let connection = try await server.connect(limits: limits)
      let error = await #expect(throws: RPCStatus.self) {
        try await connection.call(TestPath.echo, ByteBuffer(repeating: 1, count: 1001))
      }
      #expect(error?.code == .resourceExhausted)
      #expect(try await connection.call(TestPath.echo, ByteBuffer(string: "x")) == ByteBuffer(string: "x"))
    }
  }
}
