// etcd's Election service. The leader is whoever has the key under `name/` with the lowest create revision (see
// Line.swift); that key's value is what it proclaims.

import CoordinationCore
import Foundation
import NIOCore
import Protocol
import Wire

struct ElectionService: Sendable {
  let core: CoreAccess

  var routes: [String: RPCMethod] {
    [
      RPCPath.Election.campaign: .recipe(campaign),
      RPCPath.Election.proclaim: .recipe(proclaim),
      RPCPath.Election.leader: .recipe(leader),
      RPCPath.Election.resign: .recipe(resign),
      RPCPath.Election.observe: .streaming { [core] call in ObserveStream(call, core: core) },
    ]
  }

  private static let sessionExpired = RPCStatus(code: .unknown, message: "election: session is expired")
  private static let noLeader = RPCStatus(code: .unknown, message: "election: no leader")
  private static let notLeader = RPCStatus(code: .unknown, message: "election: not leader")
  private static let missingLeader = RPCStatus(code: .unknown, message: "\"leader\" field must be provided")

  // MARK: Becoming the leader

  @Sendable private func campaign(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(V3electionpb_CampaignRequest.self, from: body),
      call.maySee(Line(name: message.name), in: core)
    else { return }
    call.withLease(message.lease, of: core) { lease in enter(call, message, lease: lease) }
  }

  private func enter(_ call: UnaryCall, _ message: V3electionpb_CampaignRequest, lease: LeaseID) {
    let line = Line(name: message.name)
    let key = line.key(of: lease)
    call.submit(.transaction(Self.entry(key, value: Bytes(message.value), lease: lease)), to: core) {
      outcome, snapshot, _ in
      guard let mine = snapshot.state.store.current(key) else { return call.fail(Self.sessionExpired) }
      let wait = TurnWait(
        call, core: core, line: line, mine: mine, madePlace: outcome.succeeded, lost: Self.sessionExpired
      ) { mine, snapshot in
        answer(call, name: message.name, mine: mine, snapshot)
      }
      wait.start()
    }
  }

  private func answer(_ call: UnaryCall, name: Data, mine: KeyVersion, _ snapshot: Snapshot) {
    var response = V3electionpb_CampaignResponse()
    response.header = core.header(snapshot)
    response.leader.name = name
    response.leader.key = Data(mine.key.bytes)
    response.leader.rev = mine.createRevision
    response.leader.lease = mine.lease
    response.number = mine.createRevision
    response.token = core.token(kind: "election", name: name, mine: mine)
    response.timeLeftMs = snapshot.timeLeftMilliseconds(of: mine.lease)
    response.incarnation = core.identity.incarnation
    call.respond(response)
  }

  /// Puts the candidate's key; one that is in the line already keeps its place and gets the new value.
  private static func entry(_ key: Key, value: Bytes, lease: LeaseID) -> TransactionRequest {
    let range = KeyRange(start: key, end: .single)
    var put = PutRequest(key: key, value: value)
    put.lease = lease
    var again = TransactionRequest()
    again.compares = [Compare(range: range, target: .value(value), relation: .notEqual)]
    again.success = [.put(put)]
    var request = TransactionRequest()
    request.compares = [Compare(range: range, target: .createRevision(0), relation: .equal)]
    request.success = [.put(put)]
    request.failure = [.transaction(again)]
    return request
  }

  // MARK: Being the leader

  @Sendable private func proclaim(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(V3electionpb_ProclaimRequest.self, from: body) else { return }
    guard message.hasLeader else { return call.fail(Self.missingLeader) }
    let key = Key(Bytes(message.leader.key))
    var put = PutRequest(key: key, value: Bytes(message.value))
    put.ignoresLease = true
    var request = TransactionRequest()
    request.compares = [
      Compare(range: KeyRange(start: key, end: .single), target: .createRevision(message.leader.rev), relation: .equal),
      // No leader has the revision 0, which is that of a key that is not there.
      Compare(range: KeyRange(start: key, end: .single), target: .createRevision(0), relation: .greater),
    ]
    request.success = [.put(put)]
    call.submit(.transaction(request), to: core) { [core] outcome, snapshot, revision in
      guard case .transaction(let result) = outcome, result.succeeded else { return call.fail(Self.notLeader) }
      var response = V3electionpb_ProclaimResponse()
      response.header = core.header(revision: revision, term: snapshot.term)
      call.respond(response)
    }
  }

  /// Whoever leads no longer has nothing to give up, and is told so by nothing but the silence of the key.
  @Sendable private func resign(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(V3electionpb_ResignRequest.self, from: body) else { return }
    guard message.hasLeader else { return call.fail(Self.missingLeader) }
    let request = TransactionRequest.deleting(Key(Bytes(message.leader.key)), createdAt: message.leader.rev)
    call.submit(.transaction(request), to: core) { [core] _, snapshot, revision in
      var response = V3electionpb_ResignResponse()
      response.header = core.header(revision: revision, term: snapshot.term)
      call.respond(response)
    }
  }

  // MARK: Asking for the leader

  @Sendable private func leader(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(V3electionpb_LeaderRequest.self, from: body) else { return }
    call.read(core) { [core] snapshot in
      let line = Line(name: message.name)
      do throws(RequestError) {
        try core.checkRead(line.range, by: call, in: snapshot)
      } catch {
        return call.fail(RPCStatus(error))
      }
      guard let first = line.first(in: snapshot) else { return call.fail(Self.noLeader) }
      var response = V3electionpb_LeaderResponse()
      response.header = core.header(snapshot)
      response.kv = Mvccpb_KeyValue(first)
      call.respond(response)
    }
  }
}
