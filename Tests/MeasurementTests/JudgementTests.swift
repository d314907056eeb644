// Tests of the verdict: what fails a run, what makes it invalid, and in which order that is said.

import Measurement
import Testing

@Suite struct JudgementTests {
  private func figures(lag: UInt64 = 50_000, latency: UInt64 = 2_000_000, skipped: UInt64 = 0) -> LoadFigures {
    var figures = LoadFigures()
    figures.durationNanoseconds = 1_000_000_000
    figures.started = 2_000
    figures.succeeded = 2_000
    figures.answeredWithin = 2_000
    figures.skipped = skipped
    figures.oracle.checked = 2_000
    figures.scheduleLag.record(nanoseconds: lag, times: 2_000)
    figures.latencyFromIntendedStart.record(nanoseconds: latency, times: 2_000)
    figures.latencyFromSend.record(nanoseconds: latency - min(lag, latency), times: 2_000)
    return figures
  }

  private func judge(
    _ figures: LoadFigures, threadShare: Double = 0.3, ending: RunEnding = .completed
  ) -> Judgement {
    let generator = GeneratorFigures(
      cpuNanoseconds: 1, durationNanoseconds: 1, operations: 1, busiestThreadShare: threadShare)
    return Judgement(of: figures, generator: generator, ending: ending, budget: .standard)
  }

  @Test("a run within every budget is valid and needs no reason")
  func valid() {
    #expect(judge(figures()) == Judgement(verdict: .valid, reasons: []))
  }

  @Test("a lag above one millisecond and above a tenth of the latency makes a run invalid")
  func late() {
    #expect(judge(figures(lag: 1_500_000, latency: 5_000_000)).reasons.map(\.code) == ["generator-late"])
    #expect(judge(figures(lag: 1_500_000, latency: 50_000_000)).verdict == .valid, "a small part of the whole")
    #expect(judge(figures(lag: 900_000, latency: 1_000_000)).verdict == .valid, "within what a wake-up may take")
  }

  @Test("a thread that is on a CPU nearly all the time makes a run invalid")
  func busy() {
    #expect(judge(figures(), threadShare: 0.95).reasons.map(\.code) == ["generator-busy"])
    #expect(judge(figures(), threadShare: 0.95).verdict == .invalid)
  }

  @Test("skipped operations make a run invalid")
  func skipped() {
    #expect(judge(figures(skipped: 100)).reasons.map(\.code) == ["skipped"])
    #expect(judge(figures(skipped: 1)).verdict == .valid)
  }

  @Test("one wrong answer fails a run, and comes before every doubt")
  func wrongAnswer() {
    var wrong = figures(lag: 1_500_000, latency: 5_000_000)
    wrong.oracle.violations = 1
    wrong.oracle.firstViolation = "revision 7 after 9"
    let judgement = judge(wrong)
    #expect(judgement.verdict == .failed)
    #expect(judgement.reasons.map(\.code) == ["wrong-answer", "generator-late"])
    #expect(judgement.reasons[0].message.contains("revision 7 after 9"))
  }

  @Test("a lost target fails a run, an interruption does not")
  func endings() {
    #expect(judge(figures(), ending: .targetLost).verdict == .failed)
    #expect(judge(figures(), ending: .interrupted).verdict == .valid)
  }

  @Test("a run without one success has failed; one without any start is not valid either")
  func nothing() {
    var allFailed = LoadFigures()
    allFailed.started = 10
    allFailed.failed = 10
    #expect(judge(allFailed).reasons.map(\.code) == ["no-success"])
    #expect(judge(LoadFigures()).verdict == .invalid)
    #expect(judge(LoadFigures(), ending: .interrupted).reasons.map(\.code) == ["empty"])
  }
}

@Suite struct LoadFiguresTests {
  @Test("merging keeps the first message of each code, in the order of the codes")
  func errors() {
    var first = LoadFigures()
    first.count(ErrorTally(code: 14, name: "UNAVAILABLE", firstMessage: "gone"))
    var second = LoadFigures()
    second.count(ErrorTally(code: 4, name: "DEADLINE_EXCEEDED", firstMessage: "slow"))
    second.count(ErrorTally(code: 14, name: "UNAVAILABLE", count: 3, firstMessage: "other"))
    first.merge(second)
    #expect(first.errors.map(\.code) == [4, 14])
    #expect(first.errors[1].count == 4)
    #expect(first.errors[1].firstMessage == "gone")
  }

  @Test("the achieved rate counts what was answered in time only")
  func achieved() {
    var figures = LoadFigures()
    #expect(figures.achievedPerSecond == 0)
    figures.durationNanoseconds = 2_000_000_000
    figures.succeeded = 1_000
    figures.answeredWithin = 600
    #expect(figures.achievedPerSecond == 300)
  }
}
