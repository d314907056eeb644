// Acquire, and with it Campaign: the one call that creates authority, from the message to the answer with its token.

import CoordinationCore
import Foundation
import NIOCore
import Protocol
import Tokens
import Wire

struct AcquireCall: Sendable {
  static let mostScopes = 64
  static let longestValue = 4096
  static let longestLockDelayMilliseconds: Int64 = 600_000

  let core: CoreAccess

  @Sendable func receive(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Portcullis_V1_AcquireRequest.self, from: body) else { return }
    if let problem = problem(with: message) ?? problem(withTermsOf: message) {
      return call.fail(RPCStatus(code: .invalidArgument, message: problem))
    }
    let name: ClientSequence?
    let caller: Caller?
    do throws(RPCStatus) {
      name = try call.requestName()
      caller = try core.caller(of: call)
    } catch {
      return call.fail(error)
    }
    let request = AcquireRequest(
      scope: Key(Bytes(message.scope.utf8)), holder: message.holder,
      lease: message.lease == 0 ? Self.leaseID(for: message, name) : message.lease, ttlMilliseconds: message.ttlMs,
      waits: message.waitMs > 0, terms: GrantTerms(message))
    submit(request, call, named: name, by: caller, waitMilliseconds: message.waitMs)
  }

  private func submit(
    _ request: AcquireRequest, _ call: UnaryCall, named name: ClientSequence?, by caller: Caller?,
    waitMilliseconds: Int64
  ) {
    let waiting = WaitingCall()
    waiting.request = core.submit(.acquire(request), named: name, by: caller, on: call.eventLoop) { [core] answer in
      waiting.timer?.cancel()
      call.answer(answer) { outcome, snapshot in
        Self.respond(call, outcome, snapshot, core, lease: request.lease)
      }
    }
    guard waitMilliseconds > 0 else { return }
    waiting.timer = call.eventLoop.scheduleTask(in: .milliseconds(waitMilliseconds)) { [core] in
      core.cancelWait(waiting.request, .deadline)
    }
    call.onCancel = { [core] in
      waiting.timer?.cancel()
      core.cancelWait(waiting.request, .abandoned)
    }
  }

  /// The state of a call that waits. `@unchecked Sendable`: used on the call's event loop alone.
  private final class WaitingCall: @unchecked Sendable {
    var request: UInt64 = 0
    var timer: Scheduled<Void>?
  }

  // MARK: What is refused before the log is asked

  private func problem(with message: Portcullis_V1_AcquireRequest) -> String? {
    let least = core.configuration.minimumLeaseMilliseconds
    if message.scope.isEmpty { return "acquire needs a scope: the name of what is to be held" }
    if message.holder.isEmpty, message.lease == 0 {
      return "acquire needs a holder: a name by which others can tell who holds the scope"
    }
    if message.scope.utf8.count + message.holder.utf8.count > 1024 {
      return "scope and holder together may have 1024 bytes, these have "
        + "\(message.scope.utf8.count + message.holder.utf8.count)"
    }
    if message.lease == 0, message.ttlMs < least {
      return "acquire without a lease needs ttl_ms of at least \(least), this one has \(message.ttlMs)"
    }
    if message.lease != 0, message.ttlMs != 0 { return "acquire takes a lease or a ttl_ms, not both" }
    if message.waitMs > 0, message.lease == 0 {
      return "acquire that waits needs a lease which the caller keeps alive: grant one first (LeaseGrant)"
    }
    if message.ttlMs > core.configuration.limits.maxLeaseSeconds * 1000 { return "ttl_ms is too large" }
    return nil
  }

  private func problem(withTermsOf message: Portcullis_V1_AcquireRequest) -> String? {
    if message.moreScopes.count >= Self.mostScopes {
      return "acquire takes at most \(Self.mostScopes) scopes, this one has \(message.moreScopes.count + 1)"
    }
    for scope in message.moreScopes where scope.isEmpty || scope.utf8.count > 1024 {
      return "each of more_scopes needs a name of 1 to 1024 bytes, one has \(scope.utf8.count)"
    }
    if Set(message.moreScopes + [message.scope]).count <= message.moreScopes.count {
      return "acquire names a scope twice"
    }
    if !(0...Self.longestLockDelayMilliseconds).contains(message.lockDelayMs) {
      return "lock_delay_ms is between 0 and \(Self.longestLockDelayMilliseconds), not \(message.lockDelayMs)"
    }
    if message.value.count > Self.longestValue {
      return "value may have \(Self.longestValue) bytes, this one has \(message.value.count)"
    }
    if message.barrierMs < 0 { return "barrier_ms is not negative" }
    if case .UNRECOGNIZED(let number) = message.mode { return "there is no mode \(number)" }
    if case .UNRECOGNIZED(let number) = message.barrier { return "there is no barrier \(number)" }
    return nil
  }

  /// A retry under the same request id finds the lease of its first attempt, and so the grant that it may have got.
  private static func leaseID(for message: Portcullis_V1_AcquireRequest, _ name: ClientSequence?) -> LeaseID {
    guard !message.requestID.isEmpty else { return LeaseService.newID(for: name) }
    return max(1, LeaseID(Digest.of([message.scope, message.holder, message.requestID]) >> 1))
  }

  // MARK: The answer

  /// - Parameter lease: the one that the caller came with.
  private static func respond(
    _ call: UnaryCall, _ outcome: Outcome, _ snapshot: Snapshot, _ core: CoreAccess, lease: LeaseID
  ) {
    var response = Portcullis_V1_AcquireResponse()
    response.evidence = core.evidence(snapshot)
    switch outcome {
    case .granted, .grantedAll:
      do {
        let grants = try outcome.grants.map { try core.signedGrant($0, snapshot) }
        response.granted = grants[0]
        response.alsoGranted = Array(grants.dropFirst())
      } catch {
        return call.fail(RPCStatus(code: .internalError, message: "the grant was made, its token was not: \(error)"))
      }
    case .refused(let refusal): response.refused = core.refusal(refusal, snapshot)
    case .waitEnded(let current):
      let reason =
        if snapshot.state.leases[lease] == nil {
          "the lease that waited has ended"
        } else if let current {
          "still held by \(current.holder) under number \(current.number) when the wait ended"
        } else {
          "the wait ended before every scope was free"
        }
      response.refused = core.refusal(
        reason, "acquire again with a live lease and more time", current, snapshot)
    default: preconditionFailure("an acquire ends granted, refused or out of time")
    }
    call.respond(response)
  }
}

extension GrantTerms {
  /// Nil where the message asks for nothing of its own: such a request has the form that every version reads.
  init?(_ message: Portcullis_V1_AcquireRequest) {
    self.init()
    more = message.moreScopes.map { Key(Bytes($0.utf8)) }
    isShared = message.mode == .shared
    lockDelayMilliseconds = message.lockDelayMs
    value = Bytes(message.value)
    barrierMilliseconds = message.barrierMs
    barrier =
      switch message.barrier {
      case .preferred: .preferred
      case .off: .off
      default: .required
      }
    if self == GrantTerms() { return nil }
  }
}

extension CoreAccess {
  /// With its token: for nobody but the holder.
  func signedGrant(_ record: GrantRecord, _ snapshot: Snapshot) throws -> Portcullis_V1_Grant {
    var grant = grant(record, snapshot)
    grant.token = try issuer.token(
      scope: String(decoding: record.scope.bytes, as: UTF8.self), number: record.number, holder: record.holder,
      isShared: record.isShared)
    return grant
  }

  func refusal(_ refusal: GrantRefusal, _ snapshot: Snapshot) -> Portcullis_V1_Refusal {
    switch refusal {
    case .held(let current):
      return self.refusal(
        "\(current.isShared ? "shared" : "held") by \(current.holder) under number \(current.number)",
        "wait for it (wait_ms), or try again when its lease has ended", current, snapshot)
    case .notHolder(let current, let last):
      return self.refusal(
        "it is not held under that number; its newest number is \(last)", "acquire again", current, snapshot)
    case .awaited(let holder):
      return self.refusal(
        "\(holder) came earlier and waits for this scope and others", "stand in line (wait_ms)", nil, snapshot)
    case .closed(let until):
      let left = max(1, Int64(clamping: until) - Int64(clamping: snapshot.clusterMilliseconds))
      var answer = self.refusal(
        "its holder was lost, and it stays closed for another \(left) ms (lock-delay)", "wait for it (wait_ms)", nil,
        snapshot)
      answer.closedMs = left
      return answer
    case .unconfirmed(let grant, let missing):
      var answer = self.refusal(
        "number \(grant.number) was not confirmed in time by \(missing.joined(separator: ", ")), which may still let in"
          + " what is older; the grant was taken back",
        "see to it that the gateway runs; one that is gone for good can be deregistered", nil, snapshot)
      answer.missing = missing
      return answer
    }
  }
}
