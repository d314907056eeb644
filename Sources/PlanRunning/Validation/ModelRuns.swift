// Owns what the model says of runs that are as long as the measured ones.
//
// It must never say of one long run what is measured on several short ones: a stall that comes every other second is in the 99th
// of a hundred of the long run, but not in that of most short ones, and it is their middle that is measured.

import Planning

struct ModelRuns {
  /// More than are measured, so that these figures are less a matter of luck than those that they are compared with.
  static let number = 15

  private(set) var p50Nanoseconds: UInt64?
  private(set) var p90Nanoseconds: UInt64?
  private(set) var p99Nanoseconds: UInt64?
  private(set) var processorShare: Double
  private(set) var stoppedShare: Double

  /// The middle of runs that differ in nothing but what they draw.
  /// - Parameters:
  ///   - scenario: its seed and number of operations do not matter.
  ///   - operations: of each run.
  init(_ scenario: WhatIf, operations: Double) {
    let runs = (1...Self.number).map { seed in
      var run = scenario
      run.seed = UInt64(seed)
      run.operations = max(1, Int(operations))
      return run.predict()
    }
    p50Nanoseconds = Medians.middleMean(runs.compactMap { $0.percentile(50) })
    p90Nanoseconds = Medians.middleMean(runs.compactMap { $0.percentile(90) })
    p99Nanoseconds = Medians.middleMean(runs.compactMap { $0.percentile(99) })
    stoppedShare = Medians.middleMean(runs.map(\.stoppedShare)) ?? 0
    processorShare = Medians.median(runs.map(\.processorShare)) ?? 0
  }
}
