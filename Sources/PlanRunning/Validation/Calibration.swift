// Owns the way from what loads used, and how long they waited, to what the model's costs are.
//
// It must never look at a run that is predicted. It looks at loads without delays, of one client and of many, slow and fast, on one
// node and on three, and through a relay with a delay that no cell has. What threads used says what their work costs; what
// remains unknown is tried out in the model, until it says what was measured (Fitting.swift).

import Measurement
import Planning

package struct Calibration: Sendable, Codable {
  /// A load, and what it did in some runs, between which others were made: what comes over a machine for some seconds is in one of
  /// them.
  struct Point: Sendable, Codable {
    var nodes: Int
    var networkMilliseconds = 0
    /// Of a closed loop, or else the rate of an open one.
    var clients: Int?
    var ratePerSecond: Double?
    var runs: [TrialFigures] = []

    /// Of the runs that have the figure.
    func middle(_ figure: (TrialFigures) -> Double?) -> Double? { Medians.middleMean(runs.compactMap(figure)) }

    func target(disk: DiskModel, processors: Int) -> FittingTarget {
      var scenario = ValidationInputs.scenario(
        nodes: nodes, networkMilliseconds: networkMilliseconds, disk: disk, costs: Costs(), processors: processors)
      if let clients {
        scenario.load = .closed(clients: clients)
      } else {
        scenario.load = .open(process: .poisson, perSecond: [.put: ratePerSecond ?? 1])
      }
      scenario.operations = 2000
      let use = { (field: KeyPath<Prediction.Use, Double>) in middle { $0.use[keyPath: field] } ?? 0 }
      return FittingTarget(
        scenario: scenario,
        measured: FittingTarget.Figures(
          p50Nanoseconds: middle { $0.p50Nanoseconds.map { Double($0) } },
          p90Nanoseconds: middle { $0.p90Nanoseconds.map { Double($0) } },
          p99Nanoseconds: middle { $0.p99Nanoseconds.map { Double($0) } },
          use: Prediction.Use(
            clients: use(\.clients), loop: use(\.loop), writer: use(\.writer), eventLoops: use(\.eventLoops))),
        operationsOfRun: (middle(\.seconds) ?? 0) * (ratePerSecond ?? 0))
    }
  }

  var points: [Point]
  /// Of each round.
  var stalls: [Stalls] = []

  static let lowRate = 300.0
  static let fewClients = 8
  static let manyClients = 128
  static let relayedMilliseconds = 3

  init(isQuick: Bool) {
    points = Self.clusters.flatMap {
      Self.points(nodes: $0.nodes, networkMilliseconds: $0.networkMilliseconds, isQuick: isQuick)
    }
  }

  /// On which the loads are run: without delays, or through the relay.
  static let clusters = [1, 3].flatMap { nodes in
    [0, relayedMilliseconds].map { InjectedDelays(nodes: nodes, networkMilliseconds: $0) }
  }

  /// The slow ones first, on a cluster that has done nothing yet: so are the rows of a cell run. What a hard load may leave behind is
  /// then in neither.
  private static func points(nodes: Int, networkMilliseconds: Int, isQuick: Bool) -> [Point] {
    let isRelayed = networkMilliseconds > 0
    let few = isRelayed ? [2000] : [lowRate, 2400]
    let more = isRelayed ? [400.0, 4000] : [1200] + (nodes == 1 ? [3600, 4800, 9600] : [])
    let rates = (few + (isQuick ? [] : more)).sorted()
    let clients = isRelayed ? [] : isQuick ? [1, manyClients] : [1, fewClients, manyClients]
    return rates.map { Point(nodes: nodes, networkMilliseconds: networkMilliseconds, ratePerSecond: $0) }
      + clients.map { Point(nodes: nodes, clients: $0) }
  }

  /// Runs the loads of one of the clusters once more.
  /// - Parameter run: told a load, its rate, which is infinite for a closed one, and a seed.
  mutating func measure(
    on cluster: InjectedDelays, round: Int, _ run: (LoadShape, Double, UInt64) async throws -> TrialFigures
  ) async throws {
    for place in points.indices
    where points[place].nodes == cluster.nodes && points[place].networkMilliseconds == cluster.networkMilliseconds {
      let rate = points[place].ratePerSecond ?? .infinity
      let shape = points[place].clients.map { LoadShape.closed(clients: $0) } ?? CellTrials.open(rate)
      points[place].runs.append(try await run(shape, rate, UInt64(round)))
    }
  }

  private func point(clients: Int? = nil, ratePerSecond: Double? = nil) throws(PlanError) -> Point {
    let found = points.first {
      $0.nodes == 1 && $0.networkMilliseconds == 0 && $0.clients == clients && $0.ratePerSecond == ratePerSecond
    }
    guard let found else { throw PlanError("the calibration lacks a load of one node") }
    return found
  }

  /// - Throws: `PlanError` where a load is missing.
  func costs(disk: DiskModel, processors: Int) async throws -> Costs {
    var costs = try firstGuess()
    let stalls = Stalls.mean(stalls)
    // Some come even where none was seen in a few seconds; how often and how long is found below.
    costs.stallsPerSecond = max(1, stalls.perSecond)
    costs.stallNanoseconds = max(Double(Stalls.shortestNanoseconds), stalls.meanNanoseconds)
    let targets = points.map { $0.target(disk: disk, processors: processors) }
    let fitting =
      isWhole
      ? Fitting(targets: targets, rounds: 6) : Fitting(targets: targets, rounds: 3, stallRates: [Self.usualStalls])
    let found = try await fitting.fitTails(try await fitting.fit(costs))
    // Stalls and stops make medians longer as well, so that costs are others beside those that were found than beside those that were
    // seen; and what the new costs leave of the tails is theirs again.
    let beside = Fitting(targets: targets, rounds: isWhole ? 4 : 1, stallRates: [1])
    return try await beside.fitTails(try await beside.fit(found))
  }

  /// The few loads of a quick one tell of fewer costs, which are found sooner, and not how often the machine stalls.
  private var isWhole: Bool { points.contains { $0.clients == Self.fewClients } }
  /// So much more often than a thread sees that looks at the clock, where nothing tells it better.
  private static let usualStalls = 4.0

  /// By what threads used in two loads: of many clients, and at a low rate.
  private func firstGuess() throws(PlanError) -> Costs {
    let (one, many) = (try point(clients: 1), try point(clients: Self.manyClients))
    let few = try point(ratePerSecond: Self.lowRate)
    var costs = Costs()
    let eventLoops = Self.split(.eventLoops, few, many)
    (costs.eventLoopWake, costs.requestWake) = (eventLoops.sleep / 2, eventLoops.sleep / 2)
    (costs.requestIn, costs.answerOut) = (eventLoops.operation / 2, eventLoops.operation / 2)
    let loop = Self.split(.loop, few, many)
    // Part of a turn's cost is there without a sleep: publishing, looking at timers.
    (costs.loopWake, costs.turn, costs.applyTurn) = (loop.sleep * 0.7, loop.sleep * 0.15, loop.sleep * 0.3)
    (costs.proposal, costs.apply) = (loop.operation * 0.3, loop.operation * 0.7)
    costs.read = costs.proposal
    let writer = Self.split(.writer, few, many)
    // A group sleeps twice: for its flush, and for the next group. Handing a flush to the disk costs however busy it is.
    (costs.writerWake, costs.group) = (writer.sleep * 0.5, writer.sleep)
    // Writing into the journal is an encoding, a checksum and a copy; in the tree, entries go to its end, one after the other.
    (costs.groupEntry, costs.settleEntry) = (writer.operation * 0.7, writer.operation * 0.3)
    costs.event = costs.answerOut / 3
    let client = { (point: Point) in point.middle(\.generatorNanosecondsPerOperation) ?? 0 }
    (costs.clientSend, costs.clientReceive) = (client(many) / 2, client(many) / 2)
    // One sleep for each operation of the closed loop; two of the open one, and one of its dispatcher.
    costs.clientWake = max(1000, client(one) - client(many))
    costs.dispatcherWake = max(5000, client(few) - client(many) - 2 * costs.clientWake)
    costs.clientDispatch = 2000
    return costs
  }

  /// How much of a wake-up's cost is due at a low rate, which leaves long rests, and with many clients.
  private static let shares = (few: 0.7, many: 0.35)

  /// The two unknowns of a thread, by two loads: used = sleeps × share × a + b, for each operation.
  private static func split(
    _ part: ThreadTimes.Part, _ few: Point, _ many: Point
  ) -> (sleep: Double, operation: Double) {
    let each = { (point: Point) in point.middle { $0.threads[part].nanoseconds / max(1, $0.operations) } ?? 0 }
    let sleeps = { (point: Point) in point.middle { $0.threads[part].sleeps / max(1, $0.operations) } ?? 0 }
    let (often, seldom) = (sleeps(few) * shares.few, sleeps(many) * shares.many)
    guard often - seldom > 0.01 else { return (1000, each(many)) }
    // An operation costs something, however the noise of two runs falls.
    let operation = max(0.3 * each(many), each(many) - seldom * (each(few) - each(many)) / (often - seldom))
    return (max(1000, (each(few) - operation) / often), operation)
  }
}
