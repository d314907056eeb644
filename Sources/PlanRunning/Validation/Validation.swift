// Owns the comparison of what the model says with what is then measured: which cells, in which order, and what counts.
//
// It must never let a prediction see the run that it is about: all inputs are measured before, on other runs (Inputs.swift,
// Calibration.swift). And it must never count a run that was disturbed, or whose generator could not keep up, as a good one.

import Foundation
import Measurement
package import Planning
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

  /// - Parameter isQuick: four cells at one rate, less than a minute.
  package init(directory: String, isQuick: Bool) {
    self.directory = directory
    self.isQuick = isQuick
    if isQuick {
      cells = [
        InjectedDelays(nodes: 1, diskMilliseconds: 1),
        InjectedDelays(nodes: 3, diskMilliseconds: 1, networkMilliseconds: 1),
      ]
      (shares, seconds, probeSeconds, attempts) = ([0.2], 1, 0.3, 1)
    } else {
      cells = [1, 3].flatMap { nodes in
        [0, 1, 5].flatMap { disk in
          [0, 1, 10].map { InjectedDelays(nodes: nodes, diskMilliseconds: disk, networkMilliseconds: $0) }
        }
      }
    }
  }
}

package struct ValidationReport: Sendable, Codable {
  package static let currentSchema = "portcullis.plan.validation/1"
  /// What is aimed at: how far a prediction may be from what is measured.
  package static let p50Tolerance = 0.15
  package static let p99Tolerance = 0.30

  package struct Row: Sendable, Codable {
    package var delays: InjectedDelays
    package var share: Double
    package var ratePerSecond: Double
    package var predictedP50Nanoseconds: UInt64?
    package var measuredP50Nanoseconds: UInt64?
    package var predictedP99Nanoseconds: UInt64?
    package var measuredP99Nanoseconds: UInt64?
    /// Why the measurement says nothing; nil where it does.
    package var invalid: String?
    package var shareOfOthers: Double
    package var predictedProcessorShare: Double
    package var measuredProcessorShare: Double

    package var p50Error: Double? { Self.error(predictedP50Nanoseconds, measuredP50Nanoseconds) }
    package var p99Error: Double? { Self.error(predictedP99Nanoseconds, measuredP99Nanoseconds) }

    private static func error(_ predicted: UInt64?, _ measured: UInt64?) -> Double? {
      guard let predicted, let measured, measured > 0 else { return nil }
      return Double(predicted) / Double(measured) - 1
    }

    package var isWithin: Bool {
      guard invalid == nil, let p50Error, let p99Error else { return false }
      return abs(p50Error) <= ValidationReport.p50Tolerance && abs(p99Error) <= ValidationReport.p99Tolerance
    }
  }

  package var schema = ValidationReport.currentSchema
  package var directory: String
  package var processors: Int
  package var costs: Costs
  package var rows: [Row] = []

  package var isGood: Bool { !rows.isEmpty && rows.allSatisfy(\.isWithin) }
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
    let processors = ProcessInfo.processInfo.activeProcessorCount
    var disks: [Int: DiskModel] = [:]
    for delay in Set(options.cells.map(\.diskMilliseconds) + [0]).sorted() {
      progress("the disk with \(delay) ms more")
      disks[delay] = try await Inputs.disk(
        delayMilliseconds: delay, in: options.directory, seconds: options.probeSeconds, attempts: options.attempts,
        mostOfOthers: 0.1)
    }
    var networks: [Int: (oneWayNanoseconds: Double, relayNanoseconds: Double)] = [:]
    for delay in Set(options.cells.map(\.networkMilliseconds)) {
      progress("the relay with \(delay) ms")
      networks[delay] = try await Inputs.network(delayMilliseconds: delay)
    }
    guard let calm = disks[0] else { throw PlanError("the disk was not measured") }
    progress("processor costs")
    let costs = try await calibrate(options).costs(disk: calm, processors: processors)
    var report = ValidationReport(directory: options.directory, processors: processors, costs: costs)
    for cell in options.cells {
      guard let disk = disks[cell.diskMilliseconds], let network = networks[cell.networkMilliseconds] else { continue }
      let model = scenario(
        cell, disk: disk, oneWay: network.oneWayNanoseconds, relay: network.relayNanoseconds, costs: costs,
        processors: processors)
      report.rows += try await rows(of: cell, model, options, progress)
    }
    return report
  }

  /// Nodes, clients and disk on one machine.
  static func scenario(nodes: Int, disk: DiskModel, costs: Costs, processors: Int) -> WhatIf {
    var need = Need()
    need.puts = 1
    need.nodes = nodes
    need.roundTrip = 0
    need.keyBytes = TrialCluster.keyBytes
    need.valueBytes = TrialCluster.valueBytes
    need.processors = processors
    need.sharesMachine = true
    return need.scenario(disk: disk, costs: costs)
  }

  private static func scenario(
    _ cell: InjectedDelays, disk: DiskModel, oneWay: Double, relay: Double, costs: Costs, processors: Int
  ) -> WhatIf {
    var scenario = scenario(nodes: cell.nodes, disk: disk, costs: costs, processors: processors)
    guard cell.networkMilliseconds > 0 else { return scenario }
    scenario.relayCost = relay
    if cell.nodes == 1 {
      scenario.clientOneWay = UInt64(oneWay)
    } else {
      for from in 0..<cell.nodes {
        for to in 0..<cell.nodes where to != from { scenario.oneWay[from][to] = UInt64(oneWay) }
      }
    }
    return scenario
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
    return Calibration(one: one, many: many, open: open, threeOne: threeOne, threeMany: threeMany)
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
    // Predicted before it is measured.
    var scenario = model
    scenario.load = .open(process: .poisson, perSecond: [.put: rate])
    scenario.operations = max(5000, min(30_000, Int(rate * options.seconds)))
    let predicted = scenario.predict()
    var row = ValidationReport.Row(
      delays: cell, share: share, ratePerSecond: rate, predictedP50Nanoseconds: predicted.percentile(50),
      predictedP99Nanoseconds: predicted.percentile(99), shareOfOthers: 0,
      predictedProcessorShare: predicted.processorShare, measuredProcessorShare: 0)
    for attempt in 0..<options.attempts {
      let trial = try await cluster.run(
        .open(process: .poisson, ratePerSecond: rate, maxInFlight: 20_000), seconds: options.seconds,
        seed: UInt64(attempt) + 1)
      row.measuredP50Nanoseconds = trial.latency.percentile(50)
      row.measuredP99Nanoseconds = trial.latency.percentile(99)
      row.shareOfOthers = trial.shareOfOthers
      row.measuredProcessorShare = trial.ownShare
      row.invalid = complaint(of: trial, options)
      if row.invalid == nil { break }
    }
    return row
  }

  private static func complaint(of trial: Trial, _ options: ValidationOptions) -> String? {
    if trial.result.judgement.verdict != .valid {
      return trial.result.judgement.reasons.first.map(\.code) ?? "not valid"
    }
    if trial.shareOfOthers > options.mostOfOthers { return "others took \(Words.percent(trial.shareOfOthers))" }
    return trial.latency.percentile(99) == nil ? "too few answers" : nil
  }
}
