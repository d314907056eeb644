// The two sides of a comparison: etcd and our own nodes, fresh, with the same limits, each on a directory of its own.

import Client
import Foundation
import Glibc
import NIOPosix
import Testing
import Wire

/// One side of a comparison: a cluster of one or of three, and a connection to its first member.
struct ComparedServer: Sendable {
  let name: String
  /// `host:port` of each member, for clients and for peers.
  let addresses: [String]
  let peerAddresses: [String]
  let programs: [RunningProgram]
  let connection: WireConnection

  var endpoints: String { addresses.joined(separator: ",") }

  func stop() async {
    connection.close()
    for program in programs { program.send(SIGKILL) }
    for program in programs { _ = await program.exitCode() }
  }
}

/// Both of them.
struct ComparedPair: Sendable {
  let peer: ComparedServer
  let ours: ComparedServer
  private let directory: ScratchDirectory

  var sides: [ComparedServer] { [peer, ours] }

  /// `PORTCULLIS_DIFF_SELF=1` has etcd in the place of our nodes too: whatever differs then is chance, or a fault of the
  /// comparison.
  private static let comparesEtcdWithItself = ProcessInfo.processInfo.environment["PORTCULLIS_DIFF_SELF"] == "1"

  /// - Parameter members: of each cluster.
  static func start(members: Int = 1) async throws -> ComparedPair {
    let directory = try ScratchDirectory()
    async let peer = Launch(members, directory("etcd")).etcd("etcd")
    async let ours =
      comparesEtcdWithItself
      ? Launch(members, directory("other")).etcd("other") : Launch(members, directory("ours")).portcullis()
    return try await ComparedPair(peer: peer, ours: ours, directory: directory)
  }

  func stop() async {
    for side in sides { await side.stop() }
  }
}

/// How a cluster is started: both kinds take the same flags.
private struct Launch {
  private let data: String
  private let addresses: [String]
  private let peerAddresses: [String]

  init(_ members: Int, _ data: String) {
    self.data = data
    let ports = Ports.free(2 * members).map { "127.0.0.1:\($0)" }
    addresses = Array(ports.prefix(members))
    peerAddresses = Array(ports.suffix(members))
  }

  /// Limits are small, so that requests above them are cheap to make; nobody waits long for an election or a password.
  private static let limits = [
    "--max-request-bytes", "65536", "--max-txn-ops", "8", "--heartbeat-interval", "10", "--election-timeout", "100",
    "--bcrypt-cost", "4",
  ]

  /// etcd 3.5.1. Nobody cuts its power, so it need not wait for its disk.
  func etcd(_ name: String) async throws -> ComparedServer {
    let executable = try #require(Clients.etcd)
    let programs = try addresses.indices.map { member in
      try RunningProgram(
        arguments(member) + ["--unsafe-no-fsync"] + Self.limits, executable: executable)
    }
    for program in programs { try await program.waitForErrors("ready to serve client requests") }
    return try await connected(name, programs)
  }

  func portcullis() async throws -> ComparedServer {
    let programs = try addresses.indices.map { member in
      try RunningProgram(["core"] + arguments(member) + Self.limits)
    }
    for program in programs { try await program.waitForOutput("is ready") }
    return try await connected("portcullis", programs)
  }

  private static func name(_ member: Int) -> String { ["a", "b", "c"][member] }

  private func arguments(_ member: Int) -> [String] {
    let cluster = peerAddresses.enumerated().map { "\(Self.name($0.offset))=http://\($0.element)" }
    return [
      "--name", Self.name(member), "--data-dir", "\(data)-\(member)", "--log-level", "info",
      "--listen-client-urls", "http://\(addresses[member])", "--advertise-client-urls", "http://\(addresses[member])",
      "--listen-peer-urls", "http://\(peerAddresses[member])",
      "--initial-advertise-peer-urls", "http://\(peerAddresses[member])",
      "--initial-cluster", cluster.joined(separator: ","),
    ]
  }

  private func connected(_ name: String, _ programs: [RunningProgram]) async throws -> ComparedServer {
    let endpoint = try Endpoint(parsing: addresses[0])
    let connection = try await WireConnection.connect(
      host: endpoint.host, port: endpoint.port, on: MultiThreadedEventLoopGroup.singleton.next()
    ).get()
    return ComparedServer(
      name: name, addresses: addresses, peerAddresses: peerAddresses, programs: programs, connection: connection)
  }
}
