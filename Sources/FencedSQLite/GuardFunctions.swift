// The functions that a guarded file's triggers call, as the engine's own connections answer them.
//
// Must never check less than the triggers ask for. The engine has checked a request's tokens against the floor in the same
// transaction before any statement runs; what is left is whether one of them is of the table's scope.

import CSQLite

extension StatementGuard {
  /// Defines the functions. The connection keeps this guard alive until it is closed.
  func defineFunctions(on database: OpaquePointer) throws(SQLiteError) {
    let context = Unmanaged.passUnretained(self).toOpaque()
    let flags = SQLITE_UTF8 | SQLITE_INNOCUOUS
    for code in [
      sqlite3_create_function_v2(
        database, "portcullis_guard", 6, flags, context,
        { context, _, values in
          StatementGuard.answer(context, values) { guardian, scope in
            guardian.mayWrite(scope: scope) ? nil : "not authorized: " + StatementGuard.missing(scope)
          }
        }, nil, nil, nil),
      sqlite3_create_function_v2(
        database, "portcullis_guard_own", 1, flags, context,
        { context, _, values in
          StatementGuard.answer(context, values) { guardian, table in
            guardian.mode == .engine ? nil : "not authorized: the table \(table) belongs to the gateway"
          }
        }, nil, nil, nil),
      // The tokens were verified with the keys of the cluster, before their claims came here.
      sqlite3_create_function_v2(
        database, "portcullis_kid", 1, flags, context, { context, _, _ in sqlite3_result_null(context) }, nil, nil, nil),
    ] where code != SQLITE_OK {
      throw SQLiteError(code: code, message: "the functions of a guarded file could not be defined")
    }
  }

  /// An open database's requests have no token, and the file wants one all the same.
  private func mayWrite(scope: String) -> Bool {
    mode == .engine || runningClaims.contains { $0.scope == scope }
  }

  private static func answer(
    _ context: OpaquePointer?, _ values: UnsafeMutablePointer<OpaquePointer?>?,
    _ denial: (StatementGuard, String) -> String?
  ) {
    guard let data = sqlite3_user_data(context) else { return sqlite3_result_error_nomem(context) }
    let guardian = Unmanaged<StatementGuard>.fromOpaque(data).takeUnretainedValue()
    let argument = sqlite3_value_text(values?[0]).map { String(cString: $0) } ?? ""
    guard let denial = denial(guardian, argument) else { return sqlite3_result_null(context) }
    sqlite3_result_error(context, denial, -1)
  }
}
