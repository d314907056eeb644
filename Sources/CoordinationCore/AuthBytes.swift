// Owns the bytes of what concerns users and roles: commands in the log, and the section of a snapshot.
//
// A command is a byte that says which, and its parts. The section, behind that of the alarms (StateWriter.swift):
//
//   1 enabled u8 · revision                        once, first
//   2 role                                         by ascending name, its permissions behind it
//   3 kind u8 · range                              by ascending key, each range once
//   4 user · has password u8 [password]            by ascending name, its roles behind it
//   5 role                                         ascending
//   6 hash · user · index · ttl · deadline         tokens, by ascending hash
//
// What users may do follows from it.

// MARK: - Commands

extension AuthCommand {
  private enum Kind: UInt8 {
    case enable = 1, disable
    case addUser = 16, addUserWithoutPassword, deleteUser, changePassword, grantRole, revokeRole
    case addRole = 32, deleteRole, grantPermission, grantNoPermission, revokePermission
    case authenticate = 48, renewTokens
  }

  func encode(into out: inout ByteWriter) {
    func begin(_ kind: Kind) { out.byte(kind.rawValue) }
    switch self {
    case .enable: begin(.enable)
    case .disable: begin(.disable)
    case .addUser(let name, let password?): begin(.addUser); out.data(name.bytes); out.data(password)
    case .addUser(let name, nil): begin(.addUserWithoutPassword); out.data(name.bytes)
    case .deleteUser(let name): begin(.deleteUser); out.data(name.bytes)
    case .changePassword(let name, let password): begin(.changePassword); out.data(name.bytes); out.data(password)
    case .grantRole(let role, let user): begin(.grantRole); out.data(role.bytes); out.data(user.bytes)
    case .revokeRole(let role, let user): begin(.revokeRole); out.data(role.bytes); out.data(user.bytes)
    case .addRole(let name): begin(.addRole); out.data(name.bytes)
    case .deleteRole(let name): begin(.deleteRole); out.data(name.bytes)
    case .grantPermission(let permission?, let role):
      begin(.grantPermission); out.data(role.bytes); out.permission(permission)
    case .grantPermission(nil, let role): begin(.grantNoPermission); out.data(role.bytes)
    case .revokePermission(let range, let role): begin(.revokePermission); out.data(role.bytes); out.range(range)
    case .authenticate(let request):
      begin(.authenticate)
      out.data(request.user.bytes)
      out.data(request.secretHash.bytes)
      out.number(request.authRevision)
      out.signed(request.ttlMilliseconds)
    case .renewTokens(let tokens):
      begin(.renewTokens)
      out.number(UInt64(tokens.count))
      for token in tokens { out.data(token.bytes) }
    }
  }

  static func decode(from input: inout ByteReader) throws(RequestError) -> AuthCommand {
    let number = try input.byte()
    guard let kind = Kind(rawValue: number) else { throw .malformedCommand("unknown change of users \(number)") }
    switch kind {
    case .enable: return .enable
    case .disable: return .disable
    case .addUser: return .addUser(Key(try input.data()), password: try input.data())
    case .addUserWithoutPassword: return .addUser(Key(try input.data()), password: nil)
    case .deleteUser: return .deleteUser(Key(try input.data()))
    case .changePassword: return .changePassword(Key(try input.data()), try input.data())
    case .grantRole: return .grantRole(Key(try input.data()), to: Key(try input.data()))
    case .revokeRole: return .revokeRole(Key(try input.data()), from: Key(try input.data()))
    case .addRole: return .addRole(Key(try input.data()))
    case .deleteRole: return .deleteRole(Key(try input.data()))
    case .grantPermission:
      let role = Key(try input.data())
      return .grantPermission(try input.permission(), to: role)
    case .grantNoPermission: return .grantPermission(nil, to: Key(try input.data()))
    case .revokePermission:
      let role = Key(try input.data())
      return .revokePermission(try input.range(), from: role)
    case .authenticate:
      return .authenticate(
        TokenRequest(
          user: Key(try input.data()), secretHash: Key(try input.data()), authRevision: try input.number(),
          ttlMilliseconds: try input.signed()))
    case .renewTokens:
      let count = try input.count()
      var tokens: [Key] = []
      for _ in 0..<count { tokens.append(Key(try input.data())) }
      return .renewTokens(tokens)
    }
  }
}

extension ByteWriter {
  fileprivate mutating func permission(_ permission: Permission) {
    byte(permission.kind.rawValue)
    range(permission.range)
  }
}

extension ByteReader {
  fileprivate mutating func permission() throws(RequestError) -> Permission {
    let number = try byte()
    guard let kind = Permission.Kind(rawValue: number) else { throw .malformedCommand("unknown permission \(number)") }
    return Permission(kind, try range())
  }
}

// MARK: - The section of a snapshot

enum AuthTag {
  static var settings: UInt8 { 1 }
  static var role: UInt8 { 2 }
  static var permission: UInt8 { 3 }
  static var user: UInt8 { 4 }
  static var userRole: UInt8 { 5 }
  static var token: UInt8 { 6 }
}

/// Writes the section a record at a time.
struct AuthWriter: Sendable {
  private let auth: AuthState
  private var hasBegun = false
  private var roles: OrderedTree<AuthName, [Permission]>.Cursor
  private var permissions: ArraySlice<Permission> = []
  private var users: OrderedTree<AuthName, UserRecord>.Cursor
  private var userRoles: ArraySlice<AuthName> = []
  private var tokens: OrderedTree<Key, TokenRecord>.Cursor

  init(_ auth: AuthState) {
    self.auth = auth
    roles = .init(auth.roles)
    users = .init(auth.users)
    tokens = .init(auth.tokens.tokens)
  }

  /// - Returns: false when there is no record left.
  mutating func writeRecord(to out: inout ByteWriter) -> Bool {
    guard hasBegun else {
      hasBegun = true
      out.byte(AuthTag.settings)
      out.flags(auth.isEnabled)
      out.number(auth.revision)
      return true
    }
    if let permission = permissions.popFirst() {
      out.byte(AuthTag.permission)
      out.permission(permission)
    } else if let (name, all) = roles.next() {
      permissions = all[...]
      out.byte(AuthTag.role)
      out.data(name.bytes)
    } else if let role = userRoles.popFirst() {
      out.byte(AuthTag.userRole)
      out.data(role.bytes)
    } else if let (name, user) = users.next() {
      userRoles = user.roles[...]
      out.byte(AuthTag.user)
      out.data(name.bytes)
      out.flags(user.password != nil)
      if let password = user.password { out.data(password) }
    } else if let (hash, token) = tokens.next() {
      out.byte(AuthTag.token)
      out.data(hash.bytes)
      out.data(token.user.bytes)
      out.number(token.index)
      out.number(UInt64(token.ttlMilliseconds))
      out.number(token.deadlineMilliseconds)
    } else {
      return false
    }
    return true
  }
}
