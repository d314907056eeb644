// etcd's Lock service. A lock is owned by the key under `name/` with the lowest create revision (see Line.swift).

import CoordinationCore
import Foundation
import NIOCore
import Protocol
import Wire

struct LockService: Sendable {
  let core: CoreAccess

  var routes: [String: RPCMethod] {
    [RPCPath.Lock.lock: .recipe(lock), RPCPath.Lock.unlock: .recipe(unlock)]
  }

  private static let sessionExpired = RPCStatus(code: .unknown, message: "mutex: session is expired")

  @Sendable private func lock(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(V3lockpb_LockRequest.self, from: body),
      call.maySee(Line(name: message.name), in: core)
    else { return }
    call.withLease(message.lease, of: core) { lease in enter(call, name: message.name, lease: lease) }
  }

  private func enter(_ call: UnaryCall, name: Data, lease: LeaseID) {
    let line = Line(name: name)
    let key = line.key(of: lease)
    var put = PutRequest(key: key, value: [])
    put.lease = lease
    var request = TransactionRequest()
    request.compares = [
      Compare(range: KeyRange(start: key, end: .single), target: .createRevision(0), relation: .equal)
    ]
    request.success = [.put(put)]
    call.submit(.transaction(request), to: core) { [core] outcome, snapshot, _ in
      guard let mine = snapshot.state.store.current(key) else { return call.fail(Self.sessionExpired) }
      let wait = TurnWait(
        call, core: core, line: line, mine: mine, madePlace: outcome.succeeded, lost: Self.sessionExpired
      ) { mine, snapshot in
        answer(call, name: name, mine: mine, snapshot)
      }
      wait.start()
    }
  }

  private func answer(_ call: UnaryCall, name: Data, mine: KeyVersion, _ snapshot: Snapshot) {
    var response = V3lockpb_LockResponse()
    response.header = core.header(snapshot)
    response.key = Data(mine.key.bytes)
    response.number = mine.createRevision
    response.token = core.token(kind: "lock", name: name, mine: mine)
    response.timeLeftMs = snapshot.timeLeftMilliseconds(of: mine.lease)
    response.incarnation = core.identity.incarnation
    call.respond(response)
  }

  /// etcd deletes whatever key it is given. Here only a lock goes: a key that carries in its name the very lease that it
  /// has, so neither a plain key nor another session's lock. The number, where the caller gives it, tells apart what one
  /// session has locked twice: without it a late unlock of the first would take the second (etcd#22082).
  ///
  /// What is not there to be given up is no error, as with etcd; the answer says what was found.
  @Sendable private func unlock(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(V3lockpb_UnlockRequest.self, from: body) else { return }
    if message.key.isEmpty { return call.fail(RPCStatus(RequestError.keyNotProvided)) }
    if message.number < 0 { return call.fail(Self.negativeNumber) }
    let key = Key(Bytes(message.key))
    let range = KeyRange(start: key, end: .single)
    guard let lease = Line.lease(in: key) else {
      return call.read(core) { [core] snapshot in call.respond(Self.nothingReleased(core.header(snapshot), at: nil)) }
    }
    var request = TransactionRequest()
    request.compares = [
      Compare(range: range, target: .lease(lease), relation: .equal),
      Compare(range: range, target: .createRevision(message.number), relation: message.number > 0 ? .equal : .greater),
    ]
    request.success = [.delete(DeleteRequest(range: range, wantsPrevious: false))]
    call.submit(.transaction(request), to: core) { [core] outcome, snapshot, revision in
      guard case .transaction(let result) = outcome else { preconditionFailure("a transaction ends as one") }
      let header = core.header(revision: revision, term: snapshot.term)
      guard result.succeeded else {
        return call.respond(Self.nothingReleased(header, at: result.failed.first?.version))
      }
      var response = V3lockpb_UnlockResponse()
      response.header = header
      response.released = true
      call.respond(response)
    }
  }

  private static let negativeNumber = RPCStatus(
    code: .invalidArgument, message: "number is that of Lock's answer, or 0 for whichever lock is at the key")

  private static func nothingReleased(
    _ header: Etcdserverpb_ResponseHeader, at found: KeyVersion?
  ) -> V3lockpb_UnlockResponse {
    var response = V3lockpb_UnlockResponse()
    response.header = header
    response.currentNumber = found?.createRevision ?? 0
    return response
  }
}

extension Outcome {
  /// Whether this is a transaction whose comparisons held.
  var succeeded: Bool {
    if case .transaction(let result) = self { result.succeeded } else { false }
  }
}

extension Snapshot {
  /// What a lease has left now, as far as this snapshot can tell.
  func timeLeftMilliseconds(of lease: LeaseID) -> Int64 {
    state.leases[lease].map { max(0, $0.remainingMilliseconds(at: clusterMilliseconds)) } ?? 0
  }
}

extension CoreAccess {
  /// The signed proof of a turn. A name that fits no token still has its turn, and the number is in the answer: then this
  /// is empty.
  func token(kind: String, name: Data, mine: KeyVersion) -> String {
    let scope = "\(kind):" + String(decoding: name, as: UTF8.self)
    let holder = String(mine.lease, radix: 16)
    return (try? issuer.token(scope: scope, number: mine.createRevision, holder: holder)) ?? ""
  }
}
