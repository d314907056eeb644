// Users, roles and permissions: every refusal of etcd's, in its order, and what permissions come to.

import CoordinationCore
import Testing

/// A state in which root exists and has its role.
struct AuthMachine {
  var machine = Machine()

  init(isEnabled: Bool = true) {
    change(.addUser(.root, password: [1]))
    change(.grantRole(.root, to: .root))
    if isEnabled { change(.enable) }
  }

  @discardableResult
  mutating func change(_ command: AuthCommand) -> AuthError? { machine.apply(.auth(command)).refusal }

  /// A user with a role of its own that has these permissions.
  mutating func user(_ name: String, _ permissions: Permission...) {
    change(.addUser(.init(name), password: Bytes(name.utf8)))
    change(.addRole(.init(name)))
    for permission in permissions { change(.grantPermission(permission, to: .init(name))) }
    change(.grantRole(.init(name), to: .init(name)))
  }

  func caller(_ name: String) -> Caller { Caller(user: .init(name), authRevision: machine.state.auth.revision) }

  /// As a request of this user that comes through the log.
  @discardableResult
  mutating func apply(_ command: Command, by caller: Caller?, named name: ClientSequence? = nil) -> Applied {
    machine.index += 1
    return machine.state.apply(
      Envelope(origin: 1, request: 7, name: name, caller: caller, command: command), index: machine.index,
      clockMilliseconds: machine.clock)
  }

  mutating func refusal(of command: Command, by name: String?) -> AuthError? {
    apply(command, by: name.map { caller($0) }).refusal
  }
}

extension Applied {
  var refusal: AuthError? {
    if case .failed(.auth(let reason)) = outcome { return reason }
    return nil
  }
}

extension KeyRange {
  init(_ start: String, _ end: String? = nil) {
    self.init(key: Bytes(start.utf8), rangeEnd: Bytes((end ?? "").utf8))
  }
}

@Suite("Users and roles")
struct AuthTests {
  @Test("users: what is refused, and why")
  func users() {
    var auth = AuthMachine(isEnabled: false)
    #expect(auth.change(.addUser(.init(""), password: [1])) == .userNameEmpty)
    #expect(auth.change(.addUser(.init("a"), password: [1])) == nil)
    #expect(auth.change(.addUser(.init("a"), password: [2])) == .userExists)
    #expect(auth.change(.deleteUser(.init("b"))) == .userNotFound)
    #expect(auth.change(.changePassword(.init("b"), [1])) == .userNotFound)
    #expect(auth.change(.grantRole(.init("r"), to: .init("b"))) == .userNotFound)
    #expect(auth.change(.grantRole(.init("r"), to: .init("a"))) == .roleNotFound)
    #expect(auth.change(.grantRole(.root, to: .init("a"))) == nil, "root's role need not exist")
    #expect(auth.change(.revokeRole(.init("r"), from: .init("b"))) == .userNotFound)
    #expect(auth.change(.revokeRole(.init("r"), from: .init("a"))) == .roleNotGranted)
    #expect(auth.change(.deleteUser(.init("a"))) == nil)
    #expect(auth.machine.state.auth.userNames == [.root])
  }

  @Test("roles: what is refused, and why")
  func roles() {
    var auth = AuthMachine(isEnabled: false)
    #expect(auth.change(.addRole(.init(""))) == .roleNameEmpty)
    #expect(auth.change(.addRole(.init("r"))) == nil)
    #expect(auth.change(.addRole(.init("r"))) == .roleExists)
    #expect(auth.change(.deleteRole(.init("s"))) == .roleNotFound)
    #expect(auth.change(.grantPermission(nil, to: .init("s"))) == .permissionNotGiven)
    #expect(auth.change(.grantPermission(Permission(.read, KeyRange("b", "a")), to: .init("s"))) == .invalidManagement)
    #expect(auth.change(.grantPermission(Permission(.read, KeyRange("", "a")), to: .init("r"))) == .invalidManagement)
    #expect(auth.change(.grantPermission(Permission(.read, KeyRange("a")), to: .init("s"))) == .roleNotFound)
    #expect(auth.change(.grantPermission(Permission(.read, KeyRange("a", "\0")), to: .init("r"))) == nil)
    #expect(auth.change(.revokePermission(KeyRange("a"), from: .init("s"))) == .roleNotFound)
    #expect(auth.change(.revokePermission(KeyRange("a"), from: .init("r"))) == .permissionNotGranted)
    #expect(auth.change(.revokePermission(KeyRange("a", "\0"), from: .init("r"))) == nil)
    #expect(auth.machine.state.auth.role(.init("r")) == [])
  }

  @Test("enabling needs root with its role, and while it is enabled neither goes away")
  func enabling() {
    var bare = Machine()
    #expect(bare.apply(.auth(.enable)).refusal == .rootUserNotFound)
    bare.apply(.auth(.addUser(.root, password: [1])))
    #expect(bare.apply(.auth(.enable)).refusal == .rootRoleNotGranted)
    var auth = AuthMachine()
    #expect(auth.machine.state.auth.isEnabled && auth.change(.enable) == nil, "again is fine")
    #expect(auth.change(.deleteUser(.root)) == .invalidManagement)
    #expect(auth.change(.revokeRole(.root, from: .root)) == .invalidManagement)
    #expect(auth.change(.deleteRole(.root)) == .invalidManagement)
    #expect(auth.change(.disable) == nil && auth.change(.disable) == nil)
    #expect(auth.change(.revokeRole(.root, from: .root)) == nil && auth.change(.deleteUser(.root)) == nil)
  }

  @Test("the revision is counted as etcd counts it: from 1, by changes, and not by what changes nothing")
  func revision() {
    var auth = AuthMachine(isEnabled: false)
    func revision() -> UInt64 { auth.machine.state.auth.revision }
    #expect(Machine().state.auth.revision == 1 && revision() == 3)
    auth.change(.enable)
    #expect(revision() == 3, "enabling is no change")
    auth.change(.addUser(.root, password: [1]))
    auth.change(.grantRole(.root, to: .root))
    #expect(revision() == 3, "neither is what is refused, or was so before")
    auth.change(.changePassword(.root, [2]))
    auth.change(.addRole(.init("r")))
    auth.change(.grantPermission(Permission(.read, KeyRange("a")), to: .init("r")))
    auth.change(.grantPermission(Permission(.read, KeyRange("a")), to: .init("r")))
    #expect(revision() == 7, "a permission that was there is given once more")
    auth.change(.disable)
    #expect(revision() == 8)
  }

  @Test("permissions of one range replace one another, and lie by their keys")
  func permissions() {
    var auth = AuthMachine()
    auth.change(.addRole(.init("r")))
    for (kind, start, end) in [(.read, "m", "p"), (.write, "a", ""), (.read, "m", ""), (.readWrite, "m", "p")]
      as [(Permission.Kind, String, String)]
    {
      auth.change(.grantPermission(Permission(kind, KeyRange(start, end)), to: .init("r")))
    }
    #expect(
      auth.machine.state.auth.role(.init("r")) == [
        Permission(.write, KeyRange("a")), Permission(.readWrite, KeyRange("m", "p")), Permission(.read, KeyRange("m")),
      ])
  }

  @Test("what permissions permit together is what a model says of each key", arguments: 1...40 as ClosedRange<UInt64>)
  func merging(seed: UInt64) {
    var draw = Draw(state: seed)
    func key() -> String { String(UnicodeScalar(UInt8(ascii: "a") + UInt8(draw.next(upperBound: 9 as UInt64)))) }
    func range() -> KeyRange {
      switch draw.next(upperBound: 5 as UInt64) {
      case 0: KeyRange(key(), "\0")
      case 1: KeyRange(key())
      default: KeyRange(key(), key())
      }
    }
    var auth = AuthMachine()
    for role in 0..<(1 + draw.next(upperBound: 3 as UInt64)) {
      auth.change(.addRole(.init("r\(role)")))
      for _ in 0..<draw.next(upperBound: 4 as UInt64) {
        let kind = Permission.Kind(rawValue: UInt8(draw.next(upperBound: 3 as UInt64))) ?? .read
        auth.change(.grantPermission(Permission(kind, range()), to: .init("r\(role)")))
      }
    }
    var granted: [Permission] = []
    auth.change(.addUser(.init("u"), password: nil))
    for role in auth.machine.state.auth.roleNames {
      auth.change(.grantRole(role, to: .init("u")))
      granted += auth.machine.state.auth.role(role) ?? []
    }
    // Between each two of the keys that ranges begin and end with lies one more, so that touching is told from meeting.
    let keys = "abcdefghijk".flatMap { [Key("\($0)"), Key("\($0)x")] }
    for _ in 0..<60 {
      let asked = range()
      guard !asked.isEmpty else { continue }
      for (kind, mayDo) in [(Permission.Kind.read, reads(auth, asked)), (.write, writes(auth, asked))] {
        let fitting = granted.filter { $0.kind == kind || $0.kind == .readWrite }
        let within = keys.filter(asked.contains)
        let isUnbounded = asked.end == .unbounded
        let expected =
          within.allSatisfy { key in fitting.contains { $0.range.contains(key) } }
          && (!isUnbounded || fitting.contains { $0.range.end == .unbounded })
        #expect(mayDo == expected, "\(kind) of \(asked) with \(fitting)")
      }
    }
  }

  @Test("a range in which nothing lies needs both of its ends permitted, as with etcd")
  func empty() {
    var auth = AuthMachine()
    auth.user("u", Permission(.read, KeyRange("c", "f")), Permission(.read, KeyRange("x", "\0")))
    for (start, end, mayRead) in [
      ("e", "d", true), ("e", "a", false), ("z", "y", true), ("z", "d", false), ("g", "d", false),
    ] {
      #expect(reads(auth, KeyRange(start, end)) == mayRead, "from \(start) to \(end)")
    }
  }

  private func reads(_ auth: AuthMachine, _ range: KeyRange) -> Bool {
    (try? auth.machine.state.auth.checkRead(range, by: auth.caller("u"))) != nil
  }

  private func writes(_ auth: AuthMachine, _ range: KeyRange) -> Bool {
    (try? auth.machine.state.auth.checkWrite(range, by: auth.caller("u"))) != nil
  }
}
