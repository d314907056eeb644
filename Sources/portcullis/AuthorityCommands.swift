// `grants`, `scopes`, `sessions` and `gateways`: who holds what, who waits, and who protects it.

import ArgumentParser
import Client
import Commands
import Foundation

struct GrantsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "grants",
    abstract: "Show who holds what, under which number.",
    discussion: """
      Examples:
        portcullis grants
        portcullis grants orders/ --output json

      A scope that is shared has a line for each that shares it. BARRIER is what gateways have confirmed.
      """)

  @Argument(help: "Only scopes that begin with it.")
  var prefix = ""

  @OptionGroup var options: LookOptions

  func run() async throws {
    try await options.withClient { client in
      var grants: [Grant] = []
      for scope in try await client.scopes(prefix: prefix, inUse: true) {
        if let holder = scope.holder { grants.append(holder) }
        if scope.sharers > 0 { grants += try await client.describe(scope.scope).sharers }
      }
      try options.show(grants.map(ListedGrant.init), text: ListedGrant.table(grants))
    }
  }
}

struct ScopesCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "scopes",
    abstract: "Show the scopes that there are, or all that is known of one.",
    discussion: """
      Examples:
        portcullis scopes
        portcullis scopes --in-use --output json
        portcullis scopes --show orders         # who holds it, who waits, for how long it is closed

      A scope that nobody holds stays in the list with the last number that it was granted under.
      """)

  @Argument(help: "Only scopes that begin with it.")
  var prefix = ""

  @Flag(name: .customLong("in-use"), help: "Only those that somebody holds or waits for.")
  var inUse = false

  @Option(help: ArgumentHelp("Show this scope alone, with its holders and its line.", valueName: "scope"))
  var show: String?

  @OptionGroup var options: LookOptions

  func validate() throws {
    if show != nil, !prefix.isEmpty || inUse { throw ValidationError("--show stands alone") }
  }

  func run() async throws {
    try await options.withClient { client in
      if let show {
        let description = try await client.describe(show)
        return try options.show(DescribedScope(show, description), text: Self.text(show, description))
      }
      let scopes = try await client.scopes(prefix: prefix, inUse: inUse)
      try options.show(scopes.map(ListedScope.init), text: ListedScope.table(scopes))
    }
  }

  private static func text(_ scope: String, _ description: ScopeDescription) -> String {
    var lines = [
      "\(TerminalText.clean(scope)): last number \(description.lastNumber), at revision \(description.revision)"
    ]
    if description.closed > .zero {
      lines.append("closed for another \(TerminalText.length(description.closed)) behind a holder that was lost")
    }
    lines.append(description.holders.isEmpty ? "nobody holds it" : ListedGrant.table(description.holders))
    for (place, holder) in description.waiting.enumerated() {
      lines.append("waiting \(place + 1): \(TerminalText.clean(holder))")
    }
    return lines.joined(separator: "\n")
  }
}

struct SessionsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sessions",
    abstract: "Show the sessions that are open, or one with all that it holds.",
    discussion: """
      Examples:
        portcullis sessions
        portcullis sessions 2f8c6e01b2a94d17 --output json
      """)

  @Argument(help: "A session, as the list has it.")
  var session: String?

  @OptionGroup var options: LookOptions

  func run() async throws {
    try await options.withClient { client in
      guard let session else {
        let sessions = try await client.sessions()
        return try options.show(sessions.map(ListedSession.init), text: ListedSession.table(sessions))
      }
      guard let id = SessionID.parse(session) else {
        throw ValidationError(
          "\"\(session)\" is no session: they are numbers in hexadecimal, as `portcullis sessions` has them")
      }
      guard let found = try await client.session(id) else {
        throw CommandFailure(Commands.ExitCode.failed, "there is no session \(session) (any more)")
      }
      var lines = [ListedSession.table([found.session])]
      lines += found.grants.isEmpty ? [] : ["", ListedGrant.table(found.grants)]
      lines += found.waitingFor.map { "waits for \(TerminalText.clean($0))" }
      try options.show(DescribedSession(found), text: lines.joined(separator: "\n"))
    }
  }
}

struct GatewaysCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "gateways",
    abstract: "Show the gateways that grants wait for, and say that one is gone for good.",
    discussion: """
      Example, a host that will not come back:
        portcullis gateways list
        portcullis gateways deregister orders@host-3 --reason "host scrapped, ticket 4711"

      A new grant is told to its holder when every gateway that protects the scope refuses what is older. One that is away
      holds grants up, since it may still take old tokens.
      """,
    subcommands: [GatewaysList.self, GatewaysDeregister.self])
}

struct GatewaysList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "Show every gateway that has registered.",
    discussion: "Example:\n  portcullis gateways list --output json")

  @OptionGroup var options: LookOptions

  func run() async throws {
    try await options.withClient { client in
      let gateways = try await client.gateways()
      try options.show(gateways.map(ListedGateway.init), text: ListedGateway.table(gateways))
    }
  }
}

struct GatewaysDeregister: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "deregister", abstract: "Say that a gateway is gone for good. It stays on record, with the reason.",
    discussion: """
      Example:
        portcullis gateways deregister orders@host-3 --reason "host scrapped, ticket 4711"

      Grants wait for it no longer. If it runs after all, it may take tokens that are stale: so make sure that it does not.
      """)

  @Argument(help: "Its name, as `gateways list` has it.")
  var gateway: String

  @Option(help: "Why it is known that it takes no more writes.")
  var reason: String

  @OptionGroup var options: LookOptions

  func run() async throws {
    try await options.withClient { client in
      guard try await client.deregister(gateway: gateway, reason: reason) else {
        throw CommandFailure(Commands.ExitCode.failed, "no gateway \(gateway) is registered")
      }
      let gateways = try await client.gateways()
      try options.show(gateways.map(ListedGateway.init), text: ListedGateway.table(gateways))
    }
  }
}
