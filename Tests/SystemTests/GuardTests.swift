// A database that guards itself, in the hands of programs that others wrote: Debian's own python3 and sqlite3.

import Foundation
import Testing

/// Debian's own: others may be built without the loading of extensions.
private let python = "/usr/bin/python3"

@Suite("guarded files", .serialized, .timeLimit(.minutes(2)))
struct GuardTests {
  private static let example = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("docs/examples/guarded.py").path
  private static let library = URL(fileURLWithPath: Program.path).deletingLastPathComponent()
    .appendingPathComponent("libportcullis_fence.so").path

  /// A core and a gateway, and a database "orders" beside them that guards itself with the core's keys.
  private func withGuarded(
    _ body: (_ file: String, Serving, (_ sql: String, _ path: String) async throws -> Program.Outcome) async throws ->
      Void
  ) async throws {
    let directory = try ScratchDirectory()
    let file = directory("orders.db")
    let sqlite = try #require(Clients.sqlite3)
    let serving = try await Serving.start(directory("data"), databases: ["other": directory("other.db")])
    func shell(_ sql: String, _ path: String) async throws -> Program.Outcome {
      try await Program.run(["-batch", path, sql], executable: sqlite)
    }
    let made = try await shell("CREATE TABLE t(a); CREATE VIRTUAL TABLE words USING fts5(body)", file)
    #expect(made.exitCode == 0, "\(made.errors)")
    let guarded = try await serving.run(["guard", file, "--output", "json"])
    #expect(guarded.exitCode == 0 && guarded.output.contains("\"scope\" : \"orders\""), "\(guarded)")
    try await body(file, serving, shell)
    await serving.stop()
  }

  /// Acquires the scope, and answers its token after it was given back.
  private func token(_ serving: Serving) async throws -> String {
    let outcome = try await serving.run(["acquire", "orders", "--", "sh", "-c", "printf %s \"$PORTCULLIS_TOKEN\""])
    return try #require(
      outcome.output.split(whereSeparator: \.isWhitespace).last { $0.hasPrefix("ey") }.map(String.init))
  }

  private func write(_ file: String, _ sql: String, _ token: String) async throws -> Program.Outcome {
    try await Program.run(
      [Self.example, file, Self.library, sql], executable: python,
      environment: ["PORTCULLIS_TOKEN": token, "PYTHONDONTWRITEBYTECODE": "1"])
  }

  @Test(
    "Debian's python3 writes under a token, and its late write is refused once a newer holder has written",
    .enabled(if: Clients.sqlite3 != nil, "sqlite3 is not there"),
    .enabled(if: FileManager.default.isExecutableFile(atPath: python), "/usr/bin/python3 is not there"))
  func writesFromPython() async throws {
    try await withGuarded { file, serving, shell in
      let (first, second) = (try await token(serving), try await token(serving))
      let early = try await write(file, "INSERT INTO t VALUES (1)", first)
      #expect(early.exitCode == 0 && early.output.contains("written"), "\(early)")
      let newer = try await write(file, "INSERT INTO words VALUES ('two')", second)
      #expect(newer.exitCode == 0, "\(newer)")
      let late = try await write(file, "INSERT INTO t VALUES (3)", first)
      #expect(late.exitCode == 1 && late.errors.contains("refused: portcullis: stale"), "\(late)")
      let rows = try await shell("SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM words)", file)
      #expect(rows.output == "1|1\n", "\(rows)")
    }
  }

  @Test(
    "Debian's sqlite3 cannot write without the extension, and can with it and a token",
    .enabled(if: Clients.sqlite3 != nil, "sqlite3 is not there"))
  func writesFromShell() async throws {
    try await withGuarded { file, serving, shell in
      for sql in ["INSERT INTO t VALUES (1)", "DELETE FROM _fence_key", "UPDATE _fence SET number = 1"] {
        let without = try await shell(sql, file)
        #expect(without.exitCode != 0 && without.errors.contains("no such function: portcullis_guard"), "\(without)")
      }
      let sqlite = try #require(Clients.sqlite3)
      let load = [".load \(Self.library)", "SELECT portcullis_present('\(try await token(serving))')"]
      let with = try await Program.run(
        ["-batch", file] + load + ["INSERT INTO t VALUES (1)", "SELECT a, number FROM t, _fence"], executable: sqlite)
      #expect(with.exitCode == 0 && with.output.contains("1|") && with.errors.isEmpty, "\(with)")
    }
  }

  @Test(
    "unguard and release-database give the file back, and say so; a file in a gateway's hands is refused",
    .enabled(if: Clients.sqlite3 != nil, "sqlite3 is not there"))
  func back() async throws {
    try await withGuarded { file, serving, shell in
      let unguarded = try await serving.run(["unguard", file])
      #expect(unguarded.exitCode == 0 && unguarded.output.contains("no longer guards itself"), "\(unguarded)")
      let written = try await shell("INSERT INTO t VALUES (1)", file)
      #expect(written.exitCode == 0, "\(written)")
      let tables = try await shell("SELECT count(*) FROM sqlite_schema WHERE name LIKE '%fence%'", file)
      #expect(tables.output == "0\n")
      let again = try await serving.run(["unguard", file])
      #expect(again.exitCode == 1 && again.errors.contains("is not guarded"), "\(again)")
      let other = URL(fileURLWithPath: file).deletingLastPathComponent().appendingPathComponent("other.db").path
      let served = try await serving.run(["release-database", other])
      #expect(served.exitCode == 1 && served.errors.contains("served by another gateway (process"), "\(served)")
      let plain = try await serving.run(["release-database", file])
      #expect(plain.exitCode == 1 && plain.errors.contains("never under a gateway's protection"), "\(plain)")
      await serving.stop()
      let released = try await serving.run(["release-database", other, "--output", "json"])
      #expect(released.exitCode == 0 && released.output.contains("\"journalModeBefore\" : \"wal\""), "\(released)")
    }
  }
}
