// Clients that ask and do not read, and clients that connect and do nothing: what they make the server hold is bounded.

import NIOCore
import NIOPosix
import Testing
import Wire

@Suite("Clients that do not read", .timeLimit(.minutes(1)))
struct UnreadAnswersTests {
  private static var quick: WireLimits {
    var limits = WireLimits.patient
    limits.lookInterval = .milliseconds(20)
    return limits
  }

  /// SETTINGS with an initial window of nothing: no byte of an answer may be sent.
  private static let noWindow: [UInt8] = [0, 4, 0, 0, 0, 0]

  private static func call(_ bytes: Int, stream: UInt32) -> ByteBuffer {
    var buffer = RawFrame.request(TestPath.echo, stream: stream).bytes
    var message = ByteBuffer(bytes: [0])
    message.writeInteger(UInt32(bytes))
    message.writeRepeatingByte(5, count: bytes)
    while let part = message.readBytes(length: min(16_384, message.readableBytes)), !part.isEmpty {
      let flags = message.readableBytes == 0 ? RawFrame.endStream : 0
      buffer.writeImmutableBuffer(RawFrame(.data, flags: flags, stream: stream, part).bytes)
    }
    return buffer
  }

  @Test("Large answers that nobody reads have a bound, beyond which calls are refused")
  func boundedAnswers() async throws {
    var limits = Self.quick
    limits.unreadAnswerBytes = 450_000
    try await withNeighbour(limits: limits) { server in
      let deaf = try await RawConnection.connectHTTP2(port: server.port, settings: Self.noWindow)
      for number in 0..<10 { try await deaf.send(Self.call(100_000, stream: UInt32(2 * number + 1))) }
      // Four wait. Of the others the client hears at once, for headers need no window.
      try await deaf.wait { frames in
        frames.filter { $0.kind == 1 && $0.flags & RawFrame.endStream != 0 }.count == 6
      }
      // With room they come.
      try await deaf.send(RawFrame(.settings, [0, 4, 0, 0x10, 0, 0]))
      try await deaf.send(RawFrame(.windowUpdate, [0, 0x10, 0, 0]))
      try await deaf.wait { frames in
        frames.filter { $0.kind == 0 }.reduce(0) { $0 + $1.payload.count } == 4 * 100_005
      }
      deaf.close()
    }
  }

  @Test("Who gives no room, or a byte at a time, is shut out in the end", arguments: [false, true])
  func windowGames(givesBytes: Bool) async throws {
    var limits = Self.quick
    limits.stalledTimeout = .milliseconds(100)
    try await withNeighbour(limits: limits) { server in
      let deaf = try await RawConnection.connectHTTP2(port: server.port, settings: Self.noWindow)
      try await deaf.send(Self.call(1000, stream: 1))
      if givesBytes {
        await deaf.sendUntilClosed(RawFrame(.windowUpdate, stream: 1, [0, 0, 0, 1]).bytes, every: .milliseconds(5))
      }
      #expect(try await deaf.farewell() == RawError.enhanceYourCalm)
    }
  }

  @Test("A stream's short answers that pile up unread end the stream")
  func shortAnswers() async throws {
    var limits = Self.quick
    limits.streamQueueBytes = 2000
    limits.streamQueueHardBytes = 10_000
    try await withNeighbour(limits: limits) { server in
      let deaf = try await RawConnection.connectHTTP2(port: server.port, settings: Self.noWindow)
      try await deaf.send(RawFrame.request(TestPath.echoStream, stream: 1))
      let message: [UInt8] = [0, 0, 0, 0, 200] + Array(repeating: 1, count: 200)
      for _ in 0..<100 { try await deaf.send(RawFrame(.data, stream: 1, message)) }
      try await deaf.wait { $0.contains { $0.stream == 1 && $0.errorCode == RawError.enhanceYourCalm } }
      #expect(try await server.seen.events.next() == .opened)
      #expect(try await server.seen.events.next() == .closed)
      deaf.close()
    }
  }

  @Test("Answers that no window holds back, to a socket that nobody reads, have a bound too")
  func socketBacklog() async throws {
    var limits = Self.quick
    limits.channelQueueHighBytes = 64 * 1024
    limits.channelQueueLowBytes = 16 * 1024
    limits.channelQueueHardBytes = 256 * 1024
    try await withNeighbour(limits: limits) { server in
      let deaf = try await RawConnection.connectHTTP2(port: server.port)
      try await deaf.stopReading()
      // The refusal of an unknown method repeats its name.
      let name = "/test.Test/" + String(repeating: "n", count: 110)
      var flood = ByteBuffer()
      var stream: UInt32 = 1
      while stream < 2_000_001 {
        flood.clear()
        for _ in 0..<200 {
          let flags = RawFrame.endHeaders | RawFrame.endStream
          flood.writeImmutableBuffer(RawFrame.request(name, stream: stream, flags: flags).bytes)
          stream += 2
        }
        guard (try? await deaf.send(flood)) != nil else { break }
      }
      #expect(stream < 2_000_001, "shut out before a million calls")
      deaf.close()
    }
  }

  @Test("Idle connections make room when there are as many as there may be", arguments: ["", "GET / HT", "http2"])
  func idle(says text: String) async throws {
    var limits = Self.quick
    limits.connections = 8
    try await withServer(limits: limits) { server in
      var idle: [RawConnection] = []
      for _ in 0..<8 {
        let connection =
          text == "http2"
          ? try await RawConnection.connectHTTP2(port: server.port) : try await RawConnection.connect(port: server.port)
        if text != "http2", !text.isEmpty { try await connection.send(text) }
        idle.append(connection)
      }
      // The ninth waits until others have gone, and they do.
      let connection = try await server.connect()
      #expect(try await connection.call(TestPath.echo, ByteBuffer(string: "x")) == ByteBuffer(string: "x"))
      connection.close()
      for other in idle { other.close() }
    }
  }

  @Test("Connections beyond the limit wait, and are served as others go")
  func waiting() async throws {
    var limits = Self.quick
    limits.connections = 2
    // Nobody is idle for so long that it would be asked to go.
    limits.lookInterval = .minutes(10)
    try await withServer(limits: limits) { server in
      let busy = [try await server.connect(), try await server.connect()]
      for connection in busy {
        connection.unary(TestPath.silent, ByteBuffer(), metadata: [], deadline: nil) { _ in }
      }
      let calls = [try await server.seen.silentCalls.next(), try await server.seen.silentCalls.next()]
      let third = try await RawConnection.connect(port: server.port)
      try await third.send("GET /later HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
      // Calls under way keep their connections; one of them ends, and its client goes.
      calls[0].eventLoop.execute { calls[0].respond(encoded: ByteBuffer()) }
      for connection in busy { connection.close() }
      #expect(String(buffer: try await third.rest()).contains("GET /later"))
    }
  }
}
