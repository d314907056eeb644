// What the flags of the scenarios of `bench` have in common: how the load is made.

import ArgumentParser
import Client
import Measurement
import Workloads

enum BenchText {
  static func discussion(_ examples: String, _ about: String? = nil) -> String {
    let indented = examples.split(separator: "\n").map { "  \($0)" }.joined(separator: "\n")
    let common = """
      With --rate the load is open: operations start at their intended times whatever the answers do, and latency is counted
      from there. With --clients it is closed: each client waits for its answer, and the figures are labelled so.
      Ctrl-C ends the run early and keeps what was measured. Exit code 1: the run is invalid or found wrong answers; 73: the
      file for the result cannot be made; 74: it could not be written, and the result is on stdout.
      """
    return "Examples:\n\(indented)\n\n" + (about.map { "\($0)\n\n" } ?? "") + common
  }
}

struct LoadFlags: ParsableArguments {
  enum Output: String, ExpressibleByArgument, CaseIterable { case text, json }

  // Both are replaced by what they stand for before the arguments are read (RunArguments), and are here for the help.
  @Option(help: "A file (YAML) with the settings of a run, by the flags' names; flags beside it win.")
  var config: String?

  @Option(help: "A load with a name: portcullis bench presets lists them. --config and flags win over it.")
  var preset: String?

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

  @Flag(
    name: .customLong("find-limit"), inversion: .prefixedNo, exclusivity: .chooseLast,
    help: "Search the highest rate within the objective, from --rate on.")
  var findLimit = false

  @Option(help: "With --find-limit: what each rate must keep, such as p99=20ms.")
  var objective = ObjectiveArgument(argument: "p99=20ms")!

  @Option(help: "With --find-limit: where the target's nodes serve metrics, with commas. Default: at the endpoints.")
  var metrics: String?

  @Option(
    name: .customLong("target-processors"),
    help: "With --find-limit: how many processors each node has, where it does not say so itself.")
  var targetProcessors: Int?

  @Option(help: "Start a core of so many nodes for this run, and the gateway that it needs. Then no endpoint is given.")
  var start: Int?

  @Option(
    help: "With --start: the directory, on the disk to be measured, in which the nodes keep their files meanwhile.")
  var directory = "."

  @Option(help: "So many runs, one after another; with --start each on a target of its own.")
  var `repeat` = 1

  @Option(help: "Write the result to this file, as JSON. With --repeat their numbers go before its last dot.")
  var result: String?

  @Option(help: "text or json, to stdout.")
  var output = Output.text

  func validate() throws {
    guard rate == nil || clients == nil else {
      throw ValidationError("--rate (open loop) and --clients (closed loop) exclude each other")
    }
    guard !findLimit || clients == nil else {
      throw ValidationError("--find-limit offers rates (open loop): give --rate to begin with, and no --clients")
    }
    guard (1...1000).contains(`repeat`) else { throw ValidationError("--repeat takes from 1 to 1000 runs") }
    guard !findLimit || `repeat` == 1 else {
      throw ValidationError("--find-limit makes as many runs as it needs: give no --repeat")
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
    options.metrics = metrics.map { $0.split(separator: ",").map(String.init) }
    options.targetProcessors = targetProcessors
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

  @Option(name: .customLong("key-prefix"), help: "What all keys begin with.")
  var keyPrefix = LoadOptions.defaultKeyPrefix

  @Flag(
    name: .customLong("sequential-keys"), inversion: .prefixedNo, exclusivity: .chooseLast,
    help: "Take keys in order instead of at random.")
  var sequentialKeys = false

  func apply(to options: inout LoadOptions) {
    options.keyPrefix = keyPrefix
    options.keySizeBytes = keySize
    options.keyCount = keyCount
    options.keyOrder = sequentialKeys ? .sequential : .random
    options.valueSizeBytes = valueSize
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
