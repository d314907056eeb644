// What the scenarios of `bench` have in common: how the load is made, and how it is run and reported.

import ArgumentParser
import Client
import Commands
import Conformance
import Foundation
import Measurement
import Reporting
import Workloads

enum BenchText {
  static func discussion(_ examples: String, _ about: String? = nil) -> String {
    let indented = examples.split(separator: "\n").map { "  \($0)" }.joined(separator: "\n")
    let common = """
      With --rate the load is open: operations start at their intended times whatever the answers do, and latency is counted
      from there. With --clients it is closed: each client waits for its answer, and the figures are labelled so.
      Ctrl-C ends the run early and keeps what was measured. Exit code 1: the run is invalid or found wrong answers.
      """
    return "Examples:\n\(indented)\n\n" + (about.map { "\($0)\n\n" } ?? "") + common
  }
}

struct LoadFlags: ParsableArguments {
  enum Output: String, ExpressibleByArgument, CaseIterable { case text, json }

  @Option(help: "Endpoints of the core, with commas. Environment: PORTCULLIS_ENDPOINTS.")
  var endpoints: String?

  @OptionGroup var tls: ClientTLSFlags

  @Option(help: "Operations offered a second, at random intervals (open loop).")
  var rate: Double?

  @Option(help: "Clients that each have one operation under way (closed loop). Default, without --rate: 1.")
  var clients: Int?

  @Option(help: "Connections that the load is spread over.")
  var connections = 1

  @Option(name: .customLong("max-in-flight"), help: "Open loop: so many under way at once, and more are skipped.")
  var maxInFlight = 10_000

  @Option(help: "Length of the measured part: 30s, 5m.")
  var duration = DurationArgument(argument: "10s")!

  @Option(help: "End after this many operations, if that comes first.")
  var total: UInt64?

  @Option(name: .customLong("warm-up"), help: "Length of the warm-up; 0 for none. Default: until steady, 10 s at most.")
  var warmUp: DurationArgument?

  @Option(help: "Seed of all that is drawn: the same seed offers the same load.")
  var seed: UInt64 = 1

  @Flag(name: .customLong("find-limit"), help: "Search the highest rate within the objective, from --rate on.")
  var findLimit = false

  @Option(help: "With --find-limit: what each rate must keep, such as p99=20ms.")
  var objective = ObjectiveArgument(argument: "p99=20ms")!

  @Option(help: "Start a core of so many nodes for this run, and the gateway that it needs. Then no endpoint is given.")
  var start: Int?

  @Option(
    help: "With --start: the directory, on the disk to be measured, in which the nodes keep their files meanwhile.")
  var directory = "."

  @Option(help: "text or json, to stdout.")
  var output = Output.text

  func validate() throws {
    guard rate == nil || clients == nil else {
      throw ValidationError("--rate (open loop) and --clients (closed loop) exclude each other")
    }
    guard !findLimit || clients == nil else {
      throw ValidationError("--find-limit offers rates (open loop): give --rate to begin with, and no --clients")
    }
    guard start == nil || endpoints == nil else {
      throw ValidationError("--start brings a target of its own: give no --endpoints")
    }
    guard start.map({ (1...9).contains($0) }) ?? true else {
      throw ValidationError("--start takes from 1 to 9 nodes")
    }
  }

  /// - Parameter started: the endpoints of what was started for the run.
  func options(_ started: String?) throws -> LoadOptions {
    var options = LoadOptions()
    options.endpoints =
      (started ?? endpoints ?? ConnectionOptions.environment("PORTCULLIS_ENDPOINTS") ?? "127.0.0.1:2379")
      .split(separator: ",").map(String.init)
    options.tls = try tls.options(for: options.endpoints.compactMap { try? Client.Endpoint(parsing: $0) }).settings
    if let rate = rate ?? (findLimit ? 500 : nil) {
      options.shape = .open(process: .poisson, ratePerSecond: rate, maxInFlight: maxInFlight)
    } else {
      options.shape = .closed(clients: clients ?? 1)
    }
    options.connections = connections
    options.duration = duration.duration
    options.totalOperations = total
    if let warmUp { options.warmUp = warmUp.duration == .zero ? .none : .fixed(warmUp.duration) }
    options.seed = seed
    return options
  }
}

struct KeyFlags: ParsableArguments {
  @Option(name: .customLong("key-size"), help: "Bytes in a key.")
  var keySize = 32

  @Option(name: .customLong("key-count"), help: "How many different keys there are.")
  var keyCount: UInt64 = 10_000

  @Option(name: .customLong("value-size"), help: "Bytes in a value.")
  var valueSize = 256

  @Flag(name: .customLong("sequential-keys"), help: "Take keys in order instead of at random.")
  var sequentialKeys = false

  func apply(to options: inout LoadOptions) {
    options.keySizeBytes = keySize
    options.keyCount = keyCount
    options.keyOrder = sequentialKeys ? .sequential : .random
    options.valueSizeBytes = valueSize
  }
}

/// A scenario of `bench`.
protocol BenchScenario: AsyncParsableCommand {
  var load: LoadFlags { get }
  /// The database that a gateway has to have which is started for the run. Nil where none is needed.
  func database(in directory: String) -> DatabaseSetup?
  /// Says what the operations are.
  /// - Parameter gateway: the address of what was started for the run.
  func apply(to options: inout LoadOptions, gateway: String?) throws
}

extension BenchScenario {
  func database(in directory: String) -> DatabaseSetup? { nil }

  func run() async throws {
    let isGood: Bool
    if let nodes = load.start {
      isGood = try await BenchTarget.start(nodes, in: load.directory, database(in:)) { endpoints, gateway in
        try await report(endpoints, gateway)
      }
    } else {
      isGood = try await report(nil, nil)
    }
    if !isGood { Foundation.exit(Commands.ExitCode.failed) }
  }

  /// Runs and prints, and tells whether the figures are good for anything.
  private func report(_ endpoints: String?, _ gateway: String?) async throws -> Bool {
    var options = try load.options(endpoints)
    try apply(to: &options, gateway: gateway)
    let line = BenchLine()
    do {
      guard load.findLimit else {
        let result = try await untilSignal { [options] in try await runLoad(options, onProgress: line.show) }
        line.clear()
        print(load.output == .json ? try renderJSON(result) : renderText(result))
        return result.judgement.verdict == .valid
      }
      let objective = load.objective.objective
      let result = try await untilSignal { [options] in
        try await findLimit(options, objective: objective, onProgress: line.show)
      }
      line.clear()
      print(load.output == .json ? try renderJSON(result) : renderText(result))
      return result.holdsPerSecond != nil
    } catch let error as WorkloadError {
      line.clear()
      throw CommandFailure(
        error.code == .badOptions ? Commands.ExitCode.usage : Commands.ExitCode.unavailable, "\(error)")
    }
  }

  /// A signal cancels the load, which then ends with what it has.
  private func untilSignal<Result: Sendable>(
    _ body: @escaping @Sendable () async throws -> Result
  ) async throws -> Result {
    let signals = Signals()
    return try await withThrowingTaskGroup(of: Result?.self) { group in
      group.addTask { try await body() }
      group.addTask {
        _ = await signals.first()
        return nil
      }
      while let next = try await group.next() {
        group.cancelAll()
        if let next { return next }
      }
      preconditionFailure("the load ends with a result or an error")
    }
  }
}

/// The live line, where a terminal is.
private struct BenchLine {
  private let isTerminal = isatty(STDERR_FILENO) == 1

  func show(_ progress: BenchProgress) { write(renderLiveLine(progress)) }
  func clear() { write("") }

  private func write(_ text: String) {
    if isTerminal { FileHandle.standardError.write(Data("\r\u{1B}[K\(text)".utf8)) }
  }
}

/// `p99=20ms`.
struct ObjectiveArgument: ExpressibleByArgument {
  let objective: LoadObjective
  var defaultValueDescription: String { "p99=20ms" }

  init?(argument: String) {
    let parts = argument.split(separator: "=")
    guard parts.count == 2, parts[0].hasPrefix("p"), let percentile = Double(parts[0].dropFirst()),
      percentile > 0, percentile < 100, let length = DurationArgument(argument: String(parts[1]))?.duration,
      length > .zero, length < .seconds(3600)
    else { return nil }
    let (seconds, attoseconds) = length.components
    objective = LoadObjective(
      percentile: percentile, latencyNanoseconds: UInt64(seconds) * 1_000_000_000 + UInt64(attoseconds / 1_000_000_000))
  }
}
