// Owns the reading of a snapshot's section of users and roles (AuthBytes.swift has its form).
// Must never: take in what no `AuthWriter` gives, or change anything before all of a record was checked.

struct AuthAssembly: Sendable {
  private enum Stage: Int { case beginning, roles, users, tokens }

  private var stage = Stage.beginning
  private var auth = AuthState()
  private var role: (name: AuthName, permissions: [Permission])?
  private var user: UserRecord?
  private var tokens: [(Key, TokenRecord)] = []

  /// Nothing was read.
  var isUntouched: Bool { stage == .beginning }

  mutating func read(_ tag: UInt8, _ input: inout StrictReader) throws(StateError) {
    switch tag {
    case AuthTag.settings: try readSettings(&input)
    case AuthTag.role: try readRole(&input)
    case AuthTag.permission: try readPermission(&input)
    case AuthTag.user: try readUser(&input)
    case AuthTag.userRole: try readUserRole(&input)
    case AuthTag.token: try readToken(&input)
    default: throw input.malformed("unknown tag \(tag)")
    }
  }

  private mutating func readSettings(_ input: inout StrictReader) throws(StateError) {
    let isEnabled = try input.flag()
    let revision = try input.number()
    guard stage == .beginning else { throw input.malformed("settings of authentication for a second time") }
    // One that was never changed is not written at all.
    guard revision > 1 else { throw input.malformed("users and roles at a revision before their first") }
    (auth.isEnabled, auth.revision) = (isEnabled, revision)
    stage = .roles
  }

  private mutating func readRole(_ input: inout StrictReader) throws(StateError) {
    let name = Key(try input.data())
    guard stage == .roles, !name.bytes.isEmpty, role.map({ $0.name < name }) ?? true else {
      throw input.malformed("roles that do not ascend, or at a place where there are none")
    }
    endRole()
    role = (name, [])
  }

  private mutating func readPermission(_ input: inout StrictReader) throws(StateError) {
    let number = try input.byte()
    guard let kind = Permission.Kind(rawValue: number) else { throw input.malformed("unknown permission \(number)") }
    let permission = Permission(kind, try input.range())
    guard stage == .roles, let before = role?.permissions, permission.isValid else {
      throw input.malformed("a permission of no role, or of no key")
    }
    let isSorted = before.last.map { !(permission.range.start < $0.range.start) } ?? true
    guard isSorted, !before.contains(where: { $0.range == permission.range }) else {
      throw input.malformed("permissions that do not ascend")
    }
    role?.permissions.append(permission)
  }

  private mutating func readUser(_ input: inout StrictReader) throws(StateError) {
    let name = Key(try input.data())
    let password = try input.flag() ? try input.data() : nil
    guard [.roles, .users].contains(stage), !name.bytes.isEmpty, user.map({ $0.name < name }) ?? true else {
      throw input.malformed("users that do not ascend, or at a place where there are none")
    }
    endRole()
    endUser()
    stage = .users
    user = UserRecord(name: name, password: password)
  }

  private mutating func readUserRole(_ input: inout StrictReader) throws(StateError) {
    let name = Key(try input.data())
    guard stage == .users, let before = user?.roles else { throw input.malformed("a role of no user") }
    guard name == .root || auth.roles[name] != nil, before.last.map({ $0 < name }) ?? true else {
      throw input.malformed("a user's roles do not ascend, or one does not exist")
    }
    user?.roles.append(name)
  }

  private mutating func readToken(_ input: inout StrictReader) throws(StateError) {
    let hash = Key(try input.data())
    let name = Key(try input.data())
    let record = TokenRecord(
      user: name, index: try input.number(),
      ttlMilliseconds: Int64(try input.number(atMost: UInt64(Int64.max), "a time to live of")),
      deadlineMilliseconds: try input.number(atMost: StateLimits.highestDeadlineMilliseconds, "a deadline of"))
    guard [.users, .tokens].contains(stage), auth.users[name] != nil || user?.name == name else {
      throw input.malformed("a token of no user")
    }
    guard tokens.count < StateLimits.maxTokens, tokens.last.map({ $0.0 < hash }) ?? true else {
      throw input.malformed("tokens that do not ascend, or too many")
    }
    endUser()
    stage = .tokens
    tokens.append((hash, record))
  }

  private mutating func endRole() {
    guard let role else { return }
    auth.roles.updateValue(role.permissions, forKey: role.name)
    self.role = nil
  }

  private mutating func endUser() {
    guard let user else { return }
    auth.store(user)
    self.user = nil
  }

  mutating func end(_ input: StrictReader) throws(StateError) {
    guard stage != .beginning else { throw input.malformed("a format with users and roles and none of them") }
    endRole()
    endUser()
    if auth.isEnabled, !(auth.users[.root]?.isRoot ?? false) {
      throw input.malformed("authentication without anybody who could change it")
    }
    auth.tokens = TokenTable(sorted: tokens)
  }

  consuming func finish() -> AuthState { auth }
}
