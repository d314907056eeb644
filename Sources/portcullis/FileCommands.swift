// `guard`, `unguard` and `release-database`: a database's file, while no gateway serves it.

import ArgumentParser
import Commands
import Foundation
import Gateway

struct GuardCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "guard", abstract: "Make a SQLite file refuse every write without a token, whoever writes.",
    discussion: """
      Examples:
        portcullis guard orders.db --endpoints 10.0.0.1:2379
        portcullis guard orders.db --jwks keys.json --scope orders --scope audit:log,entries

      Triggers on the file's tables call functions that only libportcullis_fence.so defines. A program in any language loads
      that extension and says SELECT portcullis_present(token); its writes are then checked against the floor in their own
      transactions. One that does not load it fails with "no such function". A gateway serves the file as before.

      The keys are written into the file, and only tokens that they signed are taken. Run this again after new tables, new
      nodes or new keys: it replaces keys and scopes and leaves the floors. docs/guarded-files.md says what it cannot prevent.

      Exit codes: 0 done, 1 nothing was changed, 64 wrong arguments, 69 the keys cannot be had.
      """)

  @Argument(help: "The SQLite file.")
  var file: String

  @Option(
    name: .customLong("scope"),
    help: ArgumentHelp(
      "The scope of the file, or of some of its tables as scope:table,table. May be given several times.",
      discussion: "By default the file's scope is its name without the ending."))
  var scopes: [FileScopeArgument] = []

  @Option(help: "A key set (JWKS): a file, or an http:// or https:// address. Default: asks the core nodes.")
  var jwks: String?

  @OptionGroup var options: LookOptions

  func validate() throws {
    guard scopes.count(where: \.tables.isEmpty) < 2 else {
      throw ValidationError("--scope names two scopes of the file")
    }
  }

  func run() async throws {
    let name = URL(fileURLWithPath: file).deletingPathExtension().lastPathComponent
    let report = try DatabaseFiles.guardFile(
      file, scope: scopes.first(where: \.tables.isEmpty)?.scope ?? name,
      tableScopes: scopes.filter { !$0.tables.isEmpty }.map { TableScope(scope: $0.scope, tables: $0.tables) },
      jwks: try await options.keySource(jwks).jwks())
    try options.show(report, text: report.text)
  }
}

struct UnguardCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "unguard", abstract: "Take the guard off a SQLite file.",
    discussion: """
      Example:
        portcullis unguard orders.db

      The schema is then what it was before `portcullis guard`. Floors that a gateway uses stay.
      Exit codes: 0 done, 1 nothing was changed, 64 wrong arguments.
      """)

  @Argument(help: "The SQLite file.")
  var file: String

  @Option(help: "text or json, to stdout.")
  var output = OutputFormat.text

  func run() throws {
    let report = try DatabaseFiles.unguard(file)
    announce(output == .json ? try JSONOutput.pretty(report) : report.text)
  }
}

struct ReleaseDatabase: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "release-database", abstract: "Give a SQLite file back as a plain one, with nothing of the fence.",
    discussion: """
      Example:
        portcullis release-database orders.db | tee orders.released

      Takes away the fence tables and a guard, brings the log into the file, and says which floors went. It holds the file
      alone meanwhile, and is refused while a gateway or any other program has it open. Nothing keeps a stale writer out
      afterwards: let no writer go on that still believes in its token.

      Exit codes: 0 done, 1 nothing was changed, 64 wrong arguments.
      """)

  @Argument(help: "The SQLite file.")
  var file: String

  @Option(help: "text or json, to stdout.")
  var output = OutputFormat.text

  func run() throws {
    let report = try DatabaseFiles.release(file)
    announce(output == .json ? try JSONOutput.pretty(report) : report.text)
  }
}

/// `scope` or `scope:table,table`.
struct FileScopeArgument: ExpressibleByArgument, Sendable {
  let scope: String
  let tables: [String]

  init?(argument: String) {
    let halves = argument.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    guard let scope = halves.first, !scope.isEmpty else { return nil }
    self.scope = String(scope)
    tables = halves.count < 2 ? [] : halves[1].split(separator: ",").map(String.init)
    if halves.count == 2 && tables.isEmpty { return nil }
  }
}
