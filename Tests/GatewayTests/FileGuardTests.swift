// A file that guards itself, as a program with the extension meets it: the library is loaded for real, into the SQLite of
// this process.

import CSQLite
import FencingCore
import Foundation
import Gateway
import Testing
import Tokens

/// A connection of a program that knows of the extension, or of one that does not.
final class GuardedConnection {
  private var database: OpaquePointer?

  init(_ path: String, loads: Bool = true) throws {
    guard sqlite3_open(path, &database) == SQLITE_OK else { throw Raw.Failure(message: "cannot open") }
    sqlite3_busy_timeout(database, 5000)
    guard loads else { return }
    portcullis_sqlite3_db_config(database, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 1)
    var message: UnsafeMutablePointer<CChar>?
    let bundle = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
    let library = bundle.appendingPathComponent("libportcullis_fence.so").path
    guard sqlite3_load_extension(database, library, nil, &message) == SQLITE_OK else {
      defer { sqlite3_free(message) }
      throw Raw.Failure(message: message.map { String(cString: $0) } ?? "cannot load")
    }
  }

  /// Fails where a statement of ours was left over in the connection.
  deinit { precondition(sqlite3_close(database) == SQLITE_OK, "the extension left a statement behind") }

  @discardableResult
  func run(_ sql: String) throws -> [[String]] { try Raw.run(on: database, sql) }

  /// Why a statement fails; nil where it does not.
  func failure(_ sql: String) -> String? {
    do {
      try run(sql)
      return nil
    } catch {
      return (error as? Raw.Failure)?.message
    }
  }

  func present(_ token: String) throws { try run("SELECT portcullis_present('\(token)')") }
}

/// A database that guards itself, and a node that signs tokens for it.
struct GuardedFile {
  static let schema = """
    CREATE TABLE item(id INTEGER PRIMARY KEY,  name TEXT UNIQUE);
    CREATE TABLE "od'd ""name"(a, b GENERATED ALWAYS AS (a + 1) STORED);
    CREATE TABLE pair(k TEXT PRIMARY KEY, v) WITHOUT ROWID;
    CREATE TABLE child(id INTEGER PRIMARY KEY, item REFERENCES item(id) ON DELETE CASCADE);
    CREATE TABLE log(at INTEGER PRIMARY KEY AUTOINCREMENT, what);
    CREATE VIEW names AS SELECT name FROM item;
    CREATE TRIGGER by_view INSTEAD OF INSERT ON names BEGIN INSERT INTO item(name) VALUES(new.name); END;
    CREATE TRIGGER noted AFTER INSERT ON item BEGIN INSERT INTO log(what) VALUES(new.name); END;
    CREATE INDEX by_name ON item(name) WHERE id > 3;
    CREATE VIRTUAL TABLE words USING fts5(body);
    CREATE VIRTUAL TABLE older USING fts4(body);
    CREATE VIRTUAL TABLE place USING rtree(id, low, high);
    INSERT INTO item(name) VALUES('first'); INSERT INTO words VALUES('first'); INSERT INTO child VALUES(1, 1);
    """
  static let everything = "SELECT rowid, type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name, rowid"

  let folder: Folder
  let path: String
  let key = SigningKey()

  init(tableScopes: [TableScope] = [], schema: String = Self.schema, mode: String = "delete") throws {
    folder = try Folder()
    path = folder.file("orders.db")
    try Raw.run(path, "PRAGMA journal_mode = \(mode);" + schema)
    try FileChanges.guardFile(path, scope: "orders", tableScopes: tableScopes, keys: KeySet([key.publicKey]))
  }

  func token(_ claims: FenceClaims, expiresIn seconds: Int64 = 600, key: SigningKey? = nil) throws -> String {
    let now = Int64(Date().timeIntervalSince1970)
    return try (key ?? self.key).sign(claims, issuedAtSeconds: now, expiresAtSeconds: now + seconds)
  }

  func connection(_ claims: FenceClaims? = nil, loads: Bool = true) throws -> GuardedConnection {
    let connection = try GuardedConnection(path, loads: loads)
    if let claims { try connection.present(token(claims)) }
    return connection
  }

  /// As `Raw.contents`, with the extension: a guarded R-tree is not even read without.
  func contents() throws -> [[String]] {
    let reader = try GuardedConnection(path)
    var contents = try reader.run("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name")
    for table in try reader.run("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name") {
      let name = table[0].replacing("\"", with: "\"\"")
      contents += try [table] + reader.run("SELECT * FROM \"\(name)\" ORDER BY 1")
    }
    return contents
  }

  func floor(_ scope: String = "orders") throws -> [[String]] {
    try Raw.run(path, "SELECT incarnation, number, holder FROM _fence WHERE scope = '\(scope)'")
  }
}

@Suite("A file that guards itself")
struct FileGuardTests {
  static let writes = [
    "INSERT INTO item(name) VALUES('x')", "INSERT OR REPLACE INTO item(id, name) VALUES(1, 'x')",
    "INSERT OR IGNORE INTO item(id, name) VALUES(1, 'x')", "REPLACE INTO pair VALUES('k', 1)",
    "INSERT INTO item(id, name) VALUES(1, 'x') ON CONFLICT DO UPDATE SET name = 'y'", "UPDATE item SET name = 'x'",
    "UPDATE OR IGNORE item SET name = 'x'", "DELETE FROM item", "DELETE FROM item WHERE id = 1",
    "INSERT INTO \"od'd \"\"name\"(a) VALUES(1)", "INSERT INTO names VALUES('x')",
    "INSERT INTO item(name) SELECT 'x' RETURNING id", "INSERT INTO words VALUES('x')", "DELETE FROM words",
    "UPDATE words SET body = 'x'", "INSERT INTO older VALUES('x')", "INSERT INTO place VALUES(1, 2, 3)",
    "WITH w AS (SELECT 'x' AS n) INSERT INTO item(name) SELECT n FROM w", "INSERT INTO log(what) VALUES('x')",
    "INSERT INTO words(words) VALUES('rebuild')",
  ]

  @Test("a program that has not loaded the extension cannot write at all, in any way", arguments: writes)
  func unloaded(sql: String) throws {
    let file = try GuardedFile()
    let before = try file.contents()
    let reason = try file.connection(loads: false).failure(sql)
    // A virtual table writes through statements of its own, and does not hand on why one failed.
    #expect(reason?.contains("no such function: portcullis_") == true || reason == "SQL logic error", "\(reason ?? "")")
    #expect(try file.contents() == before)
  }

  @Test(
    "with the extension a write needs a token, a higher number raises, an equal one passes, a lower one is refused",
    arguments: writes)
  func fenced(sql: String) throws {
    let file = try GuardedFile()
    let before = try file.contents()
    let isVirtual = ["words", "older", "place"].contains { sql.contains($0) }
    func expect(_ reason: String?, _ text: String) {
      #expect(reason.map { isVirtual || $0.contains(text) } == true, "\(reason ?? "it passed")")
    }
    expect(try file.connection().failure(sql), "needs a token of the scope \"orders\"")
    #expect(try file.contents() == before)
    let second = try file.connection(claims(5, "a"))
    #expect(second.failure(sql) == nil)
    #expect(try file.floor() == [["1", "5", "a"]])
    // Something to delete again: where no row is touched, nothing is checked.
    try second.run("INSERT OR IGNORE INTO item(id, name) VALUES(1, 'again'); INSERT INTO words VALUES('again')")
    let after = try file.contents()
    expect(try file.connection(claims(4, "b")).failure(sql), "stale")
    expect(try file.connection(claims(5, "b")).failure(sql), "the number is taken")
    expect(try file.connection(claims(9, "b", incarnation: 0)).failure(sql), "before the cluster's restore")
    expect(try file.connection(claims(9, "b", cluster: 8)).failure(sql), "belongs to the cluster")
    expect(try file.connection(claims(9, "b", scope: "other")).failure(sql), "needs a token of the scope")
    #expect(try file.contents() == after)
    #expect(try file.connection(claims(1, "b", incarnation: 2)).failure("DELETE FROM child") == nil)
    #expect(second.failure("DELETE FROM child WHERE 0; INSERT INTO log(what) VALUES(1)")?.contains("restore") == true)
  }

  @Test("the check is part of the transaction: a raise that is rolled back leaves nothing, and commits with its data")
  func transaction() throws {
    let file = try GuardedFile()
    let connection = try file.connection(claims(5))
    try connection.run("BEGIN; INSERT INTO item(name) VALUES('x')")
    #expect(try connection.run("SELECT number FROM _fence") == [["5"]])
    try connection.run("ROLLBACK")
    #expect(try file.floor().isEmpty)
    try connection.run("BEGIN; SAVEPOINT a; INSERT INTO item(name) VALUES('x'); ROLLBACK TO a")
    try connection.run("INSERT INTO item(name) VALUES('y'); COMMIT")
    #expect(try file.floor() == [["1", "5", "a"]])
    #expect(try Raw.run(file.path, "SELECT name FROM item ORDER BY 1") == [["first"], ["y"]])
    // What the program sees of its own statement is not disturbed by the floor's.
    let later = try file.connection(claims(6))
    try later.run("INSERT INTO item(id, name) VALUES(77, 'z'), (78, 'q')")
    #expect(try later.run("SELECT last_insert_rowid(), changes()") == [["78", "2"]])
    try later.run("BEGIN; DELETE FROM item WHERE id = 78")
    #expect(try later.run("SELECT last_insert_rowid(), changes()") == [["78", "1"]])
    // Whoever has begun holds the file, so nothing is raised under it.
    let waiting = try file.connection(claims(7))
    try waiting.run("PRAGMA busy_timeout = 0")
    #expect(waiting.failure("DELETE FROM item")?.contains("locked") == true)
    try later.run("COMMIT")
    try waiting.run("DELETE FROM item")
    #expect(later.failure("INSERT INTO item(name) VALUES('late')")?.contains("stale") == true)
  }

  @Test("foreign keys' own deletes are guarded by the scope of their table, and each scope has its floor")
  func tableScopes() throws {
    let file = try GuardedFile(tableScopes: [TableScope(scope: "kids", tables: ["CHILD"])])
    let connection = try file.connection(claims(5))
    try connection.run("PRAGMA foreign_keys = ON")
    #expect(connection.failure("DELETE FROM item")?.contains("needs a token of the scope \"kids\"") == true)
    try connection.present(try file.token(claims(3, scope: "kids")))
    try connection.run("DELETE FROM item")
    #expect(try Raw.run(file.path, "SELECT count(*) FROM child") == [["0"]])
    #expect(try file.floor("kids") == [["1", "3", "a"]])
  }

  @Test("tokens that are expired, shared, unsigned, of an unknown key or of a key that was taken out are not taken")
  func tokens() throws {
    let file = try GuardedFile()
    let connection = try file.connection()
    func refusal(_ token: String) -> String { connection.failure("SELECT portcullis_present('\(token)')") ?? "taken" }
    #expect(refusal(try file.token(claims(5), expiresIn: -3600)).contains("expired"))
    #expect(refusal(try file.token(claims(5), key: SigningKey())).contains("not in the key set"))
    #expect(refusal("a.b.c").contains("malformed"))
    #expect(refusal("").contains("malformed"))
    let good = try file.token(claims(5))
    #expect(refusal(String(good.dropLast(4)) + "AAAA").contains("does not match"))
    let shared = FenceClaims(
      cluster: 7, incarnation: try #require(Incarnation(1 as Int64)), scope: "orders",
      number: try #require(GrantNumber(5)), holder: "a", isShared: true)
    #expect(refusal(try file.token(shared)).contains("for reading"))
    #expect(connection.failure("SELECT portcullis_present(7)")?.contains("token as text") == true)
    try connection.present(good)
    try connection.run("DELETE FROM log")
    try FileChanges.guardFile(file.path, scope: "orders", keys: KeySet([SigningKey().publicKey]))
    #expect(connection.failure("INSERT INTO log(what) VALUES(1)")?.contains("does not know the key") == true)
    #expect(try file.floor() == [["1", "5", "a"]])
    // A token that is held expires while it is held: the leeway is a minute.
    let other = try GuardedFile()
    let late = try other.connection()
    try late.present(try other.token(claims(5), expiresIn: -58))
    let end = Date().addingTimeInterval(30)
    var reason: String?
    while reason == nil, Date() < end {
      reason = late.failure("DELETE FROM log WHERE at < 0; INSERT INTO log(what) VALUES(1)")
    }
    #expect(reason?.contains("expired") == true)
  }

  @Test("a connection cannot change the floors, the keys or the guard, whatever it presents")
  func ownTables() throws {
    let file = try GuardedFile()
    let connection = try file.connection(claims(5))
    try connection.run("DELETE FROM item")
    let old = try file.connection(claims(4))
    let before = try file.contents()
    for table in ["_fence", "_fence_key", "_fence_guard", "_fence_identity"] {
      for program in [connection, old] {
        let reason = program.failure("DELETE FROM \(table)")
        #expect(reason?.contains("the fence's own") == true, "\(table): \(reason ?? "it passed")")
      }
      #expect(try file.connection(loads: false).failure("DELETE FROM \(table)")?.contains("no such function") == true)
    }
    #expect(connection.failure("UPDATE _fence SET number = 1")?.contains("the fence's own") == true)
    #expect(connection.failure("INSERT INTO _fence_key VALUES('k', 'x', 1)")?.contains("the fence's own") == true)
    // Calling the function by hand, with a floor that is made up, lowers nothing.
    let call = "SELECT portcullis_guard('orders', NULL, NULL, NULL, NULL, 1)"
    #expect(old.failure(call)?.contains("stale") == true)
    #expect(connection.failure(call) == nil)
    #expect(try file.contents() == before)
  }

  @Test("a floor is raised only in the main file, with nothing attached, and with commits that are flushed")
  func whereItRaises() throws {
    let file = try GuardedFile()
    let attaching = try GuardedConnection(file.folder.file("else.db"))
    try attaching.run("ATTACH '\(file.path)' AS o")
    #expect(
      attaching.failure("SELECT portcullis_present('\(try file.token(claims(5)))')")?.contains("not guarded") == true)
    #expect(attaching.failure("DELETE FROM o.item")?.contains("needs a token") == true)
    // A file of one's own as the main one, with keys of one's own, opens nothing.
    let mine = SigningKey()
    try Raw.run(file.folder.file("mine.db"), "CREATE TABLE t(a)")
    try FileChanges.guardFile(file.folder.file("mine.db"), scope: "orders", keys: KeySet([mine.publicKey]))
    let forging = try GuardedConnection(file.folder.file("mine.db"))
    try forging.present(try file.token(claims(99), key: mine))
    try forging.run("ATTACH '\(file.path)' AS o")
    #expect(forging.failure("DELETE FROM o.item")?.contains("does not know the key") == true)
    let connection = try file.connection(claims(5))
    try connection.run("ATTACH '\(file.folder.file("third.db"))' AS third")
    #expect(connection.failure("DELETE FROM item")?.contains("nothing attached") == true)
    try connection.run("DETACH third; PRAGMA synchronous = NORMAL")
    #expect(connection.failure("DELETE FROM item")?.contains("synchronous = FULL") == true)
    try connection.run("PRAGMA synchronous = FULL; DELETE FROM item; PRAGMA synchronous = OFF; DELETE FROM log")
    // Temporary tables of the fence's names are not looked at.
    try connection.run("CREATE TEMP TABLE _fence AS SELECT * FROM main._fence; UPDATE temp._fence SET number = 1")
    #expect(try file.connection(claims(6)).failure("INSERT INTO pair VALUES('k', 1)") == nil)
    #expect(connection.failure("INSERT INTO log(what) VALUES(1)")?.contains("stale") == true)
  }
}
