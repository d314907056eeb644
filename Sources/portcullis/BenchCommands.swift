// `bench` and its scenarios: what each of them asks for.

import ArgumentParser
import Client
import Commands
import Conformance
import Foundation
import Measurement
import Workloads

struct Bench: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Load a cluster or a gateway and measure it.",
    discussion: """
      Examples:
        portcullis bench put --rate 5000 --connections 16
        portcullis bench --preset kubernetes --start 3 --directory /var/lib
        portcullis bench --config run.yaml --repeat 5 --result run.json
        portcullis bench presets etcd-small > run.yaml

      --config reads a whole run from a file: YAML whose keys are the flags of the scenario, and "scenario" beside them.
      --preset takes such a file from those that are kept in the program. Flags win over the file, and the file over the
      preset.
      """,
    subcommands: scenarios.map { $0 as any ParsableCommand.Type } + [BenchPresets.self])

  private static let scenarios: [any BenchScenario.Type] = [
    BenchPut.self, BenchGet.self, BenchList.self, BenchCompare.self, BenchLock.self, BenchRenew.self, BenchWatch.self,
    BenchWrite.self, BenchMix.self,
  ]

  /// What can be set of each, as its own help has it.
  static func runScenarios() throws -> [RunScenario] {
    try scenarios.map { type in
      let help = try JSONDecoder().decode(CommandHelp.self, from: Data(type._dumpHelp().utf8))
      let arguments = help.command.arguments ?? []
      let names = Set(arguments.flatMap(\.longNames))
      func keys(_ kind: String) -> [String] {
        arguments.filter { $0.kind == kind }.flatMap(\.longNames).filter { name in
          // What undoes a switch is no key of its own.
          !["help", "version", "config", "preset"].contains(name)
            && !(name.hasPrefix("no-") && names.contains(String(name.dropFirst(3))))
        }
      }
      return RunScenario(
        name: type.configuration.commandName ?? "", options: keys("option"), switches: keys("flag"))
    }
  }

  private struct CommandHelp: Decodable {
    struct Command: Decodable { let arguments: [Argument]? }
    struct Argument: Decodable {
      struct Name: Decodable {
        let kind: String
        let name: String
      }
      let kind: String
      let names: [Name]?

      var longNames: [String] { (names ?? []).filter { $0.kind == "long" }.map(\.name) }
    }
    let command: Command
  }
}

struct BenchPresets: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "presets", abstract: "List the loads that have a name, or print one of them as a file to start from.",
    discussion: """
      Examples:
        portcullis bench presets
        portcullis bench presets kubernetes > run.yaml
        portcullis bench --config run.yaml --start 3
      """)

  @Argument(help: "The one to print.")
  var name: String?

  func run() throws {
    if let name { return print(try BenchPreset.named(name).text, terminator: "") }
    let width = BenchPreset.all.map(\.name.count).max() ?? 0
    for preset in BenchPreset.all {
      print(preset.name.padding(toLength: width + 2, withPad: " ", startingAt: 0) + preset.summary)
    }
  }
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

  @Flag(
    inversion: .prefixedNo, exclusivity: .chooseLast,
    help: "Let the asked node answer from its own state, which may be behind.")
  var serializable = false

  func apply(to options: inout LoadOptions, gateway: String?) throws {
    keys.apply(to: &options)
    options.operation = .get(isSerializable: serializable)
  }
}

struct BenchList: BenchScenario {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "Load any etcd v3 endpoint with lists of keys.",
    discussion: BenchText.discussion(
      """
      portcullis bench list --list-limit 500 --key-count 5000 --value-size 2048 --rate 50 --connections 4
      """,
      """
      The keys are put before the load. Each list has the keys from one of them on, and is linearizable: it must count no
      fewer than were put, at no revision below those that were answered before it.
      """))

  @OptionGroup var load: LoadFlags
  @OptionGroup var keys: KeyFlags

  @Option(name: .customLong("list-limit"), help: "The most keys in one list.")
  var listLimit = 500

  func apply(to options: inout LoadOptions, gateway: String?) throws {
    keys.apply(to: &options)
    options.operation = .list(limit: listLimit)
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
      Each client takes its lock, holds it for --hold and gives it back, over and over. The latency is that of the hand-over:
      from when the one before gave it back, or from the own call where nobody had it, to the grant. A lock that is granted
      while another client holds it fails the run.
      """))

  @OptionGroup var load: LoadFlags

  @Option(help: "How many locks the clients share.")
  var locks = 1

  @Option(help: "How long each client holds its lock. With 0, two holders at once would not be seen.")
  var hold = DurationArgument(argument: "1ms")!

  func apply(to options: inout LoadOptions, gateway: String?) throws {
    let (seconds, attoseconds) = hold.duration.components
    options.operation = .lock(
      names: locks, holdNanoseconds: UInt64(seconds) * 1_000_000_000 + UInt64(attoseconds / 1_000_000_000))
  }
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

  @Flag(
    inversion: .prefixedNo, exclusivity: .chooseLast, help: "The database is open: send no token.")
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
      portcullis bench mix --weights put=20,get=70,list=10 --rate 5000 --connections 16
      portcullis bench mix mix.yaml --rate 5000 --connections 16
      """,
      """
      The file maps operations to weights, in YAML or JSON, such as `{put: 20, get: 70, get-serializable: 5, cas: 5}`.
      """))

  @OptionGroup var load: LoadFlags
  @OptionGroup var keys: KeyFlags

  @Argument(help: "The file with the weights.")
  var file: String?

  @Option(
    help: "The weights, in place of a file: put=20,get=70,list=10. There are put, get, get-serializable, list, cas.")
  var weights: String?

  @Option(name: .customLong("list-limit"), help: "The most keys in one list.")
  var listLimit = 500

  func validate() throws {
    guard (file == nil) != (weights == nil) else {
      throw ValidationError("the weights of the operations come from --weights or from a file: give one of them")
    }
  }

  func apply(to options: inout LoadOptions, gateway: String?) throws {
    keys.apply(to: &options)
    let operations: [OperationSetting] = [
      .put, .compareAndSwap(zipfExponent: 1), .get(isSerializable: true), .get(isSerializable: false),
      .list(limit: listLimit),
    ]
    let known = operations.map(\.name)
    let entries =
      if let weights { try WeightsFile.parse(weights, known: known) } else {
        try file.map { path throws(CommandFailure) in try WeightsFile.read(path, known: known) } ?? []
      }
    options.operation = .mix(
      entries.compactMap { entry in
        operations.first { $0.name == entry.name }.map { MixPart(operation: $0, weight: entry.weight) }
      })
  }
}
