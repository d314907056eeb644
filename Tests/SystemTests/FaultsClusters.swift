// Clusters behind the proxy of the room Chaos, for tests.

import Chaos
import Conformance

/// Gives `body` a cluster of three that runs, in a directory of its own, and ends it.
func withFaultsCluster<Result>(
  _ flags: [String] = [], _ body: (FaultsCluster) async throws -> Result
) async throws -> Result {
  let directory = try ScratchDirectory()
  return try await Deployment.withDeployment(of: Program.path, in: directory.path) { deployment in
    let cluster = try await FaultsCluster(
      on: deployment, flags: ["--log-level", "info"] + flags, etcd: ServerProgram.etcd)
    do {
      try await cluster.start()
      let result = try await body(cluster)
      await cluster.stop()
      return result
    } catch {
      await cluster.stop()
      throw error
    }
  }
}
