// Tokens, and the bytes of all that concerns users and roles.

import CoordinationCore
import Testing

@Suite("Users and roles as bytes, and their tokens")
struct AuthBytesTests {
  private static let changes: [AuthCommand] = [
    .enable, .disable, .addUser(.init("a"), password: [1, 2]), .addUser(.init("a"), password: []),
    .addUser(.init("ä"), password: nil), .deleteUser(.init("a")), .changePassword(.init("a"), [9]),
    .grantRole(.init("r"), to: .init("u")), .revokeRole(.init("r"), from: .init("u")), .addRole(.init("r")),
    .deleteRole(.init("r")), .grantPermission(Permission(.readWrite, KeyRange("a", "b")), to: .init("r")),
    .grantPermission(nil, to: .init("r")), .revokePermission(KeyRange("a", "\0"), from: .init("r")),
    .authenticate(
      TokenRequest(user: .init("u"), secretHash: Key([7, 7]), authRevision: .max, ttlMilliseconds: 300_000)),
    .renewTokens([Key([1]), Key([])]), .renewTokens([]),
  ]

  @Test("each command comes back as it went, with its caller and its name, and nothing else is taken")
  func commands() throws {
    let callers = [nil, Caller(user: .init("me"), authRevision: 12)]
    let names = [nil, ClientSequence(client: 300, sequence: 2)]
    for (place, change) in Self.changes.enumerated() {
      let caller = callers[place % 2]
      let name = names[place / 2 % 2]
      let bytes = Envelope(origin: 3, request: 4, name: name, caller: caller, command: .auth(change)).encoded()
      let read = try Envelope.decode(bytes)
      #expect(read.caller == caller && read.name == name && "\(read.command)" == "\(Command.auth(change))")
      #expect(bytes[0] == (caller == nil ? 1 : 3) + (name == nil ? 0 : 1))
      for length in 0..<bytes.count {
        #expect(throws: RequestError.self) { try Envelope.decode(Array(bytes[..<length])) }
      }
      #expect(throws: RequestError.self) { try Envelope.decode(bytes + [0]) }
    }
  }

  @Test("every refusal, and both outcomes, can be remembered")
  func outcomes() throws {
    for reason in AuthError.allCases {
      let bytes = Outcome.failed(.auth(reason)).encoded()
      guard case .failed(.auth(let read)) = try Outcome.decode(bytes) else {
        Issue.record("\(reason) is read back as something else")
        continue
      }
      #expect(read == reason)
    }
    for outcome in [Outcome.authChanged, .authenticated(tokenIndex: 1 << 40)] {
      #expect("\(try Outcome.decode(outcome.encoded()))" == "\(outcome)")
    }
    #expect(throws: StateError.self) { try Outcome.decode([80, 17, 0]) }
  }

  // MARK: Snapshots

  private func machine() -> AuthMachine {
    var auth = AuthMachine()
    auth.user("u", Permission(.read, KeyRange("b", "c")), Permission(.write, KeyRange("a", "\0")))
    auth.user("v", Permission(.readWrite, KeyRange("b", "c")), Permission(.read, KeyRange("b")))
    auth.change(.addUser(.init("certificate"), password: nil))
    auth.change(.grantRole(.init("u"), to: .init("v")))
    for (user, hash) in [("u", 5), ("v", 3), ("u", 9)] { auth.logIn(user, hash: UInt8(hash)) }
    return auth
  }

  @Test("a state with users is read back, and goes on as it would have")
  func roundTrip() throws {
    var auth = machine()
    for withAlarm in [false, true] {
      if withAlarm { auth.machine.apply(.alarm(.raise(Alarm(.corrupt, member: 4)))) }
      let whole = bytes(of: auth.machine.state)
      #expect(whole[4] == 3)
      for size in [1, 3, 4096] {
        let read = try CoordinationCoreTests.read(pieces(of: auth.machine.state, maxBytes: size))
        #expect(bytes(of: read) == whole && read.digest == auth.machine.state.digest)
        #expect(read.auth.isEnabled && read.auth.revision == auth.machine.state.auth.revision)
        #expect(read.auth.tokens.count == 3 && read.auth.tokens[Key([3])]?.user == AuthName("v"))
        #expect(read.alarms.count == (withAlarm ? 1 : 0))
        for (user, range) in [("v", "b"), ("u", "zz"), ("v", "zz"), ("certificate", "b")] {
          let asked = KeyRange(range)
          let before = (try? auth.machine.state.auth.checkWrite(asked, by: auth.caller(user))) != nil
          #expect(before == ((try? read.auth.checkWrite(asked, by: auth.caller(user))) != nil))
          #expect(before == (user == "u" || user == "v"))
        }
      }
      for length in 0..<whole.count {
        #expect(throws: StateError.self) { try CoordinationCoreTests.read([Array(whole[..<length])]) }
      }
    }
  }

  @Test("one byte that is another gives another state or none")
  func damage() throws {
    let whole = bytes(of: machine().machine.state)
    for place in whole.indices {
      for bit in [0x01, 0x10, 0x80] as [UInt8] {
        var turned = whole
        turned[place] ^= bit
        guard let read = try? CoordinationCoreTests.read([turned]) else { continue }
        #expect(bytes(of: read) == turned, "byte \(place)")
      }
    }
  }

  @Test("a state that never had users has the bytes that it always had, and one that had some says so")
  func untouched() throws {
    var machine = Machine()
    machine.put("a", "1")
    #expect(bytes(of: machine.state)[4] == 1)
    machine.apply(.auth(.addUser(.init("a"), password: nil)))
    machine.apply(.auth(.deleteUser(.init("a"))))
    let whole = bytes(of: machine.state)
    #expect(try whole[4] == 3 && read([whole]).auth.revision == 3)
    // Neither is there a format with users that were never touched.
    var wrong = bytes(of: Machine().state)
    wrong[4] = 3
    #expect(throws: StateError.self) { try read([wrong + [0, 0]]) }
    #expect(throws: StateError.self) { try read([wrong + [0, 1, 0, 1, 0]]) }
  }

  // MARK: Tokens

  @Test("a token is made if nothing changed since the password was checked, and ends with its time or its user")
  func tokens() {
    var auth = machine()
    #expect(auth.change(.authenticate(auth.token("nobody", hash: 1))) == .authenticationFailed)
    #expect(auth.change(.authenticate(auth.token("certificate", hash: 1))) == .authenticationFailed)
    let old = auth.token("u", hash: 1)
    auth.change(.addRole(.init("x")))
    #expect(auth.change(.authenticate(old)) == .oldRevision)
    #expect(auth.change(.authenticate(auth.token("v", hash: 3))) == .authenticationFailed, "there is such a token")
    auth.change(.changePassword(.init("v"), [1]))
    #expect(auth.machine.state.auth.tokens[Key([3])] == nil && auth.machine.state.auth.tokens.count == 2)
    auth.change(.deleteUser(.init("u")))
    #expect(auth.machine.state.auth.tokens.count == 0)
    auth.logIn("v", hash: 1)
    auth.change(.disable)
    #expect(auth.machine.state.auth.tokens.count == 0)
    #expect(auth.change(.authenticate(auth.token("v", hash: 2))) == .notEnabled)
  }

  @Test("a token that is used lives on; those that are over go when the next one is made, and so do the oldest of many")
  func lifetimes() {
    var auth = machine()
    let start = auth.machine.clock
    func deadline(_ hash: UInt8) -> UInt64? { auth.machine.state.auth.tokens[Key([hash])]?.deadlineMilliseconds }
    #expect(deadline(5) == start + 1000 && deadline(9) == start + 1000)
    auth.machine.clock = start + 900
    auth.change(.renewTokens([Key([5]), Key([77])]))
    #expect(deadline(5) == start + 1900 && deadline(9) == start + 1000)
    auth.machine.clock = start + 1000
    auth.change(.renewTokens([Key([9])]))
    #expect(deadline(9) == start + 1000, "its time was over")
    auth.logIn("v", hash: 8)
    #expect(deadline(9) == nil && deadline(5) != nil && deadline(8) != nil)
    for number in 0..<StateLimits.maxTokens {
      let hash = Key([UInt8(number & 255), UInt8(number >> 8), 1])
      auth.change(
        .authenticate(
          TokenRequest(
            user: .init("v"), secretHash: hash, authRevision: auth.machine.state.auth.revision, ttlMilliseconds: 5000)))
    }
    #expect(auth.machine.state.auth.tokens.count == StateLimits.maxTokens && deadline(5) == nil && deadline(8) == nil)
  }
}

extension AuthMachine {
  func token(_ user: String, hash: UInt8) -> TokenRequest {
    TokenRequest(
      user: .init(user), secretHash: Key([hash]), authRevision: machine.state.auth.revision, ttlMilliseconds: 1000)
  }

  mutating func logIn(_ user: String, hash: UInt8) { change(.authenticate(token(user, hash: hash))) }
}
