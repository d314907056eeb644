// The gateway's description of itself, attacked by a program that makes requests after it (PyPI: schemathesis). A short run
// with a fixed seed; `scripts/test-clients schemathesis` has the long one.

import Foundation
import Testing

@Suite("schemathesis", .serialized, .timeLimit(.minutes(4)), .enabled(if: Clients.hasSchemathesis, "it is not there"))
struct SchemathesisTests {
  private static let attack = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Clients/schemathesis/attack").path

  @Test("finds nothing that the description of the gateway does not allow", arguments: ["open", "fenced"])
  func attack(_ name: String) async throws {
    let directory = try ScratchDirectory()
    let serving = try await Serving.start(
      directory("data"), databases: [name: directory("\(name).db")], extra: name == "open" ? ["--open", "open"] : [])
    let environment = serving.environment.merging(["PYTHONPATH": Clients.schemathesisPath, "TMPDIR": directory.path]) {
      $1
    }
    let command = [Self.attack, serving.gateway, name, "12"]
    let outcome =
      name == "open"
      ? try await Program.run(Array(command.dropFirst()), executable: Self.attack, environment: environment)
      : try await Program.run(["acquire", name, "--"] + command, environment: environment)
    #expect(outcome.exitCode == 0, "\(outcome.output) \(outcome.errors)")
    // Every operation was tried, and the gateway came through it.
    #expect(outcome.output.contains("Tested: 21"), "\(outcome.output)")
    #expect(try await HTTPText.get("/readyz", at: serving.gateway).contains("\"ready\":true"))
    #expect(await serving.stop() == 0)
  }
}
