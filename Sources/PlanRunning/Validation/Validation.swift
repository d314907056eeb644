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
  package var seconds = 2.5
  package var probeSeconds = 1.0
  package var cells: [InjectedDelays]
  package var shares = [0.2, 0.5, 0.7]
  /// More than this of the machine used by other programs, and a run says nothing.
  package var mostOfOthers = 0.10
  /// So many runs of a row may be disturbed or late, and are made again; one less than that.
  package var attempts = 8
  /// Runs of which a row has the medians: the p99 of one run of some seconds is half luck.
  package var repetitions = 5

  /// - Parameter isQuick: two cells at one rate, about a minute.
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
  /// A rate that does not hold is tried again: something else may have come over the machine.
  private static let kneeAttempts = 4

  /// Prints nothing; `progress` is told what is under way.
  package static func run(
    _ options: ValidationOptions, progress: @escaping @Sendable (String) -> Void
  ) async throws -> ValidationReport {
    let inputs = try await measureInputs(options, progress)
    let costs = try await inputs.costs()
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
        delayMilliseconds: delay, in: options.directory, seconds: options.probeSeconds,
        attempts: options.isQuick ? 1 : 3)
    }
    progress("processor costs")
    inputs.calibration = try await calibrate(options)
    return inputs
  }

  // MARK: Calibration

  private static func calibrate(_ options: ValidationOptions) async throws -> Calibration {
    let seconds = options.isQuick ? 1.0 : 2.0
    let stalls = await Stalls.measure(processors: ProcessInfo.processInfo.activeProcessorCount, seconds: 3 * seconds)
    var calibration = Calibration(points: [], stalls: stalls)
    for nodes in [1, 3] {
      for delay in [0, Calibration.relayedMilliseconds] {
        let delays = InjectedDelays(nodes: nodes, networkMilliseconds: delay)
        let points = Calibration.points(nodes: nodes, networkMilliseconds: delay, isQuick: options.isQuick)
        calibration.points += try await TrialCluster.with(delays, in: options.directory) { cluster in
          try await measured(points, cluster, seconds: seconds, rounds: options.isQuick ? 1 : 3)
        }
      }
    }
    return calibration
  }

  private static func measured(
    _ points: [Calibration.Point], _ cluster: TrialCluster, seconds: Double, rounds: Int
  ) async throws -> [Calibration.Point] {
    var points = points
    for round in 0..<rounds {
      for place in points.indices {
        let rate = points[place].ratePerSecond
        let shape = points[place].clients.map { LoadShape.closed(clients: $0) } ?? open(rate ?? 1)
        let trial = try await cluster.run(
          shape, seconds: max(seconds, fewestOperations / (rate ?? .infinity)), warmUpSeconds: 0.5,
          seed: UInt64(round + 1))
        points[place].runs.append(trial.figures)
      }
    }
    return points
  }

  private static func open(_ ratePerSecond: Double) -> LoadShape {
    .open(process: .poisson, ratePerSecond: ratePerSecond, maxInFlight: 20_000)
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
      // Predicted before any of them is measured.
      var rows = options.shares.map { share in
        var row = ValidationReport.Row(delays: cell, share: share, ratePerSecond: (highest * share).rounded())
        row.predict(by: model)
        return row
      }
      var runs = rows.map { _ in [Trial]() }
      // In turn, so that what comes over the machine for some seconds is in one run of each row.
      for attempt in 0..<(options.repetitions + options.attempts - 1) {
        for place in rows.indices where runs[place].count < options.repetitions {
          progress("\(name): \(Words.percent(rows[place].share)) of \(Words.count(highest))/s, run \(attempt + 1)")
          let trial = try await run(rows[place].ratePerSecond, seed: UInt64(attempt) + 1, cluster, options)
          if let complaint = complaint(of: trial, options) {
            rows[place].invalid = complaint
          } else {
            runs[place].append(trial)
          }
        }
      }
      for place in rows.indices where runs[place].count == options.repetitions { rows[place].take(runs[place]) }
      return rows
    }
  }

  private static func run(
    _ rate: Double, seed: UInt64, _ cluster: TrialCluster, _ options: ValidationOptions
  ) async throws -> Trial {
    try await cluster.run(
      open(rate), seconds: max(options.seconds, fewestOperations / rate), warmUpSeconds: 0.5, seed: seed)
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
    for _ in 0..<kneeSteps {
      let rate = (low + high) / 2
      var holds = false
      for attempt in 0..<min(options.attempts, kneeAttempts) where !holds {
        let trial = try await cluster.run(
          open(rate), seconds: seconds, warmUpSeconds: 0.5, seed: UInt64(100 + attempt))
        let figures = trial.result.measured
        let isDone = Double(figures.answeredWithin) >= 0.98 * Double(figures.started + figures.skipped) - 20 - rate / 20
        holds =
          trial.result.judgement.verdict == .valid && !trial.isGeneratorLate && isDone
          && (trial.latency.percentile(99) ?? 0) <= bound
      }
      if holds { low = rate } else { high = rate }
    }
    return low > 0 ? low : high
  }

  /// Of a run: a p99 needs a thousand, and is steady with more.
  private static let fewestOperations = 1500.0

  private static func complaint(of trial: Trial, _ options: ValidationOptions) -> String? {
    if trial.result.judgement.verdict != .valid {
      return trial.result.judgement.reasons.first.map(\.code) ?? "not valid"
    }
    if trial.isGeneratorLate { return "generator-late" }
    if trial.shareOfOthers > options.mostOfOthers { return "others took \(Words.percent(trial.shareOfOthers))" }
    return trial.latency.percentile(99) == nil ? "too few answers" : nil
  }
}

extension ValidationReport.Row {
  fileprivate mutating func take(_ runs: [Trial]) {
    invalid = nil
    measuredP50RunsNanoseconds = runs.compactMap { $0.latency.percentile(50) }
    measuredP99RunsNanoseconds = runs.compactMap { $0.latency.percentile(99) }
    measuredP50Nanoseconds = Medians.median(measuredP50RunsNanoseconds)
    measuredP99Nanoseconds = Medians.median(measuredP99RunsNanoseconds)
    shareOfOthers = Medians.median(runs.map(\.shareOfOthers)) ?? 0
    measuredProcessorShare = Medians.median(runs.map(\.ownShare)) ?? 0
  }
}
