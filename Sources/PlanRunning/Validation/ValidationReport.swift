// Owns what a validation found: for each cell and rate what the model said beside what was measured, and how far apart they are.

package import Planning

package struct ValidationReport: Sendable, Codable {
  package static let currentSchema = "portcullis.plan.validation/7"
  /// What is aimed at: how far a prediction may be from what is measured.
  package static let p50Tolerance = 0.15
  package static let p99Tolerance = 0.30

  package struct Row: Sendable, Codable {
    package var delays: InjectedDelays
    /// Of the knee.
    package var share: Double
    package var ratePerSecond: Double
    package var predictedP50Nanoseconds: UInt64?
    package var measuredP50Nanoseconds: UInt64?
    package var predictedP99Nanoseconds: UInt64?
    package var measuredP99Nanoseconds: UInt64?
    /// That counted, in their order.
    package var runs: [TrialFigures] = []
    /// Why the measurement says nothing; nil where it does.
    package var invalid: String?
    package var shareOfOthers = 0.0
    package var predictedProcessorShare = 0.0
    package var measuredProcessorShare = 0.0

    package init(delays: InjectedDelays, share: Double, ratePerSecond: Double) {
      self.delays = delays
      self.share = share
      self.ratePerSecond = ratePerSecond
    }

    /// The means of the middle runs.
    mutating func measure(_ runs: [TrialFigures]) {
      self.runs = runs
      measuredP50Nanoseconds = Medians.middleMean(runs.compactMap(\.p50Nanoseconds))
      measuredP99Nanoseconds = Medians.middleMean(runs.compactMap(\.p99Nanoseconds))
    }

    /// What the model says of runs at the row's rate that are as long as the measured ones.
    fileprivate mutating func predict(by model: WhatIf) {
      var scenario = model
      scenario.load = .open(process: .poisson, perSecond: [.put: ratePerSecond])
      guard let seconds = Medians.median(runs.map(\.seconds)) else { return }
      let said = ModelRuns(scenario, operations: ratePerSecond * seconds)
      predictedP50Nanoseconds = said.p50Nanoseconds
      predictedP99Nanoseconds = said.p99Nanoseconds
      predictedProcessorShare = said.processorShare
    }

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
  /// What was measured before anything was predicted.
  package var inputs: ValidationInputs
  package var costs: Costs
  package var rows: [Row] = []

  package init(directory: String, inputs: ValidationInputs, costs: Costs) {
    self.directory = directory
    self.inputs = inputs
    self.costs = costs
  }

  /// The same measurements, calibrated and predicted anew by the model as it is now.
  /// - Throws: `PlanError` where an input of a row is missing, `CancellationError` where its task was cancelled.
  package func predictedAgain() async throws -> ValidationReport {
    var report = ValidationReport(directory: directory, inputs: inputs, costs: try await inputs.costs())
    report.rows = rows.map { row in
      var row = row
      if row.invalid == nil { row.measure(row.runs) }
      return row
    }
    try await report.predict()
    return report
  }

  /// Asks the model about every row.
  mutating func predict() async throws {
    let measured = rows
    let models = try measured.map { try inputs.scenario(of: $0.delays, costs: costs) }
    rows = try await ParallelWork.values(count: measured.count) { place in
      var row = measured[place]
      row.predict(by: models[place])
      return row
    }
  }

  package var isGood: Bool { !rows.isEmpty && rows.allSatisfy(\.isWithin) }
}
