// A user's adapter that the run starts for them.
//
// Must never leave a process behind: the command runs in a group of its own, and the whole group is ended on every way out.

import Foundation
import Glibc

package enum AdapterProcess {
  /// What stands in a command for the port at which the adapter is to listen.
  package static let placeForPort = "{port}"

  /// Starts an adapter by a shell, waits until it answers, and ends it when `body` is done.
  /// - Parameter body: gets its address.
  /// - Throws: `OutsideError` when it ends before it answers, or does not answer soon.
  package static func withAdapter<Result>(
    _ command: String, _ body: (_ address: String) async throws -> Result
  ) async throws -> Result {
    let port = Ports.free(1)[0]
    let program = try RunningProgram(
      ["-c", command.replacingOccurrences(of: placeForPort, with: "\(port)")], executable: "/bin/sh",
      isOutOfReach: true)
    let result = await Swift.Result<Result, any Error>.of {
      let address = "127.0.0.1:\(port)"
      try await waitUntilReady(program, address)
      return try await body(address)
    }
    // An end in order takes a moment, also where the task is cancelled: so it is a task of its own.
    await Task { await end(program) }.value
    if case .failure(let error as OutsideError) = result, error.isUnreachable {
      let said = AdapterClient.text(Data(program.errors.suffix(2000).utf8), atMost: 2000)
      throw OutsideError(
        isUnreachable: true, "\(error.description); its command said \(said) on standard error")
    }
    return try result.get()
  }

  private static let patience = Duration.seconds(10)

  private static func waitUntilReady(_ program: RunningProgram, _ address: String) async throws {
    let end = ContinuousClock.now + patience
    while true {
      do {
        _ = try await AdapterClient(address: address).hello(within: .seconds(1))
        return
      } catch let error as OutsideError {
        if program.hasEnded {
          throw OutsideError(
            isUnreachable: true, "the adapter's command ended before it answered GET /hello")
        }
        guard error.isUnreachable, ContinuousClock.now < end else { throw error }
      }
      // Nobody tells when a program of somebody else's begins to listen.
      try await Task.sleep(for: .milliseconds(50))
    }
  }

  /// SIGTERM for the group, and SIGKILL for whatever of it is there a little later.
  private static func end(_ program: RunningProgram) async {
    kill(-program.processID, SIGTERM)
    await Deployment.atMost(.seconds(3)) { _ = await program.exitCode() }
    kill(-program.processID, SIGKILL)
    _ = await program.exitCode()
    // What it said last; something that left the group may keep its streams open.
    await Deployment.atMost(.seconds(1)) { await program.waitForEndOfOutput() }
  }
}

extension Result where Failure == any Error {
  /// What came of it, in whatever way.
  fileprivate static func of(_ body: () async throws -> Success) async -> Self {
    do { return .success(try await body()) } catch { return .failure(error) }
  }
}
