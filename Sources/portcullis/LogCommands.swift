// `log`: what can be done with a node's log while the node does not run.

import ArgumentParser
import Commands
import Foundation
import LogStorage

struct LogCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "log",
    abstract: "Work on a node's log while the node does not run.",
    discussion: "Example:\n  portcullis log compact-copy ./a/log ./a-small/log",
    subcommands: [LogCompactCopy.self])
}

struct LogCompactCopy: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compact-copy",
    abstract: "Copy a log without the room that it no longer uses.",
    discussion: """
      Example, giving space back to the file system:
        portcullis log compact-copy ./a/log ./a/log.small && mv ./a/log ./a/log.old && mv ./a/log.small ./a/log

      The file of a log never shrinks by itself: what is freed in it is used again. The node must not run meanwhile, and
      only one of the two logs may ever be started: delete the old one.
      """)

  @Argument(help: "The log directory: `log` in a node's data directory.")
  var from: String

  @Argument(help: "A directory that does not exist yet.")
  var to: String

  func run() throws {
    do {
      try LogStorage.copyCompacted(from: from, to: to)
    } catch {
      throw CommandFailure(Commands.ExitCode.failed, "\(error)")
    }
    print("copied \(from) to \(to)")
  }
}
