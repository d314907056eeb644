// A file with the floors of an earlier day: closed until the core has spoken, so that no old token gets in.

import FencingCore
import Foundation
import Gateway
import Testing

@Suite("A restored file")
struct RestoredFileTests {
  /// A file whose backup knows of number 5 while its gateway has since seen 9.
  private func restored() async throws -> (fixture: Fixture, before: [[String]]) {
    let first = try Fixture()
    try await first.write(claims(5, "a"), "INSERT INTO item(name) VALUES('a')")
    await first.database.close()
    try FileManager.default.copyItem(atPath: first.path, toPath: first.path + ".backup")
    let second = try Fixture(folder: first.folder)
    try await second.write(claims(9, "b"), "INSERT INTO item(name) VALUES('b')")
    await second.database.close()
    try FileManager.default.removeItem(atPath: first.path)
    try FileManager.default.moveItem(atPath: first.path + ".backup", toPath: first.path)
    return (try Fixture(folder: first.folder), try Raw.contents(first.path))
  }

  @Test("an old backup is closed to every token, also to the highest, and open to plain reads")
  func closed() async throws {
    let (fixture, before) = try await restored()
    #expect(fixture.database.status.closedScopes == ["orders"])
    for presented in [try claims(5, "a"), try claims(9, "b"), try claims(10, "c")] {
      #expect(await fixture.refusal(presented, "DELETE FROM item") == .scopeClosed(scope: "orders"))
      await #expect(throws: RequestFailure.scopeClosed(scope: "orders")) {
        try await fixture.database.raise(presented)
      }
      await #expect(throws: RequestFailure.scopeClosed(scope: "orders")) {
        try await fixture.database.query(ReadRequest(statements: [SQLStatement("SELECT 1")], claims: presented))
      }
    }
    let plain = try await fixture.database.query(ReadRequest(statements: [SQLStatement("SELECT name FROM item")]))
    #expect(plain.results[0].result?.rows == [[.text("a")]])
    #expect(try Raw.contents(fixture.path) == before)
  }

  @Test("the core's word opens it, at what the core says")
  func seeded() async throws {
    let (fixture, _) = try await restored()
    #expect(try await fixture.database.seed(claims(12, "d")) == claims(12, "d").floor)
    #expect(fixture.database.status.closedScopes.isEmpty)
    #expect(
      await fixture.refusal(try claims(9, "b"), "DELETE FROM item")
        == .refused(.stale(seen: try claims(12, "d").floor, presented: try claims(9, "b"))))
    try await fixture.write(claims(12, "d"), "INSERT INTO item(name) VALUES('d')")
    await fixture.database.close()
    let reopened = try Fixture(folder: fixture.folder)
    #expect(reopened.database.status.closedScopes.isEmpty)
    #expect(try reopened.names() == ["a", "d"])
  }

  @Test("the core's word never opens it below what its copy knows, nor for another cluster")
  func seededLow() async throws {
    let (fixture, _) = try await restored()
    let foreign = try claims(12, "d", cluster: 8)
    await #expect(
      throws: RequestFailure.refused(.otherCluster(seen: try claims(5, "a").floor, presented: foreign))
    ) { try await fixture.database.seed(foreign) }
    #expect(try await fixture.database.seed(claims(7, "old")) == claims(9, "b").floor)
    #expect(await fixture.refusal(try claims(7, "old"), "DELETE FROM item") != nil)
    try await fixture.write(claims(9, "b"), "INSERT INTO item(name) VALUES('b')")
  }

  @Test("it stays closed over restarts until it is seeded")
  func staysClosed() async throws {
    let (fixture, _) = try await restored()
    await fixture.database.close()
    let again = try Fixture(folder: fixture.folder)
    #expect(again.database.status.closedScopes == ["orders"])
  }

  @Test("a file without its copy, another file in its place, and a copy that cannot be read are disagreements")
  func otherDisagreements() async throws {
    let copy = "-gateway.floors"
    let changes: [(Fixture) throws -> Void] = [
      { try FileManager.default.removeItem(atPath: $0.path + copy) },
      { try "not a copy".write(toFile: $0.path + copy, atomically: true, encoding: .utf8) },
      {
        try FileManager.default.removeItem(atPath: $0.path)
        try Raw.run($0.path, "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT)")
      },
      { try Raw.run($0.path, "UPDATE _fence_identity SET identity = 'another'") },
      { try Raw.run($0.path, "DELETE FROM _fence") },
    ]
    for change in changes {
      let first = try Fixture()
      try await first.write(claims(9, "b"), "INSERT INTO item(name) VALUES('b')")
      await first.database.close()
      try change(first)
      let reopened = try Fixture(folder: first.folder)
      #expect(await reopened.refusal(try claims(5, "a"), "DELETE FROM item") == .scopeClosed(scope: "orders"))
      try await reopened.database.seed(claims(9, "b"))
      #expect(await reopened.refusal(try claims(5, "a"), "DELETE FROM item") != nil)
      try await reopened.write(claims(9, "b"), "INSERT INTO item(name) VALUES('c')")
      #expect(try reopened.names().last == "c")
    }
  }

  @Test("a file that was protected by an earlier version gets what is new, and stays open")
  func earlierVersion() async throws {
    let first = try Fixture()
    try await first.write(claims(9, "b"), "INSERT INTO item(name) VALUES('b')")
    await first.database.close()
    try Raw.run(first.path, "DROP TABLE _fence_identity; DROP TABLE _fence_request")
    try FileManager.default.removeItem(atPath: first.path + "-gateway.floors")
    let reopened = try Fixture(folder: first.folder)
    #expect(reopened.database.status.closedScopes.isEmpty)
    #expect(await reopened.refusal(try claims(5, "a"), "DELETE FROM item") != nil)
    try await reopened.write([claims(9, "b")], "INSERT INTO item(name) VALUES('c')", key: "k")
  }

  @Test("an acknowledged floor is in the copy, whichever request raised it")
  func copyFollows() async throws {
    let fixture = try Fixture()
    func copied() throws -> String { try String(contentsOfFile: fixture.path + "-gateway.floors", encoding: .utf8) }
    try await fixture.database.raise(claims(3))
    #expect(try copied().contains("\"number\":3,"))
    try await fixture.write(claims(4), "INSERT INTO nowhere VALUES(1)")
    #expect(try copied().contains("\"number\":4,"))
    _ = try await fixture.database.query(ReadRequest(statements: [SQLStatement("SELECT 1")], claims: claims(5)))
    #expect(try copied().contains("\"number\":5,"))
  }

  @Test("a raise whose copy cannot be written is not acknowledged, and the database stops")
  func copyFails() async throws {
    let fixture = try Fixture()
    try await fixture.write(claims(3), "INSERT INTO item(name) VALUES('x')")
    // A directory in the place of the file that the copy is first written to.
    try FileManager.default.createDirectory(
      atPath: fixture.path + "-gateway.floors.new", withIntermediateDirectories: false)
    let raise = await #expect(throws: RequestFailure.self) { try await fixture.database.raise(claims(4)) }
    guard case .halted? = raise else {
      Issue.record("a raise was acknowledged without its copy")
      return
    }
    guard case .halted? = await fixture.refusal(try claims(3), "DELETE FROM item") else {
      Issue.record("the database still takes writes")
      return
    }
    #expect(try fixture.names() == ["x"])
  }
}
