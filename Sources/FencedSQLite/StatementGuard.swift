// What SQLite asks on the way: may this statement be compiled, may this transaction commit, must this statement stop.
//
// Owns the callbacks of one connection and the state that they look at; confined to that connection's thread.
// Invariants: while client SQL is compiled or stepped nothing may touch the fence tables or the transaction, and no
// commit passes unless the engine itself is committing. Denials rest on allow-lists: what is not known is refused.

import CSQLite
import FencingCore

final class StatementGuard {
  enum Mode {
    /// The engine's own statements, which are constants of this room.
    case engine
    /// SQL that came from outside.
    case client
  }

  enum Interruption: Equatable {
    case timedOut
    /// A higher number is waiting to be made durable: the statement of a holder that is about to be stale stops.
    case raised
  }

  var mode = Mode.engine
  var isCommitting = false
  /// Why the authorizer said no, for the error message: SQLite itself only says "not authorized".
  var denial: String?
  var deadlineNanoseconds = UInt64.max
  var interruption: Interruption?
  /// The claims under which a statement runs, and whether a waiting raise overtakes them.
  var runningClaims: [FenceClaims] = []
  /// The claims of everything that the next commit carries.
  var committingClaims: [FenceClaims] = []
  /// Whether the last commit was refused because a waiting raise overtakes some of it.
  var isCommitOvertaken = false
  var isOvertaken: ([FenceClaims]) -> Bool = { _ in false }
  var walFrames: Int32 = 0

  /// Which scope covers which table; `nil` where nothing is written.
  var scopes: ScopeMap?
  /// The scopes whose tokens passed the check for the request that runs.
  var heldScopes: Set<String> = []
  /// The scopes that were asked for while a statement was compiled.
  var neededScopes: Set<String> = []
  /// Whether the statement that is being compiled alters a table which has a scope of its own.
  private var altersBoundTable = false

  func authorize(_ action: SQLAction) -> Bool {
    guard mode == .client else { return true }
    guard let reason = SQLRules.denial(of: action) ?? scopeDenial(of: action) else { return true }
    denial = reason
    return false
  }

  func beginCompiling() {
    neededScopes = []
    altersBoundTable = false
  }

  private func scopeDenial(of action: SQLAction) -> String? {
    guard let scopes, scopes.isDivided else { return nil }
    for scope in scopes.needed(by: action) {
      neededScopes.insert(scope)
      guard heldScopes.contains(scope) else { return Self.missing(scope) }
    }
    // The binding goes by the table's name, so a new name would take the table out of its scope.
    if action.code == SQLITE_ALTER_TABLE, scopes.isBound(action.second) { altersBoundTable = true }
    if altersBoundTable, action.code == SQLITE_FUNCTION, action.second == "sqlite_rename_table" {
      return "a table with a scope of its own keeps its name: change the gateway's declaration first"
    }
    return nil
  }

  static func missing(_ scope: String) -> String { "this needs a token of the scope \"\(scope)\"" }

  func mayCommit() -> Bool {
    guard isCommitting else { return false }
    isCommitOvertaken = !committingClaims.isEmpty && isOvertaken(committingClaims)
    return !isCommitOvertaken
  }

  func mustStop() -> Bool {
    guard mode == .client else { return false }
    if MonotonicClock.nanoseconds > deadlineNanoseconds {
      interruption = .timedOut
    } else if !runningClaims.isEmpty, isOvertaken(runningClaims) {
      interruption = .raised
    }
    return interruption != nil
  }

  /// Installs the callbacks. The connection keeps this guard alive until it is closed.
  func install(on database: OpaquePointer) {
    let context = Unmanaged.passUnretained(self).toOpaque()
    sqlite3_set_authorizer(
      database,
      { context, code, first, second, database, trigger in
        guard let context else { return SQLITE_DENY }
        let action = SQLAction(
          code: code, first: first.map { String(cString: $0) }, second: second.map { String(cString: $0) },
          database: database.map { String(cString: $0) },
          trigger: trigger.map { String(cString: $0) })
        return Unmanaged<StatementGuard>.fromOpaque(context).takeUnretainedValue().authorize(action)
          ? SQLITE_OK : SQLITE_DENY
      }, context)
    sqlite3_commit_hook(
      database,
      { context in
        guard let context else { return 1 }
        return Unmanaged<StatementGuard>.fromOpaque(context).takeUnretainedValue().mayCommit() ? 0 : 1
      }, context)
    sqlite3_progress_handler(
      database, 1000,
      { context in
        guard let context else { return 1 }
        return Unmanaged<StatementGuard>.fromOpaque(context).takeUnretainedValue().mustStop() ? 1 : 0
      }, context)
    // A WAL hook takes the place of SQLite's automatic checkpoint: the writer decides when, after its replies.
    sqlite3_wal_hook(
      database,
      { context, _, _, frames in
        guard let context else { return SQLITE_OK }
        Unmanaged<StatementGuard>.fromOpaque(context).takeUnretainedValue().walFrames = frames
        return SQLITE_OK
      }, context)
  }
}
