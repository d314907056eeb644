// The programs of docs/other-languages.md, as they are there: curl, and Python with packages of PyPI.

import Foundation
import Glibc
import Testing

@Suite("other languages", .serialized, .timeLimit(.minutes(2)))
struct OtherLanguagesTests {
  private static let examples = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("docs/examples")

  @Test("curl holds a scope, writes under its grant, and is told when somebody else holds it")
  func curl() async throws {
    try await withDatabase { serving in
      let outcome = try await run("hold.sh", "INSERT INTO t VALUES (1)", serving)
      #expect(outcome.exitCode == 0, "\(outcome)")
      #expect(outcome.output.contains("granted under number") && outcome.output.contains("rows_affected"))
      try await withClient(serving.core) { client in
        let last = try await client.get("last/demo")
        #expect(last != nil)
      }
      let holder = try RunningProgram(
        ["acquire", "demo", "--holder", "anna", "--", "sh", "-c", "echo held; read line"],
        environment: serving.environment)
      try await holder.waitForOutput("held")
      let refused = try await run("hold.sh", "INSERT INTO t VALUES (2)", serving)
      #expect(refused.exitCode == 75 && refused.errors.contains("anna"), "\(refused)")
      holder.send(SIGTERM)
      _ = await holder.exitCode()
      let rows = try await count(serving)
      #expect(rows == 1)
    }
  }

  @Test(
    "Python holds a scope, verifies its token, writes, and finds its late write refused",
    .enabled(if: Clients.hasPyJWT && Clients.hasRequests, "requests and PyJWT with cryptography (PyPI) are not there"))
  func python() async throws {
    try await withDatabase { serving in
      let outcome = try await run("hold.py", "INSERT INTO t VALUES (1)", serving)
      #expect(outcome.exitCode == 0, "\(outcome)")
      #expect(outcome.output.contains("granted to hold.py under number"))
      #expect(outcome.output.contains("refused, as it should be"))
      let rows = try await count(serving)
      #expect(rows == 1)
    }
  }

  private func run(_ name: String, _ statement: String, _ serving: Serving) async throws -> Program.Outcome {
    let program = Self.examples.appendingPathComponent(name).path
    let interpreter = name.hasSuffix(".py") ? ["python3"] : ["bash"]
    return try await Program.run(
      interpreter + [program, "demo", statement], executable: "/usr/bin/env",
      environment: [
        "CORE": "http://\(serving.core)", "GATEWAY": "http://\(serving.gateway)", "PYTHONPATH": Clients.pythonPath,
        "PYTHONDONTWRITEBYTECODE": "1",
      ])
  }

  private func count(_ serving: Serving) async throws -> Int {
    let rows = try await serving.run(["sql", "demo", "SELECT count(*) FROM t"])
    return rows.output.contains("[[1]]") ? 1 : -1
  }

  private func withDatabase(_ body: (Serving) async throws -> Void) async throws {
    let directory = try ScratchDirectory()
    let serving = try await Serving.start(directory("data"), databases: ["demo": directory("demo.db")])
    let made = try await serving.run(["acquire", "demo", "--", Program.path, "sql", "demo", "CREATE TABLE t (x)"])
    try #require(made.exitCode == 0, "\(made)")
    try await body(serving)
    await serving.stop()
  }
}
