// What the tests of backups and lists call.

import Client
import Foundation
import Glibc
import NIOCore
import Protocol
import Testing
import Wire

/// What `snapshot status --output json` says.
struct FileStatus: Decodable {
  struct Header: Decodable {
    let clusterId: String
    let incarnation: UInt64
    let revision: Int64
  }
  struct Etcd: Decodable {
    let revision: Int64
    let totalKeys: Int
  }
  struct Counts: Decodable {
    let keys: Int
    let leases: Int
    let grants: Int
  }

  let kind: String?
  let intact: Bool
  let problem: String?
  let header: Header?
  let etcd: Etcd?
  let counts: Counts?
  let hash: UInt32?
  let hashRevision: Int64?

  static func of(_ file: String) async throws -> FileStatus {
    let outcome = try await Program.run(["snapshot", "status", file, "--output", "json"])
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    let status = try decoder.decode(FileStatus.self, from: Data(outcome.output.utf8))
    #expect((outcome.exitCode == 0) == status.intact, "\(outcome.errors)")
    return status
  }
}

/// Calls to one endpoint.
struct Caller {
  let client: Portcullis

  init(_ endpoints: String) throws { client = Portcullis(endpoints: try Endpoint.list(parsing: endpoints)) }

  func put(_ key: String, _ value: Data, lease: Int64 = 0) async throws {
    var request = Etcdserverpb_PutRequest()
    (request.key, request.value, request.lease) = (Data(key.utf8), value, lease)
    _ = try await client.call(
      RPCPath.KV.put, request, as: Etcdserverpb_PutResponse.self, isRepeatable: true, timeout: .seconds(30))
  }

  /// So many values of 256 KiB, of which no two are the same.
  func fill(_ count: Int, from first: Int = 0) async throws {
    for index in first..<(first + count) {
      var value = Data(repeating: UInt8(index % 251), count: 256 << 10)
      value.replaceSubrange(0..<8, with: withUnsafeBytes(of: index) { Data($0) })
      try await put("fill/\(index)", value)
    }
  }

  func grantLease(_ id: Int64, seconds: Int64) async throws {
    var request = Etcdserverpb_LeaseGrantRequest()
    (request.id, request.ttl) = (id, seconds)
    _ = try await client.call(
      RPCPath.Lease.leaseGrant, request, as: Etcdserverpb_LeaseGrantResponse.self, isRepeatable: false)
  }

  func lease(_ id: Int64) async throws -> Etcdserverpb_LeaseTimeToLiveResponse {
    var request = Etcdserverpb_LeaseTimeToLiveRequest()
    (request.id, request.keys) = (id, true)
    return try await client.call(
      RPCPath.Lease.leaseTimeToLive, request, as: Etcdserverpb_LeaseTimeToLiveResponse.self, isRepeatable: true)
  }

  func hash(_ revision: Int64) async throws -> UInt32 {
    var request = Etcdserverpb_HashKVRequest()
    request.revision = revision
    return try await client.call(
      RPCPath.Maintenance.hashKV, request, as: Etcdserverpb_HashKVResponse.self, isRepeatable: true
    ).hash
  }

  /// Every key at a revision, as it is stored.
  func everything(at revision: Int64 = 0) async throws -> [Mvccpb_KeyValue] {
    var request = Etcdserverpb_RangeRequest()
    (request.key, request.rangeEnd, request.revision) = (Data([0]), Data([0]), revision)
    return try await client.call(
      RPCPath.KV.range, request, as: Etcdserverpb_RangeResponse.self, isRepeatable: true, timeout: .seconds(30)
    ).kvs
  }

  func close() { client.close() }
}

extension Nodes {
  /// Makes a node's data directory from a file, for a cluster of these names at the URLs that they have.
  func restore(_ file: String, _ name: String, of names: [String], _ extra: String...) async throws -> Program.Outcome {
    let cluster = names.map { "\($0)=\(peerURL($0))" }.joined(separator: ",")
    return try await Program.run(
      [
        "snapshot", "restore", file, "--name", name, "--data-dir", data(name), "--initial-cluster", cluster,
        "--initial-cluster-token", "system-test", "--initial-advertise-peer-urls", peerURL(name),
      ] + extra)
  }
}

extension FileManager {
  static func size(of path: String) -> Int {
    (try? FileManager.default.attributesOfItem(atPath: path)[.size] as? Int) ?? -1
  }
}
