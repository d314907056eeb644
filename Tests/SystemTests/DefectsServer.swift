// Which server a test starts. Tests of what etcd gets wrong are run by hand against an etcd as well, to see them fail there:
//
//   PORTCULLIS_TESTS_ON_ETCD=/path/to/etcd swift test -c release --skip-build --no-parallel --filter Defects
//
// What they saw is in docs/etcd-defects.md.

import Foundation

enum ServerProgram {
  /// The etcd that takes our place, if any.
  static let etcd = ProcessInfo.processInfo.environment["PORTCULLIS_TESTS_ON_ETCD"]

  /// Starts a member with the flags of `portcullis core`, which are etcd's but for the first word.
  static func start(_ arguments: [String], environment: [String: String] = [:]) throws -> RunningProgram {
    guard let etcd else { return try RunningProgram(arguments, environment: environment) }
    var flags = Array(arguments.dropFirst())
    // etcd wants to be told what this program takes from where it listens.
    for (told, like) in [
      ("--advertise-client-urls", "--listen-client-urls"), ("--initial-advertise-peer-urls", "--listen-peer-urls"),
    ] where !flags.contains(told) {
      if let place = flags.firstIndex(of: like) { flags += [told, flags[place + 1]] }
    }
    return try RunningProgram(flags, executable: etcd)
  }

  static func ready(_ program: RunningProgram?) async throws {
    if etcd == nil {
      try await program?.waitForOutput("is ready")
    } else {
      try await program?.waitForErrors("ready to serve client requests")
    }
  }
}
