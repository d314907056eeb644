// How a scenario of `bench` is run and reported: the target that is started for it, the runs, the signal that ends one, and
// where the results go.

import ArgumentParser
import Commands
import Conformance
import Foundation
import Measurement
import Reporting
import Workloads

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
    // Before anything is started: what is asked for, and room for what comes out.
    _ = try options(nil, nil)
    let places = try load.result.map { path in
      try (1...load.repeat).map { try ResultPlace(load.repeat == 1 ? path : BenchOutput.numbered(path, $0)) }
    }
    var isGood = true
    var isWritten = true
    for number in 0..<load.repeat {
      let report = try await measure()
      isGood = isGood && report.isGood
      isWritten = try BenchOutput.put(report, load, places?[number]) && isWritten
      if report.isCutShort { break }
    }
    if !isWritten { Foundation.exit(Commands.ExitCode.notWritten) }
    if !isGood { Foundation.exit(Commands.ExitCode.failed) }
  }

  private func measure() async throws -> BenchReport {
    guard let nodes = load.start else { return try await measure(nil, nil) }
    return try await BenchTarget.start(nodes, in: load.directory, database(in:)) { endpoints, gateway in
      try await measure(endpoints, gateway)
    }
  }

  private func options(_ endpoints: String?, _ gateway: String?) throws -> LoadOptions {
    var options = try load.options(endpoints)
    try apply(to: &options, gateway: gateway)
    if load.start != nil { options.targetDirectory = load.directory }
    do {
      try options.check()
    } catch {
      throw CommandFailure(Commands.ExitCode.usage, "\(error)")
    }
    return options
  }

  private func measure(_ endpoints: String?, _ gateway: String?) async throws -> BenchReport {
    let options = try options(endpoints, gateway)
    let line = BenchLine()
    defer { line.clear() }
    do {
      guard load.findLimit else {
        return .run(try await untilSignal { try await runLoad(options, onProgress: line.show) })
      }
      let objective = load.objective.objective
      return .limit(
        try await untilSignal { try await findLimit(options, objective: objective, onProgress: line.show) })
    } catch let error as WorkloadError {
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

/// What came out.
private enum BenchReport {
  case run(BenchResult)
  case limit(LimitResult)

  /// Whether the figures are good for anything.
  var isGood: Bool {
    switch self {
    case .run(let result): result.judgement.verdict == .valid
    case .limit(let result): result.holdsPerSecond != nil && result.stopped == nil
    }
  }

  /// Whether another run makes no sense: somebody stopped this one, or the target is gone.
  var isCutShort: Bool {
    switch self {
    case .run(let result): result.ending != .completed
    case .limit(let result): !result.isComplete
    }
  }

  var text: String {
    switch self {
    case .run(let result): renderText(result)
    case .limit(let result): renderText(result)
    }
  }

  func json() throws -> String {
    switch self {
    case .run(let result): try renderJSON(result)
    case .limit(let result): try renderJSON(result)
    }
  }
}

private enum BenchOutput {
  /// `run.json` as `run-2.json`.
  static func numbered(_ path: String, _ number: Int) -> String {
    let name = path.split(separator: "/", omittingEmptySubsequences: false).last ?? ""
    guard let dot = name.lastIndex(of: "."), dot > name.startIndex else { return "\(path)-\(number)" }
    return "\(path[..<dot])-\(number)\(path[dot...])"
  }

  /// Prints a report and puts it where it was to go. False when that failed: then the result is on stdout.
  static func put(_ report: BenchReport, _ load: LoadFlags, _ place: ResultPlace?) throws -> Bool {
    let json = try report.json()
    print(load.output == .json ? json : report.text)
    guard let place else { return true }
    do throws(ResultPlace.Failure) {
      try place.write(json)
      return true
    } catch {
      FileHandle.standardError.write(
        Data("portcullis: the result could not be written to \(error.reason). It is on stdout, as JSON.\n".utf8))
      if load.output != .json { print(json) }
      return false
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
