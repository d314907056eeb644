// `portcullis conformance` against a core and a gateway that run already: what it shows, and that it leaves everything there
// as it was.

import Conformance
import Foundation
import Testing

@Suite("conformance against a running deployment", .serialized, .timeLimit(.minutes(2)))
struct RunningDeploymentTests {
  /// A protected database whose scope has another name, with a table of its owner's, and an open one.
  private func withDeployment(_ body: (Serving) async throws -> Void) async throws {
    let directory = try ScratchDirectory()
    let serving = try await Serving.start(
      directory("data"), databases: ["trial": directory("trial.db"), "loose": directory("loose.db")],
      extra: ["--open", "loose", "--scope", "trial=trials"])
    let made = try await serving.run([
      "acquire", "trials", "--", Program.path, "sql", "trial", "CREATE TABLE owner (who TEXT)",
      "INSERT INTO owner VALUES ('its owner')",
    ])
    try #require(made.exitCode == 0, "\(made)")
    try await body(serving)
    #expect(!serving.program.hasEnded)
    // Nothing is there but what was.
    let gateway = GatewayResource(address: serving.gateway)
    #expect(try await tables(gateway, "trial") == ["owner"])
    #expect(try await tables(gateway, "loose").isEmpty)
    #expect(try await gateway.read("SELECT who FROM owner", on: "trial").rows == [["its owner"]])
    let grants = try await serving.run(["grants", "--output", "json"])
    #expect(grants.output.filter { !$0.isWhitespace } == "[]", "\(grants)")
    #expect(await serving.stop() == 0)
  }

  private func tables(_ gateway: GatewayResource, _ database: String) async throws -> [String] {
    let names = try await gateway.read("SELECT name FROM sqlite_schema WHERE type = 'table'", on: database).rows
    return names.compactMap { $0.first ?? nil }.filter { !$0.hasPrefix("_fence") }
  }

  private func arguments(_ serving: Serving, _ scenarios: String) -> [String] {
    [
      "conformance", "--core", serving.core, "--gateway", serving.gateway, "--database", "trial", "--quick",
      "--scenario", scenarios,
    ]
  }

  @Test(
    "the scenarios that need no servers of their own pass there, with their controls in an open database, and leave nothing"
  )
  func passes() async throws {
    try await withDeployment { serving in
      let outcome = try await Program.run(
        arguments(serving, "1,2,3,12,17,30") + ["--open-database", "loose"])
      #expect(outcome.exitCode == 0, "\(outcome)")
      let rows = outcome.output.split(separator: "\n").filter { $0.hasSuffix("pass") }
      #expect(rows.count == 5 && rows.allSatisfy { $0.contains("fail: ") }, "\(outcome.output)")
      #expect(outcome.output.contains("12        needs its own servers: the gateway is killed"), "\(outcome.output)")
      #expect(outcome.output.contains("5 of 5 scenarios passed"), "\(outcome.output)")
    }
  }

  @Test("without an open database there is no control, which the report says, and Ctrl-C leaves nothing behind either")
  func withoutControl() async throws {
    try await withDeployment { serving in
      let outcome = try await Program.run(arguments(serving, "1"))
      #expect(outcome.exitCode == 0 && outcome.output.contains("not played  pass"), "\(outcome)")
      #expect(outcome.output.contains("Without a negative control, because no open database was named"))
      let endless = try RunningProgram(arguments(serving, "31,31,31"))
      let gateway = GatewayResource(address: serving.gateway)
      while try await tables(gateway, "trial").count < 2 { try Task.checkCancellation() }
      endless.send(SIGINT)
      #expect(await endless.exitCode() == 1 && endless.errors.contains("stopped by a signal"), "\(endless.errors)")
    }
  }

  @Test("what is not there, does not belong together or is in use is told, and nothing is played")
  func refusals() async throws {
    try await withDeployment { serving in
      func outcome(_ flag: String, _ value: String, _ more: String...) async throws -> Program.Outcome {
        var arguments = arguments(serving, "1") + more
        if let place = arguments.firstIndex(of: flag) {
          arguments[place + 1] = value
        } else {
          arguments += [flag, value]
        }
        return try await Program.run(arguments)
      }
      let nowhere = "127.0.0.1:\(Ports.free(1)[0])"
      let core = try await outcome("--core", nowhere)
      #expect(core.exitCode == 69 && core.errors.contains(nowhere), "\(core)")
      let gateway = try await outcome("--gateway", nowhere)
      #expect(gateway.exitCode == 69 && gateway.errors.contains("Is it running?"), "\(gateway)")
      let wrongPort = try await outcome("--gateway", serving.core)
      #expect(wrongPort.exitCode == 1 && wrongPort.errors.contains("is no gateway of Portcullis"), "\(wrongPort)")
      let database = try await outcome("--database", "trail")
      #expect(database.exitCode == 1 && database.errors.contains("no database \"trail\"; it has: "), "\(database)")
      let open = try await outcome("--database", "loose")
      #expect(open.exitCode == 1 && open.errors.contains("is open"), "\(open)")
      let closed = try await outcome("--open-database", "trial")
      #expect(closed.exitCode == 1 && closed.errors.contains("of --open-database is protected"), "\(closed)")
      let servers = try await outcome("--scenario", "12")
      #expect(servers.exitCode == 64 && servers.errors.contains("needs its own servers"), "\(servers)")
      let half = try await Program.run(["conformance", "--core", serving.core])
      #expect(half.exitCode == 64 && half.errors.contains("go together"), "\(half)")
      let held = try await serving.run(
        ["acquire", "trials", "--holder", "anna", "--", Program.path] + arguments(serving, "1"))
      #expect(held.exitCode == 75 && held.errors.contains("is held by \"anna\""), "\(held)")
    }
  }
}
