// What one `conformance` plays, one after another: with the user's own system where there is one, with ours, and the
// comparison of locks. Progress goes to standard error.

import ArgumentParser
import Client
import Commands
import Conformance
import Foundation

struct ConformancePlays: Sendable {
  struct Played: Sendable {
    var results: [ScenarioResult] = []
    var lockSet: [LockSetComparison.Row] = []
    var notPlayed: [ConformanceReport.NotPlayed] = []
    /// Of what was not played.
    var heading = ""
  }

  var own: ConformanceRun
  var comparison: LockSetComparison
  /// Nil where there is none.
  var adapter: AdapterPlace?
  /// Nil where core and gateway are the run's own.
  var running: RunningPlace?

  func run() async throws -> Played {
    var played = try await scenarios()
    if !comparison.etcds.isEmpty {
      played.lockSet = try await comparison.run {
        Self.tell("lock-set, \($0.system): \($0.lost) of \($0.acknowledged) lost")
      }
    }
    return played
  }

  private func scenarios() async throws -> Played {
    if let running { return try await play(with: running) }
    switch adapter {
    case nil: return Played(results: try await Self.play(own))
    case .at(let address): return try await play(at: address)
    case .command(let command):
      return try await AdapterProcess.withAdapter(command) { address in try await play(at: address) }
    }
  }

  /// The scenarios that fit an adapter, with it and then with ours.
  private func play(at address: String) async throws -> Played {
    var theirs = own
    let system = try await AdapterSystem.rehearse(at: address, lock: "portcullis-\(own.id)-rehearsal")
    Self.tell("the adapter at \(address), \(TerminalText.clean(system.name)), answers as the contract has it")
    let outside = Outside.adapter(system)
    theirs.outside = outside
    theirs.directory += "/adapter"
    theirs.scenarios = own.scenarios.filter { outside.excuse(for: $0) == nil }
    var ours = own
    (ours.scenarios, ours.systemName) = (theirs.scenarios, "Portcullis")
    let (first, second) = (try await Self.play(theirs), try await Self.play(ours))
    let notPlayed = own.scenarios.compactMap { scenario in
      outside.excuse(for: scenario).map { ConformanceReport.NotPlayed(scenario, why: $0) }
    }
    return Played(
      results: zip(first, second).flatMap { [$0, $1] }, notPlayed: notPlayed, heading: "NOT FOR AN ADAPTER")
  }

  /// The scenarios that leave servers as they are, with servers that run already.
  private func play(with place: RunningPlace) async throws -> Played {
    let system = try await RunningSystem.find(
      core: place.core, gateway: place.gateway, database: place.database, openDatabase: place.openDatabase,
      access: place.access)
    Self.tell(
      "\(place.core.map(\.description).joined(separator: ",")) and \(place.gateway) are there and belong together")
    let outside = Outside.running(system)
    var run = own
    run.outside = outside
    run.scenarios = own.scenarios.filter { outside.excuse(for: $0) == nil }
    let notPlayed = own.scenarios.compactMap { scenario in
      outside.excuse(for: scenario).map { ConformanceReport.NotPlayed(scenario, why: $0) }
    }
    guard !run.scenarios.isEmpty else {
      let reasons = notPlayed.map { "\($0.number) \($0.why)" }.joined(separator: "; ")
      throw CommandFailure(Commands.ExitCode.usage, "none of these scenarios can be played there: \(reasons)")
    }
    return Played(results: try await Self.play(run), notPlayed: notPlayed, heading: "NOT PLAYED")
  }

  private static func play(_ run: ConformanceRun) async throws -> [ScenarioResult] {
    try await run.run { result in
      let system = result.system.map { " (\(TerminalText.clean($0)))" } ?? ""
      tell("scenario \(result.number)\(system): \(result.verdict.rawValue), \(ConformanceText.seconds(result))")
    }
  }

  /// Turns what is wrong with somebody else's system into one line and an exit code.
  static func explaining<T>(_ body: () async throws -> T) async throws -> T {
    do {
      return try await LookOptions.explaining(body)
    } catch let error as OutsideError {
      let otherwise = error.isHeld ? Commands.ExitCode.notHeld : Commands.ExitCode.failed
      throw CommandFailure(error.isUnreachable ? Commands.ExitCode.unavailable : otherwise, error.description)
    }
  }

  private static func tell(_ line: String) { FileHandle.standardError.write(Data("\(line)\n".utf8)) }
}

/// Where an adapter is.
enum AdapterPlace: Sendable {
  /// `host:port`.
  case at(String)
  /// Started by a shell.
  case command(String)
}

struct AdapterFlags: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Also play with your own locks and resource, behind this adapter: docs/conformance-adapter.md.",
      valueName: "http://host:port"))
  var adapter: String?

  @Option(
    name: .customLong("adapter-command"),
    help: "The same with an adapter that a shell starts by this command, with {port} where its port belongs.")
  var command: String?

  var isGiven: Bool { adapter != nil || command != nil }

  func validate() throws { _ = try place() }

  func place() throws -> AdapterPlace? {
    guard adapter == nil || command == nil else {
      throw ValidationError("--adapter and --adapter-command are one adapter: give one of them")
    }
    if let command {
      guard command.contains(AdapterProcess.placeForPort) else {
        throw ValidationError("--adapter-command has no {port}, so the adapter would not know where to listen")
      }
      return .command(command)
    }
    guard let adapter else { return nil }
    do {
      let endpoint = try Endpoint(parsing: adapter, defaultPort: 80)
      guard !endpoint.usesTLS else {
        throw ValidationError("--adapter is spoken to in plain text: write http://host:port")
      }
      return .at(endpoint.description)
    } catch let error as ClientError {
      throw ValidationError("--adapter: \(error.description)")
    }
  }
}
