// Three nodes of a core whose peers reach each other through the proxy, and what is done to them.

import Foundation
import Glibc
import NIOCore
import Testing

/// Used by one task at a time.
final class FaultsCluster {
  static let heartbeatMilliseconds = 40
  static let electionMilliseconds = 400

  let ports: [Int]
  let proxy = FaultsProxy()
  private let directory: ScratchDirectory
  private let advertised: [Int]
  private let actual: [Int]
  /// Flags that every node gets beside its own.
  private let flags: [String]
  private var programs: [RunningProgram?] = [nil, nil, nil]
  /// The highest term that was seen.
  private(set) var term: UInt64 = 0

  struct Trouble: Error, CustomStringConvertible {
    let description: String
  }

  init(_ flags: [String] = []) throws {
    directory = try ScratchDirectory()
    self.flags = flags
    let free = Ports.free(9)
    ports = Array(free[0..<3])
    advertised = Array(free[3..<6])
    actual = Array(free[6..<9])
  }

  func start() async throws {
    try await proxy.start(advertised: advertised, actual: actual)
    for node in 0..<3 { try await launch(node) }
    for node in 0..<3 { try await ServerProgram.ready(programs[node]) }
  }

  func stop() async {
    for program in programs { program?.send(SIGTERM) }
    for program in programs { _ = await program?.exitCode() }
    await proxy.stop()
  }

  /// What the nodes have said on standard error, for a report of a failure.
  var complaints: String {
    zip(ThreeNodes.names, programs).map { "\($0): \($1?.errors.suffix(2000) ?? "")" }.joined(separator: "\n")
  }

  func send(_ signal: Int32, to node: Int) { programs[node]?.send(signal) }

  /// As a crash of the process would have it: no chance to put anything in order.
  func kill(_ nodes: [Int]) async throws {
    for node in nodes { programs[node]?.send(SIGKILL) }
    for node in nodes {
      _ = await programs[node]?.exitCode()
      programs[node] = nil
      try await proxy.setProcess(nil, of: node)
    }
  }

  func launch(_ node: Int) async throws {
    let cluster = zip(ThreeNodes.names, advertised).map { "\($0)=http://127.0.0.1:\($1)" }.joined(separator: ",")
    let name = ThreeNodes.names[node]
    let program = try ServerProgram.start(
      [
        "core", "--name", name, "--data-dir", directory(name),
        "--listen-client-urls", "http://127.0.0.1:\(ports[node])",
        "--listen-peer-urls", "http://127.0.0.1:\(actual[node])",
        "--initial-advertise-peer-urls", "http://127.0.0.1:\(advertised[node])",
        "--initial-cluster", cluster, "--initial-cluster-token", "faults-test",
        "--heartbeat-interval", "\(Self.heartbeatMilliseconds)", "--election-timeout", "\(Self.electionMilliseconds)",
        "--log-level", "info",
      ] + flags)
    programs[node] = program
    try await proxy.setProcess(program.processID, of: node)
  }

  /// Ends with an error if a process ended by itself: nothing that is done to the cluster gives it a reason to.
  func checkAlive() throws {
    for (node, program) in programs.enumerated() {
      guard let program, program.hasEnded else { continue }
      throw Trouble(description: "node \(ThreeNodes.names[node]) ended by itself: \(program.errors)")
    }
  }

  /// The node that leads, by its own word and the highest term.
  func leader() async throws -> Int {
    let client = HistoryClient(-1, ports: ports, node: 0)
    defer { client.close() }
    return try await eventually(within: 20, "a leader") {
      var best: (node: Int, term: UInt64)?
      for node in 0..<3 {
        guard let status = await client.status(of: node) else { continue }
        self.term = max(self.term, status.term)
        if status.isLeader, status.term > best?.term ?? 0 { best = (node, status.term) }
      }
      // Somebody who knows of a newer term knows of a newer leader, or there is none yet.
      return best.flatMap { $0.term == self.term ? $0.node : nil }
    }
  }

  /// Waits until each of the nodes answers a linearizable read.
  func waitUntilServing(_ nodes: [Int] = [0, 1, 2], within seconds: Int = 25) async throws {
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
          description: "node \(ThreeNodes.names[node]) answers no read: \(error), but: \(String(describing: last))")
      }
    }
  }
}

/// Looks again and again until there is something to see. What is waited for is an event in another process that nobody
/// announces here.
///
/// Time in which these tests themselves stood still is not waited time: they carry the cluster's messages, so nothing
/// could come of it. A stopped or starved machine makes them slow and not wrong.
func eventually<Found>(
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
