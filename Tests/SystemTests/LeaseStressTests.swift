// Leases in milliseconds, and many of them, while leaders come and go.

import Client
import Foundation
import Protocol
import Testing
import Wire

@Suite("leases under stress", .serialized, .timeLimit(.minutes(5)))
struct LeaseStressTests {
  @Test("leases of portcullis.v1 count in milliseconds, and are etcd's leases")
  func milliseconds() async throws {
    let nodes = try Nodes()
    try await nodes.found("a")
    try await withConnection(nodes.client("a")) { connection in
      var request = Portcullis_V1_GrantLeaseRequest()
      request.ttlMs = 499
      await #expect {
        _ = try await connection.unary(RPCPath.Leases.grant, request, as: Portcullis_V1_GrantLeaseResponse.self)
      } throws: {
        ($0 as? RPCStatus)?.code == .invalidArgument && ($0 as? RPCStatus)?.message.contains("at least 500") ?? false
      }
      request.ttlMs = 61_500
      request.lease = 77
      let granted = try await connection.unary(
        RPCPath.Leases.grant, request, as: Portcullis_V1_GrantLeaseResponse.self)
      #expect(granted.lease == 77 && granted.ttlMs == 61_500 && granted.evidence.clusterID != 0)
      try await connection.put("held/77", lease: 77)

      var etcd = Etcdserverpb_LeaseTimeToLiveRequest()
      etcd.id = 77
      let seconds = try await connection.unary(
        RPCPath.Lease.leaseTimeToLive, etcd, as: Etcdserverpb_LeaseTimeToLiveResponse.self)
      #expect(seconds.grantedTtl == 61 && (1...61).contains(seconds.ttl))

      var asked = Portcullis_V1_LeaseTimeRequest()
      asked.lease = 77
      asked.keys = true
      let left = try await connection.unary(
        RPCPath.Leases.timeToLive, asked, as: Portcullis_V1_LeaseTimeResponse.self)
      #expect(left.isLive && left.keys == [Data("held/77".utf8)] && left.ttlMs == 61_500)
      #expect((30_000...61_500).contains(left.timeLeftMs))

      var end = Portcullis_V1_EndLeaseRequest()
      end.lease = 77
      _ = try await connection.unary(RPCPath.Leases.revoke, end, as: Portcullis_V1_EndLeaseResponse.self)
      let gone = try await connection.unary(
        RPCPath.Leases.timeToLive, asked, as: Portcullis_V1_LeaseTimeResponse.self)
      #expect(!gone.isLive && gone.ttlMs == 0)
      await #expect {
        _ = try await connection.unary(RPCPath.Leases.revoke, end, as: Portcullis_V1_EndLeaseResponse.self)
      } throws: {
        ($0 as? RPCStatus)?.message == "etcdserver: requested lease not found"
      }
    }
    await nodes.stop()
  }

  @Test("of a thousand leases none ends early and none is left over, through three changes of leader")
  func changesOfLeader() async throws {
    let nodes = try Nodes()
    try await nodes.found("a", "b", "c")
    // Far longer than an election on a busy machine, for those that live; short for those that are let go of.
    let (kept, dropped) = (Holders(ttlMilliseconds: 30_000), Holders(ttlMilliseconds: 2500))
    try await withConnection(nodes.client("c")) { connection in
      try await EndWatcher([kept, dropped]).start(on: connection)
      try await kept.grant(700, on: connection)
      try await dropped.grant(300, on: connection)
      kept.connect(connection)
      for name in ["a", "b", "c"] {
        try kept.renew(share: 0)
        let moved = try await nodes.run("move-leader", name)
        #expect(moved.exitCode == 0, "\(moved.errors)")
      }
      await dropped.waitForEnds(300)
      try kept.renew(share: 0)
      // Ordered behind the renewals.
      try await connection.put("behind")
    }
    #expect(dropped.earliestBy == 0, "one ended \(dropped.earliestBy) ms before its time")
    // 1,000 a second are ended, and three elections may have come in between.
    #expect(dropped.latestBy < 30_000, "one ended \(dropped.latestBy) ms behind its time")
    #expect(kept.lost.isEmpty && kept.held.values.allSatisfy { $0.endedNanoseconds == nil })
    try await nodes.wait(for: "portcullis_leases", of: "a") { $0 == 700 }
    await nodes.stop()
  }
}
