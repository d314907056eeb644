// A machine's quota of processor time, by itself and in the model.

import Measurement
import Planning
import Testing

@Suite("the quota of processor time")
struct ProcessorQuotaTests {
  private static let period = ProcessorQuota.periodNanoseconds
  private static let piece: UInt64 = 50_000

  /// Two processors that work all the time, and a host that works so much beside each piece.
  /// - Returns: how much of each period they stood still.
  private func stops(hostNanoseconds host: Double, periods: Int) -> [UInt64] {
    var quota = ProcessorQuota(processors: 2)
    var stopped = Array(repeating: UInt64(0), count: periods)
    var free: [UInt64] = [0, 0]
    let end = UInt64(periods) * Self.period
    while let processor = free.indices.min(by: { free[$0] < free[$1] }), free[processor] < end {
      let now = free[processor]
      free[processor] = now + Self.piece
      if let until = quota.use(Double(Self.piece), of: processor, at: now) {
        stopped[Int(now / Self.period)] += until - now
        free[processor] = until
      }
      if host > 0 { _ = quota.use(host, of: nil, at: now) }
    }
    return stopped
  }

  @Test("processors that work all the time are within it, and the host's work stops them for as long as it takes")
  func stops() {
    // But at the end of the first, where one has a slice begun that the other lacks; and it is counted piece by piece.
    #expect(stops(hostNanoseconds: 0, periods: 9).dropFirst().allSatisfy { $0 <= Self.piece })
    let stopped = stops(hostNanoseconds: 2500, periods: 20)
    // A twentieth of what the processors use: of each 100 ms of both of them, 1/21 is the host's.
    let share = Double(stopped.reduce(0, +)) / Double(20 * 2 * Self.period)
    #expect((0.04...0.055).contains(share), "\(share)")
    #expect(
      stopped.dropFirst().allSatisfy { $0 > 0 && $0 < 2 * Self.period / 5 }, "and each period begins anew: \(stopped)")
  }

  @Test(
    "a host looks for work as long as it is worth it: longer after short rests, shorter after long ones, 0.2 ms at most"
  )
  func polling() {
    var polling = HaltPolling()
    #expect(polling.spent(inRestOf: 150_000) == 0)
    let spent = (0..<6).map { _ in polling.spent(inRestOf: 150_000) }
    #expect(spent == [10_000, 20_000, 40_000, 80_000, 150_000, 150_000])
    #expect(polling.spent(inRestOf: 190_000) == 160_000)
    #expect(polling.spent(inRestOf: 5_000_000) == 200_000)
    #expect(polling.spent(inRestOf: 5_000_000) == 100_000)
  }

  private func prediction(flushOfHost: Double, puts: Double) -> Prediction {
    var scenario = WhatIf(
      nodes: 1, disk: DiskModel(tight: Quantiles(constantNanoseconds: 200_000)),
      load: .open(process: .poisson, perSecond: [.put: puts]))
    scenario.sharesMachine = true
    scenario.costs.flushOfHost = flushOfHost
    scenario.operations = 6000
    return scenario.predict()
  }

  @Test(
    "a node that is busy and flushes often is stopped, which its 99th shows; without a quota, or with less to do, it is not"
  )
  func model() throws {
    let (without, with) = (prediction(flushOfHost: 0, puts: 4800), prediction(flushOfHost: 60_000, puts: 4800))
    #expect(without.stoppedShare == 0)
    #expect((0.005...0.1).contains(with.stoppedShare), "\(with.stoppedShare)")
    let (before, after) = (try #require(without.percentile(99)), try #require(with.percentile(99)))
    #expect(Double(after) > 1.15 * Double(before), "\(before), then \(after)")
    let (calm, same) = (prediction(flushOfHost: 0, puts: 500), prediction(flushOfHost: 60_000, puts: 500))
    #expect(same.stoppedShare == 0 && calm.percentile(99) == same.percentile(99))
  }
}
