// Owns what one run of the model is told: the cluster, what it stands on, and the load.

package import Measurement

package enum OperationKind: Int, Sendable, CaseIterable, Codable {
  case put, transaction, renewal, get, serializableGet

  /// Whether it goes through the log.
  package var isLogged: Bool { self == .put || self == .transaction || self == .renewal }
}

package enum ClientPlace: String, Sendable, Codable, CaseIterable {
  /// Clients are spread over all nodes, as etcd's clients do by themselves.
  case spread
  /// Every client talks to the leader.
  case leader
}

package struct WhatIf: Sendable {
  package enum Load: Sendable, Equatable {
    /// Operations come whatever the answers do, so many a second of each kind.
    case open(process: ArrivalProcess, perSecond: [OperationKind: Double])
    /// So many clients that each have one put under way.
    case closed(clients: Int)
  }

  package var nodes = 3
  /// Place of the node that leads.
  package var leader = 0
  /// From one node to another, in nanoseconds: half of the round trip.
  package var oneWay: [[UInt64]]
  package var clientOneWay: UInt64 = 0
  package var clientsAt = ClientPlace.spread
  package var processors = 2
  /// All nodes and the clients run on one machine with `processors`.
  package var sharesMachine = false
  package var sharesDisk = false
  package var disk: DiskModel
  package var costs = Costs()
  /// Whether something on the shared machine stands between the nodes, or a client and the only node, and passes everything on
  /// later by the times above (its own work: `Costs.relay`).
  package var hasRelay = false
  package var load: Load
  /// Of an entry's payload.
  package var commandBytes = 400
  /// Events that a write causes, over all nodes.
  package var eventsPerWrite = 0.0
  package var heartbeatMilliseconds = 100
  package var electionMilliseconds = 1000
  package var seed: UInt64 = 1
  /// Operations that are measured; a tenth as many, and a second at least, go before them.
  package var operations = 20_000

  package init(nodes: Int, oneWayNanoseconds: UInt64 = 0, disk: DiskModel, load: Load) {
    self.nodes = nodes
    self.disk = disk
    self.load = load
    oneWay = (0..<nodes).map { from in (0..<nodes).map { from == $0 ? 0 : oneWayNanoseconds } }
  }

  /// Timer of Raft in a node: ten ticks for a heartbeat (CoreNode/NodeConfiguration.swift).
  var tickMilliseconds: Int { max(1, heartbeatMilliseconds / 10) }
}

/// What the model says of a load.
package struct Prediction: Sendable, Equatable {
  /// From the call to the answer, by kind.
  package var latency: [OperationKind: LatencyHistogram] = [:]
  /// Answered within the measured time, a second.
  package var achievedPerSecond = 0.0
  package var offeredPerSecond = 0.0
  package var refused = 0
  /// The backlog grew without end: the load is beyond what the cluster can do.
  package var isOverloaded = false
  /// Share of the processors that was used: of the leader's machine, and of its log writer's time.
  package var processorShare = 0.0
  /// Share of the time in which these processors stood still, for their machine's quota was used up.
  package var stoppedShare = 0.0
  package var use = Use()
  package var diskShare = 0.0
  package var commandsPerFlush = 0.0
  /// Between nodes, and entries or proposals in them.
  package var messages = 0
  package var entriesSent = 0
  /// The longest time that a follower heard nothing from the leader, in nanoseconds.
  package var longestSilence: UInt64 = 0
  /// Elections during the load, which a cluster that is sized well has none of.
  package var elections = 0

  /// Processor time of all nodes' threads, and of the clients and the relay, for each operation that was answered.
  package struct Use: Sendable, Equatable {
    package var clients = 0.0
    package var loop = 0.0
    package var writer = 0.0
    package var eventLoops = 0.0

    package init(clients: Double = 0, loop: Double = 0, writer: Double = 0, eventLoops: Double = 0) {
      (self.clients, self.loop, self.writer, self.eventLoops) = (clients, loop, writer, eventLoops)
    }
  }

  package func percentile(_ percent: Double, of kind: OperationKind = .put) -> UInt64? {
    latency[kind]?.percentile(percent)
  }

  /// The worst percentile among the kinds.
  package func worst(_ percent: Double) -> UInt64? {
    latency.values.compactMap { $0.percentile(percent) }.max()
  }
}
