// The paths of users and roles in the JSON API: etcd's own table.

import Protocol

extension JSONRoutes {
  static let auth: [String: JSONMethod] = {
    let prefix = "/v3/auth"
    return [
      prefix + "/enable": JSONMethod(
        RPCPath.Auth.authEnable, Etcdserverpb_AuthEnableRequest.self, Etcdserverpb_AuthEnableResponse.self),
      prefix + "/disable": JSONMethod(
        RPCPath.Auth.authDisable, Etcdserverpb_AuthDisableRequest.self, Etcdserverpb_AuthDisableResponse.self),
      prefix + "/status": JSONMethod(
        RPCPath.Auth.authStatus, Etcdserverpb_AuthStatusRequest.self, Etcdserverpb_AuthStatusResponse.self),
      prefix + "/authenticate": JSONMethod(
        RPCPath.Auth.authenticate, Etcdserverpb_AuthenticateRequest.self, Etcdserverpb_AuthenticateResponse.self),
    ]
  }()

  static let users: [String: JSONMethod] = {
    let prefix = "/v3/auth/user"
    return [
      prefix + "/add": JSONMethod(
        RPCPath.Auth.userAdd, Etcdserverpb_AuthUserAddRequest.self, Etcdserverpb_AuthUserAddResponse.self),
      prefix + "/get": JSONMethod(
        RPCPath.Auth.userGet, Etcdserverpb_AuthUserGetRequest.self, Etcdserverpb_AuthUserGetResponse.self),
      prefix + "/list": JSONMethod(
        RPCPath.Auth.userList, Etcdserverpb_AuthUserListRequest.self, Etcdserverpb_AuthUserListResponse.self),
      prefix + "/delete": JSONMethod(
        RPCPath.Auth.userDelete, Etcdserverpb_AuthUserDeleteRequest.self, Etcdserverpb_AuthUserDeleteResponse.self),
      prefix + "/changepw": JSONMethod(
        RPCPath.Auth.userChangePassword, Etcdserverpb_AuthUserChangePasswordRequest.self,
        Etcdserverpb_AuthUserChangePasswordResponse.self),
      prefix + "/grant": JSONMethod(
        RPCPath.Auth.userGrantRole, Etcdserverpb_AuthUserGrantRoleRequest.self,
        Etcdserverpb_AuthUserGrantRoleResponse.self),
      prefix + "/revoke": JSONMethod(
        RPCPath.Auth.userRevokeRole, Etcdserverpb_AuthUserRevokeRoleRequest.self,
        Etcdserverpb_AuthUserRevokeRoleResponse.self),
    ]
  }()

  static let roles: [String: JSONMethod] = {
    let prefix = "/v3/auth/role"
    return [
      prefix + "/add": JSONMethod(
        RPCPath.Auth.roleAdd, Etcdserverpb_AuthRoleAddRequest.self, Etcdserverpb_AuthRoleAddResponse.self),
      prefix + "/get": JSONMethod(
        RPCPath.Auth.roleGet, Etcdserverpb_AuthRoleGetRequest.self, Etcdserverpb_AuthRoleGetResponse.self),
      prefix + "/list": JSONMethod(
        RPCPath.Auth.roleList, Etcdserverpb_AuthRoleListRequest.self, Etcdserverpb_AuthRoleListResponse.self),
      prefix + "/delete": JSONMethod(
        RPCPath.Auth.roleDelete, Etcdserverpb_AuthRoleDeleteRequest.self, Etcdserverpb_AuthRoleDeleteResponse.self),
      prefix + "/grant": JSONMethod(
        RPCPath.Auth.roleGrantPermission, Etcdserverpb_AuthRoleGrantPermissionRequest.self,
        Etcdserverpb_AuthRoleGrantPermissionResponse.self),
      prefix + "/revoke": JSONMethod(
        RPCPath.Auth.roleRevokePermission, Etcdserverpb_AuthRoleRevokePermissionRequest.self,
        Etcdserverpb_AuthRoleRevokePermissionResponse.self),
    ]
  }()
}
