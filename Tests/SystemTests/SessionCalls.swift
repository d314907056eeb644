// The calls that the tests of sessions, grants, elections and gateways make.

import Foundation
import NIOCore
import Protocol
import SwiftProtobuf
import Testing
import Wire

extension DefectsCalls {
  func open(
    _ holder: String, ttlMilliseconds: Int64 = 30_000, requestID: String = ""
  ) async throws -> Portcullis_V1_Session {
    var request = Portcullis_V1_OpenSessionRequest()
    request.holder = holder
    request.ttlMs = ttlMilliseconds
    request.requestID = requestID
    return try await call(RPCPath.Sessions.open, request, as: Portcullis_V1_OpenSessionResponse.self).session
  }

  func close(_ session: Portcullis_V1_Session) async throws {
    var request = Portcullis_V1_CloseSessionRequest()
    request.id = session.id
    _ = try await call(RPCPath.Sessions.close, request, as: Portcullis_V1_CloseSessionResponse.self)
  }

  func describe(_ session: Portcullis_V1_Session) async throws -> Portcullis_V1_DescribeSessionResponse {
    var request = Portcullis_V1_DescribeSessionRequest()
    request.id = session.id
    return try await call(RPCPath.Sessions.describe, request, as: Portcullis_V1_DescribeSessionResponse.self)
  }

  func sessions(from: Int64 = 0, limit: Int32 = 0) async throws -> Portcullis_V1_ListSessionsResponse {
    var request = Portcullis_V1_ListSessionsRequest()
    request.from = from
    request.limit = limit
    return try await call(RPCPath.Sessions.list, request, as: Portcullis_V1_ListSessionsResponse.self)
  }

  func acquire(
    _ scopes: [String], _ session: Portcullis_V1_Session, waitMilliseconds: Int64 = 0,
    path: String = RPCPath.Authority.acquire, _ change: (inout Portcullis_V1_AcquireRequest) -> Void = { _ in }
  ) async throws -> Portcullis_V1_AcquireResponse {
    var request = Portcullis_V1_AcquireRequest()
    request.scope = scopes[0]
    request.moreScopes = Array(scopes.dropFirst())
    request.lease = session.id
    request.waitMs = waitMilliseconds
    change(&request)
    return try await call(path, request, as: Portcullis_V1_AcquireResponse.self, within: 60)
  }

  func leader(_ scope: String) async throws -> Portcullis_V1_LeaderResponse {
    var request = Portcullis_V1_LeaderRequest()
    request.scope = scope
    return try await call(RPCPath.Elections.leader, request, as: Portcullis_V1_LeaderResponse.self)
  }

  func proclaim(_ scope: String, _ number: Int64, _ value: String) async throws -> Portcullis_V1_ProclaimResponse {
    var request = Portcullis_V1_ProclaimRequest()
    request.scope = scope
    request.number = number
    request.value = Data(value.utf8)
    return try await call(RPCPath.Elections.proclaim, request, as: Portcullis_V1_ProclaimResponse.self)
  }

  func gateways() async throws -> [Portcullis_V1_Gateway] {
    try await call(
      RPCPath.Gateways.list, Portcullis_V1_ListGatewaysRequest(), as: Portcullis_V1_ListGatewaysResponse.self
    ).gateways
  }

  func fencedPut(_ key: String, _ value: String, token: String) async throws {
    _ = try await connection.unary(
      RPCPath.KV.put, Self.put(key, Data(value.utf8)), as: Etcdserverpb_PutResponse.self,
      metadata: [("fence", token)], deadline: .now() + .seconds(30))
  }

  func fencedGet(_ key: String, token: String) async throws -> Mvccpb_KeyValue? {
    var request = Etcdserverpb_RangeRequest()
    request.key = Data(key.utf8)
    return try await connection.unary(
      RPCPath.KV.range, request, as: Etcdserverpb_RangeResponse.self, metadata: [("fence", token)],
      deadline: .now() + .seconds(30)
    ).kvs.first
  }
}

/// A gateway that confirms when the test says so.
struct ProtectCalls {
  let stream: DefectsStream<Portcullis_V1_ProtectResponse>

  static func register(
    _ name: String, _ scopes: [String], at calls: DefectsCalls
  ) async throws -> ProtectCalls {
    let gateway = ProtectCalls(stream: DefectsStream(RPCPath.Gateways.protect, on: calls.connection))
    var request = Portcullis_V1_ProtectRequest()
    request.register.gateway = name
    request.register.scopes = scopes
    try gateway.stream.send(request)
    let first = try #require(try await gateway.stream.next())
    #expect(first.message == .registered(Portcullis_V1_Registered()))
    return gateway
  }

  func raise() async throws -> Portcullis_V1_Raise { try #require(try await stream.next()).raise }

  func confirm(_ raise: Portcullis_V1_Raise) throws {
    var request = Portcullis_V1_ProtectRequest()
    request.confirmed.scope = raise.scope
    request.confirmed.number = raise.number
    try stream.send(request)
  }
}

/// A cluster of three, with a connection to each node.
func withThreeNodes(_ body: ([DefectsCalls]) async throws -> Void) async throws {
  let nodes = try Nodes()
  try await nodes.found("a", "b", "c")
  try await withConnection(nodes.client("a")) { first in
    try await withConnection(nodes.client("b")) { second in
      try await withConnection(nodes.client("c")) { third in
        try await body([first, second, third].map(DefectsCalls.init))
      }
    }
  }
  await nodes.stop()
}
