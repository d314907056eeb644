// The other half of etcd's Auth service: roles with their permissions, and what there is of users and roles.

import CoordinationCore
import Foundation
import NIOCore
import Protocol
import Wire

extension AuthService {
  // MARK: Looking

  /// A user may look at itself.
  @Sendable func user(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Etcdserverpb_AuthUserGetRequest.self, from: body) else { return }
    let name = AuthName(Bytes(message.name.utf8))
    look(call) { snapshot throws(RequestError) in
      let auth = snapshot.state.auth
      let caller = try core.caller(of: call, in: snapshot)
      if caller?.user != name { try auth.checkRoot(caller) }
      guard let user = auth.user(name) else { throw .auth(.userNotFound) }
      return Etcdserverpb_AuthUserGetResponse.with {
        $0.header = core.header(snapshot)
        $0.roles = user.roles.map(\.text)
      }
    }
  }

  @Sendable func users(_ call: UnaryCall, _ body: ByteBuffer) {
    look(call) { snapshot throws(RequestError) in
      try core.checkRoot(call, in: snapshot)
      return Etcdserverpb_AuthUserListResponse.with {
        $0.header = core.header(snapshot)
        $0.users = snapshot.state.auth.userNames.map(\.text)
      }
    }
  }

  /// A user may look at the roles that it has.
  @Sendable func role(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Etcdserverpb_AuthRoleGetRequest.self, from: body) else { return }
    let name = AuthName(Bytes(message.role.utf8))
    look(call) { snapshot throws(RequestError) in
      let auth = snapshot.state.auth
      let caller = try core.caller(of: call, in: snapshot)
      let isOwn = caller.flatMap { auth.user($0.user) }?.roles.contains(name) ?? false
      if !isOwn { try auth.checkRoot(caller) }
      guard let permissions = auth.role(name) else { throw .auth(.roleNotFound) }
      return Etcdserverpb_AuthRoleGetResponse.with {
        $0.header = core.header(snapshot)
        $0.perm = permissions.map { Authpb_Permission($0) }
      }
    }
  }

  @Sendable func roles(_ call: UnaryCall, _ body: ByteBuffer) {
    look(call) { snapshot throws(RequestError) in
      try core.checkRoot(call, in: snapshot)
      return Etcdserverpb_AuthRoleListResponse.with {
        $0.header = core.header(snapshot)
        $0.roles = snapshot.state.auth.roleNames.map(\.text)
      }
    }
  }

  // MARK: Changing

  @Sendable func addRole(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Etcdserverpb_AuthRoleAddRequest.self, from: body) else { return }
    change(call, .addRole(AuthName(Bytes(message.name.utf8)))) { header in
      Etcdserverpb_AuthRoleAddResponse.with { $0.header = header }
    }
  }

  @Sendable func deleteRole(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Etcdserverpb_AuthRoleDeleteRequest.self, from: body) else { return }
    change(call, .deleteRole(AuthName(Bytes(message.role.utf8)))) { header in
      Etcdserverpb_AuthRoleDeleteResponse.with { $0.header = header }
    }
  }

  @Sendable func grantPermission(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Etcdserverpb_AuthRoleGrantPermissionRequest.self, from: body) else { return }
    let permission = message.hasPerm ? Permission(message.perm) : nil
    change(call, .grantPermission(permission, to: AuthName(Bytes(message.name.utf8)))) { header in
      Etcdserverpb_AuthRoleGrantPermissionResponse.with { $0.header = header }
    }
  }

  @Sendable func revokePermission(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Etcdserverpb_AuthRoleRevokePermissionRequest.self, from: body) else { return }
    let range = KeyRange(key: Bytes(message.key), rangeEnd: Bytes(message.rangeEnd))
    change(call, .revokePermission(range, from: AuthName(Bytes(message.role.utf8)))) { header in
      Etcdserverpb_AuthRoleRevokePermissionResponse.with { $0.header = header }
    }
  }
}

extension AuthName {
  /// Names come as texts, so they are texts.
  var text: String { String(decoding: bytes, as: UTF8.self) }
}

extension Permission {
  /// Nil for a kind of permission that this version does not know.
  init?(_ message: Authpb_Permission) {
    let kind: Kind
    switch message.permType {
    case .read: kind = .read
    case .write: kind = .write
    case .readwrite: kind = .readWrite
    case .UNRECOGNIZED: return nil
    }
    self.init(kind, KeyRange(key: Bytes(message.key), rangeEnd: Bytes(message.rangeEnd)))
  }
}

extension Authpb_Permission {
  init(_ permission: Permission) {
    self.init()
    permType =
      switch permission.kind {
      case .read: .read
      case .write: .write
      case .readWrite: .readwrite
      }
    key = Data(permission.range.start.bytes)
    switch permission.range.end {
    case .single: break
    case .unbounded: rangeEnd = Data([0])
    case .before(let bound): rangeEnd = Data(bound.bytes)
    }
  }
}
