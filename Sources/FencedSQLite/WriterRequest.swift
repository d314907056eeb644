// One write within the writer's transaction: fence check, statements, and the check that nothing escaped.
//
// Must never let a request change anything without the fence check before it in the same transaction; that it left the
// fence row as the check left it is looked at before the commit. A refusal or failure undoes the request's own changes and no other's.

import CSQLite
import FencingCore

/// Why the whole transaction is gone.
enum LostTransaction {
  /// A waiting raise stopped the request: it runs again after the raise, whose floor then refuses it.
  case overtaken
  case timedOut(Result<WriteOutcome, RequestFailure>)
  case failed(Result<WriteOutcome, RequestFailure>)
}

enum RequestEnd {
  case decided(Result<WriteOutcome, RequestFailure>)
  case transactionLost(LostTransaction)
}

extension WriteRequest {
  var needsFenceTable: Bool { !claims.isEmpty || key != nil }
}

extension Writer {
  func run(_ request: WriteRequest) -> RequestEnd {
    do throws(SQLiteError) {
      if let key = request.key {
        switch try RequestRecords.find(key.name, hash: key.hash, scope: recordScope(of: request), in: connection) {
        case .nothing: break
        case .answer(let outcome):
          counters.repetitions += 1
          return .decided(.success(outcome))
        case .failure(let failure): return .decided(.failure(failure))
        }
      }
      switch try checkFence(request) {
      case .failure(let failure): return .decided(.failure(failure))
      case .success(let floors): return try runStatements(of: request, under: floors)
      }
    } catch {
      // The engine's own statement failed. Without a transaction there is nothing left to be undone by itself.
      let failure = failure(of: error)
      return .transactionLost(.failed(.failure(failure)))
    }
  }

  /// A request is kept under the first of its scopes, so that the same tokens in another order find it again.
  private func recordScope(of request: WriteRequest) -> String { request.claims.map(\.scope).min() ?? scopes.own }

  /// The floors after the check. All scopes pass or none is raised; what was raised stays even where the SQL fails,
  /// because the tokens are valid.
  func checkFence(_ request: WriteRequest) throws(SQLiteError) -> Result<[ScopeFloor], RequestFailure> {
    guard !request.claims.isEmpty else {
      guard declaration.isOpen else { return .failure(.tokenRequired(scope: scopes.own)) }
      guard hasFenceTable else { return .success([]) }
      let floor = try self.floors.floor(of: scopes.own, in: connection)
      return .success(floor.map { [ScopeFloor(scope: scopes.own, floor: $0)] } ?? [])
    }
    // The same claims against the same floors come to the same end.
    if let passed = self.floors.passed, passed.claims == request.claims { return .success(passed.floors) }
    var floors: [ScopeFloor] = []
    var raises: [(scope: String, old: Floor?, new: Floor)] = []
    for claims in request.claims {
      let scope = claims.scope
      if floors.contains(where: { $0.scope == scope }) { return .failure(.ambiguousClaims(scope: scope)) }
      if counters.closedScopes[scope] != nil { return .failure(.scopeClosed(scope: scope)) }
      let binding = scopes.binding(for: claims)
      let old = try self.floors.floor(of: binding.scope, in: connection)
      switch admit(claims, against: old, binding: binding) {
      case .accept: break
      case .raise(let new): raises.append((scope, old, new))
      case .refuse(let refusal):
        counters.refusals += 1
        return .failure(.refused(refusal))
      }
      floors.append(ScopeFloor(scope: scope, floor: claims.floor))
    }
    for raise in raises {
      try self.floors.raise(raise.scope, from: raise.old, to: raise.new, in: connection)
      isRaising = true
    }
    self.floors.passed = (request.claims, floors)
    return .success(floors)
  }

  private func runStatements(
    of request: WriteRequest, under floors: [ScopeFloor]
  ) throws(SQLiteError) -> RequestEnd {
    let guardian = connection.guardian
    let seconds = min(limits.writeSeconds, request.timeoutSeconds)
    guardian.runningClaims = request.claims
    guardian.heldScopes = scopes(of: request)
    guardian.deadlineNanoseconds = MonotonicClock.nanoseconds + UInt64(seconds * 1e9)
    defer {
      guardian.runningClaims = []
      guardian.heldScopes = []
      guardian.deadlineNanoseconds = .max
    }
    sqlite3_set_last_insert_rowid(connection.handle, 0)
    var results: [StatementOutcome] = []
    var room = ResultRoom(limits)
    try connection.runEngine("SAVEPOINT request")
    for (index, statement) in request.statements.enumerated() {
      do throws(StatementFailure) {
        let isAlone = !request.isAllOrNothing && request.statements.count > 1
        results.append(.success(try runOne(statement, isAlone: isAlone, room: &room)))
      } catch {
        let text = error.text(denial: guardian.denial)
        if case .interrupted(let interruption) = error {
          return .transactionLost(lost(interruption, seconds: seconds))
        }
        // SQLite may have ended the transaction by itself; that the disk failed counts for more.
        if let cause = error.cause, cause.isFatal { throw cause }
        guard connection.hasOpenTransaction else {
          let outcomes = Self.outcomes(of: request, endedAt: index, text: text)
          return .transactionLost(.failed(.success(outcome(outcomes, floors: [], isRolledBack: true))))
        }
        results.append(.failure(text))
        if request.isAllOrNothing || request.statements.count == 1 {
          return .decided(.success(try undo(results, floors: floors)))
        }
      }
    }
    return try finish(results, of: request, under: floors)
  }

  /// What a request may write to.
  private func scopes(of request: WriteRequest) -> Set<String> {
    if heldScopes.scopes.isEmpty || heldScopes.claims != request.claims {
      heldScopes = (request.claims, Set(request.claims.map(\.scope)))
      if declaration.isOpen { heldScopes.scopes.insert(scopes.own) }
    }
    return heldScopes.scopes
  }

  /// Runs one statement, in a savepoint of its own where it must not pull others down or be pulled down by them.
  private func runOne(
    _ statement: SQLStatement, isAlone: Bool, room: inout ResultRoom
  ) throws(StatementFailure) -> StatementResult {
    guard isAlone else { return try connection.runClient(statement, mayWrite: true, room: &room) }
    try engine("SAVEPOINT statement")
    do throws(StatementFailure) {
      let result = try connection.runClient(statement, mayWrite: true, room: &room)
      guard !hasOpenForeignKeys else { throw .unusable("FOREIGN KEY constraint failed") }
      try engine("RELEASE statement")
      return result
    } catch {
      if connection.hasOpenTransaction {
        try engine("ROLLBACK TO statement")
        try engine("RELEASE statement")
      }
      throw error
    }
  }

  private func engine(_ sql: String) throws(StatementFailure) {
    do throws(SQLiteError) {
      try connection.runEngine(sql)
    } catch {
      throw .sql(error)
    }
  }

  /// Deferred foreign keys would otherwise first be checked at COMMIT, where one request's fault is everybody's.
  var hasOpenForeignKeys: Bool {
    var current: Int32 = 0
    var highest: Int32 = 0
    sqlite3_db_status(connection.handle, SQLITE_DBSTATUS_DEFERRED_FKS, &current, &highest, 0)
    return current > 0
  }

  private func finish(
    _ results: [StatementOutcome], of request: WriteRequest, under floors: [ScopeFloor]
  ) throws(SQLiteError) -> RequestEnd {
    precondition(connection.hasOpenTransaction, "every step is followed by a look at the transaction")
    if hasOpenForeignKeys {
      let failed = results.dropLast() + [.failure("FOREIGN KEY constraint failed")]
      return .decided(.success(try undo(Array(failed), floors: floors)))
    }
    try connection.runEngine("RELEASE request")
    let outcome = outcome(results, floors: floors, isRolledBack: false)
    if let key = request.key {
      try records.keep(outcome, of: key, scope: recordScope(of: request), in: connection)
    }
    return .decided(.success(outcome))
  }

  private func undo(_ results: [StatementOutcome], floors: [ScopeFloor]) throws(SQLiteError) -> WriteOutcome {
    try undoSavepoint()
    return outcome(results, floors: floors, isRolledBack: true)
  }

  private func undoSavepoint() throws(SQLiteError) {
    try connection.runEngine("ROLLBACK TO request")
    try connection.runEngine("RELEASE request")
  }

  /// The commit that carries this request is the next one.
  private func outcome(
    _ results: [StatementOutcome], floors: [ScopeFloor], isRolledBack: Bool
  ) -> WriteOutcome {
    WriteOutcome(
      results: results, floors: floors, commit: counters.commits + 1, isRolledBack: isRolledBack)
  }

  private func lost(_ interruption: StatementGuard.Interruption, seconds: Double) -> LostTransaction {
    switch interruption {
    case .raised: return .overtaken
    case .timedOut: return .timedOut(.failure(.timedOut(seconds: seconds)))
    }
  }

  /// What is said of each statement when the one at `index` ended the transaction of the whole request.
  private static func outcomes(of request: WriteRequest, endedAt index: Int, text: String) -> [StatementOutcome] {
    request.statements.indices.map { position in
      if position < index { return .failure("undone: statement \(index + 1) ended the transaction") }
      if position == index { return .failure(text) }
      return .failure("not run: statement \(index + 1) ended the transaction")
    }
  }
}
