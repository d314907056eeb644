// A file that guards itself: triggers before every write of its tables call functions that only the loadable extension
// (`FenceExtension`) and this engine define.
//
// Owns the tables `_fence_key` and `_fence_guard` and every trigger whose name begins with `_fence_guard_`. Must never
// leave a file half guarded: all of it comes and goes in one transaction. Invariant: the floor and the keys are handed to
// the functions by the trigger, so they are those of the very file that is written, whatever is attached beside it.

import Tokens

package enum FileGuard {
  private static let triggerPrefix = "_fence_guard_"

  /// As in `FenceTable`: what must be there, by kind and name.
  static let tables: [String: [String]] = [
    "table _fence_key": ["kid", "x", "added_at"], "table _fence_guard": ["guarded_at", "made_fence"],
  ]

  private static let tableSQL = [
    """
    CREATE TABLE main._fence_key(
      kid TEXT PRIMARY KEY NOT NULL,
      x TEXT NOT NULL,
      added_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    // Whether the guard made the fence tables, so that they go with it; a gateway that takes the file over says no.
    "CREATE TABLE main._fence_guard(guarded_at INTEGER NOT NULL, made_fence INTEGER NOT NULL) STRICT",
  ]

  private static let ownTables = [
    "_fence", "_fence_adoption", "_fence_identity", "_fence_format", "_fence_request", "_fence_key", "_fence_guard",
  ]

  static func isTrigger(_ name: String) -> Bool { name.lowercased().hasPrefix(triggerPrefix) }

  /// Whether an object of `FenceTable.presence` is the guard's, with the columns that it must have.
  static func owns(_ object: String, columns: [String]) -> Bool {
    if object.hasPrefix("trigger ") { return isTrigger(String(object.dropFirst("trigger ".count))) }
    return tables[object] == columns
  }

  static func isGuarded(_ connection: Connection) throws(SQLiteError) -> Bool {
    var isGuarded = false
    try connection.runEngine("SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = '_fence_guard'") { _ in
      isGuarded = true
    }
    return isGuarded
  }

  /// A gateway takes the file over: its floors stay when the guard goes. Answers whether none has done so before.
  static func takeOver(_ connection: Connection) throws(SQLiteError) -> Bool {
    guard try isGuarded(connection) else { return false }
    var isFirst = false
    try connection.runEngine("SELECT 1 FROM main._fence_guard WHERE made_fence <> 0") { _ in isFirst = true }
    if isFirst { try connection.runEngine("UPDATE main._fence_guard SET made_fence = 0 WHERE made_fence <> 0") }
    return isFirst
  }

  /// Makes tables and triggers anew, in the open transaction. Answers which scope covers which table.
  static func install(
    scopes: ScopeMap, keys: KeySet, madeFence: Bool, in connection: Connection
  ) throws(SQLiteError) -> [GuardReport.Table] {
    for sql in tableSQL { try connection.runEngine(sql) }
    let now = SQLValue.integer(WallClock.seconds)
    try connection.runEngine("INSERT INTO main._fence_guard VALUES(?1, ?2)", [now, .integer(madeFence ? 1 : 0)])
    for key in keys.keys {
      try connection.runEngine(
        "INSERT INTO main._fence_key VALUES(?1, ?2, ?3)",
        [.text(key.kid), .text(Base64URL.encode(key.rawRepresentation)), now])
    }
    let guarded = try userTables(in: connection).map { GuardReport.Table(name: $0, scope: scopes.scope(ofTable: $0)) }
    for table in guarded { try addTriggers(to: table.name, body: check(scope: table.scope), in: connection) }
    for table in ownTables {
      try addTriggers(to: table, body: "SELECT portcullis_guard_own(\(literal(table)));", in: connection)
    }
    return guarded
  }

  /// Takes away what `install` made, in the open transaction. Answers whether the guard had made the fence tables.
  static func remove(from connection: Connection) throws(SQLiteError) -> Bool {
    var madeFence = false
    try connection.runEngine("SELECT made_fence FROM main._fence_guard") { madeFence = $0.integer(0) != 0 }
    var triggers: [String] = []
    try connection.runEngine("SELECT name FROM main.sqlite_schema WHERE type = 'trigger'") {
      triggers.append($0.text(0))
    }
    for trigger in triggers where isTrigger(trigger) {
      try connection.runEngine("DROP TRIGGER main.\(quoted(trigger))")
    }
    for table in ["_fence_key", "_fence_guard"] { try connection.runEngine("DROP TABLE main.\(table)") }
    return madeFence
  }

  /// All that a program writes: ordinary tables, and those in which virtual tables keep their data, for a virtual table
  /// itself takes no trigger. A full-text table writes its index from within a savepoint of any statement; a trigger with a
  /// function there makes SQLite open another savepoint, without end. Its documents are guarded, its index follows them.
  private static func userTables(in connection: Connection) throws(SQLiteError) -> [String] {
    var names: [String] = []
    try connection.runEngine(
      """
      SELECT name, type FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'shadow')
        AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name
      """
    ) { row in
      let isIndex = row.text(1) == "shadow" && fullTextIndexes.contains { row.text(0).lowercased().hasSuffix($0) }
      if !isIndex && !SQLRules.isReserved(row.text(0)) { names.append(row.text(0)) }
    }
    return names
  }

  private static let fullTextIndexes = ["_data", "_idx", "_segdir", "_segments"]

  private static func addTriggers(to table: String, body: String, in connection: Connection) throws(SQLiteError) {
    for event in ["insert", "update", "delete"] {
      try connection.runEngine(
        """
        CREATE TRIGGER main.\(quoted("\(triggerPrefix)\(event)_\(table)")) BEFORE \(event.uppercased())
        ON \(quoted(table)) BEGIN \(body) END
        """)
    }
  }

  private static func check(scope: String) -> String {
    let scope = literal(scope)
    return """
      SELECT portcullis_guard(\(scope), f.cluster, f.incarnation, f.number, f.holder,
        EXISTS(SELECT 1 FROM _fence_key WHERE kid = portcullis_kid(\(scope))))
      FROM (SELECT 1) LEFT JOIN _fence AS f ON f.scope = \(scope);
      """
  }

  private static func literal(_ text: String) -> String { "'" + text.replacing("'", with: "''") + "'" }

  private static func quoted(_ name: String) -> String { "\"" + name.replacing("\"", with: "\"\"") + "\"" }
}

/// What `guard` has done.
package struct GuardReport: Sendable, Hashable {
  package struct Table: Sendable, Hashable {
    package let name: String
    package let scope: String
  }

  /// The file's one name; see `DatabasePath`.
  package let path: String
  package let tables: [Table]
  /// The ids of the keys whose tokens the file takes.
  package let kids: [String]
  /// Whether it was guarded before, so that its keys and scopes were replaced.
  package let wasGuarded: Bool
}
