// `conformance`: the scenarios of the fence, played against real processes.

import ArgumentParser
import Client
import Commands
import Conformance
import Foundation
import Reporting

struct ConformanceCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "conformance",
    abstract: "Show that nothing stale gets through: play the fencing scenarios against real processes.",
    discussion: """
      Examples:
        portcullis conformance
        portcullis conformance --scenario 1,2,13 --quick
        portcullis conformance --json > conformance.json
        portcullis conformance --html conformance.html
        portcullis conformance --scenario 31 --beside /usr/bin/etcd
        portcullis conformance --adapter-command 'python3 adapter.py --port {port}'
        portcullis conformance --core host-1:2379,host-2:2379 --gateway host-3:4001 --database trial

      Starts its own core, gateways and writers on loopback, and ends them. Each scenario is played with the fence, where it
      must pass, and once more without, where it must fail: its negative control. The exit code is 0 only if every scenario
      passed and every control failed. What the columns and the scenarios mean is in docs/conformance.md.

      With an adapter, your own locks and resource are played with as well, and stand in the report beside ours: see
      docs/conformance-adapter.md. With --core, --gateway and --database nothing is started but writers and proxies: servers
      that run already are played with, and none of them is stopped or changed.
      """)

  @Option(
    name: .customLong("scenario"), help: "Only these, by number, with commas. Default: all. See --list.")
  var numbers: ScenarioNumbers?

  @Flag(help: "List the scenarios and what each must show, and play none.")
  var list = false

  @Flag(help: "Fewer and shorter repetitions: for a look, not for a proof.")
  var quick = false

  @Flag(help: "Print JSON in the place of the table.")
  var json = false

  @Option(help: "Also write the results to this file, as JUnit's XML.")
  var junit: String?

  @Option(help: "Also write the results to this file, as one page for a browser.")
  var html: String?

  @Option(
    help:
      "Also play the lock-set workload with the locks of these etcd programs, with commas, beside ours with and without the fence."
  )
  var beside: String?

  @Option(
    help:
      "Where the processes keep their files: a new or an empty directory, which stays. Default: one that goes again.")
  var directory: String?

  @OptionGroup var adapter: AdapterFlags
  @OptionGroup var running: RunningFlags

  func validate() throws {
    guard !running.isGiven || (!adapter.isGiven && beside == nil) else {
      throw ValidationError("servers that run already are played with alone: leave --adapter and --beside out")
    }
    guard let directory, !list else { return }
    let contents = try? FileManager.default.contentsOfDirectory(atPath: directory)
    guard contents?.isEmpty ?? true else {
      throw ValidationError("--directory \(directory) is not empty; name one that is new or empty")
    }
  }

  func run() async throws {
    let scenarios: [any Scenario]
    do {
      scenarios = try numbers.map { try Catalogue.scenarios($0.numbers) } ?? Catalogue.all
    } catch {
      throw CommandFailure(Commands.ExitCode.usage, "\(error)")
    }
    if list { return print(ConformanceText.list(scenarios)) }
    let etcds = try etcdPrograms()
    let scratch = directory == nil ? try ScratchDirectory() : nil
    let startedAt = ISO8601DateFormatter().string(from: Date())
    let plays = try plays(scenarios, etcds, in: directory ?? scratch?.path ?? "")
    let played = try await Self.untilSignal { try await ConformancePlays.explaining { try await plays.run() } }
    let report = ConformanceReport(
      played.results, lockSet: played.lockSet, notPlayed: adapter.isGiven || running.isGiven ? played.notPlayed : nil)
    print(json ? try JSONOutput.pretty(report) : ConformanceText.all(played))
    if let junit { try Self.write(report.junit, to: junit, of: "--junit") }
    if let html { try Self.write(renderHTML(ConformanceText.summary(report, startedAt)), to: html, of: "--html") }
    withExtendedLifetime(scratch) {}
    guard report.passed else {
      let failed = played.results.filter { $0.verdict != .pass }.map {
        "\($0.number)" + ($0.system.map { " (\($0))" } ?? "")
      }
      throw CommandFailure(
        Commands.ExitCode.failed, "not passed: \(TerminalText.clean(failed.joined(separator: ", ")))")
    }
  }

  private func etcdPrograms() throws -> [String] {
    let etcds = beside.map { $0.split(separator: ",").map(String.init) } ?? []
    for etcd in etcds where !FileManager.default.isExecutableFile(atPath: etcd) {
      throw CommandFailure(
        Commands.ExitCode.usage, "--beside: \(etcd) is no program that can be run; name the etcd itself")
    }
    return etcds
  }

  private func plays(_ scenarios: [any Scenario], _ etcds: [String], in directory: String) throws -> ConformancePlays {
    let isPlayable = scenarios.contains { Elsewhere.notForAdapters[$0.number] == nil }
    guard !adapter.isGiven || isPlayable else {
      throw CommandFailure(
        Commands.ExitCode.usage,
        "none of these scenarios can be played with an adapter; there are:"
          + " \(Catalogue.all.map(\.number).filter { Elsewhere.notForAdapters[$0] == nil }.map(String.init).joined(separator: ", "))"
      )
    }
    let executable = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    var own = ConformanceRun(executable: executable, directory: directory, scenarios: scenarios)
    var comparison = LockSetComparison(executable: executable, directory: directory + "/beside", etcds: etcds)
    (own.isShort, comparison.isShort) = (quick, quick)
    return ConformancePlays(
      own: own, comparison: comparison, adapter: try adapter.place(), running: try running.place())
  }

  /// Ctrl-C ends every process that was started, and then this one.
  private static func untilSignal(
    _ body: @escaping @Sendable () async throws -> ConformancePlays.Played
  ) async throws -> ConformancePlays.Played {
    let signals = Signals()
    return try await withThrowingTaskGroup(of: ConformancePlays.Played?.self) { group in
      group.addTask { try await body() }
      group.addTask { await signals.first() == nil ? ConformancePlays.Played() : nil }
      defer { group.cancelAll() }
      guard let first = try await group.next(), let played = first else {
        group.cancelAll()
        while let _ = try? await group.next() {}
        throw CommandFailure(Commands.ExitCode.failed, "stopped by a signal; every process that was started has ended")
      }
      return played
    }
  }

  private static func write(_ text: String, to path: String, of flag: String) throws {
    do {
      try Data(text.utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
    } catch {
      throw CommandFailure(Commands.ExitCode.failed, "the file \(path) of \(flag) could not be written: \(error)")
    }
  }
}

/// `1,2,13`.
struct ScenarioNumbers: ExpressibleByArgument, Sendable {
  let numbers: [Int]

  init?(argument: String) {
    let parts = argument.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) }
    guard !parts.isEmpty, !parts.contains(nil) else { return nil }
    numbers = parts.compactMap { $0 }
  }
}

/// A writer of a scenario, started by it.
struct ConformanceWriterCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "conformance-writer", shouldDisplay: false)

  @Option var holder: String
  @Option var endpoints: String
  @Option var gateway: String
  @Option var etcdLocksOfWriter: Int?
  @Flag var adapter = false
  @Flag var running = false
  @OptionGroup var tls: ClientTLSFlags
  @OptionGroup var user: UserFlags

  func run() async throws {
    if adapter {
      let locks = AdapterLocks(address: endpoints, holder: holder)
      return await WriterProcess(locks: locks, resource: AdapterResource(address: gateway, owner: holder)).run()
    }
    let endpoints = try Endpoint.list(parsing: endpoints)
    // What the environment says is meant for servers that were there before, and not for the run's own.
    let access =
      running
      ? RunningSystem.Access(tls: try tls.options(isSpoken: true), credentials: try user.credentials())
      : RunningSystem.Access()
    let locks: any LockService =
      if let number = etcdLocksOfWriter {
        EtcdLocks(endpoints: endpoints, writer: number)
      } else {
        PortcullisLocks(endpoints: endpoints, holder: holder, access: access)
      }
    await WriterProcess(locks: locks, resource: GatewayResource(address: gateway, tls: access.tls)).run()
  }
}
