// `simulate`: whole clusters in a simulated world full of faults, every step checked.

import ArgumentParser
import Commands
import Foundation
import Simulation

struct Simulate: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run whole clusters in a simulated world full of faults, and check every step.",
    discussion: """
      Examples:
        portcullis simulate --seeds 100
        portcullis simulate --minutes 60 --require-coverage --output json > run.json
        portcullis simulate --seed 4711 --seeds 1 --trace

      The same seed gives the same run and the same digest. A violation prints its seed, what happened last and the
      command that replays it; the exit code is then 1. With --require-coverage a run that never saw a fault or a state
      of the list fails as well.
      """)

  enum Output: String, ExpressibleByArgument, CaseIterable { case text, json }

  @Option(help: "How many seeds to run. Default: 20, or as many as fit in --minutes.")
  var seeds: UInt64?

  @Option(help: "The first seed. Default: drawn at random, and printed.")
  var seed: UInt64?

  @Option(help: "Go on with fresh seeds for so long.")
  var minutes: Double?

  @Option(help: "Voters at the beginning. Default: each seed draws its own.")
  var nodes: Int?

  @Option(help: "Operations a second of simulated time. Default: each seed draws its own.")
  var rate: UInt64?

  @Option(
    name: .customLong("planted-bug"), help: "Plant a defect in the world, to see the alarm. See docs/simulation.md.")
  var plantedBug: String?

  @Flag(help: "Print everything that happens, as it happens.")
  var trace = false

  @Flag(name: .customLong("require-coverage"), help: "Fail when a fault or a state of the list was never reached.")
  var requireCoverage = false

  @Flag(help: "Print the digest of each seed.")
  var digests = false

  @Option(help: "text or json, to stdout.")
  var output = Output.text

  func validate() throws {
    if let nodes, !(1...9).contains(nodes) { throw ValidationError("--nodes takes 1 to 9") }
    if let rate, rate == 0 { throw ValidationError("--rate must be at least 1") }
    if let minutes, minutes <= 0 { throw ValidationError("--minutes must be above 0") }
    if let plantedBug, PlantedBug(rawValue: plantedBug) == nil {
      let names = PlantedBug.allCases.map(\.rawValue).joined(separator: ", ")
      throw ValidationError("there is no planted bug \"\(plantedBug)\"; there are: \(names)")
    }
  }

  func run() async throws {
    let first = seed ?? UInt64.random(in: 0...UInt64(UInt32.max))
    let options = SimulationOptions(
      nodeCount: nodes, operationsPerSecond: rate, plantedBug: plantedBug.flatMap(PlantedBug.init(rawValue:)))
    let count = seeds ?? (minutes == nil ? 20 : UInt64.max)
    if output == .text { print("first seed: \(first)") }
    var summary = SimulationSummary()
    var found: (seed: UInt64, violation: Violation)?
    let began = ContinuousClock.now
    var next = first
    LastWords.beReady()
    for _ in 0..<count {
      if let minutes, elapsed(since: began) >= minutes * 60 { break }
      LastWords.are("seed \(next) ended the process. Replay: \(replay(next))\n")
      var simulator = Simulator(seed: next, options: options)
      let report = simulator.run(reader: trace ? { print($0) } : nil)
      summary.add(report)
      if digests { print("seed \(next): \(String(report.digest, radix: 16))") }
      if let violation = report.violation {
        found = (next, violation)
        break
      }
      next &+= 1
    }
    report(summary, wallSeconds: max(0.001, elapsed(since: began)), found)
    if let found { throw failure(found) }
    guard !requireCoverage || summary.missing.isEmpty else {
      throw CommandFailure(
        Commands.ExitCode.failed,
        "\(summary.seeds) seeds never reached: \(summary.missing.joined(separator: ", ")). Run more seeds or longer.")
    }
  }

  private func elapsed(since began: ContinuousClock.Instant) -> Double {
    let duration = began.duration(to: .now)
    return Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
  }

  private func report(
    _ summary: SimulationSummary, wallSeconds: Double, _ found: (seed: UInt64, violation: Violation)?
  ) {
    if output == .json { return print(summary.json(wallSeconds: wallSeconds, violation: found)) }
    if let found, !trace { for event in found.violation.lastEvents { print(event) } }
    for line in summary.lines(wallSeconds: wallSeconds) { print(line) }
  }

  private func replay(_ seed: UInt64) -> String {
    var command = "portcullis simulate --seed \(seed) --seeds 1 --trace"
    if let nodes { command += " --nodes \(nodes)" }
    if let rate { command += " --rate \(rate)" }
    if let plantedBug { command += " --planted-bug \(plantedBug)" }
    return command
  }

  private func failure(_ found: (seed: UInt64, violation: Violation)) -> CommandFailure {
    CommandFailure(
      Commands.ExitCode.failed,
      "seed \(found.seed): \(found.violation.rule): \(found.violation.detail). Replay: \(replay(found.seed))")
  }
}

/// A core that finds its own invariants broken ends the process, before anything could be reported. What is then said is
/// prepared beforehand, for a signal handler may do next to nothing.
private enum LastWords {
  /// Written between runs by the one thread that runs them; read by a handler on that same thread.
  nonisolated(unsafe) private static var text: UnsafeMutablePointer<CChar>?

  static func are(_ line: String) {
    free(text)
    text = strdup(line)
  }

  static func beReady() {
    for trap in [SIGILL, SIGTRAP] {
      _ = signal(trap) { number in
        if let text = LastWords.text { _ = write(STDERR_FILENO, text, strlen(text)) }
        _ = signal(number, SIG_DFL)
      }
    }
  }
}
