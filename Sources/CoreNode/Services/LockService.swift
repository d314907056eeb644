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
    call.submit(.transaction(request), to: core) { [core] _, snapshot, _ in
      guard let mine = snapshot.state.store.current(key) else { return call.fail(Self.sessionExpired) }
      let wait = TurnWait(call, core: core, line: line, mine: mine, lost: Self.sessionExpired) { mine, snapshot in
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
    call.respond(response)
  }

  /// etcd deletes whatever key it is given. Here the key of an ended lock is simply no longer there: keys carry their
  /// lease in their name, so a late unlock cannot name a newer holder's key.
  @Sendable private func unlock(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(V3lockpb_UnlockRequest.self, from: body) else { return }
    if message.key.isEmpty { return call.fail(RPCStatus(RequestError.keyNotProvided)) }
    let range = KeyRange(start: Key(Bytes(message.key)), end: .single)
    call.submit(.delete(DeleteRequest(range: range, wantsPrevious: false)), to: core) { [core] _, snapshot, revision in
      var response = V3lockpb_UnlockResponse()
      response.header = core.header(revision: revision, term: snapshot.term)
      call.respond(response)
    }
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
