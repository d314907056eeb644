// The short way of a write (`WriteShortcut`): it must not be told from the routes' way by anything but its speed.

import FencingCore
import Foundation
import Glibc
import Testing

@Suite("the short way of a write")
struct WriteShortcutTests {
  private func request(_ path: String, _ body: String, token: String? = nil, fields: String = "") -> String {
    let fence = token.map { "Fencing-Token: \($0)\r\n" } ?? ""
    return "POST \(path) HTTP/1.1\r\nHost: x\r\n\(fence)\(fields)Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
  }

  @Test("requests that are sent in one go are answered in their order, whichever way each goes")
  func order() async throws {
    try await withGateway { gateway in
      _ = try await gateway.execute(#"["INSERT INTO item(name) VALUES('first')"]"#, claims(5))
      let token = try gateway.token(claims(5))
      let write = request(
        "/db/orders/execute", #"["INSERT INTO item(name) VALUES(hex(randomblob(8)))"]"#, token: token)
      let read = request("/db/orders/query", #"["SELECT count(*) AS n FROM item"]"#)
      let other = request("/nowhere", "[]")
      let text = try await Exchange.send(
        [write, read, write, write, read, other, write, read].joined(), to: gateway.port, answers: 8)
      let bodies = Exchange.bodies(of: text)
      let ids = bodies.compactMap { $0.firstMatch(of: /"last_insert_id":(\d+)/)?.output.1 }
      #expect(ids == ["2", "3", "4", "5"], "\(text)")
      let counts = bodies.compactMap { $0.firstMatch(of: /"values":\[\[(\d+)\]\]/)?.output.1 }
      #expect(counts == ["2", "4", "5"], "\(text)")
      #expect(bodies.count == 8 && bodies[5].contains("not-found"), "\(text)")
    }
  }

  @Test("a client that says it sends no more is answered all the same")
  func halfClosed() async throws {
    try await withGateway { gateway in
      _ = try await gateway.execute(#"["INSERT INTO item(name) VALUES('a')"]"#, claims(5))
      let write = request(
        "/db/orders/execute", #"["INSERT INTO item(name) VALUES('b')"]"#, token: try gateway.token(claims(5)))
      let text = try await Exchange.send(write, to: gateway.port, answers: nil)
      #expect(text.contains(#""last_insert_id":2"#), "\(text)")
    }
  }

  @Test("a body that ends too early is answered as the routes answer it, and nothing of it is done")
  func cutShort() async throws {
    try await withGateway { gateway in
      _ = try await gateway.execute(#"["SELECT 1"]"#, claims(5))
      let whole = #"["INSERT INTO item(name) VALUES('a')"]"#
      let token = try gateway.token(claims(5))
      var answers: [[String]] = []
      for fields in ["", "Expect: 200-ok\r\n"] {
        let text = String(request("/db/orders/execute", whole, token: token, fields: fields).dropLast(10))
        answers.append(Exchange.comparable(try await Exchange.send(text, to: gateway.port, answers: nil)))
      }
      #expect(answers[0] == answers[1])
      #expect(try Raw.run(gateway.path, "SELECT count(*) FROM item") == [["0"]])
    }
  }

  @Test("both ways answer the same: done, failed, stale, repeated and unreadable", arguments: [false, true])
  func alike(isPretty: Bool) async throws {
    try await withGateway { gateway in
      let flags = isPretty ? "?pretty&transaction" : "?transaction"
      let (stale, current) = (try gateway.token(claims(5)), try gateway.token(claims(6, "B")))
      let keyed = (#"["UPDATE item SET price = 2"]"#, "Idempotency-Key: k1\r\n")
      // From here on the tokens are known, and the answer under the key.
      for token in [stale, current] {
        _ = try await Exchange.send(
          request("/db/orders/execute\(flags)", keyed.0, token: token, fields: token == current ? keyed.1 : ""),
          to: gateway.port, answers: 1)
      }
      for (body, token, fields) in [
        (#"["UPDATE item SET price = 1"]"#, current, ""),
        (#"["INSERT INTO item VALUES(1)"]"#, current, ""),
        (#"["UPDATE item SET price = 1"]"#, stale, ""),
        (keyed.0, current, keyed.1),
        (#"["UPDATE item SET price = 3"]"#, current, "Idempotency-Key: k1\r\n"),
        (#"["UPDATE item SET price = 3"]"#, current, "Idempotency-Key: \r\n"),
        ("[", current, ""), ("[]", current, ""),
      ] {
        // A request that expects to be told to go on takes the routes' way.
        let path = "/db/orders/execute\(flags)"
        let short = request(path, body, token: token, fields: fields)
        let long = request(path, body, token: token, fields: fields + "Expect: 200-ok\r\n")
        let (one, other) = try await (
          Exchange.send(short, to: gateway.port, answers: 1), Exchange.send(long, to: gateway.port, answers: 1)
        )
        #expect(Exchange.comparable(one) == Exchange.comparable(other), "\(body)")
      }
    }
  }

  @Test("a body that comes in pieces, in chunks or is large is carried out once")
  func pieces() async throws {
    try await withGateway { gateway in
      _ = try await gateway.execute(#"["SELECT 1"]"#, claims(5))
      let token = try gateway.token(claims(5))
      let insert = #"["INSERT INTO item(name) VALUES(hex(randomblob(8)))"]"#
      let half = insert.index(insert.startIndex, offsetBy: 20)
      let (one, two) = (insert[..<half], insert[half...])
      let chunks = [one, two].map { String($0.utf8.count, radix: 16) + "\r\n\($0)\r\n" }.joined() + "0\r\n\r\n"
      let chunked =
        "POST /db/orders/execute HTTP/1.1\r\nHost: x\r\nFencing-Token: \(token)\r\nTransfer-Encoding: chunked\r\n\r\n"
        + chunks
      let large = request(
        "/db/orders/execute", String(insert.dropLast()) + String(repeating: " ", count: 200_000) + "]", token: token)
      for text in [chunked, large] {
        let answer = try await Exchange.send(text, to: gateway.port, answers: 1)
        #expect(answer.contains(#""rows_affected":1"#), "\(answer)")
      }
      #expect(try Raw.run(gateway.path, "SELECT count(*) FROM item") == [["2"]])
    }
  }
}

/// A socket of a thread's own, so that nobody else's thread waits for it.
private enum Exchange {
  struct Failed: Error { let call: String }

  /// - Parameter answers: how many are read before the connection is closed; nil says at once that no more is sent, and
  ///   reads to the end.
  static func send(_ text: String, to port: Int, answers: Int?) async throws -> String {
    try await withCheckedThrowingContinuation { continuation in
      Thread.detachNewThread {
        continuation.resume(with: Result { try exchange(text, port, answers) })
      }
    }
  }

  private static func exchange(_ text: String, _ port: Int, _ answers: Int?) throws -> String {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = in_addr_t(INADDR_LOOPBACK).bigEndian
    let connected = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard connected == 0 else { throw Failed(call: "connect") }
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes {
        Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
      }
      guard count > 0 else { throw Failed(call: "send") }
      rest = rest.dropFirst(count)
    }
    if answers == nil { shutdown(descriptor, Int32(SHUT_WR)) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while answers.map({ bodies(of: String(decoding: bytes, as: UTF8.self)).count < $0 }) ?? true {
      let count = recv(descriptor, &chunk, chunk.count, 0)
      guard count >= 0 else { throw Failed(call: "recv") }
      guard count > 0 else { break }
      bytes += chunk[..<count]
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// Of whole answers, with a length or in chunks.
  static func bodies(of text: String) -> [String] {
    var bodies: [String] = []
    var rest = Array(text.utf8)[...]
    while let end = rest.firstRange(of: Array("\r\n\r\n".utf8)) {
      let head = String(decoding: rest[..<end.lowerBound], as: UTF8.self).lowercased()
      var body = rest[end.upperBound...]
      if let length = head.firstMatch(of: /content-length: (\d+)/).flatMap({ Int($0.output.1) }) {
        guard body.count >= length else { return bodies }
        bodies.append(String(decoding: body.prefix(length), as: UTF8.self))
        body = body.dropFirst(length)
      } else {
        guard let last = body.firstRange(of: Array("0\r\n\r\n".utf8)) else { return bodies }
        bodies.append(String(decoding: body[..<last.lowerBound], as: UTF8.self))
        body = body[last.upperBound...]
      }
      rest = body
    }
    return bodies
  }

  /// The status line, the fields in an order of their own and without the time, and the body.
  static func comparable(_ text: String) -> [String] {
    let head = text.components(separatedBy: "\r\n\r\n")[0].components(separatedBy: "\r\n")
    let fields = head.dropFirst().filter { !$0.lowercased().hasPrefix("date:") }.map { $0.lowercased() }
    return [head[0]] + fields.sorted() + bodies(of: text)
  }
}
