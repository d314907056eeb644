// `elect`: leading, and knowing who leads.

import ArgumentParser
import Client
import Commands
import Foundation

struct ElectCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "elect",
    abstract: "Lead, while a command runs or until Ctrl-C, and see who leads.",
    discussion: """
      Examples:
        portcullis elect campaign scheduler --value 10.0.0.7:8080 -- ./scheduler
        portcullis elect leader scheduler
        portcullis elect observe scheduler --output json

      Leading is holding the scope: `grants` shows it, gateways fence by it, and its token and number are the leader's.
      """,
    subcommands: [
      ElectCampaign.self, ElectLeader.self, ElectObserve.self, ElectProclaim.self, ElectResign.self,
    ])
}

struct ElectCampaign: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "campaign", abstract: "Stand for leadership, and lead while a command runs, or until Ctrl-C.",
    discussion: """
      Example:
        portcullis elect campaign scheduler --value 10.0.0.7:8080 --ttl 5s -- ./scheduler

      Environment, signals and exit codes are those of `portcullis acquire`.
      """)

  @Argument(help: "The election.")
  var scope: String

  @Option(help: "What the leader says of itself, mostly an address.")
  var value = ""

  @OptionGroup var hold: HoldOptions

  func run() async throws {
    var request = GrantRequest(scope)
    request.value = Array(value.utf8)
    try await hold.run(request, isElection: true)
  }
}

struct ElectLeader: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "leader", abstract: "Show who leads, in one linearizable answer.",
    discussion: "Example:\n  portcullis elect leader scheduler --output json\n\nExit code 75: nobody leads.")

  @Argument(help: "The election.")
  var scope: String

  @OptionGroup var options: LookOptions

  func run() async throws {
    try await options.withClient { client in
      let leadership = try await Election(scope, on: client).leader()
      try options.show(ListedLeadership(scope, leadership), text: ListedLeadership.line(scope, leadership))
      if leadership.leader == nil { throw CommandFailure(Commands.ExitCode.notHeld, "nobody leads \(scope)") }
    }
  }
}

struct ElectObserve: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "observe", abstract: "Show who leads, and each change of it, until Ctrl-C.",
    discussion: "Example:\n  portcullis elect observe scheduler --output json")

  @Argument(help: "The election.")
  var scope: String

  @OptionGroup var options: LookOptions

  func run() async throws {
    var following = Following(endpoints: try options.endpointList())
    following.tls = try options.tlsOptions()
    following.credentials = try options.user.credentials()
    following.isJSON = options.output == .json
    try await following.leaders(of: scope) { announce($0) }
  }
}

/// The number under which something is said or given up.
struct NumberOption: ParsableArguments {
  @Option(help: "The number of the leadership. Environment: PORTCULLIS_NUMBER.")
  var number: Int64?

  func value() throws -> Int64 {
    guard let number = number ?? ConnectionOptions.environment("PORTCULLIS_NUMBER").flatMap(Int64.init), number > 0
    else {
      throw ValidationError("give the number of the leadership by --number, or run inside `portcullis elect campaign`")
    }
    return number
  }
}

struct ElectProclaim: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "proclaim", abstract: "Say something else of the leader; only the current number can.",
    discussion: """
      Example, inside `portcullis elect campaign scheduler -- sh`:
        portcullis elect proclaim scheduler 10.0.0.7:9090
      """)

  @Argument(help: "The election.")
  var scope: String

  @Argument(help: "What the leader says of itself from now on.")
  var value: String

  @OptionGroup var number: NumberOption
  @OptionGroup var options: LookOptions

  func run() async throws {
    try await options.withClient { client in
      let grant = try await Election(scope, on: client).proclaim(value, number: try number.value())
      try options.show(ListedGrant(grant), text: ListedGrant.table([grant]))
    }
  }
}

struct ElectResign: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "resign", abstract: "End a leadership; a newer one is left alone.",
    discussion: """
      Example:
        portcullis elect resign scheduler --number 4711

      A command that `elect campaign` runs is told, and ended.
      """)

  @Argument(help: "The election.")
  var scope: String

  @OptionGroup var number: NumberOption
  @OptionGroup var options: LookOptions

  func run() async throws {
    try await options.withClient { client in
      let election = Election(scope, on: client)
      try await election.resign(number: try number.value())
      let leadership = try await election.leader()
      try options.show(ListedLeadership(scope, leadership), text: ListedLeadership.line(scope, leadership))
    }
  }
}
