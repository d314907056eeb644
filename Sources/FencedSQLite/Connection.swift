// One SQLite connection, its guard and its compiled statements.
//
// Confined to the thread that opened it (it is not Sendable). Must never run SQL from outside but through
// `runClient`, which puts the guard in charge and looks after every step whether the transaction is still open.

import CSQLite

/// SQLite's own error.
struct SQLiteError: Error {
  let code: Int32
  let message: String

  static let inputOutput = SQLITE_IOERR

  var primaryCode: Int32 { code & 0xFF }

  /// After these the state of the file behind the connection is in doubt; see `Writer.halt`.
  var isFatal: Bool {
    // A damaged virtual table (an FTS index, say) is its own matter: 267 is SQLITE_CORRUPT_VTAB.
    [SQLITE_IOERR, SQLITE_CORRUPT, SQLITE_NOTADB, SQLITE_READONLY].contains(primaryCode) && code != 267
  }
}

/// A compiled statement, finalized with its last reference.
final class PreparedStatement {
  let handle: OpaquePointer
  /// The scopes without whose tokens it must not run.
  var neededScopes: Set<String> = []

  init(handle: OpaquePointer) { self.handle = handle }

  deinit { sqlite3_finalize(handle) }

  func reset() {
    sqlite3_reset(handle)
    sqlite3_clear_bindings(handle)
  }
}

final class Connection {
  let handle: OpaquePointer
  let guardian = StatementGuard()
  private var engineStatements: [String: PreparedStatement] = [:]
  private var clientStatements: [String: PreparedStatement] = [:]
  private let cachedStatements: Int
  private let sqlBytes: Int

  init(path: String, isReadOnly: Bool, limits: EngineLimits) throws(SQLiteError) {
    precondition(path.hasPrefix("/"), "only an absolute path is certain not to be taken for a URI")
    var opened: OpaquePointer?
    let mode = isReadOnly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
    let code = sqlite3_open_v2(path, &opened, mode | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, nil)
    guard let opened else { throw SQLiteError(code: SQLITE_NOMEM, message: "out of memory") }
    self.handle = opened
    self.cachedStatements = limits.cachedStatements
    self.sqlBytes = limits.sqlBytes
    guard code == SQLITE_OK else {
      let error = SQLiteError(code: sqlite3_extended_errcode(opened), message: String(cString: sqlite3_errmsg(opened)))
      sqlite3_close_v2(opened)
      throw error
    }
    sqlite3_extended_result_codes(handle, 1)
    sqlite3_busy_timeout(handle, limits.busyMilliseconds)
    sqlite3_limit(handle, SQLITE_LIMIT_ATTACHED, 0)
    // SQLite's own limit counts for the schema of the file and for the engine's statements too.
    sqlite3_limit(handle, SQLITE_LIMIT_SQL_LENGTH, Int32(max(limits.sqlBytes, 1 << 20)))
    sqlite3_limit(handle, SQLITE_LIMIT_WORKER_THREADS, 0)
    set(SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, false)
    set(SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, false)
    set(SQLITE_DBCONFIG_DEFENSIVE, true)
    set(SQLITE_DBCONFIG_WRITABLE_SCHEMA, false)
    // TRUSTED_SCHEMA stays on: without it SQLite 3.40 refuses json_array() and its like in ordinary triggers ("unsafe
    // use of"). The authorizer sees the functions and tables of triggers and views as well, and decides there.
    // A reader that is the last to go must not checkpoint: only the writer does (see `Writer`).
    if isReadOnly { set(SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true) }
    // An R-tree compiles its writes when it is first read.
    try guardian.defineFunctions(on: handle)
    // The hooks must be off while the journal mode is changed; `protect` installs them.
  }

  deinit {
    engineStatements = [:]
    clientStatements = [:]
    sqlite3_close_v2(handle)
  }

  /// From here on the guard's callbacks decide.
  func protect() { guardian.install(on: handle) }

  /// A full-text table keeps its data in tables of its own, and a guard's triggers on those are no way around anything.
  func allowShadowTriggers() { set(SQLITE_DBCONFIG_DEFENSIVE, false) }

  private func set(_ option: Int32, _ value: Bool) {
    let code = portcullis_sqlite3_db_config(handle, option, value ? 1 : 0)
    precondition(code == SQLITE_OK, "SQLite refused a safety setting (\(option)); it must not be served without it")
  }

  var hasOpenTransaction: Bool { sqlite3_get_autocommit(handle) == 0 }

  func lastError() -> SQLiteError {
    SQLiteError(code: sqlite3_extended_errcode(handle), message: String(cString: sqlite3_errmsg(handle)))
  }

  // MARK: The engine's own statements

  /// Runs a statement of the engine and hands each row to `row`.
  func runEngine(
    _ sql: String, _ values: [SQLValue] = [], row: (PreparedStatement) -> Void = { _ in }
  ) throws(SQLiteError) {
    precondition(guardian.mode == .engine, "the engine's statements must not run in a client's name")
    let statement = try engineStatement(sql)
    defer { statement.reset() }
    for (index, value) in values.enumerated() { try bind(value, to: statement, at: Int32(index + 1)) }
    while true {
      switch sqlite3_step(statement.handle) {
      case SQLITE_ROW: row(statement)
      case SQLITE_DONE: return
      default: throw lastError()
      }
    }
  }

  private func engineStatement(_ sql: String) throws(SQLiteError) -> PreparedStatement {
    if let statement = engineStatements[sql] { return statement }
    guard let statement = try prepare(sql) else { throw SQLiteError(code: SQLITE_MISUSE, message: "empty statement") }
    engineStatements[sql] = statement
    return statement
  }

  // MARK: Statements from outside

  /// Compiles SQL from outside, which must be one statement.
  func clientStatement(_ sql: String) throws(StatementFailure) -> PreparedStatement {
    guard sql.utf8.count <= sqlBytes else {
      throw .unusable("statement too long: it has \(sql.utf8.count) bytes, and may have \(sqlBytes)")
    }
    if let statement = clientStatements[sql] {
      // SQLite asks the authorizer when it compiles, and this may have been compiled under other tokens.
      if let scope = statement.neededScopes.subtracting(guardian.heldScopes).min() {
        throw .unusable("not authorized: " + StatementGuard.missing(scope))
      }
      guardian.beginCompiling()
      return statement
    }
    guardian.beginCompiling()
    let statement: PreparedStatement?
    do throws(SQLiteError) {
      statement = try prepare(sql, isSingle: true)
    } catch {
      throw .sql(error)
    }
    guard let statement else { throw .unusable("the text holds no SQL statement") }
    // Dropping all of them is crude and rare; what matters is the bound.
    if clientStatements.count >= cachedStatements { clientStatements.removeAll(keepingCapacity: true) }
    statement.neededScopes = guardian.neededScopes
    clientStatements[sql] = statement
    return statement
  }

  private func prepare(_ sql: String, isSingle: Bool = false) throws(SQLiteError) -> PreparedStatement? {
    var prepared: OpaquePointer?
    var hasMore = false
    let text = Array(sql.utf8)
    // A NUL would end the text early for SQLite and not for whoever looked at it before.
    if text.contains(0) { throw SQLiteError(code: SQLITE_ERROR, message: "the SQL text holds a NUL character") }
    let code = text.withUnsafeBytes { buffer -> Int32 in
      let start = buffer.bindMemory(to: CChar.self).baseAddress
      var tail: UnsafePointer<CChar>?
      let code = sqlite3_prepare_v3(
        handle, start, Int32(buffer.count), UInt32(SQLITE_PREPARE_PERSISTENT), &prepared, &tail)
      guard code == SQLITE_OK, isSingle, let start, let tail else { return code }
      hasMore = holdsStatement(tail, size: Int32(buffer.count) - Int32(tail - start))
      return code
    }
    guard code == SQLITE_OK else { throw lastError() }
    let statement = prepared.map { PreparedStatement(handle: $0) }
    if hasMore {
      throw SQLiteError(code: SQLITE_ERROR, message: "the text holds several statements: send each by itself")
    }
    return statement
  }

  /// Whether anything but white space and comments follows. What does not even compile counts as a statement.
  private func holdsStatement(_ text: UnsafePointer<CChar>, size: Int32) -> Bool {
    guard size > 0 else { return false }
    var prepared: OpaquePointer?
    let code = sqlite3_prepare_v3(handle, text, size, 0, &prepared, nil)
    sqlite3_finalize(prepared)
    return code != SQLITE_OK || prepared != nil
  }

  func bind(_ value: SQLValue, to statement: PreparedStatement, at index: Int32) throws(SQLiteError) {
    let code: Int32
    switch value {
    case .null: code = sqlite3_bind_null(statement.handle, index)
    case .integer(let number): code = sqlite3_bind_int64(statement.handle, index, number)
    case .real(let number): code = sqlite3_bind_double(statement.handle, index, number)
    case .text(let text):
      code =
        text.utf8.withContiguousStorageIfAvailable { utf8 in
          utf8.withMemoryRebound(to: CChar.self) { characters in
            portcullis_sqlite3_bind_text(statement.handle, index, characters.baseAddress, UInt64(characters.count))
          }
        } ?? portcullis_sqlite3_bind_text(statement.handle, index, text, UInt64(text.utf8.count))
    case .blob(let bytes):
      // A null pointer would bind NULL where an empty BLOB is meant.
      code =
        bytes.isEmpty
        ? sqlite3_bind_zeroblob(statement.handle, index, 0)
        : portcullis_sqlite3_bind_blob(statement.handle, index, bytes, UInt64(bytes.count))
    }
    guard code == SQLITE_OK else { throw lastError() }
  }

  func forgetClientStatements() { clientStatements.removeAll() }
}

extension PreparedStatement {
  func integer(_ column: Int32) -> Int64 { sqlite3_column_int64(handle, column) }

  func text(_ column: Int32) -> String {
    guard let text = sqlite3_column_text(handle, column) else { return "" }
    let size = Int(sqlite3_column_bytes(handle, column))
    return String(decoding: UnsafeBufferPointer(start: text, count: size), as: UTF8.self)
  }

  func value(_ column: Int32) -> SQLValue {
    switch sqlite3_column_type(handle, column) {
    case SQLITE_INTEGER: return .integer(integer(column))
    case SQLITE_FLOAT: return .real(sqlite3_column_double(handle, column))
    case SQLITE_TEXT: return .text(text(column))
    case SQLITE_BLOB:
      guard let bytes = sqlite3_column_blob(handle, column) else { return .blob([]) }
      return .blob(Array(UnsafeRawBufferPointer(start: bytes, count: Int(sqlite3_column_bytes(handle, column)))))
    default: return .null
    }
  }
}
