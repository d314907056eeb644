// Who a client says that it is, where a cluster asks for names and passwords, and the token that this was answered with.

import NIOCore
import Protocol
import Wire

/// A user of a cluster that has authentication on (etcd's `auth enable`), and its password.
///
/// The client logs in at its first call and again when its token is no longer taken. Over a connection without TLS the
/// password can be read by whoever sees the traffic. A user that shows a certificate needs none of this.
public struct Credentials: Sendable, Hashable {
  /// The user's name.
  public var user: String
  /// The user's password.
  public var password: String

  /// Nothing is checked before the first call.
  public init(user: String, password: String) {
    self.user = user
    self.password = password
  }
}

/// A token, and since when the client has it.
struct LogIn: Sendable {
  let token: String
  let since: NIODeadline

  /// A stream is judged when it opens, and what was refused there the caller would have to open again: so a stream begins with
  /// a token that cannot have aged out. The shortest time to live that a server is given is some seconds.
  static let freshness = TimeAmount.seconds(5)
}

extension Portcullis {
  /// What goes with each call: what the caller says, and the token of its user.
  /// - Parameter isStream: whether the call cannot simply be made again when the token turns out to be too old.
  func authorized(
    _ metadata: [(String, String)], over connection: WireConnection, isStream: Bool
  ) async throws(RPCStatus) -> [(String, String)] {
    guard let credentials else { return metadata }
    let oldest = NIODeadline.now() - LogIn.freshness
    if let known = logIn, !isStream || known.since > oldest { return metadata + [("token", known.token)] }
    var request = Etcdserverpb_AuthenticateRequest()
    request.name = credentials.user
    request.password = credentials.password
    do throws(RPCStatus) {
      let answer = try await connection.unary(
        RPCPath.Auth.authenticate, request, as: Etcdserverpb_AuthenticateResponse.self,
        deadline: .now() + .seconds(10))
      logIn = LogIn(token: answer.token, since: .now())
      return metadata + [("token", answer.token)]
    } catch {
      // Nobody is asked for a name where authentication is off, and then none is needed.
      if error.message.hasSuffix("authentication is not enabled") { return metadata }
      guard error.code == .unavailable else { throw error }
      // The call itself was not sent, so any other node may still be asked.
      drop(connection)
      throw RPCStatus(.unavailable, "\(Self.unreachable)a node that logs \(credentials.user) in: \(error.message)")
    }
  }
}

extension RPCStatus {
  /// The token is not taken any more: it aged out, or users and roles changed. Nothing was done.
  var isOldToken: Bool {
    (code == .unauthenticated && message.hasSuffix("invalid auth token"))
      || (code == .invalidArgument && message.hasSuffix("revision of auth store is old"))
  }
}
