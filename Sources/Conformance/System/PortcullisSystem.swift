// Our own core as a lock service, and our own gateway as a resource.

import AsyncHTTPClient
package import Client
import Dispatch
import Foundation
import NIOCore
import NIOFoundationCompat
import Synchronization

/// Sessions and grants of a Portcullis core.
package final class PortcullisLocks: LockService {
  private let client: Portcullis
  private let holder: String
  private let sessions = Mutex<[Session]>([])

  package init(
    endpoints: [Endpoint], holder: String, access: RunningSystem.Access = RunningSystem.Access()
  ) {
    client = Portcullis(endpoints: endpoints, tls: access.tls, credentials: access.credentials)
    self.holder = holder
  }

  /// Each acquisition has a session of its own, so a holder that comes back is a new one. A session that ends before it was
  /// granted anything, as a short one does on a machine that stalls, is followed by another.
  package func acquire(_ order: AcquireOrder) async throws -> [Held] {
    var attemptsLeft = 10
    while true {
      attemptsLeft -= 1
      do {
        return try await acquireOnce(order)
      } catch let error as ClientError where error.code == .sessionLost && attemptsLeft > 0 {
        continue
      }
    }
  }

  private func acquireOnce(_ order: AcquireOrder) async throws -> [Held] {
    let session = try await Session.open(
      on: client, holder: holder, timeToLive: .milliseconds(order.milliseconds))
    sessions.withLock { $0.append(session) }
    var request = GrantRequest(order.scopes)
    request.wait = .milliseconds(order.waitMilliseconds)
    request.barrier =
      switch order.barrier {
      case .whereRegistered: .whereRegistered
      case .required: .required
      case .off: .off
      }
    return try await session.acquire(request).map {
      Held(
        scope: $0.scope, number: $0.number, proof: $0.token, lease: $0.session,
        isConfirmed: $0.barrier == .confirmed)
    }
  }

  /// The deadline is the client's own, so it may pass before the process gets to look at it.
  package func waitUntilLost() async -> Loss? {
    guard let session = sessions.withLock({ $0.last }) else { return nil }
    await session.waitUntilOver()
    let now = DispatchTime.now().uptimeNanoseconds
    let parts = ContinuousClock.now.duration(to: session.deadline).components
    let left = parts.seconds * 1_000_000_000 + parts.attoseconds / 1_000_000_000
    return Loss(why: "\(session.current)", nanoseconds: UInt64(Int64(now) + min(left, 0)))
  }

  package func release() async {
    let held = sessions.withLock { sessions in
      defer { sessions = [] }
      return sessions
    }
    for session in held { await session.close() }
  }

  package func close() async {
    await release()
    client.close()
  }
}

/// A gateway's HTTP interface (docs/http-api.md). Any task may use it.
package struct GatewayResource: Resource {
  /// `host:port`, with `https://` in front where TLS is spoken.
  package let address: String
  private let tls: TLSOptions

  package init(address: String, tls: TLSOptions = TLSOptions()) {
    (self.address, self.tls) = (address, tls)
  }

  package func send(_ request: ResourceRequest, proofs: [String]) async -> ResourceAnswer {
    let database = request.database.addingPercentEncoding(withAllowedCharacters: .urlPathAllowed) ?? request.database
    let path = "/db/\(database)/\(request.kind.rawValue)"
    let timeout = Duration.milliseconds(request.timeoutMilliseconds)
    guard request.kind != .raise else {
      return await call("POST", path, tokens: proofs, timeout: timeout)
    }
    return await call(
      "POST", path + "?transaction", tokens: proofs, key: request.key, body: Self.json(request.statements),
      timeout: timeout)
  }

  /// Any request.
  /// - Parameters:
  ///   - path: with its query.
  ///   - tokens: each in a header field of its own.
  package func call(
    _ method: String, _ path: String, tokens: [String] = [], key: String? = nil, body: [UInt8]? = nil,
    timeout: Duration = .seconds(30)
  ) async -> ResourceAnswer {
    let usesTLS = address.hasPrefix("https://")
    var request = HTTPClientRequest(url: "\(usesTLS ? "" : "http://")\(address)\(path)")
    request.method = .RAW(value: method)
    for token in tokens { request.headers.add(name: "Fencing-Token", value: token) }
    if let key { request.headers.add(name: "Idempotency-Key", value: key) }
    if let body {
      request.headers.add(name: "Content-Type", value: "application/json")
      request.body = .bytes(ByteBuffer(bytes: body))
    }
    do {
      let parts = timeout.components
      let response = try await HTTPClients.client(usesTLS: usesTLS, tls).execute(
        request, timeout: .nanoseconds(parts.seconds * 1_000_000_000 + parts.attoseconds / 1_000_000_000))
      let bytes = try await response.body.collect(upTo: 64 << 20)
      return ResourceAnswer(
        status: Int(response.status.code), body: String(buffer: bytes),
        isReplayed: response.headers.first(name: "Idempotency-Replayed") == "true")
    } catch {
      return .unanswered(error)
    }
  }

  /// A plain read, without a token.
  /// - Throws: `ConformanceError` when it was not answered with rows.
  package func read(_ statement: String, on database: String) async throws -> ResourceAnswer {
    let answer = await send(ResourceRequest(database, statement, kind: .query), proofs: [])
    guard answer.isAccepted else { throw ConformanceError("\"\(statement)\" was answered with \(answer.summary)") }
    return answer
  }

  /// The number of the floor, or nil before the first token.
  package func floor(of database: String) async throws -> Int64? {
    struct Answer: Decodable {
      struct Floor: Decodable { let number: Int64 }
      let floor: Floor?
    }
    let answer = await call("GET", "/db/\(database)/fence")
    guard let decoded = try? JSONDecoder().decode(Answer.self, from: Data(answer.body.utf8)) else {
      throw ConformanceError("the floor of \(database) could not be read: \(answer.summary)")
    }
    return decoded.floor?.number
  }

  /// One gauge of the gateway's metrics.
  package func gauge(_ name: String) async throws -> Double {
    let text = await call("GET", "/metrics").body
    let line = text.split(separator: "\n").first { $0.hasPrefix("portcullis_gateway_\(name) ") }
    guard let value = line?.split(separator: " ").last.flatMap({ Double($0) }) else {
      throw ConformanceError("the gateway's metrics have no \(name): \(text.prefix(200))")
    }
    return value
  }

  private static func json(_ statements: [String]) -> [UInt8] {
    // Texts are always valid JSON.
    Array((try? JSONEncoder().encode(statements)) ?? Data("[]".utf8))
  }
}

/// A scenario could not be played to its end, which is no verdict over the fence.
package struct ConformanceError: Error, CustomStringConvertible {
  package let description: String

  package init(_ description: String) { self.description = description }
}
