// Owns what a run of the simulator is given.
// Must never: carry anything by which two runs of one seed could differ.
// Invariant: seed and options determine the report, to the last bit of its digest.

package struct SimulationOptions: Sendable {
  /// Voters at the beginning; nil lets the seed choose.
  package var nodeCount: Int?
  /// How long faults go on, in simulated time.
  package var faultMilliseconds: UInt64
  /// How long a healed cluster may take, in simulated time, to serve again, and then to come one entry closer to
  /// agreement.
  package var livenessMilliseconds: UInt64
  /// Operations a second that clients ask for; nil lets the seed choose.
  package var operationsPerSecond: UInt64?
  package var plantedBug: PlantedBug?

  package init(
    nodeCount: Int? = nil, faultMilliseconds: UInt64 = 20_000, livenessMilliseconds: UInt64 = 30_000,
    operationsPerSecond: UInt64? = nil, plantedBug: PlantedBug? = nil
  ) {
    precondition(nodeCount.map { $0 > 0 } ?? true, "a cluster needs at least one node")
    precondition(operationsPerSecond.map { $0 > 0 } ?? true, "the load is at least one operation a second")
    self.nodeCount = nodeCount
    self.faultMilliseconds = faultMilliseconds
    self.livenessMilliseconds = livenessMilliseconds
    self.operationsPerSecond = operationsPerSecond
    self.plantedBug = plantedBug
  }
}
