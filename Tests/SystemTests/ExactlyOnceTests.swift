// Writes with a name: sent twice, carried out once, whichever node they are sent to.

import Foundation
import Protocol
import Testing
import Wire

@Suite("exactly once", .serialized)
struct ExactlyOnceTests {
  @Test("a write that is sent again to another node, or after a crash of all, is answered and not carried out again")
  func repeated() async throws {
    let nodes = try Nodes()
    try await nodes.found("a", "b", "c")
    let id = try await open(nodes.client("a"))
    let first = try await put("counter", client: id, sequence: 1, to: nodes.client("a"))
    let second = try await put("counter", client: id, sequence: 1, to: nodes.client("b"))
    #expect(second.header.revision >= first.header.revision)
    #expect(try await version("counter", nodes.client("c")) == 1)
    for name in ["a", "b", "c"] { await nodes.kill(name) }
    for name in ["a", "b", "c"] { try nodes.restart(name) }
    for name in ["a", "b", "c"] { try await nodes.ready(name) }
    _ = try await put("counter", client: id, sequence: 1, to: nodes.client("c"))
    #expect(try await version("counter", nodes.client("a")) == 1)
    _ = try await put("counter", client: id, sequence: 2, to: nodes.client("c"))
    #expect(try await version("counter", nodes.client("a")) == 2)
    await nodes.stop()
  }

  @Test("a lease granted twice under one name is one lease")
  func lease() async throws {
    let nodes = try Nodes()
    try await nodes.found("a")
    let id = try await open(nodes.client("a"))
    var request = Etcdserverpb_LeaseGrantRequest()
    request.ttl = 60
    let answers = try await withConnection(nodes.client("a")) { connection in
      var answers: [Etcdserverpb_LeaseGrantResponse] = []
      for _ in 0..<2 {
        answers.append(
          try await connection.unary(
            RPCPath.Lease.leaseGrant, request, as: Etcdserverpb_LeaseGrantResponse.self,
            metadata: Self.name(id, 1)))
      }
      return answers
    }
    #expect(answers[0].id == answers[1].id && answers[0].id != 0)
    await nodes.stop()
  }

  @Test("an unknown client, another request under a used number, and half a name are refused")
  func refused() async throws {
    let nodes = try Nodes()
    try await nodes.found("a")
    let endpoint = nodes.client("a")
    let id = try await open(endpoint)
    _ = try await put("key", client: id, sequence: 1, to: endpoint)
    await #expect { _ = try await put("other", client: id, sequence: 1, to: endpoint) } throws: {
      ($0 as? RPCStatus)?.code == .invalidArgument
    }
    await #expect { _ = try await put("key", client: id + 999, sequence: 1, to: endpoint) } throws: {
      ($0 as? RPCStatus)?.code == .failedPrecondition
    }
    await #expect {
      _ = try await withConnection(endpoint) { connection in
        try await connection.unary(
          RPCPath.KV.put, Self.request("key"), as: Etcdserverpb_PutResponse.self,
          metadata: [("portcullis-client", "\(id)")])
      }
    } throws: {
      ($0 as? RPCStatus)?.code == .invalidArgument
    }
    #expect(try await version("key", endpoint) == 1)
    await nodes.stop()
  }

  @Test("a refusal says that the write was not applied")
  func notApplied() async throws {
    let nodes = try Nodes()
    try await nodes.found("a", "b", "c")
    await nodes.kill("b")
    await nodes.kill("c")
    try await nodes.wait(for: "etcd_server_has_leader", of: "a") { $0 == 0 }
    await #expect {
      _ = try await withConnection(nodes.client("a")) { connection in
        try await connection.unary(RPCPath.KV.put, Self.request("key"), as: Etcdserverpb_PutResponse.self)
      }
    } throws: {
      ($0 as? RPCStatus)?.trailer("portcullis-outcome") == "not-applied"
    }
    await nodes.stop()
  }

  // MARK: Calls

  private static func name(_ client: UInt64, _ sequence: UInt64) -> [(String, String)] {
    [("portcullis-client", "\(client)"), ("portcullis-sequence", "\(sequence)")]
  }

  private static func request(_ key: String) -> Etcdserverpb_PutRequest {
    var request = Etcdserverpb_PutRequest()
    request.key = Data(key.utf8)
    request.value = Data("value".utf8)
    return request
  }

  private func open(_ endpoint: String) async throws -> UInt64 {
    var request = Portcullis_V1_OpenClientRequest()
    request.ttlMs = 600_000
    return try await withConnection(endpoint) { [request] connection in
      try await connection.unary(
        RPCPath.ExactlyOnce.openClient, request, as: Portcullis_V1_OpenClientResponse.self
      ).client
    }
  }

  private func put(
    _ key: String, client: UInt64, sequence: UInt64, to endpoint: String
  ) async throws -> Etcdserverpb_PutResponse {
    try await withConnection(endpoint) { connection in
      try await connection.unary(
        RPCPath.KV.put, Self.request(key), as: Etcdserverpb_PutResponse.self, metadata: Self.name(client, sequence))
    }
  }

  private func version(_ key: String, _ endpoint: String) async throws -> Int64? {
    var request = Etcdserverpb_RangeRequest()
    request.key = Data(key.utf8)
    return try await withConnection(endpoint) { [request] connection in
      try await connection.unary(RPCPath.KV.range, request, as: Etcdserverpb_RangeResponse.self).kvs.first?.version
    }
  }
}
