// What etcd gets wrong about leases: each of these tests an etcd fails (docs/etcd-defects.md).

import Chaos
import Foundation
import Glibc
import NIOCore
import NIOPosix
import Protocol
import Testing
import Wire

@Suite("etcd's defects: leases", .serialized, .timeLimit(.minutes(4)))
struct DefectsLeaseTests {
  @Test(
    "a leader that was stopped does not revoke on waking what was kept alive meanwhile (etcd#12528, #15247)",
    arguments: 1...(ServerProgram.etcd == nil ? 1 : 5))
  func stalledLeader(_ round: Int) async throws {
    try await withFaultsCluster { cluster in
      let leader = try await cluster.leader()
      let follower = (leader + 1) % 3
      try await withCalls(cluster, follower) { call in
        // Longer than an election under load; what is kept alive below lives through several such times.
        let lease = try await call.lease(4)
        let made = try await call.put("kept", lease: lease)
        try await cluster.pause(leader)
        let stopped = ContinuousClock.now
        while ContinuousClock.now - stopped < .seconds(9) {
          // As a client does, who has three tries in a lease's time. Without a leader there is no answer.
          if let answer = try? await call.renew(lease, within: 1) { #expect(answer.ttl > 0, "the lease has ended") }
          try await Task.sleep(for: .milliseconds(300))
        }
        #expect(try await call.renew(lease).ttl > 0)
        cluster.resume(leader)
        // It has caught up when it answers a linearizable read: whatever it had to say as a leader is decided by then.
        try await cluster.waitUntilServing()
        for _ in 0..<10 {
          #expect(try await call.renew(lease).ttl > 0, "the lease has ended")
          try await Task.sleep(for: .milliseconds(50))
        }
        #expect(try await call.get("kept")?.modRevision == made)
      }
    }
  }

  @Test(
    "neither a change of leader nor a restart of all nodes gives leases their time again (etcd#9888, #13491, #17132)")
  func remainingTime() async throws {
    try await withFaultsCluster { cluster in
      let lease = try await withCalls(cluster, 0) { try await $0.lease(40) }
      // Other things go on, as they do in a cluster with leases: etcd's checkpoints go along with nothing else either.
      try await waitUntilLeft(cluster, lease, atMost: 22)

      let leader = try await cluster.leader()
      try await cluster.kill([leader])
      let next = try await cluster.leader()
      let afterElection = try await withCalls(cluster, next) { try await $0.timeToLive(lease).ttl }
      // What passes before there is a leader is none of the cluster clock's: one election timeout of it counts.
      #expect(afterElection <= 22, "the new leader gave the lease \(afterElection) s")
      #expect(afterElection > 5, "never early")

      try await cluster.launch(leader)
      try await cluster.waitUntilServing()
      try await cluster.kill([0, 1, 2])
      for node in 0..<3 { try await cluster.launch(node) }
      try await cluster.waitUntilServing()
      let afterRestart = try await withCalls(cluster, 0) { try await $0.timeToLive(lease).ttl }
      // The newest entry is no older than ten seconds, by which a lease may live longer.
      #expect(afterRestart <= 32, "the restart gave the lease \(afterRestart) s")
      #expect(afterRestart > 0, "never early")
    }
  }

  private func waitUntilLeft(_ cluster: FaultsCluster, _ lease: Int64, atMost seconds: Int64) async throws {
    try await withCalls(cluster, 0) { call in
      _ = try await eventually(within: 40, "the lease's time") {
        try await call.timeToLive(lease).ttl <= seconds ? true : nil
      }
    }
  }

  private func withCalls<T>(
    _ cluster: FaultsCluster, _ node: Int, _ body: (DefectsCalls) async throws -> T
  ) async throws -> T {
    try await withConnection("127.0.0.1:\(cluster.ports[node])") { try await body(DefectsCalls(connection: $0)) }
  }
}
