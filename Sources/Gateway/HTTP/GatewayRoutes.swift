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
  static var fencingToken: Self {
    guard let name = Self("Fencing-Token") else { preconditionFailure("a constant is a valid field name") }
    return name
  }
}

struct GatewayRoutes: Sendable {
  typealias Context = BasicRequestContext

  let databases: [String: FencedDatabase]
  /// In the order of their declaration.
  let names: [String]
  let verifier: TokenVerifier
  let limits: GatewayLimits

  func router() -> Router<Context> {
    let router = Router(context: Context.self)
    router.middlewares.add(ProblemMiddleware(bodyBytes: limits.bodyBytes))
    router.get("/status") { request, _ in await status(request) }
    router.get("/readyz") { request, _ in readiness(request) }
    router.post("/db/:name/execute") { request, context in try await execute(request, context) }
    router.post("/db/:name/query") { request, context in
      try await query(request, context, try await statements(request))
    }
    router.get("/db/:name/query") { request, context in
      let statements = QueryItems(request.uri.query).values("q").map { SQLStatement($0) }
      guard !statements.isEmpty else { throw Problem.badRequest("The query has no parameter q.") }
      return try await query(request, context, statements)
    }
    router.get("/db/:name/fence") { request, context in try await fence(request, context) }
    router.post("/db/:name/raise") { request, context in try await raise(request, context) }
    return router
  }

  // MARK: Databases

  private func execute(_ request: Request, _ context: Context) async throws -> Response {
    let start = MonotonicClock.nanoseconds
    let database = try database(context)
    let query = QueryItems(request.uri.query)
    let claims = try await claims(request, for: database)
    // Before the body is read: who has no token has no reason to make us parse one.
    if claims == nil && !database.declaration.isOpen {
      throw Problem.tokenRequired(scope: database.declaration.scope)
    }
    let write = WriteRequest(
      statements: try await statements(request), claims: claims, isAllOrNothing: query.has("transaction"))
    let scope = database.declaration.scope
    do throws(RequestFailure) {
      let outcome = try await database.execute(write)
      return AnswerWriting.execute(
        outcome, scope: scope, form: AnswerForm(query), nanoseconds: MonotonicClock.nanoseconds - start)
    } catch {
      throw problem(error, database, context)
    }
  }

  private func query(
    _ request: Request, _ context: Context, _ statements: [SQLStatement]
  ) async throws -> Response {
    let start = MonotonicClock.nanoseconds
    let database = try database(context)
    let read = ReadRequest(statements: statements, claims: try await claims(request, for: database))
    do throws(RequestFailure) {
      let outcome = try await database.query(read)
      return AnswerWriting.query(
        outcome, scope: database.declaration.scope, form: AnswerForm(QueryItems(request.uri.query)),
        nanoseconds: MonotonicClock.nanoseconds - start)
    } catch {
      throw problem(error, database, context)
    }
  }

  private func fence(_ request: Request, _ context: Context) async throws -> Response {
    let database = try database(context)
    let floor: Floor?
    do throws(RequestFailure) {
      floor = try await database.floor()
    } catch {
      throw problem(error, database, context)
    }
    return AnswerWriting.answer(AnswerForm(QueryItems(request.uri.query))) { json in
      json.member("scope", database.declaration.scope)
      json.member("floor") { json in
        if let floor { json.authority(floor) } else { json.null() }
      }
    }
  }

  private func raise(_ request: Request, _ context: Context) async throws -> Response {
    let database = try database(context)
    let scope = database.declaration.scope
    guard let claims = try await claims(request, for: database) else { throw Problem.tokenRequired(scope: scope) }
    let receipt: RaiseReceipt
    do throws(RequestFailure) {
      receipt = try await database.raise(claims)
    } catch {
      throw problem(error, database, context)
    }
    return AnswerWriting.answer(AnswerForm(QueryItems(request.uri.query))) { json in
      json.member("fence") { $0.authority(receipt.floor, scope: scope) }
      json.member("follows_commit", Int64(clamping: receipt.followsCommit))
    }
  }

  private func database(_ context: Context) throws(Problem) -> FencedDatabase {
    let name = context.parameters.get("name") ?? ""
    guard let database = databases[name] else {
      throw .notFound("This gateway serves no database named \"\(name.prefix(64))\".")
    }
    return database
  }

  private func claims(_ request: Request, for database: FencedDatabase) async throws(Problem) -> FenceClaims? {
    let scope = database.declaration.scope
    guard let token = try TokenReading.token(in: request.headers, scope: scope) else { return nil }
    do throws(VerificationFailure) {
      return try await verifier.verify(token)
    } catch {
      throw Problem(error, scope: scope)
    }
  }

  private func statements(_ request: Request) async throws -> [SQLStatement] {
    let body = try await request.body.collect(upTo: limits.bodyBytes)
    do throws(UnreadableStatements) {
      return try StatementReading.statements(
        body: Array(buffer: body), limit: limits.engine.statementsPerRequest)
    } catch {
      throw Problem.badRequest(error.detail)
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

  // MARK: The gateway itself

  private func status(_ request: Request) async -> Response {
    var floors: [String: Floor] = [:]
    for name in names {
      if let database = databases[name] { floors[name] = try? await database.floor() }
    }
    let known = floors
    return AnswerWriting.answer(AnswerForm(QueryItems(request.uri.query))) { json in
      json.member("ready", isReady)
      json.member("databases") { json in
        json.array { json in
          for name in names {
            if let database = databases[name] { describe(database, floor: known[name], into: &json) }
          }
        }
      }
    }
  }

  private func describe(_ database: FencedDatabase, floor: Floor?, into json: inout JSONWriter) {
    let status = database.status
    json.object { json in
      json.member("name", database.declaration.name)
      json.member("scope", database.declaration.scope)
      json.member("open", database.declaration.isOpen)
      json.member("floor") { json in
        if let floor { json.authority(floor) } else { json.null() }
      }
      json.member("queued_writes", Int64(status.queuedWrites))
      json.member("commits", Int64(clamping: status.commits))
      json.member("writes", Int64(clamping: status.writes))
      json.member("refusals", Int64(clamping: status.refusals))
      json.member("replayed_groups", Int64(clamping: status.replays))
      json.member("checkpoints", Int64(clamping: status.checkpoints))
      json.member("wal_frames", Int64(status.walFrames))
      if let reason = status.haltReason { json.member("halted", reason) }
    }
  }

  private var isReady: Bool { databases.values.allSatisfy { $0.status.haltReason == nil } }

  private func readiness(_ request: Request) -> Response {
    let isReady = isReady
    return AnswerWriting.answer(
      AnswerForm(QueryItems(request.uri.query)), status: isReady ? .ok : .serviceUnavailable
    ) { json in
      json.member("ready", isReady)
    }
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
