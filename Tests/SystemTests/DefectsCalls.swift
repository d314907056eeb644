// The calls that the tests of etcd's defects make, with etcd's messages: any etcd can be asked as well.

import Foundation
import NIOCore
import Protocol
import SwiftProtobuf
import Synchronization
import Testing
import Wire

struct DefectsCalls: Sendable {
  let connection: WireConnection

  func call<Request: Message, Response: Message & Sendable>(
    _ path: String, _ request: Request, as type: Response.Type, within seconds: Int64 = 30
  ) async throws -> Response {
    try await connection.unary(path, request, as: type, deadline: .now() + .seconds(seconds))
  }

  // MARK: Keys

  @discardableResult
  func put(_ key: String, _ value: String = "value", lease: Int64 = 0) async throws -> Int64 {
    let request = Self.put(key, Data(value.utf8), lease: lease)
    return try await call(RPCPath.KV.put, request, as: Etcdserverpb_PutResponse.self).header.revision
  }

  static func put(_ key: String, _ value: Data, lease: Int64 = 0) -> Etcdserverpb_PutRequest {
    var request = Etcdserverpb_PutRequest()
    request.key = Data(key.utf8)
    request.value = value
    request.lease = lease
    return request
  }

  /// Sends puts one behind another without waiting for an answer, and returns when all are answered.
  /// - Parameter sent: called when all are on their way.
  func putAll(_ requests: [Etcdserverpb_PutRequest], sent: () -> Void = {}) async throws {
    let left = Mutex(requests.count)
    let (answers, feed) = AsyncThrowingStream<Void, any Error>.makeStream()
    for request in requests {
      let payload = ByteBuffer(bytes: try request.serializedBytes() as [UInt8])
      connection.unary(RPCPath.KV.put, payload) { result in
        if case .failure(let status) = result { return feed.finish(throwing: status) }
        let isLast = left.withLock { left in
          left -= 1
          return left == 0
        }
        if isLast { feed.finish() }
      }
    }
    // What was handed to the loop before has been written, and what was written has been flushed.
    for _ in 0..<2 { try await connection.eventLoop.submit {}.get() }
    sent()
    for try await _ in answers {}
  }

  @discardableResult
  func delete(_ key: String) async throws -> Int64 {
    var request = Etcdserverpb_DeleteRangeRequest()
    request.key = Data(key.utf8)
    return try await call(RPCPath.KV.deleteRange, request, as: Etcdserverpb_DeleteRangeResponse.self).header.revision
  }

  func get(_ key: Data, at revision: Int64 = 0) async throws -> Mvccpb_KeyValue? {
    var request = Etcdserverpb_RangeRequest()
    request.key = key
    request.revision = revision
    return try await call(RPCPath.KV.range, request, as: Etcdserverpb_RangeResponse.self).kvs.first
  }

  func get(_ key: String, at revision: Int64 = 0) async throws -> Mvccpb_KeyValue? {
    try await get(Data(key.utf8), at: revision)
  }

  /// The store's newest revision, read linearizably.
  func revision() async throws -> Int64 {
    var request = Etcdserverpb_RangeRequest()
    request.key = Data("no such key".utf8)
    return try await call(RPCPath.KV.range, request, as: Etcdserverpb_RangeResponse.self).header.revision
  }

  func transact(_ request: Etcdserverpb_TxnRequest) async throws -> Etcdserverpb_TxnResponse {
    try await call(RPCPath.KV.txn, request, as: Etcdserverpb_TxnResponse.self)
  }

  func compact(_ revision: Int64) async throws {
    var request = Etcdserverpb_CompactionRequest()
    request.revision = revision
    request.physical = true
    _ = try await call(RPCPath.KV.compact, request, as: Etcdserverpb_CompactionResponse.self)
  }

  /// Returns when so many keys begin with `prefix`; each look is answered by the cluster.
  func waitForKeys(_ prefix: String, count: Int64) async throws {
    var request = Etcdserverpb_RangeRequest()
    request.key = Data(prefix.utf8)
    request.rangeEnd = Self.end(of: prefix)
    request.countOnly = true
    while try await call(RPCPath.KV.range, request, as: Etcdserverpb_RangeResponse.self).count != count {
      try Task.checkCancellation()
    }
  }

  /// What is behind all keys with this prefix.
  static func end(of prefix: String) -> Data {
    var end = Data(prefix.utf8)
    end[end.endIndex - 1] += 1
    return end
  }

  // MARK: Leases

  func lease(_ seconds: Int64 = 60, milliseconds: Int64 = 0) async throws -> Int64 {
    var request = Etcdserverpb_LeaseGrantRequest()
    request.ttl = seconds
    request.ttlMs = milliseconds
    return try await call(RPCPath.Lease.leaseGrant, request, as: Etcdserverpb_LeaseGrantResponse.self).id
  }

  func revoke(_ lease: Int64) async throws {
    var request = Etcdserverpb_LeaseRevokeRequest()
    request.id = lease
    _ = try await call(RPCPath.Lease.leaseRevoke, request, as: Etcdserverpb_LeaseRevokeResponse.self)
  }

  /// A stream with one request is on the wire what a call with one request is.
  func renew(_ lease: Int64, within seconds: Int64 = 30) async throws -> Etcdserverpb_LeaseKeepAliveResponse {
    var request = Etcdserverpb_LeaseKeepAliveRequest()
    request.id = lease
    return try await call(
      RPCPath.Lease.leaseKeepAlive, request, as: Etcdserverpb_LeaseKeepAliveResponse.self, within: seconds)
  }

  func timeToLive(_ lease: Int64) async throws -> Etcdserverpb_LeaseTimeToLiveResponse {
    var request = Etcdserverpb_LeaseTimeToLiveRequest()
    request.id = lease
    return try await call(RPCPath.Lease.leaseTimeToLive, request, as: Etcdserverpb_LeaseTimeToLiveResponse.self)
  }

  // MARK: Locks and elections

  func lock(_ name: String, _ lease: Int64) async throws -> V3lockpb_LockResponse {
    var request = V3lockpb_LockRequest()
    request.name = Data(name.utf8)
    request.lease = lease
    return try await call(RPCPath.Lock.lock, request, as: V3lockpb_LockResponse.self)
  }

  @discardableResult
  func unlock(_ key: Data, number: Int64 = 0) async throws -> V3lockpb_UnlockResponse {
    var request = V3lockpb_UnlockRequest()
    request.key = key
    request.number = number
    return try await call(RPCPath.Lock.unlock, request, as: V3lockpb_UnlockResponse.self)
  }

  func campaign(_ name: String, _ lease: Int64, _ value: String) async throws -> V3electionpb_CampaignResponse {
    var request = V3electionpb_CampaignRequest()
    request.name = Data(name.utf8)
    request.lease = lease
    request.value = Data(value.utf8)
    return try await call(RPCPath.Election.campaign, request, as: V3electionpb_CampaignResponse.self)
  }

  func resign(_ leader: V3electionpb_LeaderKey) async throws {
    var request = V3electionpb_ResignRequest()
    request.leader = leader
    _ = try await call(RPCPath.Election.resign, request, as: V3electionpb_ResignResponse.self)
  }

  // MARK: Grants

  func acquire(
    _ scope: String, _ holder: String, _ lease: Int64, waitMilliseconds: Int64 = 0
  ) async throws -> Portcullis_V1_AcquireResponse {
    var request = Portcullis_V1_AcquireRequest()
    request.scope = scope
    request.holder = holder
    request.lease = lease
    request.waitMs = waitMilliseconds
    return try await call(RPCPath.Authority.acquire, request, as: Portcullis_V1_AcquireResponse.self)
  }

  func release(_ scope: String, _ number: Int64) async throws {
    var request = Portcullis_V1_ReleaseRequest()
    request.scope = scope
    request.number = number
    let answer = try await call(RPCPath.Authority.release, request, as: Portcullis_V1_ReleaseResponse.self)
    #expect(answer.outcome == .released(Portcullis_V1_Released()))
  }

  func describe(_ scope: String) async throws -> Portcullis_V1_DescribeResponse {
    var request = Portcullis_V1_DescribeRequest()
    request.scope = scope
    return try await call(RPCPath.Authority.describe, request, as: Portcullis_V1_DescribeResponse.self)
  }

  // MARK: Streams

  func watch(_ prefix: String, from revision: Int64 = 0) throws -> DefectsStream<Etcdserverpb_WatchResponse> {
    let stream = DefectsStream<Etcdserverpb_WatchResponse>(RPCPath.Watch.watch, on: connection)
    try stream.send(Self.watch(prefix, from: revision))
    return stream
  }

  static func watch(
    _ prefix: String, from revision: Int64 = 0, _ change: (inout Etcdserverpb_WatchCreateRequest) -> Void = { _ in }
  ) -> Etcdserverpb_WatchRequest {
    var create = Etcdserverpb_WatchCreateRequest()
    create.key = Data(prefix.utf8)
    create.rangeEnd = end(of: prefix)
    create.startRevision = revision
    change(&create)
    var request = Etcdserverpb_WatchRequest()
    request.createRequest = create
    return request
  }
}

/// Expects a call to be refused in these words.
func refused(_ message: String, _ code: RPCCode = .unknown, _ body: () async throws -> Void) async {
  await #expect {
    try await body()
  } throws: {
    ($0 as? RPCStatus)?.message == message && ($0 as? RPCStatus)?.code == code
  }
}

/// One stream and what came on it, in order. One task at a time may wait for the next.
final class DefectsStream<Response: Message & Sendable>: ClientStreamHandler {
  private let responses: AsyncThrowingStream<Response, any Error>
  private let feed: AsyncThrowingStream<Response, any Error>.Continuation
  private let stream = Mutex<ClientStream?>(nil)

  init(_ path: String, on connection: WireConnection) {
    (responses, feed) = AsyncThrowingStream.makeStream()
    let opened = connection.openStream(path, handler: self)
    stream.withLock { $0 = opened }
  }

  func received(_ message: ByteBuffer) {
    do {
      feed.yield(try Response(received: message))
    } catch {
      feed.finish(throwing: error)
    }
  }

  /// A stream that ends well ends.
  func closed(_ status: RPCStatus) {
    if status.code == .ok { feed.finish() } else { feed.finish(throwing: status) }
  }

  func send(_ message: some Message) throws { try stream.withLock { $0 }?.send(message) }
  func cancel() { stream.withLock { $0 }?.cancel() }

  /// Nil when the stream has ended.
  func next() async throws -> Response? {
    var iterator = responses.makeAsyncIterator()
    return try await iterator.next()
  }
}
