// A target that `bench` starts for one run: nodes of a core, and a gateway where one is needed, on a disk that was named.

import Commands
import Conformance
import Foundation

enum BenchTarget {
  /// Starts it, gives `body` its endpoints and the gateway's address, and ends it again; its files go too.
  static func start<Result: Sendable>(
    _ nodes: Int, in directory: String, _ database: (String) -> DatabaseSetup?,
    _ body: (_ endpoints: String, _ gateway: String?) async throws -> Result
  ) async throws -> Result {
    let place = "\(directory)/portcullis-bench-\(ProcessInfo.processInfo.processIdentifier)"
    do {
      try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
    } catch {
      throw CommandFailure(
        Commands.ExitCode.usage, "\(directory) takes no files: \(error.localizedDescription). Name another --directory."
      )
    }
    defer { try? FileManager.default.removeItem(atPath: place) }
    let executable = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    return try await Deployment.withDeployment(of: executable, in: place, isOutOfReach: true) { deployment in
      do {
        let core = try await deployment.startCore(nodes: nodes)
        let setup = database(place)
        let gateway = try await setup.asyncMap {
          try await deployment.startGateway([$0], endpoints: core.endpoints)
        }
        let result = try await body(core.endpoints, gateway?.address)
        // In order, so that nothing writes any more when the files go.
        _ = await gateway?.stop()
        for node in core.nodes { _ = await node.stop() }
        return result
      } catch let error as SilentProgram {
        throw CommandFailure(Commands.ExitCode.unavailable, "what was started for the run did not get ready: \(error)")
      }
    }
  }
}

extension Optional {
  fileprivate func asyncMap<Value>(_ body: (Wrapped) async throws -> Value) async rethrows -> Value? {
    guard let self else { return nil }
    return try await body(self)
  }
}
