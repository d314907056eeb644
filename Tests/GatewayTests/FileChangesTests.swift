// Guarding a file, taking the guard off, giving a file back; and a gateway in front of a file that guards itself.

import FencingCore
import Foundation
import Gateway
import Testing
import Tokens

@Suite("Changes to a file")
struct FileChangesTests {
  private func open(_ path: String, isOpen: Bool = false, tableScopes: [TableScope] = []) throws -> FencedDatabase {
    try FencedDatabase(
      DatabaseDeclaration(name: "orders", path: path, tableScopes: tableScopes, isOpen: isOpen), logger: quietLogger)
  }

  private func write(
    _ database: FencedDatabase, _ claims: FenceClaims?, _ sql: String
  ) async throws -> StatementOutcome? {
    try await database.execute(WriteRequest(statements: [SQLStatement(sql)], claims: claims)).results.first
  }

  @Test("unguard restores the schema byte for byte", arguments: ["delete", "wal"])
  func unguard(mode: String) throws {
    let folder = try Folder()
    let path = folder.file("orders.db")
    try Raw.run(path, "PRAGMA journal_mode = \(mode);" + GuardedFile.schema)
    let (schema, contents) = (try Raw.run(path, GuardedFile.everything), try Raw.contents(path))
    let key = SigningKey()
    let report = try FileChanges.guardFile(path, scope: "orders", keys: KeySet([key.publicKey]))
    #expect(!report.wasGuarded && report.kids == [key.kid])
    #expect(try Raw.run(path, GuardedFile.everything) != schema)
    let again = try FileChanges.guardFile(path, scope: "orders", keys: KeySet([SigningKey().publicKey]))
    #expect(again.wasGuarded && again.tables == report.tables && again.kids != report.kids)
    #expect(try !FileChanges.unguard(path).keepsFloors)
    #expect(try Raw.run(path, GuardedFile.everything) == schema)
    #expect(try Raw.contents(path) == contents)
    #expect(try Raw.run(path, "PRAGMA journal_mode") == [[mode]])
    #expect(throws: FileChangeError.notGuarded(path: path)) { try FileChanges.unguard(path) }
  }

  @Test("release gives a file back byte for byte after a take-over, guarded or not", arguments: [false, true])
  func release(isGuarded: Bool) async throws {
    let folder = try Folder()
    let path = folder.file("orders.db")
    try Raw.run(path, GuardedFile.schema)
    let (schema, contents) = (try Raw.run(path, GuardedFile.everything), try Raw.contents(path))
    let database = try open(path)
    #expect(try await write(database, claims(5, "a"), "INSERT INTO item(name) VALUES('x')")?.reason == nil)
    #expect(try await write(database, claims(6, "b"), "DELETE FROM item WHERE name = 'x'")?.reason == nil)
    #expect(try await write(database, claims(6, "b"), "DELETE FROM log WHERE what = 'x'")?.reason == nil)
    #expect(try await write(database, claims(6, "b"), "UPDATE sqlite_sequence SET seq = 1")?.reason == nil)
    do {
      try FileChanges.release(path)
      Issue.record("a file was given back under its gateway")
    } catch {
      #expect(error.description.contains("served by another gateway (process"))
    }
    await database.close()
    if isGuarded { try FileChanges.guardFile(path, scope: "orders", keys: KeySet([SigningKey().publicKey])) }
    let report = try FileChanges.release(path)
    #expect(report.wasGuarded == isGuarded && report.journalMode == "wal" && report.removedCopy)
    #expect(report.floors == [ScopeFloor(scope: "orders", floor: try claims(6, "b").floor)])
    #expect(try Raw.run(path, GuardedFile.everything) == schema)
    #expect(try Raw.contents(path) == contents)
    #expect(try Raw.run(path, "PRAGMA integrity_check") == [["ok"]])
    #expect(try Raw.run(path, "PRAGMA journal_mode") == [["delete"]])
    for rest in ["-wal", "-shm", "-journal", "-gateway.floors"] {
      #expect(!FileManager.default.fileExists(atPath: path + rest), "\(rest) is still there")
    }
    #expect(throws: FileChangeError.notProtected(path: path)) { try FileChanges.release(path) }
  }

  @Test("release waits for nobody: a file that is open elsewhere is refused and left as it is")
  func releaseInUse() async throws {
    let folder = try Folder()
    let path = folder.file("orders.db")
    try Raw.run(path, GuardedFile.schema)
    let database = try open(path)
    _ = try await write(database, claims(5), "DELETE FROM item")
    await database.close()
    let before = try Raw.contents(path)
    let reader = try RawConnection(path)
    try reader.run("SELECT * FROM item UNION ALL SELECT 1, 2")
    #expect(throws: FileChangeError.inUse(path: path)) { try FileChanges.release(path) }
    #expect(try Raw.contents(path) == before)
    try reader.run("SELECT 1")
  }

  @Test("what is not ours, not there or no database is refused with the reason, and left as it is")
  func refusals() throws {
    let folder = try Folder()
    let keys = KeySet([SigningKey().publicKey])
    func reason(_ body: () throws -> Void) -> String {
      do {
        try body()
        return "it passed"
      } catch {
        return "\(error)"
      }
    }
    let plain = folder.file("plain.db")
    try Raw.run(plain, "CREATE TABLE t(a)")
    let before = try Raw.contents(plain)
    #expect(reason { try FileChanges.release(plain) }.contains("never under a gateway's protection"))
    #expect(reason { try FileChanges.unguard(plain) }.contains("is not guarded"))
    #expect(reason { try FileChanges.guardFile(plain, scope: "s", keys: KeySet([])) }.contains("no Ed25519 key"))
    let part = [TableScope(scope: "x", tables: ["nothing"])]
    #expect(
      reason { try FileChanges.guardFile(plain, scope: "s", tableScopes: part, keys: keys) }
        .contains("no table \"nothing\""))
    let twice = [TableScope(scope: "s", tables: ["t"])]
    #expect(reason { try FileChanges.guardFile(plain, scope: "s", tableScopes: twice, keys: keys) }.contains("twice"))
    #expect(try Raw.contents(plain) == before)
    let empty = folder.file("empty.db")
    try Raw.run(empty, "CREATE TABLE t(a); DROP TABLE t")
    #expect(reason { try FileChanges.guardFile(empty, scope: "s", keys: keys) }.contains("no table"))
    let foreign = folder.file("foreign.db")
    try Raw.run(foreign, "CREATE TABLE _fence_key(mine)")
    #expect(reason { try FileChanges.release(foreign) }.contains("not the gateway's"))
    #expect(reason { try FileChanges.guardFile(foreign, scope: "s", keys: keys) }.contains("not the gateway's"))
    #expect(reason { try FileChanges.release(folder.file("none.db")) }.contains("does not exist"))
    #expect(!FileManager.default.fileExists(atPath: folder.file("none.db")))
    try Data("no database at all, whatever its name says".utf8).write(to: URL(fileURLWithPath: folder.file("text.db")))
    #expect(
      reason { try FileChanges.guardFile(folder.file("text.db"), scope: "s", keys: keys) }.contains("not an SQLite"))
  }

  // MARK: A gateway in front

  @Test("a gateway serves a file that guards itself, and each sees the floors of the other")
  func together() async throws {
    let file = try GuardedFile()
    let direct = try file.connection(claims(5, "direct"))
    try direct.run("INSERT INTO item(name) VALUES('by hand')")
    let database = try open(file.path)
    #expect(try await database.floor() == claims(5, "direct").floor)
    for sql in FileGuardTests.writes {
      let reason = try await write(database, claims(7, "served"), sql)?.reason
      // Not all of them can be carried out one after the other.
      #expect(reason?.hasPrefix("UNIQUE constraint") ?? true, "\(sql): \(reason ?? "")")
    }
    #expect(direct.failure("INSERT INTO pair VALUES('late', 1)")?.contains("stale") == true)
    try direct.present(try file.token(claims(8, "direct")))
    try direct.run("INSERT INTO pair VALUES('raised', 1)")
    do {
      _ = try await write(database, claims(7, "served"), "DELETE FROM pair")
      Issue.record("a stale writer passed the gateway")
    } catch {
      #expect(
        error as? RequestFailure
          == .refused(.stale(seen: try claims(8, "direct").floor, presented: try claims(7, "served"))))
    }
    #expect(try await write(database, claims(8, "direct"), "ALTER TABLE pair ADD COLUMN more")?.reason == nil)
    #expect(try await write(database, claims(8, "direct"), "ALTER TABLE pair RENAME TO couple")?.reason == nil)
    #expect(direct.failure("INSERT INTO couple VALUES('k2', 1, 2)") == nil)
    #expect(
      try file.connection(loads: false).failure("DELETE FROM couple WHERE k = 'k'")?.contains("no such function")
        == true)
    for sql in ["DROP TABLE couple", "DROP TRIGGER _fence_guard_insert_item", "DELETE FROM _fence_key"] {
      #expect(try await write(database, claims(8, "direct"), sql)?.reason?.contains("fence tables") == true, "\(sql)")
    }
    await database.close()
    #expect(try FileChanges.unguard(file.path).keepsFloors, "the floors are the gateway's too")
    let later = try open(file.path)
    #expect(try await later.floor() == claims(8, "direct").floor)
    #expect(later.status.closedScopes.isEmpty)
    await later.close()
  }

  @Test("a gateway that takes a guarded file for open, or for another scope's, does not get around the guard")
  func otherDeclarations() async throws {
    let file = try GuardedFile(tableScopes: [TableScope(scope: "kids", tables: ["child"])])
    let database = try open(file.path, isOpen: true)
    let reason = try await write(database, nil, "DELETE FROM item")?.reason
    #expect(reason == "not authorized: this needs a token of the scope \"orders\"")
    #expect(
      try await write(database, claims(5), "DELETE FROM child")?.reason?.contains("the scope \"kids\"") == true)
    #expect(try await write(database, claims(5), "DELETE FROM item")?.reason == nil)
    await database.close()
    let divided = try open(file.path, tableScopes: [TableScope(scope: "kids", tables: ["child"])])
    #expect(try await write(divided, claims(1, scope: "kids"), "DELETE FROM child")?.reason == nil)
    await divided.close()
  }
}
