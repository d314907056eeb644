// portcullis.v1: grants with numbers and tokens. Every answer carries its evidence, every refusal what was seen and what
// to do next.

import CoordinationCore
import FencingCore
import Foundation
import NIOCore
import Protocol
import RaftCore
import Tokens
import Wire

struct AuthorityService: Sendable {
  let core: CoreAccess

  var routes: [String: RPCMethod] {
    [
      RPCPath.Authority.acquire: .unary { [core] call, body in AcquireCall(core: core).receive(call, body) },
      RPCPath.Authority.release: .unary(release),
      RPCPath.Authority.describe: .unary(describe),
      RPCPath.Authority.scopes: .unary(scopes),
      RPCPath.Authority.keys: .unary(keys),
      RPCPath.Authority.hold: .streaming { [core] call in HoldStream(call, core: core) },
    ]
  }

  // MARK: Release and describe

  /// Also how a leader resigns.
  @Sendable func release(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Portcullis_V1_ReleaseRequest.self, from: body) else { return }
    let scope = Key(Bytes(message.scope.utf8))
    let caller: Caller?
    do throws(RPCStatus) { caller = try core.caller(of: call) } catch { return call.fail(error) }
    let command = Command.release(scope: scope, number: message.number, lease: message.holderLease)
    call.submit(command, to: core) { [core] outcome, snapshot, _ in
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
        response.sharers = state.sharing.map { core.grant($0, snapshot) }
        response.closedMs = snapshot.closedMilliseconds(state)
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

  private static let mostScopes = 1000

  @Sendable private func scopes(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Portcullis_V1_ScopesRequest.self, from: body) else { return }
    let prefix = Bytes(message.prefix.utf8)
    call.read(core) { [core] snapshot in
      do throws(RequestError) {
        try core.checkRead(KeyRange(prefix: prefix), by: call, in: snapshot)
      } catch {
        return call.fail(RPCStatus(error))
      }
      var response = Portcullis_V1_ScopesResponse()
      response.evidence = core.evidence(snapshot)
      let limit = message.limit > 0 ? min(Int(message.limit), Self.mostScopes) : Self.mostScopes
      snapshot.state.scopes.forEach(from: max(Key(prefix), Key(Bytes(message.from.utf8)))) { scope, state in
        guard scope.bytes.starts(with: prefix) else { return false }
        if message.inUse, !state.isHeld, state.waitingCount == 0 { return true }
        guard response.scopes.count < limit else {
          response.next = String(decoding: scope.bytes, as: UTF8.self)
          return false
        }
        response.scopes.append(core.summary(of: scope, state, snapshot))
        return true
      }
      call.respond(response)
    }
  }

  @Sendable private func keys(_ call: UnaryCall, _ body: ByteBuffer) {
    call.read(core) { [core] snapshot in
      var response = Portcullis_V1_KeysResponse()
      response.evidence = core.evidence(snapshot)
      response.jwks = core.jwks(snapshot)
      call.respond(response)
    }
  }
}

extension KeySet {
  /// The keys of all nodes. Those of a state that was restored vouch for the incarnations before it alone; those of nodes
  /// that were removed, or have another key since, for what was granted until then.
  init(_ records: [NodeRecord], incarnation: UInt64) {
    var keys: [VerifyingKey] = []
    var last: [String: Authority] = [:]
    for record in records {
      guard let key = try? VerifyingKey(rawRepresentation: record.publicKey) else { continue }
      keys.append(key)
      if record.isRemoved, record.node == 0, incarnation > 0 {
        last[key.kid] = Incarnation(incarnation - 1).map { Authority(incarnation: $0, number: .highest) }
      } else if let number = GrantNumber(record.lastNumber) {
        last[key.kid] = Incarnation(incarnation).map { Authority(incarnation: $0, number: number) }
      }
    }
    self.init(keys, lastAuthority: last)
  }
}

extension CoreAccess {
  /// The public keys of all nodes, as a JWKS (RFC 7517).
  func jwks(_ snapshot: Snapshot) -> String {
    KeySet(snapshot.state.nodes, incarnation: identity.incarnation).jwksJSON()
  }
}

extension Snapshot {
  /// How long a scope stays closed, as this node sees it.
  func closedMilliseconds(_ scope: ScopeState) -> Int64 {
    guard scope.isClosed else { return 0 }
    return max(1, Int64(clamping: scope.closedUntilMilliseconds) - Int64(clamping: clusterMilliseconds))
  }
}

extension CoreAccess {
  func summary(of scope: Key, _ state: ScopeState, _ snapshot: Snapshot) -> Portcullis_V1_ScopeSummary {
    var summary = Portcullis_V1_ScopeSummary()
    summary.scope = String(decoding: scope.bytes, as: UTF8.self)
    if let holder = state.holder { summary.holder = grant(holder, snapshot) }
    summary.lastNumber = state.lastNumber
    summary.waiting = Int64(state.waitingCount)
    summary.sharers = Int64(state.sharersCount)
    summary.closedMs = snapshot.closedMilliseconds(state)
    return summary
  }

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
    grant.mode = record.isShared ? .shared : .exclusive
    let scope = snapshot.state.scopes[record.scope]
    // What is said of the scope is of its newest grant.
    if scope?.lastNumber == record.number {
      grant.value = Data(scope?.value ?? [])
      let isProtected = snapshot.state.gateways.protects(record.scope)
      let isConfirmed = snapshot.state.gateways.missing(for: record.scope).isEmpty
      grant.barrier = isProtected ? (isConfirmed ? .confirmed : .unconfirmed) : .none
    }
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
