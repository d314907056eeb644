// Owns what a limit is laid to: which resource was busy at the lowest rate that did not hold.
//
// It must never guess. A resource binds when it was seen to be busy; where nothing was, the answer says what was looked at.

/// Shares of the time of a run, from 0 to 1, of the machine that made the load.
package struct HostUsage: Sendable, Equatable, Codable {
  /// Of all processors together.
  package var processors: Double
  /// How long the disk had something to do. Nil where there is none that the kernel counts.
  package var disk: Double?

  package init(processors: Double, disk: Double?) {
    self.processors = processors
    self.disk = disk
  }
}

/// What a node of the target was busy with during a run, by what it says itself.
package struct NodeUsage: Sendable, Equatable, Codable {
  package enum Role: String, Sendable, Codable {
    case leader, follower
    /// One that does not say, such as a gateway.
    case server
  }

  package var endpoint: String
  /// At the end of the run.
  package var role = Role.server
  /// How many processors it kept busy.
  package var cores: Double
  /// How many it has. Nil where neither it nor anybody says.
  package var processors: Int?
  /// The share of the time, from 0 to 1, in which its log was being flushed. Nil where it does not say.
  package var flushing: Double?

  package init(endpoint: String, cores: Double) {
    self.endpoint = endpoint
    self.cores = cores
  }

  /// Of its processors, from 0 to 1.
  package var processorShare: Double? {
    processors.flatMap { $0 > 0 ? Swift.min(1, cores / Double($0)) : nil }
  }
}

extension LimitResult {
  package enum Binding: Sendable, Equatable {
    case generator
    /// Of this machine, with whatever runs on it.
    case processors
    case disk
    /// Of a node, as it was on average over the runs at the edge.
    case processorsOf(NodeUsage)
    case diskOf(NodeUsage)
    /// Nothing that was looked at: this machine, and so many nodes of the target.
    case nothingSeen(nodes: Int)
  }

  /// Above these shares something is as good as always busy.
  private static let busyProcessors = 0.85
  private static let busyDisk = 0.8

  /// What was busy at the lowest rate that did not hold. Nil where every rate held, or nothing could be looked at.
  package var binding: Binding? {
    guard let failsPerSecond else { return nil }
    let edge = trials.filter { $0.ratePerSecond == failsPerSecond && !$0.holds }
    if edge.contains(where: { $0.reasons.contains { $0.hasPrefix("generator") } }) { return .generator }
    let nodes = Self.means(edge.flatMap { $0.nodes ?? [] })
    func busiest(_ share: (NodeUsage) -> Double?, _ limit: Double) -> NodeUsage? {
      nodes.filter { share($0) ?? 0 >= limit }.max { share($0) ?? 0 < share($1) ?? 0 }
    }
    if let node = busiest(\.processorShare, Self.busyProcessors) { return .processorsOf(node) }
    let usages = edge.compactMap(\.usage)
    func mean(_ part: (HostUsage) -> Double) -> Double {
      usages.reduce(0) { $0 + part($1) } / Double(Swift.max(1, usages.count))
    }
    if mean(\.processors) >= Self.busyProcessors { return .processors }
    if let node = busiest(\.flushing, Self.busyDisk) { return .diskOf(node) }
    if mean({ $0.disk ?? 0 }) >= Self.busyDisk { return .disk }
    return usages.isEmpty && nodes.isEmpty ? nil : .nothingSeen(nodes: nodes.count)
  }

  /// One usage for each node. Its role is that of the last run.
  private static func means(_ usages: [NodeUsage]) -> [NodeUsage] {
    var groups: [(endpoint: String, usages: [NodeUsage])] = []
    for usage in usages {
      if let index = groups.firstIndex(where: { $0.endpoint == usage.endpoint }) {
        groups[index].usages.append(usage)
      } else {
        groups.append((usage.endpoint, [usage]))
      }
    }
    return groups.compactMap { group in
      guard var mean = group.usages.last else { return nil }
      mean.cores = group.usages.reduce(0) { $0 + $1.cores } / Double(group.usages.count)
      let flushing = group.usages.compactMap(\.flushing)
      mean.flushing = flushing.isEmpty ? nil : flushing.reduce(0, +) / Double(flushing.count)
      return mean
    }
  }
}
