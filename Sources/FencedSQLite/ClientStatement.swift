// Running one statement that came from outside, on the writer or on a reader.
//
// Must never take a further step once the transaction has ended: after `INSERT OR ROLLBACK` or RAISE(ROLLBACK)
// SQLite is back in autocommit mode, and whatever ran next would be committed without a fence.

import CSQLite

/// Why a statement failed.
enum StatementFailure: Error {
  case sql(SQLiteError)
  /// The statement was never run: its parameters or its kind do not fit.
  case unusable(String)
  /// The whole transaction is gone, together with everything in it.
  case transactionEnded(SQLiteError)
  /// Nobody takes its rows any more.
  case abandoned
  /// The guard stopped it. SQLite may have ended the whole transaction.
  case interrupted(StatementGuard.Interruption)

  /// SQLite's own error, where it was one.
  var cause: SQLiteError? {
    switch self {
    case .sql(let error), .transactionEnded(let error): return error
    case .unusable, .abandoned, .interrupted: return nil
    }
  }

  func text(denial: String?) -> String {
    switch self {
    case .sql(let error), .transactionEnded(let error):
      // A function that is refused is SQLITE_ERROR with a text that begins like this.
      if let denial, error.primaryCode == SQLITE_AUTH || error.message.hasPrefix("not authorized") {
        return "not authorized: " + denial
      }
      return error.message
    case .unusable(let reason): return reason
    case .abandoned: return "the client went away"
    case .interrupted(.timedOut): return "the statement ran longer than the gateway allows"
    case .interrupted(.raised): return "a higher number was raised while the statement ran"
    }
  }
}

/// Takes a query's rows while it runs, on the reader's thread, which it may hold up.
package protocol RowSink: AnyObject {
  /// Whether anything was sent, so that a failure can no longer become the answer.
  var hasStarted: Bool { get }
  func begin(columns: [String], types: [String])
  /// Answers whether more is wanted.
  func row(_ values: [SQLValue]) -> Bool
  func end(error: String?, nanoseconds: UInt64)
  /// After the last statement.
  func finish(_ floors: [ScopeFloor])
}

/// What is left of the room for an answer that is held whole.
struct ResultRoom {
  var bytes: Int
  var rows: Int

  init(_ limits: EngineLimits) { (bytes, rows) = (limits.resultBytes, limits.resultRows) }
}

extension Connection {
  /// Why a reader does not run a statement.
  static let writes = "this statement writes: send it to execute"

  /// Runs `statement` within the open transaction. `mayWrite` is false on a reader.
  func runClient(
    _ statement: SQLStatement, mayWrite: Bool, room: inout ResultRoom, into sink: (any RowSink)? = nil
  ) throws(StatementFailure) -> StatementResult {
    precondition(hasOpenTransaction, "SQL from outside runs in a transaction with the fence check, or not at all")
    let start = MonotonicClock.nanoseconds
    guardian.mode = .client
    guardian.denial = nil
    guardian.interruption = nil
    defer { guardian.mode = .engine }
    let prepared = try clientStatement(statement.sql)
    defer {
      prepared.reset()
      // After a change of the schema SQLite compiled it anew while it ran.
      if !guardian.neededScopes.isEmpty { prepared.neededScopes.formUnion(guardian.neededScopes) }
    }
    let isQuery = sqlite3_stmt_readonly(prepared.handle) != 0
    guard mayWrite || isQuery else { throw .unusable(Self.writes) }
    try bind(statement.parameters, to: prepared)
    var result = StatementResult()
    result.isQuery = isQuery
    let changesBefore = sqlite3_total_changes64(handle)
    try step(prepared, into: &result, room: &room, sink)
    if mayWrite {
      // SQLite keeps the count of an earlier statement where this one is not an INSERT, UPDATE or DELETE.
      result.rowsAffected = sqlite3_total_changes64(handle) == changesBefore ? 0 : sqlite3_changes64(handle)
      result.lastInsertID = sqlite3_last_insert_rowid(handle)
    }
    result.nanoseconds = MonotonicClock.nanoseconds - start
    return result
  }

  private func step(
    _ prepared: PreparedStatement, into result: inout StatementResult, room: inout ResultRoom,
    _ sink: (any RowSink)?
  ) throws(StatementFailure) {
    while true {
      let code = sqlite3_step(prepared.handle)
      guard hasOpenTransaction else {
        if let interruption = guardian.interruption { throw .interrupted(interruption) }
        throw .transactionEnded(lastError())
      }
      switch code {
      case SQLITE_ROW:
        let row = (0..<sqlite3_column_count(prepared.handle)).map { prepared.value($0) }
        if result.columns.isEmpty {
          describe(prepared, firstRow: row, in: &result)
          sink?.begin(columns: result.columns, types: result.types)
        }
        if let sink {
          guard sink.row(row) else { throw .abandoned }
          continue
        }
        room.rows -= 1
        room.bytes -= row.reduce(8) { $0 + $1.roughBytes }
        guard room.bytes >= 0, room.rows >= 0 else {
          throw .unusable("the result is larger than the gateway allows: ask for fewer rows")
        }
        result.rows.append(row)
      case SQLITE_DONE:
        // The schema may have been read anew during the first step, so the columns are described after it.
        if result.columns.isEmpty {
          describe(prepared, firstRow: nil, in: &result)
          sink?.begin(columns: result.columns, types: result.types)
        }
        return
      default:
        if let interruption = guardian.interruption { throw .interrupted(interruption) }
        throw .sql(lastError())
      }
    }
  }

  private func describe(_ prepared: PreparedStatement, firstRow: [SQLValue]?, in result: inout StatementResult) {
    for column in 0..<sqlite3_column_count(prepared.handle) {
      result.columns.append(sqlite3_column_name(prepared.handle, column).map { String(cString: $0) } ?? "")
      if let declared = sqlite3_column_decltype(prepared.handle, column) {
        result.types.append(String(cString: declared).lowercased())
      } else {
        result.types.append(firstRow.map { $0[Int(column)].storageClass } ?? "")
      }
    }
  }

  private func bind(_ parameters: SQLStatement.Parameters, to prepared: PreparedStatement) throws(StatementFailure) {
    let count = Int(sqlite3_bind_parameter_count(prepared.handle))
    switch parameters {
    case .positional(let values):
      guard values.count == count else {
        throw .unusable("the statement has \(count) parameters, \(values.count) were given")
      }
      for (index, value) in values.enumerated() { try bindClient(value, to: prepared, at: index + 1) }
    case .named(let values):
      for index in 0..<count {
        let name = sqlite3_bind_parameter_name(prepared.handle, Int32(index + 1)).map { String(cString: $0) }
        guard let name, let value = values[String(name.dropFirst())] else {
          throw .unusable("no value was given for the parameter \(name ?? "?")")
        }
        try bindClient(value, to: prepared, at: index + 1)
      }
      guard count == values.count else {
        throw .unusable("\(values.count) named values were given, the statement has \(count) parameters")
      }
    }
  }

  private func bindClient(_ value: SQLValue, to prepared: PreparedStatement, at index: Int) throws(StatementFailure) {
    do throws(SQLiteError) {
      try bind(value, to: prepared, at: Int32(index))
    } catch {
      throw .sql(error)
    }
  }
}

extension SQLValue {
  fileprivate var roughBytes: Int {
    switch self {
    case .null, .integer, .real: return 8
    case .text(let text): return 8 + text.utf8.count
    case .blob(let bytes): return 8 + bytes.count
    }
  }

  fileprivate var storageClass: String {
    switch self {
    case .null: return "null"
    case .integer: return "integer"
    case .real: return "real"
    case .text: return "text"
    case .blob: return "blob"
    }
  }
}
