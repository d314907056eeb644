// Servers as a user would start them: `serve`, and clusters of `core`.

import Foundation
import Glibc
import Synchronization
import Testing

/// `portcullis serve` on free ports.
struct Serving {
  let program: RunningProgram
  let core: String
  let gateway: String

  static func start(_ directory: String, databases: [String: String] = [:], extra: [String] = []) async throws
    -> Serving
  {
    let ports = Ports.free(2)
    let (core, gateway) = ("127.0.0.1:\(ports[0])", "127.0.0.1:\(ports[1])")
    var arguments = ["serve", "--data-dir", directory, "--listen-client", core, "--listen-gateway", gateway] + extra
    for (name, path) in databases { arguments += ["--database", "\(name)=\(path)"] }
    let program = try RunningProgram(arguments)
    try await program.waitForOutput("Ctrl-C stops it.")
    return Serving(program: program, core: core, gateway: gateway)
  }

  /// Where clients find it.
  var environment: [String: String] { ["PORTCULLIS_ENDPOINTS": core, "PORTCULLIS_GATEWAY": gateway] }

  func run(_ arguments: [String]) async throws -> Program.Outcome {
    try await Program.run(arguments, environment: environment)
  }

  @discardableResult
  func stop() async -> Int32 {
    program.send(SIGTERM)
    return await program.exitCode()
  }
}

/// Three nodes of a core on loopback.
final class ThreeNodes: Sendable {
  let directory: ScratchDirectory
  let clients: [String]
  private let peers: [Int]
  private let programs = Mutex<[RunningProgram?]>([nil, nil, nil])

  static let names = ["a", "b", "c"]

  init() throws {
    directory = try ScratchDirectory()
    let ports = Ports.free(6)
    clients = ports.prefix(3).map { "127.0.0.1:\($0)" }
    peers = Array(ports.suffix(3))
  }

  var endpoints: String { clients.joined(separator: ",") }

  func start() async throws {
    for node in 0..<3 { try launch(node) }
    for node in 0..<3 { try await program(node)?.waitForOutput("is ready") }
  }

  func restart(_ node: Int) async throws {
    try launch(node)
    try await program(node)?.waitForOutput("is ready")
  }

  /// As a crash would have it: no chance to put anything in order.
  func kill(_ node: Int) async {
    let program = programs.withLock { programs in
      defer { programs[node] = nil }
      return programs[node]
    }
    program?.send(SIGKILL)
    _ = await program?.exitCode()
  }

  func send(_ signal: Int32, to node: Int) { program(node)?.send(signal) }

  func stop() async {
    let all = programs.withLock { $0 }
    for program in all { program?.send(SIGTERM) }
    for program in all { _ = await program?.exitCode() }
  }

  private func program(_ node: Int) -> RunningProgram? { programs.withLock { $0[node] } }

  private func launch(_ node: Int) throws {
    let cluster = zip(Self.names, peers).map { "\($0)=http://127.0.0.1:\($1)" }.joined(separator: ",")
    let program = try RunningProgram([
      "core", "--name", Self.names[node], "--data-dir", directory(Self.names[node]),
      "--listen-client-urls", "http://\(clients[node])", "--listen-peer-urls", "http://127.0.0.1:\(peers[node])",
      "--initial-cluster", cluster, "--initial-cluster-token", "system-test",
    ])
    programs.withLock { $0[node] = program }
  }
}
