// Tests of comparing sets of runs: what is significant, what is refused, what is left out, what a gate gets.

import Measurement
import Reporting
import Testing

/// Runs of one load whose figures are told by a test.
private enum Runs {
  /// A run whose p50 and p99 are these, `number` telling it from its siblings.
  static func run(
    _ number: Int, p50Microseconds: UInt64 = 1_000, p99Microseconds: UInt64 = 2_000, rate: Double = 20_000
  ) -> BenchResult {
    var result = Sample.result()
    var latency = LatencyHistogram()
    latency.record(nanoseconds: p50Microseconds * 1_000, times: 98_000)
    latency.record(nanoseconds: p99Microseconds * 1_000, times: 2_000)
    result.measured.latencyFromIntendedStart = latency
    result.measured.answeredWithin = UInt64(rate * 10)
    result.generator.cpuNanoseconds += UInt64(number) * 1_000_000
    result.startedAt = "2025-01-02T03:04:\(number < 10 ? "0" : "")\(number)Z"
    return result
  }

  /// A side, its runs in every other second so that two sides interleave.
  static func side(_ name: String, offset: Int = 0, p99Microseconds: [UInt64]) -> [ResultFile] {
    p99Microseconds.enumerated().map { index, p99 in
      ResultFile(name: "\(name)\(index + 1).json", result: run(2 * index + offset, p99Microseconds: p99))
    }
  }

  static let baseline = side("old", p99Microseconds: [2_000, 2_010, 2_020, 2_030, 2_040])
  static let slower = side("new", offset: 1, p99Microseconds: [2_400, 2_410, 2_420, 2_430, 2_440])
}

extension RunComparison {
  fileprivate func row(_ figure: ComparedFigure) -> Row? { figures.first { $0.figure == figure } }
  fileprivate func outcome(_ figure: ComparedFigure) -> FigureComparison.Outcome? { row(figure)?.comparison.outcome }
}

@Suite struct FigureComparisonTests {
  private func compare(
    _ baseline: [Double], _ candidate: [Double], _ better: FigureComparison.Better = .lower, tolerance: Double = 5
  ) -> FigureComparison {
    FigureComparison(baseline: baseline, candidate: candidate, better: better, tolerancePercent: tolerance)
  }

  @Test("five against five that do not overlap have the p of Mann and Whitney's tables")
  func separated() {
    let result = compare([1, 2, 3, 4, 5], [11, 12, 13, 14, 15])
    // Two of the 252 orders are this extreme.
    #expect((result.p - 2.0 / 252).magnitude < 1e-12)
    #expect(result.outcome == .worse)
    #expect(result.ratio == 13.0 / 3)
    #expect(compare([11, 12, 13, 14, 15], [1, 2, 3, 4, 5]).outcome == .better)
    #expect(compare([1, 2, 3, 4, 5], [11, 12, 13, 14, 15], .higher).outcome == .better)
  }

  @Test("sets that overlap widely are not significant, however far their medians are apart")
  func overlapping() {
    let result = compare([1, 9, 2, 8, 3], [4, 20, 1.5, 7, 30])
    #expect(result.outcome == .notSignificant)
    #expect(result.p > 0.05)
    #expect((result.ratio ?? 0) > 2)
  }

  @Test("a significant difference within the tolerance is neither better nor worse")
  func tolerance() {
    let before = [100.0, 101, 102, 103, 104]
    let after = [105.0, 106, 107, 108, 109]
    #expect(compare(before, after, tolerance: 5).outcome == .withinTolerance)
    #expect(compare(before, after, tolerance: 4).outcome == .worse)
    #expect(compare(before, after, .higher, tolerance: 4).outcome == .better)
  }

  @Test("three against three are never significant, not even where ties make the test approximate")
  func tooFew() {
    #expect(compare([1, 1, 1], [2, 2, 2]).outcome == .notSignificant)
    #expect(compare([1, 1, 1], [2, 2, 2]).p == 0.1)
    #expect(compare([1], [100]).outcome == .notSignificant)
    #expect(compare([1], [100]).p == 1)
  }

  @Test("a side without a value is missing, and a baseline of nothing has no ratio")
  func missing() {
    #expect(compare([], [1]).outcome == .missing)
    let fromNothing = compare([0, 0, 0, 0, 0], [1, 2, 3, 4, 5])
    #expect(fromNothing.ratio == nil)
    #expect(fromNothing.outcome == .worse)
  }
}

@Suite struct RunComparisonTests {
  @Test("a slower tail is worse, and the other figures are not")
  func slower() throws {
    let comparison = try RunComparison(baseline: Runs.baseline, candidate: Runs.slower)
    #expect(comparison.outcome(.p99) == .worse)
    #expect(comparison.outcome(.p50) == .notSignificant)
    #expect(comparison.outcome(.rate) == .notSignificant)
    #expect(comparison.verdict == .worse)
    #expect(comparison.exitCode == 1)
    #expect(comparison.reasons.count == 1)
    #expect(comparison.notes.isEmpty, "five interleaved runs of one machine on each side leave nothing to bear in mind")
  }

  @Test("the same runs on both sides, and a faster candidate, pass")
  func notWorse() throws {
    #expect(try RunComparison(baseline: Runs.baseline, candidate: Runs.baseline).exitCode == 0)
    let faster = try RunComparison(baseline: Runs.slower, candidate: Runs.baseline)
    #expect(faster.outcome(.p99) == .better)
    #expect(faster.exitCode == 0)
  }

  @Test("the tolerance and the choice of gates decide the exit code")
  func gates() throws {
    var options = ComparisonOptions()
    options.tolerancePercent = 25
    #expect(try RunComparison(baseline: Runs.baseline, candidate: Runs.slower, options: options).exitCode == 0)
    options.tolerancePercent = 5
    options.gates = [.rate, .p50]
    let ungated = try RunComparison(baseline: Runs.baseline, candidate: Runs.slower, options: options)
    #expect(ungated.outcome(.p99) == .worse)
    #expect(ungated.exitCode == 0)
    #expect(renderText(ungated).contains("WORSE (no gate)"))
  }

  @Test("runs of different loads are refused, and the difference is named")
  func incomparable() throws {
    func refusal(_ change: (inout BenchResult) -> Void) throws -> String {
      var other = Runs.run(1)
      change(&other)
      let error = #expect(throws: ComparisonError.self) {
        try RunComparison(baseline: Runs.baseline, candidate: [ResultFile(name: "new.json", result: other)])
      }
      return error?.description ?? ""
    }
    #expect(try refusal { $0.scenario = "get" }.contains("scenario: put against get"))
    #expect(try refusal { $0.schema = "portcullis.bench/0" }.contains("schema: "))
    #expect(
      try refusal { $0.configuration.valueSizeBytes = 512 }.contains("value_size_bytes: 256 B against 512 B"))
    #expect(
      try refusal { $0.configuration.shape = .closed(clients: 4) }.contains(
        "shape: open loop, poisson arrivals at 20,000/s against closed loop, 4 clients"))
    let rate = try refusal {
      $0.configuration.shape = .open(process: .poisson, ratePerSecond: 10_000, maxInFlight: 10_000)
    }
    #expect(rate.contains("shape.open.rate_per_second: 20,000 against 10,000"))
    #expect(rate.contains("old1.json and new.json"))
    #expect(!(try refusal { $0.scenario = "get\u{1B}[2J" }.contains("\u{1B}")))
  }

  @Test("another seed is another run of the same load; another length or machine is worth a note")
  func notes() throws {
    func notes(_ change: (inout BenchResult) -> Void) throws -> [String] {
      var candidate = Runs.baseline
      for index in candidate.indices { change(&candidate[index].result) }
      return try RunComparison(baseline: Runs.baseline, candidate: candidate).notes
    }
    #expect(try notes { $0.configuration.seed = 7 }.isEmpty)
    #expect(try notes { $0.environment.loadAverage = "9 9 9" }.isEmpty)
    #expect(try notes { $0.configuration.durationNanoseconds = 1 }.contains { $0.contains("duration_nanoseconds") })
    #expect(try notes { $0.environment.kernel = "6.2.0" }.contains { $0.contains("kernel: 6.1.0 against 6.2.0") })
    #expect(
      try notes { $0.startedAt = "2026" + $0.startedAt.dropFirst(4) }.contains { $0.contains("Interleave them") })
  }

  @Test("one run a side is compared, proves nothing, and says so")
  func oneRun() throws {
    let comparison = try RunComparison(baseline: [Runs.baseline[0]], candidate: [Runs.slower[0]])
    #expect(comparison.outcome(.p99) == .notSignificant)
    #expect(comparison.exitCode == 0)
    #expect(comparison.notes.first?.contains("one run a side proves nothing") == true)
    let few = try RunComparison(
      baseline: Array(Runs.baseline.prefix(3)), candidate: Array(Runs.slower.prefix(3)))
    #expect(few.notes.first?.contains("can show no significant difference") == true)
    var options = ComparisonOptions()
    options.leastRuns = 5
    let error = #expect(throws: ComparisonError.self) {
      try RunComparison(baseline: [Runs.baseline[0]], candidate: Runs.slower, options: options)
    }
    #expect(error?.description.contains("the baseline has 1 run to compare") == true)
  }

  @Test("an invalid or cut run is named and left out, or taken with a note when asked for")
  func leftOut() throws {
    var candidate = Runs.slower
    candidate[0].result.judgement = Judgement(
      verdict: .invalid, reasons: [.init(code: "generator-late", message: "x")])
    candidate[1].result.ending = .interrupted
    let comparison = try RunComparison(baseline: Runs.baseline, candidate: candidate)
    #expect(comparison.row(.p99)?.comparison.candidate.count == 3)
    #expect(comparison.candidate.runs.map(\.isUsed) == [false, false, true, true, true])
    #expect(renderText(comparison).contains("new1.json: INVALID (generator-late) (and 1 more runs)"))
    var options = ComparisonOptions()
    options.includesInvalid = true
    let all = try RunComparison(baseline: Runs.baseline, candidate: candidate, options: options)
    #expect(all.row(.p99)?.comparison.candidate.count == 5)
    #expect(all.notes.contains { $0.contains("not to be believed: new1.json: INVALID") })
  }

  @Test("a candidate with a failed run is worse although the run is left out, unless the baseline failed as well")
  func failed() throws {
    func failing(_ files: [ResultFile]) -> [ResultFile] {
      var files = files
      files[0].result.judgement = Judgement(
        verdict: .failed, reasons: [.init(code: "wrong-answer", message: "x")])
      return files
    }
    let comparison = try RunComparison(baseline: Runs.slower, candidate: failing(Runs.baseline))
    #expect(comparison.exitCode == 1)
    #expect(comparison.reasons.first?.contains("old1.json: FAILED (wrong-answer)") == true)
    #expect(try RunComparison(baseline: failing(Runs.slower), candidate: failing(Runs.baseline)).exitCode == 0)
  }

  @Test("where no run is left, or one is given twice, nothing is compared")
  func nothingLeft() throws {
    var candidate = [Runs.slower[0]]
    candidate[0].result.ending = .interrupted
    let empty = #expect(throws: ComparisonError.self) {
      try RunComparison(baseline: Runs.baseline, candidate: candidate)
    }
    #expect(empty?.description.contains("no run of the candidate can be believed") == true)
    #expect(empty?.description.contains("new1.json: valid, interrupted") == true)
    let twice = #expect(throws: ComparisonError.self) {
      try RunComparison(baseline: Runs.baseline, candidate: Runs.slower + [Runs.slower[2]])
    }
    #expect(twice?.description.contains("new3.json and new3.json are one and the same run") == true)
    #expect(throws: ComparisonError.self) { try RunComparison(baseline: [], candidate: Runs.slower) }
    #expect(RunComparison.noComparisonExitCode == 2)
  }

  @Test("a run too short for p99 leaves a gap that is named")
  func gap() throws {
    var candidate = Runs.slower
    var short = LatencyHistogram()
    short.record(nanoseconds: 1_000_000, times: 100)
    candidate[0].result.measured.latencyFromIntendedStart = short
    let comparison = try RunComparison(baseline: Runs.baseline, candidate: candidate)
    #expect(comparison.row(.p99)?.comparison.candidate.count == 4)
    #expect(comparison.notes.contains { $0.contains("p99: only 5 of 5 and 4 of 5 runs") })
  }
}

@Suite struct ComparisonReportTests {
  @Test("the text shows medians, spread, ratio, p and outcome of each figure")
  func text() throws {
    let text = renderText(try RunComparison(baseline: Runs.baseline, candidate: Runs.slower))
    #expect(
      text == """
        put: WORSE, 5 runs against 5, tolerance 5 %
        worse                 p99: 2.42 ms against 2.02 ms, p = 0.008
        load                  open loop, poisson arrivals at 20,000/s, 64 connections, values of 256 B, 10,000 keys (random)
        baseline              127.0.0.1:2379 (version 3.5.1)
        candidate             127.0.0.1:2379 (version 3.5.1)
        median ± spread       baseline            candidate           ratio   p       ~ not significant
        achieved rate         20,000/s ± 0 %      20,000/s ± 0 %      1.00    1.00    ~
        p50                   1.00 ms ± 0 %       1.00 ms ± 0 %       1.00    1.00    ~
        p99                   2.02 ms ± 1 %       2.42 ms ± 1 %       1.20    0.008   WORSE
        generator CPU an op   15.5 µs ± 0 %       15.5 µs ± 0 %       1.00    0.69    ~

        """)
  }

  @Test("however much there is to say, the text stays within its limit, and hostile names stay on their line")
  func limit() throws {
    var baseline = Runs.side("old\u{1B}[2J\n", p99Microseconds: Array(repeating: 2_000, count: 9))
    var candidate = Runs.side("new", offset: 20, p99Microseconds: [2_400, 2_410, 2_420])
    baseline[0].result.judgement = Judgement(verdict: .invalid, reasons: [.init(code: "skipped", message: "x")])
    baseline[1].result.ending = .targetLost
    candidate[0].result.judgement = Judgement(verdict: .failed, reasons: [.init(code: "wrong-answer", message: "x")])
    candidate[1].result.environment.kernel = "6.2.0"
    candidate[2].result.configuration.durationNanoseconds = 1
    let text = renderText(try RunComparison(baseline: baseline, candidate: candidate))
    #expect(text.split(separator: "\n").count <= reportLineLimit)
    #expect(!text.contains("\u{1B}"))
    #expect(text.contains("put: WORSE, 7 runs against 2"))
  }

  @Test("as JSON a comparison has its schema, names in snake case and flat figures")
  func json() throws {
    let comparison = try RunComparison(baseline: Runs.baseline, candidate: Runs.slower)
    let text = try renderJSON(comparison)
    for part in [
      #""schema" : "portcullis.comparison/1""#, #""tolerance_percent" : 5"#, #""figure" : "p99""#,
      #""unit" : "operations per second""#, #""is_gated" : true"#, #""least_p" :"#, #""outcome" : "worse""#,
      #""verdict" : "worse""#, #""baseline_summary" :"#, #""started_at" :"#,
    ] {
      #expect(text.contains(part), "\(part) is missing")
    }
    #expect(text.hasSuffix("}\n"))
    #expect(try renderJSON(comparison) == text)
  }
}
