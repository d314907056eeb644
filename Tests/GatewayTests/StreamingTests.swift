// Answers of any size: rows go out as they come, and who stops taking them holds up nobody for long.

import AsyncHTTPClient
import FencingCore
import Foundation
import Gateway
import Glibc
import NIOCore
import Testing
import Tokens

@Suite("Streaming")
struct StreamingTests {
  private static func counting(to last: Int, _ columns: String = "i") -> String {
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT \(last)) SELECT \(columns) FROM n"
  }

  private func body(_ sql: String...) -> String {
    "[" + sql.map { "\"\($0.replacingOccurrences(of: "\"", with: "\\\""))\"" }.joined(separator: ",") + "]"
  }

  @Test("a large answer has the shape of a small one, in every form, and comes in chunks")
  func shapes() async throws {
    try await withGateway { gateway in
      let (sql, count) = (Self.counting(to: 30_000, "i, 'row ' || i AS name, NULL AS none"), 30_000)
      let answer = try await gateway.query(
        body(sql, "SELECT 1 AS one", "SELECT 1 WHERE 0"), claims(5), flags: "?timings")
      #expect(answer.headers.first(name: "content-length") == nil)
      #expect(answer.results.count == 3)
      guard case .array(let rows)? = answer.results[0]["values"] else {
        Issue.record("no values")
        return
      }
      #expect(rows.count == count)
      #expect(rows.last == .array([.integer(Int64(count)), .string("row \(count)"), .null]))
      #expect(answer.results[0]["columns"] == .array([.string("i"), .string("name"), .string("none")]))
      #expect(answer.results[1]["values"] == .array([.array([.integer(1)])]))
      #expect(answer.results[2]["values"] == nil)
      #expect(answer.results[0]["time"] != nil && answer.json["time"] != nil)
      #expect(answer.json["fence"]?["number"] == .integer(5))
      let associative = try await gateway.query(body(sql), flags: "?associative")
      guard case .array(let objects)? = associative.results[0]["rows"] else {
        Issue.record("no rows")
        return
      }
      #expect(objects.count == count)
      #expect(objects.first?["name"] == .string("row 1"))
      #expect(associative.results[0]["types"]?["i"] == .string("integer"))
      let small = try await gateway.query(body("SELECT 1 AS one"))
      #expect(small.headers.first(name: "content-length") == "\(small.text.utf8.count)")
    }
  }

  @Test("an error after the first rows stands in the result, behind them")
  func lateError() async throws {
    try await withGateway { gateway in
      let overflow = "abs(CASE i WHEN 50000 THEN -9223372036854775807 - 1 ELSE i END) AS size"
      let answer = try await gateway.query(body(Self.counting(to: 60_000, overflow), "SELECT 2"))
      #expect(answer.status == 200)
      #expect(answer.results[0]["error"]?.string == "integer overflow")
      guard case .array(let rows)? = answer.results[0]["values"] else {
        Issue.record("no values")
        return
      }
      #expect(rows.count == 49_999)
      #expect(answer.results[1]["values"] == .array([.array([.integer(2)])]))
      let late = try await gateway.query(
        body("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"), flags: "?timeout=100ms"
      )
      #expect(late.results[0]["error"]?.string?.contains("longer than the gateway allows") == true)
    }
  }

  @Test("a client that stops reading is cut off, its reader is free again, and writers were never held up")
  func stalledClient() async throws {
    var limits = GatewayLimits()
    limits.stallSeconds = 0.3
    limits.engine.readers = 1
    try await withGateway(limits: limits) { gateway in
      let client = try StalledClient(port: gateway.port)
      defer { client.close() }
      let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT hex(zeroblob(500)) FROM n"
      try client.send(
        "POST /db/orders/query HTTP/1.1\r\nHost: x\r\nContent-Length: \(body(sql).utf8.count)\r\n\r\n" + body(sql))
      try await client.receive(atLeast: 1)
      // The one reader is busy with the answer that nobody takes.
      let write = try await gateway.execute(#"["INSERT INTO item(name) VALUES('a')"]"#, claims(5))
      #expect(write.status == 200)
      #expect(try await gateway.query(#"["SELECT count(*) FROM item"]"#).text.contains("[[1]]"))
      let rest = try await client.receiveToEnd()
      #expect(!rest.hasSuffix("0\r\n\r\n"), "an answer that was cut must not look whole")
    }
  }

  @Test("a client that goes away in the middle frees its reader")
  func goneClient() async throws {
    var limits = GatewayLimits()
    limits.engine.readers = 1
    try await withGateway(limits: limits) { gateway in
      let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT hex(zeroblob(500)) FROM n"
      let client = try StalledClient(port: gateway.port)
      try client.send(
        "POST /db/orders/query HTTP/1.1\r\nHost: x\r\nContent-Length: \(body(sql).utf8.count)\r\n\r\n" + body(sql))
      try await client.receive(atLeast: 1)
      client.close()
      #expect(try await gateway.query(#"["SELECT 1"]"#).status == 200)
    }
  }

  @Test("a backup is one moment of a database in use, and knows its floor")
  func backup() async throws {
    try await withGateway { gateway in
      _ = try await gateway.execute(
        #"["CREATE TABLE a(n)", "CREATE TABLE b(n)", "CREATE TABLE filler(x)", ["INSERT INTO filler VALUES(?)", null], "UPDATE filler SET x = zeroblob(3000000)"]"#,
        claims(5))
      let writing = Task {
        while !Task.isCancelled {
          _ = try await gateway.execute(
            #"["INSERT INTO a VALUES(1)", "INSERT INTO b VALUES(1)"]"#, claims(5), flags: "?transaction")
        }
      }
      let folder = try Folder()
      for round in 0..<5 {
        let response = try await HTTPClient.shared.execute(
          HTTPClientRequest(url: "http://127.0.0.1:\(gateway.port)/db/\(round % 2 == 0 ? "" : "orders/")backup"),
          timeout: .seconds(30))
        #expect(response.status.code == 200)
        let bytes = Data(buffer: try await response.body.collect(upTo: 1 << 30))
        let copy = folder.file("copy\(round).db")
        try bytes.write(to: URL(fileURLWithPath: copy))
        #expect(try Raw.run(copy, "PRAGMA journal_mode") == [["delete"]])
        #expect(try Raw.run(copy, "PRAGMA integrity_check") == [["ok"]])
        #expect(try Raw.run(copy, "SELECT (SELECT count(*) FROM a) = (SELECT count(*) FROM b)") == [["1"]])
        #expect(try Raw.run(copy, "SELECT number FROM _fence") == [["5"]])
      }
      writing.cancel()
      _ = await writing.result
      let sql = try await gateway.send(.GET, "/db/backup?fmt=sql")
      #expect(sql.status == 400)
      #expect(!FileManager.default.fileExists(atPath: gateway.path + "-gateway.backup"))
    }
  }
}

/// A socket that takes what it is told to take, and nothing before that.
private final class StalledClient {
  struct Failure: Error {
    let code: Int32
  }

  private var descriptor: Int32

  init(port: Int) throws {
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var small: Int32 = 4096
    setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &small, socklen_t(MemoryLayout<Int32>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let code = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard code == 0 else { throw Failure(code: errno) }
  }

  func send(_ text: String) throws {
    let bytes = Array(text.utf8)
    guard Glibc.send(descriptor, bytes, bytes.count, 0) == bytes.count else { throw Failure(code: errno) }
  }

  func receive(atLeast count: Int) async throws {
    try await Self.offThePool { [descriptor] in
      var bytes = [UInt8](repeating: 0, count: count)
      guard recv(descriptor, &bytes, count, Int32(MSG_WAITALL)) == count else { throw Failure(code: errno) }
    }
  }

  /// What still comes until the connection's end, however it ends.
  func receiveToEnd() async throws -> String {
    try await Self.offThePool { [descriptor] in
      var all: [UInt8] = []
      while true {
        var bytes = [UInt8](repeating: 0, count: 65536)
        let count = recv(descriptor, &bytes, bytes.count, 0)
        guard count > 0 else { return String(decoding: all.suffix(64), as: UTF8.self) }
        all.append(contentsOf: bytes[..<count])
      }
    }
  }

  /// On a thread of its own: the server that is waited for needs the threads of the pool.
  private static func offThePool<Result: Sendable>(
    _ body: @escaping @Sendable () throws -> Result
  ) async throws -> Result {
    try await withCheckedThrowingContinuation { continuation in
      let thread = Thread { continuation.resume(with: Swift.Result { try body() }) }
      thread.start()
    }
  }

  func close() {
    if descriptor >= 0 { Glibc.close(descriptor) }
    descriptor = -1
  }
}
