// gRPC's rules about pings, at the server.

import NIOCore
import NIOHTTP2
import NIOPosix
import Testing
import Wire

@Suite("Keepalive", .timeLimit(.minutes(1)))
struct KeepaliveTests {
  private func limits(_ change: (inout KeepalivePolicy) -> Void) -> WireLimits {
    var limits = WireLimits.patient
    limits.keepalive.interval = nil
    change(&limits.keepalive)
    return limits
  }

  private func ping(_ client: RawHTTP2Client) async throws {
    try await client.send(.ping(HTTP2PingData(withInteger: 1), ack: false), on: .rootStream)
  }

  @Test("A client that pings too soon, three times after its first, is disconnected with ENHANCE_YOUR_CALM")
  func tooManyPings() async throws {
    try await withServer(limits: self.limits { $0.minimumClientInterval = .hours(1) }) { server in
      let client = try await RawHTTP2Client.connect(port: server.port)
      // The first makes up for nothing having been sent yet; then one that is in time; then strikes.
      // The last ones may meet a connection that is closed already.
      for _ in 0..<5 { try? await self.ping(client) }
      let (code, text) = try await client.nextGoAway()
      #expect(code == .enhanceYourCalm && text == "too_many_pings")
      try await client.closeFuture.get()
    }
  }

  @Test("A ping for each answer is what clients do to measure the bandwidth, and is no strike")
  func pingsForAnswers() async throws {
    try await withServer(limits: self.limits { $0.minimumClientInterval = .hours(1) }) { server in
      let client = try await RawHTTP2Client.connect(port: server.port)
      for round in 0..<20 {
        let stream = HTTP2StreamID(2 * round + 1)
        try await client.open(TestPath.echo, on: stream)
        try await client.sendData(RawHTTP2Client.framed("x"), on: stream, isEnd: true)
        _ = try await client.answer(on: stream)
        try await self.ping(client)
      }
      client.close()
    }
  }

  @Test("Without a bound a client may ping as often as it likes")
  func noBound() async throws {
    try await withServer(limits: self.limits { $0.minimumClientInterval = nil }) { server in
      let client = try await RawHTTP2Client.connect(port: server.port)
      for _ in 0..<50 { try await self.ping(client) }
      try await client.open(TestPath.echo, on: 1)
      try await client.sendData(RawHTTP2Client.framed("x"), on: 1, isEnd: true)
      #expect(try await client.answer(on: 1).trailers.first(name: "grpc-status") == "0")
      client.close()
    }
  }

  @Test("A client of which nothing comes is pinged, and stays if it answers")
  func answering() async throws {
    let limits = self.limits {
      $0.interval = .milliseconds(10)
      $0.timeout = .seconds(50)
    }
    try await withServer(limits: limits) { server in
      let client = try await RawHTTP2Client.connect(port: server.port)
      for _ in 0..<3 { try await client.nextPing() }
      client.close()
    }
  }

  @Test("and is disconnected when it does not")
  func silent() async throws {
    let limits = self.limits {
      $0.interval = .milliseconds(10)
      $0.timeout = .milliseconds(10)
    }
    try await withServer(limits: limits) { server in
      // The connection preface and empty settings, and never a word again.
      let client = try await SilentClient.connect(port: server.port)
      try await client.closeFuture.get()
    }
  }
}

private enum SilentClient {
  static func connect(port: Int) async throws -> any Channel {
    let channel = try await ClientBootstrap(group: testGroup).connect(host: "127.0.0.1", port: port).get()
    var bytes = ByteBuffer(string: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    bytes.writeBytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
    try await channel.writeAndFlush(bytes).get()
    return channel
  }
}
