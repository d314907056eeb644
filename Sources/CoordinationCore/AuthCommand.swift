// Owns the changes of users and roles, with etcd's checks in etcd's order (its auth store, version 3.5).
//
// Must never: change anything of a command that it refuses; leave a user with what a role that is gone permitted.

package enum AuthCommand: Sendable, Equatable {
  case enable
  case disable
  /// - Parameter password: nil for a user that has none.
  case addUser(AuthName, password: Bytes?)
  case deleteUser(AuthName)
  case changePassword(AuthName, Bytes)
  case grantRole(AuthName, to: AuthName)
  case revokeRole(AuthName, from: AuthName)
  case addRole(AuthName)
  case deleteRole(AuthName)
  /// - Parameter permission: nil where the caller named none that there is.
  case grantPermission(Permission?, to: AuthName)
  case revokePermission(KeyRange, from: AuthName)
  /// A password was checked, and a token is made.
  case authenticate(TokenRequest)
  /// Tokens, by what is kept of them, that were used and live on.
  case renewTokens([Key])
}

/// Why a change of users and roles, or a request of a user, is refused. The numbers are in logs and snapshots.
package enum AuthError: UInt8, Sendable, CaseIterable {
  case rootUserNotFound = 1
  case rootRoleNotGranted
  case userExists
  case userNameEmpty
  case userNotFound
  case roleExists
  case roleNotFound
  case roleNameEmpty
  case authenticationFailed
  case permissionNotGiven
  case permissionDenied
  case roleNotGranted
  case permissionNotGranted
  case notEnabled
  case invalidToken
  case invalidManagement
  case oldRevision
  case noPasswordUser
}

extension Coordination {
  mutating func change(_ command: AuthCommand, index: UInt64, clock: UInt64) throws(RequestError) -> Outcome {
    switch command {
    case .enable: try auth.enable()
    case .disable: auth.disable()
    case .addUser(let name, let password): try auth.addUser(name, password)
    case .deleteUser(let name): try auth.deleteUser(name)
    case .changePassword(let name, let password): try auth.changePassword(of: name, to: password)
    case .grantRole(let role, let user): try auth.grant(role, to: user)
    case .revokeRole(let role, let user): try auth.revoke(role, from: user)
    case .addRole(let name): try auth.addRole(name)
    case .deleteRole(let name): try auth.deleteRole(name)
    case .grantPermission(let permission, let role): try auth.grant(permission, to: role)
    case .revokePermission(let range, let role): try auth.revoke(range, from: role)
    case .authenticate(let request):
      try auth.authenticate(request, index: index, clock: clock)
      return .authenticated(tokenIndex: index)
    case .renewTokens(let tokens): auth.tokens.renew(tokens, clock: clock)
    }
    return .authChanged
  }
}

extension AuthState {
  mutating func enable() throws(RequestError) {
    guard !isEnabled else { return }
    guard let root = users[.root] else { throw .auth(.rootUserNotFound) }
    guard root.isRoot else { throw .auth(.rootRoleNotGranted) }
    isEnabled = true
  }

  mutating func disable() {
    guard isEnabled else { return }
    isEnabled = false
    tokens = TokenTable()
    revision += 1
  }

  // MARK: Users

  mutating func addUser(_ name: AuthName, _ password: Bytes?) throws(RequestError) {
    guard !name.bytes.isEmpty else { throw .auth(.userNameEmpty) }
    guard users[name] == nil else { throw .auth(.userExists) }
    users.updateValue(UserRecord(name: name, password: password), forKey: name)
    revision += 1
  }

  mutating func deleteUser(_ name: AuthName) throws(RequestError) {
    if isEnabled, name == .root { throw .auth(.invalidManagement) }
    guard users.removeValue(forKey: name) != nil else { throw .auth(.userNotFound) }
    tokens.removeAll(of: name)
    revision += 1
  }

  /// A user without a password stays one, and whoever asks is not told, as with etcd.
  mutating func changePassword(of name: AuthName, to password: Bytes) throws(RequestError) {
    guard var user = users[name] else { throw .auth(.userNotFound) }
    if user.password != nil {
      user.password = password
      users.updateValue(user, forKey: name)
    }
    tokens.removeAll(of: name)
    revision += 1
  }

  /// What the user has already is given again without a word, and is no change.
  mutating func grant(_ role: AuthName, to name: AuthName) throws(RequestError) {
    guard var user = users[name] else { throw .auth(.userNotFound) }
    guard role == .root || roles[role] != nil else { throw .auth(.roleNotFound) }
    guard !user.roles.contains(role) else { return }
    user.roles.append(role)
    user.roles.sort()
    store(user)
    revision += 1
  }

  mutating func revoke(_ role: AuthName, from name: AuthName) throws(RequestError) {
    if isEnabled, name == .root, role == .root { throw .auth(.invalidManagement) }
    guard var user = users[name] else { throw .auth(.userNotFound) }
    guard let place = user.roles.firstIndex(of: role) else { throw .auth(.roleNotGranted) }
    user.roles.remove(at: place)
    store(user)
    revision += 1
  }

  // MARK: Roles

  mutating func addRole(_ name: AuthName) throws(RequestError) {
    guard !name.bytes.isEmpty else { throw .auth(.roleNameEmpty) }
    guard roles[name] == nil else { throw .auth(.roleExists) }
    roles.updateValue([], forKey: name)
    revision += 1
  }

  mutating func deleteRole(_ name: AuthName) throws(RequestError) {
    if isEnabled, name == .root { throw .auth(.invalidManagement) }
    guard roles.removeValue(forKey: name) != nil else { throw .auth(.roleNotFound) }
    for var user in users(with: name) {
      user.roles.removeAll { $0 == name }
      store(user)
    }
    revision += 1
  }

  /// A range that the role has a permission of already gets the new one in its place.
  mutating func grant(_ permission: Permission?, to role: AuthName) throws(RequestError) {
    guard let permission else { throw .auth(.permissionNotGiven) }
    guard permission.isValid else { throw .auth(.invalidManagement) }
    guard var permissions = roles[role] else { throw .auth(.roleNotFound) }
    if let place = permissions.firstIndex(where: { $0.range == permission.range }) {
      permissions[place] = permission
    } else {
      let place = permissions.firstIndex { permission.range.start < $0.range.start } ?? permissions.count
      permissions.insert(permission, at: place)
    }
    roles.updateValue(permissions, forKey: role)
    for user in users(with: role) { store(user) }
    revision += 1
  }

  mutating func revoke(_ range: KeyRange, from role: AuthName) throws(RequestError) {
    guard var permissions = roles[role] else { throw .auth(.roleNotFound) }
    guard let place = permissions.firstIndex(where: { $0.range == range }) else {
      throw .auth(.permissionNotGranted)
    }
    permissions.remove(at: place)
    roles.updateValue(permissions, forKey: role)
    for user in users(with: role) { store(user) }
    revision += 1
  }

  // MARK: Tokens

  /// The password was checked before this command had its place in the log. It may have been changed since: then the
  /// revision is another one, and whoever checked must look again.
  mutating func authenticate(_ request: TokenRequest, index: UInt64, clock: UInt64) throws(RequestError) {
    guard isEnabled else { throw .auth(.notEnabled) }
    guard let user = users[request.user], user.password != nil else { throw .auth(.authenticationFailed) }
    guard request.authRevision == revision else { throw .auth(.oldRevision) }
    guard tokens.add(request, index: index, clock: clock) else { throw .auth(.authenticationFailed) }
  }

  // MARK: Parts

  private func users(with role: AuthName) -> [UserRecord] {
    var found: [UserRecord] = []
    users.forEach { _, user in
      if user.roles.contains(role) { found.append(user) }
      return true
    }
    return found
  }

  /// Puts a user back with the access that its roles give it now.
  mutating func store(_ user: UserRecord) {
    var user = user
    user.access = KeyAccess(user.roles.flatMap { roles[$0] ?? [] })
    users.updateValue(user, forKey: user.name)
  }
}
