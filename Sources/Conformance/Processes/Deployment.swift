// The processes of a run: core nodes, gateways and writers on loopback, in a directory of their own.
//
// Must never leave a process behind: `withDeployment` ends all of them on every way out, also when its task is cancelled.

import Foundation
import Glibc
import Synchronization

/// Starts processes and ends them. Any task may use it.
package final class Deployment: Sendable {
  /// The path of the program whose servers are started.
  package let executable: String
  /// Where they keep what they keep.
  package let directory: String
  private let isOutOfReach: Bool
  private let endings = Mutex<[@Sendable () -> Void]>([])
  private let writers = Mutex<[(writer: Writer, outlivesInterrupt: Bool)]>([])

  private init(executable: String, directory: String, isOutOfReach: Bool) {
    self.executable = executable
    self.directory = directory
    self.isOutOfReach = isOutOfReach
  }

  /// Gives `body` a deployment without any process yet, and ends whatever it started.
  /// - Parameters:
  ///   - directory: made where it is not there; it stays.
  ///   - isOutOfReach: whether servers and writers live on when a Ctrl-C comes from the terminal, until `body` is done.
  package static func withDeployment<Result>(
    of executable: String, in directory: String, isOutOfReach: Bool = false, _ body: (Deployment) async throws -> Result
  ) async throws -> Result {
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    let deployment = Deployment(executable: executable, directory: directory, isOutOfReach: isOutOfReach)
    // Nothing here needs an orderly end: what was acknowledged is on disk, or a scenario shall find out that it is not.
    defer { deployment.killAll() }
    return try await body(deployment)
  }

  /// Founds a cluster and waits until every node is ready.
  /// - Parameters: as of `prepareCore`.
  ///   - environment: of every node, such as a control of faults.
  package func startCore(
    nodes: Int = 1, name: String = "core", flags: [String] = [], environment: [String: String] = [:],
    relay: ([Int]) async throws -> [Int] = { $0 }
  ) async throws -> CoreProcesses {
    let core = try await prepareCore(
      nodes: nodes, name: name, flags: flags, environments: Array(repeating: environment, count: nodes), relay: relay)
    for node in core.nodes { try node.launch() }
    for node in core.nodes { try await node.waitUntilReady() }
    return core
  }

  /// The processes of a cluster that is to be founded, none of them started.
  /// - Parameters:
  ///   - name: of its directory, and of its token: what tells it from others of the deployment.
  ///   - flags: for every node.
  ///   - environments: of each node, such as a control of faults; none where there are no more.
  ///   - etcd: the path of an etcd that takes our place.
  ///   - relay: what stands between the peers: gets the ports on which they listen, and returns those that they dial.
  package func prepareCore(
    nodes: Int, name: String = "core", flags: [String] = [], environments: [[String: String]] = [],
    etcd: String? = nil,
    relay: ([Int]) async throws -> [Int] = { $0 }
  ) async throws -> CoreProcesses {
    let ports = Ports.free(2 * nodes)
    let names = (0..<nodes).map { "\(name)-\($0)" }
    let listening = ports.suffix(nodes).map { "http://127.0.0.1:\($0)" }
    let peers = try await relay(Array(ports.suffix(nodes))).map { "http://127.0.0.1:\($0)" }
    let cluster = zip(names, peers).map { "\($0)=\($1)" }.joined(separator: ",")
    let processes = (0..<nodes).map { place in
      let client = "127.0.0.1:\(ports[place])"
      // etcd wants to be told what this program takes from where it listens.
      let first = etcd == nil ? ["core"] : ["--advertise-client-urls", "http://\(client)"]
      return server(
        first + [
          "--name", names[place], "--data-dir", "\(directory)/\(names[place])", "--listen-client-urls",
          "http://\(client)", "--listen-peer-urls", listening[place], "--initial-advertise-peer-urls", peers[place],
          "--initial-cluster", cluster, "--initial-cluster-token", name,
        ] + flags, at: client, environments.indices.contains(place) ? environments[place] : [:], executable: etcd)
    }
    return CoreProcesses(
      nodes: processes, directories: names.map { "\(directory)/\($0)" }, names: names, peerURLs: peers, token: name)
  }

  /// Starts a gateway. A fenced database registers at the core soon after; see `Stage.startGateway`.
  /// - Parameters:
  ///   - endpoints: of the core, or of proxies in front of it.
  ///   - waits: whether to wait until it is ready, which one without a core is not.
  package func startGateway(
    _ databases: [DatabaseSetup], endpoints: String, flags: [String] = [], waits: Bool = true,
    environment: [String: String] = [:]
  ) async throws -> ServerProcess {
    let address = "127.0.0.1:\(Ports.free(1)[0])"
    var arguments = ["gateway", "--endpoints", endpoints, "--listen-gateway", address]
    for database in databases { arguments += database.arguments }
    let gateway = server(arguments + flags, at: address, environment)
    try gateway.launch()
    if waits { try await gateway.waitUntilReady() }
    return gateway
  }

  /// Starts a process that locks and writes as it is told.
  /// - Parameters:
  ///   - holder: its name, by which the core and the fence know it.
  ///   - endpoints: of the core as this writer reaches it, perhaps through a proxy.
  ///   - gateway: likewise, as `host:port`.
  ///   - etcdLocksOfWriter: the writer's number, where it takes the locks of an etcd.
  ///   - flags: what else it is told, such as that both are an adapter.
  ///   - outlivesInterrupt: whether a Ctrl-C at the terminal leaves it alone, so that it can give up what it holds.
  package func startWriter(
    _ holder: String, endpoints: String, gateway: String, environment: [String: String] = [:],
    etcdLocksOfWriter number: Int? = nil, flags: [String] = [], outlivesInterrupt: Bool = false
  ) throws -> Writer {
    let writer = try Writer(
      holder: holder, executable: executable,
      arguments: ["conformance-writer", "--holder", holder, "--endpoints", endpoints, "--gateway", gateway]
        + (number.map { ["--etcd-locks-of-writer", "\($0)"] } ?? []) + flags,
      environment: environment, isOutOfReach: isOutOfReach || outlivesInterrupt)
    endings.withLock { $0.append { writer.kill() } }
    writers.withLock { $0.append((writer, outlivesInterrupt)) }
    return writer
  }

  /// Ends the writers that were started so far. Each gives up what it holds before, if that can be done soon: where locks are
  /// not the run's own, others wait for them. One whose way is cut cannot.
  /// - Returns: the leases that those had which were started to outlive an interrupt.
  package func endWriters() async -> [Int64] {
    let all = writers.withLock { writers in
      defer { writers = [] }
      return writers
    }
    await withDiscardingTaskGroup { group in
      for (writer, _) in all {
        group.addTask {
          writer.resume()
          await Self.atMost(.seconds(2)) { try? await writer.release() }
          writer.kill()
        }
      }
    }
    return all.filter(\.outlivesInterrupt).flatMap(\.writer.leases)
  }

  /// Cancels what takes longer.
  static func atMost(_ time: Duration, _ body: @escaping @Sendable () async -> Void) async {
    await withTaskGroup(of: Void.self) { group in
      group.addTask(operation: body)
      group.addTask { try? await Task.sleep(for: time) }
      await group.next()
      group.cancelAll()
    }
  }

  /// Starts an etcd of one member, and does not wait for it.
  /// - Returns: where its clients find it.
  package func startEtcd(_ program: String, in directory: String) throws -> String {
    guard FileManager.default.isExecutableFile(atPath: program) else {
      throw ConformanceError("\(program) is no program that can be run")
    }
    let ports = Ports.free(2)
    let (client, peer) = ("http://127.0.0.1:\(ports[0])", "http://127.0.0.1:\(ports[1])")
    let etcd = try RunningProgram(
      [
        "--name", "etcd", "--data-dir", directory, "--listen-client-urls", client, "--advertise-client-urls", client,
        "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "etcd=\(peer)",
      ], executable: program, isOutOfReach: isOutOfReach)
    endings.withLock { $0.append { etcd.send(SIGKILL) } }
    return "127.0.0.1:\(ports[0])"
  }

  private func server(
    _ arguments: [String], at address: String, _ environment: [String: String], executable: String? = nil
  ) -> ServerProcess {
    let process = ServerProcess(
      executable: executable ?? self.executable, arguments: arguments, address: address, environment: environment,
      isOutOfReach: isOutOfReach)
    endings.withLock { $0.append { process.killAtOnce() } }
    return process
  }

  private func killAll() {
    let all = endings.withLock { endings in
      defer { endings = [] }
      return endings
    }
    for end in all { end() }
  }
}

/// The nodes of one core.
package struct CoreProcesses: Sendable {
  package let nodes: [ServerProcess]
  /// The data directory of each.
  package let directories: [String]
  package let names: [String]
  package let peerURLs: [String]
  /// Of the cluster: see `--initial-cluster-token`.
  package let token: String

  /// Of all nodes, with commas.
  package var endpoints: String { nodes.map(\.address).joined(separator: ",") }
}

/// A database as a gateway is told of it.
package struct DatabaseSetup: Sendable {
  package var name: String
  package var path: String
  /// Whether writes are taken without a token: the fence is off.
  package var isOpen = false
  /// Nil for the database's name.
  package var scope: String?
  /// Tables with a scope of their own.
  package var tableScopes: [(scope: String, tables: [String])] = []

  package init(_ name: String, at path: String) {
    self.name = name
    self.path = path
  }

  var arguments: [String] {
    ["--database", "\(name)=\(path)"] + (isOpen ? ["--open", name] : [])
      + (scope.map { ["--scope", "\(name)=\($0)"] } ?? [])
      + tableScopes.flatMap { ["--scope", "\(name)=\($0.scope):\($0.tables.joined(separator: ","))"] }
  }

  /// Every scope that the file's floors are kept for.
  var scopes: [String] { [scope ?? name] + tableScopes.map(\.scope) }
}
