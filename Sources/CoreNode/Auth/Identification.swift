// Owns the answer to the question who calls: by the token in a call's metadata, or else by the certificate that its
// connection showed, by etcd's rules. Where authentication is off, nobody is asked, and all of it costs a look at a flag.
//
// Must never: take a caller for somebody on the strength of a state that is older than the caller's token.

import CoordinationCore
import NIOConcurrencyHelpers
import NIOCore
import Wire

final class Identification: Sendable {
  /// Signed tokens whose signature was checked.
  private static let maxVerified = 1024
  private static let maxRenewals = 4096
  /// A renewal that got no place in the log is proposed again after this time, or a part of the token's own.
  private static let renewalRetryMilliseconds: Int64 = 2000

  let configuration: AuthConfiguration
  private let verified = NIOLockedValueBox<[String: SignedTokens.Claims]>([:])
  /// Tokens whose renewal was proposed, and when.
  private let renewals = NIOLockedValueBox<[Key: UInt64]>([:])

  init(_ configuration: AuthConfiguration) {
    self.configuration = configuration
  }

  /// Who calls, as far as this state tells; nil where nobody says, or nobody is asked.
  /// - Parameter renew: called with a token that was used and has lived through an eighth of its time.
  /// - Throws: `.auth(.invalidToken)`
  func caller(
    of call: ServerCall, in snapshot: Snapshot, renew: (Key) -> Void
  ) throws(RequestError) -> Caller? {
    let auth = snapshot.state.auth
    guard auth.isEnabled else { return nil }
    guard let text = call.credential else {
      guard let name = call.peerCommonName, !name.isEmpty else { return nil }
      return Caller(user: AuthName(Bytes(name.utf8)), authRevision: auth.revision)
    }
    switch configuration.tokens {
    case .simple: return try simple(text, snapshot, renew)
    case .signed(let tokens):
      guard let claims = claims(of: text, tokens),
        claims.expiresAtSeconds.map({ MachineClock.wallSeconds < $0 }) ?? true
      else { throw .auth(.invalidToken) }
      return Caller(user: claims.user, authRevision: claims.authRevision)
    }
  }

  private func simple(_ text: String, _ snapshot: Snapshot, _ renew: (Key) -> Void) throws(RequestError) -> Caller {
    guard let token = SimpleToken(text) else { throw .auth(.invalidToken) }
    let hash = SimpleToken.hash(ofSecret: token.secret)
    let now = snapshot.clusterMilliseconds
    guard let record = snapshot.state.auth.tokens[hash], record.index == token.index, record.deadlineMilliseconds > now
    else { throw .auth(.invalidToken) }
    // Each use should count, and not each use should be in the log.
    let old = record.ttlMilliseconds - record.ttlMilliseconds / 8
    if Int64(clamping: record.deadlineMilliseconds - now) < old, isRenewalDue(hash, record) { renew(hash) }
    return Caller(user: record.user, authRevision: snapshot.state.auth.revision)
  }

  private func isRenewalDue(_ hash: Key, _ record: TokenRecord) -> Bool {
    let now = MachineClock.monotonicNanoseconds
    let retry = UInt64(min(Self.renewalRetryMilliseconds, record.ttlMilliseconds / 8)) * 1_000_000
    return renewals.withLockedValue { renewals in
      if let proposed = renewals[hash], now < proposed + retry { return false }
      if renewals.count >= Self.maxRenewals { renewals.removeAll() }
      renewals[hash] = now
      return true
    }
  }

  private func claims(of text: String, _ tokens: SignedTokens) -> SignedTokens.Claims? {
    if let known = verified.withLockedValue({ $0[text] }) { return known }
    guard let claims = tokens.claims(of: text) else { return nil }
    verified.withLockedValue { verified in
      if verified.count >= Self.maxVerified { verified.removeAll() }
      verified[text] = claims
    }
    return claims
  }

  /// Whether the caller has a token of which a node that has come so far cannot know yet.
  func isAhead(_ call: ServerCall, of snapshot: Snapshot) -> Bool {
    guard let text = call.credential else { return false }
    switch configuration.tokens {
    case .simple: return SimpleToken(text).map { $0.index > snapshot.applied.rawValue } ?? false
    case .signed(let tokens):
      return claims(of: text, tokens).map { $0.authRevision > snapshot.state.auth.revision } ?? false
    }
  }
}

extension ServerCall {
  /// The token that a caller shows: etcd's own metadata, or what HTTP has for it.
  var credential: String? {
    guard hasCredentials, let value = metadata("token") ?? metadata("authorization") else { return nil }
    return value.hasPrefix("Bearer ") ? String(value.dropFirst("Bearer ".count)) : value
  }
}

// MARK: - Calls of which this node cannot know yet

/// Holds calls back until the node has come as far as whoever made the caller's token, on another node perhaps.
struct CatchingUp: Sendable {
  let core: CoreAccess

  func guarding(_ method: RPCMethod) -> RPCMethod {
    switch method {
    case .unary(let handler):
      return .unary { [core] call, body in
        guard call.hasCredentials, core.isBehind(call) else { return handler(call, body) }
        core.readLinearizably(on: call.eventLoop) { result in
          if case .failure(let failure) = result { return call.fail(RPCStatus(failure)) }
          handler(call, body)
        }
      }
    case .streaming(let make):
      return .streaming { [core] call in
        guard call.hasCredentials, core.isBehind(call) else { return make(call) }
        return HeldStream(call, core: core, make)
      }
    }
  }
}

/// Keeps what a stream's caller says until there is somebody to hear it. `@unchecked Sendable`: used on the call's event
/// loop alone.
private final class HeldStream: @unchecked Sendable, StreamHandler {
  private static let maxMessages = 256

  private let call: StreamCall
  private var messages: [ByteBuffer] = []
  private var isHalfClosed = false
  private var isClosed = false
  private var handler: (any StreamHandler)?

  init(_ call: StreamCall, core: CoreAccess, _ make: @escaping @Sendable (StreamCall) -> any StreamHandler) {
    self.call = call
    core.readLinearizably(on: call.eventLoop) { [self] result in
      // Before it is known whether the stream is open, so that nothing is sent from within its making.
      call.eventLoop.execute { [self] in go(on: result, make) }
    }
  }

  private func go(
    on result: Result<Snapshot, ReadFailure>, _ make: @Sendable (StreamCall) -> any StreamHandler
  ) {
    guard !isClosed else { return }
    if case .failure(let failure) = result { return end(RPCStatus(failure)) }
    let handler = make(call)
    self.handler = handler
    for message in messages where !isClosed { handler.received(message) }
    messages = []
    if isHalfClosed, !isClosed { handler.halfClosed() }
  }

  private func end(_ status: RPCStatus) {
    isClosed = true
    messages = []
    call.finish(status)
  }

  func received(_ message: ByteBuffer) {
    if let handler { return handler.received(message) }
    guard messages.count < Self.maxMessages else { return end(.etcd(.resourceExhausted, "too many requests")) }
    messages.append(message)
  }

  func halfClosed() {
    isHalfClosed = true
    handler?.halfClosed()
  }

  func writable() { handler?.writable() }

  func closed() {
    isClosed = true
    messages = []
    handler?.closed()
  }

  func draining(_ call: StreamCall) {
    if let handler { return handler.draining(call) }
    end(.stopping)
  }
}
