import NIOCore
import NIOHTTP2
import Testing
import Wire

@Suite("Messages against HTTP/2 frames", .timeLimit(.minutes(1)))
struct FramingTests {
  @Test("A message may be cut between any two of its bytes")
  func everyBoundary() async throws {
    try await withServer { server in
      let client = try await RawHTTP2Client.connect(port: server.port)
      defer { client.close() }
      let whole = RawHTTP2Client.framed("a message to cut")
      for cut in 0...whole.readableBytes {
        let streamID = HTTP2StreamID(1 + 2 * cut)
        var rest = whole
        let first = rest.readSlice(length: cut)
        try await client.open(TestPath.echo, on: streamID)
        try await client.sendData(try #require(first), on: streamID)
        try await client.sendData(rest, on: streamID, isEnd: true)
        #expect(try await client.answer(on: streamID).data == whole, "cut after \(cut) bytes")
      }
    }
  }

  @Test("One frame may hold several messages and a part of the next")
  func severalInOne() async throws {
    try await withServer { server in
      let client = try await RawHTTP2Client.connect(port: server.port)
      defer { client.close() }
      var all = ByteBuffer()
      for text in ["one", "", "three", "the fourth"] {
        all.writeImmutableBuffer(RawHTTP2Client.framed(text))
      }
      try await client.open(TestPath.echoStream, on: 1)
      var rest = all
      let first = rest.readSlice(length: all.readableBytes - 4)
      try await client.sendData(try #require(first), on: 1)
      try await client.sendData(rest, on: 1, isEnd: true)
      #expect(try await client.answer(on: 1).data == all)
    }
  }

  @Test("A request that ends within a message is an error, not a hang")
  func cutOff() async throws {
    try await withServer { server in
      let client = try await RawHTTP2Client.connect(port: server.port)
      defer { client.close() }
      var bytes = RawHTTP2Client.framed("cut off")
      let part = bytes.readSlice(length: 8)
      try await client.open(TestPath.echo, on: 1)
      try await client.sendData(try #require(part), on: 1, isEnd: true)
      let trailers = try await client.answer(on: 1).trailers
      #expect(trailers.first { $0.name == "grpc-status" }?.value == "13")
    }
  }

  @Test(
    "A timeout is read in every unit, and a malformed one is refused",
    arguments: [
      ("1H", true), ("20M", true), ("3S", true), ("100m", true), ("5u", true), ("99999999n", true),
      ("", false), ("S", false), ("123456789S", false), ("1x", false), ("-1S", false),
    ])
  func timeouts(value: String, isGood: Bool) async throws {
    try await withServer { server in
      let client = try await RawHTTP2Client.connect(port: server.port)
      defer { client.close() }
      let headers = RawHTTP2Client.requestHeaders(TestPath.metadata, adding: [("grpc-timeout", value)])
      try await client.send(.headers(.init(headers: headers)), on: 1)
      if isGood { try await client.sendData(RawHTTP2Client.framed(""), on: 1, isEnd: true) }
      let answer = try await client.answer(on: 1)
      #expect(answer.trailers.first { $0.name == "grpc-status" }?.value == (isGood ? "0" : "13"))
      if isGood { #expect(answer.data == RawHTTP2Client.framed("- true")) }
    }
  }
}
