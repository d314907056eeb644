// A connection to a cluster: calls go to one endpoint and move on to the next when it cannot be reached.

import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
package import SwiftProtobuf
package import Wire

/// A client of a Portcullis (or etcd) cluster. Safe to share between tasks; `close` ends it.
public final class Portcullis: Sendable {
  private struct State {
    var connection: WireConnection?
    var next = 0
    var isClosed = false
    /// Read at the first connection that needs it.
    var tls: TLSSource?
    var logIn: LogIn?
  }

  /// In the order in which they are tried.
  public let endpoints: [Endpoint]
  /// How TLS is spoken with those whose scheme is `https`.
  public let tls: TLSOptions
  /// Who the client is, where the cluster asks; nil for nobody in particular, or whom its certificate names.
  public let credentials: Credentials?
  private let eventLoop: any EventLoop
  private let state = NIOLockedValueBox(State())

  /// Nothing is connected before the first call.
  /// - Parameters:
  ///   - tls: how TLS is spoken with the endpoints whose scheme is `https`.
  ///   - credentials: a user and its password, where the cluster has authentication on.
  public init(endpoints: [Endpoint], tls: TLSOptions = TLSOptions(), credentials: Credentials? = nil) {
    precondition(!endpoints.isEmpty, "a client needs an endpoint")
    self.endpoints = endpoints
    self.tls = tls
    self.credentials = credentials
    self.eventLoop = MultiThreadedEventLoopGroup.singleton.next()
  }

  /// Ends calls in flight and takes no more.
  public func close() {
    let connection = state.withLockedValue { state in
      defer {
        state.connection = nil
        state.isClosed = true
      }
      return state.connection
    }
    connection?.close()
  }

  /// Calls and waits for the answer.
  ///
  /// An endpoint that cannot be reached is skipped, since nothing was sent to it. A call that was sent and failed with
  /// UNAVAILABLE is sent again to the next endpoint only if `isRepeatable`: otherwise it may have been carried out.
  package func call<Request: Message, Response: Message & Sendable>(
    _ path: String, _ request: Request, as type: Response.Type, isRepeatable: Bool, timeout: Duration = .seconds(10),
    metadata: [(String, String)] = []
  ) async throws(RPCStatus) -> Response {
    try await call(path, as: type, isRepeatable: isRepeatable, timeout: timeout, metadata: metadata) { _ in request }
  }

  /// The same for a request that depends on the time that is left when it is sent, again perhaps.
  func call<Request: Message, Response: Message & Sendable>(
    _ path: String, as type: Response.Type, isRepeatable: Bool, timeout: Duration, metadata: [(String, String)] = [],
    making request: (_ left: Duration) -> Request
  ) async throws(RPCStatus) -> Response {
    let deadline = NIODeadline.now() + .nanoseconds(timeout.nanoseconds)
    var last = RPCStatus(.unavailable, "no endpoint was tried in time")
    var attempts = 0
    var (wasReached, hasLoggedInAnew) = (false, false)
    let patience = NIODeadline.now() + Self.connectPatience
    while NIODeadline.now() < deadline, !Task.isCancelled {
      do throws(RPCStatus) {
        let connection = try await connection()
        wasReached = true
        let all = try await authorized(metadata, over: connection, isStream: false)
        do throws(RPCStatus) {
          let left = Duration.nanoseconds((deadline - .now()).nanoseconds)
          return try await connection.unary(path, request(left), as: type, metadata: all, deadline: deadline)
        } catch {
          if error.isOldToken, !hasLoggedInAnew, forgetLogIn() {
            hasLoggedInAnew = true
            continue
          }
          // A node says whether it refused before anything was done. etcd's says no more than that it has no leader.
          let wasNotDone = error.isCertainlyNotApplied || error.message.hasSuffix("no leader")
          guard error.code == .unavailable, isRepeatable || wasNotDone else { throw error }
          last = error
          drop(connection)
        }
      } catch {
        guard error.code == .unavailable else { throw error }
        last = error
        if !isRepeatable, !error.message.hasPrefix(Self.unreachable), !error.message.hasSuffix("no leader") {
          throw error
        }
      }
      attempts += 1
      // Certificates do not mend themselves while somebody waits.
      if last.isTLSFailure, attempts >= endpoints.count { throw last }
      if !wasReached, NIODeadline.now() > patience { throw last }
      if attempts % endpoints.count == 0 { try? await Task.sleep(for: .milliseconds(50)) }
    }
    throw last
  }

  /// Sends one message on a stream of its own and gives what is answered, until the stream ends or nobody listens. A stream
  /// that ends with UNAVAILABLE makes the next call go to another endpoint.
  package func answers<Request: Message, Response: Message & Sendable>(
    _ path: String, to request: Request, as type: Response.Type
  ) async throws(RPCStatus) -> AsyncThrowingStream<Response, any Error> {
    try await open(path, request, as: type).messages
  }

  /// Opens a streaming call at the current endpoint and sends its first message. It ends with the reader of its messages.
  ///
  /// A stream that breaks is the caller's to open again: only the caller knows from where. The next endpoint is then tried.
  func open<Request: Message, Response: Message & Sendable>(
    _ path: String, _ first: Request, as type: Response.Type, metadata: [(String, String)] = []
  ) async throws(RPCStatus) -> OpenStream<Response> {
    let connection = try await connection()
    let all = try await authorized(metadata, over: connection, isStream: true)
    let stream = MessageStream<Response> { [weak self] status in
      if status.code == .unavailable { self?.drop(connection) }
      if status.isOldToken { self?.forgetLogIn() }
    }
    let call = connection.openStream(path, metadata: all, handler: stream)
    stream.endWithReader(call)
    try call.send(first)
    return OpenStream(call: call, messages: stream.messages)
  }

  /// How long a call goes on when no endpoint at all can be connected to: a node that restarts is back by then.
  private static let connectPatience = TimeAmount.seconds(3)
  static let unreachable = "no connection to "

  func connection() async throws(RPCStatus) -> WireConnection {
    let (held, endpoint, isClosed) = state.withLockedValue { state -> (WireConnection?, Endpoint, Bool) in
      (state.connection, endpoints[state.next % endpoints.count], state.isClosed)
    }
    if isClosed { throw RPCStatus(.cancelled, "the client was closed") }
    if let held { return held }
    do {
      let made = try await WireConnection.connect(
        host: endpoint.host, port: endpoint.port, on: eventLoop, tls: try source(for: endpoint)
      ).get()
      made.closeFuture.whenComplete { [weak self] _ in self?.drop(made) }
      state.withLockedValue { state in
        if !state.isClosed { state.connection = made }
      }
      return made
    } catch {
      state.withLockedValue { $0.next += 1 }
      let why = (error as? RPCStatus)?.message ?? "\(error)"
      throw RPCStatus(
        code: .unavailable, message: "\(Self.unreachable)\(endpoint): \(why)",
        trailers: (error as? RPCStatus)?.trailers ?? [])
    }
  }

  /// The certificates, read once for all connections and again when their files change; nil where TLS is not spoken.
  private func source(for endpoint: Endpoint) throws(RPCStatus) -> TLSSource? {
    guard endpoint.usesTLS else { return nil }
    if let known = state.withLockedValue({ $0.tls }) { return known }
    var logger = Logger(label: "portcullis.client")
    logger.logLevel = .warning
    let made = try tls.source(logger: logger)
    state.withLockedValue { $0.tls = made }
    return made
  }

  /// The token to go with calls, if there is one.
  var logIn: LogIn? {
    get { state.withLockedValue { $0.logIn } }
    set { state.withLockedValue { $0.logIn = newValue } }
  }

  /// The next call logs in anew. Returns whether there was anything to forget.
  @discardableResult
  func forgetLogIn() -> Bool {
    state.withLockedValue { state in
      defer { state.logIn = nil }
      return state.logIn != nil
    }
  }

  /// Gives the current connection up, and with it every call on it: its node takes requests and does not answer, as one that
  /// is suspended does. Where there is one endpoint alone, nothing is to be had elsewhere.
  func moveOn() {
    if endpoints.count > 1 { giveUpConnection() }
  }

  /// The next call makes a new connection, to the next endpoint.
  func giveUpConnection() {
    if let current = state.withLockedValue({ $0.connection }) { drop(current) }
  }

  /// Forgets a connection, so that the next call goes elsewhere.
  func drop(_ connection: WireConnection) {
    let wasCurrent = state.withLockedValue { state -> Bool in
      guard state.connection === connection else { return false }
      state.connection = nil
      state.next += 1
      return true
    }
    if wasCurrent { connection.close() }
  }
}

extension RPCStatus {
  /// The server says that the request was not carried out, now or later.
  package var isCertainlyNotApplied: Bool { trailer("portcullis-outcome") == "not-applied" }
  /// The server says that it does not know.
  package var isOutcomeUnknown: Bool { trailer("portcullis-outcome") == "unknown" }
}

extension Duration {
  var nanoseconds: Int64 { components.seconds * 1_000_000_000 + components.attoseconds / 1_000_000_000 }
}
