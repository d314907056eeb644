// etcd's Election service over the wire, as a client without the recipe uses it.

import Foundation
import NIOCore
import Protocol
import Testing
import Wire

@Suite("the Election service", .serialized)
struct ElectionTests {
  @Test("one leads, the next waits, and what the first says afterwards is refused")
  func succession() async throws {
    try await withCluster { call in
      let (first, second) = (try await call.lease(60), try await call.lease(60))
      let leader = try await call.campaign("house", first, "one").leader
      #expect(leader.key == Data("house/\(String(first, radix: 16))".utf8) && leader.lease == first && leader.rev > 0)
      let heard = try call.observe("house")
      #expect(try await heard.next() == "one")

      async let next = call.campaign("house", second, "two")
      _ = try await call.proclaim(leader, "one again")
      _ = try await call.proclaim(leader, "one still")
      #expect(try await heard.next() == "one again")
      #expect(try await heard.next() == "one still")
      #expect(try await call.leader("house").kv.value == Data("one still".utf8))

      try await call.resign(leader)
      let won = try await next
      #expect(won.leader.rev > leader.rev && won.number == won.leader.rev && !won.token.isEmpty)
      #expect(try await heard.next() == "two")
      await refused("election: not leader") { _ = try await call.proclaim(leader, "one is late") }
      // Without effect, and not an error, as in etcd.
      try await call.resign(leader)
      #expect(try await call.leader("house").kv.value == Data("two".utf8))
    }
  }

  @Test("whoever campaigns again keeps the place and proclaims the new value")
  func again() async throws {
    try await withCluster { call in
      let lease = try await call.lease(60)
      let first = try await call.campaign("again", lease, "a")
      let second = try await call.campaign("again", lease, "b")
      #expect(second.leader == first.leader)
      #expect(try await call.leader("again").kv.value == Data("b".utf8))
      let made = try await call.campaign("own lease", 0, "c")
      #expect(made.leader.lease > 0, "a lease of the server's making")
    }
  }

  @Test("a candidate whose lease ended while it waited does not win (etcd#19597)")
  func expired() async throws {
    try await withCluster { call in
      let (first, second) = (try await call.lease(60), try await call.lease(60))
      let leader = try await call.campaign("ended", first, "one").leader
      let waiting = Task { try await call.campaign("ended", second, "two") }
      try await call.waitForKeys("ended/", count: 2)
      try await call.revoke(second)
      await refused("election: session is expired") { _ = try await waiting.value }
      try await call.resign(leader)
      await refused("election: no leader") { _ = try await call.leader("ended") }
      await refused("etcdserver: requested lease not found") {
        _ = try await call.campaign("ended", 4711, "x")
      }
    }
  }

  @Test("a candidate that goes away gives up its place, and an election without candidates has no leader")
  func gone() async throws {
    try await withCluster { call in
      await refused("election: no leader") { _ = try await call.leader("gone") }
      await refused("\"leader\" field must be provided") { try await call.resign(nil) }
      let (first, second) = (try await call.lease(60), try await call.lease(60))
      _ = try await call.campaign("gone", first, "one")
      let waiting = Task { try await call.campaign("gone", second, "two") }
      try await call.waitForKeys("gone/", count: 2)
      waiting.cancel()
      try await call.waitForKeys("gone/", count: 1)
      // Nobody leads "later" when it is first asked about.
      let heard = try call.observe("later")
      _ = try await call.campaign("later", second, "here")
      #expect(try await heard.next() == "here")
    }
  }

  private func refused(
    _ message: String, _ code: RPCCode = .unknown, _ body: () async throws -> Void
  ) async {
    await #expect {
      try await body()
    } throws: {
      ($0 as? RPCStatus)?.message == message && ($0 as? RPCStatus)?.code == code
    }
  }

  private func withCluster(_ body: (ElectionCalls) async throws -> Void) async throws {
    let nodes = try Nodes()
    try await nodes.found("a", "b", "c")
    // Asked of a follower, most likely: any node serves.
    try await withConnection(nodes.client("c")) { try await body(ElectionCalls(connection: $0)) }
    await nodes.stop()
  }
}

/// What an observer hears, in order.
private final class Heard: ClientStreamHandler {
  private let values: AsyncThrowingStream<String, any Error>
  private let feed: AsyncThrowingStream<String, any Error>.Continuation

  init() { (values, feed) = AsyncThrowingStream.makeStream() }

  func received(_ message: ByteBuffer) {
    guard let response = try? V3electionpb_LeaderResponse(received: message) else { return }
    feed.yield(String(decoding: response.kv.value, as: UTF8.self))
  }

  func closed(_ status: RPCStatus) { feed.finish(throwing: status) }

  func next() async throws -> String? {
    var iterator = values.makeAsyncIterator()
    return try await iterator.next()
  }
}

private struct ElectionCalls: Sendable {
  let connection: WireConnection

  func lease(_ seconds: Int64) async throws -> Int64 {
    var request = Etcdserverpb_LeaseGrantRequest()
    request.ttl = seconds
    return try await connection.unary(RPCPath.Lease.leaseGrant, request, as: Etcdserverpb_LeaseGrantResponse.self).id
  }

  func revoke(_ lease: Int64) async throws {
    var request = Etcdserverpb_LeaseRevokeRequest()
    request.id = lease
    _ = try await connection.unary(RPCPath.Lease.leaseRevoke, request, as: Etcdserverpb_LeaseRevokeResponse.self)
  }

  func campaign(_ name: String, _ lease: Int64, _ value: String) async throws -> V3electionpb_CampaignResponse {
    var request = V3electionpb_CampaignRequest()
    request.name = Data(name.utf8)
    request.lease = lease
    request.value = Data(value.utf8)
    return try await connection.unary(RPCPath.Election.campaign, request, as: V3electionpb_CampaignResponse.self)
  }

  func proclaim(_ leader: V3electionpb_LeaderKey, _ value: String) async throws -> V3electionpb_ProclaimResponse {
    var request = V3electionpb_ProclaimRequest()
    request.leader = leader
    request.value = Data(value.utf8)
    return try await connection.unary(RPCPath.Election.proclaim, request, as: V3electionpb_ProclaimResponse.self)
  }

  func resign(_ leader: V3electionpb_LeaderKey?) async throws {
    var request = V3electionpb_ResignRequest()
    if let leader { request.leader = leader }
    _ = try await connection.unary(RPCPath.Election.resign, request, as: V3electionpb_ResignResponse.self)
  }

  func leader(_ name: String) async throws -> V3electionpb_LeaderResponse {
    var request = V3electionpb_LeaderRequest()
    request.name = Data(name.utf8)
    return try await connection.unary(RPCPath.Election.leader, request, as: V3electionpb_LeaderResponse.self)
  }

  func observe(_ name: String) throws -> Heard {
    var request = V3electionpb_LeaderRequest()
    request.name = Data(name.utf8)
    let heard = Heard()
    let stream = connection.openStream(RPCPath.Election.observe, handler: heard)
    try stream.send(request)
    stream.halfClose()
    return heard
  }

  /// Returns when so many keys begin with `prefix`; each look is answered by the cluster.
  func waitForKeys(_ prefix: String, count: Int64) async throws {
    var request = Etcdserverpb_RangeRequest()
    request.key = Data(prefix.utf8)
    request.rangeEnd = Data(prefix.dropLast().utf8) + Data("0".utf8)
    request.countOnly = true
    while try await connection.unary(RPCPath.KV.range, request, as: Etcdserverpb_RangeResponse.self).count != count {
      try Task.checkCancellation()
    }
  }
}
