// More forms of SQL that might escape: long, deep, generated, recursive, and conflict clauses in every place.

import FencingCore
import Gateway
import Testing

@Suite("SQL that escapes, in other forms")
struct EscapeFormsTests {
  private static let schema = """
    CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT UNIQUE ON CONFLICT ROLLBACK, size INTEGER CHECK(size > 0));
    INSERT INTO item VALUES(1, 'x', 1)
    """

  /// The request fails or not; the fence holds and the gateway goes on.
  private func expectFenced(_ fixture: Fixture, _ sql: String) async throws {
    try await fixture.database.raise(claims(5))
    let fence = try Raw.run(fixture.path, "SELECT * FROM _fence")
    _ = try await fixture.write(claims(5), "INSERT INTO item(name) VALUES('first')", sql, "SELECT 1")
    #expect(try Raw.run(fixture.path, "SELECT * FROM _fence") == fence, "\(sql.prefix(200))")
    try await fixture.database.raise(claims(6, "b"))
    #expect(await fixture.refusal(try claims(5), sql) != nil, "\(sql.prefix(200))")
  }

  @Test(
    "conflict clauses, in statements and in the schema, end no more than their own request",
    arguments: ["ROLLBACK", "ABORT", "FAIL", "IGNORE", "REPLACE"])
  func conflictClauses(clause: String) async throws {
    for sql in [
      "INSERT OR \(clause) INTO item(name) VALUES('x')", "UPDATE OR \(clause) item SET name = 'x'",
      "INSERT OR \(clause) INTO item(name, size) VALUES('y', 0)",
      "INSERT OR \(clause) INTO item(id, name) VALUES(1, 'z') RETURNING id",
    ] {
      try await expectFenced(try Fixture(schema: Self.schema), sql)
    }
  }

  @Test("a conflict clause of the table's own ends its request only, and nothing after it runs")
  func declaredRollback() async throws {
    let fixture = try Fixture(schema: Self.schema)
    let outcome = try await fixture.write(
      claims(5), "INSERT INTO item(name) VALUES('y')", "INSERT INTO item(name) VALUES('x')",
      "INSERT INTO item(name) VALUES('after')")
    #expect(outcome.isRolledBack)
    #expect(try fixture.names() == ["x"])
  }

  @Test("RETURNING and CTEs cannot read or write the fence tables")
  func returning() async throws {
    let fixture = try Fixture(schema: Self.schema)
    try await fixture.database.raise(claims(5))
    for sql in [
      "INSERT INTO item(name) VALUES('y') RETURNING (SELECT number FROM _fence)",
      "DELETE FROM item RETURNING (SELECT group_concat(holder) FROM main.\"_Fence\")",
      "WITH RECURSIVE f(n) AS (SELECT number FROM _fence UNION ALL SELECT n + 1 FROM f LIMIT 3) SELECT * FROM f",
      "WITH d AS MATERIALIZED (SELECT * FROM _fence) UPDATE item SET name = (SELECT holder FROM d)",
      "UPDATE item SET name = f.holder FROM _fence AS f",
      "INSERT INTO item(name) SELECT identity FROM _fence_identity", "DELETE FROM _fence_request",
      "SELECT * FROM pragma_table_info('_fence')",
    ] {
      let outcome = try await fixture.write(claims(5), sql)
      #expect(outcome.results[0].reason?.contains("belongs to the gateway") == true, "\(sql)")
    }
    #expect(try fixture.names() == ["x"])
  }

  @Test("generated columns, defaults, checks and indexed expressions cannot call what is refused")
  func generatedColumns() async throws {
    for sql in [
      "CREATE TABLE g(a, b AS (load_extension(a)))", "CREATE TABLE g(a, b AS (load_extension(a)) STORED)",
      "CREATE TABLE g(a DEFAULT (load_extension('x')))", "CREATE TABLE g(a CHECK(load_extension(a) IS NULL))",
      "CREATE INDEX g ON item(load_extension(name))",
    ] {
      let fixture = try Fixture(schema: Self.schema)
      _ = try await fixture.write(claims(5), sql)
      let used = try await fixture.write(claims(5), "INSERT INTO g DEFAULT VALUES", "SELECT * FROM g")
      #expect(used.results.contains { $0.reason != nil }, "\(sql)")
    }
    let fixture = try Fixture(schema: "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, twice AS (name || name))")
    let outcome = try await fixture.write(claims(5), "INSERT INTO item(name) VALUES('a') RETURNING twice")
    #expect(outcome.results[0].result?.rows == [[.text("aa")]])
  }

  @Test("triggers that fire each other, and foreign keys that cascade, end at SQLite's bound and not in the fence")
  func recursiveTriggers() async throws {
    let fixture = try Fixture(
      schema: """
        CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT);
        CREATE TABLE a(n); CREATE TABLE b(n);
        CREATE TRIGGER ab AFTER INSERT ON a BEGIN INSERT INTO b VALUES(new.n + 1); END;
        CREATE TRIGGER ba AFTER INSERT ON b WHEN new.n < 1000000 BEGIN INSERT INTO a VALUES(new.n + 1); END
        """)
    try await expectFenced(fixture, "INSERT INTO a VALUES(1)")
    let pragma = try await fixture.write(claims(6, "b"), "PRAGMA recursive_triggers = ON")
    #expect(pragma.results[0].reason != nil)
  }

  @Test("very deep SQL is an error and not the end of the gateway")
  func deep() async throws {
    for sql in [
      "SELECT " + String(repeating: "(", count: 5000) + "1" + String(repeating: ")", count: 5000),
      "SELECT " + String(repeating: "-", count: 5000).map { "\($0) " }.joined() + "1",
      "SELECT " + String(repeating: "abs(", count: 3000) + "1" + String(repeating: ")", count: 3000),
      "SELECT 1 " + String(repeating: "UNION ALL SELECT 1 ", count: 2000),
      "SELECT " + String(repeating: "1 + ", count: 5000) + "1",
      String(repeating: "SELECT * FROM (", count: 500) + "SELECT 1" + String(repeating: ")", count: 500),
    ] {
      let fixture = try Fixture(schema: Self.schema)
      let outcome = try await fixture.write(claims(5), sql)
      #expect(outcome.results[0].reason != nil, "\(sql.prefix(80))")
      try await expectFenced(fixture, sql)
    }
  }

  @Test("very long SQL, very many columns and parameters are errors and not the end of the gateway")
  func long() async throws {
    let fixture = try Fixture(schema: Self.schema)
    for sql in [
      "SELECT '" + String(repeating: "x", count: 2 << 20) + "'",
      "SELECT " + Array(repeating: "1", count: 3000).joined(separator: ","), "SELECT ?99999",
      "CREATE TABLE wide(" + (0..<3000).map { "c\($0)" }.joined(separator: ",") + ")",
      "SELECT 1 FROM " + Array(repeating: "item", count: 100).joined(separator: ","),
    ] {
      let outcome = try await fixture.write(claims(5), sql)
      #expect(outcome.results[0].reason != nil, "\(sql.prefix(80))")
    }
    try await expectFenced(fixture, "SELECT '" + String(repeating: "x", count: 2 << 20) + "'")
  }

  @Test("a table cannot be made to look like a fence table under another schema's name")
  func shadowing() async throws {
    let fixture = try Fixture(schema: Self.schema)
    try await fixture.database.raise(claims(5))
    for sql in [
      "CREATE TABLE temp._fence(scope, cluster, incarnation, number, holder)", "CREATE VIEW temp._fence AS SELECT 1",
      "CREATE TEMP TABLE _fence AS SELECT 1", "CREATE VIRTUAL TABLE _fence USING fts5(a)",
      "CREATE VIRTUAL TABLE x USING fts5(a, content='_fence')", "INSERT INTO x(x) VALUES('rebuild')",
    ] {
      _ = try await fixture.write(claims(5), sql)
    }
    #expect(await fixture.refusal(try claims(4), "SELECT 1") != nil)
    let leak = try await fixture.write(claims(5), "SELECT a FROM x")
    #expect(leak.results[0].reason != nil || leak.results[0].result?.rows == [])
  }

  @Test("the writer flushes every commit")
  func fullySynchronous() async throws {
    let fixture = try Fixture()
    let outcome = try await fixture.write(claims(5), "PRAGMA synchronous", "PRAGMA journal_mode")
    #expect(outcome.results.map { $0.result?.rows } == [[[.integer(2)]], [[.text("wal")]]])
  }
}
