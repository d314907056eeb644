// Loading: the contents of the database replaced by those of a file, or a text of SQL run, in one transaction.
//
// Must never lower a floor, take over what a file says of floors or of earlier requests, or leave a part: after a crash
// there is what was, or all of the new. For a file, SQLite's backup interface puts its pages over the database's; before
// that the file is given the database's own fence tables as they stand, and as this is the only thread that writes, they
// are still the same when the pages are committed. The interface commits by itself, past the commit hook: so the fence
// is checked, and raised, in a transaction directly before.

import CSQLite
package import FencingCore

struct LoadJob: Sendable {
  enum Kind: Sendable { case file, text }

  let staged: StagedFile
  let kind: Kind
  let claims: [FenceClaims]
  let complete: @Sendable (Result<LoadOutcome, RequestFailure>) -> Void
}

package struct LoadOutcome: Sendable, Hashable {
  /// How many statements a text had; `nil` for a file.
  package let statements: Int?
  /// The floors under which it was loaded.
  package let floors: [ScopeFloor]
}

extension Writer {
  private static let pagesPerStep: Int32 = 256
  private static let textBytesPerRead = 256 << 10

  func load(_ job: LoadJob) {
    let result: Result<LoadOutcome, RequestFailure>
    do throws(RequestFailure) {
      switch job.kind {
      case .file: result = .success(try loadFile(job))
      case .text: result = .success(try loadText(job))
      }
    } catch {
      rollBack()
      result = .failure(error)
    }
    publish()
    job.complete(result)
  }

  /// Checks the fence in the open transaction, for all of the file's scopes: a load is about every table.
  private func checkFence(of job: LoadJob) throws(RequestFailure) -> [ScopeFloor] {
    if !declaration.isOpen || !job.claims.isEmpty,
      let missing = scopes.all.first(where: { scope in
        !job.claims.contains { $0.scope == scope }
      })
    {
      throw .tokenRequired(scope: missing)
    }
    let checked: Result<[ScopeFloor], RequestFailure>
    do throws(SQLiteError) {
      if !hasFenceTable, !job.claims.isEmpty {
        try FenceTable.create(in: connection)
        isRaising = true
      }
      checked = try checkFence(WriteRequest(statements: [], claims: job.claims))
    } catch {
      throw failure(of: error)
    }
    return try checked.get()
  }

  // MARK: A file

  private func loadFile(_ job: LoadJob) throws(RequestFailure) -> LoadOutcome {
    try begin()
    let floors = try checkFence(of: job)
    do throws(SQLiteError) {
      try commit()
      if !job.claims.isEmpty { hasFenceTable = true }
      let before = hasFenceTable ? try FenceTable.floors(in: connection) : [:]
      let staged = try Connection(path: job.staged.path, isReadOnly: false, limits: limits)
      try staged.runEngine("PRAGMA journal_mode = MEMORY")
      try staged.runEngine("PRAGMA synchronous = OFF")
      if hasFenceTable { try giveFence(to: staged) }
      guard try putOver(staged, claims: job.claims) else { throw overtaken }
      connection.forgetClientStatements()
      let after = hasFenceTable ? try FenceTable.floors(in: connection) : [:]
      guard before == after else {
        throw SQLiteError(code: SQLITE_CORRUPT, message: "the floors are not what they were before the load")
      }
    } catch {
      if error.code == overtaken.code { throw .busy(error.message) }
      throw failure(of: error)
    }
    counters.commits += 1
    counters.writes += 1
    // All pages went through the log, which may start over as soon as the readers let it.
    connection.guardian.walFrames = limits.truncateFrames
    return LoadOutcome(statements: nil, floors: floors)
  }

  private var overtaken: SQLiteError {
    SQLiteError(code: SQLITE_INTERRUPT, message: "a higher number was raised while the file was loaded")
  }

  private func giveFence(to staged: Connection) throws(SQLiteError) {
    try staged.runEngine("BEGIN")
    try FenceTable.create(in: staged)
    for (table, columns) in FenceTable.tables {
      try staged.runEngine("DELETE FROM main.\(table)")
      let places = (1...columns).map { "?\($0)" }.joined(separator: ",")
      var failure: SQLiteError?
      try connection.runEngine("SELECT * FROM main.\(table)") { row in
        guard failure == nil else { return }
        do throws(SQLiteError) {
          try staged.runEngine(
            "INSERT INTO main.\(table) VALUES(\(places))", (0..<Int32(columns)).map { row.value($0) })
        } catch {
          failure = error
        }
      }
      if let failure { throw failure }
    }
    try staged.runEngine("COMMIT")
  }

  /// Answers false where a raise overtook it: nothing has changed then.
  private func putOver(_ staged: Connection, claims: [FenceClaims]) throws(SQLiteError) -> Bool {
    guard let backup = sqlite3_backup_init(connection.handle, "main", staged.handle, "main") else {
      throw connection.lastError()
    }
    var code = SQLITE_OK
    var isOvertaken = false
    while code == SQLITE_OK {
      isOvertaken = !claims.isEmpty && connection.guardian.isOvertaken(claims)
      if isOvertaken { break }
      code = sqlite3_backup_step(backup, Self.pagesPerStep)
    }
    // Undoes what was copied, unless all of it was.
    let finished = sqlite3_backup_finish(backup)
    if isOvertaken { return false }
    guard code == SQLITE_DONE, finished == SQLITE_OK else {
      let known = connection.lastError()
      throw SQLiteError(code: code == SQLITE_DONE ? finished : code, message: known.message)
    }
    return true
  }

  // MARK: A text

  private func loadText(_ job: LoadJob) throws(RequestFailure) -> LoadOutcome {
    try begin()
    let floors = try checkFence(of: job)
    let guardian = connection.guardian
    guardian.runningClaims = job.claims
    guardian.committingClaims = job.claims
    guardian.heldScopes = Set(job.claims.map(\.scope))
    if declaration.isOpen { guardian.heldScopes.insert(scopes.own) }
    guardian.deadlineNanoseconds = MonotonicClock.nanoseconds + UInt64(limits.streamSeconds * 1e9)
    defer {
      guardian.runningClaims = []
      guardian.committingClaims = []
      guardian.heldScopes = []
      guardian.deadlineNanoseconds = .max
    }
    let statements = try runText(job.staged)
    guard !hasOpenForeignKeys else { throw .unloadable("After all statements a foreign key has no counterpart.") }
    do throws(SQLiteError) {
      guard try self.floors.hold(in: connection) else {
        throw SQLiteError(code: SQLITE_ERROR, message: "the text changed the fence row")
      }
      guardian.isCommitOvertaken = false
      try commit()
      if !job.claims.isEmpty { hasFenceTable = true }
    } catch {
      if guardian.isCommitOvertaken { throw .busy(overtaken.message) }
      throw failure(of: error)
    }
    counters.writes += 1
    return LoadOutcome(statements: statements, floors: floors)
  }

  private func runText(_ staged: StagedFile) throws(RequestFailure) -> Int {
    var text = SQLText(limit: limits.sqlBytes)
    var offset = 0
    var count = 0
    while true {
      let bytes = try staged.read(at: offset, count: Self.textBytesPerRead)
      let isLast = bytes.isEmpty
      offset += bytes.count
      var pieces: [SQLText.Piece]
      do throws(SQLText.TooLong) {
        pieces = try text.add(bytes)
      } catch {
        throw .unloadable("Statement \(count + 1) has more than \(limits.sqlBytes) bytes.")
      }
      if isLast, let rest = text.finish() { pieces.append(rest) }
      for piece in pieces {
        count += 1
        if !piece.isFrame && !piece.isOfFence { try run(piece, number: count) }
      }
      if isLast { return count }
    }
  }

  private func run(_ piece: SQLText.Piece, number: Int) throws(RequestFailure) {
    var room = ResultRoom(limits)
    do throws(StatementFailure) {
      _ = try connection.runClient(SQLStatement(piece.text), mayWrite: true, room: &room)
    } catch {
      if case .interrupted(.timedOut) = error { throw .timedOut(seconds: limits.streamSeconds) }
      if case .interrupted(.raised) = error { throw .busy(overtaken.message) }
      if let cause = error.cause, cause.isFatal || cause.primaryCode == SQLITE_FULL { throw failure(of: cause) }
      throw .unloadable("Statement \(number): \(error.text(denial: connection.guardian.denial)).")
    }
  }
}

extension FencedDatabase {
  /// Begins to take what is to be loaded. There is one load at a time.
  package func stage() throws(RequestFailure) -> StagedFile {
    let isFirst = loading.withLock { isLoading in
      defer { isLoading = true }
      return !isLoading
    }
    guard isFirst else { throw .busy("something is being loaded already") }
    do throws(RequestFailure) {
      return try StagedFile(besides: path)
    } catch {
      endLoading(nil)
      throw error
    }
  }

  /// After `stage`, whatever became of it.
  package func endLoading(_ staged: StagedFile?) {
    staged?.discard()
    loading.withLock { $0 = false }
  }

  /// Looks what was staged through and takes it over. It is durable when this answers.
  package func load(_ staged: StagedFile, claims: [FenceClaims]) async throws(RequestFailure) -> LoadOutcome {
    if let shared = claims.first(where: \.isShared) { throw .sharedToken(scope: shared.scope) }
    let (path, limits) = (path, limits)
    let prepared: Result<LoadJob.Kind, RequestFailure> = await answer { give in
      let isStarted = DedicatedThread.start {
        give(
          Result { () throws(RequestFailure) in
            guard try staged.read(at: 0, count: StagedFile.magic.count) == StagedFile.magic else { return .text }
            try staged.prepare(for: path, limits: limits)
            return .file
          })
      }
      if !isStarted { give(.failure(.storage("the system has no thread left for a load"))) }
    }
    let kind = try prepared.get()
    return try await answer { give in
      let job = LoadJob(staged: staged, kind: kind, claims: claims, complete: give)
      if let failure = writes.add(job) { give(.failure(failure)) }
    }.get()
  }
}
