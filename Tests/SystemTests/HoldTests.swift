// `portcullis acquire` and `portcullis sql`: what a script sees, and what ends it.

import Foundation
import Glibc
import Testing

@Suite("acquire and sql", .serialized)
struct HoldTests {
  @Test("the command gets the token, its exit code is ours, and the scope is free afterwards")
  func runs() async throws {
    try await withServing { serving in
      let script = "test -n \"$PORTCULLIS_TOKEN\" && test \"$PORTCULLIS_SCOPE\" = demo && exit 7"
      let outcome = try await serving.run(["acquire", "demo", "--ttl", "30s", "--", "sh", "-c", script])
      #expect(outcome.exitCode == 7, "\(outcome.errors)")
      let again = try await serving.run(["acquire", "demo", "--wait", "0", "--", "true"])
      #expect(again.exitCode == 0, "released at the end, long before its lease was over: \(again.errors)")
    }
  }

  @Test("the command gets what its caller opened for it, and none of our connections")
  func descriptors() async throws {
    try await withServing { serving in
      // `ls` opens the directory itself, under the first number that is free.
      let listed = try await serving.run(["acquire", "demo", "--", "ls", "/proc/self/fd"])
      #expect(listed.output.split(separator: "\n") == ["0", "1", "2", "3"], "\(listed.errors)")
      let script = "exec \(Program.path) acquire demo -- ls /proc/self/fd 7</dev/null"
      let given = try await Program.run(["-c", script], executable: "/bin/sh", environment: serving.environment)
      #expect(given.output.split(separator: "\n") == ["0", "1", "2", "3", "7"], "\(given.errors)")
    }
  }

  @Test("a held scope is not had: exit code 75 and who holds it")
  func held() async throws {
    try await withServing { serving in
      let holder = try RunningProgram(
        ["acquire", "demo", "--holder", "first", "--", "sh", "-c", "echo holding; read line"],
        environment: serving.environment)
      try await holder.waitForOutput("holding")
      let other = try await serving.run(["acquire", "demo", "--wait", "0", "--", "true"])
      #expect(other.exitCode == 75)
      #expect(other.errors.contains("first"))
      let next = try RunningProgram(
        ["acquire", "demo", "--", "echo", "next has it"], environment: serving.environment)
      holder.send(SIGTERM)
      #expect(await holder.exitCode() == 143)
      try await next.waitForOutput("next has it")
      #expect(await next.exitCode() == 0)
    }
  }

  @Test("when renewal fails the command is ended at the client's own deadline")
  func lost() async throws {
    try await withServing { serving in
      // The command ignores SIGTERM, so it takes SIGKILL to end it.
      let holder = try RunningProgram(
        [
          "acquire", "demo", "--ttl", "2s", "--kill-after", "200ms", "--", "sh", "-c",
          "trap '' TERM; echo $$; while :; do read line < /dev/zero; done",
        ],
        environment: serving.environment)
      try await holder.waitForOutput("\n")
      let child = try #require(pid_t(holder.output.split(separator: "\n")[0]))
      serving.program.send(SIGSTOP)
      #expect(await holder.exitCode() == 75)
      #expect(holder.errors.contains("was lost"))
      #expect(kill(child, 0) == -1, "the command is gone when acquire is")
      serving.program.send(SIGCONT)
    }
  }

  @Test("a write without a token, with another scope's and with a forged one changes nothing")
  func refused() async throws {
    let directory = try ScratchDirectory()
    let serving = try await Serving.start(
      directory("data"), databases: ["orders": directory("orders.db"), "stock": directory("stock.db")])
    let create = try await serving.run([
      "acquire", "orders", "--", Program.path, "sql", "orders", "CREATE TABLE t (x)", "INSERT INTO t VALUES (1)",
    ])
    #expect(create.exitCode == 0, "\(create.output) \(create.errors)")
    let write = ["sql", "orders", "INSERT INTO t VALUES (2)"]
    let bare = try await serving.run(write)
    #expect(bare.exitCode == 77)
    #expect(bare.output.contains("token"))
    let foreign = try await serving.run(["acquire", "stock", "--", Program.path] + write)
    #expect(foreign.exitCode == 77)
    #expect(foreign.output.contains("403"))
    let forged = try await serving.run(write + ["--token", "eyJhbGciOiJub25lIn0.e30."])
    #expect(forged.exitCode == 77)
    #expect(forged.output.contains("401"))
    let rows = try await serving.run(["sql", "orders", "SELECT count(*) AS n FROM t"])
    #expect(rows.output.contains("[[1]]"), "\(rows.output)")
    await serving.stop()
  }

  @Test(
    "an existing SQLite file is protected as it is, and given back unchanged",
    .enabled(if: Clients.sqlite3 != nil, "sqlite3 (Debian: sqlite3) is not there"))
  func existingFile() async throws {
    let sqlite3 = try #require(Clients.sqlite3)
    let directory = try ScratchDirectory()
    let path = directory("orders.db")
    let schema =
      "CREATE TABLE stock (id INTEGER PRIMARY KEY, n INTEGER CHECK (n >= 0)); CREATE INDEX by_n ON stock (n);"
    let made = try await Program.run(
      [path, schema + "INSERT INTO stock VALUES (7, 3);"], executable: sqlite3)
    try #require(made.exitCode == 0, "\(made.errors)")
    let question = "SELECT sql FROM sqlite_schema WHERE name NOT LIKE '\\_fence%' ESCAPE '\\' ORDER BY name"
    let before = try await Program.run([path, question], executable: sqlite3).output
    let serving = try await Serving.start(directory("data"), databases: ["orders": path])
    let sold = try await serving.run([
      "acquire", "orders", "--", Program.path, "sql", "orders", "UPDATE stock SET n = n - 1 WHERE id = 7",
    ])
    #expect(sold.exitCode == 0, "\(sold.errors)")
    await serving.stop()
    #expect(try await Program.run([path, question], executable: sqlite3).output == before)
    #expect(try await Program.run([path, "SELECT n FROM stock"], executable: sqlite3).output == "2\n")
  }

  private func withServing(_ body: (Serving) async throws -> Void) async throws {
    let directory = try ScratchDirectory()
    let serving = try await Serving.start(directory("data"))
    try await body(serving)
    await serving.stop()
  }
}
