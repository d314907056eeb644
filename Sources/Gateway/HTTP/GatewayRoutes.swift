// The gateway's HTTP interface: reads a request, asks a database, writes the answer.
//
// Must never decide about a fence: the engine does, in the transaction. Invariant: whatever goes wrong is answered with
// problem JSON, and a write is answered only after its commit.

import FencingCore
import HTTPTypes
import Hummingbird
import Logging
import NIOCore

extension HTTPField.Name {
  static let fencingToken = constant("Fencing-Token")
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

  init(source: ApplicationRequestContextSource) {
    coreContext = CoreRequestContextStorage(source: source)
    channel = source.channel
  }
}

struct GatewayRoutes: Sendable {
  typealias Context = GatewayContext

  let databases: [String: FencedDatabase]
  /// In the order of their declaration. The first is the default database.
  let names: [String]
  let verifier: TokenVerifier
  let asking: AuthorityAsking
  let limits: GatewayLimits
  /// When the gateway began to serve, in seconds of the wall clock.
  let startedAt = WallClock.seconds

  func router() -> Router<Context> {
    let router = Router(context: Context.self)
    router.middlewares.add(ProblemMiddleware(bodyBytes: limits.bodyBytes))
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
        try await query(request, context, try await statements(request))
      }
      router.get("\(path)/query") { request, context in
        let statements = QueryItems(request.uri.query).values("q").map { SQLStatement($0) }
        guard !statements.isEmpty else { throw Problem.badRequest("The query has no parameter q.") }
        return try await query(request, context, statements)
      }
      router.get("\(path)/backup") { request, context in try await backup(request, context) }
      router.get("\(path)/fence") { request, context in try await fence(request, context) }
      router.post("\(path)/raise") { request, context in try await raise(request, context) }
    }
    router.get("/db/:name/requests/:key") { request, context in try await keptAnswer(request, context) }
    return router
  }

  // MARK: What requests have in common

  func database(_ context: Context) throws(Problem) -> FencedDatabase {
    let name = context.parameters.get("name") ?? names.first ?? ""
    guard let database = databases[name] else {
      throw .notFound("This gateway serves no database named \"\(name.prefix(64))\".")
    }
    return database
  }

  func claims(_ request: Request, for database: FencedDatabase) async throws(Problem) -> [FenceClaims] {
    let scope = database.declaration.scope
    var all: [FenceClaims] = []
    for token in TokenReading.tokens(in: request.headers) {
      let claims: FenceClaims
      do throws(VerificationFailure) {
        claims = try await verifier.verify(token)
      } catch {
        throw Problem(error, scope: scope)
      }
      // Whoever checked one of two tokens on the way may have checked the other.
      if all.contains(where: { $0.scope == claims.scope }) {
        throw Problem(.ambiguousClaims(scope: claims.scope), scope: scope)
      }
      all.append(claims)
      guard all.count <= limits.tokensPerRequest else {
        throw Problem.badRequest("A request may carry \(limits.tokensPerRequest) tokens.")
      }
    }
    return all
  }

  func statements(_ request: Request) async throws -> [SQLStatement] {
    let body = try await request.body.collect(upTo: limits.bodyBytes)
    do throws(UnreadableStatements) {
      return try StatementReading.statements(
        body: Array(buffer: body), limit: limits.engine.statementsPerRequest)
    } catch {
      throw Problem.badRequest(error.detail)
    }
  }

  /// Asks the engine; a scope that is closed is opened first, if the core can be asked.
  func ask<Answer: Sendable>(
    _ database: FencedDatabase, _ context: Context, _ ask: () async throws(RequestFailure) -> Answer
  ) async throws(Problem) -> Answer {
    do throws(RequestFailure) {
      return try await ask()
    } catch {
      guard case .scopeClosed(let scope) = error, await asking.open(scope, of: database) else {
        throw problem(error, database, context)
      }
    }
    do throws(RequestFailure) {
      return try await ask()
    } catch {
      throw problem(error, database, context)
    }
  }

  private func problem(_ failure: RequestFailure, _ database: FencedDatabase, _ context: Context) -> Problem {
    let name = database.declaration.name
    switch failure {
    case .halted(let reason), .storage(let reason):
      context.logger.error("request failed", metadata: ["database": "\(name)", "why": "\(reason)"])
    default:
      context.logger.debug("request refused", metadata: ["database": "\(name)", "why": "\(failure)"])
    }
    return Problem(failure, scope: database.declaration.scope)
  }
}

/// Turns whatever goes wrong into problem JSON.
struct ProblemMiddleware: RouterMiddleware {
  typealias Context = GatewayRoutes.Context

  let bodyBytes: Int

  func handle(
    _ request: Request, context: Context, next: (Request, Context) async throws -> Response
  ) async throws -> Response {
    do {
      return try await next(request, context)
    } catch let problem as Problem {
      return problem.response
    } catch is NIOTooManyBytesError {
      return Problem.bodyTooLarge(limit: bodyBytes).response
    } catch let error as HTTPError where error.status == .notFound {
      return Problem.notFound("No such path, or not with this method.").response
    } catch let error as HTTPError {
      return Problem(
        status: error.status, type: "bad-request", title: "The request cannot be carried out",
        detail: error.body ?? error.status.reasonPhrase, recovery: "See the gateway's documentation."
      ).response
    } catch {
      context.logger.error("request failed", metadata: ["error": "\(error)"])
      return Problem(
        status: .internalServerError, type: "internal", title: "The gateway failed",
        detail: "The request was not carried out.", recovery: "See the gateway's log."
      ).response
    }
  }
}
