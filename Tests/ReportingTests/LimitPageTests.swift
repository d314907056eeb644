// Tests of the page of a search: one well-formed file with the interval, the charts and what binds.

import Foundation
import Measurement
import Reporting
import Testing

@Suite struct LimitPageTests {
  private static func trial(_ rate: Double, _ milliseconds: Double, _ reasons: [String] = []) -> LimitTrial {
    var trial = LimitTrial(
      ratePerSecond: rate, achievedPerSecond: Swift.min(rate, 15_000), latencyNanoseconds: UInt64(milliseconds * 1e6),
      reasons: reasons, usage: HostUsage(processors: 0.6, disk: 0.2))
    trial.p50Nanoseconds = UInt64(milliseconds * 3e5)
    trial.p99Nanoseconds = trial.latencyNanoseconds
    var leader = NodeUsage(endpoint: "10.0.0.1:2379", cores: 3.8)
    (leader.role, leader.processors, leader.flushing) = (.leader, 4, 0.3)
    trial.nodes = [leader]
    return trial
  }

  private static func result() -> LimitResult {
    var search = LimitSearch(startingAt: 500)
    search.record(trial(500, 2))
    var result = LimitResult(
      of: search, Sample.result(), objective: LoadObjective(percentile: 99, latencyNanoseconds: 20_000_000))
    result.trials = [
      trial(500, 2), trial(1_000, 2.2), trial(2_000, 2.9), trial(4_000, 4), trial(8_000, 7),
      trial(16_000, 90, ["latency"]),
      trial(11_314, 15), trial(13_454, 30, ["latency"]), trial(12_338, 19), trial(12_338, 18),
      trial(12_338, 21, ["latency"]),
      trial(13_454, 26, ["latency"]), trial(13_454, 33, ["latency", "backlog"]),
    ]
    (result.holdsPerSecond, result.failsPerSecond, result.isComplete) = (12_338, 13_454, true)
    return result
  }

  private func read(_ result: LimitResult) -> PageReader { PageReader(renderHTML(result)) }

  @Test("the page is one well-formed file with the interval, what binds and every run")
  func page() {
    let page = read(Self.result())
    #expect(page.fault == nil)
    for text in [
      "put limit", "p99 within 20.0 ms", "between 12,338 and 13,454 a second", "found", "recommended", "8,637/s",
      "The processors of the leader (10.0.0.1:2379): 3.8 of 4 busy", "latency, backlog", "60 %", "3.80 of 4", "30 %",
      "objective", "Latency against offered load", "processor count",
    ] {
      #expect(page.text.contains(text), "\(text) is missing")
    }
    #expect(page.all("script").isEmpty && page.all("link").isEmpty && page.all("img").isEmpty)
    #expect(page.all("tbody").count == 2 && page.all("tr").count == 2 + 2 * Self.result().trials.count)
    #expect(!page.text.contains("rate per second"), "that of the last run is not the search's")
  }

  @Test("each run is a dot of both percentiles, the interval is shaded, and the objective is a line")
  func charts() throws {
    let result = Self.result()
    let page = read(result)
    // Each chart is drawn for a desk and for a phone.
    #expect(page.all("svg").count == 4)
    #expect(page.all("circle", "dot s1").count == 4 * result.trials.count)
    #expect(page.all("circle", "dot s2").count == 2 * result.trials.count)
    #expect(page.all("path", "line ref").count == 4)
    let bands = page.all("rect", "band")
    #expect(bands.count == 4)
    let band = try #require(bands.first)
    let (x, width) = (
      try #require(Double(band.attributes["x"] ?? "")), try #require(Double(band.attributes["width"] ?? ""))
    )
    #expect(x > 66 && width >= 2 && x + width < 728)
  }

  @Test("another percentile than those two has a line of its own")
  func otherPercentile() {
    var result = Self.result()
    result.objective.percentile = 99.9
    let page = read(result)
    #expect(page.text.contains("p99.9 within"))
    #expect(page.all("circle", "dot s3").count == 2 * result.trials.count)
  }

  @Test("a search that found nothing, was cut short or has figures that are none, still has a page")
  func partial() {
    var stopped = Self.result()
    (stopped.isComplete, stopped.stopped) = (false, "the target was lost at 16000 <operations> a second")
    #expect(read(stopped).fault == nil)
    #expect(read(stopped).text.contains("cut short") && read(stopped).text.contains("lost at 16000 <operations>"))
    var nothing = Self.result()
    (nothing.trials, nothing.holdsPerSecond, nothing.failsPerSecond) = ([], nil, nil)
    #expect(read(nothing).fault == nil && read(nothing).all("svg").isEmpty)
    var odd = Self.result()
    odd.trials = [
      Self.trial(.nan, 1), Self.trial(-5, 1), Self.trial(.infinity, 1), Self.trial(0, 1), Self.trial(1e300, 1),
    ]
    (odd.holdsPerSecond, odd.failsPerSecond) = (.infinity, -1)
    #expect(read(odd).fault == nil)
    var old = Self.result()
    for index in old.trials.indices {
      (old.trials[index].p50Nanoseconds, old.trials[index].p99Nanoseconds, old.trials[index].nodes) = (nil, nil, nil)
    }
    #expect(read(old).fault == nil && read(old).all("circle", "dot s3").count == 2 * old.trials.count)
  }

  @Test("a result is read back as it was written, and named where a run is wanted")
  func reading() throws {
    let result = Self.result()
    let text = try renderJSON(result)
    guard case .limit(let again) = try readAnyJSON(text) else {
      Issue.record("it was read as something else")
      return
    }
    #expect(again == result)
    #expect(throws: ResultFileError("this is a search for the limit; a run of bench without --find-limit is needed")) {
      try readJSON(text)
    }
    guard case .run(let run) = try readAnyJSON(try renderJSON(Sample.result())) else {
      Issue.record("a run was read as something else")
      return
    }
    #expect(run == Sample.result())
    // One from before the later fields.
    let old = text.replacing(#/"(p50|p99)_nanoseconds" : \d+,?\s*/#, with: "")
    guard case .limit(let before) = try readAnyJSON(old) else { return }
    #expect(before.trials.allSatisfy { $0.p50Nanoseconds == nil } && before.trials.count == result.trials.count)
  }

  @Test("the same search gives the same page, and a terminal the same words")
  func stable() {
    let result = Self.result()
    #expect(renderHTML(result) == renderHTML(result))
    let text = renderText(result)
    #expect(text.split(separator: "\n").count <= reportLineLimit)
    #expect(text.contains("binds       the processors of the leader (10.0.0.1:2379): 3.8 of 4 busy"))
  }
}
