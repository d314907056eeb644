// The main job as a newcomer meets it: serve, the tour, stopping, starting again, and what goes wrong at a start.

import Foundation
import Glibc
import Testing

@Suite("serve", .serialized)
struct ServeTests {
  @Test("the tour sees the stale write refused and the data B's")
  func tour() async throws {
    let directory = try ScratchDirectory()
    let serving = try await Serving.start(directory("data"))
    let tour = try await serving.run(["tour"])
    #expect(tour.exitCode == 0, "\(tour.errors)")
    for line in [
      "A acquires the scope", "is paused (SIGSTOP", "HTTP 409", "written by B", "The stale write was refused",
    ] {
      #expect(tour.output.contains(line), "\(tour.output)")
    }
    await serving.stop()
  }

  @Test("the tour fails when there is nothing to talk to")
  func tourWithoutServer() async throws {
    let port = Ports.free(1)[0]
    let tour = try await Program.run(["tour", "--endpoints", "127.0.0.1:\(port)"])
    #expect(tour.exitCode == 69)
    #expect(tour.errors.contains("./scripts/start"))
  }

  @Test("a second start finds what the first one left, with numbers that go on")
  func restart() async throws {
    let directory = try ScratchDirectory()
    let first = try await Serving.start(directory("data"))
    let one = try await hold(first, "CREATE TABLE notes (text)", "INSERT INTO notes VALUES ('kept')")
    #expect(await first.stop() == 0)
    let second = try await Serving.start(directory("data"))
    let read = try await second.run(["sql", "demo", "SELECT text FROM notes"])
    #expect(read.output.contains("kept"), "\(read.output) \(read.errors)")
    let two = try await hold(second, "INSERT INTO notes VALUES ('more')")
    #expect(two > one)
    await second.stop()
  }

  @Test("SIGTERM and SIGINT end it in order within two seconds", arguments: [SIGTERM, SIGINT])
  func stops(signal: Int32) async throws {
    let directory = try ScratchDirectory()
    let serving = try await Serving.start(directory("data"))
    let began = ContinuousClock.now
    serving.program.send(signal)
    #expect(await serving.program.exitCode() == 0)
    #expect(began.duration(to: .now) < .seconds(2))
    #expect(serving.program.errors == "", "quiet by default, even at its end")
  }

  @Test("a port in use is one clear line and exit code 1")
  func portInUse() async throws {
    let directory = try ScratchDirectory()
    let serving = try await Serving.start(directory("data"))
    let core = try await Program.run(["serve", "--data-dir", directory("other"), "--listen-client", serving.core])
    try expectOneLine(core, code: 1, saying: "already in use")
    let free = Ports.free(1)[0]
    let gateway = try await Program.run([
      "serve", "--data-dir", directory("third"), "--listen-client", "127.0.0.1:\(free)", "--listen-gateway",
      serving.gateway,
    ])
    try expectOneLine(gateway, code: 1, saying: "already in use")
    await serving.stop()
  }

  @Test("a data directory in use, one that cannot be made, and one of another node or cluster are refused")
  func dataDirectory() async throws {
    let directory = try ScratchDirectory()
    let ports = Ports.free(2).map { "127.0.0.1:\($0)" }
    func serve(_ data: String) async throws -> Program.Outcome {
      try await Program.run(["serve", "--data-dir", data, "--listen-client", ports[0], "--listen-gateway", ports[1]])
    }
    let serving = try await Serving.start(directory("data"))
    try expectOneLine(try await serve(directory("data")), code: 1, saying: "in use")
    await serving.stop()
    try Data().write(to: URL(fileURLWithPath: directory("file")))
    try expectOneLine(try await serve(directory("file")), code: 1, saying: directory("file"))
    func core(_ name: String, token: String) -> [String] {
      [
        "core", "--name", name, "--data-dir", directory("node"), "--listen-client-urls", ports[0],
        "--initial-cluster", "a=http://127.0.0.1:1,b=http://127.0.0.1:2", "--initial-cluster-token", token,
        "--listen-peer-urls", ports[1],
      ]
    }
    // Its log has its identity by the time that it looks for a leader.
    let node = try RunningProgram(core("a", token: "one") + ["--log-level", "info"])
    try await node.waitForErrors("leadership")
    node.send(SIGKILL)
    _ = await node.exitCode()
    try expectOneLine(try await Program.run(core("b", token: "one")), code: 1, saying: "node")
    try expectOneLine(try await Program.run(core("a", token: "two")), code: 1, saying: "cluster")
  }

  @Test("a wrong flag says which and exits with 64")
  func wrongFlag() async throws {
    let outcome = try await Program.run(["serve", "--no-such-flag"])
    #expect(outcome.exitCode == 64)
    #expect(outcome.errors.contains("--no-such-flag"))
    let ttl = try await Program.run(["acquire", "x", "--ttl", "soon", "--", "true"])
    #expect(ttl.exitCode == 64)
    #expect(ttl.errors.contains("soon"))
  }

  @Test(
    "every command has a help with an example",
    arguments: [
      "serve", "core", "gateway", "member", "member list", "member add", "member promote", "member remove",
      "member update", "member replace", "move-leader", "snapshot", "snapshot save", "snapshot status",
      "snapshot restore", "log", "log compact-copy", "acquire", "sql", "guard", "unguard",
      "release-database", "tour",
      "bench put",
      "fsync", "simulate",
    ])
  func help(command: String) async throws {
    let outcome = try await Program.run(command.split(separator: " ").map(String.init) + ["--help"])
    #expect(outcome.exitCode == 0)
    #expect(outcome.output.contains("Example"), "\(outcome.output)")
    #expect(outcome.output.contains("portcullis \(command)"))
  }

  private func hold(_ serving: Serving, _ statements: String...) async throws -> Int {
    let sql = (["sql", "demo"] + statements).map { "'\($0.replacingOccurrences(of: "'", with: "'\\''"))'" }
    let script = "\(Program.path) \(sql.joined(separator: " ")) && echo number=$PORTCULLIS_NUMBER"
    let outcome = try await serving.run(["acquire", "demo", "--", "sh", "-c", script])
    try #require(outcome.exitCode == 0, "\(outcome.output) \(outcome.errors)")
    return try #require(
      outcome.output.split(separator: "\n").last.flatMap { Int($0.dropFirst("number=".count)) }, "\(outcome.output)")
  }

  private func expectOneLine(_ outcome: Program.Outcome, code: Int32, saying text: String) throws {
    #expect(outcome.exitCode == code, "\(outcome.errors)")
    let lines = outcome.errors.split(separator: "\n")
    #expect(lines.count == 1, "\(outcome.errors)")
    #expect(outcome.errors.contains(text), "\(outcome.errors)")
  }
}
