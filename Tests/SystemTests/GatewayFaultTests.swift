// The gateway on a disk that is full, fails its flushes or is slow: what is acknowledged is there, what is not is whole or
// not there at all, and each answer says which.

import Conformance
import Foundation
import Glibc
import Testing

@Suite("faults at the gateway", .serialized, .timeLimit(.minutes(5)), .enabled(if: Curl.isThere, "curl is not there"))
struct GatewayFaultTests {
  /// Gives the fault to one call after another, until the fault comes too late to be met.
  private func eachCall(
    _ fault: FaultControl.Word, _ code: Int32, of gateway: FaultyGateway, _ body: (_ passes: Int) async throws -> Bool
  ) async throws -> Int {
    let faults = gateway.faults
    let isFlush = fault == .flushError
    for passes in 0..<30 {
      let given = faults[isFlush ? .flushErrors : .writeErrors]
      faults[isFlush ? .flushesToPass : .writesToPass] = passes
      faults[fault] = Int(code)
      let isDone = try await body(passes)
      faults.clear()
      let isMet = faults[isFlush ? .flushErrors : .writeErrors] > given
      if !isMet {
        #expect(isDone, "without a fault it is done")
        return passes
      }
      #expect(!isDone, "\(fault) at call \(passes) was met, and the request acknowledged")
    }
    Issue.record("thirty calls were not enough")
    return 30
  }

  @Test("a full disk, a failed write or flush at any call of a commit: no acknowledgement, no half, and nothing lost")
  func commit() async throws {
    try await FaultyGateway.with { gateway in
      let grant = try await gateway.grant("one")
      #expect(try await gateway.send("execute", grant.token, "CREATE TABLE t(n INTEGER, pad BLOB)").isDone)
      var (acknowledged, problems) = ([Int](), Set<String>())
      for (fault, code) in [(FaultControl.Word.writeError, ENOSPC), (.writeError, EIO), (.flushError, EIO)] {
        let calls = try await eachCall(fault, code, of: gateway) { passes in
          let pair = [acknowledged.count, acknowledged.count + 1]
          let sql = pair.map { "INSERT INTO t VALUES(\($0), randomblob(9000))" }
          let answer = try await gateway.send("execute?transaction", grant.token, sql[0], sql[1])
          let seen = try await gateway.numbers("SELECT n FROM t ORDER BY n")
          guard !answer.isDone else {
            acknowledged += pair
            #expect(seen == acknowledged)
            return true
          }
          let problem = answer.problem ?? "none"
          problems.insert(problem)
          #expect(seen == acknowledged, "reads go on, and see nothing of what failed")
          gateway.faults.clear()
          #expect(try await gateway.isReady() == (problem == "disk-full"), "\(answer)")
          let next = try await gateway.send("execute", grant.token, "DELETE FROM t WHERE n < 0")
          if problem == "disk-full" {
            #expect(next.isDone, "there is room again: \(next)")
          } else {
            #expect(problem == "halted" && next.status == 503 && next.problem == "halted", "\(answer) \(next)")
            try await gateway.restart()
            let found = try await gateway.numbers("SELECT n FROM t ORDER BY n")
            #expect(found == acknowledged || found == acknowledged + pair, "call \(passes): \(found)")
            acknowledged = found
          }
          #expect(try await gateway.floor() == grant.number)
          return false
        }
        #expect(calls >= (fault == .flushError ? 1 : 3), "\(fault) \(code)")
      }
      #expect(problems == ["disk-full", "halted"])
    }
  }

  @Test("a disk that fails in the middle of a statement stops the database, and the statement has done nothing")
  func statement() async throws {
    try await FaultyGateway.with { gateway in
      let grant = try await gateway.grant("one")
      #expect(try await gateway.send("execute", grant.token, "CREATE TABLE t(n INTEGER, pad BLOB)").isDone)
      // More than SQLite's cache holds, so that pages go to the log before the commit.
      let large =
        "INSERT INTO t WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c LIMIT 800) SELECT i, randomblob(9000) FROM c"
      gateway.faults[.writesToPass] = 100
      gateway.faults[.writeError] = Int(EIO)
      let answer = try await gateway.send("execute", grant.token, large)
      #expect(answer.status == 503 && answer.problem == "halted", "\(answer)")
      #expect(gateway.faults[.writeErrors] > 0)
      gateway.faults.clear()
      #expect(try await gateway.send("execute", grant.token, "INSERT INTO t VALUES(1, 1)").problem == "halted")
      try await gateway.restart()
      #expect(try await gateway.numbers("SELECT count(*) FROM t") == [0])
      #expect(try await gateway.send("execute", grant.token, large).isDone)
    }
  }

  @Test("a disk that fails at any call of a raise: the holder is not told, and no floor that was confirmed falls")
  func raising() async throws {
    try await FaultyGateway.with { gateway in
      var holder = try await gateway.grant("first")
      #expect(try await gateway.send("execute", holder.token, "CREATE TABLE t(n INTEGER)").isDone)
      for (fault, code) in [(FaultControl.Word.writeError, ENOSPC), (.flushError, EIO)] {
        let calls = try await eachCall(fault, code, of: gateway) { passes in
          let outcome = try await gateway.acquire("next", barrierMilliseconds: 150)
          if case .granted(let granted) = outcome.outcome {
            #expect(granted.barrier == .confirmed)
            holder = granted
            return true
          }
          #expect(outcome.refused.missing.count == 1 && outcome.refused.missing[0].hasPrefix("notes@"), "\(outcome)")
          #expect(try await gateway.floor() >= holder.number)
          gateway.faults.clear()
          // Where the database goes on, it does so without help.
          if try await !gateway.isReady() { try await gateway.restart() }
          #expect(try await gateway.floor() >= holder.number, "\(fault) at call \(passes)")
          let next = try await gateway.grant("next")
          let stale = try await gateway.send("execute", holder.token, "INSERT INTO t VALUES(1)")
          #expect(next.number > holder.number && stale.problem == "stale-token", "\(stale)")
          holder = next
          return false
        }
        // The log, and the copy of the floors.
        #expect(calls >= 2, "\(fault)")
      }
      await gateway.kill()
      try await gateway.restart()
      #expect(try await gateway.floor() == holder.number)
      #expect(try await gateway.numbers("SELECT count(*) FROM t") == [0])
    }
  }

  @Test("a checkpoint that fails: what it was for was acknowledged and is there; on a full disk writes go on")
  func checkpoint() async throws {
    try await FaultyGateway.with(onlyIn: "notes.db") { gateway in
      let grant = try await gateway.grant("one")
      #expect(try await gateway.send("execute", grant.token, "CREATE TABLE t(n INTEGER, pad BLOB)").isDone)
      let large =
        "INSERT INTO t WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c LIMIT 800) SELECT i, randomblob(9000) FROM c"
      let faults = gateway.faults
      faults[.writeError] = Int(ENOSPC)
      #expect(try await gateway.send("execute", grant.token, large).isDone)
      try await faults.wait(for: .writeErrors, toReach: 1)
      #expect(try await gateway.send("execute", grant.token, "INSERT INTO t VALUES(0, 0)").isDone)
      #expect(try await gateway.isReady())
      faults.clear()
      faults[.flushError] = Int(EIO)
      #expect(try await gateway.send("execute", grant.token, "INSERT INTO t VALUES(-1, 0)").isDone)
      try await faults.wait(for: .flushErrors, toReach: 1)
      while try await gateway.isReady() { try Task.checkCancellation() }
      faults.clear()
      #expect(try await gateway.send("execute", grant.token, "INSERT INTO t VALUES(-2, 0)").problem == "halted")
      try await gateway.restart()
      #expect(try await gateway.numbers("SELECT count(*) FROM t") == [802])
      #expect(try await gateway.send("execute", grant.token, "INSERT INTO t VALUES(-2, 0)").isDone)
    }
  }

  @Test("on a slow disk answers come late and are right, and a raise does not wait behind the queue")
  func slow() async throws {
    try await FaultyGateway.with { gateway in
      let first = try await gateway.grant("first")
      #expect(try await gateway.send("execute", first.token, "CREATE TABLE t(n TEXT PRIMARY KEY)").isDone)
      let faults = gateway.faults
      let delayed = faults[.flushesDelayed]
      faults[.flushDelayMicroseconds] = 200_000
      let writers = KeyedWriters(gateway.alone.address, token: first.token, count: 24, prefix: "a")
      async let ends = writers.run()
      try await faults.wait(for: .flushesDelayed, toReach: delayed + 3)
      let before = faults[.flushes]
      let second = try await gateway.grant("second")
      // The commit that runs, one more group, the raise's own and its copy's; had it waited in line, it would be many.
      #expect(faults[.flushes] - before <= 6)
      for end in await ends { #expect(end == "stale-token") }
      let endless = "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c) SELECT max(i) FROM c"
      let late = try await gateway.send("execute?db_timeout=100ms", second.token, endless)
      #expect(late.status == 503 && late.problem == "timed-out", "\(late)")
      faults.clear()
      let rows = try await writers.rows()
      #expect(rows == writers.acknowledged && rows.count >= 24, "\(rows.count)")
    }
  }
}
