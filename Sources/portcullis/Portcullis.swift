// The command line: reads arguments and hands over. What the commands do is in the room `Commands`.

import ArgumentParser
import Commands
import Foundation

@main
struct PortcullisCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "portcullis",
    abstract: "Stops stale writers: a coordination core that speaks etcd v3, and a fenced gateway for SQLite.",
    discussion: """
      Start here:
        portcullis serve        one core node and one gateway, on ./portcullis-data
        portcullis tour         a stale writer, refused before your eyes

      Exit codes: 0 done, 1 failed, 2 there is too little to tell, 3 the node was removed from its cluster, 64 wrong arguments, 69 a server cannot be reached, 75 the scope is held or was lost,
      77 refused by the gateway, or a token that is not taken.

      Completion of commands and flags in a shell: portcullis completion bash|zsh|fish.
      """,
    version: "portcullis 0.1.0",
    subcommands: [
      Serve.self, Core.self, GatewayCommand.self, MemberCommand.self, MoveLeader.self, SnapshotCommand.self,
      LogCommand.self, StatusCommand.self, WatchCommand.self, Acquire.self, GrantsCommand.self, ScopesCommand.self,
      SessionsCommand.self, ElectCommand.self, GatewaysCommand.self, TokenCommand.self, SQL.self, GuardCommand.self,
      UnguardCommand.self, ReleaseDatabase.self, TourCommand.self, TourWriterCommand.self,
      ConformanceCommand.self, ConformanceWriterCommand.self, ChaosCommand.self, Bench.self, Fsync.self,
      PlanCommand.self, ReportCommand.self, Simulate.self, CompletionCommand.self,
    ])

  /// Runs a command, turning what it throws into one line and an exit code.
  static func main() async {
    do {
      var command = try parseAsRoot(arguments())
      if var command = command as? any AsyncParsableCommand {
        try await command.run()
      } else {
        try command.run()
      }
    } catch let failure as CommandFailure {
      report(failure.description)
      Foundation.exit(failure.exitCode)
    } catch  where Self.isOfTheParser(error) {
      exit(withError: error)
    } catch {
      report("\(error)")
      Foundation.exit(Commands.ExitCode.failed)
    }
  }

  /// A node of a core takes etcd's command lines and environment, and a load the settings of a file.
  private static func arguments() throws -> [String] {
    let given = Array(CommandLine.arguments.dropFirst())
    if given.first == "bench" {
      return try ["bench"] + RunArguments.expanded(Array(given.dropFirst())) { try Bench.runScenarios() }
    }
    guard given.first == "core" else { return given }
    let flags = try EtcdFlags(arguments: Array(given.dropFirst()), environment: ProcessInfo.processInfo.environment)
    for notice in flags.notices { report(notice) }
    return ["core"] + flags.arguments
  }

  private static func isOfTheParser(_ error: any Error) -> Bool {
    exitCode(for: error) != ArgumentParser.ExitCode.failure
  }

  private static func report(_ text: String) {
    FileHandle.standardError.write(Data("portcullis: \(text)\n".utf8))
  }
}
