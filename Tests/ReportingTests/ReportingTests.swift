// Tests of what a run looks like: in text, on the live line and as JSON.

import Measurement
import Reporting
import Testing

@Suite struct TextReportTests {
  @Test("a valid open loop shows both clocks, the lag, the oracle and the generator's own share")
  func openLoop() {
    let text = renderText(Sample.result())
    #expect(
      text == """
        put: valid
        target                  127.0.0.1:2379 (version 3.5.1)
        load                    open loop, poisson arrivals, 64 connections, values of 256 B, 10,000 keys \
        (random), seed 1
        achieved                19,998/s of 20,000/s offered, over 10.0 s; 200,000 answered, 0 failed
        latency                 p50       p90       p99       p99.9     max
        from intended start     1.50 ms   1.50 ms   1.50 ms   1.50 ms   8.12 ms
        from send               1.40 ms   1.40 ms   1.40 ms   1.40 ms   8.00 ms
        schedule lag            100 µs    100 µs    100 µs    100 µs    120 µs    late 3, skipped 0
        oracle                  200,000 answers, each with a revision above those before it
        generator               0.31 of 2 cores, 15.5 µs of CPU an operation, release build
        warm-up                 2.00 s, until rate and latency were steady

        """)
  }

  @Test("a closed loop is labelled as such and shows no lag")
  func closedLoop() {
    var result = Sample.result()
    result.configuration.shape = .closed(clients: 512)
    result.measured.latencyFromIntendedStart = LatencyHistogram()
    result.measured.scheduleLag = LatencyHistogram()
    let text = renderText(result)
    #expect(text.contains("closed loop, 512 clients, 64 connections"))
    #expect(!text.contains("schedule lag"))
    #expect(text.contains("a closed loop waits for its target"))
  }

  @Test("the first line of an invalid, failed or cut run says so")
  func firstLine() {
    func firstLine(_ verdict: Judgement.Verdict, _ ending: RunEnding) -> String {
      var result = Sample.result()
      result.judgement = Judgement(verdict: verdict, reasons: [.init(code: "why", message: "because.")])
      result.ending = ending
      return renderText(result).split(separator: "\n").first.map(String.init) ?? ""
    }
    #expect(firstLine(.invalid, .completed) == "put: INVALID")
    #expect(firstLine(.failed, .targetLost).hasPrefix("put: FAILED, target lost"))
    #expect(firstLine(.valid, .interrupted).hasPrefix("put: valid, interrupted"))
  }

  @Test("however much went wrong, the summary stays within its limit of lines and counts what it leaves out")
  func limit() {
    var result = Sample.result()
    for code in 1...16 {
      result.measured.count(ErrorTally(code: code, name: "CODE\(code)", count: UInt64(code), firstMessage: "x"))
    }
    result.measured.unanswered = 9
    result.measured.oracle.violations = 4
    result.judgement = Judgement(
      verdict: .failed, reasons: (1...5).map { .init(code: "reason-\($0)", message: "message \($0)") })
    let text = renderText(result)
    #expect(text.split(separator: "\n").count <= reportLineLimit)
    #expect(text.contains("16 × CODE16: x"), "the most frequent error comes first")
    #expect(text.contains("(and 14 more kinds)"))
    #expect(text.contains("(and 3 more reasons)"))
    #expect(text.contains("4 WRONG of 200,000 answers"))
    #expect(text.contains("9 never answered"))
  }

  @Test("a run too short for a percentile shows a dash and still the maximum")
  func fewSamples() {
    var result = Sample.result()
    result.measured.latencyFromSend = LatencyHistogram()
    result.measured.latencyFromSend.record(nanoseconds: 999)
    let row = renderText(result).split(separator: "\n").first { $0.hasPrefix("from send") }
    #expect(row.map { $0.split(separator: " ").suffix(6).joined(separator: " ") } == "– – – – 999 ns")
  }
}

@Suite struct LiveLineTests {
  private func progress() -> BenchProgress {
    var progress = BenchProgress(
      scenario: "put", phase: .measuring, elapsedNanoseconds: 12_340_000_000, remainingNanoseconds: 17_660_000_000)
    progress.achievedPerSecond = 21_034.4
    progress.p50Nanoseconds = 1_200_000
    progress.p99Nanoseconds = 8_430_000
    progress.inFlight = 512
    return progress
  }

  @Test("a quiet run shows time, rate and latency on one line")
  func quiet() {
    #expect(
      renderLiveLine(progress())
        == "put measuring 12.3 s · 17.7 s left · 21,034/s · p50 1.20 ms · p99 8.43 ms · in flight 512")
  }

  @Test("trouble is shown, and it stays when the line is cut")
  func trouble() {
    var troubled = progress()
    troubled.failed = 3
    troubled.violations = 1
    troubled.offeredPerSecond = 30_000
    #expect(renderLiveLine(troubled, columns: 140).hasSuffix("WRONG ANSWERS 1 · failed 3"))
    let narrow = renderLiveLine(troubled, columns: 60)
    #expect(narrow.count <= 60)
    #expect(narrow.contains("WRONG ANSWERS 1 · failed 3"))
  }

  @Test("a line never breaks")
  func noBreaks() {
    for columns in [0, 1, 20, 200] {
      let line = renderLiveLine(progress(), columns: columns)
      #expect(line.count <= columns)
      #expect(!line.contains { $0.isNewline })
    }
  }
}

@Suite struct JSONReportTests {
  @Test("a result survives JSON, histograms and all")
  func roundTrip() throws {
    let result = Sample.result()
    #expect(try readJSON(renderJSON(result)) == result)
    var closed = result
    closed.configuration.shape = .closed(clients: 4)
    closed.ending = .targetLost
    closed.measured.count(ErrorTally(code: 14, name: "UNAVAILABLE", firstMessage: "a \"quoted\" word"))
    #expect(try readJSON(renderJSON(closed)) == closed)
  }

  @Test("the schema, and names in snake case, are in the text")
  func names() throws {
    let text = try renderJSON(Sample.result())
    #expect(text.contains(#""schema" : "portcullis.bench/2""#))
    #expect(text.contains("latency_from_intended_start"))
    #expect(text.contains("duration_nanoseconds"))
    #expect(text.hasSuffix("}\n"))
  }

  @Test("another schema is refused by name, and what is no result at all is too")
  func refusals() throws {
    let other = try renderJSON(Sample.result()).replacing("portcullis.bench/2", with: "portcullis.bench/9")
    let refusal = #expect(throws: ResultFileError.self) { try readJSON(other) }
    #expect(refusal?.description.contains("portcullis.bench/9") == true)
    #expect(throws: ResultFileError.self) { try readJSON("{}") }
    #expect(throws: ResultFileError.self) { try readJSON("not JSON") }
  }

  @Test("progress as JSON is one line")
  func progressLine() throws {
    let progress = BenchProgress(
      scenario: "put", phase: .warmUp, elapsedNanoseconds: 1, remainingNanoseconds: nil)
    let line = try renderProgressJSON(progress)
    #expect(!line.contains { $0.isNewline })
    #expect(line.contains(#""phase":"warmUp""#))
  }
}
