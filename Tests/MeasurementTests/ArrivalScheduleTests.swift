// Tests of schedules and of the generator behind them.

import Measurement
import Testing

@Suite struct ArrivalScheduleTests {
  private func offsets(_ process: ArrivalProcess, _ rate: Double, seed: UInt64, count: Int) -> [UInt64] {
    var schedule = ArrivalSchedule(process: process, ratePerSecond: rate, seed: seed)
    return (0..<count).map { _ in schedule.next() }
  }

  @Test("a constant schedule starts at zero and does not drift off its rate")
  func constant() {
    let offsets = offsets(.constant, 30_000, seed: 1, count: 3_000_001)
    #expect(offsets[0] == 0)
    #expect(offsets[1] == 33_333)
    #expect(offsets[3_000_000] == 100_000_000_000)
  }

  @Test("a schedule follows from its seed alone", arguments: ArrivalProcess.allCases)
  func repeatable(process: ArrivalProcess) {
    #expect(offsets(process, 1_000, seed: 5, count: 500) == offsets(process, 1_000, seed: 5, count: 500))
  }

  @Test("another seed gives other Poisson arrivals")
  func seedMatters() {
    #expect(offsets(.poisson, 1_000, seed: 5, count: 10) != offsets(.poisson, 1_000, seed: 6, count: 10))
  }

  @Test("offsets never fall", arguments: ArrivalProcess.allCases, [0.5, 1_000, 1e9])
  func neverFalls(process: ArrivalProcess, rate: Double) {
    let offsets = offsets(process, rate, seed: 2, count: 10_000)
    #expect(zip(offsets, offsets.dropFirst()).allSatisfy { $0 <= $1 })
  }

  @Test("Poisson gaps have the mean and the spread of an exponential distribution")
  func poissonShape() {
    let offsets = offsets(.poisson, 10_000, seed: 42, count: 200_000)
    let gaps = zip(offsets, offsets.dropFirst()).map { Double($1 - $0) }
    let mean = gaps.reduce(0, +) / Double(gaps.count)
    let variance = gaps.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(gaps.count)
    // The standard error of the mean is 0.22 % here, and that of the deviation twice as much.
    #expect((mean / 100_000 - 1).magnitude < 0.01)
    #expect((variance.squareRoot() / 100_000 - 1).magnitude < 0.02)
    // The chance of a gap above three means is e⁻³ = 4.98 %.
    let long = Double(gaps.count { $0 > 300_000 }) / Double(gaps.count)
    #expect((long - 0.0498).magnitude < 0.003)
  }

  @Test("a schedule that runs for longer than centuries stays in range")
  func endlessSchedule() {
    var schedule = ArrivalSchedule(process: .constant, ratePerSecond: 1e-6, seed: 0)
    var last: UInt64 = 0
    for _ in 0..<10_000 { last = schedule.next() }
    #expect(last == 1 << 62)
  }
}

@Suite struct SeededRandomTests {
  @Test("streams of one seed differ, and each is repeatable")
  func streams() {
    func first(_ stream: UInt64) -> [UInt64] {
      var random = SeededRandom(seed: 9, stream: stream)
      return (0..<8).map { _ in random.next() }
    }
    #expect(first(0) == first(0))
    #expect(first(0) != first(1))
    #expect(Set((0..<64).flatMap { first($0) }).count == 512)
  }

  @Test("a bounded draw stays below its bound and reaches every value evenly")
  func below() {
    var random = SeededRandom(seed: 1)
    var seen = [Int](repeating: 0, count: 10)
    for _ in 0..<100_000 { seen[Int(random.below(10))] += 1 }
    #expect(seen.allSatisfy { (9_500...10_500).contains($0) })
    #expect(random.below(1) == 0)
  }

  @Test("the unit interval excludes one")
  func unitInterval() {
    var random = SeededRandom(seed: 4)
    let draws = (0..<100_000).map { _ in random.unitInterval() }
    #expect(draws.allSatisfy { $0 >= 0 && $0 < 1 })
    let mean = draws.reduce(0, +) / Double(draws.count)
    #expect((mean - 0.5).magnitude < 0.005)
  }
}
