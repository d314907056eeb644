// What SQL from outside may do: the rules behind SQLite's authorizer (sqlite.org/c3ref/set_authorizer.html).
//
// Must never let a statement end or nest the transaction, reach another file, change how durable a commit is, or name
// a fence table in any place. Unknown actions, PRAGMAs and virtual table modules are refused.

import CSQLite

/// One question of SQLite's authorizer. What `first` and `second` mean depends on the code.
struct SQLAction {
  let code: Int32
  let first: String?
  let second: String?
  let database: String?
  let trigger: String?
}

enum SQLRules {
  /// `_fence` and whatever starts with `_fence_` belong to the gateway.
  static func isReserved(_ name: String) -> Bool {
    let name = name.lowercased()
    return name == "_fence" || name.hasPrefix("_fence_")
  }

  /// Answers why an action is denied, or `nil`.
  static func denial(of action: SQLAction) -> String? {
    if isOfGuard(action) { return nil }
    // The place of a name differs: ALTER TABLE has the table second, CREATE TRIGGER and CREATE INDEX have it second
    // as well, the others first. A name in any place is refused; a false alarm costs a string a different name.
    // ANALYZE and REINDEX of everything pass by the fence tables too, and leave their rows as they are.
    for name in [SQLITE_ANALYZE, SQLITE_REINDEX].contains(action.code)
      ? [] : [action.first, action.second, action.trigger]
    {
      if let name, isReserved(name) { return "the name \"\(name)\" belongs to the gateway's fence tables" }
    }
    // `CREATE TABLE temp.t` comes as an ordinary CREATE TABLE; only the name of the schema tells.
    if action.database?.lowercased() == "temp", !temporarySchemaActions.contains(action.code) { return temporaryDenial }
    switch action.code {
    case SQLITE_TRANSACTION, SQLITE_SAVEPOINT:
      return "a request is a transaction of its own: BEGIN, COMMIT, ROLLBACK, SAVEPOINT and RELEASE are the gateway's"
    case SQLITE_ATTACH, SQLITE_DETACH:
      return "ATTACH and DETACH are refused: attached files do not commit together with the fence"
    case SQLITE_CREATE_TEMP_INDEX, SQLITE_CREATE_TEMP_TABLE, SQLITE_CREATE_TEMP_TRIGGER, SQLITE_CREATE_TEMP_VIEW,
      SQLITE_DROP_TEMP_INDEX, SQLITE_DROP_TEMP_TABLE, SQLITE_DROP_TEMP_TRIGGER, SQLITE_DROP_TEMP_VIEW:
      return temporaryDenial
    case SQLITE_PRAGMA:
      return pragmaDenial(name: action.first ?? "", argument: action.second)
    case SQLITE_FUNCTION:
      let name = (action.second ?? "").lowercased()
      return deniedFunctions.contains(name) ? "the function \(name) is refused" : nil
    case SQLITE_CREATE_VTABLE, SQLITE_DROP_VTABLE:
      let module = (action.second ?? "").lowercased()
      return allowedModules.contains(module) ? nil : "the virtual table module \"\(module)\" is refused"
    case SQLITE_READ, SQLITE_SELECT, SQLITE_INSERT, SQLITE_UPDATE, SQLITE_DELETE, SQLITE_CREATE_INDEX,
      SQLITE_CREATE_TABLE, SQLITE_CREATE_TRIGGER, SQLITE_CREATE_VIEW, SQLITE_DROP_INDEX, SQLITE_DROP_TABLE,
      SQLITE_DROP_TRIGGER, SQLITE_DROP_VIEW, SQLITE_ALTER_TABLE, SQLITE_REINDEX, SQLITE_ANALYZE, SQLITE_RECURSIVE:
      return deniedTables.contains((action.first ?? "").lowercased()) ? "this table is refused" : nil
    default:
      return "this kind of statement is refused (SQLite's action \(action.code))"
    }
  }

  /// What a guarded file's triggers do: they read the floor and the keys, and call the functions that check.
  ///
  /// No statement from outside can make a trigger of such a name: it is reserved.
  private static func isOfGuard(_ action: SQLAction) -> Bool {
    guard let trigger = action.trigger, FileGuard.isTrigger(trigger) else { return false }
    switch action.code {
    case SQLITE_SELECT: return true
    case SQLITE_READ: return ["_fence", "_fence_key", ""].contains(action.first?.lowercased() ?? "")
    case SQLITE_FUNCTION: return action.second?.lowercased().hasPrefix("portcullis_") ?? false
    default: return false
    }
  }

  private static let temporaryDenial =
    "temporary objects are refused: they would outlive the request and be seen by others"

  /// ALTER TABLE looks for temporary objects that name the table, and updates their schema rows. There are none, as an
  /// INSERT into that schema is refused, and a client's own UPDATE of a schema table is refused by SQLite.
  private static let temporarySchemaActions: Set<Int32> = [
    SQLITE_READ, SQLITE_SELECT, SQLITE_FUNCTION, SQLITE_RECURSIVE, SQLITE_UPDATE,
  ]

  private static func pragmaDenial(name: String, argument: String?) -> String? {
    let name = name.lowercased()
    if readOnlyPragmas.contains(name) { return nil }
    if valuePragmas.contains(name), argument == nil { return nil }
    if transactionalPragmas.contains(name) { return nil }
    return
      "PRAGMA \(name)\(argument == nil ? "" : " with a value") is refused: durability, checkpoints and the schema's "
      + "protection are the gateway's"
  }

  /// These answer questions; their argument says about what.
  private static let readOnlyPragmas: Set<String> = [
    "collation_list", "compile_options", "foreign_key_check", "foreign_key_list", "function_list", "index_info",
    "index_list", "index_xinfo", "integrity_check", "module_list", "pragma_list", "quick_check", "table_info",
    "table_list", "table_xinfo",
  ]

  /// These answer a setting without an argument and change it with one.
  private static let valuePragmas: Set<String> = [
    "auto_vacuum", "data_version", "encoding", "foreign_keys", "freelist_count", "journal_mode", "page_count",
    "page_size", "recursive_triggers", "schema_version", "synchronous",
  ]

  /// These are written in the database's header within the transaction, so a refused write changes nothing of them.
  private static let transactionalPragmas: Set<String> = ["application_id", "user_version"]

  private static let deniedFunctions: Set<String> = [
    "edit", "fts3_tokenizer", "load_extension", "readfile", "writefile",
  ]

  private static let deniedTables: Set<String> = ["sqlite_dbpage", "sqlite_stmt"]

  private static let allowedModules: Set<String> = [
    "fts3", "fts4", "fts5", "fts5vocab", "geopoly", "rtree", "rtree_i32",
  ]
}
