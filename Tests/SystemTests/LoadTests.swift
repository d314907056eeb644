// Loading into a protected database: SQLite files and dumps, with the real executable, and its end in the middle.

import Foundation
import Glibc
import Testing

@Suite("Loading", .serialized, .timeLimit(.minutes(5)), .enabled(if: Clients.sqlite3 != nil && Curl.isThere))
struct LoadTests {
  private static func sqlite(_ file: String, _ sql: String) async throws -> String {
    let outcome = try await Program.run([file, sql], executable: try #require(Clients.sqlite3))
    try #require(outcome.exitCode == 0, "\(sql): \(outcome.errors)")
    return outcome.output
  }

  private static let numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT 20000)"

  /// Under a grant of `scope`, whose token the script finds in $PORTCULLIS_TOKEN.
  private func under(_ scope: String, _ serving: Serving, _ script: String) async throws -> Program.Outcome {
    try await Program.run(
      ["acquire", scope, "--", "sh", "-c", script],
      environment: serving.environment.merging(["DB": "http://\(serving.gateway)/db/notes"]) { $1 })
  }

  private static let load = "curl -sS -H \"Fencing-Token: $PORTCULLIS_TOKEN\" $DB/load --data-binary @"

  @Test("a file takes the place of everything but floors, identity and kept answers, and needs the current token")
  func file() async throws {
    let directory = try ScratchDirectory()
    let serving = try await Serving.start(directory("data"), databases: ["notes": directory("notes.db")])
    let first = try await under(
      "notes", serving,
      "curl -sS -H \"Fencing-Token: $PORTCULLIS_TOKEN\" -H 'Idempotency-Key: k1' $DB/execute"
        + " -d '[\"CREATE TABLE old(a)\",\"INSERT INTO old VALUES(1)\"]'; echo $PORTCULLIS_TOKEN > '\(directory("token"))'"
    )
    #expect(first.output.contains("\"rows_affected\":1"), "\(first)")
    let old = try String(contentsOfFile: directory("token"), encoding: .utf8).trimmingCharacters(in: .newlines)
    let earlier = try await Curl.run(["http://\(serving.gateway)/db/notes/backup", "-o", directory("earlier.db")])
    #expect(earlier.status == 200)

    // Another size of pages, FTS5, a view, a trigger, and the mode of a log that is not there.
    _ = try await Self.sqlite(
      directory("new.db"),
      "PRAGMA page_size=8192; PRAGMA journal_mode=WAL; CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT);"
        + "INSERT INTO item(name) VALUES('x'),('y;z'); CREATE VIEW v AS SELECT name FROM item;"
        + "CREATE VIRTUAL TABLE f USING fts5(body); INSERT INTO f VALUES('hello world');"
        + "CREATE TRIGGER t AFTER INSERT ON item BEGIN INSERT INTO f VALUES(new.name); END;")
    let before = try await Curl.run(["http://\(serving.gateway)/db/notes/fence"]).body
    let refused = try await Curl.run(
      ["http://\(serving.gateway)/db/notes/load", "--data-binary", "@\(directory("new.db"))"])
    #expect(refused.status == 401 && refused.problem == "token-required", "\(refused)")

    let loaded = try await under("notes", serving, Self.load + directory("new.db"))
    #expect(loaded.output.contains("\"loaded\":\"file\"") && loaded.output.contains("\"fence\""), "\(loaded)")
    let rows = try await Curl.run(
      [
        "http://\(serving.gateway)/db/notes/query?q=SELECT+count(*)+FROM+v&q=SELECT+*+FROM+f('hello')&q=SELECT+*+FROM+old"
      ])
    #expect(rows.body.contains("[[2]]") && rows.body.contains("hello world"), "\(rows)")
    #expect(rows.body.contains("no such table: old"), "\(rows)")
    let kept = try await Curl.run(["http://\(serving.gateway)/db/notes/requests/k1"])
    #expect(kept.status == 200 && kept.body.contains("\"rows_affected\":1"), "\(kept)")

    // A backup that is older than the floor brings its data back, and no floor.
    let after = try await Curl.run(["http://\(serving.gateway)/db/notes/fence"]).body
    #expect(after != before)
    let back = try await under("notes", serving, Self.load + directory("earlier.db"))
    #expect(back.output.contains("\"loaded\":\"file\""), "\(back)")
    #expect(try await Curl.run(["http://\(serving.gateway)/db/notes/query?q=SELECT+a+FROM+old"]).body.contains("[[1]]"))
    let stale = try await Curl.run(
      [
        "http://\(serving.gateway)/db/notes/load", "-H", "Fencing-Token: \(old)", "--data-binary",
        "@\(directory("new.db"))",
      ])
    #expect(stale.status == 409 && stale.problem == "stale-token", "\(stale)")
    await serving.stop()
    let identity = "SELECT count(DISTINCT identity), (SELECT count(*) FROM _fence) FROM _fence_identity"
    #expect(try await Self.sqlite(directory("notes.db"), identity) == "1|1\n")
    #expect(try await Self.sqlite(directory("notes.db"), "PRAGMA journal_mode; PRAGMA integrity_check") == "wal\nok\n")
    // It is the same database to whoever looks after its floors.
    let again = try await Serving.start(directory("data"), databases: ["notes": directory("notes.db")])
    #expect(try await Curl.run(["http://\(again.gateway)/status"]).body.contains("\"closed_scopes\":[]"))
    await again.stop()
  }

  @Test("a dump is run as one transaction: as a whole, or with the number of the statement that failed")
  func dump() async throws {
    let directory = try ScratchDirectory()
    let serving = try await Serving.start(directory("data"), databases: ["notes": directory("notes.db")])
    _ = try await under(
      "notes", serving,
      "curl -sS -H \"Fencing-Token: $PORTCULLIS_TOKEN\" $DB/execute -d '[\"CREATE TABLE kept(a)\"]'")
    // Everything that a cut in the wrong place would break, and what a database under protection has of its own.
    _ = try await Self.sqlite(
      directory("tricky.db"),
      """
      CREATE TABLE "semi;colon"(a TEXT DEFAULT ';' /* ; */, "b;" -- ;
      ); INSERT INTO "semi;colon" VALUES('it''s; END;', 'x
      ;y'); CREATE TABLE log(a); CREATE INDEX [i;] ON log(a);
      CREATE TRIGGER t AFTER INSERT ON log BEGIN INSERT INTO "semi;colon" SELECT CASE WHEN 1 THEN 'a;' ELSE 'b' END, ';';
        DELETE FROM log WHERE a = 'END;'; END;
      CREATE TABLE counted(id INTEGER PRIMARY KEY AUTOINCREMENT, v BLOB); INSERT INTO counted(v) VALUES(x'003b00');
      CREATE TABLE _fence(scope TEXT, cluster TEXT); INSERT INTO _fence VALUES('notes', ';');
      """)
    let dump = try await Self.sqlite(directory("tricky.db"), ".dump")
    try Data(dump.utf8).write(to: URL(fileURLWithPath: directory("dump.sql")))
    let loaded = try await under("notes", serving, Self.load + directory("dump.sql"))
    #expect(loaded.output.contains("\"loaded\":\"sql\""), "\(loaded)")
    let twice = try await under("notes", serving, Self.load + directory("dump.sql"))
    #expect(twice.output.contains("already exists") && twice.output.contains("Statement 5"), "\(twice)")
    let broken = dump.replacingOccurrences(of: "COMMIT;", with: "CREATE TABLE more(a); ATTACH 'x' AS y; COMMIT;")
    try Data(("DROP TABLE log;" + broken).utf8).write(to: URL(fileURLWithPath: directory("broken.sql")))
    let refused = try await under("notes", serving, Self.load + directory("broken.sql"))
    #expect(refused.output.contains("unloadable"), "\(refused)")
    await serving.stop()
    let own = "WHERE name NOT LIKE '\\_fence%' ESCAPE '\\' AND name NOT IN ('kept', 'sqlite_sequence')"
    let schema = "SELECT type, name, sql FROM sqlite_schema \(own) ORDER BY name"
    #expect(try await Self.sqlite(directory("notes.db"), schema) == Self.sqlite(directory("tricky.db"), schema))
    let data = "SELECT * FROM \"semi;colon\"; SELECT id, hex(v) FROM counted; SELECT * FROM sqlite_sequence"
    #expect(try await Self.sqlite(directory("notes.db"), data) == Self.sqlite(directory("tricky.db"), data))
    #expect(try await Self.sqlite(directory("notes.db"), "SELECT count(*) FROM _fence") == "1\n")
  }

  @Test("what cannot be loaded is refused with the reason and changes nothing")
  func refusals() async throws {
    let directory = try ScratchDirectory()
    let serving = try await Serving.start(
      directory("data"), databases: ["notes": directory("notes.db")],
      extra: ["--open", "notes", "--max-load-bytes", "2000000"])
    let url = "http://\(serving.gateway)/db/notes"
    #expect(try await Curl.run([url + "/execute", "-d", #"["CREATE TABLE t(a)"]"#]).status == 200)
    let make = "\(Self.numbers) INSERT INTO t SELECT hex(randomblob(30)) FROM n"
    _ = try await Self.sqlite(directory("good.db"), "CREATE TABLE t(a); \(make)")
    _ = try await Self.sqlite(directory("utf16.db"), "PRAGMA encoding='UTF-16le'; CREATE TABLE t(a)")
    _ = try await Self.sqlite(directory("foreign.db"), "CREATE TABLE _fence_other(a)")
    _ = try await Self.sqlite(directory("large.db"), "CREATE TABLE t(a); \(make); \(make); \(make)")
    var damaged = try Data(contentsOf: URL(fileURLWithPath: directory("good.db")))
    damaged.replaceSubrange(4096..<40_960, with: Data(repeating: 0xAA, count: 36_864))
    try damaged.write(to: URL(fileURLWithPath: directory("damaged.db")))
    try damaged.prefix(90).write(to: URL(fileURLWithPath: directory("short.db")))
    try Data("SELECT 1; COMMIT; ROLLBACK".utf8).write(to: URL(fileURLWithPath: directory("rollback.sql")))
    try Data("CREATE TABLE u(a); INSERT INTO u VALUES('".utf8).write(to: URL(fileURLWithPath: directory("open.sql")))
    for (file, status, problem, reason) in [
      ("utf16.db", 422, "unloadable", "UTF-16le"), ("foreign.db", 422, "unloadable", "_fence"),
      ("damaged.db", 422, "unloadable", "cannot be read as an SQLite database"),
      ("short.db", 422, "unloadable", "shorter than the header"), ("large.db", 413, "body-too-large", "2000000"),
      ("rollback.sql", 422, "unloadable", "Statement 3"), ("open.sql", 422, "unloadable", "Statement 2"),
    ] {
      let answer = try await Curl.run([url + "/load", "--data-binary", "@\(directory(file))"])
      #expect(answer.status == status && answer.problem == problem, "\(file): \(answer)")
      #expect(answer.body.contains(reason) && !answer.body.contains(directory.path), "\(file): \(answer)")
    }
    let chunked = try await Curl.run(
      [url + "/load", "-H", "Transfer-Encoding: chunked", "--data-binary", "@\(directory("large.db"))"])
    #expect(chunked.status == 413, "\(chunked)")
    #expect(try await Curl.run([url + "/load", "-d", ""]).status == 400)
    #expect(try await Curl.run([url + "/load", "-H", "Idempotency-Key: a", "-d", "SELECT 1"]).status == 400)
    let tables = try await Curl.run([
      url + "/query", "-d", #"["SELECT name FROM sqlite_schema","SELECT count(*) FROM t"]"#,
    ])
    #expect(tables.body.contains(#"[["t"]]"#) && tables.body.contains("[[0]]"), "\(tables)")
    #expect(try await Curl.run([url + "/load", "--data-binary", "@\(directory("good.db"))"]).status == 200)
    #expect(try await Curl.run([url + "/query?q=SELECT+count(*)+FROM+t"]).body.contains("[[20000]]"))
    #expect(!FileManager.default.fileExists(atPath: directory("notes.db-gateway.load")))
    await serving.stop()
  }

  @Test("killed at any moment of a load, the database has all of the old or all of the new, and its floor")
  func killed() async throws {
    let directory = try ScratchDirectory()
    let database = directory("notes.db")
    for name in ["a", "b"] {
      let rows = "INSERT INTO which SELECT '\(name)', hex(randomblob(300)) FROM n"
      _ = try await Self.sqlite(directory("\(name).db"), "CREATE TABLE which(name, filler); \(Self.numbers) \(rows)")
    }
    var (kept, floor) = ("", 0)
    for round in 0..<12 {
      let serving = try await Serving.start(directory("data"), databases: ["notes": database])
      let name = round % 2 == 0 ? "a" : "b"
      let holder = try RunningProgram(
        ["acquire", "notes", "--ttl", "1s", "--", "sh", "-c", "echo begun; " + Self.load + directory("\(name).db")],
        environment: serving.environment.merging(["DB": "http://\(serving.gateway)/db/notes"]) { $1 })
      try await holder.waitForOutput("begun")
      if round == 0 {
        // The first one is let through, so that there is something to go back to.
        _ = await holder.exitCode()
      } else {
        try await waitForTraces(of: database, step: round % 4)
      }
      serving.program.send(SIGKILL)
      _ = await serving.program.exitCode()
      _ = await holder.exitCode()
      await holder.waitForEndOfOutput()
      let found = try await Self.sqlite(database, "SELECT DISTINCT name FROM which").split(separator: "\n")
      #expect(found.count == 1, "round \(round): \(found)")
      #expect(try await Self.sqlite(database, "SELECT count(*) FROM which; PRAGMA integrity_check") == "20000\nok\n")
      // What was answered is there; what was not may be.
      let wasAnswered = holder.output.contains("\"loaded\"")
      #expect(String(found[0]) == name || (!wasAnswered && String(found[0]) == kept), "round \(round): \(found)")
      kept = String(found[0])
      let number = try #require(
        Int(try await Self.sqlite(database, "SELECT number FROM _fence").trimmingCharacters(in: .newlines)))
      #expect(number >= floor, "round \(round)")
      floor = number
    }
  }

  /// Waits for a moment of the load: the place is there, it is filled, the log grows, the log is full.
  private func waitForTraces(of database: String, step: Int) async throws {
    func size(_ path: String) -> Int {
      let attributes = try? FileManager.default.attributesOfItem(atPath: path)
      return attributes?[.size] as? Int ?? -1
    }
    let deadline = ContinuousClock.now + .seconds(20)
    // A load may be over before it is seen; then it is one that was not cut.
    while ContinuousClock.now < deadline {
      let (staged, log) = (size(database + "-gateway.load"), size(database + "-wal"))
      switch step {
      case 0: if staged >= 0 { return }
      case 1: if staged > 1 << 20 { return }
      case 2: if log > 1 << 20 { return }
      default: if log > 8 << 20 { return }
      }
      await Task.yield()
    }
  }
}
