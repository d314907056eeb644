// Nodes of one core on loopback with TLS on both ports and certificates on both sides.

import Client
import Foundation
import Testing

final class SecureNodes {
  let files: TestFiles
  let names: [String]
  /// Signs the certificates of nodes, of their links and of clients.
  private(set) var authority: TestAuthority
  private let directory: ScratchDirectory
  private var clients: [String: Int] = [:]
  private var peers: [String: Int] = [:]
  private(set) var programs: [String: RunningProgram] = [:]

  init(_ names: String...) throws {
    self.names = names
    directory = try ScratchDirectory()
    files = try TestFiles()
    authority = try TestAuthority()
    let ports = Ports.free(2 * names.count)
    for (number, name) in names.enumerated() {
      (clients[name], peers[name]) = (ports[2 * number], ports[2 * number + 1])
    }
    try files.write(authority.pem, "ca.pem")
    try issue()
    _ = try files.write(authority.issue("root"), "client")
  }

  /// New certificates for all nodes, by the authority of now, in the places of the old ones.
  func issue() throws {
    for name in clients.keys { try issue(to: name) }
  }

  private func issue(to name: String) throws {
    _ = try files.write(authority.issue(name), name)
    _ = try files.write(authority.issue("peer"), "\(name)-peer")
  }

  /// From now on another authority signs; the old one stays trusted.
  func changeAuthority() throws {
    let next = try TestAuthority("the next authority")
    try files.write(next.pem, "next-ca.pem")
    try files.write(authority.pem + next.pem, "ca.pem")
    authority = next
  }

  func file(_ name: String) -> String { files.path + "/" + name }
  func url(_ name: String) -> String { "https://127.0.0.1:\(clients[name] ?? 0)" }
  func peerURL(_ name: String) -> String { "https://127.0.0.1:\(peers[name] ?? 0)" }
  var endpoints: String { names.map(url).joined(separator: ",") }
  func data(_ name: String) -> String { directory(name) }

  var etcdctl: Etcdctl {
    Etcdctl(
      endpoints: endpoints,
      extraEnvironment: [
        "ETCDCTL_CACERT": file("ca.pem"), "ETCDCTL_CERT": file("client.pem"), "ETCDCTL_KEY": file("client.key"),
      ])
  }

  var options: TLSOptions {
    TLSOptions(
      trustedCAFile: file("ca.pem"), certificateFile: file("client.pem"), keyFile: file("client.key"))
  }

  /// Our own commands, with certificates in the environment.
  var environment: [String: String] {
    [
      "PORTCULLIS_ENDPOINTS": endpoints, "PORTCULLIS_CACERT": file("ca.pem"), "PORTCULLIS_CERT": file("client.pem"),
      "PORTCULLIS_KEY": file("client.key"),
    ]
  }

  func start() async throws {
    for name in names { programs[name] = try RunningProgram(arguments(name)) }
    for name in names { try await programs[name]?.waitForOutput("is ready on https://") }
  }

  /// Takes ports and makes certificates for a node that is to be added.
  func reserve(_ name: String) throws {
    let ports = Ports.free(2)
    (clients[name], peers[name]) = (ports[0], ports[1])
    try issue(to: name)
  }

  /// Starts a node that was added, with any one member beside it.
  func join(_ name: String, beside member: String) throws {
    let arguments = arguments(name, cluster: [member, name]) + ["--initial-cluster-state", "existing"]
    programs[name] = try RunningProgram(arguments)
  }

  func arguments(_ name: String, cluster: [String]? = nil) -> [String] {
    let cluster = (cluster ?? names).map { "\($0)=\(peerURL($0))" }.joined(separator: ",")
    return [
      "core", "--name", name, "--data-dir", data(name), "--listen-client-urls", url(name),
      "--advertise-client-urls", url(name), "--listen-peer-urls", peerURL(name), "--initial-cluster", cluster,
      "--initial-cluster-token", "system-test", "--log-level", "info",
      "--cert-file", file("\(name).pem"), "--key-file", file("\(name).key"), "--client-cert-auth",
      "--trusted-ca-file", file("ca.pem"), "--peer-cert-file", file("\(name)-peer.pem"),
      "--peer-key-file", file("\(name)-peer.key"), "--peer-client-cert-auth",
      "--peer-trusted-ca-file", file("ca.pem"), "--peer-cert-allowed-cn", "peer",
    ]
  }

  func stop() async {
    for program in programs.values { program.send(SIGTERM) }
    for program in programs.values { _ = await program.exitCode() }
  }

  func curl(_ arguments: String...) async throws -> Program.Outcome {
    try await Program.run(
      ["-sS", "--cacert", file("ca.pem"), "--cert", file("client.pem"), "--key", file("client.key")] + arguments,
      executable: "/usr/bin/curl")
  }
}
