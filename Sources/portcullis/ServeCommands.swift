// `serve`, `core` and `gateway`: the servers.

import ArgumentParser
import Client
import Commands
import CoreNode
import Foundation
import Gateway

struct Serve: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run one core node and one gateway in this process, on one data directory.",
    discussion: """
      Example:
        portcullis serve --data-dir ./portcullis-data --database orders=./orders.db

      Puts the SQLite file ./orders.db under protection of the scope "orders": a write to it needs the token of the
      current holder. Without --database there is one database, "demo", in the data directory.
      """)

  @Option(name: .customLong("data-dir"), help: "Where the node keeps its log, its key and the default database.")
  var dataDirectory = "./portcullis-data"

  @Option(name: .customLong("listen-client"), help: "Address of the core: etcd v3 and portcullis.v1.")
  var listenClient = ListenAddress(argument: "127.0.0.1:2379")!

  @OptionGroup(title: "The gateway's port") var gatewayPort: GatewayPortFlags
  @OptionGroup(title: "Databases") var protection: GatewayOptions
  @OptionGroup(title: "Limits of the gateway") var gatewayLimits: GatewayLimitFlags

  @Option(
    name: .customLong("quota-backend-bytes"),
    help: "How large the core's store may grow, with all versions kept. 0: 2 GiB. Below 0: as far as memory goes.")
  var quotaBytes: Int64 = 0

  @OptionGroup(title: "TLS for the core's clients") var tls: ClientPortTLSFlags
  @OptionGroup(title: "TLS") var sharedTLS: SharedTLSFlags
  @OptionGroup var log: LogOptions

  func validate() throws {
    _ = try security()
    try protection.check()
    _ = try gatewayConfiguration([])
  }

  private func gatewayConfiguration(_ databases: [DatabaseDeclaration]) throws -> GatewayConfiguration {
    try GatewayConfiguration(gatewayPort, sharedTLS, gatewayLimits, databases)
  }

  private func security() throws -> PortSecurity { try tls.security(at: [listenClient.url], sharedTLS) }

  func run() async throws {
    var core = NodeConfiguration(
      name: "default", dataDirectory: dataDirectory + "/core", clientHost: listenClient.host,
      clientPort: listenClient.port, peers: [Peer(name: "default", host: "127.0.0.1", port: 2380)])
    core.clusterToken = nil
    core.listensForPeers = false
    core.clientListeners = [listenClient.url]
    core.clientSecurity = try security()
    core.quota = Quota(flag: quotaBytes)
    let declared = try protection.declarations(default: ("demo", dataDirectory + "/demo.db"))
    var serving = Serving(logger: log.logger("portcullis"))
    serving.core = core
    serving.gateway = try gatewayConfiguration(declared)
    let (client, gateway) = (listenClient, gatewayPort.listen)
    let trusted = tls.isAutomatic ? "\(dataDirectory)/core/fixtures/client/cert.pem" : "CA.pem"
    try await serving.run { running in
      announce(Self.greeting(running, client: client, trusted: trusted, gateway: gateway, declared))
    }
  }

  private static func greeting(
    _ running: Serving.Running, client: ListenAddress, trusted: String, gateway place: ListenAddress,
    _ databases: [DatabaseDeclaration]
  ) -> String {
    let core = "\(client.host):\(running.clientPort ?? 0)"
    let gateway = "\(place.host):\(running.gatewayPort ?? 0)"
    let program = CommandLine.arguments[0]
    let scope = databases[0].name
    var target = ""
    if client.usesTLS {
      target += " --endpoints https://\(core) --cacert \(trusted)"
    } else if running.clientPort != Endpoint.defaultPort {
      target += " --endpoints \(core)"
    }
    if place.usesTLS {
      target += " --gateway https://\(gateway)\(client.usesTLS ? "" : " --cacert CA.pem")"
    } else if running.gatewayPort != GatewayClient.defaultPort {
      target += " --gateway \(gateway)"
    }
    let list = databases.map { "            database \($0.name) (scope \($0.scope)) in \($0.path)" }
    return """
      portcullis is ready.
        core      \(client.scheme)://\(core)   etcd v3 and portcullis.v1, cluster \(String(running.clusterID ?? 0, radix: 16))
        gateway   \(place.scheme)://\(gateway)
      \(list.joined(separator: "\n"))

      Try, in another terminal:
        \(program) tour\(target) --scope \(scope)
        \(program) acquire \(databases[0].scope)\(target) -- \(program) sql \(scope) "CREATE TABLE IF NOT EXISTS notes (text)" "INSERT INTO notes VALUES ('written under a grant')"
        \(program) sql \(scope)\(target) "SELECT * FROM notes"
      Ctrl-C stops it.
      """
  }
}

struct Core: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run one node of a coordination core. Takes etcd's flags, and its environment (ETCD_NAME for --name).",
    discussion: """
      Example, the first of three:
        portcullis core --name a --data-dir ./a \\
          --listen-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 \\
          --initial-cluster a=http://127.0.0.1:2380,b=http://127.0.0.1:2381,c=http://127.0.0.1:2382

      With TLS on both ports, the URLs are https:// and these are added:
          --cert-file a.pem --key-file a.key --client-cert-auth --trusted-ca-file clients-ca.pem \\
          --peer-cert-file a.pem --peer-key-file a.key --peer-client-cert-auth --peer-trusted-ca-file peers-ca.pem

      Where there is a log already, who is a member is in the log, and the --initial-cluster flags are not looked at.
      """)

  @Option(help: "The name of this node in --initial-cluster.")
  var name = "default"

  @Option(
    name: .customLong("data-dir"),
    help: "The node's directory. It belongs to one node for ever. Default: NAME.portcullis")
  var dataDirectory: String?

  @Option(
    name: .customLong("listen-client-urls"),
    help: "Where clients are served: URLs with commas; unix://path is a socket.")
  var listenClient = "http://127.0.0.1:2379"

  @Option(
    name: .customLong("advertise-client-urls"), help: "The URLs that clients are told. Default: where they are served.")
  var advertiseClient: String?

  @Option(
    name: .customLong("listen-peer-urls"),
    help: "Where peers are served: URLs with commas. Must be reached by this node's in --initial-cluster.")
  var listenPeer = "http://127.0.0.1:2380"

  @Option(name: .customLong("initial-advertise-peer-urls"), help: "This node's URLs in --initial-cluster.")
  var advertisePeer: String?

  @Option(
    name: .customLong("initial-cluster"),
    help: "Every member, as name=url with commas: the same on every node. A name may have several URLs.")
  var initialCluster: String?

  @Option(name: .customLong("initial-cluster-token"), help: "Tells clusters apart; give every cluster its own.")
  var clusterToken = "portcullis-cluster"

  @Option(
    name: .customLong("initial-cluster-state"),
    help: "new: this start founds the cluster. existing: this node was added to it (`portcullis member add`).")
  var clusterState = "new"

  @Flag(
    name: .customLong("force-new-cluster"),
    help: ArgumentHelp(
      "Make a cluster of this node alone from what its log holds, for when a majority is lost for good.",
      discussion: "Raises the incarnation. Never while other members may still run."))
  var forceNewCluster = false

  @Option(
    name: .customLong("snapshot-count"),
    help: "Take a snapshot when at least this many entries were applied since the last.")
  var snapshotCount = 100_000

  @Option(
    name: .customLong("snapshot-log-percent"),
    help: "… and the log since the last has at least this share of that snapshot's size.")
  var snapshotLogPercent = 25

  @Option(
    name: .customLong("snapshot-catchup-entries"),
    help: "Entries to keep behind a snapshot, for followers that are a little behind.")
  var catchupEntries = 10_000

  @Option(name: .customLong("heartbeat-interval"), help: "Milliseconds between two heartbeats of a leader.")
  var heartbeat = 100

  @Option(name: .customLong("election-timeout"), help: "Milliseconds without a leader before an election.")
  var election = 1000

  @Option(
    name: .customLong("max-request-bytes"),
    help: "The largest request that goes into the log, in bytes; at most 10 MiB.")
  var maxRequestBytes = 1536 * 1024

  @Option(name: .customLong("max-txn-ops"), help: "The most comparisons, or operations of a branch, in a transaction.")
  var maxOperations = 128

  @Option(
    name: .customLong("experimental-watch-progress-notify-interval"),
    help: "How often idle watchers that ask for it are told how far they have come, such as 10m or 500ms.")
  var progressInterval = GoDuration(argument: "10m")!

  @Option(
    name: .customLong("auto-compaction-mode"), help: "What --auto-compaction-retention counts: periodic, revision.")
  var compactionMode = "periodic"

  @Option(
    name: .customLong("auto-compaction-retention"),
    help: "History to keep: hours, or a time such as 30m; or a number of revisions. 0 keeps all of it.")
  var compactionRetention = "0"

  @OptionGroup var etcd: EtcdOptions
  @OptionGroup(title: "Users") var authentication: AuthOptions
  @OptionGroup(title: "TLS for clients") var clientTLS: ClientPortTLSFlags
  @OptionGroup(title: "TLS between peers") var peerTLS: PeerPortTLSFlags
  @OptionGroup(title: "TLS") var sharedTLS: SharedTLSFlags
  @OptionGroup var log: LogOptions

  func validate() throws {
    _ = try autoCompaction()
    try checkPlaces()
    guard maxOperations > 0, (1024...NodeLimits.mostRequestBytes).contains(maxRequestBytes) else {
      throw ValidationError(
        "--max-txn-ops must be above 0, and --max-request-bytes from 1024 to \(NodeLimits.mostRequestBytes)")
    }
    guard heartbeat >= 10, election >= 5 * heartbeat, election <= 50_000 else {
      throw ValidationError(
        "--election-timeout (\(election)) must be at least 5 times --heartbeat-interval (\(heartbeat)) and at most"
          + " 50000, and the interval at least 10")
    }
    guard ["new", "existing"].contains(clusterState) else {
      throw ValidationError("--initial-cluster-state is \"new\" or \"existing\", not \"\(clusterState)\"")
    }
    guard snapshotCount > 0, snapshotLogPercent >= 0, catchupEntries >= 0 else {
      throw ValidationError("--snapshot-count must be above 0, and the other --snapshot options not below it")
    }
  }

  func run() async throws {
    var core = NodeConfiguration(
      name: name, dataDirectory: dataDirectory ?? "\(name).portcullis", clientHost: "", clientPort: 0,
      peers: try peers())
    core.clientListeners = try listenURLs("listen-client-urls", listenClient)
    core.peerListeners = try listenURLs("listen-peer-urls", listenPeer)
    core.clusterToken = clusterToken
    core.advertisedClientURLs = try advertiseClient.map {
      try listenURLs("advertise-client-urls", $0).map(\.description)
    }
    core.isClusterNew = clusterState == "new"
    core.forcesNewCluster = forceNewCluster
    core.snapshotEntries = snapshotCount
    core.snapshotLogPercent = snapshotLogPercent
    core.trailingEntries = catchupEntries
    core.heartbeatMilliseconds = heartbeat
    core.electionMilliseconds = election
    core.autoCompaction = try autoCompaction()
    core.clientSecurity = try clientTLS.security(at: core.clientListeners + etcd.metricsListeners(), sharedTLS)
    core.peerSecurity = try peerTLS.security(at: core.peerListeners, sharedTLS)
    core.limits.maxRequestBytes = maxRequestBytes
    core.limits.maxOperationsPerTransaction = maxOperations
    core.limits.watchProgressMilliseconds = progressInterval.milliseconds
    core.auth = try authentication.configuration()
    try etcd.apply(to: &core)
    try etcd.logOutputs.open()
    var serving = Serving(logger: log.logger("portcullis.core", to: etcd.logOutputs))
    serving.core = core
    let (name, places) = (name, core.clientListeners)
    try await serving.run { running in
      let urls = places.map { $0.description(port: running.clientPort) }
      announce("portcullis core \(name) is ready on \(urls.joined(separator: " and "))")
    }
  }

  /// Whoever asks for TLS must not be served without.
  private func checkPlaces() throws {
    let clients = try listenURLs("listen-client-urls", listenClient)
    if clients.isEmpty { throw ValidationError("--listen-client-urls names no place to serve clients at") }
    _ = try clientTLS.security(at: clients + etcd.metricsListeners(), sharedTLS)
    let own = try listenURLs("listen-peer-urls", listenPeer)
    let isSecure = own.contains(where: \.usesTLS)
    guard own.allSatisfy({ $0.usesTLS == isSecure }) else {
      throw ValidationError("--listen-peer-urls must be https:// all of them, or http:// all of them")
    }
    _ = try peerTLS.security(at: own, sharedTLS)
    for endpoint in try peers().flatMap(\.endpoints) where endpoint.usesTLS != isSecure {
      throw ValidationError(
        "--initial-cluster: \(endpoint.url) and --listen-peer-urls must be https:// both, or http:// both")
    }
  }

  private func autoCompaction() throws -> AutoCompaction.Policy? {
    let number = Int64(compactionRetention)
    if number == 0 { return nil }
    switch compactionMode {
    case "revision":
      if let number, number > 0 { return .revisions(number) }
    case "periodic":
      if let number, (1...100_000).contains(number) { return .age(milliseconds: UInt64(number) * 3_600_000) }
      if let time = GoDuration(argument: compactionRetention) { return .age(milliseconds: UInt64(time.milliseconds)) }
    default: throw ValidationError("--auto-compaction-mode is \"periodic\" or \"revision\", not \"\(compactionMode)\"")
    }
    throw ValidationError(
      "--auto-compaction-retention \"\(compactionRetention)\" is no \(compactionMode == "revision" ? "number" : "time")"
    )
  }

  private func peers() throws -> [Peer] {
    let own = advertisePeer ?? listenPeer
    do {
      let members = initialCluster ?? own.split(separator: ",").map { "\(name)=\($0)" }.joined(separator: ",")
      return try Peer.list(parsing: members)
    } catch {
      throw ValidationError("--initial-cluster: \(error)")
    }
  }
}

struct GatewayCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "gateway",
    abstract: "Run a gateway for a core that runs elsewhere.",
    discussion: """
      Example:
        portcullis gateway --endpoints 10.0.0.1:2379,10.0.0.2:2379 --database orders=./orders.db

      With a scope of its own for two of its tables, and a second database that takes writes without a token:
        portcullis gateway --database orders=./orders.db --scope orders=warehouse:stock,shelf \\
          --database notes=./notes.db --open notes
      """)

  @Option(help: "Core nodes whose tokens are taken, with commas. Environment: PORTCULLIS_ENDPOINTS.")
  var endpoints: String?

  @Flag(
    name: .customLong("etcd"),
    help: ArgumentHelp(
      "The endpoints are a plain etcd: take the create revision of a lock's key as the number.",
      discussion:
        "Weaker than tokens: nothing is signed, and an old holder may write until the new one has shown itself."))
  var standsOnEtcd = false

  @OptionGroup(title: "The gateway's port") var port: GatewayPortFlags
  @OptionGroup(title: "Databases") var protection: GatewayOptions
  @OptionGroup(title: "Limits") var limits: GatewayLimitFlags

  @OptionGroup(title: "TLS with the core") var tls: ClientTLSFlags
  @OptionGroup var user: UserFlags
  @OptionGroup(title: "TLS") var sharedTLS: SharedTLSFlags
  @OptionGroup var log: LogOptions

  func validate() throws {
    try protection.check()
    guard !protection.databases.isEmpty else {
      throw ValidationError("give at least one --database name=path to protect")
    }
    _ = try GatewayConfiguration(port, sharedTLS, limits, [])
  }

  func run() async throws {
    var serving = Serving(logger: log.logger("portcullis.gateway"))
    serving.endpoints = try Endpoint.list(
      parsing: endpoints ?? ConnectionOptions.environment("PORTCULLIS_ENDPOINTS") ?? "127.0.0.1:2379")
    serving.tls = try tls.options(for: serving.endpoints)
    serving.credentials = try user.credentials()
    serving.gateway = try GatewayConfiguration(port, sharedTLS, limits, try protection.declarations())
    serving.standsOnEtcd = standsOnEtcd
    let place = port.listen
    try await serving.run { running in
      announce("portcullis gateway is ready on \(place.scheme)://\(place.host):\(running.gatewayPort ?? 0)")
    }
  }
}
