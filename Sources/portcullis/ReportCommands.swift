// `report`: results of measuring, shown and compared.

import ArgumentParser
import Commands
import Foundation
import Measurement
import Reporting

struct ReportCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report",
    abstract: "Show and compare results of measuring.",
    discussion: """
      Examples:
        portcullis bench put --rate 5000 --output json > result.json
        portcullis report html result.json -o result.html
        portcullis report compare old-*.json --with new-*.json
      """,
    subcommands: [ReportCompare.self, ReportHTML.self])
}

struct ReportCompare: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compare",
    abstract: "Compare two sets of runs, and say whether the second is worse.",
    discussion: """
      Examples:
        portcullis report compare old.json new.json
        portcullis report compare old-*.json --with new-*.json
        portcullis report compare a-*.json --with b-*.json --gate p99 --min-runs 5

      Each file is one run, as `bench … --output json` writes it. The first set
      is the baseline. Medians are compared, and Mann and Whitney's test over the
      runs says whether chance explains the difference. Take five runs of each at
      least, in turn. Runs of different loads are not compared. Runs that are
      invalid, failed or cut short are named and left out.

      Exit codes: 0 no significant worsening beyond the tolerance, 1 worse,
      2 nothing could be compared (a file that cannot be read, loads that differ,
      no run left), 64 wrong arguments. More: docs/measuring-reports.md.
      """)

  @Argument(help: ArgumentHelp("Results of the baseline; or two results, the baseline's first.", valueName: "file"))
  var baseline: [String]

  @Option(
    name: .customLong("with"), parsing: .upToNextOption,
    help: ArgumentHelp("Results to compare with the baseline.", valueName: "file"))
  var candidate: [String] = []

  @Option(help: "How much worse a median may be, in percent of the baseline's.")
  var tolerance = 5.0

  @Option(help: "Figures that decide, with commas: rate, p50, p99, cpu (the generator's, an operation). Default: all.")
  var gate: FigureList?

  @Option(name: .customLong("min-runs"), help: "Compare nothing with fewer runs than this on a side.")
  var minRuns = 1

  @Flag(name: .customLong("include-invalid"), help: "Take runs that are invalid, failed or cut short, too.")
  var includeInvalid = false

  @Option(help: "text or json, to stdout.")
  var output = OutputFormat.text

  func validate() throws {
    guard !candidate.isEmpty || baseline.count == 2 else {
      throw ValidationError(
        "name the runs to compare with: report compare OLD.json NEW.json, or OLD.json … --with NEW.json …")
    }
    guard tolerance.isFinite, tolerance >= 0 else {
      throw ValidationError("--tolerance takes a percentage of 0 or more, not \(tolerance)")
    }
    guard minRuns >= 1 else { throw ValidationError("--min-runs must be at least 1") }
  }

  func run() async throws {
    var options = ComparisonOptions()
    options.tolerancePercent = tolerance
    options.includesInvalid = includeInvalid
    options.leastRuns = minRuns
    if let gate { options.gates = gate.figures }
    let sides = candidate.isEmpty ? ([baseline[0]], [baseline[1]]) : (baseline, candidate)
    let comparison: RunComparison
    do {
      comparison = try RunComparison(
        baseline: try ResultFiles.read(sides.0), candidate: try ResultFiles.read(sides.1), options: options)
    } catch let error as ComparisonError {
      throw CommandFailure(RunComparison.noComparisonExitCode, error.description)
    }
    print(output == .json ? try renderJSON(comparison) : renderText(comparison), terminator: "")
    if comparison.exitCode != 0 { Foundation.exit(comparison.exitCode) }
  }
}

/// `rate,p99`.
struct FigureList: ExpressibleByArgument, Sendable {
  let figures: Set<ComparedFigure>

  init?(argument: String) {
    let names = argument.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    let figures = names.compactMap(ComparedFigure.init(rawValue:))
    guard !names.isEmpty, figures.count == names.count else { return nil }
    self.figures = Set(figures)
  }
}

struct ReportHTML: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "html",
    abstract: "Show a result as one HTML file that loads nothing and needs no script.",
    discussion: """
      Examples:
        portcullis report html result.json -o result.html
        portcullis bench put --rate 5000 --output json | portcullis report html -
        portcullis bench put --find-limit --connections 16 --result limit.json
        portcullis report html limit.json -o limit.html

      Exit codes: 0 done, 1 the page could not be written, 2 the result could not be read.
      """)

  @Argument(help: ArgumentHelp("A result, as `bench … --output json` writes it; - is stdin.", valueName: "file"))
  var result: String

  @Option(name: [.short, .long], help: ArgumentHelp("Where to write the page. Default: stdout.", valueName: "file"))
  var output: String?

  func validate() throws {
    guard let output else { return }
    // A mistyped name must not cost the result.
    let paths = [output, result].map { URL(fileURLWithPath: $0).standardizedFileURL.resolvingSymlinksInPath().path }
    guard paths[0] != paths[1] else {
      throw ValidationError("--output \(output) is the result itself; name another file for the page")
    }
  }

  func run() async throws {
    let page =
      switch try ResultFiles.readAny(result) {
      case .run(let result): renderHTML(result)
      case .limit(let result): renderHTML(result)
      }
    guard let output else { return print(page, terminator: "") }
    do {
      try Data(page.utf8).write(to: URL(fileURLWithPath: output), options: .atomic)
    } catch {
      throw CommandFailure(
        Commands.ExitCode.failed, "the page could not be written to \(output): \(error.localizedDescription)")
    }
  }
}

/// Reading files of results, each problem as one line that names the file.
private enum ResultFiles {
  /// More than any run writes: a file beyond this is something else.
  private static let mostBytes = 256 << 20

  static func read(_ paths: [String]) throws(CommandFailure) -> [ResultFile] {
    var files: [ResultFile] = []
    for path in paths {
      files.append(ResultFile(name: path, result: try named(path) { try readJSON($0) }))
    }
    return files
  }

  static func readAny(_ path: String) throws(CommandFailure) -> AnyResult { try named(path) { try readAnyJSON($0) } }

  private static func named<Result>(
    _ path: String, _ read: (String) throws -> Result
  ) throws(CommandFailure) -> Result {
    do {
      return try read(try text(of: path))
    } catch let error as ResultFileError {
      throw CommandFailure(RunComparison.noComparisonExitCode, "\(path): \(error)")
    } catch let error as CommandFailure {
      throw error
    } catch {
      throw CommandFailure(RunComparison.noComparisonExitCode, "\(path) cannot be read: \(error.localizedDescription)")
    }
  }

  private static func text(of path: String) throws -> String {
    var isDirectory: ObjCBool = false
    if FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory), isDirectory.boolValue {
      throw ResultFileError("this is a directory; name the files of results in it")
    }
    let handle = path == "-" ? FileHandle.standardInput : try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
    let data = try handle.read(upToCount: mostBytes + 1) ?? Data()
    guard data.count <= mostBytes else {
      throw ResultFileError("this is larger than \(mostBytes >> 20) MiB, so it is no result of a bench run")
    }
    guard !data.isEmpty else {
      throw ResultFileError("this is empty; the run that should have written it may have ended before it had a result")
    }
    guard let text = String(data: data, encoding: .utf8) else {
      throw ResultFileError("this is not text in UTF-8, so it is no result of a bench run")
    }
    return text
  }
}
