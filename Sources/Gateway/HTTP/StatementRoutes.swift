// The routes that carry SQL, and those about floors and kept answers.

import FencingCore
import Hummingbird

extension GatewayRoutes {
  func execute(_ request: Request, _ context: Context) async throws -> Response {
    let start = MonotonicClock.nanoseconds
    let database = try database(context)
    let query = QueryItems(request.uri.query)
    let claims = try await claims(request, for: database, context)
    // Before the body is read: who has no token has no reason to make us parse one.
    if claims.isEmpty && !database.declaration.isOpen {
      throw Problem.tokenRequired(scope: database.declaration.scope)
    }
    let outcome = try await write(try await statements(request, context), claims, request, query, database, context)
    return AnswerWriting.execute(
      outcome, form: AnswerForm(query),
      nanoseconds: MonotonicClock.nanoseconds - start)
  }

  /// Reads and writes together, each answered in its own shape. Without a token it may still read.
  func mixed(_ request: Request, _ context: Context) async throws -> Response {
    let start = MonotonicClock.nanoseconds
    let database = try database(context)
    let query = QueryItems(request.uri.query)
    let claims = try await claims(request, for: database, context)
    // A read keeps no answer; a key that is none is refused all the same, as it would be with a token.
    _ = try KeyReading.idempotencyKey(in: request.headers)
    let statements = try await statements(request, context)
    guard claims.isEmpty && !database.declaration.isOpen else {
      let outcome = try await write(statements, claims, request, query, database, context)
      return AnswerWriting.mixed(
        outcome, form: AnswerForm(query), nanoseconds: MonotonicClock.nanoseconds - start)
    }
    var read = ReadRequest(statements: statements, claims: [])
    read.timeoutSeconds = try TimeReading.timeoutSeconds(query)
    read.onlyReads = true
    let request = read
    let outcome = try await ask(database, context) { database async throws(RequestFailure) in
      try await database.query(request)
    }
    return AnswerWriting.query(
      outcome, form: AnswerForm(query), nanoseconds: MonotonicClock.nanoseconds - start)
  }

  private func write(
    _ statements: [SQLStatement], _ claims: [FenceClaims], _ request: Request, _ query: QueryItems,
    _ database: DatabaseSlot, _ context: Context
  ) async throws -> WriteOutcome {
    var write = WriteRequest(
      statements: statements, claims: claims, isAllOrNothing: query.has("transaction"),
      idempotencyKey: try KeyReading.idempotencyKey(in: request.headers))
    write.timeoutSeconds = try TimeReading.timeoutSeconds(query)
    if database.declaration.asksCore { try await asking.confirm(claims) }
    let asked = write
    return try await ask(database, context) { database async throws(RequestFailure) in try await database.execute(asked)
    }
  }

  func query(_ request: Request, _ context: Context, _ statements: [SQLStatement]) async throws -> Response {
    let start = MonotonicClock.nanoseconds
    let database = try database(context)
    let query = QueryItems(request.uri.query)
    var read = ReadRequest(statements: statements, claims: try await claims(request, for: database, context))
    read.timeoutSeconds = try TimeReading.timeoutSeconds(query)
    let (asked, form) = (read, AnswerForm(query))
    // Indenting needs the whole answer, so that one is bounded in size.
    if form.isPretty {
      let outcome = try await ask(database, context) { database async throws(RequestFailure) in
        try await database.query(asked)
      }
      return AnswerWriting.query(outcome, form: form, nanoseconds: MonotonicClock.nanoseconds - start)
    }
    let stream = ByteStream(stallSeconds: limits.stallSeconds) { [channel = context.channel] in
      channel.close(promise: nil)
    }
    try await ask(database, context) { database async throws(RequestFailure) in
      try await database.stream(asked) { onFirstChunk in
        JSONRows(form: form, stream: stream, start: start, onFirstChunk: onFirstChunk)
      }
    }
    return await StreamingResponse.make(stream, contentType: "application/json; charset=utf-8")
  }

  /// The whole file, as of one moment.
  func backup(_ request: Request, _ context: Context) async throws -> Response {
    let database = try database(context)
    guard ["", "binary"].contains(QueryItems(request.uri.query).values("fmt").first ?? "") else {
      throw Problem.badRequest("A backup is a file of SQLite's; fmt is \"binary\" or left out.")
    }
    let stream = ByteStream(stallSeconds: limits.stallSeconds) { [channel = context.channel] in
      channel.close(promise: nil)
    }
    try await ask(database, context) { database async throws(RequestFailure) in try await database.backup(to: stream) }
    return await StreamingResponse.make(stream, contentType: "application/vnd.sqlite3")
  }

  // MARK: Floors

  func fence(_ request: Request, _ context: Context) async throws -> Response {
    let database = try database(context)
    let query = QueryItems(request.uri.query)
    let scope = try scope(query, of: database)
    let floor = try await ask(database, context) { database async throws(RequestFailure) in
      try await database.floor(of: scope)
    }
    return AnswerWriting.answer(AnswerForm(query)) { json in
      json.member("scope", scope)
      json.member("floor") { json in
        if let floor { json.authority(floor) } else { json.null() }
      }
    }
  }

  func raise(_ request: Request, _ context: Context) async throws -> Response {
    let database = try database(context)
    let claims = try await claims(request, for: database, context)
    guard !claims.isEmpty else { throw Problem.tokenRequired(scope: database.declaration.scope) }
    if database.declaration.asksCore { try await asking.confirm(claims) }
    var receipts: [(scope: String, receipt: RaiseReceipt)] = []
    for claims in claims {
      let receipt = try await ask(database, context) { database async throws(RequestFailure) in
        try await database.raise(claims)
      }
      receipts.append((claims.scope, receipt))
    }
    let answers = receipts
    return AnswerWriting.answer(AnswerForm(QueryItems(request.uri.query))) { json in
      AnswerWriting.fence(answers.map { ScopeFloor(scope: $0.scope, floor: $0.receipt.floor) }, into: &json)
      json.member("follows_commit", Int64(clamping: answers.map(\.receipt.followsCommit).max() ?? 0))
    }
  }

  /// What the request under a key was answered with: the way out for whoever lost the answer and the grant.
  func keptAnswer(_ request: Request, _ context: Context) async throws -> Response {
    let database = try database(context)
    let query = QueryItems(request.uri.query)
    let scope = try scope(query, of: database)
    let key = context.parameters.get("key") ?? ""
    let outcome = try await ask(database, context) { database async throws(RequestFailure) in
      try await database.keptAnswer(to: key, scope: scope)
    }
    guard let outcome else {
      throw Problem.notFound("No request was carried out under this Idempotency-Key, as far as is remembered.")
    }
    return AnswerWriting.mixed(outcome, form: AnswerForm(query), nanoseconds: 0)
  }

  private func scope(_ query: QueryItems, of database: DatabaseSlot) throws(Problem) -> String {
    guard let scope = query.values("scope").first else { return database.declaration.scope }
    guard ScopeMap(database.declaration).contains(scope) else {
      throw .notFound("The database has no scope \"\(scope.prefix(64))\".")
    }
    return scope
  }
}
