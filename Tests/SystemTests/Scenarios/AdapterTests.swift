// `portcullis conformance` with somebody else's locks and resource: the program of docs/conformance-adapter.md, as it is
// there, without its fence and with it, and adapters that do not keep to the contract.

import Conformance
import Foundation
import Glibc
import Testing

@Suite("conformance with an adapter", .serialized, .timeLimit(.minutes(2)))
struct AdapterTests {
  private static let example = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("docs/examples/adapter.py").path

  /// How the run starts the example.
  private func command(_ endpoint: String, _ flags: String = "") -> String {
    "exec python3 '\(Self.example)' --port {port} --etcd http://\(endpoint) \(flags)"
  }

  private func withCore<Result>(_ body: (_ endpoint: String) async throws -> Result) async throws -> Result {
    let directory = try ScratchDirectory()
    return try await Deployment.withDeployment(of: Program.path, in: directory.path) { deployment in
      try await body(try await deployment.startCore().endpoints)
    }
  }

  private struct Report: Decodable {
    struct Play: Decodable {
      let verdict: String
      let staleAttempts: Int
      let refusals: Int
      let landed: Int
      let lostUpdates: Int
    }

    struct Entry: Decodable {
      let number: Int
      let system: String?
      let verdict: String
      let fenced: Play
      let control: Play?
      let noControl: String?
    }

    struct NotPlayed: Decodable {
      let number: Int
      let why: String
    }

    let passed: Bool
    let scenarios: [Entry]
    let notPlayed: [NotPlayed]?

    init(_ text: String) throws {
      let decoder = JSONDecoder()
      decoder.keyDecodingStrategy = .convertFromSnakeCase
      self = try decoder.decode(Report.self, from: Data(text.utf8))
    }
  }

  private static let unfenced = "etcd locks, SQLite without a fence"

  private func expectLosses(_ report: Report, _ numbers: [Int]) throws {
    #expect(!report.passed && report.scenarios.map(\.number) == numbers.flatMap { [$0, $0] })
    for entry in report.scenarios {
      if entry.system == Self.unfenced {
        #expect(entry.verdict == "fail" && entry.fenced.lostUpdates > 0 && entry.fenced.refusals == 0, "\(entry)")
        #expect(entry.control == nil && entry.noControl != nil, "\(entry)")
      } else {
        #expect(entry.system == "Portcullis" && entry.verdict == "pass", "\(entry)")
        #expect(entry.fenced.lostUpdates == 0 && entry.fenced.refusals > 0, "\(entry)")
      }
    }
  }

  @Test(
    "plain locks in front of a file without a fence lose updates, in the report beside ours; with a fence it is none")
  func example() async throws {
    let directory = try ScratchDirectory()
    try await withCore { endpoint in
      // Most of it is waiting for leases to end, so three runs take no longer than one.
      async let paused = Program.run([
        "conformance", "--quick", "--scenario", "1,2", "--adapter-command", command(endpoint), "--json", "--junit",
        directory("report.xml"), "--html", directory("report.html"),
      ])
      async let lockSet = playLockSet(endpoint, directory("31"))
      async let fenced = AdapterProcess.withAdapter(command(endpoint, "--fence")) { address in
        try await Program.run(["conformance", "--scenario", "1,24", "--adapter", "http://\(address)"])
      }
      try expectReports(try await paused, directory)
      let second = try await lockSet
      #expect(second.verdict == .fail && second.control == nil, "\(second)")
      #expect(second.fenced.tally.lostUpdates > 0 && second.fenced.tally.refusals == 0, "\(second)")
      expectNoLosses(try await fenced)
    }
  }

  /// The adapter's half alone: ours is played by other tests, and takes its time.
  private func playLockSet(_ endpoint: String, _ directory: String) async throws -> ScenarioResult {
    try await AdapterProcess.withAdapter(command(endpoint)) { address in
      var run = ConformanceRun(
        executable: Program.path, directory: directory, scenarios: try Catalogue.scenarios([31]))
      run.isShort = true
      run.outside = .adapter(try await AdapterSystem.rehearse(at: address, lock: "rehearsal"))
      return try #require(try await run.run().first)
    }
  }

  private func expectReports(_ outcome: Program.Outcome, _ directory: ScratchDirectory) throws {
    #expect(outcome.exitCode == 1 && outcome.errors.contains("not passed: 1 (\(Self.unfenced))"), "\(outcome)")
    let report = try Report(outcome.output)
    try expectLosses(report, [1])
    #expect(report.notPlayed?.map(\.number) == [2] && report.notPlayed?.first?.why.isEmpty == false)
    let xml = try String(contentsOfFile: directory("report.xml"), encoding: .utf8)
    #expect(xml.contains(#"tests="3" failures="1" errors="0" skipped="1""#), "\(xml)")
    #expect(xml.contains("scenario 1, \(Self.unfenced): ") && xml.contains("<skipped message="))
    let page = try String(contentsOfFile: directory("report.html"), encoding: .utf8)
    #expect(page.contains("1 of 2 passed") && page.contains(#"<section id="s1-1">"#) && page.contains("Not played"))
  }

  private func expectNoLosses(_ outcome: Program.Outcome) {
    #expect(outcome.exitCode == 0, "\(outcome)")
    let lines = outcome.output.split(separator: "\n")
    let theirs = lines.filter { $0.contains("SQLite with a fence") && $0.hasSuffix("pass") }
    // The control of each.
    #expect(theirs.count == 2 && theirs.allSatisfy { $0.contains("fail: 3 landed") }, "\(outcome.output)")
    #expect(lines.contains("etcd locks, SQLite with a fence: 2 of 2 scenarios passed."), "\(outcome.output)")
    #expect(lines.contains("Portcullis: 2 of 2 scenarios passed."), "\(outcome.output)")
  }

  @Test(
    "the same with the locks of an etcd itself", .enabled(if: Clients.etcd34 ?? Clients.etcd != nil))
  func withEtcd() async throws {
    let etcd = try #require(Clients.etcd34 ?? Clients.etcd)
    let directory = try ScratchDirectory()
    let outcome = try await Deployment.withDeployment(of: Program.path, in: directory.path) { deployment in
      let endpoint = try deployment.startEtcd(etcd, in: directory("etcd"))
      return try await Program.run([
        "conformance", "--scenario", "1", "--adapter-command", command(endpoint), "--json",
      ])
    }
    #expect(outcome.exitCode == 1, "\(outcome)")
    try expectLosses(try Report(outcome.output), [1])
  }

  @Test("an adapter that does not keep to the contract is told what was asked, what came and what was expected")
  func badAdapters() async throws {
    try await withCore { endpoint in
      // A port that takes requests, and nobody behind it who is told of them.
      let proxy = try await CutProxy.start(to: endpoint)
      try await proxy.hold(.toServer)
      async let none = outcome("--adapter", "http://127.0.0.1:\(Ports.free(1)[0])")
      async let silent = outcome("--adapter", "http://\(proxy.endpoint)")
      async let ended = outcome("--adapter-command", "echo it went wrong on {port} >&2; exit 3")
      async let other = outcome("--adapter-command", "exec python3 -m http.server --bind 127.0.0.1 {port}")
      // Its locks are nowhere.
      async let broken = outcome("--adapter-command", command("127.0.0.1:\(Ports.free(1)[0])"))
      expect(try await none, 69, "did not answer GET /hello: Connection refused")
      expect(try await silent, 69, "did not answer GET /hello within 5")
      expect(try await ended, 69, "it went wrong on")
      expect(
        try await other, 1, "asked for GET /hello, answered with 404",
        #"expected is 200 with {"portcullis_adapter": 1, "name": "…"}"#)
      expect(
        try await broken, 1, "asked for POST /acquire, answered with 500", "refused",
        #"expected is 200 with {"granted": true"#)
      await proxy.stop()
    }
  }

  private func outcome(_ flags: String...) async throws -> Program.Outcome {
    try await Program.run(["conformance", "--scenario", "1"] + flags)
  }

  private func expect(_ outcome: Program.Outcome, _ exitCode: Int32, _ texts: String...) {
    #expect(outcome.exitCode == exitCode && outcome.output.isEmpty, "\(outcome)")
    for text in texts { #expect(outcome.errors.contains(text), "\(outcome)") }
  }

  @Test("Ctrl-C ends the adapter that the run has started, and flags that make no sense are told so")
  func endAndFlags() async throws {
    let directory = try ScratchDirectory()
    try await withCore { endpoint in
      let run = try RunningProgram([
        "conformance", "--adapter-command", "echo $$ > '\(directory("pid"))'; \(command(endpoint))",
      ])
      try await run.waitForErrors("answers as the contract has it")
      let text = try String(contentsOfFile: directory("pid"), encoding: .utf8)
      let adapter = try #require(pid_t(text.trimmingCharacters(in: .whitespacesAndNewlines)))
      #expect(kill(adapter, 0) == 0)
      run.send(SIGINT)
      #expect(await run.exitCode() == 1)
      #expect(kill(adapter, 0) != 0, "the adapter is still there")
    }
    for (flags, reason) in [
      (["--adapter", "https://127.0.0.1:1"], "plain text"), (["--adapter", "http://127.0.0.1:x"], "port"),
      (["--adapter-command", "python3 adapter.py"], "has no {port}"),
      (["--adapter", "http://127.0.0.1:1", "--adapter-command", "{port}"], "give one of them"),
      (["--adapter", "http://127.0.0.1:1", "--scenario", "2,20"], "1, 3, 7, 8, 23, 24, 31"),
    ] {
      let outcome = try await Program.run(["conformance"] + flags)
      #expect(outcome.exitCode == 64 && outcome.errors.contains(reason), "\(flags): \(outcome)")
    }
  }
}
