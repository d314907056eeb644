// What services ask before they answer. A command that goes through the log is judged when it is applied, so here it only
// gets its caller's name; what is answered from a snapshot is judged by the users and roles of that very snapshot.

import CoordinationCore
import NIOCore
import Wire

extension CoreAccess {
  /// Whom a command is to be from; nil where authentication is off, or nobody says.
  func caller(of call: ServerCall) throws(RPCStatus) -> Caller? {
    guard publication.isAuthEnabled else { return nil }
    do throws(RequestError) { return try caller(of: call, in: publication.snapshot) } catch { throw RPCStatus(error) }
  }

  func caller(of call: ServerCall, in snapshot: Snapshot) throws(RequestError) -> Caller? {
    try identification.caller(of: call, in: snapshot) { propose(.auth(.renewTokens([$0]))) }
  }

  /// Whom to send a command again for, that was refused because users or roles were changed between the look at its caller
  /// and its place in the log. Nil where that is not so, and for a token that names the old revision itself: then the
  /// caller is told. etcd always tells it, and old clients of etcd's give up there.
  func caller(of call: ServerCall, after answer: Answer, by caller: Caller) -> Caller? {
    guard case .applied(.failed(.auth(.oldRevision)), _, _) = answer, let again = try? self.caller(of: call),
      again.authRevision > caller.authRevision
    else { return nil }
    return again
  }

  func isBehind(_ call: ServerCall) -> Bool { identification.isAhead(call, of: publication.snapshot) }

  /// Throws, with etcd's reason, where the caller may not read all of the range.
  func checkRead(_ range: KeyRange, by call: ServerCall, in snapshot: Snapshot) throws(RequestError) {
    guard snapshot.state.auth.isEnabled else { return }
    try snapshot.state.auth.checkRead(range, by: caller(of: call, in: snapshot))
  }

  /// The same for a transaction that only reads.
  func checkTransaction(
    _ request: TransactionRequest, by call: ServerCall, in snapshot: Snapshot
  ) throws(RequestError) {
    guard snapshot.state.auth.isEnabled else { return }
    try snapshot.state.authorize(.transaction(request), by: caller(of: call, in: snapshot))
  }

  func checkRoot(_ call: ServerCall, in snapshot: Snapshot) throws(RequestError) {
    guard snapshot.state.auth.isEnabled else { return }
    try snapshot.state.auth.checkRoot(caller(of: call, in: snapshot))
  }

  func checkUser(_ call: ServerCall, in snapshot: Snapshot) throws(RequestError) {
    guard snapshot.state.auth.isEnabled else { return }
    try snapshot.state.auth.checkUser(caller(of: call, in: snapshot))
  }

  /// Whether the caller may be told what goes with a lease, or with every one that there is.
  func checkListing(of lease: LeaseID?, by call: ServerCall, in snapshot: Snapshot) throws(RequestError) {
    let state = snapshot.state
    guard state.auth.isEnabled else { return }
    let caller = try caller(of: call, in: snapshot)
    try state.auth.checkUser(caller)
    for lease in lease.map({ [$0] }) ?? state.leases.ids { try state.authorizeListing(of: lease, by: caller) }
  }

  // MARK: Methods that only some may call

  typealias UnaryHandler = @Sendable (UnaryCall, ByteBuffer) -> Void

  /// A method for users that have the role `root`.
  func forRoot(_ handler: @escaping UnaryHandler) -> RPCMethod {
    guarded(handler) { [self] call throws(RequestError) in try checkRoot(call, in: publication.snapshot) }
  }

  /// A method for everybody who says truly who it is.
  func forUsers(_ handler: @escaping UnaryHandler) -> RPCMethod {
    guarded(handler) { [self] call throws(RequestError) in try checkUser(call, in: publication.snapshot) }
  }

  private func guarded(
    _ handler: @escaping UnaryHandler, _ check: @escaping @Sendable (UnaryCall) throws(RequestError) -> Void
  ) -> RPCMethod {
    .unary { call, body in
      do throws(RequestError) { try check(call) } catch { return call.fail(RPCStatus(error)) }
      handler(call, body)
    }
  }
}

extension RPCStatus {
  init(_ error: AuthError) {
    self =
      switch error {
      case .rootUserNotFound: .etcd(.failedPrecondition, "root user does not exist")
      case .rootRoleNotGranted: .etcd(.failedPrecondition, "root user does not have root role")
      case .userExists: .etcd(.failedPrecondition, "user name already exists")
      case .userNameEmpty: .etcd(.invalidArgument, "user name is empty")
      case .userNotFound: .etcd(.failedPrecondition, "user name not found")
      case .roleExists: .etcd(.failedPrecondition, "role name already exists")
      case .roleNotFound: .etcd(.failedPrecondition, "role name not found")
      case .roleNameEmpty: .etcd(.invalidArgument, "role name is empty")
      case .authenticationFailed:
        .etcd(.invalidArgument, "authentication failed, invalid user ID or password")
      case .permissionNotGiven: .etcd(.invalidArgument, "permission not given")
      case .permissionDenied: .etcd(.permissionDenied, "permission denied")
      case .roleNotGranted: .etcd(.failedPrecondition, "role is not granted to the user")
      case .permissionNotGranted: .etcd(.failedPrecondition, "permission is not granted to the role")
      case .notEnabled: .etcd(.failedPrecondition, "authentication is not enabled")
      case .invalidToken: .etcd(.unauthenticated, "invalid auth token")
      case .invalidManagement: .etcd(.invalidArgument, "invalid auth management")
      case .oldRevision: .etcd(.invalidArgument, "revision of auth store is old")
      // etcd has no code for it, and passes on its own words.
      case .noPasswordUser:
        RPCStatus(
          code: .unknown, message: "auth: authentication failed, password was given for no password user")
      }
  }

  /// As Go writes an error of gRPC's. etcd's clients look for it in the reason why a watch was cancelled.
  var goText: String { "rpc error: code = \(code.goName) desc = \(message)" }
}

extension RPCCode {
  fileprivate var goName: String {
    switch self {
    case .ok: "OK"
    case .cancelled: "Canceled"
    case .internalError: "Internal"
    case .unknown: "Unknown"
    case .invalidArgument: "InvalidArgument"
    case .deadlineExceeded: "DeadlineExceeded"
    case .notFound: "NotFound"
    case .alreadyExists: "AlreadyExists"
    case .permissionDenied: "PermissionDenied"
    case .resourceExhausted: "ResourceExhausted"
    case .failedPrecondition: "FailedPrecondition"
    case .aborted: "Aborted"
    case .outOfRange: "OutOfRange"
    case .unimplemented: "Unimplemented"
    case .unavailable: "Unavailable"
    case .dataLoss: "DataLoss"
    case .unauthenticated: "Unauthenticated"
    }
  }
}
