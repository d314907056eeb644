// `bench` and its scenarios: what each of them asks for.

import ArgumentParser
import Client
import Commands
import Conformance
import Measurement
import Workloads

struct Bench: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Load a cluster or a gateway and measure it.",
    subcommands: [
      BenchPut.self, BenchGet.self, BenchCompare.self, BenchLock.self, BenchRenew.self, BenchWatch.self,
      BenchWrite.self, BenchMix.self,
    ])
}

struct BenchPut: BenchScenario {
  static let configuration = CommandConfiguration(
    commandName: "put", abstract: "Load any etcd v3 endpoint with puts.",
    discussion: BenchText.discussion(
      """
      portcullis bench put --rate 5000 --connections 16 --duration 30s
      portcullis bench put --clients 512 --connections 64 --output json > result.json
      portcullis bench put --start 3 --directory /var/lib --clients 64 --connections 8
      portcullis bench put --find-limit --objective p99=20ms --connections 16 --duration 5s
      """))

  @OptionGroup var load: LoadFlags
  @OptionGroup var keys: KeyFlags

  func apply(to options: inout LoadOptions, gateway: String?) throws { keys.apply(to: &options) }
}

struct BenchGet: BenchScenario {
  static let configuration = CommandConfiguration(
    commandName: "get", abstract: "Load any etcd v3 endpoint with gets of one key each.",
    discussion: BenchText.discussion(
      """
      portcullis bench get --rate 20000 --connections 16
      portcullis bench get --serializable --clients 64 --connections 8
      """,
      "The keys are put before the load. Linearizable by default: each answer must see what was answered before it."))

  @OptionGroup var load: LoadFlags
  @OptionGroup var keys: KeyFlags

  @Flag(help: "Let the asked node answer from its own state, which may be behind.")
  var serializable = false

  func apply(to options: inout LoadOptions, gateway: String?) throws {
    keys.apply(to: &options)
    options.operation = .get(isSerializable: serializable)
  }
}

struct BenchCompare: BenchScenario {
  static let configuration = CommandConfiguration(
    commandName: "cas", abstract: "Load any etcd v3 endpoint with compare-and-swap on contended keys.",
    discussion: BenchText.discussion(
      """
      portcullis bench cas --key-count 100 --zipf 1 --clients 64 --connections 16
      """,
      """
      Each operation puts a key if it is as it was seen last. What others put meanwhile makes it fail: the report tells the
      goodput (achieved) from the conflicts (refused).
      """))

  @OptionGroup var load: LoadFlags
  @OptionGroup var keys: KeyFlags

  @Option(help: "Skew of the draw of keys: 0 draws all alike, 1 is usual.")
  var zipf = 1.0

  func apply(to options: inout LoadOptions, gateway: String?) throws {
    keys.apply(to: &options)
    options.operation = .compareAndSwap(zipfExponent: zipf)
  }
}

struct BenchLock: BenchScenario {
  static let configuration = CommandConfiguration(
    commandName: "lock", abstract: "Hand locks of any etcd v3 endpoint over from client to client.",
    discussion: BenchText.discussion(
      """
      portcullis bench lock --clients 100 --locks 1 --connections 10
      """,
      """
      Each client takes its lock and gives it back, over and over. The latency is that of the hand-over: from when the one
      before gave it back, or from the own call where nobody had it, to the grant.
      """))

  @OptionGroup var load: LoadFlags

  @Option(help: "How many locks the clients share.")
  var locks = 1

  func apply(to options: inout LoadOptions, gateway: String?) throws { options.operation = .lock(names: locks) }
}

struct BenchRenew: BenchScenario {
  static let configuration = CommandConfiguration(
    commandName: "renew", abstract: "Renew many leases of any etcd v3 endpoint.",
    discussion: BenchText.discussion(
      """
      portcullis bench renew --leases 10000 --ttl 30 --rate 2000 --connections 8
      """,
      "The leases are granted before the load and revoked after it; each in turn is renewed on its connection's stream."
    ))

  @OptionGroup var load: LoadFlags

  @Option(help: "How many leases there are.")
  var leases = 1000

  @Option(help: "Time to live of each, in seconds.")
  var ttl: Int64 = 60

  func apply(to options: inout LoadOptions, gateway: String?) throws {
    options.operation = .renew(leases: leases, timeToLiveSeconds: ttl)
  }
}

struct BenchWatch: BenchScenario {
  static let configuration = CommandConfiguration(
    commandName: "watch", abstract: "Tell many watchers of any etcd v3 endpoint about puts.",
    discussion: BenchText.discussion(
      """
      portcullis bench watch --watchers 1000 --rate 50 --connections 8
      """,
      """
      Each operation puts a key and is over when every watcher has been told. The report has the events' latency from the
      intended put and from its answer, and how many came before the answer.
      """))

  @OptionGroup var load: LoadFlags

  @Option(help: "How many watchers there are. Those of a connection share a stream.")
  var watchers = 100

  @Option(name: .customLong("value-size"), help: "Bytes in a value.")
  var valueSize = 256

  func apply(to options: inout LoadOptions, gateway: String?) throws {
    options.operation = .watch(watchers: watchers)
    options.valueSizeBytes = valueSize
  }
}

struct BenchWrite: BenchScenario {
  static let configuration = CommandConfiguration(
    commandName: "write", abstract: "Load a gateway with fenced SQL writes.",
    discussion: BenchText.discussion(
      """
      portcullis bench write --gateway 127.0.0.1:4001 --database orders --clients 64 --connections 64
      portcullis bench write --database orders --stale-share 0.1 --rate 5000 --connections 32
      portcullis bench write --database notes --open --start 1 --directory /var/lib --clients 64 --connections 64
      """,
      """
      Acquires the database's scope from the core at --endpoints and inserts rows under its token, into a table of its own
      that goes again afterwards. With --stale-share some writes show a token that was superseded: each must be refused, and
      none may be in the database.
      """))

  @OptionGroup var load: LoadFlags

  @Option(
    name: .customLong("gateway"),
    help: "Where the gateway listens. Environment: PORTCULLIS_GATEWAY. Default: 127.0.0.1:4001.")
  var named: String?

  @Option(help: "Which of its databases.")
  var database: String

  @Option(help: "The scope that it demands. Default: its name.")
  var scope: String?

  @Flag(help: "The database is open: send no token.")
  var open = false

  @Option(name: .customLong("stale-share"), help: "The share of the writes, from 0 to 1, that shows a stale token.")
  var staleShare = 0.0

  @Option(name: .customLong("value-size"), help: "Bytes in a value.")
  var valueSize = 100

  func database(in directory: String) -> DatabaseSetup? {
    var setup = DatabaseSetup(database, at: "\(directory)/\(database).db")
    setup.isOpen = open
    setup.scope = scope
    return setup
  }

  func apply(to options: inout LoadOptions, gateway: String?) throws {
    let core = open ? nil : options.endpoints
    options.write = WriteTarget(core: core, database: database, scope: scope ?? database)
    options.endpoints = [gateway ?? named ?? ConnectionOptions.environment("PORTCULLIS_GATEWAY") ?? "127.0.0.1:4001"]
    options.operation = .write(database: database, hasToken: !open, staleShare: staleShare)
    options.valueSizeBytes = valueSize
  }
}

struct BenchMix: BenchScenario {
  static let configuration = CommandConfiguration(
    commandName: "mix", abstract: "Load any etcd v3 endpoint with several operations, drawn by weight.",
    discussion: BenchText.discussion(
      """
      portcullis bench mix mix.yaml --rate 5000 --connections 16
      """,
      """
      The file maps operations to weights, in YAML or JSON, such as `{put: 20, get: 70, get-serializable: 5, cas: 5}`.
      """))

  @OptionGroup var load: LoadFlags
  @OptionGroup var keys: KeyFlags

  @Argument(help: "The file with the weights.")
  var file: String

  private static let operations: [OperationSetting] = [
    .put, .compareAndSwap(zipfExponent: 1), .get(isSerializable: true), .get(isSerializable: false),
  ]

  func apply(to options: inout LoadOptions, gateway: String?) throws {
    keys.apply(to: &options)
    let entries = try WeightsFile.read(file, known: Self.operations.map(\.name))
    options.operation = .mix(
      entries.compactMap { entry in
        Self.operations.first { $0.name == entry.name }.map { MixPart(operation: $0, weight: entry.weight) }
      })
  }
}
