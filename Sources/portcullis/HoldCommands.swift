// `acquire`, `sql` and `tour`: holding a scope and writing under it.

import ArgumentParser
import Client
import Commands
import Foundation

struct Acquire: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run a command while a scope is held.",
    discussion: """
      Example:
        portcullis acquire orders --ttl 10s -- ./nightly-job

      The command finds the token in PORTCULLIS_TOKEN, the number in PORTCULLIS_NUMBER and the scope in PORTCULLIS_SCOPE.
      It is ended (SIGTERM, then SIGKILL) when the hold cannot be renewed in time. The exit code is the command's own;
      75 when the scope could not be had or was lost.
      """)

  @Argument(help: "What to hold. A database's scope is its name unless declared otherwise.")
  var scope: String

  @Option(help: "How long the hold outlives this process: 10s, 2m. It is renewed three times in that span.")
  var ttl = DurationArgument(argument: "10s")!

  @Option(help: "How long to queue when somebody else holds it; 0 tries once. Default: for as long as it takes.")
  var wait: DurationArgument?

  @Option(help: "A name by which others can tell who holds the scope. Default: host, process and user.")
  var holder: String?

  @Option(name: .customLong("kill-after"), help: "How long the command may take to end after SIGTERM.")
  var killAfter = DurationArgument(argument: "2s")!

  @OptionGroup var connection: ConnectionOptions

  @Argument(parsing: .postTerminator, help: "The command, after --.")
  var command: [String] = []

  func validate() throws {
    guard !command.isEmpty else {
      throw ValidationError("give the command to run after --, as in: acquire \(scope) -- make")
    }
    guard ttl.duration >= .seconds(1) else { throw ValidationError("--ttl must be at least 1s") }
  }

  func run() async throws {
    var holding = Holding(
      endpoints: try connection.endpointList(), gateway: try connection.gatewayEndpoint(), scope: scope,
      holder: holder ?? "\(ProcessInfo.processInfo.hostName)/\(getpid())/\(NSUserName())", timeToLive: ttl.duration,
      wait: wait?.duration, grace: killAfter.duration)
    holding.tls = try connection.tlsOptions()
    let code = try await holding.run(command)
    if code != 0 { Foundation.exit(code) }
  }
}

struct SQL: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sql",
    abstract: "Write or read a database through the gateway.",
    discussion: """
      Example, inside `portcullis acquire orders -- sh`:
        portcullis sql orders "UPDATE stock SET n = n - 1 WHERE id = 7"

      The token comes from PORTCULLIS_TOKEN, or from --token. Statements run in one transaction. Those that begin with
      SELECT, VALUES or EXPLAIN are read without one unless a token is there; --write and --read decide otherwise. The
      gateway's JSON goes to stdout. Exit code 77: refused.
      """)

  @Argument(help: "The database.")
  var database: String

  @Argument(help: "SQL statements.")
  var statements: [String]

  @Option(help: "The token to present. Environment: PORTCULLIS_TOKEN.")
  var token: String?

  @Flag(help: "Run as statements that may write.")
  var write = false

  @Flag(help: "Run as statements that only read.")
  var read = false

  @OptionGroup var connection: ConnectionOptions

  func validate() throws {
    guard !statements.isEmpty else { throw ValidationError("give at least one SQL statement") }
    guard !(write && read) else { throw ValidationError("--write and --read exclude each other") }
  }

  func run() async throws {
    let client = GatewayClient(endpoint: try connection.gatewayEndpoint())
    let operation: GatewayClient.Operation = write ? .execute : read || looksReadOnly ? .query : .execute
    let answer: GatewayAnswer
    do {
      answer = try await client.run(
        operation, statements, on: database, token: token ?? ConnectionOptions.environment("PORTCULLIS_TOKEN"))
    } catch {
      throw CommandFailure(Commands.ExitCode.unavailable, "\(error)")
    }
    print(answer.body)
    guard answer.isAccepted else {
      throw CommandFailure(Commands.ExitCode.refused, "the gateway refused with HTTP \(answer.status)")
    }
    if answer.hasStatementError {
      throw CommandFailure(Commands.ExitCode.failed, "a statement failed; nothing was changed")
    }
  }

  private var looksReadOnly: Bool {
    statements.allSatisfy { statement in
      let first = statement.drop { $0.isWhitespace || $0 == "(" }.prefix { $0.isLetter }.uppercased()
      return ["SELECT", "VALUES", "EXPLAIN"].contains(first)
    }
  }
}

struct TourCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tour",
    abstract: "Play the story of a stale writer against a running server, with real processes.",
    discussion: """
      Example, while `portcullis serve` runs:
        portcullis tour

      Exits with 0 only if the stale write was refused and the data is the new holder's.
      """)

  @Option(help: "The scope and database to play on.")
  var scope = "demo"

  @Option(help: "The time to live of the writers' leases, and so roughly how long the tour takes.")
  var ttl = DurationArgument(argument: "2s")!

  @OptionGroup var connection: ConnectionOptions

  func run() async throws {
    var tour = Tour(
      endpoints: try connection.endpointList(), gateway: try connection.gatewayEndpoint(), scope: scope,
      timeToLive: ttl.duration, executable: try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
    tour.tls = try connection.tlsOptions()
    try await tour.run { print($0) }
  }
}

/// A writer of the tour, started by it.
struct TourWriterCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "tour-writer", shouldDisplay: false)

  @Option var scope: String
  @Option var holder: String
  @Option var ttl: DurationArgument
  @OptionGroup var connection: ConnectionOptions

  func run() async throws {
    var writer = TourWriterProcess(
      endpoints: try connection.endpointList(), gateway: try connection.gatewayEndpoint(), scope: scope,
      holder: holder, timeToLive: ttl.duration)
    writer.tls = try connection.tlsOptions()
    try await writer.run()
  }
}
