// Options of `core` that are etcd's and that a first start needs none of: bounds, further places to listen at, clients'
// manners.

import ArgumentParser
import CoreNode

struct EtcdOptions: ParsableArguments {
  @Option(
    name: .customLong("config-file"),
    help: "A YAML file with the flags' names as keys, as etcd's. Flags and environment are not looked at beside it.")
  var configFile: String?

  @Option(
    name: .customLong("quota-backend-bytes"),
    help: "How large the store may grow, with all versions kept. 0: 2 GiB. Below 0: as far as memory goes.")
  var quotaBytes: Int64 = 0

  @Option(
    name: .customLong("wal-dir"), help: "Where the log is, if not in --data-dir. It belongs to one node for ever.")
  var logDirectory: String?

  @Option(
    name: .customLong("listen-metrics-urls"),
    help: "Where /metrics, /health, /livez and /readyz are served besides, with commas.")
  var listenMetrics = ""

  @Option(
    name: .customLong("max-concurrent-streams"), help: "The most calls that a client may have open on a connection.")
  var maxConcurrentStreams: Int?

  @Flag(
    name: .customLong("socket-reuse-port"), help: "Let other processes that ask for the same listen on the same ports.")
  var reusesPort = false

  @Option(
    name: .customLong("grpc-keepalive-min-time"),
    help: "How far apart a client's pings have to be: one that pings more often is disconnected. 0: any.")
  var keepaliveMinimum = KeepaliveTime(argument: "5s")!

  @Option(
    name: .customLong("grpc-keepalive-interval"),
    help: "A client of which nothing comes for this long is pinged. 0: never.")
  var keepaliveInterval = KeepaliveTime(argument: "2h")!

  @Option(
    name: .customLong("grpc-keepalive-timeout"),
    help: "What a client then has to answer before it is disconnected. 0: any.")
  var keepaliveTimeout = KeepaliveTime(argument: "20s")!

  @Option(
    name: .customLong("slow-watcher-timeout"),
    help: "How long a watcher's client may take nothing while events wait for it, such as 60s.")
  var slowWatcher = GoDuration(argument: "60s")!

  @Option(
    name: .customLong("max-connections"),
    help: "The most connections of clients. Default: what the system lets the process open, less a reserve.")
  var maxConnections: Int?

  @Option(help: "Origins of web pages that may use the API as JSON, with commas; * for all.")
  var cors = "*"

  @Option(
    name: .customLong("host-whitelist"),
    help: "Host names by which this node may be called over HTTP/1, with commas; * for any.")
  var hostWhitelist = "*"

  @Option(name: .customLong("enable-grpc-gateway"), help: "Whether the API is served as JSON.")
  var servesJSON = true

  @Option(
    name: .customLong("log-outputs"), help: "Where the log goes: stderr, stdout, or one file, to which it is appended.")
  var logOutputs = LogOutputs(argument: "default")!

  @Option(
    name: .customLong("strict-reconfig-check"),
    help: "Whether a change of members that could cost the quorum is refused.")
  var checksReconfiguration = true

  func validate() throws {
    _ = try metricsListeners()
    guard slowWatcher.milliseconds > 0, maxConnections ?? 1 > 0 else {
      throw ValidationError("--slow-watcher-timeout and --max-connections must be above 0")
    }
    if let most = maxConcurrentStreams, !(1...Int(UInt32.max)).contains(most) {
      throw ValidationError("--max-concurrent-streams must be from 1 to \(UInt32.max), not \(most)")
    }
  }

  func metricsListeners() throws -> [ListenURL] { try listenURLs("listen-metrics-urls", listenMetrics) }

  func apply(to core: inout NodeConfiguration) throws {
    core.quota = Quota(flag: quotaBytes)
    if let logDirectory, !logDirectory.isEmpty { core.ownLogDirectory = logDirectory }
    core.metricsListeners = try metricsListeners()
    core.maxConcurrentStreams = maxConcurrentStreams
    core.maxConnections = maxConnections
    core.limits.slowWatcherMilliseconds = slowWatcher.milliseconds
    core.sharesPorts = reusesPort
    core.keepalive.minimumClientInterval = keepaliveMinimum.milliseconds.map { .milliseconds($0) }
    core.keepalive.interval = keepaliveInterval.milliseconds.map { .milliseconds($0) }
    core.keepalive.timeout = keepaliveTimeout.milliseconds.map { .milliseconds($0) }
    core.access.origins = HTTPAccess.names(parsing: cors)
    core.access.hosts = HTTPAccess.names(parsing: hostWhitelist)
    core.servesJSON = servesJSON
    core.checksReconfiguration = checksReconfiguration
  }
}

/// Reads the value of a flag that names places to listen at.
func listenURLs(_ flag: String, _ text: String) throws -> [ListenURL] {
  do {
    return try ListenURL.list(parsing: text)
  } catch {
    throw ValidationError("--\(flag): \(error)")
  }
}

/// As `GoDuration`, with 0 for what is off.
struct KeepaliveTime: ExpressibleByArgument, Sendable {
  let milliseconds: Int64?
  let defaultValueDescription: String

  init?(argument: String) {
    if ["", "ns", "us", "ms", "s", "m", "h"].contains(argument.drop { $0 == "0" }), argument.hasPrefix("0") {
      milliseconds = nil
    } else {
      guard let time = GoDuration(argument: argument) else { return nil }
      milliseconds = time.milliseconds
    }
    defaultValueDescription = argument
  }
}
