// A load on a disk that fails, a raise in the middle of one, and a gateway that is killed under keyed writes. One whose core
// is gone is scenario 9.

import Conformance
import Foundation
import Glibc
import Testing

@Suite(
  "faults at the gateway, loads and ends", .serialized, .timeLimit(.minutes(5)),
  .enabled(if: Clients.sqlite3 != nil && Curl.isThere, "sqlite3 or curl is not there"))
struct GatewayLoadFaultTests {
  /// A database of one table whose rows all carry `name`.
  private func makeFile(_ path: String, _ name: String, rows: Int) async throws {
    let sql =
      "CREATE TABLE which(name, filler); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT \(rows)) "
      + "INSERT INTO which SELECT \(name), randomblob(1000) FROM n"
    let outcome = try await Program.run([path, sql], executable: try #require(Clients.sqlite3))
    try #require(outcome.exitCode == 0, "\(outcome.errors)")
  }

  @Test("a full disk or a failed flush at any place of a load: all of the old or all of the new, and the same floor")
  func load() async throws {
    try await FaultyGateway.with { gateway in
      let rows = 600
      for name in [1, 2] { try await makeFile(gateway.directory("\(name).db"), "\(name)", rows: rows) }
      let grant = try await gateway.grant("one")
      var current = 1
      func load(_ name: Int) async throws -> CurlAnswer {
        try await Curl.run(gateway.loading(gateway.directory("\(name).db"), grant.token))
      }
      #expect(try await load(1).isDone)
      for (fault, toPass, code) in [
        (FaultControl.Word.writeError, FaultControl.Word.writesToPass, ENOSPC), (.flushError, .flushesToPass, EIO),
      ] {
        // One that passes says how many calls there are.
        (gateway.faults[toPass], gateway.faults[fault]) = (1_000_000, Int(code))
        let whole = try await load(3 - current)
        #expect(whole.isDone, "\(whole)")
        current = 3 - current
        let calls = 1_000_000 - gateway.faults[toPass]
        gateway.faults.clear()
        #expect(calls > (fault == .flushError ? 0 : 50), "\(calls)")
        for passes in Set((0..<6).map { $0 * (calls - 1) / 5 }).sorted() {
          (gateway.faults[toPass], gateway.faults[fault]) = (passes, Int(code))
          let answer = try await load(3 - current)
          gateway.faults.clear()
          #expect(["disk-full", "storage", "halted", nil].contains(answer.problem), "\(answer)")
          if try await !gateway.isReady() { try await gateway.restart() }
          let found = try await gateway.numbers("SELECT DISTINCT name FROM which")
          #expect(try await gateway.numbers("SELECT count(*) FROM which") == [rows])
          let isNew = found == [3 - current]
          #expect(isNew || found == [current], "\(fault) at \(passes) of \(calls): \(found)")
          // A checkpoint comes behind the answer. What was refused for want of room is not there.
          if answer.isDone { #expect(isNew) }
          if answer.problem == "disk-full" { #expect(!isNew) }
          if isNew { current = 3 - current }
          #expect(try await gateway.floor() == grant.number)
          #expect(!FileManager.default.fileExists(atPath: gateway.database + "-gateway.load"))
        }
      }
      #expect(try await load(3 - current).isDone)
    }
  }

  @Test("a raise in the middle of a load is confirmed, and the load changes nothing or came first")
  func raiseInLoad() async throws {
    try await FaultyGateway.with { gateway in
      for name in [1, 2] { try await makeFile(gateway.directory("\(name).db"), "\(name)", rows: 15_000) }
      var grant = try await gateway.grant("holder")
      #expect(try await Curl.run(gateway.loading(gateway.directory("1.db"), grant.token)).isDone)
      var (current, overtaken) = (1, 0)
      for round in 0..<5 where overtaken == 0 {
        // The log starts over, so that its growth is the load's.
        try await gateway.restart()
        let token = grant.token
        let load = gateway.loading(gateway.directory("\(3 - current).db"), token)
        async let answer = Curl.run(load)
        let log = gateway.database + "-wal"
        func logBytes() -> Int {
          (try? FileManager.default.attributesOfItem(atPath: log))?[.size] as? Int ?? 0
        }
        while logBytes() < 1 << 20 { try Task.checkCancellation() }
        grant = try await gateway.grant("next \(round)")
        let end = try await answer
        let found = try await gateway.numbers("SELECT DISTINCT name FROM which")
        #expect(try await gateway.numbers("SELECT count(*) FROM which") == [15_000])
        if end.isDone {
          #expect(found == [3 - current])
          current = 3 - current
        } else {
          #expect(["busy", "stale-token"].contains(end.problem) && found == [current], "\(end) \(found)")
          overtaken += 1
        }
        #expect(try await gateway.floor() == grant.number)
        let late = try await Curl.run(load)
        #expect(late.problem == "stale-token", "\(late)")
      }
      #expect(overtaken > 0, "no load was overtaken")
    }
  }

  @Test(
    "killed at any moment under keyed writes: what was acknowledged is there once, and what was not can be asked again")
  func killed() async throws {
    try await FaultyGateway.with { gateway in
      let old = try await gateway.grant("old")
      let grant = try await gateway.grant("one")
      #expect(try await gateway.send("execute", grant.token, "CREATE TABLE t(n TEXT)").isDone)

      for round in 0..<3 {
        let writers = KeyedWriters(gateway.alone.address, token: grant.token, count: 8, prefix: "r\(round)")
        async let ends = writers.run()
        try await writers.wait(for: Int.random(in: 10..<200))
        await gateway.kill()
        #expect(await ends == [String](repeating: "gone", count: 8))
        try await gateway.restart()
        let (found, acknowledged) = (try await writers.rows(at: gateway.alone.address), writers.acknowledged)
        #expect(acknowledged.isSubset(of: found), "lost: \(acknowledged.subtracting(found))")
        #expect(found.isSubset(of: acknowledged.union(writers.unknown)))
        try await writers.repeatUnknown(at: gateway.alone.address)
        #expect(try await writers.rows(at: gateway.alone.address) == writers.acknowledged)
        #expect(try await gateway.floor() == grant.number)
        let stale = try await gateway.send("execute", old.token, "DELETE FROM t")
        #expect(stale.problem == "stale-token", "\(stale)")
      }
    }
  }
}
