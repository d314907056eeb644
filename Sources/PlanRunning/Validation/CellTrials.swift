// Owns the runs of one cell: its knee, and at each share of it a run of every round.

import Measurement
import Planning
import Workloads

struct CellTrials {
  let delays: InjectedDelays
  private let options: ValidationOptions
  /// Of the first round.
  private var highest = 0.0
  /// By the shares of the knee.
  private var trials: [[Trial]]
  private var complaints: [String?]

  /// Where the search for the knee begins, and by what factor it goes on. It rises, for what a rate that is too high has left undone
  /// would be in the next run's way.
  private static let kneeStart = 400.0
  private static let kneeStep = 1.5
  private static let kneeBounds = 10.0...1e6
  /// A rate that does not hold is tried again: something else may have come over the machine.
  private static let kneeAttempts = 4
  /// Of a run: a p99 needs a thousand, and is steady with more.
  static let fewestOperations = 1500.0

  init(_ delays: InjectedDelays, _ options: ValidationOptions) {
    (self.delays, self.options) = (delays, options)
    trials = options.shares.map { _ in [] }
    complaints = options.shares.map { _ in nil }
  }

  private var name: String {
    "\(delays.nodes) × disk \(delays.diskMilliseconds) ms × network \(delays.networkMilliseconds) ms"
  }

  private func rate(_ place: Int) -> Double { (highest * options.shares[place]).rounded() }

  /// One run of each row that counts; of more, where earlier rounds had none.
  mutating func measure(round: Int, _ progress: @escaping @Sendable (String) -> Void) async throws {
    let before = self
    self = try await TrialCluster.with(delays, in: options.directory) { cluster in
      var trials = before
      try await trials.measure(round: round, on: cluster, progress)
      return trials
    }
  }

  private mutating func measure(
    round: Int, on cluster: TrialCluster, _ progress: @Sendable (String) -> Void
  ) async throws {
    if highest == 0 {
      progress("\(name), the knee")
      highest = try await knee(cluster)
    }
    for place in options.shares.indices {
      var attempt = 0
      while trials[place].count < round, attempt < options.attempts {
        attempt += 1
        progress("\(name), \(Words.percent(options.shares[place])) of \(Words.count(highest))/s")
        let trial = try await cluster.run(
          Self.open(rate(place)), seconds: max(options.seconds, Self.fewestOperations / rate(place)),
          warmUpSeconds: 0.5, seed: UInt64(trials[place].count + 1))
        complaints[place] = complaint(of: trial)
        if complaints[place] == nil { trials[place].append(trial) }
      }
    }
  }

  static func open(_ ratePerSecond: Double) -> LoadShape {
    .open(process: .poisson, ratePerSecond: ratePerSecond, maxInFlight: 20_000)
  }

  /// The highest rate of an open load whose run is valid and done in time, and whose p99 is within what the delays alone ask
  /// for and 20 ms.
  private func knee(_ cluster: TrialCluster) async throws -> Double {
    var low = Self.kneeStart
    while try await !holds(low, on: cluster) {
      low /= Self.kneeStep
      guard Self.kneeBounds.contains(low) else { throw PlanError("\(name): the cluster did next to nothing") }
    }
    var high = low * Self.kneeStep
    while Self.kneeBounds.contains(high), try await holds(high, on: cluster) {
      (low, high) = (high, high * Self.kneeStep)
    }
    let middle = (low + high) / 2
    return try await holds(middle, on: cluster) ? middle : low
  }

  private func holds(_ rate: Double, on cluster: TrialCluster) async throws -> Bool {
    let bound = UInt64(20 + 4 * delays.diskMilliseconds + 5 * delays.networkMilliseconds) * 1_000_000
    for attempt in 0..<(options.isQuick ? 1 : Self.kneeAttempts) {
      let trial = try await cluster.run(
        Self.open(rate), seconds: max(min(1, options.seconds), Self.fewestOperations / rate), warmUpSeconds: 0.5,
        seed: UInt64(100 + attempt))
      let figures = trial.result.measured
      let isDone = Double(figures.answeredWithin) >= 0.98 * Double(figures.started + figures.skipped) - 20 - rate / 20
      let isValid = trial.result.judgement.verdict == .valid && !trial.isGeneratorLate
      if isValid, isDone, let p99 = trial.latency.percentile(99), p99 <= bound { return true }
    }
    return false
  }

  private func complaint(of trial: Trial) -> String? {
    if trial.result.judgement.verdict != .valid {
      return trial.result.judgement.reasons.first.map(\.code) ?? "not valid"
    }
    if trial.isGeneratorLate { return "generator-late" }
    if trial.shareOfOthers > options.mostOfOthers { return "others took \(Words.percent(trial.shareOfOthers))" }
    return trial.latency.percentile(99) == nil ? "too few answers" : nil
  }

  /// What was measured. A row with runs in half of the rounds or fewer says nothing.
  var rows: [ValidationReport.Row] {
    options.shares.indices.map { place in
      var row = ValidationReport.Row(delays: delays, share: options.shares[place], ratePerSecond: rate(place))
      let runs = trials[place]
      row.shareOfOthers = Medians.median(runs.map(\.shareOfOthers)) ?? 0
      row.measuredProcessorShare = Medians.median(runs.map(\.ownShare)) ?? 0
      if 2 * runs.count > options.rounds {
        row.measure(runs.map(\.figures))
      } else {
        row.invalid = complaints[place] ?? "too few runs"
      }
      return row
    }
  }
}
