// `load`: takes an SQLite file or a text of SQL to the disk as it comes, and has the engine take it over.
//
// Must never read a body of somebody whose token does not pass, and holds no more of one in memory than a piece.

import FencingCore
import Hummingbird
import NIOCore

extension GatewayRoutes {
  private static let pieceBytes = 1 << 20

  func load(_ request: Request, _ context: Context) async throws -> Response {
    let database = try database(context)
    guard request.headers[.idempotencyKey] == nil else {
      throw Problem.badRequest("A load takes no Idempotency-Key: to load a file again comes to the same.")
    }
    let claims = try await claims(request, for: database, context)
    if claims.isEmpty && !database.declaration.isOpen {
      throw Problem.tokenRequired(scope: database.declaration.scope)
    }
    let tooLarge = Problem.loadTooLarge(limit: limits.loadBytes)
    guard request.headers[.contentLength].flatMap({ Int($0) }) ?? 0 <= limits.loadBytes else { throw tooLarge }
    if database.declaration.asksCore { try await asking.confirm(claims) }
    // Whoever is stale is refused before a byte is read, and whoever is not has its floor on the disk.
    for claims in claims {
      _ = try await ask(database, context) { database async throws(RequestFailure) in try await database.raise(claims) }
    }
    let outcome = try await withLease(database, context) { engine in
      let staged = try engine.stage()
      defer { engine.endLoading(staged) }
      try await spool(request, to: staged, tooLarge)
      return try await engine.load(staged, claims: claims)
    }
    return AnswerWriting.answer(AnswerForm(QueryItems(request.uri.query))) { json in
      // rqlite's clients look for it.
      json.member("results") { json in json.array { _ in } }
      json.member("loaded", outcome.statements == nil ? "file" : "sql")
      if let statements = outcome.statements { json.member("statements", Int64(statements)) }
      AnswerWriting.fence(outcome.floors, into: &json)
    }
  }

  private func spool(_ request: Request, to staged: StagedFile, _ tooLarge: Problem) async throws {
    var total = 0
    var piece: [UInt8] = []
    for try await chunk in request.body {
      total += chunk.readableBytes
      guard total <= limits.loadBytes else { throw tooLarge }
      piece.append(contentsOf: chunk.readableBytesView)
      guard piece.count >= Self.pieceBytes else { continue }
      try await staged.append(piece)
      piece.removeAll(keepingCapacity: true)
    }
    try await staged.append(piece)
    guard total > 0 else { throw Problem.badRequest("The body is empty: send an SQLite file or a text of SQL.") }
  }

  /// As `ask`, for what also fails for reasons that are not the engine's.
  private func withLease<Answer: Sendable>(
    _ slot: DatabaseSlot, _ context: Context, _ body: (FencedDatabase) async throws -> Answer
  ) async throws -> Answer {
    let database: FencedDatabase
    do throws(OpenError) {
      database = try await slot.lease()
    } catch {
      throw problem(.unopened(error), slot, context)
    }
    defer { slot.release() }
    do {
      return try await body(database)
    } catch let failure as RequestFailure {
      throw problem(failure, slot, context)
    }
  }
}

extension Problem {
  static func loadTooLarge(limit: Int) -> Problem {
    Problem(
      status: .contentTooLarge, type: "body-too-large", title: "The file is too large",
      detail: "What is loaded may have \(limit) bytes.",
      recovery: "Raise --max-load-bytes, or load it in parts as SQL; nothing of it was taken over.",
      endsConnection: true)
  }
}
