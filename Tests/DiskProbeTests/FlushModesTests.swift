import DiskProbe
import Testing

@Suite("Two ways of answering are told from one")
struct FlushModesTests {
  private func modes(_ samples: [UInt64]) -> [FlushMode] { FlushDistribution(nanoseconds: samples).modes }

  @Test("Two modes are found where they are, each with its share")
  func two() {
    let fast = Synthetic.logNormal(medianMicroseconds: 170, deviation: 0.1, count: 1500)
    let slow = Synthetic.logNormal(medianMicroseconds: 2700, deviation: 0.15, count: 500, seed: 2)
    let found = modes(fast + slow)
    #expect(found.count == 2)
    #expect(abs(Double(found[0].peakNanoseconds) / 170_000 - 1) < 0.1)
    #expect(abs(Double(found[1].peakNanoseconds) / 2_700_000 - 1) < 0.1)
    #expect(abs(found[0].share - 0.75) < 0.01 && abs(found[1].share - 0.25) < 0.01)
  }

  @Test("Two modes that are not far apart are found too")
  func near() {
    let fast = Synthetic.logNormal(medianMicroseconds: 100, deviation: 0.08, count: 1000)
    let slow = Synthetic.logNormal(medianMicroseconds: 160, deviation: 0.08, count: 1000, seed: 2)
    #expect(modes(fast + slow).count == 2)
  }

  @Test("Three modes are three")
  func three() {
    let samples = [100.0, 900, 8000].enumerated().flatMap { number, median in
      Synthetic.logNormal(medianMicroseconds: median, deviation: 0.1, count: 600, seed: UInt64(number))
    }
    #expect(modes(samples).count == 3)
  }

  @Test("One mode is one, whatever its width and however few the samples", arguments: [0.02, 0.1, 0.4, 0.9])
  func one(deviation: Double) {
    for count in [100, 400, 2000, 10_000] {
      for seed in 0..<10 {
        let samples = Synthetic.logNormal(
          medianMicroseconds: 180, deviation: deviation, count: count, seed: UInt64(seed))
        let found = modes(samples)
        #expect(found.count == 1, "\(count) samples of deviation \(deviation), seed \(seed): \(found)")
      }
    }
  }

  @Test("Microseconds next to each other are no modes of their own")
  func quantized() {
    #expect(modes(Synthetic.same(microseconds: 2, count: 600) + Synthetic.same(microseconds: 3, count: 400)).count == 1)
    #expect(modes(Synthetic.same(microseconds: 5, count: 1000)).count == 1)
    #expect(modes(Synthetic.same(microseconds: 0, count: 1000)).count == 1)
  }

  @Test("A few slow ones are a tail and no mode")
  func tail() {
    let fast = Synthetic.logNormal(medianMicroseconds: 170, deviation: 0.2, count: 2000)
    #expect(modes(fast + Synthetic.same(microseconds: 30_000, count: 15)).count == 1)
  }

  @Test("Too few samples say nothing")
  func few() {
    #expect(modes(Synthetic.same(microseconds: 100, count: 99)).isEmpty)
    #expect(modes([]).isEmpty)
  }
}
