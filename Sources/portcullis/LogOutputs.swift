// Where the log goes, as etcd's `--log-outputs` has it.

import ArgumentParser
import Foundation
import Glibc
import Logging

struct LogOutputs: ExpressibleByArgument, Sendable {
  private enum Output: Equatable {
    case standardError, standardOutput
    case file(String)
  }

  private let outputs: [Output]
  let defaultValueDescription: String

  /// A file stands alone: everything that the program says on stderr goes there, a crash's last words too.
  init?(argument: String) {
    var outputs: [Output] = []
    for name in argument.split(separator: ",") {
      let output: Output
      switch name {
      // Under systemd, what is on stderr is in the journal.
      case "default", "stderr", "systemd/journal": output = .standardError
      case "stdout": output = .standardOutput
      default: output = .file(String(name))
      }
      if !outputs.contains(output) { outputs.append(output) }
    }
    guard !outputs.isEmpty else { return nil }
    if outputs.count > 1, outputs.contains(where: { if case .file = $0 { true } else { false } }) { return nil }
    self.outputs = outputs
    defaultValueDescription = argument
  }

  /// Opens the file, if the log goes to one.
  /// - Throws: an error of the command line when it cannot be written.
  func open() throws {
    guard case .file(let path) = outputs.first else { return }
    // Appending, so that whoever rotates the file by copying and truncating it finds no hole in it.
    let descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o640)
    guard descriptor >= 0 else {
      throw ValidationError("--log-outputs: \(path) cannot be written: \(String(cString: strerror(errno)))")
    }
    defer { close(descriptor) }
    dup2(descriptor, STDERR_FILENO)
  }

  func handler(label: String) -> any LogHandler {
    let handlers = outputs.map { output -> any LogHandler in
      output == .standardOutput
        ? StreamLogHandler.standardOutput(label: label) : StreamLogHandler.standardError(label: label)
    }
    return handlers.count == 1 ? handlers[0] : MultiplexLogHandler(handlers)
  }
}
