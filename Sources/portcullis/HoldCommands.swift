// `acquire`, `sql` and `tour`: holding a scope and writing under it.

import ArgumentParser
import Client
import Commands
import Foundation

struct Acquire: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Hold scopes while a command runs, or until Ctrl-C.",
    discussion: """
      Examples:
        portcullis acquire orders --ttl 10s -- ./nightly-job
        portcullis acquire orders stock --wait 1m --barrier required -- ./move-stock    # both or neither
        portcullis acquire reports --shared -- ./read-reports
        portcullis acquire legacy-share --lock-delay 30s -- ./writer                    # cannot check tokens
        portcullis acquire orders                                                       # prints the token, until Ctrl-C

      The command finds the token in PORTCULLIS_TOKEN, the number in PORTCULLIS_NUMBER and the scope in PORTCULLIS_SCOPE; with
      several scopes these are the first one's, and PORTCULLIS_TOKENS has each one's token, as a JSON object.
      It is ended (SIGTERM, then SIGKILL) when the hold cannot be renewed in time. The exit code is the command's own;
      75 when the scopes could not be had or were lost. Without a command the tokens are printed, each on a line of its own in
      the order of the scopes, and the exit code is 0 when a signal ended the hold.
      """)

  @Argument(
    help: "What to hold: one scope, or several at once, all or none. A database's scope is its name by default.")
  var scopes: [String]

  @Flag(help: "Hold it together with others, for reading. A gateway lets nobody write under a share.")
  var shared = false

  @Option(
    name: .customLong("lock-delay"),
    help: "How long the scopes stay closed if this holder is lost: for what cannot check tokens. At most 10m.")
  var lockDelay: DurationArgument?

  @Option(
    help: ArgumentHelp(
      "Whether to wait until gateways refuse what is older: required, preferred, off.",
      discussion: "Default: required where a gateway is registered for the scope."))
  var barrier: BarrierArgument?

  @Option(
    name: .customLong("barrier-wait"), help: "How long to wait for the gateways. Default: 5s, or 1s if preferred.")
  var barrierWait: DurationArgument?

  @Option(help: "What the holder says of itself, such as an address; shown by `portcullis grants`.")
  var value: String?

  @Option(name: .customLong("request-id"), help: "A name for this request, which makes one of repeated ones.")
  var requestID: String?

  @OptionGroup var hold: HoldOptions

  func validate() throws {
    guard !scopes.isEmpty else { throw ValidationError("name at least one scope to hold") }
    guard Set(scopes).count == scopes.count else { throw ValidationError("a scope is named twice") }
    if let lockDelay, lockDelay.duration > .seconds(600) { throw ValidationError("--lock-delay is at most 10m") }
    if let barrierWait, barrierWait.duration <= .zero { throw ValidationError("--barrier-wait must be above zero") }
  }

  func run() async throws {
    var request = GrantRequest(scopes)
    request.mode = shared ? .shared : .exclusive
    request.lockDelay = lockDelay?.duration ?? .zero
    request.barrier = barrier?.barrier ?? .whereRegistered
    request.barrierWait = barrierWait?.duration
    request.value = Array((value ?? "").utf8)
    if let requestID { request.requestID = requestID }
    try await hold.run(request)
  }
}

enum BarrierArgument: String, ExpressibleByArgument, CaseIterable {
  case required, preferred, off

  var barrier: GrantRequest.Barrier {
    switch self {
    case .required: .required
    case .preferred: .preferred
    case .off: .off
    }
  }
}

/// What `acquire` and `elect campaign` share: whose hold it is, for how long, and what runs meanwhile.
struct HoldOptions: ParsableArguments {
  @Option(help: "How long the hold outlives this process: 10s, 500ms. It is renewed three times in that span.")
  var ttl = DurationArgument(argument: "10s")!

  @Option(help: "How long to queue when somebody else holds it; 0 tries once. Default: for as long as it takes.")
  var wait: DurationArgument?

  @Option(help: "A name by which others can tell who holds it. Default: host, process and user.")
  var holder: String?

  @Option(name: .customLong("kill-after"), help: "How long the command may take to end after SIGTERM.")
  var killAfter = DurationArgument(argument: "2s")!

  @OptionGroup var connection: ConnectionOptions

  @Argument(parsing: .postTerminator, help: "The command, after --.")
  var command: [String] = []

  func validate() throws {
    guard ttl.duration >= .milliseconds(500) else { throw ValidationError("--ttl must be at least 500ms") }
  }

  func run(_ request: GrantRequest, isElection: Bool = false) async throws {
    var holding = Holding(
      endpoints: try connection.endpointList(), gateway: try connection.gatewayEndpoint(), request: request,
      holder: holder ?? "\(ProcessInfo.processInfo.hostName)/\(getpid())/\(NSUserName())", timeToLive: ttl.duration,
      wait: wait?.duration, grace: killAfter.duration)
    holding.tls = try connection.tlsOptions()
    holding.credentials = try connection.user.credentials()
    holding.isElection = isElection
    let code = try await holding.run(command, held: Self.tell)
    if code != 0 { Foundation.exit(code) }
  }

  /// Tokens to stdout, for programs; to people on stderr what they are.
  private static func tell(_ grants: [Grant]) {
    let scopes = grants.map { "\($0.scope) (number \($0.number))" }.joined(separator: ", ")
    FileHandle.standardError.write(Data("held until Ctrl-C: \(scopes)\n".utf8))
    announce(grants.map(\.token).joined(separator: "\n"))
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
    let client = GatewayClient(endpoint: try connection.gatewayEndpoint(), tls: try connection.tlsOptions())
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
    tour.credentials = try connection.user.credentials()
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
    writer.credentials = try connection.user.credentials()
    try await writer.run()
  }
}
