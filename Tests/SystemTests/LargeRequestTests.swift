// Requests as large as `--max-request-bytes` may allow, on real nodes: through the log, to peers, in JSON and over restarts.

import Foundation
import FoundationNetworking
import NIOCore
import Protocol
import Testing
import Wire

@Suite("requests of 10 MiB", .serialized, .timeLimit(.minutes(3)))
struct LargeRequestTests {
  private static let limit = 10 << 20

  @Test(
    "they are taken at every node, reach one that was away, and are there after a crash of all; larger ones are refused"
  )
  func large() async throws {
    let nodes = try Nodes("--max-request-bytes", "\(Self.limit)")
    try await nodes.found("a", "b", "c")
    await nodes.kill("c")
    let values = Dictionary(uniqueKeysWithValues: ["a", "b"].map { ($0, Self.value(of: 9 << 20, seed: $0)) })
    for (name, value) in values {
      try await withConnection(nodes.client(name)) { try await Self.put("of/\(name)", value, $0) }
    }
    let inJSON = Self.value(of: 9 << 20, seed: "json")
    var answer = try await Self.postPut("of/json", inJSON, at: nodes.client("b"))
    while answer.contains("\"code\":14") { answer = try await Self.postPut("of/json", inJSON, at: nodes.client("b")) }
    #expect(answer.contains("\"revision\""), "\(answer.prefix(300))")
    for (size, message) in [(Self.limit, "etcdserver: request is too large"), (Self.limit + (600 << 10), "larger")] {
      let status = await #expect(throws: RPCStatus.self) {
        try await withConnection(nodes.client("b")) { try await Self.put("no", Data(count: size), $0) }
      }
      #expect(status.map { $0.message.contains(message) } == true, "\(size) bytes: \(String(describing: status))")
    }
    try nodes.restart("c")
    try await nodes.ready("c")
    for name in ["a", "b", "c"] { await nodes.kill(name) }
    for name in ["a", "b", "c"] { try nodes.restart(name) }
    for name in ["a", "b", "c"] { try await nodes.ready(name) }
    for name in ["a", "b", "c"] {
      for (key, value) in values { #expect(try await Self.get("of/\(key)", at: nodes.client(name)) == value) }
      #expect(try await Self.get("of/json", at: nodes.client(name)) == inJSON)
      #expect(try await Self.get("no", at: nodes.client(name)) == nil)
    }
    await nodes.stop()
  }

  @Test("a limit beyond that is refused, and what may be asked for is said")
  func refused() async throws {
    let outcome = try await Program.run(["core", "--max-request-bytes", "10485761"])
    #expect(outcome.exitCode == 64 && outcome.errors.contains("--max-request-bytes from 1024 to 10485760"))
  }

  private static func value(of count: Int, seed: String) -> Data {
    var state = seed.utf8.reduce(UInt64(88_172_645_463_325_252)) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    return Data(
      (0..<count).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return UInt8(truncatingIfNeeded: state >> 56)
      })
  }

  private static func put(_ key: String, _ value: Data, _ connection: WireConnection) async throws {
    var request = Etcdserverpb_PutRequest()
    (request.key, request.value) = (Data(key.utf8), value)
    let asked = request
    _ = try await whenServed {
      try await connection.unary(
        RPCPath.KV.put, asked, as: Etcdserverpb_PutResponse.self, deadline: .now() + .seconds(30))
    }
  }

  /// Leadership may move while a disk is busy with so much, and who asks then is told to ask again. Nothing here does harm
  /// when it is done twice.
  private static func whenServed<Answer>(_ ask: () async throws -> Answer) async throws -> Answer {
    while true {
      try Task.checkCancellation()
      do {
        return try await ask()
      } catch {
        guard (error as? RPCStatus)?.code == .unavailable else { throw error }
      }
    }
  }

  private static func get(_ key: String, at address: String) async throws -> Data? {
    var request = Etcdserverpb_RangeRequest()
    request.key = Data(key.utf8)
    return try await withConnection(address) { [request] connection in
      try await whenServed {
        try await connection.unary(
          RPCPath.KV.range, request, as: Etcdserverpb_RangeResponse.self, deadline: .now() + .seconds(30)
        ).kvs.first?.value
      }
    }
  }

  private static func postPut(_ key: String, _ value: Data, at address: String) async throws -> String {
    var request = URLRequest(url: try #require(URL(string: "http://\(address)/v3/kv/put")))
    request.httpMethod = "POST"
    request.httpBody = Data(
      #"{"key":"\#(Data(key.utf8).base64EncodedString())","value":"\#(value.base64EncodedString())"}"#.utf8)
    return String(decoding: try await URLSession.shared.data(for: request).0, as: UTF8.self)
  }
}
