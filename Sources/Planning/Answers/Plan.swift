// Owns the whole answer to a need: the value that is printed, kept as JSON and asserted on.
//
// The JSON form follows from these declarations; `Plan.currentSchema` changes when a reader of the old form would trip.

package import Measurement

package struct Plan: Sendable, Equatable, Codable {
  package static let currentSchema = "portcullis.plan/1"

  package enum Verdict: String, Sendable, Codable {
    case meets, misses, overloaded
  }

  package struct Latency: Sendable, Equatable, Codable {
    package var operation: String
    package var perSecond: Double
    package var p50Nanoseconds: UInt64?
    package var p99Nanoseconds: UInt64?
    package var p999Nanoseconds: UInt64?
  }

  package var schema = Plan.currentSchema
  package var verdict: Verdict
  package var objective: LoadObjective
  package var nodes: Int
  /// Site or number of the node that leads in the figures.
  package var leader: String
  package var offeredPerSecond: Double
  package var latencies: [Latency]
  /// With the leader at the worst of the sites; nil where all are alike.
  package var worstLeader: WorstLeader?
  package var highest: HighestRate?
  /// What should be asked of it at most, with room for a bad hour.
  package var operatingPerSecond: Double?
  package var commandsPerFlush: Double
  package var processorShare: Double
  /// Of the time in which the leader's processors stand still, for the quota of their machine is used up.
  package var stoppedShare: Double
  package var diskShare: Double
  package var timers: TimerAdvice
  package var sensitivities: [Sensitivity]
  package var footprint: Footprint
  package var machine: MachineSize
  package var guide: GuideRow
  package var improvements: [String]
  package var warnings: [String]
  /// Where the disk's figures come from.
  package var diskSource: String
  package var costs: Costs

  package struct WorstLeader: Sendable, Equatable, Codable {
    package var leader: String
    package var p99Nanoseconds: UInt64?
  }

  package var isMet: Bool { verdict == .meets }
}

/// A disk as a plan takes it.
package struct PlannedDisk: Sendable {
  package var model: DiskModel
  /// In words.
  package var source: String

  package init(model: DiskModel, source: String) {
    self.model = model
    self.source = source
  }

  var flushP99: Double { model.atRest.value(at: 0.99) }
}

extension Plan {
  /// The share of the highest rate at which there is room (as `bench --find-limit` has it).
  private static let operatingShare = 0.7

  /// Runs the model as often as the answer needs.
  package init(for need: Need, disk: PlannedDisk, costs: Costs) throws(PlanError) {
    try need.checked()
    if let complaint = costs.complaint { throw PlanError(complaint) }
    let scenario = need.scenario(disk: disk.model, costs: costs)
    let (holds, prediction) = scenario.holds(need.objective)
    verdict = prediction.isOverloaded ? .overloaded : holds ? .meets : .misses
    objective = need.objective
    nodes = need.nodes
    leader = Self.name(of: 0, in: need)
    offeredPerSecond = need.operationsPerSecond
    latencies = OperationKind.allCases.compactMap { kind in
      guard let rate = need.perSecond[kind] else { return nil }
      let histogram = prediction.latency[kind]
      return Latency(
        operation: kind.rawName, perSecond: rate, p50Nanoseconds: histogram?.percentile(50),
        p99Nanoseconds: histogram?.percentile(99), p999Nanoseconds: histogram?.percentile(99.9))
    }
    worstLeader = Self.worst(of: need, disk: disk.model, costs: costs)
    highest = scenario.highestRate(within: need.objective, startingAt: need.operationsPerSecond)
    operatingPerSecond = highest.map { $0.perSecond * Self.operatingShare }
    commandsPerFlush = prediction.commandsPerFlush
    processorShare = prediction.processorShare
    stoppedShare = prediction.stoppedShare
    diskShare = prediction.diskShare
    timers = TimerAdvice(of: need, prediction: prediction, flushP99: disk.flushP99)
    sensitivities = Self.sensitivities(of: scenario, need, near: highest?.perSecond)
    footprint = Footprint(of: need)
    machine = MachineSize(of: need, footprint: footprint, prediction: prediction)
    guide = GuideRow.row(for: need)
    (improvements, warnings) = ([], [])
    diskSource = disk.source
    self.costs = costs
    improvements = advice(need)
    warnings = doubts(need)
  }

  private static func name(of node: Int, in need: Need) -> String {
    need.sites.isEmpty ? "node 1" : need.sites[node]
  }

  private static func worst(of need: Need, disk: DiskModel, costs: Costs) -> WorstLeader? {
    var tried: Set<String> = []
    var worst: WorstLeader?
    for (node, site) in need.sites.enumerated() where tried.insert(site).inserted {
      let p99 = need.scenario(disk: disk, costs: costs, leader: node).predict().worst(99)
      if worst == nil || (p99 ?? .max) > (worst?.p99Nanoseconds ?? .max) {
        worst = WorstLeader(leader: site, p99Nanoseconds: p99)
      }
    }
    return tried.count > 1 ? worst : nil
  }

  /// - Parameter rate: the highest without a change, where the search for the others begins.
  private static func sensitivities(of scenario: WhatIf, _ need: Need, near rate: Double?) -> [Sensitivity] {
    Sensitivity.Change.allCases.compactMap { change in
      if change == .longerRoundTrip, need.nodes == 1 { return nil }
      let changed = Sensitivity.scenario(change, of: scenario)
      let prediction = changed.predict()
      let kind = OperationKind.allCases.first { need.perSecond[$0] != nil } ?? .put
      return Sensitivity(
        change: change, p50Nanoseconds: prediction.percentile(50, of: kind),
        p99Nanoseconds: prediction.isOverloaded ? nil : prediction.percentile(99, of: kind),
        highestPerSecond: changed.highestRate(within: need.objective, startingAt: rate ?? need.operationsPerSecond)?
          .perSecond)
    }
  }
}

extension OperationKind {
  /// As it is called in text and JSON.
  package var rawName: String {
    switch self {
    case .put: "put"
    case .get: "get"
    case .serializableGet: "get, serializable"
    case .transaction: "transaction"
    case .renewal: "renewal"
    }
  }
}
