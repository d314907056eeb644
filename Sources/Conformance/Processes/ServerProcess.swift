// A server as a process: started on an address that it keeps, killed, paused, and started again.

import Foundation
import Glibc
import Synchronization

/// A core node or a gateway. Any task may use it.
package final class ServerProcess: Sendable {
  /// Where its clients find it, as `host:port`. The same after every start.
  package let address: String
  private let executable: String
  private let arguments: [String]
  private let environment: [String: String]
  private let isOutOfReach: Bool
  private let running = Mutex<RunningProgram?>(nil)

  init(
    executable: String, arguments: [String], address: String, environment: [String: String] = [:],
    isOutOfReach: Bool = false
  ) {
    self.executable = executable
    self.arguments = arguments
    self.environment = environment
    self.isOutOfReach = isOutOfReach
    self.address = address
  }

  /// A server of somebody else's. It has no process here, so nothing can be done to it.
  static func elsewhere(at address: String) -> ServerProcess {
    ServerProcess(executable: "", arguments: [], address: address)
  }

  /// Nil before the first start, and after an end that was asked for.
  package var program: RunningProgram? { running.withLock { $0 } }

  /// Starts the process and does not wait: of several founders none is ready before a majority runs.
  /// - Parameter extra: flags for this start alone.
  package func launch(_ extra: [String] = []) throws {
    let program = try RunningProgram(
      arguments + extra, executable: executable, environment: environment, isOutOfReach: isOutOfReach)
    running.withLock { $0 = program }
  }

  /// Returns when it has said that it is ready.
  /// - Throws: `SilentProgram` with what it said instead.
  package func waitUntilReady() async throws { try await program?.waitForOutput("is ready") }

  package func start(_ extra: [String] = []) async throws {
    try launch(extra)
    try await waitUntilReady()
  }

  /// As a crash would have it: no chance to put anything in order. Returns when the process is gone.
  package func kill() async {
    let program = take()
    program?.send(SIGKILL)
    _ = await program?.exitCode()
  }

  /// In order. Returns the exit code.
  @discardableResult
  package func stop() async -> Int32? {
    let program = take()
    program?.send(SIGTERM)
    program?.send(SIGCONT)
    return await program?.exitCode()
  }

  package func pause() async throws { try await program?.pause() }
  package func resume() { program?.send(SIGCONT) }

  /// Without waiting for its end.
  func killAtOnce() { program?.send(SIGKILL) }

  private func take() -> RunningProgram? {
    running.withLock { program in
      defer { program = nil }
      return program
    }
  }
}

extension RunningProgram {
  /// SIGSTOP, and the wait until the system shows the process as stopped: until then it may do another instruction.
  package func pause() async throws {
    send(SIGSTOP)
    while !hasEnded, !isStopped {
      try Task.checkCancellation()
      await Task.yield()
    }
  }

  /// The state is the first field behind the name, which stands in parentheses (proc(5)).
  private var isStopped: Bool {
    guard let text = try? String(contentsOfFile: "/proc/\(processID)/stat", encoding: .utf8) else { return true }
    let rest = text[(text.lastIndex(of: ")") ?? text.startIndex)...].dropFirst(2)
    return rest.first == "T"
  }
}
