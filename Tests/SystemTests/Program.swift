// Running the real executable: where it is, how to start it, what it said and how it ended.

import Conformance
import Foundation

// What runs programs is the room Conformance's, which starts the same servers.
typealias RunningProgram = Conformance.RunningProgram
typealias ScratchDirectory = Conformance.ScratchDirectory
typealias Ports = Conformance.Ports
typealias CutProxy = Conformance.CutProxy

enum Program {
  /// The executable under test: named by the environment, or beside the test bundle.
  static let path: String = {
    if let named = ProcessInfo.processInfo.environment["PORTCULLIS_EXECUTABLE"] { return named }
    let bundle = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
    return bundle.appendingPathComponent("portcullis").path
  }()

  struct Outcome {
    let exitCode: Int32
    let output: String
    let errors: String
  }

  /// Runs a program to its end.
  static func run(
    _ arguments: [String], executable: String = path, environment: [String: String] = [:]
  ) async throws -> Outcome {
    let process = try RunningProgram(arguments, executable: executable, environment: environment)
    let code = await process.exitCode()
    await process.waitForEndOfOutput()
    return Outcome(exitCode: code, output: process.output, errors: process.errors)
  }
}

extension RunningProgram {
  /// The executable under test.
  convenience init(_ arguments: [String], environment: [String: String] = [:]) throws {
    try self.init(arguments, executable: Program.path, environment: environment)
  }
}
