// Requests under an idempotency key: carried out once, answered every time.

import FencingCore
import Foundation
import Gateway
import Testing

@Suite("Exactly once")
struct ExactlyOnceTests {
  private let insert = "INSERT INTO item(name) VALUES('x') RETURNING id, name, 1.5, x'00ff', NULL"

  @Test("a repeated request is answered as the first one was, and changes nothing")
  func repeated() async throws {
    let fixture = try Fixture(schema: "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT)")
    let first = try await fixture.write([claims(5)], insert, key: "k1")
    let second = try await fixture.write([claims(5)], insert, key: "k1")
    #expect(!first.isRepeated && second.isRepeated)
    #expect(second.results == first.results)
    #expect(second.floors == first.floors && second.commit == first.commit)
    #expect(first.results[0].result?.rows == [[.integer(1), .text("x"), .real(1.5), .blob([0, 255]), .null]])
    #expect(try fixture.names() == ["x"])
    #expect(fixture.database.status.repetitions == 1)
    try await fixture.write([claims(5)], insert, key: "k2")
    #expect(try fixture.names() == ["x", "x"])
  }

  @Test("what was committed is answered as such after the scope went to somebody else")
  func beforeTheFence() async throws {
    let fixture = try Fixture()
    let first = try await fixture.write([claims(5, "a")], "INSERT INTO item(name) VALUES('a')", key: "k")
    try await fixture.database.raise(claims(6, "b"))
    let again = try await fixture.write([claims(5, "a")], "INSERT INTO item(name) VALUES('a')", key: "k")
    #expect(again.results == first.results)
    #expect(
      await fixture.failure([try claims(5, "a")], "INSERT INTO item(name) VALUES('a')", key: "other")
        == .refused(.stale(seen: try claims(6, "b").floor, presented: try claims(5, "a"))))
    // The new holder may repeat it too: it is the scope's request, not the holder's.
    #expect(try await fixture.write([claims(6, "b")], "INSERT INTO item(name) VALUES('a')", key: "k").isRepeated)
    #expect(try fixture.names() == ["a"])
  }

  @Test("another request under a key that is taken is an error, in whatever it differs")
  func mismatch() async throws {
    let fixture = try Fixture()
    func send(_ statements: [SQLStatement], _ isAllOrNothing: Bool = false) async throws -> WriteOutcome {
      try await fixture.database.execute(
        WriteRequest(
          statements: statements, claims: [claims(5)], isAllOrNothing: isAllOrNothing, idempotencyKey: "k"))
    }
    let sql = "INSERT INTO item(name) VALUES(?)"
    _ = try await send([SQLStatement(sql, .positional([.text("1")]))])
    for other in [
      [SQLStatement(sql, .positional([.integer(1)]))], [SQLStatement(sql, .positional([.text("2")]))],
      [SQLStatement(sql, .named(["1": .text("1")]))], [SQLStatement(sql + " ", .positional([.text("1")]))],
      [SQLStatement(sql, .positional([.text("1")])), SQLStatement("SELECT 1")],
    ] {
      await #expect(throws: RequestFailure.keyTaken(key: "k")) { try await send(other) }
    }
    await #expect(throws: RequestFailure.keyTaken(key: "k")) {
      try await send([SQLStatement(sql, .positional([.text("1")]))], true)
    }
    #expect(try fixture.names() == ["1"])
  }

  @Test("a request that was refused or undone leaves its key free")
  func failuresAreNotKept() async throws {
    let fixture = try Fixture()
    try await fixture.write(claims(5), "INSERT INTO item VALUES(1, 'x')")
    #expect(await fixture.failure([try claims(4)], "INSERT INTO item VALUES(2, 'y')", key: "k") != nil)
    for sql in ["INSERT INTO item VALUES(1, 'y')", "INSERT OR ROLLBACK INTO item VALUES(1, 'y')"] {
      #expect(try await fixture.write([claims(5)], sql, key: "k").isRolledBack)
    }
    #expect(try await fixture.write([claims(5)], "INSERT INTO item VALUES(2, 'y')", key: "k").isRolledBack == false)
    #expect(try fixture.names() == ["x", "y"])
  }

  @Test("many repetitions at once are carried out once")
  func concurrent() async throws {
    let fixture = try Fixture(schema: "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT)")
    let (database, token) = (fixture.database, try claims(5))
    let outcomes = try await withThrowingTaskGroup(of: WriteOutcome.self) { group in
      for index in 0..<200 {
        group.addTask {
          try await database.execute(
            WriteRequest(
              statements: [SQLStatement("INSERT INTO item(name) VALUES('\(index % 10)')")], claims: [token],
              idempotencyKey: "k\(index % 10)"))
        }
      }
      return try await group.reduce(into: [WriteOutcome]()) { $0.append($1) }
    }
    #expect(outcomes.filter { !$0.isRepeated }.count == 10)
    #expect(try fixture.names().count == 10)
  }

  @Test("a kept answer outlives the gateway, and can be asked for by its key")
  func survives() async throws {
    let fixture = try Fixture()
    let first = try await fixture.write([claims(5)], "INSERT INTO item(name) VALUES('a')", key: "k")
    await fixture.database.close()
    let reopened = try Fixture(folder: fixture.folder)
    #expect(try await reopened.database.keptAnswer(to: "k")?.results == first.results)
    #expect(try await reopened.database.keptAnswer(to: "unknown") == nil)
    #expect(try await reopened.write([claims(5)], "INSERT INTO item(name) VALUES('a')", key: "k").isRepeated)
    #expect(try reopened.names() == ["a"])
  }

  @Test("an open database keeps answers too, without any token")
  func openDatabase() async throws {
    let fixture = try Fixture(isOpen: true)
    #expect(try await fixture.database.keptAnswer(to: "k") == nil)
    try await fixture.write([], "INSERT INTO item(name) VALUES('a')", key: "k")
    #expect(try await fixture.write([], "INSERT INTO item(name) VALUES('a')", key: "k").isRepeated)
    #expect(try fixture.names() == ["a"])
  }

  @Test("answers go by number, by size and by age; a repetition after that is an error and no second execution")
  func retention() async throws {
    for change: (inout EngineLimits) -> Void in [
      { $0.keptAnswers = 5 }, { $0.keptAnswerBytes = 400 }, { $0.keptAnswerSeconds = -1 },
    ] {
      var limits = EngineLimits()
      change(&limits)
      let fixture = try Fixture(limits: limits, schema: "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT)")
      for index in 0..<20 {
        try await fixture.write([claims(5)], "INSERT INTO item(name) VALUES('\(index)')", key: "k\(index)")
      }
      let kept = try Raw.run(fixture.path, "SELECT count(*), count(answer), total(length(answer)) FROM _fence_request")
      #expect(kept[0][0] == "20")
      #expect(try #require(Int(kept[0][1])) <= 5)
      #expect(
        await fixture.failure([try claims(5)], "INSERT INTO item(name) VALUES('0')", key: "k0")
          == .answerGone(key: "k0"))
      await #expect(throws: RequestFailure.answerGone(key: "k0")) { try await fixture.database.keptAnswer(to: "k0") }
      #expect(try await fixture.write([claims(5)], "INSERT INTO item(name) VALUES('19')", key: "k19").isRepeated)
      #expect(try fixture.names().count == 20)
    }
  }

  @Test("keys whose answers went are forgotten last, so that the table does not grow for ever")
  func forgetting() async throws {
    var limits = EngineLimits()
    limits.keptAnswers = 2
    limits.rememberedKeys = 6
    let fixture = try Fixture(limits: limits, schema: "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT)")
    for index in 0..<40 {
      try await fixture.write([claims(5)], "INSERT INTO item(name) VALUES('\(index)')", key: "k\(index)")
    }
    #expect(try Raw.run(fixture.path, "SELECT count(*) FROM _fence_request") == [["6"]])
  }

  @Test("a kept answer is undone together with a group that is, and its key is free again")
  func undoneWithItsGroup() async throws {
    let fixture = try Fixture(schema: "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT UNIQUE)")
    try await fixture.write(claims(5), "INSERT INTO item(name) VALUES('taken')")
    let (database, token) = (fixture.database, try claims(5))
    let lock = try RawConnection(fixture.path)
    try lock.run("BEGIN IMMEDIATE")
    let outcomes = try await withThrowingTaskGroup(of: WriteOutcome.self) { group in
      for index in 0..<10 {
        let sql =
          index % 3 == 2
          ? "INSERT OR ROLLBACK INTO item(name) VALUES('taken')" : "INSERT INTO item(name) VALUES('\(index)')"
        group.addTask {
          try await database.execute(
            WriteRequest(statements: [SQLStatement(sql)], claims: [token], idempotencyKey: "k\(index)"))
        }
      }
      while database.status.queuedWrites < 10 { await Task.yield() }
      try lock.run("ROLLBACK")
      return try await group.reduce(into: [WriteOutcome]()) { $0.append($1) }
    }
    #expect(outcomes.filter(\.isRolledBack).count == 3)
    #expect(try Raw.run(fixture.path, "SELECT count(*) FROM _fence_request") == [["7"]])
    #expect(try fixture.names().count == 8)
  }
}
