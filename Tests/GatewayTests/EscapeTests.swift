// SQL that would escape the fence: each way out has a test that tries it.

import FencingCore
import Gateway
import Testing

@Suite("SQL that escapes")
struct EscapeTests {
  /// Tries `sql` under valid claims and expects an error that says `reason` and changes nothing.
  private func expectRefused(_ sql: String, _ reason: String, schema: String? = nil) async throws {
    let fixture = try Fixture(
      schema: schema ?? "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT UNIQUE); INSERT INTO item VALUES(1, 'x')")
    try await fixture.database.raise(claims(5))
    let before = try Raw.contents(fixture.path)
    let outcome = try await fixture.write(claims(5), sql)
    let said = outcome.results[0].reason ?? "nothing"
    #expect(said.contains(reason), "\(sql): \(said)")
    #expect(try Raw.contents(fixture.path) == before, "\(sql)")
    // The gateway is as it was: the next write passes, an old one does not.
    try await fixture.write(claims(6), "SELECT 1")
    #expect(await fixture.refusal(try claims(5), "SELECT 1") != nil)
  }

  @Test(
    "transaction control is the gateway's",
    arguments: [
      "COMMIT", "END", "ROLLBACK", "BEGIN", "BEGIN EXCLUSIVE", "SAVEPOINT s", "RELEASE request", "ROLLBACK TO request",
      "RELEASE SAVEPOINT request", "/* hidden */ COMMIT -- it", "commit transaction",
    ])
  func transactionControl(sql: String) async throws {
    try await expectRefused(sql, "a request is a transaction of its own")
  }

  @Test(
    "other files stay out of reach",
    arguments: ["ATTACH ':memory:' AS o", "ATTACH '/tmp/other.db' AS o", "DETACH main"])
  func attach(sql: String) async throws {
    try await expectRefused(sql, "ATTACH and DETACH are refused")
  }

  @Test(
    "the fence tables cannot be touched by any statement",
    arguments: [
      "UPDATE _fence SET number = 1", "DELETE FROM _fence", "INSERT INTO _fence SELECT * FROM _fence",
      "REPLACE INTO main._fence VALUES('orders', '0000000000000007', 1, 1, 'a', 0)", "DROP TABLE _fence",
      "ALTER TABLE _fence RENAME TO gone", "ALTER TABLE _fence RENAME COLUMN number TO n",
      "ALTER TABLE _fence ADD COLUMN x", "ALTER TABLE _fence DROP COLUMN raised_at",
      "ALTER TABLE \"_FENCE\" RENAME TO x",
      "CREATE TRIGGER t AFTER UPDATE ON _fence BEGIN SELECT 1; END", "CREATE INDEX i ON _fence(number)",
      "CREATE TRIGGER _fence_t AFTER INSERT ON item BEGIN SELECT 1; END", "CREATE VIEW _fence_v AS SELECT 1",
      "SELECT * FROM _fence",
      "WITH f AS (SELECT number FROM _fence) DELETE FROM item WHERE id < (SELECT number FROM f)",
      "CREATE TABLE _fence_x(a)", "DELETE FROM _fence_adoption", "PRAGMA table_info(_fence)",
      "INSERT INTO item(name) SELECT holder FROM _FENCE",
    ])
  func fenceTables(sql: String) async throws {
    try await expectRefused(sql, "belongs to the gateway's fence tables")
  }

  @Test("a table cannot be renamed into the place of a fence table")
  func renameInto() async throws {
    try await expectRefused("ALTER TABLE item RENAME TO _fence", "already another table")
  }

  @Test("a trigger on the user's own table cannot reach the fence, not even one that was there before")
  func triggerReachesFence() async throws {
    try await expectRefused(
      "INSERT INTO item(name) VALUES('y')", "belongs to the gateway's fence tables",
      schema: """
        CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT);
        CREATE TRIGGER t AFTER INSERT ON item BEGIN UPDATE _fence SET number = 1; END
        """)
  }

  @Test("the schema cannot be written around its statements")
  func writableSchema() async throws {
    try await expectRefused("PRAGMA writable_schema = ON", "PRAGMA writable_schema")
    try await expectRefused("UPDATE sqlite_schema SET sql = '' WHERE name = '_fence'", "may not be modified")
    try await expectRefused("DELETE FROM sqlite_master", "may not be modified")
    try await expectRefused("UPDATE sqlite_temp_schema SET sql = ''", "may not be modified")
  }

  @Test(
    "PRAGMAs that change durability, checkpoints or protection are refused",
    arguments: [
      "PRAGMA synchronous = OFF", "PRAGMA main.synchronous = 0", "PRAGMA journal_mode = DELETE",
      "PRAGMA journal_mode = OFF",
      "PRAGMA wal_checkpoint", "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA wal_autocheckpoint = 1",
      "PRAGMA locking_mode = EXCLUSIVE",
      "PRAGMA query_only = ON", "PRAGMA trusted_schema = ON", "PRAGMA schema_version = 9", "PRAGMA foreign_keys = ON",
      "PRAGMA defer_foreign_keys = ON", "PRAGMA recursive_triggers = ON", "PRAGMA temp_store_directory = '/'",
      "PRAGMA database_list",
      "PRAGMA journal_size_limit = 1", "PRAGMA mmap_size = 1", "PRAGMA busy_timeout = 1",
      "PRAGMA ignore_check_constraints = ON",
      "PRAGMA incremental_vacuum", "PRAGMA optimize", "PRAGMA shrink_memory", "PRAGMA something_new = 1",
      "SELECT * FROM pragma_database_list",
    ])
  func pragmas(sql: String) async throws {
    try await expectRefused(sql, "PRAGMA")
  }

  @Test("PRAGMAs that only answer are taken, and user_version is part of the transaction")
  func harmlessPragmas() async throws {
    let fixture = try Fixture()
    for sql in [
      "PRAGMA table_info(item)", "PRAGMA foreign_keys", "PRAGMA journal_mode", "PRAGMA integrity_check", "ANALYZE",
    ] {
      let outcome = try await fixture.write(claims(5), sql)
      #expect(outcome.results[0].reason == nil, "\(sql)")
    }
    let failed = try await fixture.write(claims(5), "PRAGMA user_version = 9", "no sql", transaction: true)
    #expect(failed.isRolledBack)
    #expect(try Raw.run(fixture.path, "PRAGMA user_version") == [["0"]])
    try await fixture.write(claims(5), "PRAGMA user_version = 9")
    #expect(try Raw.run(fixture.path, "PRAGMA user_version") == [["9"]])
  }

  @Test("a trigger or view that was there before cannot call what a client may not call")
  func triggerCallsFunction() async throws {
    let schema = """
      CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT);
      CREATE TRIGGER t AFTER INSERT ON item BEGIN SELECT load_extension('x'); END;
      CREATE VIEW v AS SELECT load_extension('x') AS x
      """
    try await expectRefused("INSERT INTO item(name) VALUES('y')", "load_extension", schema: schema)
    try await expectRefused("SELECT * FROM v", "load_extension", schema: schema)
  }

  @Test("extensions cannot be loaded and dangerous functions and modules are refused")
  func functions() async throws {
    try await expectRefused("SELECT load_extension('x')", "load_extension")
    try await expectRefused("SELECT fts3_tokenizer('simple')", "fts3_tokenizer")
    try await expectRefused("CREATE VIRTUAL TABLE v USING csv(filename='/etc/passwd')", "virtual table module")
    try await expectRefused("VACUUM", "VACUUM")
    try await expectRefused("VACUUM INTO '/tmp/copy.db'", "VACUUM")
  }

  @Test(
    "temporary objects, which would outlive the request, are refused",
    arguments: [
      "CREATE TEMP TABLE t(a)", "CREATE TABLE temp.t(a)", "CREATE TABLE TEMP.t AS SELECT 1",
      "CREATE VIEW temp.v AS SELECT 1", "CREATE VIRTUAL TABLE temp.f USING fts5(a)",
      "CREATE TEMP VIEW v AS SELECT 1",
      "CREATE TEMP TRIGGER t AFTER INSERT ON item BEGIN SELECT 1; END",
    ])
  func temporary(sql: String) async throws {
    try await expectRefused(sql, "temporary objects are refused")
  }

  @Test(
    "one text holds one statement", arguments: ["SELECT 1; DELETE FROM item", "SELECT 1; nonsense", "SELECT 1;;COMMIT"])
  func several(sql: String) async throws {
    try await expectRefused(sql, "several statements")
  }

  @Test("white space, comments and one semicolon after a statement are no second one")
  func tail() async throws {
    let fixture = try Fixture()
    let outcome = try await fixture.write(claims(5), "INSERT INTO item(name) VALUES('x') ; -- done\n /* really */ ")
    #expect(outcome.results[0].reason == nil)
    #expect(try fixture.names() == ["x"])
    let empty = try await fixture.write(claims(5), " -- nothing")
    #expect(empty.results[0].reason == "the text holds no SQL statement")
  }

  @Test("a NUL character does not hide the rest of a text")
  func nul() async throws {
    try await expectRefused("SELECT 1\u{0}; DELETE FROM item", "NUL")
  }

  @Test("a statement that ends the transaction takes its whole request with it, and nothing after it runs")
  func orRollback() async throws {
    for sql in [
      "INSERT OR ROLLBACK INTO item(name) VALUES('x')", "UPDATE OR ROLLBACK item SET id = 1 WHERE name = 'b'",
    ] {
      for isTransaction in [false, true] {
        let fixture = try Fixture()
        try await fixture.write(claims(5), "INSERT INTO item VALUES(1, 'x')", "INSERT INTO item VALUES(2, 'b')")
        let before = try Raw.contents(fixture.path)
        let outcome = try await fixture.write(
          claims(5), "INSERT INTO item(name) VALUES('first')", sql, "INSERT INTO item(name) VALUES('after')",
          transaction: isTransaction)
        #expect(outcome.isRolledBack)
        #expect(
          outcome.results.map { $0.reason?.split(separator: ":").first.map(String.init) } == [
            "undone", "UNIQUE constraint failed", "not run",
          ])
        #expect(try Raw.contents(fixture.path) == before)
        try await fixture.write(claims(5), "INSERT INTO item(name) VALUES('next')")
        #expect(try fixture.names() == ["x", "b", "next"])
      }
    }
  }

  @Test("a trigger's RAISE(ROLLBACK) takes its whole request with it, and nothing after it runs")
  func raiseRollback() async throws {
    let fixture = try Fixture(
      schema: """
        CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT);
        CREATE TRIGGER t AFTER INSERT ON item WHEN new.name = 'bad' BEGIN SELECT RAISE(ROLLBACK, 'no bad items'); END
        """)
    try await fixture.write(claims(5), "INSERT INTO item(name) VALUES('x')")
    let outcome = try await fixture.write(
      claims(5), "INSERT INTO item(name) VALUES('bad')", "INSERT INTO item(name) VALUES('after')")
    #expect(outcome.results[0].reason == "no bad items")
    #expect(try fixture.names() == ["x"])
  }

  @Test("a request that ends its own transaction does not leave its raise behind either")
  func rollbackTakesRaise() async throws {
    let fixture = try Fixture()
    try await fixture.write(claims(5), "INSERT INTO item VALUES(1, 'x')")
    let outcome = try await fixture.write(claims(6, "b"), "INSERT OR ROLLBACK INTO item VALUES(1, 'y')")
    #expect(outcome.floor == nil)
    #expect(try await fixture.database.floor() == claims(5).floor)
  }

  @Test("a reader takes no statement that writes")
  func readerWrites() async throws {
    let fixture = try Fixture()
    for sql in [
      "INSERT INTO item(name) VALUES('x')", "DELETE FROM item", "CREATE TABLE t(a)", "PRAGMA user_version = 3",
      "COMMIT", "ATTACH ':memory:' AS o", "VACUUM",
    ] {
      let read = try await fixture.database.query(ReadRequest(statements: [SQLStatement(sql)]))
      #expect(read.results[0].reason != nil, "\(sql)")
    }
    #expect(try fixture.names().isEmpty)
  }

  @Test("ordinary triggers, views and full-text tables go on working")
  func ordinaryTriggers() async throws {
    let fixture = try Fixture(
      schema: """
        CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT); CREATE TABLE log(text TEXT);
        CREATE VIRTUAL TABLE words USING fts5(name, content='item', content_rowid='id');
        CREATE TRIGGER t AFTER INSERT ON item BEGIN
          INSERT INTO log VALUES(upper(new.name) || json_array(1));
          INSERT INTO words(rowid, name) VALUES(new.id, new.name);
        END;
        CREATE VIEW shout AS SELECT upper(name) AS name FROM item
        """)
    let outcome = try await fixture.write(claims(5), "INSERT INTO item(name) VALUES('hello world')")
    #expect(outcome.results[0].reason == nil)
    let read = try await fixture.database.query(
      ReadRequest(statements: [
        SQLStatement("SELECT * FROM log"), SQLStatement("SELECT name FROM words WHERE words MATCH 'world'"),
        SQLStatement("SELECT * FROM shout"),
      ]))
    #expect(
      read.results.map { $0.result?.rows } == [
        [[.text("HELLO WORLD[1]")]], [[.text("hello world")]], [[.text("HELLO WORLD")]],
      ])
  }

  @Test("schema changes of the user's own tables work, also under cached statements")
  func schemaChanges() async throws {
    let fixture = try Fixture()
    try await fixture.write(claims(5), "INSERT INTO item(name) VALUES('x')", "SELECT * FROM item")
    for sql in [
      "ALTER TABLE item ADD COLUMN price REAL", "CREATE INDEX i ON item(price)", "ALTER TABLE item RENAME TO thing",
      "CREATE VIEW v AS SELECT * FROM thing", "REINDEX",
    ] {
      let outcome = try await fixture.write(claims(5), sql)
      #expect(outcome.results[0].reason == nil, "\(sql)")
    }
    let outcome = try await fixture.write(claims(5), "SELECT * FROM v")
    #expect(outcome.results[0].result?.columns == ["id", "name", "price"])
  }
}
