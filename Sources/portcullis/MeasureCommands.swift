// `bench`: measuring under load.

import ArgumentParser
import Client
import Commands
import Foundation
import Measurement
import Reporting
import Workloads

struct Bench: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Load a cluster and measure it.", subcommands: [BenchPut.self])
}

struct BenchPut: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "put",
    abstract: "Load any etcd v3 endpoint with puts.",
    discussion: """
      Examples:
        portcullis bench put --rate 5000 --connections 16 --duration 30s
        portcullis bench put --clients 512 --connections 64 --output json > result.json

      With --rate the load is open: puts start at their intended times whatever the answers do, and latency is counted
      from there. With --clients it is closed: each client waits for its answer, and the figures are labelled so.
      Ctrl-C ends the run early and keeps what was measured. Exit code 1: the run is invalid or found wrong answers.
      """)

  enum Output: String, ExpressibleByArgument, CaseIterable { case text, json }

  @Option(help: "Endpoints, with commas. Environment: PORTCULLIS_ENDPOINTS.")
  var endpoints: String?

  @OptionGroup var tls: ClientTLSFlags

  @Option(help: "Puts offered a second, at random intervals (open loop).")
  var rate: Double?

  @Option(help: "Clients that each have one put under way (closed loop). Default, without --rate: 1.")
  var clients: Int?

  @Option(help: "Connections that the load is spread over.")
  var connections = 1

  @Option(name: .customLong("max-in-flight"), help: "Open loop: puts under way at once beyond which some are skipped.")
  var maxInFlight = 10_000

  @Option(help: "Length of the measured part: 30s, 5m.")
  var duration = DurationArgument(argument: "10s")!

  @Option(help: "End after this many puts, if that comes first.")
  var total: UInt64?

  @Option(name: .customLong("warm-up"), help: "Length of the warm-up; 0 for none. Default: until steady, 10 s at most.")
  var warmUp: DurationArgument?

  @Option(name: .customLong("key-size"), help: "Bytes in a key.")
  var keySize = 32

  @Option(name: .customLong("key-count"), help: "How many different keys are put.")
  var keyCount: UInt64 = 10_000

  @Option(name: .customLong("value-size"), help: "Bytes in a value.")
  var valueSize = 256

  @Flag(name: .customLong("sequential-keys"), help: "Put keys in order instead of at random.")
  var sequentialKeys = false

  @Option(help: "Seed of keys and arrivals: the same seed offers the same load.")
  var seed: UInt64 = 1

  @Option(help: "text or json, to stdout.")
  var output = Output.text

  func validate() throws {
    guard rate == nil || clients == nil else {
      throw ValidationError("--rate (open loop) and --clients (closed loop) exclude each other")
    }
  }

  func run() async throws {
    let options = try options()
    let isTerminal = isatty(STDERR_FILENO) == 1
    let signals = Signals()
    let result: BenchResult
    do {
      result = try await withThrowingTaskGroup(of: BenchResult?.self) { group in
        group.addTask {
          try await runPutWorkload(options) { progress in
            if isTerminal { Self.show("\r\u{1B}[K" + renderLiveLine(progress)) }
          }
        }
        group.addTask {
          _ = await signals.first()
          return nil
        }
        // A signal cancels the load, which then ends with what it has.
        while let next = try await group.next() {
          group.cancelAll()
          if let next { return next }
        }
        preconditionFailure("the load ends with a result or an error")
      }
    } catch let error as WorkloadError {
      if isTerminal { Self.show("\r\u{1B}[K") }
      throw CommandFailure(
        error.code == .badOptions ? Commands.ExitCode.usage : Commands.ExitCode.unavailable, "\(error)")
    }
    if isTerminal { Self.show("\r\u{1B}[K") }
    print(output == .json ? try renderJSON(result) : renderText(result))
    if result.judgement.verdict != .valid { Foundation.exit(Commands.ExitCode.failed) }
  }

  private func options() throws -> PutWorkloadOptions {
    var options = PutWorkloadOptions()
    options.endpoints = (endpoints ?? ConnectionOptions.environment("PORTCULLIS_ENDPOINTS") ?? "127.0.0.1:2379")
      .split(separator: ",").map(String.init)
    options.tls = try tls.options(for: options.endpoints.compactMap { try? Client.Endpoint(parsing: $0) }).settings
    if let rate {
      options.shape = .open(process: .poisson, ratePerSecond: rate, maxInFlight: maxInFlight)
    } else {
      options.shape = .closed(clients: clients ?? 1)
    }
    options.connections = connections
    options.duration = duration.duration
    options.totalOperations = total
    if let warmUp { options.warmUp = warmUp.duration == .zero ? .none : .fixed(warmUp.duration) }
    options.keySizeBytes = keySize
    options.keyCount = keyCount
    options.keyOrder = sequentialKeys ? .sequential : .random
    options.valueSizeBytes = valueSize
    options.seed = seed
    return options
  }

  private static func show(_ text: String) { FileHandle.standardError.write(Data(text.utf8)) }
}
