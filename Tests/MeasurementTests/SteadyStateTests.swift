// Tests of the end of a warm-up.

import Measurement
import Testing

@Suite struct SteadyStateTests {
  /// The window, counted from 1, after which the load was taken for steady.
  private func steadyAt(_ windows: [(rate: Double, latency: Double)]) -> Int? {
    var state = SteadyState()
    return windows.firstIndex { window in
      state.observe(LoadWindow(operationsPerSecond: window.rate, meanLatencyNanoseconds: window.latency))
    }.map { $0 + 1 }
  }

  @Test("a flat load is steady after the eighth window, not before")
  func flat() {
    #expect(steadyAt([(Double, Double)](repeating: (1_000, 1e6), count: 20)) == 8)
  }

  @Test("a rate that climbs is steady only once it stays")
  func climbing() {
    let climb = (1...10).map { (rate: Double($0) * 1_000, latency: 1e6) }
    let flat = [(rate: Double, latency: Double)](repeating: (10_000, 1e6), count: 20)
    #expect(steadyAt(climb) == nil)
    let end = steadyAt(climb + flat)
    #expect(end.map { $0 > 13 && $0 <= 18 } == true)
  }

  @Test("a latency that creeps up at a constant rate is a queue that grows, and not steady")
  func growingQueue() {
    #expect(steadyAt((1...30).map { (1_000, 1e6 * Double($0)) }.map { (rate: $0.0, latency: $0.1) }) == nil)
  }

  @Test("a target that does not answer is never steady")
  func silent() {
    #expect(steadyAt([(Double, Double)](repeating: (0, 0), count: 50)) == nil)
  }

  @Test("noise of timers in a very short latency does not hold the start up")
  func timerNoise() {
    #expect(steadyAt((0..<8).map { (rate: 1_000, latency: $0 < 4 ? 20_000 : 60_000) }) == 8)
  }
}
