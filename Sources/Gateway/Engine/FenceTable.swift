// The fence tables: the floor beside the data, in the same file and the same transaction.
//
// Owns `_fence` and `_fence_adoption`. Must never lower a floor within a cluster or delete a row, and never touch a
// table of the user's. Invariant: a row that cannot be read as a floor stops every write: no floor is not a low floor.

import CSQLite
import FencingCore

enum FenceTable {
  /// Always with `main.` before it: nothing in another schema can stand in for it.
  private static let createStatements = [
    """
    CREATE TABLE main._fence(
      scope TEXT PRIMARY KEY NOT NULL,
      cluster TEXT NOT NULL CHECK(length(cluster) = 16),
      incarnation INTEGER NOT NULL CHECK(incarnation >= 0),
      number INTEGER NOT NULL CHECK(number > 0),
      holder TEXT NOT NULL,
      raised_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE main._fence_adoption(
      adopted_at INTEGER NOT NULL,
      scope TEXT NOT NULL,
      from_cluster TEXT NOT NULL,
      from_incarnation INTEGER NOT NULL,
      from_number INTEGER NOT NULL,
      to_cluster TEXT NOT NULL,
      to_incarnation INTEGER NOT NULL,
      to_number INTEGER NOT NULL
    ) STRICT
    """,
  ]

  enum Presence: Equatable {
    case absent
    case present
    /// Something else carries one of the names.
    case foreign
  }

  static func presence(in connection: Connection) throws(SQLiteError) -> Presence {
    var columnsByTable: [String: [String]] = [:]
    try connection.runEngine(
      """
      SELECT s.name, s.type, c.name FROM main.sqlite_schema AS s
      LEFT JOIN pragma_table_info(s.name, 'main') AS c
      WHERE lower(s.name) = '_fence' OR lower(s.name) LIKE '\\_fence\\_%' ESCAPE '\\' ORDER BY s.name, c.cid
      """
    ) { row in
      columnsByTable["\(row.text(1)) \(row.text(0))", default: []].append(row.text(2))
    }
    if columnsByTable.isEmpty { return .absent }
    let expected = [
      "table _fence": ["scope", "cluster", "incarnation", "number", "holder", "raised_at"],
      "table _fence_adoption": [
        "adopted_at", "scope", "from_cluster", "from_incarnation", "from_number", "to_cluster", "to_incarnation",
        "to_number",
      ],
    ]
    return columnsByTable == expected ? .present : .foreign
  }

  static func create(in connection: Connection) throws(SQLiteError) {
    for statement in createStatements { try connection.runEngine(statement) }
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
      """
      INSERT INTO main._fence(scope, cluster, incarnation, number, holder, raised_at) VALUES(?1, ?2, ?3, ?4, ?5, ?6)
      ON CONFLICT(scope) DO UPDATE SET cluster = excluded.cluster, incarnation = excluded.incarnation,
        number = excluded.number, holder = excluded.holder, raised_at = excluded.raised_at
      """,
      [
        .text(scope), .text(ClusterText.format(new.cluster)), .integer(new.incarnation.rawValue),
        .integer(new.number.rawValue), .text(new.holder), .integer(WallClock.seconds),
      ])
  }
}
