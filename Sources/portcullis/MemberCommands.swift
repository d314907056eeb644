// `member` and `move-leader`: who is in a cluster, changed while it serves.

import ArgumentParser
import Client
import Commands
import Foundation

struct MemberCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "member",
    abstract: "List and change the members of a core while it serves.",
    discussion: """
      Example, a dead node replaced by a new one:
        portcullis member replace c http://10.0.0.4:2380

      A change is one joint step: at no time does the cluster count on a majority that it does not have. Members are
      named by their id or their name.
      """,
    subcommands: [
      MemberList.self, MemberAdd.self, MemberPromote.self, MemberRemove.self, MemberUpdate.self, MemberReplace.self,
    ])
}

/// What every command about members takes.
struct MemberOptions: ParsableArguments {
  @Option(help: "Core nodes to talk to, with commas. Environment: PORTCULLIS_ENDPOINTS.")
  var endpoints: String?

  @Option(help: "text or json, to stdout.")
  var output = OutputFormat.text

  @OptionGroup var tls: ClientTLSFlags
  @OptionGroup var user: UserFlags

  /// Runs `body` with the cluster, turning what goes wrong into one line and an exit code.
  func withMembers<T>(_ body: (ClusterMembers) async throws -> T) async throws -> T {
    let text = endpoints ?? ConnectionOptions.environment("PORTCULLIS_ENDPOINTS") ?? "127.0.0.1:2379"
    do {
      let list = try Endpoint.list(parsing: text)
      let members = ClusterMembers(
        endpoints: list, tls: try tls.options(for: list), credentials: try user.credentials())
      defer { members.close() }
      return try await body(members)
    } catch let error as ClientError {
      let code =
        [.unavailable, .untrusted].contains(error.code) ? Commands.ExitCode.unavailable : Commands.ExitCode.failed
      throw CommandFailure(code, error.description)
    }
  }

  func show(_ members: [ClusterMembers.Member]) throws {
    switch output {
    case .json: print(try JSONOutput.pretty(members))
    case .text:
      var table = TextTable("ID", "NAME", "ROLE", "PEER URLS", "CLIENT URLS")
      for member in members {
        table.add(
          member.id, member.name.isEmpty ? "(not started)" : member.name,
          (member.isLearner ? "learner" : "voter") + (member.isLeader ? ", leads" : ""),
          member.peerURLs.joined(separator: ","), member.clientURLs.joined(separator: ","))
      }
      print(table.text)
    }
  }

  /// Told on stderr, so that stdout stays what `--output` says.
  func tell(_ text: String) { FileHandle.standardError.write(Data((text + "\n").utf8)) }
}

struct MemberList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "Show the members.",
    discussion: "Example:\n  portcullis member list --endpoints 10.0.0.1:2379 --output json")

  @OptionGroup var options: MemberOptions

  func run() async throws {
    try await options.withMembers { try options.show(try await $0.list()) }
  }
}

struct MemberAdd: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "add", abstract: "Add a member, as a learner that does not count yet.",
    discussion: """
      Example:
        portcullis member add http://10.0.0.4:2380
        portcullis core --name d --initial-cluster-state existing --listen-peer-urls http://10.0.0.4:2380 \\
          --initial-cluster a=http://10.0.0.1:2380,d=http://10.0.0.4:2380
        portcullis member promote d
      """)

  @Argument(
    help: .init(
      "Where the new member will serve its peers: http://host:port or https://host:port.", valueName: "peer-url"))
  var peerURLs: [String]

  @Flag(help: "Add it as a voter at once, without waiting until it has caught up.")
  var voter = false

  @OptionGroup var options: MemberOptions

  func run() async throws {
    try await options.withMembers { members in
      let added = try await members.add(peerURLs, isLearner: !voter)
      options.tell(
        """
        added member \(added.id). Start it with its own name and any member beside it in --initial-cluster:
          portcullis core --name NAME --initial-cluster-state existing --listen-peer-urls \(peerURLs[0]) \\
            --initial-cluster OTHER=URL,NAME=\(peerURLs[0])
        """)
      try options.show(try await members.list())
    }
  }
}

struct MemberPromote: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "promote", abstract: "Make a voter of a learner, once it has caught up.",
    discussion: "Example:\n  portcullis member promote d --wait 5m")

  @Argument(help: "The learner's id or name.")
  var member: String

  @Option(help: "How long to wait for it to catch up.")
  var wait = DurationArgument(argument: "1m")!

  @OptionGroup var options: MemberOptions

  func run() async throws {
    try await options.withMembers { members in
      try await members.promote(try await members.find(member), patience: wait.duration)
      try options.show(try await members.list())
    }
  }
}

struct MemberRemove: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "remove", abstract: "Remove a member for good, dead or alive.",
    discussion: """
      Example:
        portcullis member remove c

      A node that still runs is told and ends with exit code 3. Its id is never given again: to bring the machine back,
      delete its data directory and add it anew.
      """)

  @Argument(help: "The member's id or name.")
  var member: String

  @OptionGroup var options: MemberOptions

  func run() async throws {
    try await options.withMembers { members in
      try await members.remove(try await members.find(member))
      try options.show(try await members.list())
    }
  }
}

struct MemberUpdate: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "update", abstract: "Tell the cluster that a member is reached elsewhere now.",
    discussion: "Example:\n  portcullis member update c http://10.0.0.9:2380")

  @Argument(help: "The member's id or name.")
  var member: String

  @Argument(help: .init("Where it serves its peers from now on.", valueName: "peer-url"))
  var peerURLs: [String]

  @OptionGroup var options: MemberOptions

  func run() async throws {
    try await options.withMembers { members in
      try await members.update(try await members.find(member), peerURLs)
      try options.show(try await members.list())
    }
  }
}

struct MemberReplace: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "replace", abstract: "Put a new node in the place of a voter, dead or alive.",
    discussion: """
      Example:
        portcullis member replace c http://10.0.0.4:2380 --wait 30m

      Adds the new node as a learner, waits until it was started and has caught up, and then swaps the two in one joint
      step. Until then nothing has changed for the voters. Run again after an interruption, it goes on where it was.
      """)

  @Argument(help: "The voter that leaves: its id or name.")
  var old: String

  @Argument(help: "Where the new node serves its peers: http://host:port.")
  var peerURL: String

  @Option(help: "How long to wait for the new node to be started and to catch up.")
  var wait = DurationArgument(argument: "10m")!

  @OptionGroup var options: MemberOptions

  func run() async throws {
    try await options.withMembers { members in
      let leaving = try await members.find(old)
      let new = try await learner(members)
      options.tell(
        """
        waiting for \(new.label) to catch up. If it does not run yet:
          portcullis core --name NAME --initial-cluster-state existing --listen-peer-urls \(peerURL) \\
            --initial-cluster OTHER=URL,NAME=\(peerURL)
        """)
      try await members.replace(leaving, with: new, patience: wait.duration)
      options.tell("replaced \(leaving.label) by \(new.label)")
      try options.show(try await members.list())
    }
  }

  /// The learner that an interrupted run added, or a new one.
  private func learner(_ members: ClusterMembers) async throws -> ClusterMembers.Member {
    if let found = try await members.list().first(where: { $0.isLearner && $0.peerURLs == [peerURL] }) { return found }
    return try await members.add([peerURL], isLearner: true)
  }
}

struct MoveLeader: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "move-leader", abstract: "Hand leadership over to another voter.",
    discussion: "Example:\n  portcullis move-leader b")

  @Argument(help: "The voter that is to lead: its id or name.")
  var member: String

  @OptionGroup var options: MemberOptions

  func run() async throws {
    try await options.withMembers { members in
      let target = try await members.find(member)
      try await members.moveLeader(to: target)
      options.tell("\(target.label) leads")
      if options.output == .json { try options.show(try await members.list()) }
    }
  }
}
