// A real gateway on a free port, and a client that talks to it over its socket.

import AsyncHTTPClient
import FencingCore
import Foundation
import Gateway
import NIOCore
import NIOHTTP1
import Testing
import Tokens

/// Answers with the keys that it is told to, and counts how often it is asked.
actor StaticKeys: AuthorityKeys {
  private var keys: KeySet
  private(set) var questions = 0
  private var isReachable = true

  init(_ keys: [VerifyingKey]) { self.keys = KeySet(keys) }

  func set(_ keys: [VerifyingKey]) { self.keys = KeySet(keys) }
  func set(_ keys: KeySet) { self.keys = keys }
  func set(isReachable: Bool) { self.isReachable = isReachable }

  func keySet(refresh: Bool) async throws -> KeySet {
    questions += 1
    guard isReachable else { throw Unreachable() }
    return keys
  }

  struct Unreachable: Error, CustomStringConvertible {
    var description: String { "the core does not answer" }
  }
}

/// Says of every scope what it is told to, and counts how often it is asked.
actor StaticStandings: AuthorityStandings {
  private var standing: Standing?
  private(set) var questions = 0

  init(_ standing: Standing? = nil) { self.standing = standing }

  func set(_ standing: Standing?) { self.standing = standing }

  func standing(of scope: String) async throws -> Standing {
    questions += 1
    guard let standing else { throw StaticKeys.Unreachable() }
    return standing
  }
}

func standing(of claims: FenceClaims) -> Standing {
  Standing(
    cluster: claims.cluster, incarnation: claims.incarnation,
    current: Standing.Grant(number: claims.number, holder: claims.holder), lastNumber: claims.number)
}

struct Answer {
  let status: Int
  let headers: HTTPHeaders
  let text: String
  let json: JSONValue

  var problem: String? { json["type"]?.string }

  /// The results, written as JSON again in a form that compares well.
  var results: [JSONValue] {
    if case .array(let results)? = json["results"] { return results }
    return []
  }
}

struct HTTPFixture: Sendable {
  let port: Int
  let key: SigningKey
  let path: String

  func token(_ claims: FenceClaims, expiresInSeconds: Int64 = 60) throws -> String {
    let now = Int64(Date().timeIntervalSince1970)
    return try key.sign(claims, issuedAtSeconds: now, expiresAtSeconds: now + expiresInSeconds)
  }

  func send(
    _ method: HTTPMethod, _ target: String, _ body: String? = nil, token: String? = nil, bearer: String? = nil,
    headers: [(String, String)] = []
  ) async throws -> Answer {
    var request = HTTPClientRequest(url: "http://127.0.0.1:\(port)\(target)")
    request.method = method
    if let body { request.body = .bytes(ByteBuffer(string: body)) }
    if let token { request.headers.add(name: "Fencing-Token", value: token) }
    if let bearer { request.headers.add(name: "Authorization", value: "Bearer \(bearer)") }
    for (name, value) in headers { request.headers.add(name: name, value: value) }
    let response = try await HTTPClient.shared.execute(request, timeout: .seconds(30))
    let bytes = Array(buffer: try await response.body.collect(upTo: 64 << 20))
    return Answer(
      status: Int(response.status.code), headers: response.headers, text: String(decoding: bytes, as: UTF8.self),
      json: response.headers.first(name: "content-type")?.contains("json") == true
        ? try StrictJSON.parse(bytes) : .null)
  }

  func execute(_ body: String, _ claims: FenceClaims?, flags: String = "") async throws -> Answer {
    try await send(.POST, "/db/orders/execute\(flags)", body, token: try claims.map { try token($0) })
  }

  func query(_ body: String, _ claims: FenceClaims? = nil, flags: String = "") async throws -> Answer {
    try await send(.POST, "/db/orders/query\(flags)", body, token: try claims.map { try token($0) })
  }
}

/// Runs a gateway with a protected database "orders" and an open one, "scratch", for as long as `body` runs.
func withGateway(
  limits: GatewayLimits = GatewayLimits(), keys: StaticKeys? = nil, standings: StaticStandings? = nil,
  key: SigningKey = SigningKey(), folder existing: Folder? = nil,
  databases: ((Folder) throws -> [DatabaseDeclaration])? = nil, _ body: (HTTPFixture) async throws -> Void
) async throws {
  let folder = try existing ?? Folder()
  let path = folder.file("orders.db")
  try Raw.run(
    path, "CREATE TABLE IF NOT EXISTS item(id INTEGER PRIMARY KEY, name TEXT UNIQUE, price REAL, picture BLOB)")
  var configuration = GatewayConfiguration(
    port: 0,
    databases: try databases?(folder) ?? [
      DatabaseDeclaration(name: "orders", path: path),
      DatabaseDeclaration(name: "scratch", path: folder.file("scratch.db"), isOpen: true),
    ])
  configuration.limits = limits
  let server = try await GatewayServer(
    configuration: configuration, keys: keys ?? StaticKeys([key.publicKey]), standings: standings,
    logger: quietLogger)
  let (ports, portContinuation) = AsyncStream.makeStream(of: Int.self)
  let running = Task { try await server.run { portContinuation.yield($0) } }
  var port = 0
  for await ready in ports {
    port = ready
    break
  }
  let outcome: Result<Void, any Error>
  do {
    try await body(HTTPFixture(port: port, key: key, path: path))
    outcome = .success(())
  } catch {
    outcome = .failure(error)
  }
  running.cancel()
  try await running.value
  try outcome.get()
  withExtendedLifetime(folder) {}
}
