// How a run of scenarios judges, what its command prints, and that it leaves no process behind.

import Conformance
import Foundation
import Glibc
import Synchronization
import Testing

@Suite("conformance runs", .serialized, .timeLimit(.minutes(2)))
struct ConformanceRunTests {
  /// A scenario that counts what it is told to.
  private struct Planted: Scenario {
    var number = 99
    let title = "planted"
    let expectation = "what the test says"
    var noControl: String?
    let tally: @Sendable (Guarding) throws -> Tally

    func play(on stage: Stage) async throws -> Tally { try tally(stage.guarding) }
  }

  private func verdict(
    noControl: String? = nil, _ tally: @escaping @Sendable (Guarding) throws -> Tally
  ) async throws -> Verdict {
    let directory = try ScratchDirectory()
    let run = ConformanceRun(
      executable: Program.path, directory: directory("run"),
      scenarios: [Planted(noControl: noControl, tally: tally)])
    return try #require(try await run.run().first).verdict
  }

  private static func tally(stale: Int, refused: Int, landed: Int) -> Tally {
    var tally = Tally()
    (tally.staleAttempts, tally.refusals, tally.landed) = (stale, refused, landed)
    return tally
  }

  @Test("a scenario passes only when its control fails, and shows nothing when nothing stale was tried")
  func verdicts() async throws {
    let (good, bad) = (Self.tally(stale: 2, refused: 2, landed: 0), Self.tally(stale: 2, refused: 0, landed: 2))
    #expect(try await verdict { $0 == .fenced ? good : bad } == .pass)
    #expect(try await verdict { _ in bad } == .fail)
    #expect(try await verdict { _ in good } == .inconclusive, "the control did not fail")
    #expect(try await verdict { $0 == .fenced ? Tally() : bad } == .inconclusive, "nothing was tried")
    let half = Self.tally(stale: 2, refused: 1, landed: 0)
    #expect(try await verdict { $0 == .fenced ? half : bad } == .inconclusive, "one was not refused by the fence")
    var missed = good
    missed.miss("planted")
    let other = missed
    #expect(try await verdict { $0 == .fenced ? other : bad } == .inconclusive, "the story went another way")
    #expect(try await verdict(noControl: "there is none") { _ in good } == .pass)
    #expect(try await verdict { _ in throw ConformanceError("planted") } == .fail)
    let broken = try await verdict { guarding in
      guard guarding == .fenced else { throw ConformanceError("planted") }
      return good
    }
    #expect(broken == .inconclusive, "a control that could not be played shows nothing")
  }

  /// A scenario that starts one of each and then never ends.
  private struct Endless: Scenario {
    let number = 98
    let title = "endless"
    let expectation = "cancelled"
    let started: AsyncStream<[pid_t]>.Continuation

    func play(on stage: Stage) async throws -> Tally {
      let gateway = try await stage.startGateway()
      let writer = try stage.startWriter("A", gateway: gateway.address)
      try await writer.acquire(stage.name)
      try await writer.pause()
      started.yield([stage.core.nodes[0], gateway].compactMap { $0.program?.processID } + [writer.processID])
      try await Task.sleep(for: .seconds(3600))
      return Tally()
    }
  }

  @Test("a run that is cancelled ends every process that it started, also one that is stopped")
  func cancelled() async throws {
    let directory = try ScratchDirectory()
    let (stream, continuation) = AsyncStream.makeStream(of: [pid_t].self)
    let run = ConformanceRun(
      executable: Program.path, directory: directory("run"), scenarios: [Endless(started: continuation)])
    let running = Task { try await run.run() }
    var iterator = stream.makeAsyncIterator()
    let processes = try #require(await iterator.next())
    #expect(processes.count == 3 && processes.allSatisfy { kill($0, 0) == 0 })
    running.cancel()
    await #expect(throws: CancellationError.self) { _ = try await running.value }
    // They have been killed; the system takes a moment to take them away.
    while processes.contains(where: { kill($0, 0) == 0 }) {
      try Task.checkCancellation()
      await Task.yield()
    }
  }

  @Test("the command prints what was counted, as a table, as JSON and as JUnit's XML, and its exit code says it all")
  func command() async throws {
    let directory = try ScratchDirectory()
    let table = try await Program.run(["conformance", "--quick", "--scenario", "26"])
    #expect(table.exitCode == 0 && table.output.contains("VERDICT") && table.output.contains("1 of 1"), "\(table)")
    let json = try await Program.run([
      "conformance", "--quick", "--scenario", "26,28", "--json", "--junit", directory("report.xml"), "--directory",
      directory("kept"), "--html", directory("report.html"),
    ])
    #expect(json.exitCode == 0, "\(json)")
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    let report = try decoder.decode(Report.self, from: Data(json.output.utf8))
    #expect(report.passed && report.scenarios.map(\.number) == [26, 28])
    for scenario in report.scenarios {
      #expect(scenario.fenced.staleAttempts > 0 && scenario.fenced.refusals == scenario.fenced.staleAttempts)
      #expect(scenario.verdict == "pass" && scenario.control?.verdict == "fail")
    }
    let xml = try String(contentsOfFile: directory("report.xml"), encoding: .utf8)
    #expect(xml.contains(#"tests="2" failures="0""#) && xml.contains(#"name="scenario 28: "#))
    let page = try String(contentsOfFile: directory("report.html"), encoding: .utf8)
    #expect(page.contains("2 of 2 passed") && page.contains(#"<section id="s28">"#) && !page.contains("<script"))
    #expect(FileManager.default.fileExists(atPath: directory("kept") + "/s26-fenced/s26-fenced.db"))
  }

  @Test(
    "beside the locks of an etcd, which lose what was acknowledged, ours with the fence lose nothing",
    .enabled(if: Clients.etcd34 ?? Clients.etcd != nil))
  func beside() async throws {
    let etcd = try #require(Clients.etcd34 ?? Clients.etcd)
    let outcome = try await Program.run([
      "conformance", "--quick", "--scenario", "26", "--beside", etcd, "--json",
    ])
    #expect(outcome.exitCode == 0, "\(outcome)")
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    let rows = try decoder.decode(Report.self, from: Data(outcome.output.utf8)).lockSet
    #expect(rows.count == 3 && rows[0].system.hasPrefix("etcd 3."), "\(rows)")
    for row in rows.prefix(2) { #expect(row.lost > 0 && row.refused == 0 && row.pauses >= 3, "\(row)") }
    let ours = try #require(rows.last)
    #expect(ours.lost == 0 && ours.refused > 0 && ours.acknowledged > 0, "\(ours)")
    let missing = try await Program.run(["conformance", "--scenario", "26", "--beside", "/nowhere/etcd"])
    #expect(missing.exitCode == 64 && missing.errors.contains("/nowhere/etcd is no program"), "\(missing)")
  }

  private struct Report: Decodable {
    struct LockSet: Decodable {
      let system: String
      let acknowledged: Int
      let lost: Int
      let refused: Int
      let pauses: Int
    }

    struct Play: Decodable {
      let verdict: String
      let staleAttempts: Int
      let refusals: Int
    }

    struct Entry: Decodable {
      let number: Int
      let verdict: String
      let fenced: Play
      let control: Play?
    }

    let passed: Bool
    let scenarios: [Entry]
    let lockSet: [LockSet]
  }

  @Test("arguments that make no sense are told what there is")
  func badArguments() async throws {
    let unknown = try await Program.run(["conformance", "--scenario", "1,99"])
    #expect(unknown.exitCode == 64 && unknown.errors.contains("there is no scenario 99"), "\(unknown)")
    #expect(try await Program.run(["conformance", "--scenario", "one"]).exitCode == 64)
    let directory = try ScratchDirectory()
    try Data().write(to: URL(fileURLWithPath: directory("file")))
    let full = try await Program.run(["conformance", "--directory", directory.path])
    #expect(full.exitCode == 64 && full.errors.contains("is not empty"), "\(full)")
    let list = try await Program.run(["conformance", "--list"])
    #expect(list.exitCode == 0)
    for scenario in Catalogue.all { #expect(list.output.contains(scenario.title)) }
  }
}
