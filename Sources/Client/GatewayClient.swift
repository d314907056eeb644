// Writing and reading through a gateway.

import AsyncHTTPClient
import Foundation
import NIOCore
import NIOFoundationCompat
import NIOHTTP1
import Wire

/// A gateway's answer as it came: the body is JSON in rqlite's shape, or problem JSON (RFC 9457) for a refusal.
public struct GatewayAnswer: Sendable {
  /// The HTTP status: 200, or that of a problem.
  public let status: Int
  /// The body as it came.
  public let body: String

  package init(status: Int, body: String) {
    self.status = status
    self.body = body
  }

  /// Whether the gateway took the request. A statement of it may still have failed: see `hasStatementError`.
  public var isAccepted: Bool { status == 200 }

  /// Whether SQLite refused a statement, which rqlite's shape reports inside an answer with status 200.
  public var hasStatementError: Bool {
    struct Answer: Decodable {
      struct Result: Decodable { let error: String? }
      let results: [Result]
    }
    let answer = try? JSONDecoder().decode(Answer.self, from: Data(body.utf8))
    return answer?.results.contains { $0.error != nil } ?? false
  }
}

/// A client of one gateway. Any task may use it.
public struct GatewayClient: Sendable {
  /// Which of a database's two ways in a request takes.
  public enum Operation: String, Sendable {
    /// Statements that may write. A fenced database asks for a token.
    case execute
    /// Statements that only read. With a token, the answer is refused when the token is stale.
    case query
  }

  /// rqlite's port.
  public static let defaultPort = 4001

  /// Where the gateway listens.
  public let endpoint: Endpoint

  /// How TLS is spoken with it, where its scheme is `https`.
  public let tls: TLSOptions

  /// Nothing is connected before the first request.
  public init(endpoint: Endpoint, tls: TLSOptions = TLSOptions()) {
    self.endpoint = endpoint
    self.tls = tls
  }

  /// - Throws: `TLSError` where a file cannot be used.
  private func client() throws -> HTTPClient { try HTTPClients.client(usesTLS: endpoint.usesTLS, tls) }

  /// Runs statements, all or none of them.
  /// - Throws: `ClientError` with code `unavailable` when the gateway cannot be reached. A refusal is an answer, not an
  ///   error.
  public func run(
    _ operation: Operation, _ statements: [String], on database: String, token: String?,
    timeout: Duration = .seconds(30)
  ) async throws(ClientError) -> GatewayAnswer {
    do {
      let name = database.addingPercentEncoding(withAllowedCharacters: .urlPathAllowed) ?? database
      var request = HTTPClientRequest(url: "\(endpoint.url)/db/\(name)/\(operation.rawValue)?transaction")
      request.method = .POST
      request.headers.add(name: "Content-Type", value: "application/json")
      if let token { request.headers.add(name: "Fencing-Token", value: token) }
      request.body = .bytes(ByteBuffer(bytes: try JSONEncoder().encode(statements)))
      let response = try await client().execute(request, timeout: .nanoseconds(timeout.nanoseconds))
      let body = try await response.body.collect(upTo: 64 << 20)
      return GatewayAnswer(status: Int(response.status.code), body: String(buffer: body))
    } catch {
      throw unanswered(error)
    }
  }

  private func unanswered(_ error: any Error) -> ClientError {
    let cause = WireConnection.cause(of: error)
    return ClientError(.unavailable, "the gateway at \(endpoint) did not answer: \(cause). Is it running?")
  }

  /// The highest authority that a database has been told of, or nil before the first write under a token.
  public func floor(of database: String) async throws(ClientError) -> ScopeFloor? {
    struct Answer: Decodable { let floor: ScopeFloor? }
    do {
      let name = database.addingPercentEncoding(withAllowedCharacters: .urlPathAllowed) ?? database
      let request = HTTPClientRequest(url: "\(endpoint.url)/db/\(name)/fence")
      let response = try await client().execute(request, timeout: .seconds(10))
      let body = try await response.body.collect(upTo: 1 << 20)
      guard response.status == .ok else {
        throw ClientError(
          .failed, "the gateway at \(endpoint) answered \(response.status.code): \(String(buffer: body))")
      }
      return try JSONDecoder().decode(Answer.self, from: Data(buffer: body)).floor
    } catch let error as ClientError {
      throw error
    } catch {
      throw unanswered(error)
    }
  }
}

/// The highest authority that a database has been told of for its scope.
public struct ScopeFloor: Sendable, Decodable {
  /// The number of the highest grant.
  public let number: Int64
  /// The incarnation that the number belongs to.
  public let incarnation: Int64
  /// Whose grant it is.
  public let holder: String
}
