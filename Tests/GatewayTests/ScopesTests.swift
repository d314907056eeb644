// Several scopes in one file: each covers its tables, and a request over several passes as a whole or not at all.

import FencingCore
import Foundation
import Gateway
import Testing

@Suite("Several scopes in one file")
struct ScopesTests {
  private static let schema = """
    CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT);
    CREATE TABLE stock(id INTEGER PRIMARY KEY, item INTEGER REFERENCES item(id) ON DELETE CASCADE, n INTEGER);
    CREATE VIRTUAL TABLE words USING fts5(text);
    CREATE TABLE log(text TEXT);
    CREATE TRIGGER logs AFTER INSERT ON log WHEN new.text = 'reach' BEGIN INSERT INTO stock(n) VALUES(-1); END;
    CREATE VIEW shelf AS SELECT * FROM stock;
    CREATE TRIGGER shelves INSTEAD OF INSERT ON shelf BEGIN INSERT INTO stock(n) VALUES(new.n); END;
    INSERT INTO item VALUES(1, 'x'); INSERT INTO stock VALUES(1, 1, 5)
    """

  private func fixture(
    enforcesForeignKeys: Bool = false, isOpen: Bool = false, folder: Folder? = nil
  ) throws -> Fixture {
    try Fixture(
      isOpen: isOpen, enforcesForeignKeys: enforcesForeignKeys,
      tableScopes: [TableScope(scope: "warehouse", tables: ["Stock", "words"])], folder: folder, schema: Self.schema)
  }

  private func stock(_ number: Int64, _ holder: String = "w") throws -> FenceClaims {
    try claims(number, holder, scope: "warehouse")
  }

  @Test("a token writes the tables of its own scope and no others, in whatever way they are reached")
  func tablesOfAScope() async throws {
    let fixture = try fixture(enforcesForeignKeys: true)
    for sql in [
      "UPDATE stock SET n = 0", "INSERT INTO STOCK(n) VALUES(9)", "DELETE FROM \"stock\"",
      "REPLACE INTO main.stock VALUES(1, 1, 9)", "WITH a AS (SELECT 1 AS n) INSERT INTO stock(n) SELECT n FROM a",
      "INSERT INTO stock VALUES(1, 1, 1) ON CONFLICT DO UPDATE SET n = 2", "DELETE FROM stock RETURNING n",
      "INSERT INTO log VALUES('reach')", "INSERT INTO shelf(n) VALUES(3)", "DELETE FROM item",
      "INSERT INTO words VALUES('hello')", "DROP TABLE stock", "ALTER TABLE stock ADD COLUMN x",
      "CREATE TRIGGER t AFTER INSERT ON stock BEGIN SELECT 1; END", "CREATE INDEX i ON stock(n)",
      "INSERT INTO words_data VALUES(99, x'00')",
    ] {
      let before = try Raw.contents(fixture.path)
      let outcome = try await fixture.write(claims(5), sql)
      let reason = outcome.results[0].reason ?? "nothing"
      #expect(reason.contains("not authorized") || reason.contains("may not be modified"), "\(sql): \(reason)")
      if try Raw.run(fixture.path, "SELECT count(*) FROM _fence") == [["1"]] {
        #expect(try Raw.contents(fixture.path).count >= before.count, "\(sql)")
      }
      #expect(try Raw.run(fixture.path, "SELECT n FROM stock") == [["5"]], "\(sql)")
    }
    for sql in [
      "UPDATE item SET name = 'y'", "CREATE TABLE t(a)", "INSERT INTO log VALUES('z')", "PRAGMA user_version = 1",
    ] {
      let outcome = try await fixture.write([stock(3)], sql)
      #expect(
        outcome.results[0].reason == "not authorized: this needs a token of the scope \"orders\"", "\(sql)")
    }
    #expect(try await fixture.write([stock(3)], "UPDATE stock SET n = 6").results[0].reason == nil)
    #expect(try await fixture.write([stock(3)], "INSERT INTO words VALUES('hello world')").results[0].reason == nil)
    #expect(try Raw.run(fixture.path, "SELECT n FROM stock") == [["6"]])
    #expect(try await fixture.database.floor(of: "warehouse") == stock(3).floor)
  }

  @Test("a statement that was compiled under one token does not run under another that may not")
  func compiledStatements() async throws {
    let fixture = try fixture()
    let sql = "UPDATE stock SET n = n + 1"
    #expect(try await fixture.write([stock(3)], sql).results[0].reason == nil)
    #expect(try await fixture.write(claims(5), sql).results[0].reason != nil)
    let log = "INSERT INTO log VALUES('reach')"
    #expect(try await fixture.write([claims(5), stock(3)], log).results[0].reason == nil)
    #expect(try await fixture.write(claims(5), log).results[0].reason != nil)
    #expect(try Raw.run(fixture.path, "SELECT n FROM stock ORDER BY id") == [["6"], ["-1"]])
  }

  @Test("a trigger that comes after a statement was compiled does not open a way to another scope")
  func triggerAfterCompiling() async throws {
    let fixture = try fixture()
    let sql = "INSERT INTO item(name) VALUES('y')"
    #expect(try await fixture.write(claims(5), sql).results[0].reason == nil)
    try await fixture.write(
      [claims(5), stock(3)], "CREATE TRIGGER reach AFTER INSERT ON item BEGIN UPDATE stock SET n = 0; END")
    #expect(try await fixture.write(claims(5), sql).results[0].reason != nil)
    #expect(try await fixture.write([claims(5), stock(3)], sql).results[0].reason == nil)
    #expect(try await fixture.write(claims(5), sql).results[0].reason != nil)
    #expect(try Raw.run(fixture.path, "SELECT count(*) FROM item") == [["3"]])
  }

  @Test("a table with a scope of its own keeps its name, which is what binds it")
  func rename() async throws {
    let fixture = try fixture()
    let outcome = try await fixture.write([claims(5), stock(3)], "ALTER TABLE stock RENAME TO other")
    #expect(outcome.results[0].reason?.contains("keeps its name") == true)
    for sql in ["ALTER TABLE stock ADD COLUMN place TEXT", "ALTER TABLE item RENAME TO thing", "DROP TABLE stock"] {
      #expect(try await fixture.write([claims(5), stock(3)], sql).results[0].reason == nil, "\(sql)")
    }
  }

  @Test("a request over several scopes passes with all its tokens, or changes nothing with one that is stale")
  func allOrNone() async throws {
    let fixture = try fixture()
    let both = [try claims(5), try stock(3)]
    let outcome = try await fixture.database.execute(
      WriteRequest(
        statements: [SQLStatement("UPDATE item SET name = 'y'"), SQLStatement("UPDATE stock SET n = 7")], claims: both))
    #expect(outcome.floors.map(\.scope) == ["orders", "warehouse"])
    #expect(outcome.results.allSatisfy { $0.reason == nil })
    try await fixture.database.raise(stock(4, "v"))
    let before = try Raw.contents(fixture.path)
    // The first token would raise its floor; with the second one stale it must not.
    let failure = await fixture.failure([try claims(9), try stock(3)], "UPDATE item SET name = 'z'")
    #expect(failure == .refused(.stale(seen: try stock(4, "v").floor, presented: try stock(3))))
    #expect(try Raw.contents(fixture.path) == before)
    #expect(
      await fixture.failure([try claims(9), try claims(10)], "SELECT 1") == .ambiguousClaims(scope: "orders"))
    let foreign = try claims(9, scope: "elsewhere")
    #expect(
      await fixture.failure([try claims(9), foreign], "SELECT 1")
        == .refused(.wrongScope(bound: "orders", presented: foreign)))
    #expect(try Raw.contents(fixture.path) == before)
  }

  @Test("a token of another file's scope refuses the whole request: files do not commit together")
  func otherFile() async throws {
    let fixture = try Fixture()
    try await fixture.write(claims(5), "INSERT INTO item(name) VALUES('x')")
    let other = try claims(9, scope: "invoices")
    let failure = await fixture.failure([try claims(6), other], "DELETE FROM item")
    #expect(failure == .refused(.wrongScope(bound: "orders", presented: other)))
    #expect(try fixture.names() == ["x"])
    #expect(try await fixture.database.floor() == claims(5).floor)
  }

  @Test("a fenced read over several scopes is refused when one of them is stale")
  func reads() async throws {
    let fixture = try fixture()
    let read = ReadRequest(
      statements: [SQLStatement("SELECT n FROM stock")], claims: [try claims(5), try stock(3)])
    #expect(try await fixture.database.query(read).floors.count == 2)
    #expect(try await fixture.database.floor(of: "warehouse") == stock(3).floor)
    try await fixture.database.raise(stock(4, "v"))
    await #expect(throws: RequestFailure.refused(.stale(seen: try stock(4, "v").floor, presented: try stock(3)))) {
      try await fixture.database.query(read)
    }
  }

  @Test("an open database leaves the tables of another scope closed to those without its token")
  func openWithBoundTables() async throws {
    let fixture = try fixture(isOpen: true)
    #expect(try await fixture.write([], "UPDATE item SET name = 'y'").results[0].reason == nil)
    #expect(try await fixture.write([], "UPDATE stock SET n = 0").results[0].reason?.contains("warehouse") == true)
    #expect(try await fixture.write([stock(3)], "UPDATE stock SET n = 8").results[0].reason == nil)
    #expect(try Raw.run(fixture.path, "SELECT n FROM stock") == [["8"]])
  }

  @Test("one scope's raise does not touch the other's")
  func independentFloors() async throws {
    let fixture = try fixture()
    try await fixture.database.raise(claims(50))
    try await fixture.database.raise(stock(3))
    #expect(try await fixture.database.floor() == claims(50).floor)
    #expect(try await fixture.database.floor(of: "warehouse") == stock(3).floor)
  }
}
