// What a client may make a gateway hold, and for how long: each limit set low in a real process, and passed.

import Foundation
import NIOCore
import NIOPosix
import Testing

@Suite("The gateway's limits", .serialized, .timeLimit(.minutes(3)), .enabled(if: Curl.isThere, "curl is not there"))
struct GatewayLimitsTests {
  /// A gateway with one open database, `notes`.
  private func withGateway(_ flags: [String], _ body: (GatewayAlone) async throws -> Void) async throws {
    let directory = try ScratchDirectory()
    let gateway = try await GatewayAlone.start(
      "127.0.0.1:1", databases: ["notes": directory("notes.db")], extra: ["--open", "notes"] + flags)
    try await body(gateway)
    #expect(await gateway.stop() == 0, "\(gateway.program.errors)")
  }

  @Test("body: one that is announced too large, and one that turns out to be")
  func body() async throws {
    try await withGateway(["--max-body-bytes", "2048"]) { gateway in
      let files = try TestFiles()
      let large = try files.write(#"["SELECT '\#(String(repeating: "x", count: 4096))'"]"#, "large")
      for chunked in [[], ["-H", "Transfer-Encoding: chunked"]] {
        let answer = try await Curl.run(
          ["http://\(gateway.address)/db/query", "--data-binary", "@\(large)"] + chunked)
        #expect(answer.status == 413 && answer.problem == "body-too-large", "\(answer)")
      }
      #expect(try await gateway.curl("/db/query", "-d", #"["SELECT 1"]"#).status == 200)
    }
  }

  @Test("SQL length, statements, rows and bytes of an answer that is held whole")
  func statements() async throws {
    try await withGateway(
      ["--max-sql-bytes", "100", "--max-statements", "2", "--max-result-rows", "10", "--max-result-bytes", "20000"]
    ) { gateway in
      let long = try await gateway.curl("/db/query", "-d", #"["SELECT '\#(String(repeating: "x", count: 200))'"]"#)
      #expect(long.status == 200 && long.body.contains("statement too long"), "\(long)")
      let many = try await gateway.curl("/db/query", "-d", #"["SELECT 1","SELECT 2","SELECT 3"]"#)
      #expect(many.status == 400 && many.body.contains("3 statements, the limit is 2"), "\(many)")
      let rows = #"["WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT 11) SELECT i FROM n"]"#
      let whole = try await gateway.curl("/db/query?pretty", "-d", rows)
      #expect(whole.body.contains("the result is larger than the gateway allows"), "\(whole)")
      #expect(try await gateway.curl("/db/query", "-d", rows).body.contains("[11]"))
      let bytes = try await gateway.curl("/db/query?pretty", "-d", #"["SELECT hex(zeroblob(20000))"]"#)
      #expect(bytes.body.contains("the result is larger than the gateway allows"), "\(bytes)")
      #expect(try await gateway.curl("/db/query", "-d", #"["SELECT hex(zeroblob(20000))"]"#).body.utf8.count > 40_000)
    }
  }

  private static let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT count(*) FROM n"

  @Test("how long a write, a read and a stream may run, by flag and by the request's own word")
  func runTime() async throws {
    let flags = ["--write-timeout", "200ms", "--read-timeout", "200ms", "--stream-timeout", "200ms"]
    try await withGateway(flags) { gateway in
      for target in ["/db/execute", "/db/query", "/db/query?pretty"] {
        let answer = try await gateway.curl(target, "-d", #"["\#(Self.endless)"]"#)
        #expect(answer.status == 503 && answer.problem == "timed-out" && answer.body.contains("0.2 s"), "\(answer)")
      }
    }
    try await withGateway([]) { gateway in
      let answer = try await gateway.curl("/db/query?timeout=100ms", "-d", #"["\#(Self.endless)"]"#)
      #expect(answer.status == 503 && answer.body.contains("0.1 s"), "\(answer)")
    }
  }

  @Test("header fields: too many bytes of them, and too many of them")
  func headers() async throws {
    try await withGateway(["--max-header-bytes", "4096"]) { gateway in
      let large = try await gateway.curl("/status", "-H", "X-Large: \(String(repeating: "x", count: 6000))")
      #expect(large.status == 431 && large.problem == "headers-too-large", "\(large)")
      let many = (0..<150).flatMap { ["-H", "X-\($0): 1"] }
      let refused = try await Curl.run(["http://\(gateway.address)/status"] + many)
      #expect(refused.status == 431, "\(refused)")
      let unreadable = try await Raw.exchange(gateway.address, "NO HTTP AT ALL\r\n\r\n")
      #expect(unreadable.hasPrefix("HTTP/1.1 400 ") && unreadable.contains("problem:bad-request"), "\(unreadable)")
      #expect(try await gateway.curl("/status").status == 200)
    }
  }

  @Test("connections: a new one takes the place of an idle one, and is turned away where all are busy")
  func connections() async throws {
    try await withGateway(["--max-connections", "3"]) { gateway in
      var idle: [any Channel] = []
      for _ in 0..<3 { idle.append(try await Raw.connect(gateway.address)) }
      #expect(try await gateway.curl("/status").status == 200)
      // One of the three went for it. They were accepted by two threads, so which is the oldest is not known here.
      let gone = idle[0].eventLoop.makePromise(of: Void.self)
      for channel in idle { channel.closeFuture.cascade(to: gone) }
      try await gone.futureResult.get()
      for channel in idle { channel.close(promise: nil) }
      // Requests whose bodies do not come keep their connections busy.
      var busy: [any Channel] = []
      for count in 1...2 {
        busy.append(try await Raw.halfRequest(gateway.address))
        while try await !gateway.curl("/status").body.contains("\"requests\":\(count),") {
          try Task.checkCancellation()
        }
      }
      var turnedAway: CurlAnswer
      repeat {
        try Task.checkCancellation()
        // Until its head was read it is idle, and may have to go for the one that looks.
        if busy.count < 3 || !busy[2].isActive {
          busy = Array(busy.prefix(2)) + [try await Raw.halfRequest(gateway.address)]
        }
        turnedAway = try await gateway.curl("/status")
      } while turnedAway.status == 200 || turnedAway.status == 0
      for channel in busy { channel.close(promise: nil) }
      while try await gateway.curl("/status").status != 200 { try Task.checkCancellation() }
      let metrics = try await gateway.curl("/metrics").body
      #expect(metrics.contains("portcullis_gateway_connections_turned_away_total"))
    }
  }

  @Test("requests: beyond the limit they are refused, and those about the gateway itself are not")
  func requests() async throws {
    try await withGateway(["--max-requests", "1"]) { gateway in
      let busy = try await Raw.halfRequest(gateway.address)
      while try await !gateway.curl("/status").body.contains("\"requests\":1") { try Task.checkCancellation() }
      let refused = try await gateway.curl("/db/query", "-d", #"["SELECT 1"]"#)
      #expect(refused.status == 503 && refused.problem == "overloaded", "\(refused)")
      busy.close(promise: nil)
      while try await gateway.curl("/db/query", "-d", #"["SELECT 1"]"#).status != 200 { try Task.checkCancellation() }
      #expect(try await !gateway.curl("/metrics").body.contains("requests_turned_away_total 0"))
    }
  }

  @Test("slow clients: silence, a head that trickles, a body that trickles, and an answer that nobody reads")
  func slowClients() async throws {
    try await withGateway(["--client-timeout", "400ms", "--idle-timeout", "800ms"]) { gateway in
      let silent = try await Raw.connect(gateway.address)
      try await silent.closeFuture.get()
      let head = try await Raw.exchange(gateway.address, "GET /status HTTP/1.1\r\nX-Slow: ")
      #expect(head.hasPrefix("HTTP/1.1 408 ") && head.contains("problem:too-slow"), "\(head)")
      let body = try await Raw.exchange(
        gateway.address, "POST /db/query HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n[")
      #expect(body.hasPrefix("HTTP/1.1 408 "), "\(body)")
      let deaf = try await Raw.connect(gateway.address, reads: false)
      let sql = "WITH+RECURSIVE+n(i)+AS+(SELECT+1+UNION+ALL+SELECT+i%2B1+FROM+n+LIMIT+5000000)+SELECT+i,hex(i)+FROM+n"
      try await deaf.writeAndFlush(ByteBuffer(string: "GET /db/query?q=\(sql) HTTP/1.1\r\nhost: a\r\n\r\n")).get()
      while try await !gateway.curl("/status").body.contains("\"connections\":1,") { try Task.checkCancellation() }
      deaf.close(promise: nil)
      #expect(try await gateway.curl("/db/query", "-d", #"["SELECT 1"]"#).status == 200)
    }
  }

  /// Sockets without a client's manners.
  private enum Raw {
    static func connect(_ address: String, reads: Bool = true) async throws -> any Channel {
      let parts = address.split(separator: ":")
      return try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .channelOption(.autoRead, value: reads)
        .connect(host: String(parts[0]), port: try #require(Int(parts[1]))).get()
    }

    /// A connection with a request on it whose body never comes.
    static func halfRequest(_ address: String) async throws -> any Channel {
      let channel = try await connect(address)
      let head = "POST /db/query HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n["
      try await channel.writeAndFlush(ByteBuffer(string: head)).get()
      return channel
    }

    /// Sends a text and gives all that is answered until the other end hangs up.
    static func exchange(_ address: String, _ text: String) async throws -> String {
      let parts = address.split(separator: ":")
      let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .connect(host: String(parts[0]), port: try #require(Int(parts[1]))) { channel in
          channel.eventLoop.makeCompletedFuture {
            try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
          }
        }
      return try await channel.executeThenClose { inbound, outbound in
        try await outbound.write(ByteBuffer(string: text))
        var answer = ByteBuffer()
        for try await var bytes in inbound { answer.writeBuffer(&bytes) }
        return String(buffer: answer)
      }
    }
  }
}
