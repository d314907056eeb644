// `portcullis report` with results of real runs: the page in a real browser, and the exit codes that gates go by.

import Foundation
import Testing

@Suite("report", .serialized)
struct ReportTests {
  /// Two short runs of one load against one node, as files in `directory`.
  private func measure(into directory: ScratchDirectory) async throws -> [String] {
    let serving = try await Serving.start(directory("data"))
    var files: [String] = []
    for number in 1...2 {
      let outcome = try await serving.run([
        "bench", "put", "--rate", "500", "--connections", "2", "--duration", "2s", "--warm-up", "200ms", "--seed",
        "\(number)", "--output", "json",
      ])
      let file = directory("run\(number).json")
      try Data(outcome.output.utf8).write(to: URL(fileURLWithPath: file))
      files.append(file)
    }
    await serving.stop()
    return files
  }

  @Test("a run's page is written, and is one file with verdict, figures and charts")
  func page() async throws {
    let directory = try ScratchDirectory()
    let files = try await measure(into: directory)
    let written = try await Program.run(["report", "html", files[0], "-o", directory("run.html")])
    #expect(written.exitCode == 0)
    #expect(written.output.isEmpty)
    let page = try String(contentsOfFile: directory("run.html"), encoding: .utf8)
    #expect(page.hasPrefix("<!DOCTYPE html>"))
    #expect(page.contains("Percentile spectrum"))
    let again = try await Program.run(["report", "html", files[0], "-o", directory("again.html")])
    #expect(again.exitCode == 0)
    #expect(try String(contentsOfFile: directory("again.html"), encoding: .utf8) == page)
    #expect(try await Program.run(["report", "html", files[0], "--output", files[0]]).exitCode == 64)
    let nowhere = try await Program.run(["report", "html", files[0], "-o", directory("no/where.html")])
    #expect(nowhere.exitCode == 1)
    #expect(nowhere.errors.contains("no/where.html"))
  }

  @Test(
    "a real browser takes the page as it was written: nothing is mended, nothing is blocked, and the figures are there",
    .enabled(if: Clients.chromium != nil, "chromium (Debian) is not there"))
  func browser() async throws {
    let directory = try ScratchDirectory()
    let files = try await measure(into: directory)
    _ = try await Program.run(["report", "html", files[0], "-o", directory("run.html")])
    let page = try String(contentsOfFile: directory("run.html"), encoding: .utf8)
    let shown = try await Program.run(
      [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr",
        "--user-data-dir=\(directory("browser"))", "--dump-dom", "file://\(directory("run.html"))",
      ], executable: try #require(Clients.chromium))
    try #require(shown.exitCode == 0, "\(shown.errors)")
    func elements(_ text: String) -> [Substring] { text.matches(of: /<([a-z][a-z0-9]*)/).map(\.1) }
    #expect(elements(shown.output) == elements(page))
    // Eight charts, and a bar for each stage of a commit on a node alone.
    #expect(elements(shown.output).count { $0 == "svg" } == 8 + 7)
    for text in ["verdict", "achieved", "of 500/s offered", "p99", "Percentile spectrum", "Schedule", "key count"] {
      #expect(shown.output.contains(text), "\(text) is missing")
    }
    // What a page loads against its own policy, or a script of it that fails, is told on the console.
    #expect(!shown.errors.contains("CONSOLE"), "\(shown.errors)")
  }

  @Test(
    "a search sees the nodes of its target, and a real browser takes its page as it was written",
    .enabled(if: Clients.chromium != nil, "chromium (Debian) is not there"))
  func limit() async throws {
    let directory = try ScratchDirectory()
    // Half of the answers decide, so that short runs do.
    let found = try await Program.run([
      "bench", "put", "--start", "3", "--directory", directory.path, "--find-limit", "--rate", "500", "--objective",
      "p50=20ms", "--duration", "300ms", "--warm-up", "0", "--connections", "3", "--result", directory("limit.json"),
    ])
    #expect(found.output.contains("put limit: "), "\(found.errors)")
    let json = try String(contentsOfFile: directory("limit.json"), encoding: .utf8)
    #expect(json.contains(#""role" : "leader""#) && json.contains(#""role" : "follower""#), "\(json.prefix(2000))")
    let written = try await Program.run(["report", "html", directory("limit.json"), "-o", directory("limit.html")])
    try #require(written.exitCode == 0, "\(written.errors)")
    let page = try String(contentsOfFile: directory("limit.html"), encoding: .utf8)
    let shown = try await Program.run(
      [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr",
        "--user-data-dir=\(directory("browser"))", "--dump-dom", "file://\(directory("limit.html"))",
      ], executable: try #require(Clients.chromium))
    func elements(_ text: String) -> [Substring] { text.matches(of: /<([a-z][a-z0-9]*)/).map(\.1) }
    #expect(elements(shown.output) == elements(page))
    for text in ["put limit", "p50 within 20.0 ms", "What binds", "Latency against offered load", "objective"] {
      #expect(shown.output.contains(text), "\(text) is missing")
    }
    #expect(!shown.errors.contains("CONSOLE"), "\(shown.errors)")
    let compared = try await Program.run(["report", "compare", directory("limit.json"), directory("limit.json")])
    #expect(compared.exitCode == 2 && compared.errors.contains("a search for the limit"))
  }

  @Test("comparing ends with 0, 1 or 2, and a reason on stderr where nothing was compared")
  func exitCodes() async throws {
    let directory = try ScratchDirectory()
    let files = try await measure(into: directory)
    let include = ["--include-invalid"]
    let alike = try await Program.run(["report", "compare", files[0], files[1]] + include)
    #expect(alike.exitCode == 0)
    #expect(alike.output.contains("one run a side proves nothing"))
    let asJSON = try await Program.run(
      ["report", "compare", files[0], "--with", files[1], "--output", "json"] + include)
    #expect(asJSON.exitCode == 0)
    #expect(asJSON.output.contains(#""schema" : "portcullis.comparison/1""#))

    // The same figures, six runs of them by their times; and once more with every latency's cell ten times as high.
    let baseline = try copies(of: files[0], "old", in: directory)
    let candidate = try copies(of: files[0], "new", in: directory, isSlower: true)
    let slower = try await Program.run(["report", "compare"] + baseline + ["--with"] + candidate + include)
    #expect(slower.exitCode == 1, "\(slower.output)\(slower.errors)")
    #expect(slower.output.contains("WORSE"))
    let faster = try await Program.run(["report", "compare"] + candidate + ["--with"] + baseline + include)
    #expect(faster.exitCode == 0, "\(faster.output)\(faster.errors)")

    try Data("{}".utf8).write(to: URL(fileURLWithPath: directory("none.json")))
    let unreadable = [
      (directory("absent.json"), "absent.json"), (directory("none.json"), "no result"),
      (directory("data"), "directory"), ("/dev/null", "empty"),
    ]
    for (file, reason) in unreadable {
      let refused = try await Program.run(["report", "compare", files[0], file])
      #expect(refused.exitCode == 2)
      #expect(refused.errors.contains(reason))
      #expect(refused.output.isEmpty)
    }
    let few = try await Program.run(["report", "compare", files[0], files[1], "--min-runs", "5"] + include)
    #expect(few.exitCode == 2)
    #expect(try await Program.run(["report", "compare", files[0]]).exitCode == 64)
    #expect(try await Program.run(["report", "compare", files[0], files[1], "--gate", "p98"]).exitCode == 64)
  }

  /// The result under six times of its start, its latencies as they were or ten times as long.
  private func copies(
    of file: String, _ name: String, in directory: ScratchDirectory, isSlower: Bool = false
  ) throws -> [String] {
    let whole = try JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: file)))
    return try (1...6).map { number in
      var result = try #require(whole as? [String: Any])
      result["started_at"] = "2025-01-02T03:04:0\(number)Z"
      if isSlower {
        var measured = try #require(result["measured"] as? [String: Any])
        var latency = try #require(measured["latency_from_intended_start"] as? [String: Any])
        let buckets = try #require(latency["buckets"] as? [[UInt64]])
        latency["buckets"] = buckets.map { [$0[0] * 10, $0[1]] }
        for key in ["minimum_nanoseconds", "maximum_nanoseconds", "sum_nanoseconds"] {
          latency[key] = try #require(latency[key] as? UInt64) * 10
        }
        measured["latency_from_intended_start"] = latency
        result["measured"] = measured
      }
      let copy = directory("\(name)\(number).json")
      try JSONSerialization.data(withJSONObject: result).write(to: URL(fileURLWithPath: copy))
      return copy
    }
  }
}
