// Owns the comparison of what the model says with what is measured: which cells, in which order, and what counts.
//
// A machine is not the same for half an hour. So all of it is measured in rounds: in each the disk, the calibrating loads and
// every row once, and what the model is told and what it is held to are both of the whole time.
//
// It must never let a prediction see the runs that it is about: it is told what was measured on other runs (Inputs.swift,
// Calibration.swift), and nothing else. And it must never count a run that was disturbed, or whose generator could not keep up,
// as a good one.

import Foundation
import Measurement
import Planning
import Workloads

package struct ValidationOptions: Sendable {
  package var directory: String
  package var isQuick: Bool
  /// Of each measured run.
  package var seconds = 2.5
  package var calibrationSeconds = 2.0
  package var probeSeconds = 1.0
  package var cells: [InjectedDelays]
  package var shares = [0.2, 0.5, 0.7]
  /// More than this of the machine used by other programs, and a run says nothing.
  package var mostOfOthers = 0.10
  /// A row has the middle of as many runs: the p99 of one run of some seconds is half luck.
  package var rounds = 7
  /// So many runs of a row are made in one round until one counts, and for rounds in which none did.
  package var attempts = 3

  /// - Parameter isQuick: two cells at one rate, about two minutes.
  package init(directory: String, isQuick: Bool) {
    self.directory = directory
    self.isQuick = isQuick
    if isQuick {
      cells = [
        InjectedDelays(nodes: 1, diskMilliseconds: 1),
        InjectedDelays(nodes: 3, diskMilliseconds: 1, networkMilliseconds: 1),
      ]
      (shares, seconds, calibrationSeconds, probeSeconds, attempts, rounds) = ([0.2], 1, 1, 0.3, 1, 1)
    } else {
      cells = [1, 3].flatMap { nodes in
        [0, 1, 5].flatMap { disk in
          [0, 1, 10].map { InjectedDelays(nodes: nodes, diskMilliseconds: disk, networkMilliseconds: $0) }
        }
      }
    }
  }
}

package enum Validation {
  /// Prints nothing; `progress` is told what is under way.
  package static func run(
    _ options: ValidationOptions, progress: @escaping @Sendable (String) -> Void
  ) async throws -> ValidationReport {
    var inputs = ValidationInputs(
      processors: ProcessInfo.processInfo.activeProcessorCount, isQuick: options.isQuick)
    var cells = options.cells.map { CellTrials($0, options) }
    for round in 1...options.rounds {
      let tell: @Sendable (String) -> Void = { progress("round \(round) of \(options.rounds): \($0)") }
      try await measure(&inputs, options, tell)
      // What the cells of some nodes are predicted from is measured shortly before them.
      for nodes in Set(Calibration.clusters.map(\.nodes) + options.cells.map(\.nodes)).sorted() {
        for cluster in Calibration.clusters where cluster.nodes == nodes {
          try await calibrate(&inputs.calibration, on: cluster, round: round, options, tell)
        }
        for place in cells.indices where cells[place].delays.nodes == nodes {
          try await cells[place].measure(round: round, tell)
        }
      }
    }
    progress("which costs explain the calibrating loads")
    var report = ValidationReport(directory: options.directory, inputs: inputs, costs: try await inputs.costs())
    report.rows = cells.flatMap(\.rows)
    try await report.predict()
    return report
  }

  /// The disk, and what takes processors away, as both are in this round.
  private static func measure(
    _ inputs: inout ValidationInputs, _ options: ValidationOptions, _ progress: @Sendable (String) -> Void
  ) async throws {
    for delay in Set(options.cells.map(\.diskMilliseconds) + [0]).sorted() {
      progress("the disk with \(delay) ms more")
      inputs.disks[delay, default: []].append(
        try await Inputs.disk(delayMilliseconds: delay, in: options.directory, seconds: options.probeSeconds))
    }
    progress("what takes processors away")
    inputs.calibration.stalls.append(
      await Stalls.measure(processors: inputs.processors, seconds: options.calibrationSeconds))
  }

  private static func calibrate(
    _ calibration: inout Calibration, on cluster: InjectedDelays, round: Int, _ options: ValidationOptions,
    _ progress: @Sendable (String) -> Void
  ) async throws {
    progress("calibrating loads on \(cluster.nodes) × network \(cluster.networkMilliseconds) ms")
    try await TrialCluster.with(cluster, in: options.directory) { running in
      try await calibration.measure(on: cluster, round: round) { shape, rate, seed in
        try await running.calmest(
          shape, seconds: max(options.calibrationSeconds, CellTrials.fewestOperations / rate), seed: seed, options
        ).figures
      }
    }
  }
}
