// Users and roles as etcd's store has them.
//
// Must never: make a store that lets in whom this cluster keeps out. etcd's passwords are hashed by bcrypt and ours are
// not, so that users come without any: in an etcd that is started from such a file they come in by certificate, or
// authentication is disabled before the backup is made.

import CoordinationCore
import Foundation
import Protocol

enum EtcdAuthBackup {
  /// Whether authentication is on is there only once it was changed, as in etcd's own file; the revision always is.
  static func settings(of auth: AuthState) -> [BoltBucket.Item] {
    let revision = (key: Array("authRevision".utf8), value: EtcdBackup.bigEndian(auth.revision))
    guard auth.revision > 1 else { return [revision] }
    return [(Array("authEnabled".utf8), [auth.isEnabled ? 1 : 0]), revision]
  }

  static func roles(of auth: AuthState) -> [BoltBucket.Item] {
    auth.roleNames.map { name in
      var role = Authpb_Role()
      role.name = Data(name.bytes)
      role.keyPermission = (auth.role(name) ?? []).map { Authpb_Permission($0) }
      return (name.bytes, (try? role.serializedBytes()) ?? [])
    }
  }

  static func users(of auth: AuthState) -> [BoltBucket.Item] {
    auth.allUsers.map { user in
      var message = Authpb_User()
      message.name = Data(user.name.bytes)
      message.roles = user.roles.map(\.text)
      message.options.noPassword = user.password == nil
      return (user.name.bytes, (try? message.serializedBytes()) ?? [])
    }
  }
}
