// The fence tables: the floor beside the data, in the same file and the same transaction.
//
// Owns `_fence`, `_fence_adoption`, `_fence_identity` and `_fence_format`, and the shape of `_fence_request` (see
// `RequestRecords`). Must never lower a floor within a cluster or delete a row of the first three, and never touch a table
// of the user's. Invariants: a row that cannot be read as a floor stops every write: no floor is not a low floor; and a
// file of a format that this program does not know is left to those that do, for what it says may bind in ways unknown here.

import CSQLite
import FencingCore

enum FenceTable {
  /// Of the tables below, and of what they mean. A change that an earlier program must not write beside gets the next
  /// number; an earlier file is brought up to it when it is opened.
  static let format: Int64 = 1

  private struct Object {
    let kind: String
    let name: String
    let columns: [String]
    /// Always with `main.` before the name: nothing in another schema can stand in for it.
    let sql: String
  }

  private static let objects = [
    Object(
      kind: "table", name: "_fence", columns: ["scope", "cluster", "incarnation", "number", "holder", "raised_at"],
      sql: """
        CREATE TABLE IF NOT EXISTS main._fence(
          scope TEXT PRIMARY KEY NOT NULL,
          cluster TEXT NOT NULL CHECK(length(cluster) = 16),
          incarnation INTEGER NOT NULL CHECK(incarnation >= 0),
          number INTEGER NOT NULL CHECK(number > 0),
          holder TEXT NOT NULL,
          raised_at INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID
        """),
    Object(
      kind: "table", name: "_fence_adoption",
      columns: [
        "adopted_at", "scope", "from_cluster", "from_incarnation", "from_number", "to_cluster", "to_incarnation",
        "to_number",
      ],
      sql: """
        CREATE TABLE IF NOT EXISTS main._fence_adoption(
          adopted_at INTEGER NOT NULL,
          scope TEXT NOT NULL,
          from_cluster TEXT NOT NULL,
          from_incarnation INTEGER NOT NULL,
          from_number INTEGER NOT NULL,
          to_cluster TEXT NOT NULL,
          to_incarnation INTEGER NOT NULL,
          to_number INTEGER NOT NULL
        ) STRICT
        """),
    Object(
      kind: "table", name: "_fence_identity", columns: ["identity", "made_at"],
      sql: "CREATE TABLE IF NOT EXISTS main._fence_identity(identity TEXT NOT NULL, made_at INTEGER NOT NULL) STRICT"),
    // Later than the others: a file without it is of the first format.
    Object(
      kind: "table", name: "_fence_format", columns: ["version"],
      sql: "CREATE TABLE IF NOT EXISTS main._fence_format(version INTEGER NOT NULL) STRICT"),
    Object(
      kind: "table", name: "_fence_request",
      columns: ["id", "scope", "key", "hash", "answer", "kept_at"],
      sql: """
        CREATE TABLE IF NOT EXISTS main._fence_request(
          id INTEGER PRIMARY KEY,
          scope TEXT NOT NULL,
          key TEXT NOT NULL,
          hash BLOB NOT NULL,
          answer BLOB,
          kept_at INTEGER NOT NULL
        ) STRICT
        """),
    // Of its own name: the index of a UNIQUE clause would be called as if it were the user's.
    Object(
      kind: "index", name: "_fence_request_key", columns: [""],
      sql: "CREATE UNIQUE INDEX IF NOT EXISTS main._fence_request_key ON _fence_request(scope, key)"),
    Object(
      kind: "index", name: "_fence_request_answers", columns: [""],
      sql: "CREATE INDEX IF NOT EXISTS main._fence_request_answers ON _fence_request(id) WHERE answer IS NOT NULL"),
  ]

  /// The tables, with how many columns they have.
  static let tables = objects.filter { $0.kind == "table" }.map { ($0.name, $0.columns.count) }

  enum Presence: Equatable {
    case absent
    /// Not complete where an earlier version made them; the earliest gave no identity.
    case present(isComplete: Bool, hasIdentity: Bool)
    /// A later program's, whose tables may be others.
    case newer(format: Int64)
    /// Something else carries one of the names.
    case foreign
  }

  static func presence(in connection: Connection) throws(SQLiteError) -> Presence {
    var found: [String: [String]] = [:]
    try connection.runEngine(
      """
      SELECT s.name, s.type, c.name FROM main.sqlite_schema AS s
      LEFT JOIN pragma_table_info(s.name, 'main') AS c
      WHERE lower(s.name) = '_fence' OR lower(s.name) LIKE '\\_fence\\_%' ESCAPE '\\' ORDER BY s.name, c.cid
      """
    ) { row in
      found["\(row.text(1)) \(row.text(0))", default: []].append(row.text(2))
    }
    found = found.filter { !FileGuard.owns($0.key, columns: $0.value) }
    if found.isEmpty { return .absent }
    if found["table _fence_format"]?.contains("version") == true {
      var newest: Int64 = 0
      try connection.runEngine("SELECT coalesce(max(version), 0) FROM main._fence_format") { newest = $0.integer(0) }
      if newest > format { return .newer(format: newest) }
    }
    let expected = Dictionary(uniqueKeysWithValues: objects.map { ("\($0.kind) \($0.name)", $0.columns) })
    guard found["table _fence"] != nil, found.allSatisfy({ expected[$0.key] == $0.value }) else { return .foreign }
    return .present(isComplete: found.count == expected.count, hasIdentity: found["table _fence_identity"] != nil)
  }

  /// Makes what is missing, brings the format up to this program's, and gives the file its identity where it has none.
  static func create(in connection: Connection) throws(SQLiteError) {
    for object in objects { try connection.runEngine(object.sql) }
    try connection.runEngine("DELETE FROM main._fence_format WHERE version < ?1", [.integer(format)])
    try connection.runEngine(
      "INSERT INTO main._fence_format SELECT ?1 WHERE NOT EXISTS (SELECT 1 FROM main._fence_format)",
      [.integer(format)])
    guard try identity(in: connection) == nil else { return }
    try connection.runEngine(
      "INSERT INTO main._fence_identity VALUES(?1, ?2)",
      [
        .text(ClusterText.format(.random(in: 1 ... .max)) + ClusterText.format(.random(in: 1 ... .max))),
        .integer(WallClock.seconds),
      ])
  }

  /// Takes all of them away, in the open transaction, with every floor that they hold.
  static func drop(in connection: Connection) throws(SQLiteError) {
    precondition(connection.hasOpenTransaction, "the fence tables go together or not at all")
    for object in objects.reversed() where object.kind == "table" {
      try connection.runEngine("DROP TABLE IF EXISTS main.\(object.name)")
    }
  }

  /// What tells this file from every other: drawn when it first came under protection, and copied with it.
  static func identity(in connection: Connection) throws(SQLiteError) -> String? {
    var identity: String?
    try connection.runEngine("SELECT identity FROM main._fence_identity ORDER BY rowid LIMIT 1") {
      identity = $0.text(0)
    }
    return identity
  }

  /// Every scope that the file has a floor of.
  static func floors(in connection: Connection) throws(SQLiteError) -> [String: Floor] {
    var scopes: [String] = []
    try connection.runEngine("SELECT scope FROM main._fence") { scopes.append($0.text(0)) }
    var floors: [String: Floor] = [:]
    for scope in scopes { floors[scope] = try floor(of: scope, in: connection) }
    return floors
  }

  static func floor(of scope: String, in connection: Connection) throws(SQLiteError) -> Floor? {
    var isFound = false
    var floor: Floor?
    try connection.runEngine(
      "SELECT cluster, incarnation, number, holder FROM main._fence WHERE scope = ?1", [.text(scope)]
    ) { row in
      isFound = true
      guard let cluster = ClusterText.parse(row.text(0)), let incarnation = Incarnation(row.integer(1)),
        let number = GrantNumber(row.integer(2))
      else { return }
      floor = Floor(cluster: cluster, incarnation: incarnation, number: number, holder: row.text(3))
    }
    guard !isFound || floor != nil else {
      throw SQLiteError(code: SQLITE_CORRUPT, message: "the fence row of scope \"\(scope)\" is damaged")
    }
    return floor
  }

  /// Puts `new` in the place of `old`, which was read in this transaction.
  static func raise(_ scope: String, from old: Floor?, to new: Floor, in connection: Connection) throws(SQLiteError) {
    precondition(connection.hasOpenTransaction, "a floor is raised in the transaction that it was read in")
    if let old, old.cluster == new.cluster {
      precondition(old.authority < new.authority, "a floor never falls within a cluster")
    } else if let old {
      try connection.runEngine(
        "INSERT INTO main._fence_adoption VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        [
          .integer(WallClock.seconds), .text(scope), .text(ClusterText.format(old.cluster)),
          .integer(old.incarnation.rawValue), .integer(old.number.rawValue), .text(ClusterText.format(new.cluster)),
          .integer(new.incarnation.rawValue), .integer(new.number.rawValue),
        ])
    }
    try connection.runEngine(
      FloorSQL.raise,
      [
        .text(scope), .text(ClusterText.format(new.cluster)), .integer(new.incarnation.rawValue),
        .integer(new.number.rawValue), .text(new.holder), .integer(WallClock.seconds),
      ])
  }
}
