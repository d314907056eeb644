// `plan`: what a need takes, predicted by the same Raft in virtual time; and how far such predictions can be trusted here.

import ArgumentParser
import Commands
import Foundation
import Measurement
import PlanRunning
import Planning

struct PlanCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan",
    abstract: "Say what a need takes: latency, highest rate, memory, disk, timers, machine.",
    discussion: """
      Examples:
        portcullis fsync /var/lib/portcullis --output json > disk.json
        portcullis plan --puts 2000 --gets 5000 --value-bytes 1024 --round-trip 1ms --objective p99=20ms --disk disk.json
        portcullis plan --need need.yaml --disk disk.json --output json
        portcullis plan --validate --directory /var/lib/portcullis --quick
        portcullis plan --validate --again report.json

      The nodes' own Raft runs in virtual time, with flushes drawn from the measured disk, round trips and processor time.
      --validate measures this machine, predicts runs with injected delays of disk and network, makes those runs, and prints
      how far prediction and measurement lie apart.

      A need as a file (flags beside it count more):
      \(NeedFile.example.split(separator: "\n").map { "  \($0)" }.joined(separator: "\n"))

      docs/capacity-planning.md has the model, the formulas and the JSON. Exit codes: 0 the objective is met (with --validate:
      every prediction was near enough), 1 it is not, 64 a need that makes no sense.
      """)

  @Option(help: "The need, from a file of YAML or JSON.")
  var need: String?

  @OptionGroup var flags: NeedFlags

  @Option(help: "What the disk takes: the JSON of `portcullis fsync DIR --output json`.")
  var disk: String?

  @Option(help: "Processor costs as another machine's calibration found them: the JSON of --validate.")
  var costs: String?

  @OptionGroup var validation: ValidationFlags

  @Option(help: "text or json, to stdout.")
  var output = OutputFormat.text

  func validate() throws {
    let measures =
      validation.quick || validation.directory != nil || validation.cells != nil || validation.rounds != nil
    guard validation.validate || (!measures && validation.again == nil) else {
      throw ValidationError("--quick, --directory, --cells, --rounds and --again belong to --validate")
    }
    guard validation.again == nil || !measures else {
      throw ValidationError("--again measures nothing: give no --quick, --directory, --cells or --rounds beside it")
    }
    guard (1...100).contains(validation.rounds ?? 1) else {
      throw ValidationError("--rounds is a number from 1 to 100")
    }
    guard !validation.validate || need == nil && disk == nil && costs == nil else {
      throw ValidationError("--validate measures disk and costs itself: give no --need, --disk or --costs beside it")
    }
  }

  func run() async throws {
    if validation.validate { return try await runValidation() }
    do {
      let costs = try self.costs.map { try PlanJSON.costs(at: $0) } ?? Costs()
      let planned = try disk.map { try DiskProfiles.read($0) } ?? DiskProfiles.assumed
      var need = try self.need.map { try NeedFile.read($0) } ?? Need()
      try flags.apply(to: &need)
      let plan = try Plan(for: need, disk: planned, costs: costs)
      announce(output == .json ? try plan.json() : plan.text)
      if !plan.isMet { Foundation.exit(Commands.ExitCode.failed) }
    } catch let error as PlanError {
      throw CommandFailure(Commands.ExitCode.usage, "\(error)")
    }
  }
}

struct ValidationFlags: ParsableArguments {
  @Flag(help: "Measure this machine, predict, and print how far the predictions are off. An hour.")
  var validate = false

  @Flag(help: "With --validate: two cells at one rate, one run each. About two minutes.")
  var quick = false

  @Option(
    help: "With --validate: measure nothing, but predict anew what this report, of --output json, measured.")
  var again: String?

  @Option(help: "With --validate: where the nodes keep their files meanwhile. Default: the working directory.")
  var directory: String?

  @Option(
    help: "With --validate: percent of the processors that other programs may use before a run counts as disturbed.")
  var others = 10.0

  @Option(help: "With --validate: how often each load is run, of which the middle counts. Default: 7.")
  var rounds: Int?

  @Option(help: "With --validate: only these cells, as nodes/disk/network with delays in ms: 1/0/0,3/5/10.")
  var cells: CommaList<CellArgument>?
}

extension PlanCommand {
  private func runValidation() async throws {
    let isTerminal = isatty(STDERR_FILENO) == 1
    @Sendable func show(_ text: String) {
      if isTerminal { FileHandle.standardError.write(Data("\r\u{1B}[K\(text)".utf8)) }
      if !isTerminal, !text.isEmpty { FileHandle.standardError.write(Data("\(text)\n".utf8)) }
    }
    if let path = validation.again {
      let report: ValidationReport
      do { report = try await PlanJSON.report(at: path).predictedAgain() } catch {
        throw CommandFailure(Commands.ExitCode.usage, "\(error)")
      }
      return try finish(report)
    }
    let directory = URL(fileURLWithPath: validation.directory ?? ".").path
    var isDirectory: ObjCBool = false
    guard FileManager.default.fileExists(atPath: directory, isDirectory: &isDirectory), isDirectory.boolValue else {
      throw CommandFailure(Commands.ExitCode.usage, "\(directory) is no directory; name one with --directory")
    }
    var options = ValidationOptions(directory: directory, isQuick: validation.quick)
    options.mostOfOthers = validation.others / 100
    if let rounds = validation.rounds { options.rounds = rounds }
    if let cells = validation.cells?.values { options.cells = cells.map(\.delays) }
    let report: ValidationReport
    do {
      report = try await Self.untilSignal { [options] in try await Validation.run(options, progress: show) }
    } catch let failure as CommandFailure {
      show("")
      throw failure
    } catch {
      show("")
      throw CommandFailure(Commands.ExitCode.failed, "\(error)")
    }
    show("")
    try finish(report)
  }

  private func finish(_ report: ValidationReport) throws {
    announce(output == .json ? try PlanJSON.text(report) : report.text)
    if !report.isGood { Foundation.exit(Commands.ExitCode.failed) }
  }
}

extension PlanCommand {
  /// A signal cancels what runs, which then ends the nodes that it started.
  private static func untilSignal(
    _ body: @escaping @Sendable () async throws -> ValidationReport
  ) async throws -> ValidationReport {
    let signals = Signals()
    return try await withThrowingTaskGroup(of: ValidationReport?.self) { group in
      group.addTask { try await body() }
      group.addTask {
        guard let signal = await signals.first() else { return nil }
        throw CommandFailure(128 + signal, "stopped by a signal; a validation says something when it is over")
      }
      defer { group.cancelAll() }
      while let next = try await group.next() {
        if let next { return next }
      }
      preconditionFailure("a validation ends with a report or an error")
    }
  }
}

/// A need on the command line. What is given here counts more than what the file has.
struct NeedFlags: ParsableArguments {
  @Option(help: "Puts a second.")
  var puts: Double?

  @Option(help: "Linearizable gets a second.")
  var gets: Double?

  @Option(name: .customLong("serializable-gets"), help: "Gets a second that any node may answer from what it has.")
  var serializableGets: Double?

  @Option(help: "Transactions a second.")
  var transactions: Double?

  @Option(help: "Renewals of leases a second.")
  var renewals: Double?

  @Option(name: .customLong("key-bytes"), help: "Bytes in a key. Default: 32.")
  var keyBytes: Int?

  @Option(name: .customLong("value-bytes"), help: "Bytes in a value. Default: 256.")
  var valueBytes: Int?

  @Option(help: "How many keys there are. Default: 10000.")
  var keys: Double?

  @Option(name: .customLong("keys-per-day"), help: "New keys a day.")
  var keysPerDay: Double?

  @Option(name: .customLong("versions-kept"), help: "Versions that compaction leaves of each key. Default: 1.")
  var versionsKept: Double?

  @Option(help: "Leases that there are.")
  var leases: Double?

  @Option(help: "Watchers that there are.")
  var watchers: Double?

  @Option(name: .customLong("watchers-per-write"), help: "Watchers that each write is told to.")
  var watchersPerWrite: Double?

  @Option(name: .customLong("fence-rows"), help: "Scopes that a gateway's file keeps floors for.")
  var fenceRows: Double?

  @Option(help: "Clients that are connected.")
  var clients: Double?

  @Option(help: "Nodes: 1 to 9. Default: 3.")
  var nodes: Int?

  @Option(help: "Processors of each node's machine. Default: 4.")
  var processors: Int?

  @Option(name: .customLong("round-trip"), help: "Between two nodes: 500us, 1ms. Default: 500us.")
  var roundTrip: TimeArgument?

  @Option(name: .customLong("client-round-trip"), help: "Between a client and its node. Default: none.")
  var clientRoundTrip: TimeArgument?

  @Option(help: "What must be kept: p99=20ms. Default: that.")
  var objective: ObjectiveArgument?

  @Option(help: "--quota-backend-bytes of the nodes: 8GiB. Default: 2GiB.")
  var quota: SizeArgument?

  @Option(name: .customLong("heartbeat-interval"), help: "Milliseconds. Default: 100.")
  var heartbeat: Int?

  @Option(name: .customLong("election-timeout"), help: "Milliseconds. Default: 1000.")
  var election: Int?

  @Flag(name: .customLong("shared-disk"), help: "The nodes' logs lie on one disk.")
  var sharedDisk = false

  @Flag(name: .customLong("shared-machine"), help: "Nodes and clients run on one machine.")
  var sharedMachine = false

  @Option(help: "Seed of all that is drawn: the same seed gives the same plan.")
  var seed: UInt64?

  func apply(to need: inout Need) throws {
    func set<Value>(_ path: WritableKeyPath<Need, Value>, _ value: Value?) {
      if let value { need[keyPath: path] = value }
    }
    set(\.puts, puts)
    set(\.gets, gets)
    set(\.serializableGets, serializableGets)
    set(\.transactions, transactions)
    set(\.renewals, renewals)
    set(\.keyBytes, keyBytes)
    set(\.valueBytes, valueBytes)
    set(\.keys, keys)
    set(\.keysPerDay, keysPerDay)
    set(\.versionsKept, versionsKept)
    set(\.leases, leases)
    set(\.watchers, watchers)
    set(\.watchersPerWrite, watchersPerWrite)
    set(\.fenceRows, fenceRows)
    set(\.clients, clients)
    set(\.nodes, nodes)
    set(\.processors, processors)
    set(\.roundTrip, roundTrip?.seconds)
    set(\.clientRoundTrip, clientRoundTrip?.seconds)
    set(\.objective, objective?.objective)
    set(\.quotaBytes, quota?.bytes)
    set(\.heartbeatMilliseconds, heartbeat)
    set(\.electionMilliseconds, election)
    set(\.seed, seed)
    if sharedDisk { need.sharesDisk = true }
    if sharedMachine { need.sharesMachine = true }
  }
}

/// `3/5/10`: three nodes, 5 ms of disk, 10 ms of network.
struct CellArgument: ExpressibleByArgument, Hashable, Sendable {
  let delays: InjectedDelays

  init?(argument: String) {
    let parts = argument.split(separator: "/").map { Int($0) }
    guard parts.count == 3, let nodes = parts[0], (1...9).contains(nodes), let disk = parts[1],
      (0...1000).contains(disk),
      let network = parts[2], (0...1000).contains(network)
    else { return nil }
    delays = InjectedDelays(nodes: nodes, diskMilliseconds: disk, networkMilliseconds: network)
  }
}

/// A time between machines: `500us`, `2ms`.
struct TimeArgument: ExpressibleByArgument, Sendable {
  let seconds: Double

  init?(argument: String) {
    guard let seconds = Units.seconds(argument) else { return nil }
    self.seconds = seconds
  }
}

/// `8GiB`, or bytes.
struct SizeArgument: ExpressibleByArgument, Sendable {
  let bytes: Double

  init?(argument: String) {
    guard let bytes = Units.bytes(argument) else { return nil }
    self.bytes = bytes
  }
}
