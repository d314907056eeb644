// Putting a file under protection, and refusing to.

import FencingCore
import Foundation
import Gateway
import Testing

@Suite("Protection")
struct ProtectionTests {
  private func open(_ path: String, isOpen: Bool = false) throws(OpenError) -> FencedDatabase {
    try FencedDatabase(DatabaseDeclaration(name: "orders", path: path, isOpen: isOpen), logger: quietLogger)
  }

  private static let userSchema =
    "SELECT rowid, type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE '%\\_fence%' ESCAPE '\\' ORDER BY rowid"

  @Test(
    "an existing file is protected without a change to its own schema or data",
    arguments: ["DELETE", "WAL", "PERSIST", "TRUNCATE"])
  func existing(journalMode: String) async throws {
    let folder = try Folder()
    let path = folder.file("orders.db")
    try Raw.run(
      path,
      """
      PRAGMA journal_mode = \(journalMode); PRAGMA user_version = 12; PRAGMA application_id = 99;
      CREATE TABLE item(id INTEGER PRIMARY KEY,   name TEXT); INSERT INTO item(name) VALUES('x'), ('y');
      CREATE INDEX by_name ON item(name); CREATE VIEW v AS SELECT name FROM item;
      CREATE TRIGGER t AFTER DELETE ON item BEGIN SELECT 1; END
      """)
    let schema = try Raw.run(path, Self.userSchema)
    let data = try Raw.run(path, "SELECT * FROM item")
    let database = try open(path)
    #expect(try Raw.run(path, Self.userSchema) == schema)
    #expect(try Raw.run(path, "SELECT * FROM item") == data)
    #expect(try Raw.run(path, "PRAGMA user_version") + Raw.run(path, "PRAGMA application_id") == [["12"], ["99"]])
    #expect(try Raw.run(path, "PRAGMA journal_mode") == [["wal"]])
    #expect(
      try Raw.run(path, "SELECT name FROM sqlite_schema WHERE name LIKE '\\_fence%' ESCAPE '\\' ORDER BY 1") == [
        ["_fence"], ["_fence_adoption"], ["_fence_format"], ["_fence_identity"], ["_fence_request"],
        ["_fence_request_answers"], ["_fence_request_key"],
      ])
    await database.close()
    #expect(try Raw.run(path, Self.userSchema) == schema)
  }

  @Test("a second gateway on the same file is refused with a clear text, until the first is gone")
  func secondGateway() async throws {
    let folder = try Folder()
    let path = folder.file("orders.db")
    let first = try open(path)
    try FileManager.default.createSymbolicLink(atPath: folder.file("alias.db"), withDestinationPath: path)
    for name in [path, folder.file("alias.db"), folder.file("./orders.db")] {
      do {
        _ = try open(name)
        Issue.record("two gateways on one file")
      } catch {
        #expect(
          error.description.contains("served by another gateway (process \(ProcessInfo.processInfo.processIdentifier))")
        )
      }
    }
    await first.close()
    await first.close()
    let second = try open(path)
    await second.close()
  }

  @Test("after close no request is taken, and those before it are answered")
  func close() async throws {
    let fixture = try Fixture()
    try await fixture.write(claims(5), "INSERT INTO item(name) VALUES('x')")
    await fixture.database.close()
    #expect(await fixture.refusal(try claims(5), "DELETE FROM item") == .closed)
    await #expect(throws: RequestFailure.closed) { try await fixture.database.floor() }
    await #expect(throws: RequestFailure.closed) { try await fixture.database.raise(claims(6)) }
    #expect(try fixture.names() == ["x"])
  }

  @Test("a file that is no database is refused and left as it is")
  func notADatabase() throws {
    let folder = try Folder()
    let path = folder.file("notes.txt")
    let text = String(repeating: "these are notes, not pages. ", count: 100)
    try text.write(toFile: path, atomically: true, encoding: .utf8)
    #expect(throws: OpenError.notADatabase(path: path)) { try open(path) }
    #expect(try String(contentsOfFile: path, encoding: .utf8) == text)
  }

  @Test("a directory that is missing is named")
  func missingDirectory() throws {
    let path = try Folder().file("nowhere/orders.db")
    #expect(throws: OpenError.directoryMissing(path: path)) { try open(path) }
    #expect(OpenError.directoryMissing(path: path).description.contains(path))
  }

  @Test("a directory in the file's place, and hard links, are refused")
  func oddFiles() throws {
    let folder = try Folder()
    #expect(throws: OpenError.self) { try open(folder.path) }
    #expect(throws: OpenError.self) { try open(folder.path + "/") }
    let path = folder.file("orders.db")
    try Raw.run(path, "CREATE TABLE t(a)")
    try FileManager.default.linkItem(atPath: path, toPath: folder.file("other.db"))
    #expect(throws: OpenError.severalLinks(path: path, count: 2)) { try open(path) }
  }

  @Test(
    "a table of the user's that has a reserved name is refused, and the file is left as it is",
    arguments: ["_fence", "_Fence_log"])
  func foreignTable(name: String) throws {
    let folder = try Folder()
    let path = folder.file("orders.db")
    try Raw.run(path, "CREATE TABLE \(name)(a)")
    let before = try Data(contentsOf: URL(fileURLWithPath: path))
    #expect(throws: OpenError.foreignFenceTable(path: path)) { try open(path) }
    #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == before)
  }

  @Test("a file of a newer format is refused with both formats named, also by the commands, and left as it is")
  func newerFormat() async throws {
    let fixture = try Fixture()
    try await fixture.write(claims(5), "INSERT INTO item(name) VALUES('x')")
    await fixture.database.close()
    try Raw.run(fixture.path, "UPDATE _fence_format SET version = 2; ALTER TABLE _fence ADD COLUMN new_in_2 TEXT")
    let before = try Raw.contents(fixture.path)
    let refusal = OpenError.newerFormat(path: fixture.path, format: 2, known: 1)
    #expect(refusal.description.contains("format 2, and this program knows formats up to 1"))
    #expect(throws: refusal) { try open(fixture.path) }
    #expect(throws: FileChangeError.open(refusal)) { try FileChanges.release(fixture.path) }
    #expect(throws: FileChangeError.open(refusal)) { try FileChanges.unguard(fixture.path) }
    #expect(try Raw.contents(fixture.path) == before)
  }

  @Test("a file without a format is one of before there were formats: it gets this one, and keeps its floors")
  func earlierFormat() async throws {
    let first = try Fixture()
    try await first.write(claims(5), "INSERT INTO item(name) VALUES('x')")
    await first.database.close()
    try Raw.run(first.path, "DROP TABLE _fence_format")
    let second = try Fixture(folder: first.folder)
    #expect(try Raw.run(first.path, "SELECT version FROM _fence_format") == [["1"]])
    #expect(try await second.database.floor() == claims(5).floor)
    #expect(second.database.status.closedScopes.isEmpty)
  }

  @Test("a file that another program keeps open in another journal mode is refused with the reason")
  func cannotSwitch() throws {
    let folder = try Folder()
    let path = folder.file("orders.db")
    try Raw.run(path, "CREATE TABLE t(a)")
    let other = try RawConnection(path)
    try other.run("BEGIN")
    try other.run("SELECT * FROM t")
    var limits = EngineLimits()
    limits.busyMilliseconds = 10
    do {
      _ = try FencedDatabase(DatabaseDeclaration(name: "orders", path: path), limits: limits, logger: quietLogger)
      Issue.record("switched under a reader's feet")
    } catch {
      #expect(error.description.contains("cannot be switched to write-ahead logging: database is locked"))
    }
    try other.run("COMMIT")
    let database = try open(path)
    withExtendedLifetime(database) {}
  }

  @Test(
    "a new file is created, and its path is never taken for a URI or for memory",
    arguments: ["orders.db", "file:orders.db?mode=memory", ":memory:"])
  func newFile(name: String) async throws {
    let folder = try Folder()
    let database = try open(folder.file(name))
    _ = try await database.execute(
      WriteRequest(statements: [SQLStatement("CREATE TABLE t(a)")], claims: claims(1)))
    await database.close()
    #expect(FileManager.default.fileExists(atPath: folder.file(name)))
  }

  @Test("a damaged fence row stops every write: no floor is not a low floor")
  func damagedRow() async throws {
    let fixture = try Fixture()
    try await fixture.write(claims(5), "INSERT INTO item(name) VALUES('x')")
    try Raw.run(fixture.path, "UPDATE _fence SET cluster = 'not a cluster id'")
    guard case .halted? = await fixture.refusal(try claims(9), "DELETE FROM item") else {
      Issue.record("a write passed a damaged fence row")
      return
    }
    #expect(try fixture.names() == ["x"])
    #expect(fixture.database.status.haltReason != nil)
  }

  @Test("parameters of every kind come back as they went in, integers exactly")
  func values() async throws {
    let fixture = try Fixture(schema: "CREATE TABLE item(a, b, c, d, e)")
    let values: [SQLValue] = [.integer(.min), .real(0.1), .text("gr\u{fc}\u{df}\u{0}!"), .blob([0, 255, 1]), .null]
    _ = try await fixture.database.execute(
      WriteRequest(
        statements: [
          SQLStatement("INSERT INTO item VALUES(?, ?, ?, ?, ?)", .positional(values)),
          SQLStatement(
            "INSERT INTO item VALUES(:a, @b, $c, :d, :a)",
            .named(["a": .integer(.max), "b": .real(-1e300), "c": .text(""), "d": .blob([])])),
        ], claims: claims(1)))
    let read = try await fixture.database.query(ReadRequest(statements: [SQLStatement("SELECT * FROM item")]))
    #expect(
      read.results[0].result?.rows
        == [values, [.integer(.max), .real(-1e300), .text(""), .blob([]), .integer(.max)]])
  }

  @Test("parameters that do not fit the statement are an error")
  func parameters() async throws {
    let fixture = try Fixture()
    for statement in [
      SQLStatement("SELECT ?", .positional([])), SQLStatement("SELECT ?", .positional([.null, .null])),
      SQLStatement("SELECT :a", .named(["b": .null])), SQLStatement("SELECT :a", .named(["a": .null, "b": .null])),
      SQLStatement("SELECT ?", .named(["a": .null])),
    ] {
      let read = try await fixture.database.query(ReadRequest(statements: [statement]))
      #expect(read.results[0].reason != nil, "\(statement)")
    }
  }

  @Test("a result beyond the bound is refused instead of filling the memory")
  func resultBound() async throws {
    var limits = EngineLimits()
    limits.resultBytes = 10_000
    let fixture = try Fixture(limits: limits)
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    let read = try await fixture.database.query(ReadRequest(statements: [SQLStatement(sql)]))
    #expect(read.results[0].reason?.contains("larger than the gateway allows") == true)
  }
}
