// Many requests in one commit: nobody pays for another's failure, and a raise does not wait in line.

import CSQLite
import FencingCore
import Foundation
import Gateway
import Testing

@Suite("Group commit")
struct GroupCommitTests {
  /// Holds the file's write lock past the gateway, so that what is sent meanwhile forms one group.
  private func withWritesHeld(
    _ fixture: Fixture, queued count: Int, _ send: (inout ThrowingTaskGroup<(Int, WriteOutcome?), any Error>) -> Void
  ) async throws -> [Int: WriteOutcome] {
    var database: OpaquePointer?
    #expect(sqlite3_open(fixture.path, &database) == SQLITE_OK)
    defer { sqlite3_close_v2(database) }
    #expect(sqlite3_exec(database, "BEGIN IMMEDIATE", nil, nil, nil) == SQLITE_OK)
    let held = database
    return try await withThrowingTaskGroup(of: (Int, WriteOutcome?).self) { group in
      send(&group)
      // The writer waits for the lock with whatever came first; the others queue up behind it.
      while fixture.database.status.queuedWrites < count { await Task.yield() }
      sqlite3_exec(held, "ROLLBACK", nil, nil, nil)
      var outcomes: [Int: WriteOutcome] = [:]
      for try await (index, outcome) in group { outcomes[index] = outcome }
      return outcomes
    }
  }

  private func insert(_ fixture: Fixture, _ index: Int, _ sql: String, _ claims: FenceClaims)
    -> @Sendable () async throws -> (Int, WriteOutcome?)
  {
    let database = fixture.database
    return {
      let request = WriteRequest(statements: [SQLStatement(sql)], claims: claims)
      do {
        return (index, try await database.execute(request))
      } catch RequestFailure.refused {
        return (index, nil)
      }
    }
  }

  @Test("requests that wait together are committed together")
  func grouped() async throws {
    let fixture = try Fixture()
    let token = try claims(5)
    let outcomes = try await withWritesHeld(fixture, queued: 50) { group in
      for index in 0..<50 {
        group.addTask(operation: insert(fixture, index, "INSERT INTO item(name) VALUES('\(index)')", token))
      }
    }
    #expect(outcomes.count == 50)
    #expect(Set(outcomes.values.map(\.commit)).count <= 3)
    #expect(try fixture.names().count == 50)
  }

  @Test("a statement that ends the transaction fails alone; everybody else in its group is committed")
  func rollbackIsolated() async throws {
    let fixture = try Fixture()
    let token = try claims(5)
    try await fixture.write(token, "INSERT INTO item VALUES(1000, 'taken')")
    let outcomes = try await withWritesHeld(fixture, queued: 30) { group in
      for index in 0..<30 {
        let sql =
          index % 10 == 5
          ? "INSERT OR ROLLBACK INTO item(name) VALUES('taken')" : "INSERT INTO item(name) VALUES('\(index)')"
        group.addTask(operation: insert(fixture, index, sql, token))
      }
    }
    for index in 0..<30 {
      let outcome = try #require(outcomes[index])
      #expect(outcome.isRolledBack == (index % 10 == 5))
      #expect((outcome.results[0].reason == nil) == (index % 10 != 5))
    }
    #expect(try fixture.names().count == 28)
    #expect(fixture.database.status.replays > 0)
  }

  @Test("a deferred foreign key that stays open fails its own request only")
  func deferredForeignKeys() async throws {
    let fixture = try Fixture(
      enforcesForeignKeys: true,
      schema: """
        CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT,
          parent INTEGER REFERENCES item(id) DEFERRABLE INITIALLY DEFERRED)
        """)
    let token = try claims(5)
    let outcomes = try await withWritesHeld(fixture, queued: 20) { group in
      for index in 0..<20 {
        let parent = index == 7 ? "999" : "NULL"
        group.addTask(
          operation: insert(fixture, index, "INSERT INTO item(name, parent) VALUES('\(index)', \(parent))", token))
      }
    }
    for index in 0..<20 {
      #expect(outcomes[index]?.results[0].reason == (index == 7 ? "FOREIGN KEY constraint failed" : nil))
    }
    #expect(try fixture.names().count == 19)
    // Within one request a key may stay open until its end.
    let together = try await fixture.write(
      token, "INSERT INTO item VALUES(500, 'child', 501)", "INSERT INTO item VALUES(501, 'parent', NULL)",
      transaction: true)
    #expect(!together.isRolledBack)
    let open = try await fixture.write(token, "INSERT INTO item VALUES(600, 'child', 601)", transaction: true)
    #expect(open.isRolledBack)
  }

  @Test("foreign keys are off unless asked for, as the file's SQL expects of SQLite")
  func foreignKeysDefault() async throws {
    let fixture = try Fixture(schema: "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT REFERENCES nowhere(x))")
    let outcome = try await fixture.write(claims(5), "INSERT INTO item(name) VALUES('x')")
    #expect(outcome.results[0].reason == nil)
  }

  @Test("in one group a higher number refuses the lower ones that come after it and no others")
  func orderWithinGroup() async throws {
    let fixture = try Fixture()
    let (old, new) = (try claims(5, "a"), try claims(6, "b"))
    let outcomes = try await withWritesHeld(fixture, queued: 40) { group in
      for index in 0..<40 {
        group.addTask(
          operation: insert(fixture, index, "INSERT INTO item(name) VALUES('\(index)')", index % 2 == 0 ? old : new))
      }
    }
    // Whatever the order was: rows are those of the accepted, and no old write follows a new one.
    let names = try fixture.names()
    #expect(Set(names) == Set(outcomes.keys.map(String.init)))
    let firstNew = try #require(names.firstIndex { (Int($0) ?? 0) % 2 == 1 })
    #expect(names[firstNew...].allSatisfy { (Int($0) ?? 0) % 2 == 1 })
    #expect(names.count >= 20)
  }

  @Test("without the transaction flag each statement stands alone; with it all or none")
  func statements() async throws {
    let fixture = try Fixture()
    let sql = ["INSERT INTO item VALUES(1, 'a')", "INSERT INTO item VALUES(1, 'b')", "INSERT INTO item VALUES(3, 'c')"]
    let together = try await fixture.write(claims(5), sql[0], sql[1], sql[2], transaction: true)
    #expect(together.isRolledBack)
    #expect(together.results.count == 2)
    #expect(try fixture.names().isEmpty)
    let apart = try await fixture.write(claims(5), sql[0], sql[1], sql[2])
    #expect(!apart.isRolledBack)
    #expect(apart.results.map { $0.reason == nil } == [true, false, true])
    #expect(try fixture.names() == ["a", "c"])
  }

  @Test("OR FAIL does not leave the rows behind that it inserted before it failed")
  func orFail() async throws {
    let fixture = try Fixture()
    try await fixture.write(claims(5), "INSERT INTO item VALUES(2, 'x')")
    let outcome = try await fixture.write(claims(5), "INSERT OR FAIL INTO item(id) VALUES(1), (2), (3)")
    #expect(outcome.results[0].reason != nil)
    #expect(try Raw.run(fixture.path, "SELECT id FROM item") == [["2"]])
  }

  @Test("a raise stops a long statement of the holder that it makes stale")
  func raiseInterrupts() async throws {
    var limits = EngineLimits()
    limits.writeSeconds = 3600
    let fixture = try Fixture(limits: limits)
    try await fixture.write(claims(1, "a"), "INSERT INTO item(name) VALUES('x')")
    let database = fixture.database
    let endless = SQLStatement(
      """
      UPDATE item SET name =
        (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n)
      """)
    // A raise may overtake the statement before it starts; what must be seen at least once is that it is stopped.
    var number: Int64 = 1
    while database.status.replays == 0 {
      let (old, new) = (try claims(number, "a"), try claims(number + 1, "a"))
      let running = Task { try await database.execute(WriteRequest(statements: [endless], claims: old)) }
      while database.status.queuedWrites == 0 { await Task.yield() }
      // The raise is answered although the statement would never end by itself.
      #expect(try await database.raise(new).floor == new.floor)
      await #expect(throws: RequestFailure.refused(.stale(seen: new.floor, presented: old))) {
        try await running.value
      }
      number += 1
    }
    #expect(try fixture.names() == ["x"])
  }

  @Test("a raise that comes before the commit is not overtaken by it: the commit hook refuses it")
  func raiseBeforeCommit() async throws {
    let fixture = try Fixture(schema: "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT)")
    let database = fixture.database
    // No statement here is long enough to be interrupted, so a replay can only come from a commit that was refused.
    var number: Int64 = 1
    while database.status.replays == 0 {
      let (old, new) = (try claims(number, "a"), try claims(number + 1, "a"))
      await withTaskGroup(of: Void.self) { group in
        for _ in 0..<64 {
          group.addTask {
            let request = WriteRequest(statements: [SQLStatement("INSERT INTO item(name) VALUES('x')")], claims: old)
            _ = try? await database.execute(request)
          }
        }
        group.addTask { _ = try? await database.raise(new) }
      }
      #expect(try await database.floor() == new.floor)
      number += 1
    }
    try await fixture.write(claims(number), "INSERT INTO item(name) VALUES('last')")
    #expect(try fixture.names().last == "last")
  }

  @Test("a statement that runs too long fails alone, and is not run again")
  func timeout() async throws {
    var limits = EngineLimits()
    limits.writeSeconds = 0.05
    limits.readSeconds = 0.05
    let fixture = try Fixture(limits: limits)
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    await #expect(throws: RequestFailure.timedOut(seconds: 0.05)) { try await fixture.write(claims(5), endless) }
    await #expect(throws: RequestFailure.timedOut(seconds: 0.05)) {
      try await fixture.database.query(ReadRequest(statements: [SQLStatement(endless)]))
    }
    try await fixture.write(claims(5), "INSERT INTO item(name) VALUES('x')")
    #expect(try fixture.names() == ["x"])
  }

  @Test("a file that another program has locked is reported as busy, and serves again afterwards")
  func busy() async throws {
    var limits = EngineLimits()
    limits.busyMilliseconds = 10
    let fixture = try Fixture(limits: limits)
    var other: OpaquePointer?
    #expect(sqlite3_open(fixture.path, &other) == SQLITE_OK)
    defer { sqlite3_close_v2(other) }
    #expect(sqlite3_exec(other, "BEGIN IMMEDIATE", nil, nil, nil) == SQLITE_OK)
    guard case .busy? = await fixture.refusal(try claims(5), "DELETE FROM item") else {
      Issue.record("not busy")
      return
    }
    sqlite3_exec(other, "ROLLBACK", nil, nil, nil)
    try await fixture.write(claims(5), "INSERT INTO item(name) VALUES('x')")
    #expect(try fixture.names() == ["x"])
  }

  @Test("writes beyond the queue's bound are refused at the door")
  func overload() async throws {
    var limits = EngineLimits()
    limits.queuedRequests = 0
    let fixture = try Fixture(limits: limits)
    #expect(await fixture.refusal(try claims(5), "SELECT 1") == .overloaded(queued: 0))
  }

  @Test("a raise goes before every write that waits, and says which commit it follows")
  func raiseFirst() async throws {
    var limits = EngineLimits()
    limits.writeSeconds = 3600
    let fixture = try Fixture(limits: limits)
    let database = fixture.database
    let first = try await fixture.write(claims(5), "INSERT INTO item(name) VALUES('x')")
    let (old, new) = (try claims(5), try claims(6, "b"))
    let endless =
      "UPDATE item SET name = (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT max(i) FROM n)"
    let waiting = ["DELETE FROM item", "INSERT INTO item(name) VALUES('y')", "UPDATE item SET name = 'z'"]
    let writes = ([endless] + waiting).map { sql in
      Task { try await database.execute(WriteRequest(statements: [SQLStatement(sql)], claims: old)) }
    }
    while database.status.queuedWrites < writes.count { await Task.yield() }
    #expect(try await database.raise(new).followsCommit >= first.commit)
    for write in writes {
      let result = await write.result
      guard case .failure(let error) = result else {
        Issue.record("a write that waited landed behind the raise")
        continue
      }
      #expect(error as? RequestFailure == .refused(.stale(seen: new.floor, presented: old)))
    }
    #expect(try fixture.names() == ["x"])
  }

  @Test("only the writer checkpoints: while it does not, reads leave the file as it is")
  func onlyTheWriter() async throws {
    var limits = EngineLimits()
    limits.checkpointFrames = .max
    let fixture = try Fixture(limits: limits)
    try await fixture.write(claims(5), "INSERT INTO item(name) VALUES('x')")
    let file = try Data(contentsOf: URL(fileURLWithPath: fixture.path))
    for index in 0..<40 {
      try await fixture.write(claims(5), "INSERT INTO item(name) VALUES('\(index)')")
      _ = try await fixture.database.query(ReadRequest(statements: [SQLStatement("SELECT count(*) FROM item")]))
    }
    #expect(try Data(contentsOf: URL(fileURLWithPath: fixture.path)) == file)
    #expect(fixture.database.status.walFrames >= 40 && fixture.database.status.checkpoints == 0)
  }

  @Test("the writer checkpoints its log, so that it does not grow with every commit")
  func checkpoints() async throws {
    var limits = EngineLimits()
    limits.checkpointFrames = 20
    let fixture = try Fixture(limits: limits)
    for index in 0..<60 {
      try await fixture.write(claims(5), "INSERT INTO item(name) VALUES('\(index)')")
    }
    await fixture.database.close()
    #expect(fixture.database.status.checkpoints > 0)
    #expect(!FileManager.default.fileExists(atPath: fixture.path + "-wal"))
    #expect(try fixture.names().count == 60)
  }
}
