// Tests of the search against targets whose limit is known.

import Measurement
import Testing

@Suite struct LimitSearchTests {
  private func found(_ limit: Double, from start: Double, luck: (Double, Int) -> Bool? = { _, _ in nil }) -> LimitSearch
  {
    var search = LimitSearch(startingAt: start)
    while case .run(let rate) = search.step, search.trials.count < 200 {
      let holds = luck(rate, search.trials.count) ?? (rate <= limit)
      search.record(
        LimitTrial(
          ratePerSecond: rate, achievedPerSecond: rate, latencyNanoseconds: 1, reasons: holds ? [] : ["latency"]))
    }
    return search
  }

  @Test(
    "the limit lies in the interval, which is narrow, and both of its edges were seen three times",
    arguments: [(100.0, 500.0), (12_345, 500), (499, 500), (500, 500), (7, 1_000), (800_000, 100)])
  func interval(limit: Double, start: Double) throws {
    let search = found(limit, from: start)
    let (holds, fails) = (try #require(search.holds), try #require(search.fails))
    #expect(holds <= limit && limit < fails)
    #expect(fails / holds <= LimitSearch.narrowEnough)
    for edge in [holds, fails] {
      #expect(search.trials.filter { $0.ratePerSecond == edge }.count >= LimitSearch.runsOfAnEdge)
    }
    #expect(search.trials.count < 40)
  }

  @Test("one stroke of bad or good luck at any place does not move the answer by more than a step")
  func luck() throws {
    for place in 0..<20 {
      for isGood in [true, false] {
        let search = found(10_000, from: 500) { _, count in count == place ? isGood : nil }
        let (holds, fails) = (try #require(search.holds), try #require(search.fails))
        #expect(holds <= fails && fails / holds <= 2.5, "\(place), \(isGood): \(holds) to \(fails)")
        #expect(holds <= 10_000 * 1.15 || isGood)
      }
    }
  }

  @Test("where nothing holds, or everything does, the search ends and says so")
  func ends() {
    let nothing = found(0, from: 1_000)
    #expect(nothing.holds == nil && nothing.fails == LimitSearch.lowestRate)
    var floored = LimitSearch(startingAt: 10, notBelow: 64)
    for expected in [64.0] {
      #expect(floored.step == .run(ratePerSecond: expected))
      floored.record(
        LimitTrial(ratePerSecond: expected, achievedPerSecond: 0, latencyNanoseconds: nil, reasons: ["latency"]))
    }
    #expect(floored.step == .done && floored.fails == 64)
    let everything = found(.infinity, from: 1_000)
    #expect(everything.holds == LimitSearch.highestRate && everything.fails == nil)
  }
}
