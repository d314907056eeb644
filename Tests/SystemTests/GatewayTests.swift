// The gateway as its users meet it: flags, and rqlite's own client.

import Foundation
import Glibc
import Testing

@Suite("gateway", .serialized)
struct GatewayTests {
  private static let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("rqlite_client.py").path

  @Test(
    "pyrqlite works against a database that was declared open",
    .enabled(if: Clients.hasPyrqlite, "pyrqlite (PyPI) is not there"))
  func pyrqlite() async throws {
    let directory = try ScratchDirectory()
    let serving = try await Serving.start(
      directory("data"), databases: ["notes": directory("notes.db")], extra: ["--open", "notes"])
    let outcome = try await Program.run(
      [Self.script, serving.gateway], executable: "/usr/bin/python3",
      environment: ["PYTHONPATH": Clients.pythonPath])
    #expect(outcome.output.contains("pyrqlite is content"), "\(outcome.output) \(outcome.errors)")
    await serving.stop()
  }

  @Test(
    "pyrqlite works against a fenced one with the header added, and is refused without",
    .enabled(if: Clients.hasPyrqlite, "pyrqlite (PyPI) is not there"))
  func pyrqliteFenced() async throws {
    let directory = try ScratchDirectory()
    let serving = try await Serving.start(directory("data"), databases: ["notes": directory("notes.db")])
    let without = try await Program.run(
      [Self.script, serving.gateway], executable: "/usr/bin/python3",
      environment: ["PYTHONPATH": Clients.pythonPath])
    #expect(without.errors.contains("unexpected http status: 401"), "\(without.output) \(without.errors)")
    let with = try await Program.run(
      [
        "acquire", "notes", "--", "sh", "-c",
        "exec /usr/bin/python3 \(Self.script) \(serving.gateway) \"$PORTCULLIS_TOKEN\"",
      ], environment: serving.environment.merging(["PYTHONPATH": Clients.pythonPath]) { $1 })
    #expect(with.output.contains("pyrqlite is content"), "\(with.output) \(with.errors)")
    await serving.stop()
  }

  @Test("a flag that names no database, and one that cannot be read, are refused with the reason")
  func flags() async throws {
    let directory = try ScratchDirectory()
    for (flags, reason) in [
      (["--open", "other"], "--open names \"other\""), (["--scope", "notes"], "--scope"),
      (["--scope", "other=x"], "--scope names \"other\""), (["--adopt", "notes=7"], "--adopt"),
      (["--scope", "notes=a", "--scope", "notes=b"], "--scope is given twice for \"notes\""),
    ] {
      let outcome = try await Program.run(
        ["serve", "--data-dir", directory("data"), "--database", "notes=\(directory("notes.db"))"] + flags)
      #expect(outcome.exitCode == 64, "\(flags)")
      #expect(outcome.errors.contains(reason), "\(flags): \(outcome.errors)")
    }
  }

  @Test("a file whose floors were lost is closed, and opens with what the core says of its scope")
  func closedFile() async throws {
    let directory = try ScratchDirectory()
    let database = directory("notes.db")
    let flags = ["--check-core", "notes"]
    let first = try await Serving.start(directory("data"), databases: ["notes": database], extra: flags)
    let write = ["acquire", "notes", "--"]
    let made = try await first.run(write + [Program.path, "sql", "notes", "CREATE TABLE t(a)"])
    #expect(made.exitCode == 0, "\(made.errors)")
    await first.stop()
    try FileManager.default.removeItem(atPath: database + "-gateway.floors")
    let second = try await Serving.start(
      directory("data"), databases: ["notes": database], extra: flags + ["--log-level", "info"])
    try await second.program.waitForErrors("a closed scope was opened by the core's word")
    let again = try await second.run(write + [Program.path, "sql", "notes", "INSERT INTO t VALUES(1)"])
    #expect(again.exitCode == 0, "\(again.errors)")
    #expect(try await HTTPText.get("/status", at: second.gateway).contains("\"closed_scopes\":[]"))
    await second.stop()
  }

  @Test("a query of ten million rows runs in bounded memory", .timeLimit(.minutes(5)))
  func boundedMemory() async throws {
    let directory = try ScratchDirectory()
    let serving = try await Serving.start(
      directory("data"), databases: ["notes": directory("notes.db")], extra: ["--open", "notes"])
    func peakKilobytes() throws -> Int {
      let status = try String(contentsOfFile: "/proc/\(serving.program.processID)/status", encoding: .utf8)
      let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") })
      return try #require(Int(line.filter(\.isNumber)))
    }
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT 10000000) SELECT i, i*7 AS j FROM n"
    let before = try peakKilobytes()
    let outcome = try await Program.run(
      ["-c", "curl -sS --get --data-urlencode \"q=$SQL\" http://\(serving.gateway)/db/query | wc -c"],
      executable: "/bin/sh", environment: ["SQL": sql])
    // Each row is "[i,7i]" and a comma.
    let bytes = try #require(Int(outcome.output.filter(\.isNumber)), "\(outcome.output) \(outcome.errors)")
    #expect(bytes > 10_000_000 * 18)
    #expect(try peakKilobytes() - before < 64 << 10)
    await serving.stop()
  }
}
