// Owns what a validation goes by: the disk under each delay, the relay's round trip, what calibrating loads used. All of it is
// measured before anything is predicted, and is kept with the report, so that a later model can be held to the same runs.

package import DiskProbe
import Planning

package struct ValidationInputs: Sendable, Codable {
  package struct Network: Sendable, Codable {
    /// Half of the round trip through the relay.
    var oneWayNanoseconds = 0.0
    /// Processor time of passing one message on.
    var relayNanoseconds = 0.0
  }

  package var processors: Int
  /// By the milliseconds that each flush was made longer.
  package var disks: [Int: [FlushSeries]] = [:]
  /// By the milliseconds of delay each way.
  package var networks: [Int: Network] = [:]
  package var calibration: Calibration?

  package init(processors: Int) { self.processors = processors }

  /// - Throws: `PlanError` where the disk was not measured with that delay.
  func disk(delayMilliseconds: Int) throws(PlanError) -> DiskModel {
    guard let series = disks[delayMilliseconds] else {
      throw PlanError("the disk was not measured with \(delayMilliseconds) ms more")
    }
    return try DiskProfiles.model(of: series, named: "the disk with \(delayMilliseconds) ms more")
  }

  /// - Throws: `PlanError` where nothing was calibrated.
  func costs() throws(PlanError) -> Costs {
    guard let calibration else { throw PlanError("no processor costs were measured") }
    return calibration.costs(disk: try disk(delayMilliseconds: 0), processors: processors)
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

  /// As a cell's cluster runs: one node behind the relay, or several with it between them.
  func scenario(of cell: InjectedDelays, costs: Costs) throws(PlanError) -> WhatIf {
    var scenario = Self.scenario(
      nodes: cell.nodes, disk: try disk(delayMilliseconds: cell.diskMilliseconds), costs: costs, processors: processors)
    guard cell.networkMilliseconds > 0 else { return scenario }
    guard let network = networks[cell.networkMilliseconds] else {
      throw PlanError("the relay was not measured with \(cell.networkMilliseconds) ms")
    }
    scenario.relayCost = network.relayNanoseconds
    if cell.nodes == 1 {
      scenario.clientOneWay = UInt64(network.oneWayNanoseconds)
    } else {
      for from in 0..<cell.nodes {
        for to in 0..<cell.nodes where to != from { scenario.oneWay[from][to] = UInt64(network.oneWayNanoseconds) }
      }
    }
    return scenario
  }
}
