import NIOCore
import NIOHPACK
import NIOHTTP2
import Protocol
import SwiftProtobuf
import Testing
import Wire

@Suite("Calls with one message each way", .timeLimit(.minutes(1)))
struct UnaryTests {
  @Test("A call comes back with the answer")
  func answers() async throws {
    try await withServer { server in
      let connection = try await server.connect()
      let answer = try await connection.call(TestPath.echo, ByteBuffer(string: "hello"))
      #expect(String(buffer: answer) == "hello")
    }
  }

  @Test("An empty message is a message")
  func emptyMessage() async throws {
    try await withServer { server in
      let connection = try await server.connect()
      #expect(try await connection.call(TestPath.echo, ByteBuffer()).readableBytes == 0)
    }
  }

  @Test("Messages of the protocol travel encoded and come back equal")
  func messages() async throws {
    try await withServer { server in
      let connection = try await server.connect()
      var grant = Portcullis_V1_Grant()
      grant.scope = "orders"
      grant.number = 42
      let answer = try await connection.unary(TestPath.echo, grant, as: Portcullis_V1_Grant.self)
      #expect(answer == grant)
    }
  }

  @Test("An error keeps its code and its message, letters beyond ASCII and percent signs too")
  func errors() async throws {
    try await withServer { server in
      let connection = try await server.connect()
      let message = "100 % schäbig: 鍵が見つかりません\n%41"
      let error = await #expect(throws: RPCStatus.self) {
        try await connection.call(TestPath.fail, ByteBuffer(string: message))
      }
      #expect(error == RPCStatus(.outOfRange, message))
    }
  }

  @Test("The server sees metadata, and that there is a deadline")
  func metadata() async throws {
    try await withServer { server in
      let connection = try await server.connect()
      let plain = try await connection.call(TestPath.metadata, ByteBuffer())
      #expect(String(buffer: plain) == "- false")
      let full = try await connection.call(
        TestPath.metadata, ByteBuffer(), metadata: [("Token", "abc")], deadline: .now() + .seconds(30))
      #expect(String(buffer: full) == "abc true")
    }
  }

  @Test(
    "A path that nothing answers is refused in the words of Go's server",
    arguments: [
      ("/other.Service/Do", "unknown service other.Service"),
      ("/test.Test/Other", "unknown method Other for service test.Test"),
      ("nonsense", "malformed method name: \"nonsense\""),
    ])
  func unknown(path: String, message: String) async throws {
    try await withServer { server in
      let connection = try await server.connect()
      let error = await #expect(throws: RPCStatus.self) { try await connection.call(path, ByteBuffer(string: "x")) }
      #expect(error == RPCStatus(.unimplemented, message))
    }
  }

  @Test("Five hundred calls at once on one connection all get their own answer")
  func concurrent() async throws {
    try await withServer { server in
      let connection = try await server.connect()
      let answers = try await self.echoNumbers(500, on: connection)
      #expect(answers == Set((0..<500).map(String.init)))
    }
  }

  @Test("Calls beyond the server's limit of streams wait for their turn")
  func streamLimit() async throws {
    var limits = WireLimits.patient
    limits.concurrentStreams = 3
    try await withServer(limits: limits) { server in
      let connection = try await server.connect()
      let answers = try await self.echoNumbers(200, on: connection)
      #expect(answers == Set((0..<200).map(String.init)))
    }
  }

  private func echoNumbers(_ count: Int, on connection: WireConnection) async throws -> Set<String> {
    try await withThrowingTaskGroup(of: String.self) { group in
      for number in 0..<count {
        group.addTask {
          String(buffer: try await connection.call(TestPath.echo, ByteBuffer(string: "\(number)")))
        }
      }
      return try await group.reduce(into: []) { $0.insert($1) }
    }
  }

  @Test("A request that ends without a message is an error, not a hang")
  func noMessage() async throws {
    try await withServer { server in
      let client = try await RawHTTP2Client.connect(port: server.port)
      defer { client.close() }
      try await client.send(
        .headers(.init(headers: RawHTTP2Client.requestHeaders(TestPath.echo), endStream: true)), on: 1)
      let trailers = try await client.answer(on: 1).trailers
      #expect(trailers.first { $0.name == "grpc-status" }?.value == "13")
    }
  }

  @Test("What is not gRPC is a request of plain HTTP, in HTTP/2 as well")
  func notGRPC() async throws {
    try await withServer { server in
      let client = try await RawHTTP2Client.connect(port: server.port)
      defer { client.close() }
      var headers = RawHTTP2Client.requestHeaders(TestPath.echo)
      headers.replaceOrAdd(name: "content-type", value: "application/json")
      try await client.send(.headers(.init(headers: headers, endStream: true)), on: 1)
      let head = try await client.nextFrame()
      guard case .headers(let payload) = head.payload else { return #expect(Bool(false), "\(head)") }
      #expect(payload.headers.first { $0.name == ":status" }?.value == "200")
      let body = try await client.nextFrame()
      guard case .data(let data) = body.payload, case .byteBuffer(let bytes) = data.data else {
        return #expect(Bool(false), "\(body)")
      }
      #expect(String(buffer: bytes) == "POST \(TestPath.echo) - " && data.endStream)
    }
  }
}
