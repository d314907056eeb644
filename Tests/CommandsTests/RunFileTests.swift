// A run of `bench` in a file, and the presets, as the arguments that they become.

import Commands
import Foundation
import Testing

@Suite("a run's file")
struct RunFileTests {
  private static let scenarios = [
    RunScenario(
      name: "put",
      options: ["endpoints", "start", "rate", "clients", "duration", "repeat", "objective", "directory"],
      switches: ["find-limit", "sequential-keys"]),
    RunScenario(name: "lock", options: ["endpoints", "clients", "connections", "locks", "duration"], switches: []),
    RunScenario(
      name: "renew", options: ["rate", "clients", "connections", "duration", "leases", "ttl"], switches: []),
    RunScenario(name: "mix", options: ["weights", "rate"], switches: []),
  ]

  private func expanded(_ text: String, _ arguments: [String] = []) throws -> [String] {
    let path = NSTemporaryDirectory() + "/portcullis-run-\(UUID().uuidString).yaml"
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    defer { try? FileManager.default.removeItem(atPath: path) }
    do {
      return try RunArguments.expanded(arguments + ["--config", path]) { Self.scenarios }
    } catch let error as CommandFailure {
      throw CommandFailure(error.exitCode, error.description.replacing(path, with: "FILE"))
    }
  }

  private func failure(_ text: String, _ arguments: [String] = []) throws -> String {
    let failure = #expect(throws: CommandFailure.self) { try expanded(text, arguments) }
    #expect(failure?.exitCode == ExitCode.usage)
    return failure?.description ?? ""
  }

  @Test("each key becomes its flag, as it is written")
  func keys() throws {
    #expect(
      try expanded(
        """
        # a whole run
        scenario: put
        rate: 1e3
        duration: 30s
        directory: /var/lib/a disk
        objective: p99=20ms
        find-limit: true
        sequential-keys: false
        start:
        endpoints: [a:1, "b:2"]
        """) == [
          "put", "--directory=/var/lib/a disk", "--duration=30s", "--endpoints=a:1,b:2", "--find-limit",
          "--objective=p99=20ms", "--rate=1e3",
        ])
    #expect(
      try expanded("{scenario: mix, weights: {put: 20, get: 70}}") == ["mix", "--weights=put=20,get=70"])
  }

  @Test("what the command line says wins, also over what excludes it")
  func commandLine() throws {
    let file = "{scenario: put, rate: 5, start: 3, duration: 1s, find-limit: true}"
    #expect(
      try expanded(file, ["--duration", "9s"]) == [
        "put", "--find-limit", "--rate=5", "--start=3", "--duration", "9s",
      ])
    #expect(
      try expanded(file, ["--clients", "4", "--endpoints=a:1", "--no-find-limit"]) == [
        "put", "--duration=1s", "--clients", "4", "--endpoints=a:1", "--no-find-limit",
      ])
    #expect(try expanded("duration: 2s", ["lock"]) == ["lock", "--duration=2s"])
    // Two of one choice in one place are left to the command, which refuses them.
    #expect(try expanded("{scenario: put, rate: 5, clients: 3}") == ["put", "--clients=3", "--rate=5"])
    #expect(try expanded("{scenario: put, repeat: 3, find-limit: false}") == ["put", "--repeat=3"])
  }

  @Test("a file wins over a preset, and takes out what excludes it")
  func layers() throws {
    let preset = try BenchPreset.named("locks").text
    #expect(preset.contains("clients: 100") && preset.contains("connections: 10"))
    #expect(
      try expanded("{locks: 2}", ["--preset", "locks"]) == [
        "lock", "--clients=100", "--connections=10", "--duration=30s", "--locks=2",
      ])
    #expect(try expanded("{clients: 7}", ["--preset=heartbeats"]).contains { $0.hasPrefix("--rate") } == false)
  }

  @Test("arguments without a file or preset are left as they are")
  func untouched() throws {
    for arguments in [["put", "--rate", "5"], ["presets", "locks"], [], ["--help"]] {
      #expect(try RunArguments.expanded(arguments) { throw CommandFailure(1, "not asked") } == arguments)
    }
  }

  @Test("what is wrong is named with its line, and the nearest name with it")
  func refusals() throws {
    #expect(try failure("scenario: put\nrat: 5") == "FILE, line 2: there is no key rat; did you mean rate?")
    #expect(
      try failure("scenario: put\nlocks: 5") == "FILE, line 2: locks is a setting of lock, and not of put")
    #expect(try failure("scenario: putt") == "FILE, line 1: there is no scenario putt; did you mean put?")
    #expect(try failure("rate: 5").contains("no scenario is named"))
    #expect(try failure("scenario: put\nrate: 5\nrate: 6").contains("rate is there twice"))
    #expect(try failure("scenario: put\nfind-limit: perhaps").contains("true or false, not \"perhaps\""))
    #expect(try failure("scenario: put\nrate: {a: 1}").contains("rate is one value, and no map"))
    #expect(try failure("- put").contains("a mapping"))
    #expect(try failure("a: [").contains("line"))
    #expect(try failure("scenario: put", ["--preset", "lock"]).contains("did you mean locks?"))
    #expect(try failure("scenario: put", ["--preset=locks", "--preset=locks"]).contains("twice"))
    let absent = #expect(throws: CommandFailure.self) {
      try RunArguments.expanded(["--config", "/nowhere/run.yaml"]) { Self.scenarios }
    }
    #expect(absent?.description.contains("/nowhere/run.yaml") == true)
    let open = #expect(throws: CommandFailure.self) {
      try RunArguments.expanded(["put", "--config"]) { Self.scenarios }
    }
    #expect(open?.description.contains("needs a value") == true)
  }

  @Test("weights on a command line are read as those of a file are")
  func weights() throws {
    let known = ["get", "put"]
    let entries = try WeightsFile.parse("put=2,get=7.5", known: known)
    #expect(entries.map(\.name) == ["get", "put"] && entries.map(\.weight) == [7.5, 2])
    for (text, words) in [
      ("", "no operations"), ("pat=1", "\"pat\" is no operation"), ("put", "no operation with its weight"),
      ("put=1,put=2", "there twice"), ("put=-1", "above 0"), ("put=nan", "above 0"),
    ] {
      let failure = #expect(throws: CommandFailure.self) { try WeightsFile.parse(text, known: known) }
      #expect(failure?.description.contains(words) == true, "\(text): \(failure?.description ?? "")")
    }
  }
}
