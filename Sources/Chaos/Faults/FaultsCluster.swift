// The nodes of a core whose peers reach each other through the proxy, and what is done to them.

package import Conformance
import Foundation
import Glibc
import NIOCore

/// Used by one task at a time.
package final class FaultsCluster {
  package static let heartbeatMilliseconds = 40
  package static let electionMilliseconds = 400

  package let core: CoreProcesses
  /// Where the nodes serve clients, on loopback.
  package let ports: [Int]
  package let proxy: FaultsProxy
  /// The highest term that was seen.
  package private(set) var term: UInt64 = 0

  package struct Trouble: Error, CustomStringConvertible {
    package let description: String

    package init(description: String) { self.description = description }
  }

  /// Prepares the processes, without starting any.
  /// - Parameters:
  ///   - flags: that every node gets beside its own.
  ///   - environments: of each node, such as a control of faults.
  ///   - etcd: the path of an etcd that takes our place.
  package init(
    on deployment: Deployment, nodes: Int = 3, flags: [String] = [], environments: [[String: String]] = [],
    etcd: String? = nil
  ) async throws {
    let proxy = FaultsProxy()
    self.proxy = proxy
    let timing =
      ["--heartbeat-interval", "\(Self.heartbeatMilliseconds)"]
      + ["--election-timeout", "\(Self.electionMilliseconds)"]
    core = try await deployment.prepareCore(
      nodes: nodes, flags: timing + flags, environments: environments, etcd: etcd,
      relay: { try await proxy.start($0) })
    ports = core.nodes.map { Int($0.address.split(separator: ":").last ?? "") ?? 0 }
  }

  package var nodes: Range<Int> { core.nodes.indices }

  /// By which a report calls a node.
  package static func name(_ node: Int) -> String { "core-\(node)" }

  package func start() async throws {
    for node in nodes { try await launch(node) }
    try await waitUntilServing()
  }

  package func stop() async {
    for node in core.nodes { node.program?.send(SIGTERM) }
    for node in core.nodes { await node.stop() }
    await proxy.stop()
  }

  /// What the nodes have said on standard error, for a report of a failure.
  package var complaints: String {
    nodes.map { "\(Self.name($0)): \(core.nodes[$0].program?.errors.suffix(2000) ?? "")" }.joined(separator: "\n")
  }

  package func pause(_ node: Int) async throws { try await core.nodes[node].pause() }
  package func resume(_ node: Int) { core.nodes[node].resume() }

  /// As a crash of the process would have it: no chance to put anything in order.
  package func kill(_ nodes: [Int]) async throws {
    // All at once, and only then the wait for the first one's end.
    for node in nodes { core.nodes[node].program?.send(SIGKILL) }
    for node in nodes {
      await core.nodes[node].kill()
      try await proxy.setProcess(nil, of: node)
    }
  }

  package func launch(_ node: Int) async throws {
    try core.nodes[node].launch()
    try await proxy.setProcess(core.nodes[node].program?.processID, of: node)
  }

  /// Ends with an error if a process ended by itself: nothing that is done to the cluster gives it a reason to.
  package func checkAlive() throws {
    for node in nodes {
      guard let program = core.nodes[node].program, program.hasEnded else { continue }
      throw Trouble(description: "node \(Self.name(node)) ended by itself: \(program.errors.suffix(4000))")
    }
  }

  /// The node that leads, by its own word and the highest term.
  package func leader() async throws -> Int {
    let client = HistoryClient(-1, ports: ports, node: 0)
    defer { client.close() }
    return try await eventually(within: 20, "a leader") {
      var best: (node: Int, term: UInt64)?
      for node in nodes {
        guard let status = await client.status(of: node) else { continue }
        self.term = max(self.term, status.term)
        if status.isLeader, status.term > best?.term ?? 0 { best = (node, status.term) }
      }
      // Somebody who knows of a newer term knows of a newer leader, or there is none yet.
      return best.flatMap { $0.term == self.term ? $0.node : nil }
    }
  }

  /// Waits until each of the nodes answers a linearizable read.
  package func waitUntilServing(within seconds: Int = 25) async throws {
    for node in nodes {
      let client = HistoryClient(-1, ports: ports, node: node)
      defer { client.close() }
      var last: HistoryOutcome?
      do {
        _ = try await eventually(within: seconds, "an answer") {
          try self.checkAlive()
          let operation = await client.perform(.get, on: HistoryAudit.markerKey, timeout: .seconds(1))
          last = operation.outcome
          return operation.isAcknowledged ? true : nil
        }
      } catch {
        throw Trouble(
          description: "node \(Self.name(node)) answers no read: \(error), but: \(String(describing: last))")
      }
    }
  }

  /// Puts a mark behind everything that was written so far.
  /// - Returns: its value.
  package func putMarker(_ name: String = "marker") async throws -> String {
    let client = HistoryClient(-1, ports: ports, node: 0)
    defer { client.close() }
    var count = 0
    return try await eventually(within: 20, "the last write") {
      count += 1
      let put = await client.perform(.put("\(name).\(count)"), on: HistoryAudit.markerKey, timeout: .seconds(2))
      return put.isAcknowledged ? "\(name).\(count)" : nil
    }
  }
}

/// Looks again and again until there is something to see. What is waited for is an event in another process that nobody
/// announces here.
///
/// Time in which this process itself stood still is not waited time: it carries the cluster's messages, so nothing could
/// come of it. A stopped or starved machine makes a run slow and not wrong.
package func eventually<Found>(
  within seconds: Int, _ what: String, _ look: () async throws -> Found?
) async throws -> Found {
  var waited = Duration.zero
  var last = ContinuousClock.now
  while waited < .seconds(seconds) {
    if let found = try await look() { return found }
    try await Task.sleep(for: .milliseconds(10))
    // No look takes longer than two requests' deadlines.
    let now = ContinuousClock.now
    waited += min(last.duration(to: now), .seconds(4))
    last = now
  }
  throw FaultsCluster.Trouble(description: "\(what) did not come within \(seconds) s")
}
