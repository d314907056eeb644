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

      Starts its own core, gateways and writers on loopback, and ends them. Each scenario is played with the fence, where it
      must pass, and once more without, where it must fail: its negative control. The exit code is 0 only if every scenario
      passed and every control failed. What the columns and the scenarios mean is in docs/conformance.md.
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

  func validate() throws {
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
    if list { return Self.printList(scenarios) }
    let etcds = try etcdPrograms()
    let scratch = directory == nil ? try ScratchDirectory() : nil
    let startedAt = ISO8601DateFormatter().string(from: Date())
    let (results, rows) = try await Self.untilSignal(run(scenarios, etcds, in: directory ?? scratch?.path ?? ""))
    let report = ConformanceReport(results, lockSet: rows)
    print(json ? try JSONOutput.pretty(report) : Self.table(results) + Self.lockSetTable(rows))
    if let junit { try Self.write(report.junit, to: junit, of: "--junit") }
    if let html { try Self.write(renderHTML(Self.summary(report, startedAt)), to: html, of: "--html") }
    withExtendedLifetime(scratch) {}
    guard report.passed else {
      let failed = results.filter { $0.verdict != .pass }.map { "\($0.number)" }.joined(separator: ", ")
      throw CommandFailure(Commands.ExitCode.failed, "not passed: \(failed)")
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

  private typealias Played = ([ScenarioResult], [LockSetComparison.Row])

  private func run(
    _ scenarios: [any Scenario], _ etcds: [String], in directory: String
  ) throws -> @Sendable () async throws -> Played {
    let executable = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    var run = ConformanceRun(executable: executable, directory: directory, scenarios: scenarios)
    var comparison = LockSetComparison(executable: executable, directory: directory + "/beside", etcds: etcds)
    (run.isShort, comparison.isShort) = (quick, quick)
    return { [run, comparison] in
      let results = try await run.run { result in
        Self.tell("scenario \(result.number): \(result.verdict.rawValue), \(Self.seconds(result))")
      }
      guard !etcds.isEmpty else { return (results, []) }
      let rows = try await comparison.run { Self.tell("lock-set, \($0.system): \($0.lost) of \($0.acknowledged) lost") }
      return (results, rows)
    }
  }

  /// Ctrl-C ends every process that was started, and then this one.
  private static func untilSignal(_ body: @escaping @Sendable () async throws -> Played) async throws -> Played {
    let signals = Signals()
    return try await withThrowingTaskGroup(of: Played?.self) { group in
      group.addTask { try await body() }
      group.addTask { await signals.first() == nil ? ([], []) : nil }
      defer { group.cancelAll() }
      guard let first = try await group.next(), let results = first else {
        group.cancelAll()
        while let _ = try? await group.next() {}
        throw CommandFailure(Commands.ExitCode.failed, "stopped by a signal; every process that was started has ended")
      }
      return results
    }
  }

  private static func printList(_ scenarios: [any Scenario]) {
    var table = TextTable("SCENARIO", "WHAT HAPPENS", "WHAT MUST BE SEEN")
    for scenario in scenarios { table.add("\(scenario.number)", scenario.title, scenario.expectation) }
    print(table.text)
  }

  private static func table(_ results: [ScenarioResult]) -> String {
    var table = TextTable("SCENARIO", "WHAT HAPPENS", "STALE", "REFUSED", "LOST", "CONTROL", "VERDICT")
    for result in results {
      let tally = result.fenced.tally
      table.add(
        "\(result.number)", result.title, "\(tally.staleAttempts)", "\(tally.refusals)", "\(tally.lostUpdates)",
        control(result), result.verdict.rawValue)
    }
    var lines = [table.text]
    for result in results where result.verdict != .pass {
      lines += result.fenced.tally.failures.map { "scenario \(result.number): \($0)" }
      if result.fenced.verdict == .inconclusive {
        lines += result.fenced.tally.notes.map { "scenario \(result.number): \($0)" }
      }
      if result.fenced.verdict == .pass {
        lines.append("scenario \(result.number): its negative control did not fail, so it shows nothing")
      }
      lines += (result.control.map { $0.isBroken ? $0.tally.failures : [] } ?? []).map {
        "scenario \(result.number), control: \($0)"
      }
    }
    let passed = results.count { $0.verdict == .pass }
    lines.append("\(passed) of \(results.count) scenarios passed, each with its negative control where it has one.")
    return lines.joined(separator: "\n")
  }

  private static func lockSetTable(_ rows: [LockSetComparison.Row]) -> String {
    guard !rows.isEmpty else { return "" }
    var table = TextTable("LOCK-SET WORKLOAD", "ACKNOWLEDGED", "LOST", "SHARE", "REFUSED", "PAUSES")
    for row in rows {
      table.add(
        row.system, "\(row.acknowledged)", "\(row.lost)", String(format: "%.1f %%", row.lostPercent), "\(row.refused)",
        "\(row.pauses)")
    }
    return "\n\n" + table.text
  }

  /// What the negative control let through.
  private static func control(_ result: ScenarioResult) -> String {
    guard let control = result.control else { return "" }
    let tally = control.tally
    return "\(control.verdict.rawValue): \(tally.landed) landed, \(tally.lostUpdates) lost"
  }

  private static func seconds(_ result: ScenarioResult) -> String {
    String(format: "%.1f s", result.fenced.seconds + (result.control?.seconds ?? 0))
  }

  private static func tell(_ line: String) { FileHandle.standardError.write(Data("\(line)\n".utf8)) }

  private static func summary(_ report: ConformanceReport, _ startedAt: String) -> ConformanceSummary {
    ConformanceSummary(
      startedAt: startedAt,
      lockSet: report.lockSet.map {
        ConformanceSummary.LockSet(
          system: $0.system, acknowledged: $0.acknowledged, lost: $0.lost, lostPercent: $0.lostPercent,
          refused: $0.refused, pauses: $0.pauses)
      },
      rows: report.scenarios.map { entry in
        let control = entry.control.map {
          "\($0.staleAttempts) stale attempts, \($0.landed) landed, \($0.lostUpdates) updates lost: \($0.verdict.rawValue)"
        }
        return ConformanceSummary.Row(
          number: entry.number, title: entry.title, expectation: entry.expectation, verdict: entry.verdict.rawValue,
          staleAttempts: entry.fenced.staleAttempts, refusals: entry.fenced.refusals,
          lostUpdates: entry.fenced.lostUpdates, control: control ?? "not played: \(entry.noControl ?? "")",
          seconds: entry.fenced.seconds + (entry.control?.seconds ?? 0),
          remarks: entry.fenced.failures + entry.fenced.notes + (entry.control?.notes ?? []).map { "without it: \($0)" }
        )
      })
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

  func run() async throws {
    let endpoints = try Endpoint.list(parsing: endpoints)
    let locks: any LockService =
      if let number = etcdLocksOfWriter {
        EtcdLocks(endpoints: endpoints, writer: number)
      } else {
        PortcullisLocks(endpoints: endpoints, holder: holder)
      }
    await WriterProcess(locks: locks, resource: GatewayResource(address: gateway)).run()
  }
}
