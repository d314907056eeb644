// `chaos`: a soak of real processes under faults, and the checks of what was seen.

import ArgumentParser
import Chaos
import Commands
import Conformance
import Foundation

struct ChaosCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "chaos",
    abstract: "Soak a cluster and gateways of real processes in faults, and check everything that was acknowledged.",
    discussion: """
      Examples:
        portcullis chaos --for 10m
        portcullis chaos --for 2h --seed 4711 --directory soak --json > soak.json
        portcullis chaos --for 5m --faults kill,partition --rate 300

      Starts its own nodes, gateways and holders on loopback, and ends them. Faults come one after another from a seed, which
      is printed. Ctrl-C ends the load and makes the final checks; a second one ends at once. The exit code is 0 only if
      everything held, 1 if something was violated, 2 if too little happened to say so. What is checked is in docs/chaos.md.
      """)

  @Option(name: .customLong("for"), help: "How long, such as 90s, 10m or 2h; at least 10s.")
  var length: GoDuration

  @Option(help: "Of the schedule of faults and of the load. Default: drawn at random, and printed.")
  var seed: UInt64?

  @Option(help: "Only these, with commas: kill, pause, partition, slow-disk, clock. Default: all.")
  var faults: ChaosFaults?

  @Option(help: "Nodes of the core, 3 to 7.")
  var nodes = 3

  @Option(help: "Gateways, 1 to 8, with two databases each.")
  var gateways = 2

  @Option(help: "Operations a second of the clients on keys, 10 to 5000. Holders write a quarter of it in rows.")
  var rate = 100

  @Option(
    help:
      "Where the processes keep their files: a new or an empty directory, which stays. Default: one that goes again if nothing was violated."
  )
  var directory: String?

  @Flag(help: "Print JSON in the place of the table.")
  var json = false

  func validate() throws {
    if length.milliseconds < 10_000 { throw ValidationError("--for takes at least 10s") }
    if !(3...7).contains(nodes) { throw ValidationError("--nodes takes 3 to 7") }
    if !(1...8).contains(gateways) { throw ValidationError("--gateways takes 1 to 8") }
    if !(10...5000).contains(rate) { throw ValidationError("--rate takes 10 to 5000") }
    guard let directory else { return }
    var isDirectory: ObjCBool = false
    let exists = FileManager.default.fileExists(atPath: directory, isDirectory: &isDirectory)
    let contents = try? FileManager.default.contentsOfDirectory(atPath: directory)
    guard !exists || (isDirectory.boolValue && contents?.isEmpty == true) else {
      throw ValidationError("--directory \(directory) is not an empty directory; name one that is new or empty")
    }
  }

  func run() async throws {
    let place = try directory.map { URL(fileURLWithPath: $0).standardizedFileURL.path } ?? Self.scratch()
    let executable = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    var settings = ChaosSettings(
      executable: executable, directory: place, duration: .milliseconds(length.milliseconds),
      seed: seed ?? UInt64.random(in: 0...UInt64(UInt32.max)))
    settings.faults = try wantedFaults(executable)
    (settings.nodes, settings.gateways, settings.operationsPerSecond) = (nodes, gateways, rate)
    Self.tell("chaos: seed \(settings.seed), files in \(place)")
    let result: Result<ChaosReport, any Error>
    do { result = .success(try await Self.play(settings)) } catch { result = .failure(error) }
    let isKept = directory != nil || (try? result.get().verdict) == .violated
    if !isKept { try? FileManager.default.removeItem(atPath: place) }
    let report = try result.get()
    print(json ? try JSONOutput.pretty(report) : ChaosText.table(report))
    switch report.verdict {
    case .passed: return
    case .violated:
      throw CommandFailure(
        Commands.ExitCode.failed,
        "\(report.violations) violations with seed \(report.seed); what was seen is in \(place)")
    case .inconclusive:
      throw CommandFailure(
        Commands.ExitCode.inconclusive, "inconclusive: \(report.shortcomings.joined(separator: "; "))")
    }
  }

  /// Those that were asked for; where nobody asked, those that this machine can carry out.
  private func wantedFaults(_ executable: String) throws -> Set<ChaosFault> {
    let library = FaultControl.library(for: executable)
    let canInject = FileManager.default.isReadableFile(atPath: library)
    let wanted = faults?.faults ?? Set(ChaosFault.allCases)
    guard !canInject, wanted.contains(where: \.needsInjector) else { return wanted }
    guard faults == nil else {
      throw CommandFailure(
        Commands.ExitCode.usage,
        "--faults: slow-disk and clock need \(library); build it with `swift build -c release --product portcullis_faults`"
      )
    }
    Self.tell("chaos: without slow-disk and clock, which need \(library)")
    return wanted.filter { !$0.needsInjector }
  }

  private static func scratch() throws -> String {
    let path = NSTemporaryDirectory() + "/portcullis-chaos-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    return URL(fileURLWithPath: path).standardizedFileURL.path
  }

  private static func play(_ settings: ChaosSettings) async throws -> ChaosReport {
    let monitor = ChaosMonitor()
    let signals = Signals()
    return try await withThrowingTaskGroup(of: ChaosReport?.self) { group in
      group.addTask { try await ChaosRun(settings, monitor: monitor).run() }
      group.addTask {
        await ChaosText.follow(monitor, of: settings.duration)
        return nil
      }
      group.addTask {
        guard await signals.first() != nil else { return nil }
        tell("chaos: ending early, after the final checks; another Ctrl-C ends at once")
        monitor.stop()
        guard await signals.second() != nil else { return nil }
        throw CommandFailure(
          Commands.ExitCode.failed,
          "stopped by a signal before the final checks; every process that was started has ended")
      }
      defer { group.cancelAll() }
      while let next = try await group.next() {
        if let report = next { return report }
      }
      throw CancellationError()
    }
  }

  private static func tell(_ line: String) { FileHandle.standardError.write(Data("\(line)\n".utf8)) }
}

/// `kill,pause`.
struct ChaosFaults: ExpressibleByArgument, Sendable {
  let faults: Set<ChaosFault>

  init?(argument: String) {
    let parts = argument.split(separator: ",", omittingEmptySubsequences: false).map { ChaosFault(rawValue: "\($0)") }
    guard !parts.isEmpty, !parts.contains(nil) else { return nil }
    faults = Set(parts.compactMap { $0 })
  }
}
