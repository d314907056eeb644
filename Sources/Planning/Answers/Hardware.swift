// Owns the recommendation of a machine, beside what etcd's guide recommends for a load of that size.
//
// etcd's table: https://etcd.io/docs/v3.6/op-guide/hardware/, "Example hardware configurations", the AWS rows.

/// A row of etcd's guide.
package struct GuideRow: Sendable, Equatable, Codable {
  package var name: String
  /// What a cluster of this size serves less than; nil for the largest.
  package var clients: Double?
  package var operationsPerSecond: Double?
  package var dataBytes: Double?
  package var processors: Int
  package var memoryGigabytes: Int
  package var concurrentIOPS: Int
  package var diskMegabytesPerSecond: Double

  package static let table = [
    GuideRow(
      name: "small", clients: 100, operationsPerSecond: 200, dataBytes: 100e6, processors: 2, memoryGigabytes: 8,
      concurrentIOPS: 3600, diskMegabytesPerSecond: 56.25),
    GuideRow(
      name: "medium", clients: 500, operationsPerSecond: 1000, dataBytes: 500e6, processors: 4, memoryGigabytes: 16,
      concurrentIOPS: 6000, diskMegabytesPerSecond: 93.75),
    GuideRow(
      name: "large", clients: 1500, operationsPerSecond: 10_000, dataBytes: 1e9, processors: 8, memoryGigabytes: 32,
      concurrentIOPS: 8000, diskMegabytesPerSecond: 125),
    GuideRow(
      name: "xlarge", clients: nil, operationsPerSecond: nil, dataBytes: nil, processors: 16, memoryGigabytes: 64,
      concurrentIOPS: 16_000, diskMegabytesPerSecond: 250),
  ]

  /// The smallest row that serves the need.
  package static func row(for need: Need) -> GuideRow {
    let data = need.keys * need.versionsKept * Double(need.keyBytes + need.valueBytes)
    return table.first { row in
      guard let clients = row.clients, let rate = row.operationsPerSecond, let bytes = row.dataBytes else {
        return true
      }
      return need.clients < clients && need.operationsPerSecond < rate && data <= bytes
    } ?? table[table.count - 1]
  }
}

/// What one node should have.
package struct MachineSize: Sendable, Equatable, Codable {
  package var processors: Int
  package var memoryGigabytes: Int
  package var diskGigabytes: Int
  package var flushesPerSecond: Double
  package var networkMegabitsPerSecond: Double
}

extension MachineSize {
  /// Room over what is needed, for a snapshot, a lost node and a busy hour.
  private static let room = 1.43

  init(of need: Need, footprint: Footprint, prediction: Prediction) {
    let used = prediction.processorShare * Double(need.processors)
    processors = max(2, Int((used * Self.room).rounded(.up)))
    // While a snapshot is taken, what changes meanwhile is there twice.
    memoryGigabytes = max(1, Int((footprint.memoryBytes * 1.5 / 1e9).rounded(.up)))
    // The log's file does not shrink, and a snapshot is made beside the two that are kept.
    diskGigabytes = max(1, Int((footprint.diskBytes * 2 / 1e9).rounded(.up)))
    flushesPerSecond = need.writesPerSecond / max(1, prediction.commandsPerFlush)
    // What the leader sends to each follower, and answers to its clients.
    let writes = need.writesPerSecond * Double(need.keyBytes + need.valueBytes + 100) * Double(need.nodes - 1)
    let reads = (need.gets + need.serializableGets) * Double(need.keyBytes + need.valueBytes + 150)
    let events = need.writesPerSecond * need.watchersPerWrite * Double(need.keyBytes + need.valueBytes + 60)
    networkMegabitsPerSecond = ((writes + reads + events) * 8 / 1e6 * 10).rounded() / 10
  }
}
