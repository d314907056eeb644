// etcd's Auth service. Changes go through the log, and so does each login by a simple token; passwords do not: what a node
// is sent is hashed or checked there, and only the hash travels (PasswordKeeper.swift).

import CoordinationCore
import Crypto
import Foundation
import NIOCore
import Protocol
import SwiftProtobuf
import Wire

struct AuthService: Sendable {
  let core: CoreAccess

  /// How often a login is tried again because users or roles were changed in its midst.
  private static let maxAttempts = 8

  var routes: [String: RPCMethod] {
    [
      RPCPath.Auth.authEnable: .unary(enable), RPCPath.Auth.authDisable: .unary(disable),
      RPCPath.Auth.authStatus: .unary(status), RPCPath.Auth.authenticate: .unary(authenticate),
      RPCPath.Auth.userAdd: .unary(addUser), RPCPath.Auth.userGet: .unary(user),
      RPCPath.Auth.userList: .unary(users), RPCPath.Auth.userDelete: .unary(deleteUser),
      RPCPath.Auth.userChangePassword: .unary(changePassword), RPCPath.Auth.userGrantRole: .unary(grantRole),
      RPCPath.Auth.userRevokeRole: .unary(revokeRole), RPCPath.Auth.roleAdd: .unary(addRole),
      RPCPath.Auth.roleGet: .unary(role), RPCPath.Auth.roleList: .unary(roles),
      RPCPath.Auth.roleDelete: .unary(deleteRole), RPCPath.Auth.roleGrantPermission: .unary(grantPermission),
      RPCPath.Auth.roleRevokePermission: .unary(revokePermission),
    ]
  }

  // MARK: Whether anybody is asked

  @Sendable private func enable(_ call: UnaryCall, _ body: ByteBuffer) {
    change(call, .enable) { header in Etcdserverpb_AuthEnableResponse.with { $0.header = header } }
  }

  @Sendable private func disable(_ call: UnaryCall, _ body: ByteBuffer) {
    change(call, .disable) { header in Etcdserverpb_AuthDisableResponse.with { $0.header = header } }
  }

  @Sendable private func status(_ call: UnaryCall, _ body: ByteBuffer) {
    look(call) { snapshot throws(RequestError) in
      try core.checkRoot(call, in: snapshot)
      return Etcdserverpb_AuthStatusResponse.with {
        $0.header = core.header(snapshot)
        $0.enabled = snapshot.state.auth.isEnabled
        $0.authRevision = snapshot.state.auth.revision
      }
    }
  }

  // MARK: Logging in

  /// A login under way.
  private struct Login: Sendable {
    let user: AuthName
    let password: Bytes
    var attempt = 1
    /// What the password was found to fit.
    var checked: Bytes?
  }

  @Sendable private func authenticate(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Etcdserverpb_AuthenticateRequest.self, from: body) else { return }
    logIn(call, Login(user: AuthName(Bytes(message.name.utf8)), password: Bytes(message.password.utf8)))
  }

  private func logIn(_ call: UnaryCall, _ login: Login) {
    look(call) { (snapshot: Snapshot) throws(RequestError) -> Etcdserverpb_AuthenticateResponse? in
      let auth = snapshot.state.auth
      guard auth.isEnabled else { throw .auth(.notEnabled) }
      let user = auth.user(login.user)
      if let checked = login.checked, checked == user?.password {
        giveToken(call, login, snapshot)
        return nil
      }
      let stored = user?.password
      core.passwords.check(login.password, against: stored, on: call.eventLoop) { result in
        switch result {
        case .failure(let status): call.fail(status)
        case .success(false):
          call.fail(RPCStatus(user != nil && stored == nil ? AuthError.noPasswordUser : .authenticationFailed))
        case .success(true):
          var login = login
          login.checked = stored
          giveToken(call, login, snapshot)
        }
      }
      return nil
    }
  }

  private func giveToken(_ call: UnaryCall, _ login: Login, _ snapshot: Snapshot) {
    let revision = snapshot.state.auth.revision
    switch core.identification.configuration.tokens {
    case .simple: giveSimpleToken(call, login, authRevision: revision)
    case .signed(let tokens):
      do {
        let token = try tokens.sign(login.user, authRevision: revision)
        respond(call, token, core.header(snapshot))
      } catch {
        call.fail(RPCStatus(code: .unknown, message: "auth: token signing attempted with verify-only key"))
      }
    }
  }

  /// The token is made by the entry that is applied, and only if nothing was changed since the password was checked.
  private func giveSimpleToken(_ call: UnaryCall, _ login: Login, authRevision: UInt64) {
    let secret = SimpleToken.newSecret()
    let request = TokenRequest(
      user: login.user, secretHash: SimpleToken.hash(ofSecret: secret), authRevision: authRevision,
      ttlMilliseconds: core.identification.configuration.tokenLifetimeMilliseconds)
    core.submit(.auth(.authenticate(request)), on: call.eventLoop) { [core] answer in
      if case .applied(.failed(.auth(.oldRevision)), _, _) = answer, login.attempt < Self.maxAttempts {
        var again = login
        again.attempt += 1
        return logIn(call, again)
      }
      call.answer(answer) { outcome, snapshot in
        guard case .authenticated(let index) = outcome else { preconditionFailure("a login ends with a token") }
        let header = core.header(revision: answer.revision ?? snapshot.state.revision, term: snapshot.term)
        respond(call, SimpleToken(secret: secret, index: index).text, header)
      }
    }
  }

  private func respond(_ call: UnaryCall, _ token: String, _ header: Etcdserverpb_ResponseHeader) {
    call.respond(
      Etcdserverpb_AuthenticateResponse.with {
        $0.header = header
        $0.token = token
      })
  }

  // MARK: Users

  @Sendable private func addUser(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Etcdserverpb_AuthUserAddRequest.self, from: body) else { return }
    let name = AuthName(Bytes(message.name.utf8))
    @Sendable func add(_ password: Bytes?) {
      change(call, .addUser(name, password: password)) { header in
        Etcdserverpb_AuthUserAddResponse.with { $0.header = header }
      }
    }
    if message.options.noPassword { return add(nil) }
    withHash(call, name, message.password, message.hashedPassword) { add($0) }
  }

  @Sendable private func changePassword(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Etcdserverpb_AuthUserChangePasswordRequest.self, from: body) else { return }
    let name = AuthName(Bytes(message.name.utf8))
    @Sendable func change(_ password: Bytes) {
      self.change(call, .changePassword(name, password)) { header in
        Etcdserverpb_AuthUserChangePasswordResponse.with { $0.header = header }
      }
    }
    // With etcd a change to no password at all leaves a hash that no password fits.
    if message.password.isEmpty, message.hashedPassword.isEmpty { return change([]) }
    withHash(call, name, message.password, message.hashedPassword) { change($0) }
  }

  /// Calls `body` with what is to be kept of a password, or fails the call. Nobody but who may change users gets a node to
  /// work on a hash.
  private func withHash(
    _ call: UnaryCall, _ name: AuthName, _ password: String, _ hashed: String,
    _ body: @escaping @Sendable (Bytes) -> Void
  ) {
    do throws(RPCStatus) {
      do throws(RequestError) { try core.checkRoot(call, in: core.publication.snapshot) } catch {
        throw RPCStatus(error)
      }
      if password.isEmpty, !hashed.isEmpty { return body(try Self.hash(from: hashed)) }
      let salt = try Self.salt(for: call.requestName(), name)
      core.passwords.hash(Bytes(password.utf8), salt: salt, on: call.eventLoop) { result in
        switch result {
        case .success(let hash): body(hash)
        case .failure(let status): call.fail(status)
        }
      }
    } catch {
      call.fail(error)
    }
  }

  private static func hash(from base64: String) throws(RPCStatus) -> Bytes {
    guard let bytes = Data(base64Encoded: base64).map({ Bytes($0) }), PasswordHash(bytes) != nil else {
      throw RPCStatus(
        .invalidArgument,
        "hashedPassword is in base64 and of the form $scrypt$ln=15,r=8,p=1$SALT$HASH here (no bcrypt): send the"
          + " password, which is hashed where it arrives and goes no further")
    }
    return bytes
  }

  /// A request that is sent again under its name must be the same request, and so have the same salt.
  private static func salt(for name: ClientSequence?, _ user: AuthName) -> Bytes {
    guard let name else { return PasswordHash.random(PasswordHash.saltBytes) }
    let text = Bytes("salt \(name.client) \(name.sequence) ".utf8) + user.bytes
    return Bytes(SHA256.hash(data: text).prefix(PasswordHash.saltBytes))
  }

  @Sendable private func deleteUser(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Etcdserverpb_AuthUserDeleteRequest.self, from: body) else { return }
    change(call, .deleteUser(AuthName(Bytes(message.name.utf8)))) { header in
      Etcdserverpb_AuthUserDeleteResponse.with { $0.header = header }
    }
  }

  @Sendable private func grantRole(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Etcdserverpb_AuthUserGrantRoleRequest.self, from: body) else { return }
    let (role, user) = (AuthName(Bytes(message.role.utf8)), AuthName(Bytes(message.user.utf8)))
    change(call, .grantRole(role, to: user)) { header in
      Etcdserverpb_AuthUserGrantRoleResponse.with { $0.header = header }
    }
  }

  @Sendable private func revokeRole(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Etcdserverpb_AuthUserRevokeRoleRequest.self, from: body) else { return }
    let (role, user) = (AuthName(Bytes(message.role.utf8)), AuthName(Bytes(message.name.utf8)))
    change(call, .revokeRole(role, from: user)) { header in
      Etcdserverpb_AuthUserRevokeRoleResponse.with { $0.header = header }
    }
  }

  // MARK: Parts

  func change<Response: SwiftProtobuf.Message>(
    _ call: UnaryCall, _ command: AuthCommand,
    _ response: @escaping @Sendable (Etcdserverpb_ResponseHeader) -> Response
  ) {
    call.submit(.auth(command), to: core) { [core] _, snapshot, revision in
      call.respond(response(core.header(revision: revision, term: snapshot.term)))
    }
  }

  /// Answers from a snapshot that shows every change which was answered before the call. `make` gives nil where the answer
  /// comes later.
  func look<Response: SwiftProtobuf.Message>(
    _ call: UnaryCall, _ make: @escaping @Sendable (Snapshot) throws(RequestError) -> Response?
  ) {
    core.readLinearizably(on: call.eventLoop) { result in
      switch result {
      case .failure(let failure): call.fail(RPCStatus(failure))
      case .success(let snapshot):
        do throws(RequestError) {
          if let response = try make(snapshot) { call.respond(response) }
        } catch {
          call.fail(RPCStatus(error))
        }
      }
    }
  }
}
