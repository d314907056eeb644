// `portcullis plan`, with the real executable.

import Conformance
import Foundation
import Testing

@Suite("plan")
struct PlanCommandTests {
  private struct Answer: Decodable {
    struct Latency: Decodable {
      let operation: String
      let p50Nanoseconds: UInt64?
    }
    let schema: String
    let verdict: String
    let latencies: [Latency]
    let diskSource: String
  }

  @Test("a disk that was measured and a need in a file become a plan, as text and as JSON")
  func measured() async throws {
    let directory = try ScratchDirectory()
    let profile = try await Program.run([
      "fsync", directory.path, "--records", "1", "--interval", "0,2ms", "--commits", "200", "--output", "json",
    ])
    try profile.output.write(toFile: directory("disk.json"), atomically: true, encoding: .utf8)
    try "{operations: {puts: 200}, nodes: 1, objective: p99=2s}"
      .write(toFile: directory("need.yaml"), atomically: true, encoding: .utf8)
    let command = ["plan", "--need", directory("need.yaml"), "--disk", directory("disk.json")]
    let text = try await Program.run(command)
    #expect(text.exitCode == 0 && text.errors.isEmpty, "\(text.errors)")
    #expect(text.output.hasPrefix("MEETS the objective: 200 operations/s on 1 node"), "\(text.output)")
    let json = try await Program.run(command + ["--output", "json"])
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    let answer = try decoder.decode(Answer.self, from: Data(json.output.utf8))
    #expect(answer.schema == "portcullis.plan/1" && answer.verdict == "meets")
    #expect(answer.latencies.map(\.operation) == ["put"] && answer.latencies[0].p50Nanoseconds ?? 0 > 10_000)
    #expect(answer.diskSource.contains("disk.json"))
  }

  @Test("an objective that cannot be met is said first and ends with 1")
  func missed() async throws {
    let outcome = try await Program.run(["plan", "--puts", "100", "--round-trip", "50ms", "--objective", "p99=10ms"])
    #expect(outcome.exitCode == 1 && outcome.output.hasPrefix("MISSES the objective"), "\(outcome.output)")
  }

  @Test(
    "absurd plans are one clear line",
    arguments: [
      (["--puts", "10", "--nodes", "0"], "1 to 9"), (["--puts=-5"], "from 0 on"),
      (["--puts", "1e8"], "split the keys"),
      (["--puts", "10", "--quota", "1MiB"], "raise --quota"),
      (["--puts", "10", "--round-trip", "2s"], "election timeout"),
      ([], "at least one of puts"), (["--puts", "10", "--disk", "/no/such"], "portcullis fsync"),
      (["--need", "/no/such"], "cannot be read"), (["--puts", "10", "--objective", "soon"], "soon"),
      (["--quick"], "--validate"), (["--validate", "--directory", "/no/such"], "no directory"),
      (["--again", "/no/such"], "--validate"), (["--validate", "--again", "/no/such"], "cannot be read"),
      (["--validate", "--again", "/etc/os-release"], "no report"),
      (["--validate", "--again", "/x", "--quick"], "measures nothing"), (["--rounds", "2"], "--validate"),
      (["--validate", "--rounds", "0"], "from 1 to 100"),
    ])
  func absurd(arguments: [String], part: String) async throws {
    let outcome = try await Program.run(["plan"] + arguments)
    #expect(outcome.exitCode == 64 && outcome.output.isEmpty, "\(outcome.output)")
    #expect(outcome.errors.contains(part), "\(outcome.errors)")
  }

  @Test("a validation that is told to end says so, and ends the nodes that it started")
  func ended() async throws {
    let directory = try ScratchDirectory()
    let validation = try RunningProgram(["plan", "--validate", "--quick", "--directory", directory.path])
    try await validation.waitForErrors("calibrating loads")
    // The nodes are started in a directory of theirs, and told to their process by name.
    while Self.processes(naming: directory.path).count < 2 {
      try Task.checkCancellation()
      await Task.yield()
    }
    validation.send(SIGTERM)
    #expect(await validation.exitCode() == 128 + SIGTERM)
    await validation.waitForEndOfOutput()
    #expect(validation.errors.contains("stopped by a signal"), "\(validation.errors)")
    #expect(Self.processes(naming: directory.path).isEmpty)
  }

  /// Processes whose command line has this text.
  private static func processes(naming text: String) -> [String] {
    let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return all.filter { Int($0) != nil }.filter { process in
      (try? String(contentsOfFile: "/proc/\(process)/cmdline", encoding: .utf8))?.contains(text) ?? false
    }
  }
}
