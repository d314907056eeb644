// How a command ends when it could not do its work: one line on stderr and an exit code that means something.

/// Exit codes, from sysexits.h where it has one that fits.
package enum ExitCode {
  /// The command line makes no sense.
  package static let usage: Int32 = 64
  /// A server that is needed cannot be reached.
  package static let unavailable: Int32 = 69
  /// The file for a result cannot be made, which is found before there is one.
  package static let cannotCreate: Int32 = 73
  /// The result could not be written to where it was to go; it is on stdout.
  package static let notWritten: Int32 = 74
  /// The node or the gateway could not start, or had to stop.
  package static let failed: Int32 = 1
  /// Nothing was violated, and too little happened for that to say anything.
  package static let inconclusive: Int32 = 2
  /// The node was removed from its cluster: starting it again leads nowhere.
  package static let removed: Int32 = 3
  /// The scope is held by somebody else, or the hold on it was lost: another try may succeed.
  package static let notHeld: Int32 = 75
  /// The command to run could not be started, as a shell has it.
  package static let notFound: Int32 = 127
  /// The gateway refused the statement or the token.
  package static let refused: Int32 = 77
}

package struct CommandFailure: Error, Sendable, CustomStringConvertible {
  package let exitCode: Int32
  package let description: String

  package init(_ exitCode: Int32, _ description: String) {
    self.exitCode = exitCode
    self.description = description
  }
}
