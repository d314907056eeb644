// Owns the comparison of what the model says with what is then measured: which cells, in which order, and what counts.
//
// It must never let a prediction see the run that it is about: all inputs are measured before, on other runs (Inputs.swift,
// Calibration.swift). And it must never count a run that was disturbed, or whose generator could not keep up, as a good one.

import Foundation
import Measurement
import Planning
import Workloads

package struct ValidationOptions: Sendable {
  package var directory: String
  package var isQuick: Bool
  /// Of each measured run.
  package var seconds = 3.0
  package var probeSeconds = 1.0
  package var cells: [InjectedDelays]
  package var shares = [0.2, 0.5, 0.7]
  /// More than this of the machine used by other programs, and a run says nothing.
  package var mostOfOthers = 0.10
  /// A run that was disturbed or late is made again so often.
  package var attempts = 3
  /// Runs of which a row has the medians: the p99 of one run of some seconds is half luck.
  package var repetitions = 3

  /// - Parameter isQuick: four cells at one rate, less than a minute.
  package init(directory: String, isQuick: Bool) {
    self.directory = directory
    self.isQuick = isQuick
    if isQuick {
      cells = [
        InjectedDelays(nodes: 1, diskMilliseconds: 1),
        InjectedDelays(nodes: 3, diskMilliseconds: 1, networkMilliseconds: 1),
      ]
      (shares, seconds, probeSeconds, attempts, repetitions) = ([0.2], 1, 0.3, 1, 1)
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
  /// Clients of the closed loop whose rate bounds the search for the knee: more would only wait longer.
  static let kneeClients = 256
  /// The knee lies between two rates that are this share of that bound apart.
  private static let kneeSteps = 4

  /// Prints nothing; `progress` is told what is under way.
  package static func run(
    _ options: ValidationOptions, progress: @escaping @Sendable (String) -> Void
  ) async throws -> ValidationReport {
    let inputs = try await measureInputs(options, progress)
    let costs = try inputs.costs()
    var report = ValidationReport(directory: options.directory, inputs: inputs, costs: costs)
    for cell in options.cells {
      let model = try inputs.scenario(of: cell, costs: costs)
      report.rows += try await rows(of: cell, model, options, progress)
    }
    return report
  }

  private static func measureInputs(
    _ options: ValidationOptions, _ progress: @escaping @Sendable (String) -> Void
  ) async throws -> ValidationInputs {
    var inputs = ValidationInputs(processors: ProcessInfo.processInfo.activeProcessorCount)
    for delay in Set(options.cells.map(\.diskMilliseconds) + [0]).sorted() {
      progress("the disk with \(delay) ms more")
      inputs.disks[delay] = try await Inputs.disk(
        delayMilliseconds: delay, in: options.directory, seconds: options.probeSeconds, attempts: options.attempts,
        mostOfOthers: 0.1)
    }
    for delay in Set(options.cells.map(\.networkMilliseconds)).sorted() {
      progress("the relay with \(delay) ms")
      inputs.networks[delay] = try await Inputs.network(delayMilliseconds: delay)
    }
    progress("processor costs")
    inputs.calibration = try await calibrate(options)
    return inputs
  }

  // MARK: Calibration

  private static func calibrate(_ options: ValidationOptions) async throws -> Calibration {
    let seconds = options.isQuick ? 1.0 : 3.0
    let rate = LoadShape.open(process: .poisson, ratePerSecond: Calibration.openRate, maxInFlight: 1000)
    let (one, many, open) = try await TrialCluster.with(InjectedDelays(nodes: 1), in: options.directory) { cluster in
      (
        try await cluster.run(.closed(clients: 1), seconds: seconds),
        try await cluster.run(.closed(clients: Calibration.manyClients), seconds: seconds),
        try await cluster.run(rate, seconds: seconds)
      )
    }
    let (threeOne, threeMany) = try await TrialCluster.with(InjectedDelays(nodes: 3), in: options.directory) {
      cluster in
      (
        try await cluster.run(.closed(clients: 1), seconds: seconds),
        try await cluster.run(.closed(clients: Calibration.manyClients), seconds: seconds)
      )
    }
    return Calibration(
      one: one.figures, many: many.figures, open: open.figures, threeOne: threeOne.figures,
      threeMany: threeMany.figures)
  }

  // MARK: Cells

  private static func rows(
    of cell: InjectedDelays, _ model: WhatIf, _ options: ValidationOptions,
    _ progress: @escaping @Sendable (String) -> Void
  ) async throws -> [ValidationReport.Row] {
    let name = "\(cell.nodes) × disk \(cell.diskMilliseconds) ms × network \(cell.networkMilliseconds) ms"
    return try await TrialCluster.with(cell, in: options.directory) { cluster in
      progress("\(name): the knee")
      let highest = try await knee(of: cell, cluster, options)
      guard highest > 10 else { throw PlanError("\(name): the cluster did next to nothing") }
      var rows: [ValidationReport.Row] = []
      for share in options.shares {
        progress("\(name): \(Words.percent(share)) of \(Words.count(highest))/s")
        rows.append(try await row(of: cell, share, (highest * share).rounded(), model, cluster, options))
      }
      return rows
    }
  }

  /// The highest rate of an open load whose run is valid and done in time, and whose p99 is within what the delays alone ask
  /// for and 20 ms.
  private static func knee(
    of cell: InjectedDelays, _ cluster: TrialCluster, _ options: ValidationOptions
  ) async throws -> Double {
    let seconds = min(1, options.seconds)
    let closed = try await cluster.run(.closed(clients: kneeClients), seconds: seconds, warmUpSeconds: 0.5)
    var (low, high) = (0.0, closed.result.measured.achievedPerSecond)
    let bound = UInt64(20 + 4 * cell.diskMilliseconds + 5 * cell.networkMilliseconds) * 1_000_000
    for step in 0..<kneeSteps {
      let rate = (low + high) / 2
      let trial = try await cluster.run(
        .open(process: .poisson, ratePerSecond: rate, maxInFlight: 20_000), seconds: seconds, warmUpSeconds: 0.5,
        seed: UInt64(100 + step))
      let figures = trial.result.measured
      let isDone = Double(figures.answeredWithin) >= 0.98 * Double(figures.started + figures.skipped) - 20 - rate / 20
      let holds = trial.result.judgement.verdict == .valid && isDone && (trial.latency.percentile(99) ?? 0) <= bound
      if holds { low = rate } else { high = rate }
    }
    return low > 0 ? low : high
  }

  private static func row(
    of cell: InjectedDelays, _ share: Double, _ rate: Double, _ model: WhatIf, _ cluster: TrialCluster,
    _ options: ValidationOptions
  ) async throws -> ValidationReport.Row {
    var row = ValidationReport.Row(delays: cell, share: share, ratePerSecond: rate)
    // Predicted before it is measured.
    row.predict(by: model)
    var runs: [Trial] = []
    for attempt in 0..<(options.repetitions + options.attempts - 1) where runs.count < options.repetitions {
      let trial = try await cluster.run(
        .open(process: .poisson, ratePerSecond: rate, maxInFlight: 20_000),
        seconds: max(options.seconds, fewestOperations / rate), seed: UInt64(attempt) + 1)
      row.invalid = complaint(of: trial, options)
      if row.invalid == nil { runs.append(trial) }
    }
    guard runs.count == options.repetitions else { return row }
    row.invalid = nil
    row.measuredP50Nanoseconds = median(runs.compactMap { $0.latency.percentile(50) })
    row.measuredP99Nanoseconds = median(runs.compactMap { $0.latency.percentile(99) })
    row.shareOfOthers = median(runs.map(\.shareOfOthers)) ?? 0
    row.measuredProcessorShare = median(runs.map(\.ownShare)) ?? 0
    return row
  }

  /// Of a run: a p99 needs a thousand, and is steady with more.
  private static let fewestOperations = 2000.0

  private static func median<Value: Comparable>(_ values: [Value]) -> Value? {
    values.isEmpty ? nil : values.sorted()[values.count / 2]
  }

  private static func complaint(of trial: Trial, _ options: ValidationOptions) -> String? {
    if trial.result.judgement.verdict != .valid {
      return trial.result.judgement.reasons.first.map(\.code) ?? "not valid"
    }
    if trial.shareOfOthers > options.mostOfOthers { return "others took \(Words.percent(trial.shareOfOthers))" }
    return trial.latency.percentile(99) == nil ? "too few answers" : nil
  }
}
