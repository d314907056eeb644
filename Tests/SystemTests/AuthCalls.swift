// Calls of users: with a token, or without one, and what they are refused with.

import Foundation
import NIOCore
import Protocol
import SwiftProtobuf
import Synchronization
import Testing
import Wire

/// A user at one node. Each call has a connection of its own.
struct AuthCalls {
  let endpoint: String
  var token: String?

  private var metadata: [(String, String)] { token.map { [("token", $0)] } ?? [] }

  func call<Request: SwiftProtobuf.Message & Sendable, Response: SwiftProtobuf.Message & Sendable>(
    _ path: String, _ request: Request, as: Response.Type
  ) async throws -> Response {
    try await withConnection(endpoint) { connection in
      try await connection.unary(path, request, as: Response.self, metadata: metadata)
    }
  }

  /// With the token that a user gets for its password.
  func logIn(_ user: String, _ password: String) async throws -> AuthCalls {
    var request = Etcdserverpb_AuthenticateRequest()
    request.name = user
    request.password = password
    let response = try await call(RPCPath.Auth.authenticate, request, as: Etcdserverpb_AuthenticateResponse.self)
    return AuthCalls(endpoint: endpoint, token: response.token)
  }

  func at(_ endpoint: String) -> AuthCalls { AuthCalls(endpoint: endpoint, token: token) }

  @discardableResult
  func put(_ key: String, _ value: String = "x", lease: Int64 = 0) async throws -> Etcdserverpb_PutResponse {
    var request = Etcdserverpb_PutRequest()
    request.key = Data(key.utf8)
    request.value = Data(value.utf8)
    request.lease = lease
    return try await call(RPCPath.KV.put, request, as: Etcdserverpb_PutResponse.self)
  }

  @discardableResult
  func get(_ key: String, end: String = "", serializable: Bool = false) async throws -> Etcdserverpb_RangeResponse {
    var request = Etcdserverpb_RangeRequest()
    request.key = Data(key.utf8)
    request.rangeEnd = Data(end.utf8)
    request.serializable = serializable
    return try await call(RPCPath.KV.range, request, as: Etcdserverpb_RangeResponse.self)
  }

  func addUser(_ name: String, _ password: String?) async throws {
    var request = Etcdserverpb_AuthUserAddRequest()
    request.name = name
    request.password = password ?? ""
    request.options.noPassword = password == nil
    _ = try await call(RPCPath.Auth.userAdd, request, as: Etcdserverpb_AuthUserAddResponse.self)
  }

  func grantRole(_ role: String, to user: String) async throws {
    var request = Etcdserverpb_AuthUserGrantRoleRequest()
    request.user = user
    request.role = role
    _ = try await call(RPCPath.Auth.userGrantRole, request, as: Etcdserverpb_AuthUserGrantRoleResponse.self)
  }

  func addRole(_ name: String) async throws {
    var request = Etcdserverpb_AuthRoleAddRequest()
    request.name = name
    _ = try await call(RPCPath.Auth.roleAdd, request, as: Etcdserverpb_AuthRoleAddResponse.self)
  }

  func grant(_ kind: Authpb_Permission.TypeEnum, _ key: String, end: String = "", to role: String) async throws {
    var request = Etcdserverpb_AuthRoleGrantPermissionRequest()
    request.name = role
    request.perm.permType = kind
    request.perm.key = Data(key.utf8)
    request.perm.rangeEnd = Data(end.utf8)
    _ = try await call(
      RPCPath.Auth.roleGrantPermission, request, as: Etcdserverpb_AuthRoleGrantPermissionResponse.self)
  }

  func revoke(_ key: String, end: String = "", from role: String) async throws {
    var request = Etcdserverpb_AuthRoleRevokePermissionRequest()
    request.role = role
    request.key = Data(key.utf8)
    request.rangeEnd = Data(end.utf8)
    _ = try await call(
      RPCPath.Auth.roleRevokePermission, request, as: Etcdserverpb_AuthRoleRevokePermissionResponse.self)
  }

  func enable() async throws {
    _ = try await call(
      RPCPath.Auth.authEnable, Etcdserverpb_AuthEnableRequest(), as: Etcdserverpb_AuthEnableResponse.self)
  }

  func grantLease() async throws -> Int64 {
    var request = Etcdserverpb_LeaseGrantRequest()
    request.ttl = 60
    return try await call(RPCPath.Lease.leaseGrant, request, as: Etcdserverpb_LeaseGrantResponse.self).id
  }

  /// Makes root, a user for each name with a role that has its name and may read and write what begins with it, and
  /// enables authentication. A password is the name of its user.
  func setUp(users: [String]) async throws -> AuthCalls {
    try await addUser("root", "root")
    try await grantRole("root", to: "root")
    for name in users {
      try await addUser(name, name)
      try await addRole(name)
      try await grant(.readwrite, name + "/", end: name + "0", to: name)
      try await grantRole(name, to: name)
    }
    try await enable()
    return try await logIn("root", "root")
  }
}

/// Expects etcd's words, without their prefix, and gRPC's code.
func expectRefusal(
  _ code: RPCCode, _ text: String, _ location: SourceLocation = #_sourceLocation,
  _ body: () async throws -> Void
) async {
  do {
    try await body()
    Issue.record("it was not refused, and should have been: \(text)", sourceLocation: location)
  } catch {
    let status = error as? RPCStatus
    #expect(status?.code == code && status?.message == "etcdserver: " + text, "\(error)", sourceLocation: location)
  }
}

/// What comes on a stream, in order.
final class StreamEnds<Answer: SwiftProtobuf.Message & Sendable>: ClientStreamHandler {
  private let answers: AsyncThrowingStream<Answer, any Error>
  private let feed: AsyncThrowingStream<Answer, any Error>.Continuation

  init(_: Answer.Type) { (answers, feed) = AsyncThrowingStream.makeStream() }

  func received(_ message: ByteBuffer) {
    if let answer = try? Answer(received: message) { feed.yield(answer) }
  }

  func closed(_ status: RPCStatus) {
    if status.code == .ok { feed.finish() } else { feed.finish(throwing: status) }
  }

  func next() async throws -> Answer? {
    var iterator = answers.makeAsyncIterator()
    return try await iterator.next()
  }
}
