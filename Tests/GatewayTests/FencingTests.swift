// The fence at work in the engine: who passes, who is refused, and that a refusal changes nothing.

import FencingCore
import Foundation
import Gateway
import Testing

@Suite("Fencing")
struct FencingTests {
  @Test("a write commits together with its floor")
  func writeAndFloor() async throws {
    let fixture = try Fixture()
    let outcome = try await fixture.write(claims(5), "INSERT INTO item(name) VALUES('x')")
    #expect(outcome.results[0].result?.rowsAffected == 1)
    #expect(outcome.results[0].result?.lastInsertID == 1)
    #expect(outcome.floor == (try claims(5).floor))
    #expect(
      try Raw.run(fixture.path, "SELECT scope, cluster, incarnation, number, holder FROM _fence")
        == [["orders", "0000000000000007", "1", "5", "a"]])
    #expect(try await fixture.database.floor() == claims(5).floor)
    #expect(try fixture.names() == ["x"])
  }

  @Test("after a higher number has written, the lower one is refused and nothing changes")
  func stale() async throws {
    let fixture = try Fixture()
    try await fixture.write(claims(5, "a"), "INSERT INTO item(name) VALUES('a')")
    try await fixture.write(claims(6, "b"), "INSERT INTO item(name) VALUES('b')")
    let before = try Raw.contents(fixture.path)
    let refusal = await fixture.refusal(try claims(5, "a"), "INSERT INTO item(name) VALUES('late')")
    #expect(refusal == .refused(.stale(seen: try claims(6, "b").floor, presented: try claims(5, "a"))))
    #expect(try Raw.contents(fixture.path) == before)
  }

  @Test("a raise alone refuses the old writer, before the new one has written anything")
  func raise() async throws {
    let fixture = try Fixture()
    let first = try await fixture.write(claims(5, "a"), "INSERT INTO item(name) VALUES('a')")
    let receipt = try await fixture.database.raise(claims(6, "b"))
    #expect(receipt.floor == (try claims(6, "b").floor))
    #expect(receipt.followsCommit == first.commit)
    let refusal = await fixture.refusal(try claims(5, "a"), "INSERT INTO item(name) VALUES('late')")
    #expect(refusal == .refused(.stale(seen: try claims(6, "b").floor, presented: try claims(5, "a"))))
    #expect(try fixture.names() == ["a"])
  }

  @Test("a raise may be repeated by its holder and is refused to everybody below it")
  func raiseRules() async throws {
    let fixture = try Fixture()
    try await fixture.database.raise(claims(6, "b"))
    #expect(try await fixture.database.raise(claims(6, "b")).floor == claims(6, "b").floor)
    let before = try Raw.contents(fixture.path)
    for presented in [try claims(5, "a"), try claims(6, "a"), try claims(9, scope: "other"), try claims(9, cluster: 8)]
    {
      await #expect(throws: RequestFailure.self) { try await fixture.database.raise(presented) }
    }
    #expect(try Raw.contents(fixture.path) == before)
  }

  @Test("no token, wrong scope, other holder, other cluster and lower incarnation change nothing")
  func refusals() async throws {
    let fixture = try Fixture()
    let seen = try claims(5, "a", incarnation: 2)
    try await fixture.write(seen, "INSERT INTO item(name) VALUES('a')")
    let before = try Raw.contents(fixture.path)
    let sql = "DELETE FROM item"
    let (scope, holder) = (try claims(9, scope: "other"), try claims(5, "b", incarnation: 2))
    let (cluster, incarnation) = (try claims(9, incarnation: 9, cluster: 8), try claims(9, incarnation: 1))
    #expect(await fixture.refusal(nil, sql) == .tokenRequired(scope: "orders"))
    #expect(await fixture.refusal(scope, sql) == .refused(.wrongScope(bound: "orders", presented: scope)))
    #expect(await fixture.refusal(holder, sql) == .refused(.otherHolder(seen: seen.floor, presented: holder)))
    #expect(await fixture.refusal(cluster, sql) == .refused(.otherCluster(seen: seen.floor, presented: cluster)))
    #expect(
      await fixture.refusal(incarnation, sql) == .refused(.lowerIncarnation(seen: seen.floor, presented: incarnation)))
    #expect(try Raw.contents(fixture.path) == before)
  }

  @Test("a higher incarnation takes over with a lower number")
  func incarnation() async throws {
    let fixture = try Fixture()
    try await fixture.write(claims(Int64.max, "a"), "INSERT INTO item(name) VALUES('a')")
    try await fixture.write(claims(1, "b", incarnation: 2), "INSERT INTO item(name) VALUES('b')")
    #expect(await fixture.refusal(try claims(Int64.max, "a"), "DELETE FROM item") != nil)
    #expect(try fixture.names() == ["a", "b"])
  }

  @Test("an adopted cluster takes over, the adoption is recorded, and the old one is refused")
  func adoption() async throws {
    let folder: Folder
    do {
      let fixture = try Fixture()
      folder = fixture.folder
      try await fixture.write(claims(50, "a"), "INSERT INTO item(name) VALUES('a')")
      await fixture.database.close()
    }
    let fixture = try Fixture(adoptedCluster: 8, folder: folder)
    try await fixture.write(claims(2, "b", cluster: 8), "INSERT INTO item(name) VALUES('b')")
    #expect(await fixture.refusal(try claims(51, "a"), "DELETE FROM item") != nil)
    let record = try Raw.run(
      fixture.path, "SELECT scope, from_cluster, from_number, to_cluster, to_number FROM _fence_adoption")
    #expect(record == [["orders", "0000000000000007", "50", "0000000000000008", "2"]])
  }

  @Test("an SQL error keeps the floor, which the valid token has raised, and changes no data")
  func sqlErrorKeepsFloor() async throws {
    let fixture = try Fixture()
    let outcome = try await fixture.write(claims(5), "INSERT INTO nowhere VALUES(1)")
    #expect(outcome.results[0].reason == "no such table: nowhere")
    #expect(try await fixture.database.floor() == claims(5).floor)
    #expect(try fixture.names().isEmpty)
  }

  @Test("a fenced read is refused when stale; a plain read is not")
  func fencedRead() async throws {
    let fixture = try Fixture()
    try await fixture.write(claims(5, "a"), "INSERT INTO item(name) VALUES('a')")
    let statements = [SQLStatement("SELECT name FROM item")]
    let read = try await fixture.database.query(ReadRequest(statements: statements, claims: claims(5, "a")))
    #expect(read.results[0].result?.rows == [[.text("a")]])
    #expect(read.floor == (try claims(5, "a").floor))
    try await fixture.database.raise(claims(6, "b"))
    await #expect(throws: RequestFailure.refused(.stale(seen: try claims(6, "b").floor, presented: try claims(5, "a"))))
    {
      try await fixture.database.query(ReadRequest(statements: statements, claims: claims(5, "a")))
    }
    let plain = try await fixture.database.query(ReadRequest(statements: statements))
    #expect(plain.results[0].result?.rows == [[.text("a")]])
    #expect(plain.floor == nil)
  }

  @Test("a fenced read above the floor raises it first, so that no older write can follow what was read")
  func readRaises() async throws {
    let fixture = try Fixture()
    try await fixture.write(claims(5, "a"), "INSERT INTO item(name) VALUES('a')")
    let statements = [SQLStatement("SELECT count(*) FROM item")]
    let read = try await fixture.database.query(ReadRequest(statements: statements, claims: claims(6, "b")))
    #expect(read.results[0].result?.rows == [[.integer(1)]])
    #expect(await fixture.refusal(try claims(5, "a"), "DELETE FROM item") != nil)
  }

  @Test("an open database takes writes without a token, and still checks one that is there")
  func open() async throws {
    let fixture = try Fixture(isOpen: true)
    try await fixture.write(nil, "INSERT INTO item(name) VALUES('x')")
    #expect(
      try Raw.run(fixture.path, "SELECT count(*) FROM sqlite_schema WHERE name LIKE '\\_fence%' ESCAPE '\\'") == [["0"]]
    )
    #expect(try await fixture.database.floor() == nil)
    try await fixture.write(claims(6, "b"), "INSERT INTO item(name) VALUES('y')")
    #expect(await fixture.refusal(try claims(5, "a"), "DELETE FROM item") != nil)
    try await fixture.write(nil, "INSERT INTO item(name) VALUES('z')")
    #expect(try fixture.names() == ["x", "y", "z"])
  }

  @Test("what was acknowledged is there after an end without a close: floor and data alike")
  func uncleanEnd() async throws {
    let fixture = try Fixture()
    try await fixture.write(claims(5, "a"), "INSERT INTO item(name) VALUES('a')")
    try await fixture.write(claims(6, "b"), "INSERT INTO item(name) VALUES('b')")
    // The file and its log as a killed process leaves them; the index beside them is rebuilt.
    let copy = try Folder()
    for suffix in ["", "-wal", "-gateway.floors"] {
      try FileManager.default.copyItem(atPath: fixture.path + suffix, toPath: copy.file("orders.db") + suffix)
    }
    let reopened = try Fixture(folder: copy)
    #expect(try await reopened.database.floor() == claims(6, "b").floor)
    #expect(await reopened.refusal(try claims(5, "a"), "DELETE FROM item") != nil)
    #expect(try reopened.names() == ["a", "b"])
  }
}
