// Tests of the page of a run: that it is one well-formed file that loads nothing, shows what the text shows, and lets
// no word of a result become markup.

import Measurement
import Reporting
import Testing

/// Runs to be shown.
private enum Pages {
  static func latency(_ microseconds: ClosedRange<UInt64>, times: UInt64 = 40) -> LatencyHistogram {
    var histogram = LatencyHistogram()
    for value in stride(from: microseconds.lowerBound, through: microseconds.upperBound, by: 7) {
      histogram.record(nanoseconds: value * 1_000, times: times)
    }
    return histogram
  }

  /// A run with something in every place: slices, failures, an invalid verdict.
  static func troubled() -> BenchResult {
    var result = Sample.result()
    result.ending = .interrupted
    result.judgement = Judgement(
      verdict: .invalid,
      reasons: [
        .init(code: "generator-late", message: "p99 of the schedule lag is 4.20 ms, above the accepted 1.00 ms."),
        .init(code: "skipped", message: "77 of 200077 due operations were never started."),
      ])
    result.measured.latencyFromIntendedStart = latency(900...9_000)
    result.measured.latencyFromSend = latency(700...6_000)
    result.measured.scheduleLag = latency(10...4_200)
    result.measured.failed = 41
    result.measured.unanswered = 9
    result.measured.skipped = 77
    result.measured.late = 1_234
    result.measured.count(ErrorTally(code: 14, name: "UNAVAILABLE", count: 40, firstMessage: "no leader"))
    result.measured.count(ErrorTally(code: 8, name: "RESOURCE_EXHAUSTED", count: 1, firstMessage: "no space"))
    result.measured.oracle.violations = 3
    result.measured.oracle.firstViolation = "revision 17 after 19"
    result.timeline = (1...10).map { second in
      TimelineSlice(
        endNanoseconds: UInt64(second) * 1_000_000_000, durationNanoseconds: 1_000_000_000,
        succeeded: second == 5 ? 0 : 20_000, failed: second == 5 ? 41 : 0, inFlight: 31 * second,
        latency: second == 5 ? LatencyHistogram() : latency(700...6_000))
    }
    return result
  }

  static func closed() -> BenchResult {
    var result = troubled()
    result.configuration.shape = .closed(clients: 512)
    result.measured.latencyFromIntendedStart = LatencyHistogram()
    result.measured.scheduleLag = LatencyHistogram()
    result.judgement = Judgement(verdict: .valid, reasons: [])
    return result
  }

  /// A run in which nothing happened.
  static func empty() -> BenchResult {
    var result = Sample.result()
    result.measured = LoadFigures()
    result.timeline = []
    result.generator = GeneratorFigures(
      cpuNanoseconds: 0, durationNanoseconds: 0, operations: 0, busiestThreadShare: 0)
    return result
  }

  static var all: [BenchResult] { [Sample.result(), troubled(), closed(), empty()] }
}

@Suite struct PageTests {
  @Test("the same result gives the same page, also after a way through JSON")
  func deterministic() throws {
    for result in Pages.all {
      let page = renderHTML(result)
      #expect(renderHTML(result) == page)
      #expect(renderHTML(try readJSON(renderJSON(result))) == page)
    }
  }

  @Test("every page is well-formed, and its style sheet knows each class")
  func wellFormed() {
    for result in Pages.all {
      let page = PageReader(renderHTML(result))
      #expect(page.fault == nil)
      let sheet = page.all("style").first?.text ?? ""
      for element in page.elements {
        for role in element.attributes["class"]?.split(separator: " ") ?? [] where !["chart", "tick"].contains(role) {
          #expect(sheet.contains(".\(role)"), "the style sheet knows no .\(role)")
        }
      }
    }
  }

  @Test("a page loads nothing and runs nothing")
  func selfContained() {
    for result in Pages.all {
      let page = renderHTML(result)
      for word in ["http://", "https://", "//", "src=", "href=", "url(", "@import", "<script", "<link", "<img", "on"] {
        let isFound = word == "on" ? page.contains(/\son[a-z]+=/) : page.contains(word)
        #expect(!isFound, "the page holds \(word)")
      }
      #expect(page.contains("default-src 'none'".replacing("'", with: "&#39;")))
    }
  }

  @Test("every figure of the text for a terminal is on the page, with its unit")
  func figuresOfText() {
    for result in Pages.all {
      let page = PageReader(renderHTML(result)).text
      let words = renderText(result).split { $0 == " " || $0 == "\n" }.map { word in
        word.trimmingPrefix(while: { $0 == "(" })
      }
      for (index, word) in words.enumerated() where word.contains(where: \.isNumber) {
        var figure = String(word)
        while let last = figure.last, ",;:).".contains(last) { figure.removeLast() }
        if index + 1 < words.count, figure.count == word.count, ["ns", "µs", "ms", "s"].contains(words[index + 1]) {
          figure += " \(words[index + 1])"
        }
        #expect(page.contains(figure), "\(figure) of the text is not on the page")
      }
    }
  }

  @Test("the verdict and its reasons stand before any figure")
  func verdictFirst() throws {
    let text = PageReader(renderHTML(Pages.troubled())).text
    let verdict = try #require(text.range(of: "INVALID", after: "2025-01-02T03:04:05Z"))
    let reason = try #require(text.range(of: "generator-late"))
    let cut = try #require(text.range(of: "cut short (interrupted)"))
    let figure = try #require(text.range(of: "achieved"))
    #expect(verdict.lowerBound < reason.lowerBound)
    #expect(cut.lowerBound < figure.lowerBound)
    #expect(reason.lowerBound < figure.lowerBound)
  }

  @Test("no word of a result becomes markup, wherever it stands")
  func hostile() {
    let hostile = "</title><script>alert('1')</script>\"><img src=x onerror=\"boom\"/>&lt;]]>\u{1B}[2J\u{202E}\u{0}"
    let shown = "</title><script>alert('1')</script>\"><img src=x onerror=\"boom\"/>&lt;]]>\u{FFFD}[2J\u{FFFD}\u{FFFD}"
    var result = Pages.troubled()
    result.scenario = "scenario \(hostile)"
    result.startedAt = "started \(hostile)"
    result.target = TargetDescription(
      endpoints: ["endpoint \(hostile)"], version: "version \(hostile)", cluster: "cluster \(hostile)")
    result.judgement.reasons = [.init(code: "code \(hostile)", message: "reason \(hostile)")]
    result.measured.count(ErrorTally(code: 2, name: "name \(hostile)", firstMessage: "message \(hostile)"))
    result.measured.oracle.firstViolation = "violation \(hostile)"
    result.configuration.keyPrefix = "prefix \(hostile)"
    result.environment.operatingSystem = "system \(hostile)"
    result.environment.fileSystem?.mountPoint = "mount \(hostile)"
    result.environment.buildConfiguration = "build \(hostile)"
    result.schema = "schema \(hostile)"
    let page = PageReader(renderHTML(result))
    #expect(page.fault == nil)
    #expect(page.all("script").isEmpty)
    #expect(page.all("img").isEmpty)
    for place in [
      "scenario", "started", "endpoint", "version", "cluster", "code", "reason", "name", "message", "violation",
      "prefix", "system", "mount", "build", "schema",
    ] {
      #expect(page.text.contains("\(place) \(shown)"), "the \(place) is not shown as it is")
    }
    let known: Set = [
      "class", "viewBox", "role", "aria-label", "lang", "charset", "name", "content", "http-equiv", "scope", "x", "y",
      "x1", "y1", "x2", "y2", "cx", "cy", "r", "d",
    ]
    for element in page.elements {
      #expect(Set(element.attributes.keys).isSubset(of: known), "\(element.attributes)")
    }
  }

  @Test("figures that no run can have are shown somehow, and end nothing")
  func absurd() {
    var result = Pages.troubled()
    result.configuration.shape = .open(process: .constant, ratePerSecond: .infinity, maxInFlight: .min)
    result.configuration.valueSizeBytes = .min
    result.configuration.connections = .min
    result.measured.durationNanoseconds = 1
    result.measured.started = .max
    result.measured.succeeded = .max
    result.measured.failed = .max
    result.measured.skipped = .max
    result.measured.answeredWithin = .max
    result.measured.highestInFlight = .min
    result.generator = GeneratorFigures(
      cpuNanoseconds: .max, durationNanoseconds: 1, operations: 1, busiestThreadShare: -.infinity)
    result.environment.memoryBytes = .max
    for latency in [0, 1, UInt64.max] {
      var histogram = LatencyHistogram()
      histogram.record(nanoseconds: latency, times: 3)
      result.measured.latencyFromSend = histogram
      result.measured.latencyFromIntendedStart = histogram
      result.timeline = [
        TimelineSlice(
          endNanoseconds: 0, durationNanoseconds: .max, succeeded: .max, failed: .max, inFlight: .min,
          latency: histogram),
        TimelineSlice(
          endNanoseconds: .max, durationNanoseconds: 1, succeeded: .max, failed: 0, inFlight: .max,
          latency: histogram),
      ]
      #expect(PageReader(renderHTML(result)).fault == nil)
      for rate in [Double.nan, -1, 0, 1e-300, 1e300] {
        result.configuration.shape = .open(process: .constant, ratePerSecond: rate, maxInFlight: 0)
        #expect(PageReader(renderHTML(result)).fault == nil)
      }
    }
  }
}

@Suite struct ChartTests {
  @Test("each chart is drawn for a desk and for a phone, says what it shows, and names each line at its end")
  func drawings() {
    let page = PageReader(renderHTML(Pages.troubled()))
    #expect(page.all("svg", "wide").count == 4)
    #expect(page.all("svg", "narrow").count == 4)
    #expect(page.all("svg").allSatisfy { $0.attributes["aria-label"]?.isEmpty == false })
    let names = Set(page.elements.filter { $0.attributes["class"]?.hasPrefix("name") == true }.map(\.text))
    #expect(
      names.isSuperset(of: [
        "from start", "from send", "offered", "achieved", "failed", "p50", "p99", "max", "in flight", "max 9.00 ms",
      ]))
  }

  @Test("axes have round ticks with units")
  func ticks() {
    let page = PageReader(renderHTML(Pages.troubled()))
    let ticks = Set(page.elements.filter { $0.attributes["class"]?.hasPrefix("tick") == true }.map(\.text))
    #expect(ticks.isSuperset(of: ["0", "5,000", "20,000", "500 µs", "1 ms", "10 ms", "0 s", "10 s", "50 %", "99 %"]))
  }

  @Test("a slice without an answer breaks the line of latency instead of bridging it")
  func gap() {
    let whole = Pages.troubled().timeline.filter { $0.succeeded > 0 }
    var result = Pages.troubled()
    let broken = PageReader(renderHTML(result)).all("path", "line s3").count
    result.timeline = whole
    let bridged = PageReader(renderHTML(result)).all("path", "line s3").count
    // One more piece in each of the two drawings.
    #expect(broken == bridged + 2)
  }

  @Test("a last slice of a thousandth is drawn with the one before it, so it shows no false spike")
  func shortTail() {
    var result = Pages.closed()
    result.timeline = result.timeline.filter { $0.failed == 0 }
    let before = PageReader(renderHTML(result)).all("path", "line s1").map { $0.attributes["d"] }
    result.timeline.append(
      TimelineSlice(
        endNanoseconds: 10_000_000_100, durationNanoseconds: 100, succeeded: 5, failed: 0, inFlight: 0,
        latency: LatencyHistogram()))
    let after = PageReader(renderHTML(result)).all("path", "line s1").map { $0.attributes["d"] }
    #expect(before.map { $0?.split(separator: "L").count } == after.map { $0?.split(separator: "L").count })
  }

  @Test("a day of slices is drawn with as many points as an eye can tell apart, its longest stall among them")
  func manySlices() {
    var result = Sample.result()
    let usual = Pages.latency(700...1_000)
    var stalled = Pages.latency(700...1_000)
    stalled.record(nanoseconds: 9_999_000_000)
    // Slices are copied: working out two percentiles for each of a day would take a minute.
    func slice(_ latency: LatencyHistogram) -> TimelineSlice {
      TimelineSlice(
        endNanoseconds: 0, durationNanoseconds: 1_000_000_000, succeeded: 100, failed: 0, inFlight: 1, latency: latency)
    }
    let (usualSlice, stalledSlice) = (slice(usual), slice(stalled))
    result.timeline = (1...86_400).map { second in
      var slice = second == 40_000 ? stalledSlice : usualSlice
      slice.endNanoseconds = UInt64(second) * 1_000_000_000
      return slice
    }
    let page = renderHTML(result)
    #expect(page.utf8.count < 200_000)
    let read = PageReader(page)
    #expect(read.text.contains("One point stands for up to 144 slices"))
    let ticks = Set(read.elements.filter { $0.attributes["class"]?.hasPrefix("tick") == true }.map(\.text))
    #expect(ticks.contains("10 s"), "the stall is within the axis")
    #expect(ticks.contains("12 h"))
  }

  @Test("the spectrum is solid as far as samples support it, and dotted from there to the largest")
  func spectrum() {
    var result = Pages.closed()
    result.timeline = []
    var few = LatencyHistogram()
    for value in 1...100 { few.record(nanoseconds: UInt64(value) * 10_000) }
    result.measured.latencyFromSend = few
    let page = PageReader(renderHTML(result))
    #expect(page.all("path", "line s1").count == 2)
    #expect(page.all("path", "line dotted s1").count == 2)
    #expect(page.text.contains("max 1.00 ms"))
    // Five samples support no percentile at all.
    var fewer = LatencyHistogram()
    for value in 1...5 { fewer.record(nanoseconds: UInt64(value) * 10_000) }
    result.measured.latencyFromSend = fewer
    let dotted = PageReader(renderHTML(result))
    #expect(dotted.all("path", "line s1").isEmpty)
    #expect(dotted.all("path", "line dotted s1").count == 2)
  }
}

extension String {
  /// Where a text stands, looked for from the beginning or from behind another one.
  fileprivate func range(of text: String, after other: String? = nil) -> Range<String.Index>? {
    let start = other.flatMap { self.ranges(of: $0).first?.upperBound } ?? startIndex
    return self[start...].ranges(of: text).first
  }
}
