// The run's and the writers' end of the adapter contract (docs/conformance-adapter.md): a user's HTTP server in front of the
// user's locks and resource.
//
// Must never wait without a bound, and never take an answer for another than the contract has it: an answer that it does not
// know is an error that says what was asked, what came and what was expected.

import AsyncHTTPClient
import Client
import Foundation
import NIOCore
import NIOFoundationCompat
import Wire

/// Calls of an adapter. Any task may use it.
package struct AdapterClient: Sendable {
  /// `host:port`.
  package let address: String

  package init(address: String) { self.address = address }

  package struct Hello: Decodable, Sendable {
    let contract: Int
    package let name: String
    /// Whether a play can be had without the fence: the negative control.
    package let control: Bool?

    enum CodingKeys: String, CodingKey {
      case contract = "portcullis_adapter"
      case name, control
    }
  }

  struct Acquired: Decodable, Sendable {
    let granted: Bool
    /// The adapter's own name for what is held.
    let held: String?
    let milliseconds: Int?
    let proof: String?
    let number: Int64?

    enum CodingKeys: String, CodingKey {
      case granted, held, proof, number
      case milliseconds = "ttl_ms"
    }
  }

  /// - Throws: `OutsideError`, also for another version of the contract.
  package func hello(within timeout: Duration = .seconds(5)) async throws -> Hello {
    let expected = #"200 with {"portcullis_adapter": 1, "name": "…"}"#
    let hello = try await ask("GET", "/hello", [:], expecting: expected, as: Hello.self, within: timeout)
    guard hello.contract == 1, !hello.name.isEmpty else {
      throw breach("GET /hello", "speaks version \(hello.contract) and calls itself \"\(hello.name)\"", expected)
    }
    return hello
  }

  /// Empties what is kept under a lock, before a play.
  func reset(_ lock: String, fence: Bool) async throws {
    _ = try await ask(
      "POST", "/reset", ["lock": .text(lock), "fence": .flag(fence)], expecting: "200 with {}", as: Nothing.self)
  }

  /// Asks once: it may be answered that the lock is not to be had before the wait is over.
  func acquire(_ lock: String, owner: String, milliseconds: Int, waitMilliseconds: Int) async throws -> Acquired {
    let expected =
      #"200 with {"granted": true, "held": "…", "ttl_ms": 1000, "proof": "…"} or with {"granted": false} before wait_ms"#
    let acquired = try await ask(
      "POST", "/acquire",
      [
        "lock": .text(lock), "owner": .text(owner), "ttl_ms": .number(milliseconds),
        "wait_ms": .number(waitMilliseconds),
      ], expecting: expected, as: Acquired.self, within: .milliseconds(waitMilliseconds) + .seconds(10))
    guard !acquired.granted || (acquired.held != nil && (acquired.milliseconds ?? 0) > 0) else {
      throw breach("POST /acquire", "granted without \"held\", or without a \"ttl_ms\" above 0", expected)
    }
    return acquired
  }

  /// - Returns: whether it is alive.
  func renew(_ held: String, within timeout: Duration = .seconds(10)) async throws -> Bool {
    struct Renewed: Decodable { let alive: Bool }
    return try await ask(
      "POST", "/renew", ["held": .text(held)], expecting: #"200 with {"alive": true} or {"alive": false}"#,
      as: Renewed.self, within: timeout
    ).alive
  }

  func release(_ held: String) async throws {
    _ = try await ask("POST", "/release", ["held": .text(held)], expecting: "200 with {}", as: Nothing.self)
  }

  /// What is in the place of an object whose fields nobody needs.
  private struct Nothing: Decodable {}

  /// A request that has one good answer.
  private func ask<Answer: Decodable>(
    _ method: String, _ path: String, _ fields: [String: Field], expecting expected: String, as type: Answer.Type,
    within timeout: Duration = .seconds(10)
  ) async throws -> Answer {
    let (status, body) = try await exchange(method, path, fields, expecting: expected, within: timeout)
    guard status == 200, let answer = try? JSONDecoder().decode(Answer.self, from: body) else {
      throw breach("\(method) \(path)", "answered with \(status) \(Self.text(body))", expected)
    }
    return answer
  }

  /// Sends a request and returns whatever came.
  /// - Throws: `OutsideError` when nothing came in time.
  func exchange(
    _ method: String, _ path: String, _ fields: [String: Field], expecting expected: String, within timeout: Duration
  ) async throws -> (status: Int, body: Data) {
    var request = HTTPClientRequest(url: "http://\(address)\(path)")
    request.method = .RAW(value: method)
    if method != "GET" {
      request.headers.add(name: "Content-Type", value: "application/json")
      request.body = .bytes(ByteBuffer(bytes: try JSONEncoder().encode(fields)))
    }
    do {
      let parts = timeout.components
      let response = try await HTTPClients.plain.execute(
        request, timeout: .nanoseconds(parts.seconds * 1_000_000_000 + parts.attoseconds / 1_000_000_000))
      return (Int(response.status.code), Data(buffer: try await response.body.collect(upTo: Self.longestAnswer)))
    } catch let error as NIOTooManyBytesError {
      throw breach("\(method) \(path)", "answered with more than \(Self.longestAnswer) bytes (\(error))", expected)
    } catch {
      try Task.checkCancellation()
      let isLate = error as? HTTPClientError == .deadlineExceeded
      let why = isLate ? " within \(timeout)" : ": \(WireConnection.cause(of: error))"
      throw OutsideError(
        isUnreachable: true, "the adapter at \(address) did not answer \(method) \(path)\(why); expected is \(expected)"
      )
    }
  }

  func breach(_ request: String, _ what: String, _ expected: String) -> OutsideError {
    OutsideError(
      isUnreachable: false,
      "the adapter at \(address), asked for \(request), \(what); expected is \(expected)"
        + " (docs/conformance-adapter.md)")
  }

  static let longestAnswer = 1 << 20

  /// As much of a body as a message has room for, without what a terminal would act on.
  static func text(_ body: Data, atMost length: Int = 200) -> String {
    let text = String(decoding: body.prefix(length), as: UTF8.self)
    return text.isEmpty ? "nothing" : "\"\(String(text.map { $0.isNewline || $0.isASCIIControl ? " " : $0 }))\""
  }

  /// A value of a request's JSON.
  enum Field: Encodable, Sendable {
    case text(String)
    case number(Int)
    case flag(Bool)

    func encode(to encoder: any Encoder) throws {
      var container = encoder.singleValueContainer()
      switch self {
      case .text(let text): try container.encode(text)
      case .number(let number): try container.encode(number)
      case .flag(let flag): try container.encode(flag)
      }
    }
  }
}

extension Character {
  fileprivate var isASCIIControl: Bool { asciiValue.map { $0 < 0x20 || $0 == 0x7F } ?? false }
}
