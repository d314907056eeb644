// Stories about users, roles and what they may do: administration, logins, and calls of everybody with and without rights.

import Foundation
import Protocol

struct ComparedAuthStory {
  private var keys: ComparedStory
  private static let users = ["root", "ann", "ben", "cat"]
  private static let roles = ["root", "reader", "writer"]
  private static let passwords = ["secret", "other"]

  init(seed: UInt64) { keys = ComparedStory(seed: seed * 5) }

  mutating func told(revision: Int64, compacted: Int64) {
    keys.revision = revision
    keys.compacted = compacted
  }

  /// What makes authentication possible, and turns it on.
  static let beginning: [ComparedStep] = [
    enable(nil), addUser("root", "secret"), enable(nil), grantRole("root", to: "root", user: nil), addRole("root"),
    grantRole("root", to: "root", user: nil), addUser("ann", "secret"), addRole("reader"),
    .put("a", "x"), .put("b", "y"), enable(nil), .login(user: "root", password: "secret"),
    .login(user: "ann", password: "secret"),
  ]

  mutating func next() -> ComparedStep {
    switch keys.below(20) {
    case ..<3: return .login(user: user(), password: keys.pick(Self.passwords))
    case ..<9: return keyStep(as: caller())
    case ..<13: return userStep(as: administrator())
    case ..<18: return roleStep(as: administrator())
    default: return wholeStep(as: administrator())
    }
  }

  // MARK: Who

  private mutating func user() -> String { keys.chance(5) ? keys.pick(["", "nobody"]) : keys.pick(Self.users) }
  private mutating func role() -> String { keys.chance(5) ? keys.pick(["", "nothing"]) : keys.pick(Self.roles) }
  private mutating func caller() -> String? { keys.chance(10) ? nil : keys.pick(Self.users) }
  private mutating func administrator() -> String? { keys.chance(80) ? "root" : caller() }

  // MARK: What

  private mutating func keyStep(as user: String?) -> ComparedStep {
    switch keys.below(10) {
    case ..<3: return .put(keys.putRequest(), user: user)
    case ..<6: return .range(keys.rangeRequest(), user: user)
    case 6: return .delete(keys.deleteRequest(isInTransaction: false), user: user)
    // etcd 3.5.1 lets nobody in particular have leases, and end them where they hold no keys; later versions do not.
    case 7: return .grant(Int64(1 + keys.below(3)), ttl: 5000, user: user ?? "ann")
    case 8: return .revoke(Int64(1 + keys.below(3)), user: user ?? "ann")
    default: return .transaction(keys.transactionRequest(), user: user)
    }
  }

  private mutating func userStep(as caller: String?) -> ComparedStep {
    switch keys.below(7) {
    case 0: return addUser(as: caller)
    case 1:
      var request = Etcdserverpb_AuthUserGetRequest()
      request.name = user()
      return .call(RPCPath.Auth.userGet, request, as: Etcdserverpb_AuthUserGetResponse.self, user: caller)
    case 2:
      return .call(
        RPCPath.Auth.userList, Etcdserverpb_AuthUserListRequest(), as: Etcdserverpb_AuthUserListResponse.self,
        user: caller)
    case 3:
      var request = Etcdserverpb_AuthUserDeleteRequest()
      request.name = user()
      return .call(RPCPath.Auth.userDelete, request, as: Etcdserverpb_AuthUserDeleteResponse.self, user: caller)
    case 4:
      var request = Etcdserverpb_AuthUserChangePasswordRequest()
      request.name = user()
      request.password = keys.pick(Self.passwords)
      return .call(
        RPCPath.Auth.userChangePassword, request, as: Etcdserverpb_AuthUserChangePasswordResponse.self, user: caller)
    case 5: return Self.grantRole(role(), to: user(), user: caller)
    default:
      var request = Etcdserverpb_AuthUserRevokeRoleRequest()
      request.name = user()
      request.role = role()
      return .call(RPCPath.Auth.userRevokeRole, request, as: Etcdserverpb_AuthUserRevokeRoleResponse.self, user: caller)
    }
  }

  private mutating func addUser(as caller: String?) -> ComparedStep {
    var request = Etcdserverpb_AuthUserAddRequest()
    request.name = user()
    request.password = keys.chance(10) ? "" : keys.pick(Self.passwords)
    if keys.chance(20) { request.options.noPassword = true }
    return .call(RPCPath.Auth.userAdd, request, as: Etcdserverpb_AuthUserAddResponse.self, user: caller)
  }

  private mutating func roleStep(as caller: String?) -> ComparedStep {
    switch keys.below(9) {
    case 0:
      var request = Etcdserverpb_AuthRoleAddRequest()
      request.name = role()
      return .call(RPCPath.Auth.roleAdd, request, as: Etcdserverpb_AuthRoleAddResponse.self, user: caller)
    case 1:
      var request = Etcdserverpb_AuthRoleGetRequest()
      request.role = role()
      return .call(RPCPath.Auth.roleGet, request, as: Etcdserverpb_AuthRoleGetResponse.self, user: caller)
    case 2:
      return .call(
        RPCPath.Auth.roleList, Etcdserverpb_AuthRoleListRequest(), as: Etcdserverpb_AuthRoleListResponse.self,
        user: caller)
    case 3 where keys.chance(40):
      var request = Etcdserverpb_AuthRoleDeleteRequest()
      request.role = role()
      return .call(RPCPath.Auth.roleDelete, request, as: Etcdserverpb_AuthRoleDeleteResponse.self, user: caller)
    case 4, 5:
      var request = Etcdserverpb_AuthRoleRevokePermissionRequest()
      request.role = role()
      request.key = keys.key()
      request.rangeEnd = keys.rangeEnd(for: request.key)
      return .call(
        RPCPath.Auth.roleRevokePermission, request, as: Etcdserverpb_AuthRoleRevokePermissionResponse.self, user: caller
      )
    default:
      var request = Etcdserverpb_AuthRoleGrantPermissionRequest()
      request.name = role()
      if !keys.chance(3) {
        request.perm.permType = keys.pick([.read, .write, .readwrite])
        // etcd 3.5.1 grants an empty key, and ranges that end before they begin: later versions refuse those as we do.
        repeat { request.perm.key = keys.key() } while request.perm.key.isEmpty
        repeat {
          request.perm.rangeEnd = keys.rangeEnd(for: request.perm.key)
        } while !isRange(request.perm)
      }
      return .call(
        RPCPath.Auth.roleGrantPermission, request, as: Etcdserverpb_AuthRoleGrantPermissionResponse.self, user: caller)
    }
  }

  private func isRange(_ permission: Authpb_Permission) -> Bool {
    let end = permission.rangeEnd
    return end.isEmpty || end == Data([0]) || permission.key.lexicographicallyPrecedes(end)
  }

  /// The switch itself, seldom.
  private mutating func wholeStep(as caller: String?) -> ComparedStep {
    switch keys.below(6) {
    case 0:
      return .call(
        RPCPath.Auth.authDisable, Etcdserverpb_AuthDisableRequest(), as: Etcdserverpb_AuthDisableResponse.self,
        user: caller)
    case 1, 2: return Self.enable(caller)
    default:
      return .call(
        RPCPath.Auth.authStatus, Etcdserverpb_AuthStatusRequest(), as: Etcdserverpb_AuthStatusResponse.self,
        user: caller)
    }
  }

  // MARK: Steps that the beginning needs too

  private static func enable(_ user: String?) -> ComparedStep {
    .call(
      RPCPath.Auth.authEnable, Etcdserverpb_AuthEnableRequest(), as: Etcdserverpb_AuthEnableResponse.self, user: user)
  }

  private static func addUser(_ name: String, _ password: String) -> ComparedStep {
    var request = Etcdserverpb_AuthUserAddRequest()
    request.name = name
    request.password = password
    return .call(RPCPath.Auth.userAdd, request, as: Etcdserverpb_AuthUserAddResponse.self)
  }

  private static func addRole(_ name: String) -> ComparedStep {
    var request = Etcdserverpb_AuthRoleAddRequest()
    request.name = name
    return .call(RPCPath.Auth.roleAdd, request, as: Etcdserverpb_AuthRoleAddResponse.self)
  }

  private static func grantRole(_ role: String, to name: String, user: String?) -> ComparedStep {
    var request = Etcdserverpb_AuthUserGrantRoleRequest()
    request.user = name
    request.role = role
    return .call(
      RPCPath.Auth.userGrantRole, request, as: Etcdserverpb_AuthUserGrantRoleResponse.self, user: user)
  }
}
