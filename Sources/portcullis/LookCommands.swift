// `status` and `watch`: how the nodes are, and what happens to keys.

import ArgumentParser
import Client
import Commands
import Foundation

struct StatusCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status",
    abstract: "Show how each node of a core is: leader, term, revision, size, alarms.",
    discussion: """
      Examples:
        portcullis status --endpoints 10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379
        portcullis status --cluster --output json

      Each endpoint is asked by itself. Exit codes: 0 all answered and know a leader, 1 some did not, 69 none answered.
      """)

  @Flag(help: "Ask every member of the cluster, where it says that it serves clients.")
  var cluster = false

  @OptionGroup var options: LookOptions

  func run() async throws {
    let statuses = try await LookOptions.explaining {
      try await EndpointStatus.of(
        try options.endpointList(), tls: try options.tlsOptions(), credentials: try options.user.credentials(),
        wholeCluster: cluster)
    }
    try options.show(statuses, text: StatusTable.text(statuses))
    let silent = statuses.filter(\.isUnreachable)
    if silent.count == statuses.count { throw CommandFailure(Commands.ExitCode.unavailable, "no endpoint answered") }
    if !silent.isEmpty {
      throw CommandFailure(Commands.ExitCode.failed, "\(silent.count) of \(statuses.count) endpoints did not answer")
    }
    if statuses.contains(where: { $0.answer?.leaderID == "0" }) {
      throw CommandFailure(Commands.ExitCode.failed, "a node knows of no leader")
    }
  }
}

struct WatchCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "watch",
    abstract: "Show the keys that begin with a text, and every change of them, until Ctrl-C.",
    discussion: """
      Examples:
        portcullis watch config/
        portcullis watch orders/ --output json | jq -c 'select(.type == "delete")'
        portcullis watch "" --from 4711 --limit 10      # every key, changes of revision 4711 on, ten of them

      One line for each key that is there, then one that says at which revision the list is complete, then one for each
      change, in order. A node that is lost is replaced by another endpoint, and nothing is told twice or left out; where
      history was compacted meanwhile the output says so and lists anew. Values that are no text are in hexadecimal, in JSON
      in base64.
      """)

  @Argument(help: "What the keys begin with; \"\" for every key.")
  var prefix: String

  @Option(help: "Begin with the changes of this revision on, without a list.")
  var from: Int64?

  @Option(help: "End after this many changes.")
  var limit: Int?

  @OptionGroup var options: LookOptions

  func validate() throws {
    if let from, from < 1 { throw ValidationError("--from is a revision, which is 1 or higher") }
    if let limit, limit < 1 { throw ValidationError("--limit is 1 or higher") }
  }

  func run() async throws {
    var following = Following(endpoints: try options.endpointList())
    following.tls = try options.tlsOptions()
    following.credentials = try options.user.credentials()
    following.isJSON = options.output == .json
    try await following.keys(of: .prefix(prefix), from: from, limit: limit) { announce($0) }
  }
}

struct CompletionCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "completion",
    abstract: "Print a script that completes commands and flags in a shell.",
    discussion: """
      Examples:
        source <(portcullis completion bash)                                      # this shell; or in ~/.bashrc
        portcullis completion zsh > "${fpath[1]}/_portcullis"
        portcullis completion fish > ~/.config/fish/completions/portcullis.fish
      """)

  enum Shell: String, ExpressibleByArgument, CaseIterable { case bash, zsh, fish }

  @Argument(help: "bash, zsh or fish.")
  var shell: Shell

  func run() {
    let shell: CompletionShell =
      switch shell {
      case .bash: .bash
      case .zsh: .zsh
      case .fish: .fish
      }
    announce(PortcullisCommand.completionScript(for: shell))
  }
}
