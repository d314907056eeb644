// The same over HTTP/1.

import NIOCore
import Testing
import Wire

@Suite("HTTP/1 abused", .timeLimit(.minutes(1)))
struct HTTPAbuseTests {
  private static var quick: WireLimits {
    var limits = WireLimits.patient
    limits.requestTimeout = .milliseconds(80)
    return limits
  }

  private static func answer(to text: String, _ server: TestServer) async throws -> String {
    let connection = try await RawConnection.connect(port: server.port)
    try? await connection.send(text)
    return String(buffer: try await connection.rest())
  }

  @Test("A head that does not end is closed, and a body that does not end is answered first")
  func slow() async throws {
    try await withNeighbour(limits: Self.quick) { server in
      #expect(try await Self.answer(to: "GET /slow HTTP/1.1\r\nHost: h\r\nX-", server) == "")
      let body = try await Self.answer(to: "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf", server)
      #expect(body.hasPrefix("HTTP/1.1 408 "))
      let drip = try await RawConnection.connect(port: server.port)
      try await drip.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
      await drip.sendUntilClosed(ByteBuffer(string: "1\r\nx\r\n"), every: .milliseconds(10))
      #expect(String(buffer: try await drip.rest()).hasPrefix("HTTP/1.1 408 "))
    }
  }

  @Test("A connection that is kept after its reply is closed when no other request comes")
  func keptAlive() async throws {
    try await withServer(limits: Self.quick) { server in
      let text = try await Self.answer(to: "GET /one HTTP/1.1\r\nHost: h\r\n\r\n", server)
      #expect(text.contains("GET /one"))
    }
  }

  @Test("A chunk's extension that does not end, and a body that does not end, are cut off")
  func endless() async throws {
    var limits = Self.quick
    limits.requestTimeout = .milliseconds(300)
    limits.httpBodyBytes = 100_000
    try await withNeighbour(limits: limits) { server in
      let head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
      let extended = try await RawConnection.connect(port: server.port)
      try await extended.send(head + "1;a=")
      await extended.sendUntilClosed(ByteBuffer(repeating: 120, count: 1000), every: .milliseconds(1))

      let endless = try await RawConnection.connect(port: server.port)
      try await endless.send(head)
      let chunk = "3e8\r\n" + String(repeating: "x", count: 1000) + "\r\n"
      await endless.sendUntilClosed(ByteBuffer(string: chunk), every: .milliseconds(1))
    }
  }

  @Test("A target or a header that is too long is refused")
  func longHead() async throws {
    try await withNeighbour(limits: .patient) { server in
      let long = String(repeating: "a", count: 200_000)
      let target = try await Self.answer(to: "GET /\(long) HTTP/1.1\r\nHost: h\r\n\r\n", server)
      #expect(target == "" || target.hasPrefix("HTTP/1.1 4"), "\(target.prefix(200))")
      let header = try await Self.answer(to: "GET / HTTP/1.1\r\nHost: h\r\nX: \(long)\r\n\r\n", server)
      #expect(header == "" || header.hasPrefix("HTTP/1.1 4"), "\(header.prefix(200))")
    }
  }

  @Test(
    "A request whose length two servers might read differently is refused, and nothing behind it is read",
    arguments: [
      "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
      "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
      "Content-Length: +4\r\n\r\nabcd",
      "Content-Length : 4\r\n\r\nabcd",
      "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
      "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    ])
  func smuggled(rest: String) async throws {
    try await withServer { server in
      let text = try await Self.answer(
        to: "POST /first HTTP/1.1\r\nHost: h\r\n\(rest)GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n", server)
      #expect(text.hasPrefix("HTTP/1.1 400 "), "\(text)")
      #expect(!text.contains("/smuggled"))
    }
  }

  @Test("A thousand requests sent at once are answered one after the other, each in its place")
  func pipelined() async throws {
    try await withNeighbour(limits: .patient) { server in
      var text = ""
      for number in 0..<1000 { text += "GET /\(number)! HTTP/1.1\r\nHost: h\r\n\r\n" }
      text += "GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
      let answers = try await Self.answer(to: text, server)
      var place = answers.startIndex
      for number in 0..<1000 {
        let found = try #require(answers[place...].firstRange(of: "GET /\(number)! "))
        place = found.upperBound
      }
      #expect(answers[place...].contains("GET /last"))
    }
  }
}
