// The gateway's HTTP interface: reads a request, asks a database, writes the answer.
//
// Must never decide about a fence: the engine does, in the transaction. Invariant: whatever goes wrong is answered with
// problem JSON, and a write is answered only after its commit.

import FencingCore
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import NIOHTTP1

extension HTTPField.Name {
  static let fencingToken = constant("Fencing-Token")
  static let fence = constant("Fence")
  static let idempotencyKey = constant("Idempotency-Key")
  static let idempotencyReplayed = constant("Idempotency-Replayed")

  private static func constant(_ text: String) -> Self {
    guard let name = Self(text) else { preconditionFailure("a constant is a valid field name") }
    return name
  }
}

/// A request's context, with the connection that it came on.
struct GatewayContext: RequestContext {
  var coreContext: CoreRequestContextStorage
  let channel: any Channel
  /// What the request takes of the gateway's room; nil for those about the gateway itself.
  var share: RequestShare?

  init(source: ApplicationRequestContextSource) {
    coreContext = CoreRequestContextStorage(source: source)
    channel = source.channel
  }
}

/// On what the gateway's claims rest.
enum FenceAuthority: Sendable {
  /// Tokens that a core signed.
  case tokens(TokenVerifier)
  /// Locks in a plain etcd.
  case locks(LockVerifier)
}

struct GatewayRoutes: Sendable {
  typealias Context = GatewayContext

  let shelf: DatabaseShelf
  let authority: FenceAuthority
  let asking: AuthorityAsking
  let limits: GatewayLimits
  let budget: RequestBudget
  let connections: OpenConnections
  /// `http` or `https`.
  let scheme: String
  /// When the gateway began to serve, in seconds of the wall clock.
  let startedAt = WallClock.seconds

  func router() -> Router<Context> {
    let router = Router(context: Context.self)
    router.middlewares.add(ProblemMiddleware())
    router.middlewares.add(AdmissionMiddleware(budget: budget))
    router.get("/status") { request, _ in await status(request) }
    router.get("/readyz") { request, _ in readiness(request) }
    router.get("/nodes") { request, _ in nodes(request) }
    router.get("/metrics") { _, _ in metrics() }
    router.get("/openapi.json") { _, _ in
      Response(
        status: .ok, headers: [.contentType: "application/json"],
        body: ResponseBody(byteBuffer: ByteBuffer(string: OpenAPI.text)))
    }
    // rqlite has one database and does not name it: that is the default one here.
    for path in ["/db", "/db/:name"] {
      router.post("\(path)/execute") { request, context in try await execute(request, context) }
      router.post("\(path)/request") { request, context in try await mixed(request, context) }
      router.post("\(path)/query") { request, context in
        try await query(request, context, try await statements(request, context))
      }
      router.get("\(path)/query") { request, context in
        let statements = QueryItems(request.uri.query).values("q").map { SQLStatement($0) }
        guard !statements.isEmpty else { throw Problem.badRequest("The query has no parameter q.") }
        return try await query(request, context, statements)
      }
      router.get("\(path)/backup") { request, context in try await backup(request, context) }
      router.get("\(path)/fence") { request, context in try await fence(request, context) }
      router.post("\(path)/load") { request, context in try await load(request, context) }
      router.post("\(path)/raise") { request, context in try await raise(request, context) }
    }
    router.get("/db/:name/requests/:key") { request, context in try await keptAnswer(request, context) }
    return router
  }

  // MARK: What requests have in common

  func database(_ context: Context) throws(Problem) -> DatabaseSlot {
    guard let name = context.parameters.get("name") else {
      guard let first = shelf.slots.first else { throw .notFound("This gateway serves no database.") }
      return first
    }
    guard let database = shelf.slot(name) else {
      throw .notFound("This gateway serves no database named \"\(name.prefix(64))\".")
    }
    return database
  }

  func claims(
    _ request: Request, for database: DatabaseSlot, _ context: Context
  ) async throws(Problem) -> [FenceClaims] {
    let scope = database.declaration.scope
    let tokens = TokenReading.tokens(in: request.headers)
    guard tokens.count <= limits.tokensPerRequest, request.headers[values: .fence].count <= limits.tokensPerRequest
    else { throw Problem.badRequest("A request may carry \(limits.tokensPerRequest) tokens.") }
    var all: [FenceClaims] = []
    switch authority {
    case .tokens(let verifier):
      guard request.headers[.fence] == nil else {
        throw .otherKind("Fence is for a plain etcd; this gateway's core signs tokens.", scope: scope)
      }
      for token in tokens {
        do throws(VerificationFailure) {
          all.append(try await verifier.verify(token))
        } catch {
          throw Problem(error, scope: scope)
        }
      }
    case .locks(let verifier):
      guard tokens.isEmpty else {
        throw .otherKind("This gateway stands on a plain etcd, which signs no tokens: send Fence.", scope: scope)
      }
      for lock in try PresentedLock.all(in: request.headers).prefix(limits.tokensPerRequest + 1) {
        all.append(
          try await verifier.claims(lock, for: database.declaration) { scope async throws(Problem) in
            try await ask(database, context) { database async throws(RequestFailure) in
              try await database.floor(of: scope)
            }
          })
      }
    }
    // Whoever checked one of two tokens on the way may have checked the other.
    if let twice = all.first(where: { claims in all.count { $0.scope == claims.scope } > 1 }) {
      throw Problem(.ambiguousClaims(scope: twice.scope), scope: scope)
    }
    return all
  }

  func statements(_ request: Request, _ context: Context) async throws -> [SQLStatement] {
    let body = try await body(request, context)
    do throws(UnreadableStatements) {
      return try StatementReading.statements(body: body, limit: limits.engine.statementsPerRequest)
    } catch {
      throw Problem.badRequest(error.detail)
    }
  }

  private func body(_ request: Request, _ context: Context) async throws -> [UInt8] {
    let tooLarge = Problem.bodyTooLarge(limit: limits.bodyBytes)
    let announced = request.headers[.contentLength].flatMap { Int($0) } ?? 0
    guard announced <= limits.bodyBytes else { throw tooLarge }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(announced)
    for try await chunk in request.body {
      guard bytes.count + chunk.readableBytes <= limits.bodyBytes else { throw tooLarge }
      try context.share?.hold(chunk.readableBytes)
      bytes.append(contentsOf: chunk.readableBytesView)
    }
    return bytes
  }

  /// Asks the engine, which is started if it is not; a scope that is closed is opened first, if the core can be asked.
  func ask<Answer: Sendable>(
    _ slot: DatabaseSlot, _ context: Context,
    _ ask: (FencedDatabase) async throws(RequestFailure) -> Answer
  ) async throws(Problem) -> Answer {
    let database: FencedDatabase
    do throws(OpenError) {
      database = try await slot.lease()
    } catch {
      throw problem(.unopened(error), slot, context)
    }
    defer { slot.release() }
    do throws(RequestFailure) {
      return try await ask(database)
    } catch {
      guard case .scopeClosed(let scope) = error, await asking.open(scope, of: database) else {
        throw problem(error, slot, context)
      }
    }
    do throws(RequestFailure) {
      return try await ask(database)
    } catch {
      throw problem(error, slot, context)
    }
  }

  func problem(_ failure: RequestFailure, _ database: DatabaseSlot, _ context: Context) -> Problem {
    let name = database.declaration.name
    switch failure {
    case .halted(let reason), .diskFull(let reason), .storage(let reason):
      context.logger.error("request failed", metadata: ["database": "\(name)", "why": "\(reason)"])
    case .unopened(let error):
      context.logger.error("database not opened", metadata: ["database": "\(name)", "why": "\(error)"])
    default:
      context.logger.debug("request refused", metadata: ["database": "\(name)", "why": "\(failure)"])
    }
    return Problem(failure, scope: database.declaration.scope)
  }
}

/// Turns whatever goes wrong into problem JSON.
struct ProblemMiddleware: RouterMiddleware {
  typealias Context = GatewayRoutes.Context

  func handle(
    _ request: Request, context: Context, next: (Request, Context) async throws -> Response
  ) async throws -> Response {
    do {
      return try await next(request, context)
    } catch let problem as Problem {
      return problem.response
    } catch let error as HTTPError where error.status == .notFound {
      let methods = OpenAPI.methods(of: request.uri.path)
      guard methods.isEmpty else { return Problem.methodNotAllowed(methods) }
      return Problem.notFound("There is no such path.").response
    } catch let error as HTTPError {
      return Problem(
        status: error.status, type: "bad-request", title: "The request cannot be carried out",
        detail: error.body ?? error.status.reasonPhrase, recovery: "See the gateway's documentation."
      ).response
    } catch let error where error is HTTPParserError || error is ChannelError || error is IOError {
      // The client's doing, which must not fill the log.
      context.logger.debug("a request did not come whole", metadata: ["why": "\(error)"])
      return Problem.badRequest("The request did not come whole.").response
    } catch {
      context.logger.error("request failed", metadata: ["error": "\(error)"])
      return Problem(
        status: .internalServerError, type: "internal", title: "The gateway failed",
        detail: "The request was not carried out.", recovery: "See the gateway's log."
      ).response
    }
  }
}
