// `portcullis fsync`, with the real executable on a real disk.

import Conformance
import Foundation
import Testing

@Suite("fsync")
struct FsyncTests {
  private struct Profile: Decodable {
    struct Series: Decodable {
      struct Distribution: Decodable {
        let count: Int
        let minimumNanoseconds: Int
      }
      let commit: Distribution
      let flush: Distribution?
    }
    struct Verdict: Decodable { let grade: String }
    let schema: String
    let ending: String
    let series: [Series]
    let verdict: Verdict

    init(_ text: String) throws {
      let decoder = JSONDecoder()
      decoder.keyDecodingStrategy = .convertFromSnakeCase
      self = try decoder.decode(Profile.self, from: Data(text.utf8))
    }
  }

  private func left(in directory: ScratchDirectory) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: directory.path)
  }

  private func largestFile(in directory: ScratchDirectory) throws -> Int {
    let files = try FileManager.default.subpathsOfDirectory(atPath: directory.path)
    return files.map { FileManager.size(of: directory($0)) }.max() ?? 0
  }

  @Test("chosen cells are measured, judged and told as text and as JSON, and nothing is left")
  func choices() async throws {
    let directory = try ScratchDirectory()
    let choice = ["fsync", directory.path, "--size", "256,1KiB", "--writers", "1,2", "--commits", "20"]
    let text = try await Program.run(choice + ["--histogram"])
    #expect(text.exitCode == 0 && text.errors.isEmpty, "\(text.errors)")
    for part in ["2 at once", "1024 B", "verdict: ", "because ", "to do: ", "█"] { #expect(text.output.contains(part)) }
    let json = try await Program.run(choice + ["--output", "json"])
    let profile = try Profile(json.output)
    #expect(profile.schema == "portcullis.disk/1" && profile.ending == "completed")
    // Two controls, and two sizes by one and by two writers.
    #expect(profile.series.count == 6)
    #expect(try left(in: directory).isEmpty)
  }

  @Test("Ctrl-C removes the files and shows what was measured")
  func interrupted() async throws {
    let directory = try ScratchDirectory()
    let measuring = try RunningProgram([
      "fsync", directory.path, "--size", "512", "--layout", "growing", "--commits", "1000000", "--seconds", "3600",
      "--output", "json",
    ])
    // Beyond the sixteen commits of the warm-up.
    while try largestFile(in: directory) < 64 * 512 {
      try #require(!measuring.hasEnded)
      await Task.yield()
    }
    measuring.send(SIGINT)
    #expect(await measuring.exitCode() == 130)
    await measuring.waitForEndOfOutput()
    let profile = try Profile(measuring.output)
    #expect(profile.ending == "interrupted" && !profile.series.isEmpty)
    #expect(profile.series.allSatisfy { $0.commit.count > 0 })
    #expect(try left(in: directory).isEmpty)
  }

  @Test("a disk that takes 12 ms longer for each flush is measured so and called bad")
  func slowDisk() async throws {
    let directory = try ScratchDirectory()
    let outcome = try await Program.run(
      ["fsync", directory.path, "--size", "2300", "--commits", "25", "--output", "json"],
      environment: [
        "LD_PRELOAD": FaultControl.library(for: Program.path), "PORTCULLIS_FAULT_FLUSH_DELAY_US": "12000",
        "PORTCULLIS_FAULT_BELOW": directory.path,
      ])
    let profile = try Profile(outcome.output)
    #expect(profile.verdict.grade == "bad")
    // The delay is in the flush and not in the control, which has none.
    #expect(profile.series.count == 2 && profile.series[0].flush == nil)
    #expect(profile.series[0].commit.minimumNanoseconds < 12_000_000)
    #expect((profile.series[1].flush?.minimumNanoseconds ?? 0) >= 12_000_000)
  }

  @Test(
    "a disk that is full or broken is one clear line, and nothing is left", arguments: [(28, "is full"), (5, "kernel")])
  func brokenDisk(error: Int, text: String) async throws {
    let directory = try ScratchDirectory()
    let outcome = try await Program.run(
      ["fsync", directory.path, "--size", "2300", "--commits", "25"],
      environment: [
        "LD_PRELOAD": FaultControl.library(for: Program.path), "PORTCULLIS_FAULT_FLUSH_ERROR": "\(error)",
        "PORTCULLIS_FAULT_BELOW": directory.path,
      ])
    #expect(outcome.exitCode == 1 && outcome.output.isEmpty)
    #expect(outcome.errors.contains(text), "\(outcome.errors)")
    #expect(try left(in: directory).isEmpty)
  }

  @Test(
    "what cannot be measured is one clear line",
    arguments: [
      (["/no/such/directory"], Int32(1), "name one that is there"), (["/etc/passwd"], 1, "is not a directory"),
      (["--size", "0"], 64, "--size takes 1 to"), (["--size", "64k"], 64, "64k"),
      (["--writers", "0"], 64, "--writers"),
      (["--layout", "sparse"], 64, "'prepared', 'reserved' or 'growing'"),
      (["--method", "fsync"], 64, "'dsync' or 'none'"),
      (["--interval", "2h"], 64, "2h"), (["--commits", "1"], 64, "--commits takes 10 to"),
      (["--seconds", "0"], 64, "--seconds"), (["--full", "--size", "256"], 64, "leave out"),
      (["--histogram", "--output", "json"], 64, "--histogram"),
    ])
  func mistakes(arguments: [String], exitCode: Int32, text: String) async throws {
    let outcome = try await Program.run(["fsync"] + arguments)
    #expect(outcome.exitCode == exitCode)
    #expect(outcome.errors.contains(text), "\(outcome.errors)")
    #expect(outcome.output.isEmpty)
  }
}
