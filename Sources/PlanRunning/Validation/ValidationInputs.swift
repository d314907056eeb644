// Owns what a validation goes by: the disk under each delay, the relay's round trip, what calibrating loads used. All of it is
// measured before anything is predicted, and is kept with the report, so that a later model can be held to the same runs.

package import DiskProbe
import Planning

package struct ValidationInputs: Sendable, Codable {
  package var processors: Int
  /// By the milliseconds that each flush was made longer: what each round measured.
  package var disks: [Int: [[FlushSeries]]] = [:]
  var calibration: Calibration

  package init(processors: Int, isQuick: Bool) {
    self.processors = processors
    calibration = Calibration(isQuick: isQuick)
  }

  /// Other programs make one writer's flushes many times as long (a processor that they hold takes up the disk's answer late):
  /// what counts of each kind of flushes is the middle of all rounds.
  /// - Throws: `PlanError` where the disk was not measured with that delay.
  func disk(delayMilliseconds: Int) throws(PlanError) -> DiskModel {
    let name = "the disk with \(delayMilliseconds) ms more"
    guard let rounds = disks[delayMilliseconds] else { throw PlanError("\(name) was not measured") }
    return try DiskProfiles.model(ofRounds: rounds, named: name)
  }

  /// - Throws: `PlanError` where a calibrating load was not run.
  func costs() async throws -> Costs {
    try await calibration.costs(disk: try disk(delayMilliseconds: 0), processors: processors)
  }

  /// Nodes, clients and disk on one machine: one node behind the relay, or several with it between them.
  static func scenario(
    nodes: Int, networkMilliseconds: Int, disk: DiskModel, costs: Costs, processors: Int
  ) -> WhatIf {
    var need = Need()
    need.puts = 1
    need.nodes = nodes
    need.roundTrip = 0
    need.keyBytes = TrialCluster.keyBytes
    need.valueBytes = TrialCluster.valueBytes
    need.processors = processors
    need.sharesMachine = true
    var scenario = need.scenario(disk: disk, costs: costs)
    guard networkMilliseconds > 0 else { return scenario }
    scenario.hasRelay = true
    let delay = UInt64(networkMilliseconds) * 1_000_000
    if nodes == 1 { scenario.clientOneWay = delay }
    for from in 0..<nodes { for to in 0..<nodes where to != from { scenario.oneWay[from][to] = delay } }
    return scenario
  }

  /// As a cell's cluster runs.
  func scenario(of cell: InjectedDelays, costs: Costs) throws(PlanError) -> WhatIf {
    Self.scenario(
      nodes: cell.nodes, networkMilliseconds: cell.networkMilliseconds,
      disk: try disk(delayMilliseconds: cell.diskMilliseconds), costs: costs, processors: processors)
  }
}
