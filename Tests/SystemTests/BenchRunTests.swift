// A whole run of `bench` from a file or a preset, and what becomes of its result when the disk is full or the target dies.

import Client
import Conformance
import Foundation
import Glibc
import Testing

@Suite("bench: runs and results", .serialized)
struct BenchRunTests {
  private static let presets = [
    "etcd-small", "etcd-large", "kubernetes", "kubernetes-watch", "service-discovery", "heartbeats", "locks",
    "fenced-sqlite",
  ]

  @Test("each preset is a file that runs, on a target of its own", arguments: presets)
  func preset(name: String) async throws {
    let directory = try ScratchDirectory()
    let printed = try await Program.run(["bench", "presets", name])
    #expect(printed.exitCode == 0)
    try Data(printed.output.utf8).write(to: URL(fileURLWithPath: directory("run.yaml")))
    // Less of it than it stands for, because others test on this machine too.
    let outcome = try await Program.run(
      [
        "bench", "--config", directory("run.yaml"), "--start", "1", "--directory", directory.path, "--duration",
        "500ms",
        "--warm-up", "100ms", "--result", directory("result.json"),
      ])
    #expect(outcome.exitCode == 0 || outcome.output.contains("INVALID"), "\(outcome.output)\(outcome.errors)")
    let result = try Self.result(at: directory("result.json"))
    #expect(result.ending == "completed")
    #expect(result.measured.succeeded > 0 && result.measured.failed == 0, "\(outcome.output)")
    #expect(result.measured.oracle.violations == 0)
  }

  @Test("the presets of this test are those that there are")
  func names() async throws {
    let listed = try await Program.run(["bench", "presets"])
    #expect(
      listed.output.split(separator: "\n").compactMap { $0.split(separator: " ").first.map(String.init) }
        == Self.presets)
    let unknown = try await Program.run(["bench", "presets", "lock"])
    #expect(unknown.exitCode == 64 && unknown.errors.contains("did you mean locks?"))
  }

  @Test("every flag of every scenario is a key, and runs are repeated into files of their own")
  func file() async throws {
    let directory = try ScratchDirectory()
    try Data(
      """
      scenario: put
      start: 1
      directory: \(directory.path)
      rate: 300
      max-in-flight: 500
      connections: 2
      duration: 400ms
      total: 1000
      warm-up: 0
      seed: 7
      find-limit: false
      objective: p99=50ms
      repeat: 2
      result: \(directory("run.json"))
      output: text
      key-prefix: mine/
      key-size: 20
      key-count: 50
      value-size: 10
      sequential-keys: true
      """.utf8
    ).write(to: URL(fileURLWithPath: directory("run.yaml")))
    let outcome = try await Program.run(["bench", "--config", directory("run.yaml")])
    #expect(outcome.exitCode == 0 || outcome.output.contains("INVALID"), "\(outcome.errors)")
    #expect(outcome.output.matches(of: #/put: /#).count == 2)
    let (first, second) = (try Self.result(at: directory("run-1.json")), try Self.result(at: directory("run-2.json")))
    #expect(first.configuration == second.configuration)
    #expect(first.configurationDigest == second.configurationDigest && first.configurationDigest.count == 16)
    #expect(first.configuration == .init(keyPrefix: "mine/", keyCount: 50, valueSizeBytes: 10, seed: 7))
    let other = try await Program.run(
      ["bench", "--config", directory("run.yaml"), "--repeat=1", "--seed", "8", "--result", directory("other.json")])
    #expect(other.exitCode == 0 || other.output.contains("INVALID"), "\(other.errors)")
    #expect(try Self.result(at: directory("other.json")).configurationDigest != first.configurationDigest)
    for (text, words) in [
      ("scenario: put\nrat: 5", "line 2: there is no key rat; did you mean rate?"),
      ("scenario: get\nlocks: 5", "locks is a setting of lock"),
      ("scenario: put\nrate: 5\nclients: 2", "exclude each other"), ("scenario: put\nrate: soon", "--rate"),
      ("scenario: put\nrate: 1e12", "cannot be offered"), ("scenario: put\nrate: 0", "cannot be offered"),
      ("scenario: put\nrate: -1", "cannot be offered"),
    ] {
      try Data(text.utf8).write(to: URL(fileURLWithPath: directory("bad.yaml")))
      let refused = try await Program.run(["bench", "--config", directory("bad.yaml")])
      #expect(refused.exitCode == 64 && refused.errors.contains(words), "\(text): \(refused.errors)")
      #expect(refused.output.isEmpty)
    }
  }

  // MARK: Full disks

  private static func arguments(_ target: Serving, _ result: String) -> [String] {
    [
      "bench", "put", "--endpoints", target.core, "--rate", "200", "--duration", "300ms", "--warm-up", "0", "--result",
      result,
    ]
  }

  @Test("a result that there is no room for is refused before anything is measured")
  func fullBefore() async throws {
    try await withTarget { target, directory in
      let faults = try FaultControl(for: Program.path, below: directory("results"))
      faults[.writeError] = Int(ENOSPC)
      let full = try await Program.run(
        Self.arguments(target, directory("results/run.json")), environment: faults.environment)
      #expect(full.exitCode == 73 && full.errors.contains("No space left on device"), "\(full.errors)")
      #expect(full.output.isEmpty)
      for (path, words) in [("/proc/run.json", "/proc/run.json"), (directory("results"), "is a directory")] {
        let refused = try await Program.run(Self.arguments(target, path))
        #expect(refused.exitCode == 73 && refused.errors.contains(words), "\(refused.errors)")
      }
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory("results")).isEmpty)
    }
  }

  @Test("a result that cannot be written in the end is on stdout, whole", arguments: ["ENOSPC", "EIO"])
  func fullAfter(error: String) async throws {
    try await withTarget { target, directory in
      let faults = try FaultControl(for: Program.path, below: directory("results"))
      if error == "ENOSPC" {
        // The room is had, and the disk is full when the result comes.
        faults[.writeError] = Int(ENOSPC)
        faults[.writesToPass] = 1
      } else {
        faults[.flushError] = Int(EIO)
      }
      let outcome = try await Program.run(
        Self.arguments(target, directory("results/run.json")), environment: faults.environment)
      #expect(outcome.exitCode == 74, "\(outcome.errors)")
      #expect(outcome.errors.contains("could not be written") && outcome.errors.contains("on stdout"))
      let start = try #require(outcome.output.firstIndex(of: "{"))
      let result: Result = try Self.decode(Data(outcome.output[start...].utf8))
      #expect(result.measured.succeeded > 0)
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory("results")).isEmpty)
    }
  }

  // MARK: Targets that die

  @Test("a target that dies in the middle leaves what was measured until then, and says what is missing")
  func dies() async throws {
    let directory = try ScratchDirectory()
    let target = try await Serving.start(directory("data"))
    let bench = try RunningProgram([
      "bench", "put", "--endpoints", target.core, "--rate", "500", "--duration", "60s", "--warm-up", "0", "--result",
      directory("run.json"),
    ])
    let client = Portcullis(endpoints: [try Endpoint(parsing: target.core)])
    while try await client.list(.prefix("portcullis/bench/")).keys.count < 300 { try Task.checkCancellation() }
    client.close()
    target.program.send(SIGKILL)
    _ = await target.program.exitCode()
    #expect(await bench.exitCode() == 1)
    await bench.waitForEndOfOutput()
    #expect(bench.output.contains("put: FAILED, target lost: these are the figures of the part that ran"))
    #expect(bench.output.contains("of the 60.0 s asked for"), "\(bench.output)")
    #expect(bench.output.contains("every connection was lost and none came back"))
    let result = try Self.result(at: directory("run.json"))
    #expect(result.ending == "targetLost")
    #expect(result.measured.succeeded > 200 && result.measured.failed > 0)
    let page = try await Program.run(["report", "html", directory("run.json")])
    #expect(page.exitCode == 0 && page.output.contains("of the 60.0 s asked for"))
  }

  @Test("a search whose target dies keeps the runs before, and says where it ended")
  func searchDies() async throws {
    let directory = try ScratchDirectory()
    let target = try await Serving.start(directory("data"))
    let bench = try RunningProgram([
      "bench", "put", "--endpoints", target.core, "--find-limit", "--rate", "100", "--duration", "2s", "--warm-up", "0",
      "--objective", "p50=1s", "--result", directory("limit.json"),
    ])
    // More than its first run can have put.
    let client = Portcullis(endpoints: [try Endpoint(parsing: target.core)])
    while try await client.list(.prefix("portcullis/bench/")).keys.count < 400 { try Task.checkCancellation() }
    client.close()
    target.program.send(SIGKILL)
    _ = await target.program.exitCode()
    let code = await bench.exitCode()
    await bench.waitForEndOfOutput()
    #expect(code == 1 && bench.output.contains("cut short"), "\(code) \(bench.output)\(bench.errors)")
    struct Limit: Decodable {
      struct Trial: Decodable { let ratePerSecond: Double }
      let trials: [Trial]
      let isComplete: Bool
      let stopped: String?
    }
    let limit: Limit = try Self.decode(Data(contentsOf: URL(fileURLWithPath: directory("limit.json"))))
    #expect(!limit.trials.isEmpty && !limit.isComplete && limit.stopped != nil)
  }

  private func withTarget(_ body: (Serving, ScratchDirectory) async throws -> Void) async throws {
    let directory = try ScratchDirectory()
    try FileManager.default.createDirectory(atPath: directory("results"), withIntermediateDirectories: false)
    let target = try await Serving.start(directory("data"))
    do { try await body(target, directory) } catch {
      await target.stop()
      throw error
    }
    await target.stop()
  }

  // MARK: Results

  private static func result(at path: String) throws -> Result {
    try decode(Data(contentsOf: URL(fileURLWithPath: path)))
  }

  private static func decode<Value: Decodable>(_ data: Data) throws -> Value {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try decoder.decode(Value.self, from: data)
  }

  private struct Result: Decodable {
    struct Oracle: Decodable { let violations: UInt64 }
    struct Figures: Decodable {
      let succeeded: UInt64
      let failed: UInt64
      let oracle: Oracle
    }
    struct Configuration: Decodable, Equatable {
      let keyPrefix: String
      let keyCount: UInt64
      let valueSizeBytes: Int
      let seed: UInt64
    }
    let ending: String
    let configuration: Configuration
    let configurationDigest: String
    let measured: Figures
  }
}
