// One write on the short way (`WriteShortcut`): when it may go there, what it asks of the engine, and its answer.
//
// Must never decide anything that the routes would decide otherwise: what is unusual about a request, or not yet known
// about its token or its database, is left to them.

import FencedSQLite
import FencingCore
import NIOCore
import NIOHTTP1
import Tokens

/// A token as a connection sent it last.
struct PresentedToken {
  let text: String
  let verified: VerifiedToken
  /// Its claims alone, shared by all requests that send it.
  let claims: [FenceClaims]
  /// The verifier's, when it remembered the token.
  let keysVersion: UInt64
}

struct ShortWrite: Sendable {
  typealias Ending = Result<WriteOutcome, RequestFailure>

  /// Reading a larger body would hold up the loop's other connections.
  private static let largestBody = 64 << 10

  let head: HTTPRequestHead
  private(set) var pieces: [ByteBuffer] = []
  private let slot: DatabaseSlot
  private let query: QueryItems
  private let startedAt = MonotonicClock.nanoseconds

  /// Nil where the request is none for the short way, as far as its head tells.
  init?(_ head: HTTPRequestHead, _ routes: GatewayRoutes) {
    guard head.method == .POST, head.version == .http1_1, head.isKeepAlive, case .tokens = routes.authority,
      !head.headers.contains(name: "Expect"), !head.headers.contains(name: "Fence")
    else { return nil }
    let parts = head.uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    guard let slot = Self.slot(parts[0], routes.shelf), !slot.declaration.asksCore else { return nil }
    self.head = head
    self.slot = slot
    query = QueryItems(parts.count > 1 ? String(parts[1]) : nil)
  }

  /// The database that a path executes on, where it is written plainly.
  private static func slot(_ path: Substring, _ shelf: DatabaseShelf) -> DatabaseSlot? {
    if path == "/db/execute" { return shelf.slots.first }
    guard path.hasPrefix("/db/"), path.hasSuffix("/execute") else { return nil }
    return shelf.slot(String(path.dropFirst("/db/".count).dropLast("/execute".count)))
  }

  /// Takes a piece of the body, and answers whether it is still small.
  mutating func add(_ bytes: ByteBuffer) -> Bool {
    pieces.append(bytes)
    return pieces.reduce(0) { $0 + $1.readableBytes } <= Self.largestBody
  }

  // MARK: Asking the engine

  /// Answers false, and does nothing, where the request is one for the routes. `onEnd` is called once, on any thread.
  ///
  /// - Parameter last: the one token of the connection's last request.
  func start(
    _ routes: GatewayRoutes, last: inout PresentedToken?, onEnd: @escaping @Sendable (Ending) -> Void,
    onStart: () -> Void
  ) -> Bool {
    guard let claims = claims(routes, &last), let share = try? routes.budget.admit(),
      let request = request(claims, share, routes.limits), let database = slot.leaseIfOpen()
    else { return false }
    onStart()
    database.execute(request) { [slot] ending in
      slot.release()
      _ = share
      onEnd(ending)
    }
    return true
  }

  private func claims(_ routes: GatewayRoutes, _ last: inout PresentedToken?) -> [FenceClaims]? {
    guard case .tokens(let verifier) = routes.authority else { return nil }
    let (fencing, authorization) = (head.headers["Fencing-Token"], head.headers["Authorization"])
    // A holder sends the same token over and over, and to compare it is quicker than to look it up.
    if let last, authorization.isEmpty, fencing == [last.text],
      verifier.isGood(last.verified, keysVersion: last.keysVersion)
    {
      return last.claims
    }
    let tokens = TokenReading.tokens(fencing: fencing, authorization: authorization)
    let version = verifier.keysVersion
    guard tokens.count <= routes.limits.tokensPerRequest, !tokens.isEmpty || slot.declaration.isOpen else { return nil }
    var all: [FenceClaims] = []
    for token in tokens {
      guard let verified = verifier.remembered(token), !all.contains(where: { $0.scope == verified.claims.scope })
      else { return nil }
      all.append(verified.claims)
      last = PresentedToken(text: token, verified: verified, claims: all, keysVersion: version)
    }
    if fencing != tokens || tokens.count != 1 { last = nil }
    return all
  }

  private func request(_ claims: [FenceClaims], _ share: RequestShare, _ limits: GatewayLimits) -> WriteRequest? {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(pieces.reduce(0) { $0 + $1.readableBytes })
    for piece in pieces { bytes.append(contentsOf: piece.readableBytesView) }
    do {
      try share.hold(bytes.count)
      let statements = try StatementReading.statements(body: bytes, limit: limits.engine.statementsPerRequest)
      var request = WriteRequest(
        statements: statements, claims: claims, isAllOrNothing: query.has("transaction"),
        idempotencyKey: try KeyReading.idempotencyKey(head.headers["Idempotency-Key"]))
      request.timeoutSeconds = try TimeReading.timeoutSeconds(query)
      return request
    } catch {
      // Whatever is wrong with it, the routes say it.
      return nil
    }
  }

  // MARK: The answer

  /// Nil where the routes are to try, and to say what became of it: nothing was done, and it may be a closed scope, which
  /// they can open.
  func answer(_ ending: Ending, date: String, lastFence: inout WrittenFence?) -> (
    head: HTTPResponseHead, body: ByteBuffer
  )? {
    var headers = HTTPHeaders()
    let status: HTTPResponseStatus
    let body: [UInt8]
    switch ending {
    case .success(let outcome):
      status = .ok
      headers.add(name: "Content-Type", value: AnswerWriting.contentType)
      if outcome.isRepeated { headers.add(name: "Idempotency-Replayed", value: "true") }
      body = AnswerWriting.executed(
        outcome, form: AnswerForm(query), nanoseconds: MonotonicClock.nanoseconds - startedAt, lastFence: &lastFence)
    case .failure(let failure):
      switch failure {
      case .refused, .timedOut, .keyTaken, .answerGone, .sharedToken: break
      default: return nil
      }
      let problem = Problem(failure, scope: slot.declaration.scope)
      status = HTTPResponseStatus(statusCode: problem.status.code)
      for field in problem.headers { headers.add(name: field.name.canonicalName, value: field.value) }
      body = problem.body
    }
    headers.add(name: "Content-Length", value: String(body.count))
    headers.add(name: "Date", value: date)
    return (HTTPResponseHead(version: .http1_1, status: status, headers: headers), ByteBuffer(bytes: body))
  }
}
