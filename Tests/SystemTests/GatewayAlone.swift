// A gateway in a process of its own, in front of a cluster that runs elsewhere, and curl to talk to it.

import Foundation
import Glibc
import Testing

struct GatewayAlone {
  let program: RunningProgram
  /// `host:port`.
  let address: String

  /// - Parameter wait: whether to wait until it serves.
  static func start(
    _ endpoints: String, databases: [String: String], extra: [String] = [], waits: Bool = true,
    environment: [String: String] = [:]
  ) async throws -> GatewayAlone {
    let address = "127.0.0.1:\(Ports.free(1)[0])"
    var arguments = ["gateway", "--endpoints", endpoints, "--listen-gateway", address] + extra
    for (name, path) in databases { arguments += ["--database", "\(name)=\(path)"] }
    let program = try RunningProgram(arguments, environment: environment)
    if waits { try await program.waitForOutput("portcullis gateway is ready on") }
    return GatewayAlone(program: program, address: address)
  }

  @discardableResult
  func stop() async -> Int32 {
    program.send(SIGTERM)
    return await program.exitCode()
  }

  func curl(_ target: String, _ arguments: String...) async throws -> CurlAnswer {
    try await Curl.run(["http://\(address)\(target)"] + arguments)
  }
}

struct CurlAnswer: CustomStringConvertible {
  /// 0 where there was no answer.
  let status: Int
  let body: String
  let errors: String
  let exitCode: Int32

  /// The last part of a problem's type.
  var problem: String? {
    struct Problem: Decodable { let type: String }
    let type = (try? JSONDecoder().decode(Problem.self, from: Data(body.utf8)))?.type
    return type?.split(separator: ":").last.map(String.init)
  }

  var description: String { "\(status) \(body.prefix(2000)) \(errors)" }
}

enum Curl {
  static let isThere = FileManager.default.isExecutableFile(atPath: "/usr/bin/curl")

  static func run(_ arguments: [String]) async throws -> CurlAnswer {
    let outcome = try await Program.run(
      ["-sS", "-w", "\n%{http_code}"] + arguments, executable: "/usr/bin/curl")
    let lines = outcome.output.split(separator: "\n", omittingEmptySubsequences: false)
    return CurlAnswer(
      status: lines.last.flatMap { Int($0) } ?? 0, body: lines.dropLast().joined(separator: "\n"),
      errors: outcome.errors, exitCode: outcome.exitCode)
  }
}
