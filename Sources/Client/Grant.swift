// Authority over scopes as a client has it: what is asked for, what is granted, and why it was refused.

import Protocol

/// Authority over a scope: a number that only rises, and a token that proves it.
public struct Grant: Sendable {
  /// Alone, or with others.
  public enum Mode: String, Sendable, Hashable, Codable {
    /// Nobody else holds the scope.
    case exclusive
    /// Others may hold it too, all under the number of the first of them. Its token is for reading.
    case shared
  }

  /// Whether gateways that protect the scope refuse what is older.
  public enum Barrier: String, Sendable, Hashable, Codable {
    /// No gateway is registered for the scope.
    case none
    /// Every one refuses what is older.
    case confirmed
    /// One may still take an older token.
    case unconfirmed
  }

  /// What is held.
  public let scope: String
  /// The revision at which the grant was applied.
  public let number: Int64
  /// Raised by a restore of the cluster; numbers are ordered within one.
  public let incarnation: UInt64
  /// The id of the cluster that made the grant.
  public let cluster: UInt64
  /// The store's revision at which the answer was made.
  public let revision: Int64
  /// The name under which the scope was acquired.
  public let holder: String
  /// The session, or lease, on which the grant lives.
  public let session: Int64
  /// Whether others hold the scope as well.
  public let mode: Mode
  /// How far the gateways were when the answer was made.
  public let barrier: Barrier
  /// What the holder says of itself; of an election's leader, mostly an address.
  public let value: [UInt8]
  /// A signed JWT; empty in a description of somebody else's grant.
  public let token: String
  /// What was left of the lease when the server answered.
  public let timeLeft: Duration

  /// `value` as UTF-8, with U+FFFD for what is none.
  public var valueText: String { String(decoding: value, as: UTF8.self) }

  init(_ grant: Portcullis_V1_Grant, _ evidence: Portcullis_V1_Evidence) {
    scope = grant.scope
    number = grant.number
    incarnation = evidence.incarnation
    cluster = evidence.clusterID
    revision = evidence.revision
    holder = grant.holder
    session = grant.lease
    mode = grant.mode == .shared ? .shared : .exclusive
    barrier =
      switch grant.barrier {
      case .confirmed: .confirmed
      case .unconfirmed: .unconfirmed
      default: .none
      }
    value = [UInt8](grant.value)
    token = grant.token
    timeLeft = .milliseconds(grant.timeLeftMs)
  }
}

/// What a session asks for: one scope, or several at once, all or none.
public struct GrantRequest: Sendable, Hashable {
  /// Fence before grant: whether the answer waits until every gateway that protects a scope refuses what is older.
  public enum Barrier: String, Sendable, Hashable, CaseIterable {
    /// Required where a gateway is registered.
    case whereRegistered
    /// There is no grant without every gateway's word.
    case required
    /// The answer waits for a while, and then says `unconfirmed`.
    case preferred
    /// The answer waits for nobody.
    case off
  }

  /// At least one, each once, and 64 at most. They are granted under one number.
  public var scopes: [String]
  /// Alone, or shared with others.
  public var mode = Grant.Mode.exclusive
  /// How long to stand in line; zero tries once.
  public var wait = Duration.zero
  /// How long the scopes stay closed when the holder is lost, as opposed to letting go: for what cannot check a token. At
  /// most ten minutes.
  public var lockDelay = Duration.zero
  /// Whether gateways are waited for.
  public var barrier = Barrier.whereRegistered
  /// How long they are; nil for the server's choice (5 s where required, 1 s where preferred).
  public var barrierWait: Duration?
  /// What the holder says of itself; at most 4096 bytes.
  public var value: [UInt8] = []
  /// The same request again, under the same id, answers with the grant that the first one made. Made up here, so that what the
  /// client sends again after an unknown outcome is one request; set it to make your own retries one as well.
  public var requestID = RequestID.random()

  /// Asks for some scopes, alone, without waiting.
  public init(_ scopes: [String]) { self.scopes = scopes }

  /// Asks for one scope.
  public init(_ scope: String) { self.init([scope]) }

  /// What a person would call it.
  var label: String { scopes.joined(separator: ", ") }

  /// Longer than the server waits for anything.
  var barrierPatience: Duration { barrier == .off ? .zero : barrierWait ?? .seconds(5) }

  func message(session: Int64, wait: Duration) -> Portcullis_V1_AcquireRequest {
    var message = Portcullis_V1_AcquireRequest()
    message.scope = scopes[0]
    message.moreScopes = Array(scopes.dropFirst())
    message.lease = session
    message.waitMs = wait.milliseconds
    message.requestID = requestID
    message.mode = mode == .shared ? .shared : .exclusive
    message.lockDelayMs = lockDelay.milliseconds
    message.barrier =
      switch barrier {
      case .whereRegistered: .default
      case .required: .required
      case .preferred: .preferred
      case .off: .off
      }
    message.barrierMs = barrierWait?.milliseconds ?? 0
    message.value = .init(value)
    return message
  }
}

/// Why a scope was not granted.
public struct Refusal: Sendable {
  /// What was seen.
  public let reason: String
  /// What to do.
  public let advice: String
  /// The grant that stands in the way, without its token.
  public let heldBy: Grant?
  /// Gateways that did not confirm the raise.
  public let missing: [String]
  /// How long the scope stays closed behind a holder that was lost.
  public let closed: Duration

  init(_ refusal: Portcullis_V1_Refusal, _ evidence: Portcullis_V1_Evidence) {
    reason = refusal.reason
    advice = refusal.advice
    heldBy = refusal.hasHeldBy ? Grant(refusal.heldBy, evidence) : nil
    missing = refusal.missing
    closed = .milliseconds(refusal.closedMs)
  }
}

/// Names of requests, so that one which is sent twice is known to be one.
public enum RequestID {
  /// One that nobody else makes up.
  public static func random() -> String {
    String(UInt64.random(in: .min ... .max), radix: 36) + String(UInt64.random(in: .min ... .max), radix: 36)
  }
}

extension Duration {
  /// Rounded up, so that a wait is never shorter than asked.
  var milliseconds: Int64 { (nanoseconds + 999_999) / 1_000_000 }
}
