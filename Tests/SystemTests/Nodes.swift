// Nodes of one core on loopback, as many as a test starts, by name.

import Foundation
import FoundationNetworking
import Glibc
import Testing

final class Nodes {
  struct Node {
    let client: String
    let peer: String
    var program: RunningProgram?
  }

  let directory: ScratchDirectory
  private(set) var nodes: [String: Node] = [:]
  private var founders: [String] = []
  /// Flags that every node gets, such as how often it takes snapshots.
  private let flags: [String]
  /// In the place of a node's directory in the scratch directory.
  private let dataDirectories: [String: String]
  /// Of single nodes: the faults that they are under.
  var environments: [String: [String: String]] = [:]

  init(_ flags: String..., dataDirectories: [String: String] = [:]) throws {
    directory = try ScratchDirectory()
    self.flags = flags
    self.dataDirectories = dataDirectories
  }

  var endpoints: String { nodes.values.map(\.client).sorted().joined(separator: ",") }

  func client(_ name: String) -> String { nodes[name]?.client ?? "" }
  func peerURL(_ name: String) -> String { "http://\(nodes[name]?.peer ?? "")" }
  func data(_ name: String) -> String { dataDirectories[name] ?? directory(name) }
  func program(_ name: String) throws -> RunningProgram { try #require(nodes[name]?.program) }

  /// Founds a cluster of these.
  func found(_ names: String...) async throws {
    founders = names
    for name in names { reserve(name) }
    for name in names { try restart(name) }
    for name in names { try await ready(name) }
  }

  /// Takes ports for a node that is to be added.
  func reserve(_ name: String) {
    let ports = Ports.free(2)
    nodes[name] = Node(client: "127.0.0.1:\(ports[0])", peer: "127.0.0.1:\(ports[1])")
  }

  /// Starts a node that was added, with any one member beside it.
  func join(_ name: String, beside member: String) throws {
    let cluster = "\(member)=\(peerURL(member)),\(name)=\(peerURL(name))"
    let program = try RunningProgram(arguments(name, cluster: cluster) + ["--initial-cluster-state", "existing"])
    nodes[name]?.program = program
  }

  func ready(_ name: String) async throws { try await ServerProgram.ready(program(name)) }

  func restart(_ name: String, _ extra: String...) throws {
    let program = try launch(name, extra)
    nodes[name]?.program = program
  }

  /// As a crash would have it.
  func kill(_ name: String) async {
    nodes[name]?.program?.send(SIGKILL)
    _ = await nodes[name]?.program?.exitCode()
    nodes[name]?.program = nil
  }

  /// In order, so that what is in the journal is in the tree.
  @discardableResult
  func stop(_ name: String) async -> Int32? {
    nodes[name]?.program?.send(SIGTERM)
    defer { nodes[name]?.program = nil }
    return await nodes[name]?.program?.exitCode()
  }

  func stop() async {
    for node in nodes.values { node.program?.send(SIGTERM) }
    for node in nodes.values { _ = await node.program?.exitCode() }
  }

  func wipe(_ name: String) throws { try FileManager.default.removeItem(atPath: data(name)) }

  /// Runs a command of the program against these endpoints.
  func run(_ arguments: String..., endpoints: String? = nil) async throws -> Program.Outcome {
    try await Program.run(arguments, environment: ["PORTCULLIS_ENDPOINTS": endpoints ?? self.endpoints])
  }

  private func launch(_ name: String, _ extra: [String] = []) throws -> RunningProgram {
    let cluster = founders.map { "\($0)=\(peerURL($0))" }.joined(separator: ",")
    return try ServerProgram.start(arguments(name, cluster: cluster) + extra, environment: environments[name] ?? [:])
  }

  private func arguments(_ name: String, cluster: String) -> [String] {
    [
      "core", "--name", name, "--data-dir", data(name), "--listen-client-urls", "http://\(client(name))",
      "--listen-peer-urls", peerURL(name), "--initial-cluster", cluster, "--initial-cluster-token", "system-test",
      "--log-level", "info",
    ] + flags
  }
}

// MARK: - What nodes say of themselves

extension Nodes {
  struct Listed: Decodable {
    let id: String
    let name: String
    let isLearner: Bool
    let isLeader: Bool
  }

  func members(_ endpoints: String? = nil) async throws -> [Listed] {
    let outcome = try await run("member", "list", "--output", "json", endpoints: endpoints)
    try #require(outcome.exitCode == 0, "\(outcome.errors)")
    return try JSONDecoder().decode([Listed].self, from: Data(outcome.output.utf8))
  }

  /// Waits until the members have these names: a node that was added tells its own a moment after it is ready, and again where another
  /// change is under way just then.
  func waitForMembers(_ names: String..., within patience: Duration = .seconds(30)) async throws {
    let end = ContinuousClock.now + patience
    var seen: [String] = []
    repeat {
      seen = try await members().map(\.name).sorted()
      if seen == names { return }
    } while ContinuousClock.now < end
    Issue.record("the members are \(seen), not \(names)")
  }

  /// One gauge of a node's metrics, or nil when the node does not answer.
  func gauge(_ name: String, of node: String) async throws -> Double? {
    try await Self.gauge(name, at: client(node))
  }

  static func gauge(_ name: String, at address: String) async throws -> Double? {
    guard let url = URL(string: "http://\(address)/metrics") else { return nil }
    guard let (body, _) = try? await URLSession.shared.data(from: url) else { return nil }
    let line = String(decoding: body, as: UTF8.self).split(separator: "\n").first { $0.hasPrefix(name + " ") }
    return line.flatMap { Double($0.dropFirst(name.count + 1)) }
  }

  /// Waits until a gauge is as wanted.
  func wait(
    for name: String, of node: String, _ isWanted: (Double) -> Bool, within patience: Duration = .seconds(30)
  ) async throws {
    let end = ContinuousClock.now + patience
    var seen: Double?
    while ContinuousClock.now < end {
      seen = try await gauge(name, of: node)
      if let seen, isWanted(seen) { return }
      try #require(nodes[node]?.program?.hasEnded != true, "\(node) ended: \(nodes[node]?.program?.errors ?? "")")
      // Metrics are polled, as whoever reads them does; a tenth of a second is how often they change.
      try await Task.sleep(for: .milliseconds(50))
    }
    Issue.record("\(name) of \(node) is \(seen.map { "\($0)" } ?? "not there")")
  }
}
