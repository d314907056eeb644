// portcullis.v1: grants with numbers and tokens. Every answer carries its evidence, every refusal what was seen and what
// to do next.

import CoordinationCore
import NIOCore
import Protocol
import RaftCore
import Tokens
import Wire

struct AuthorityService: Sendable {
  let core: CoreAccess

  var routes: [String: RPCMethod] {
    [
      RPCPath.Authority.acquire: .unary(acquire),
      RPCPath.Authority.release: .unary(release),
      RPCPath.Authority.describe: .unary(describe),
      RPCPath.Authority.keys: .unary(keys),
      RPCPath.Authority.hold: .streaming { [core] call in HoldStream(call, core: core) },
    ]
  }

  // MARK: Acquire

  @Sendable private func acquire(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Portcullis_V1_AcquireRequest.self, from: body) else { return }
    if let problem = problem(with: message) {
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
      waits: message.waitMs > 0)
    let waiting = WaitingCall()
    waiting.request = core.submit(.acquire(request), named: name, by: caller, on: call.eventLoop) { [core] answer in
      waiting.timer?.cancel()
      call.answer(answer) { outcome, snapshot in
        Self.respond(call, outcome, snapshot, core, lease: request.lease)
      }
    }
    guard message.waitMs > 0 else { return }
    waiting.timer = call.eventLoop.scheduleTask(in: .milliseconds(message.waitMs)) { [core] in
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

  private func problem(with message: Portcullis_V1_AcquireRequest) -> String? {
    let least = core.configuration.minimumLeaseMilliseconds
    if message.scope.isEmpty { return "acquire needs a scope: the name of what is to be held" }
    if message.holder.isEmpty { return "acquire needs a holder: a name by which others can tell who holds the scope" }
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

  /// A retry under the same request id finds the lease of its first attempt, and so the grant that it may have got.
  private static func leaseID(for message: Portcullis_V1_AcquireRequest, _ name: ClientSequence?) -> LeaseID {
    guard !message.requestID.isEmpty else { return LeaseService.newID(for: name) }
    return max(1, LeaseID(Digest.of([message.scope, message.holder, message.requestID]) >> 1))
  }

  /// - Parameter lease: the one that the caller came with.
  private static func respond(
    _ call: UnaryCall, _ outcome: Outcome, _ snapshot: Snapshot, _ core: CoreAccess, lease: LeaseID
  ) {
    var response = Portcullis_V1_AcquireResponse()
    response.evidence = core.evidence(snapshot)
    switch outcome {
    case .granted(let record):
      do {
        var grant = core.grant(record, snapshot)
        grant.token = try core.issuer.token(
          scope: String(decoding: record.scope.bytes, as: UTF8.self), number: record.number, holder: record.holder)
        response.granted = grant
      } catch {
        return call.fail(RPCStatus(code: .internalError, message: "the grant was made, its token was not: \(error)"))
      }
    case .refused(.held(let current)):
      response.refused = core.refusal(
        "held by \(current.holder) under number \(current.number)",
        "wait for it (wait_ms), or try again when its lease has ended", current, snapshot)
    case .waitEnded(let current):
      let reason =
        if let current, snapshot.state.leases[lease] != nil {
          "still held by \(current.holder) under number \(current.number) when the wait ended"
        } else {
          "the lease that waited has ended"
        }
      response.refused = core.refusal(
        reason, "acquire again with a live lease and more time", current, snapshot)
    default: preconditionFailure("an acquire ends granted, refused or out of time")
    }
    call.respond(response)
  }

  // MARK: Release and describe

  @Sendable private func release(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Portcullis_V1_ReleaseRequest.self, from: body) else { return }
    let scope = Key(Bytes(message.scope.utf8))
    let caller: Caller?
    do throws(RPCStatus) { caller = try core.caller(of: call) } catch { return call.fail(error) }
    call.submit(.release(scope: scope, number: message.number), to: core) { [core] outcome, snapshot, _ in
      var response = Portcullis_V1_ReleaseResponse()
      response.evidence = core.evidence(snapshot)
      switch outcome {
      case .released: response.released = Portcullis_V1_Released()
      case .refused(.notHolder(let current, let last)):
        response.refused = core.refusal(
          "number \(message.number) does not hold the scope; its newest number is \(last)",
          current == nil ? "nothing to release" : "leave it: the scope belongs to a newer grant", current, snapshot)
      default: preconditionFailure("a release ends released or refused")
      }
      guard message.lease != 0 else { return call.respond(response) }
      let answer = response
      core.submit(.leaseRevoke(message.lease), by: caller, on: call.eventLoop) { _ in call.respond(answer) }
    }
  }

  @Sendable private func describe(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Portcullis_V1_DescribeRequest.self, from: body) else { return }
    call.read(core) { [core] snapshot in
      let scope = Key(Bytes(message.scope.utf8))
      do throws(RequestError) {
        try core.checkRead(KeyRange(start: scope, end: .single), by: call, in: snapshot)
      } catch {
        return call.fail(RPCStatus(error))
      }
      var response = Portcullis_V1_DescribeResponse()
      response.evidence = core.evidence(snapshot)
      if let state = snapshot.state.scopes[scope] {
        if let holder = state.holder { response.holder = core.grant(holder, snapshot) }
        response.lastNumber = state.lastNumber
        response.waiting = state.waiting.map { waiter in
          var entry = Portcullis_V1_Waiter()
          entry.holder = waiter.holder
          entry.lease = waiter.lease
          return entry
        }
      }
      call.respond(response)
    }
  }

  @Sendable private func keys(_ call: UnaryCall, _ body: ByteBuffer) {
    call.read(core) { [core] snapshot in
      var response = Portcullis_V1_KeysResponse()
      response.evidence = core.evidence(snapshot)
      response.jwks = snapshot.jwks
      call.respond(response)
    }
  }
}

extension Snapshot {
  /// The public keys of all nodes, as a JWKS (RFC 7517).
  var jwks: String {
    KeySet(state.nodes.compactMap { try? VerifyingKey(rawRepresentation: $0.publicKey) }).jwksJSON()
  }
}

extension CoreAccess {
  func evidence(_ snapshot: Snapshot) -> Portcullis_V1_Evidence {
    var evidence = Portcullis_V1_Evidence()
    evidence.clusterID = identity.clusterID
    evidence.incarnation = identity.incarnation
    evidence.revision = snapshot.state.revision
    evidence.term = snapshot.term.rawValue
    evidence.memberID = identity.nodeID.rawValue
    return evidence
  }

  func grant(_ record: GrantRecord, _ snapshot: Snapshot) -> Portcullis_V1_Grant {
    var grant = Portcullis_V1_Grant()
    grant.scope = String(decoding: record.scope.bytes, as: UTF8.self)
    grant.number = record.number
    grant.holder = record.holder
    grant.lease = record.lease
    if let lease = snapshot.state.leases[record.lease] {
      grant.ttlMs = lease.ttlMilliseconds
      grant.timeLeftMs = snapshot.timeLeftMilliseconds(of: record.lease)
    }
    return grant
  }

  func refusal(
    _ reason: String, _ advice: String, _ current: GrantRecord?, _ snapshot: Snapshot
  ) -> Portcullis_V1_Refusal {
    var refusal = Portcullis_V1_Refusal()
    refusal.reason = reason
    refusal.advice = advice
    if let current { refusal.heldBy = grant(current, snapshot) }
    return refusal
  }
}
