// etcd's KV service: writes go through the log, reads are answered from a snapshot on the caller's event loop.

import CoordinationCore
import NIOCore
import Protocol
import Wire

struct KVService: Sendable {
  let core: CoreAccess

  var routes: [String: RPCMethod] {
    [
      RPCPath.KV.range: .unary(range),
      RPCPath.KV.put: .unary(put),
      RPCPath.KV.deleteRange: .unary(delete),
      RPCPath.KV.txn: .unary(transact),
      RPCPath.KV.compact: .unary(compact),
    ]
  }

  @Sendable private func put(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Etcdserverpb_PutRequest.self, from: body),
      let request = call.checked({ () throws(RequestError) in try PutRequest(message) })
    else { return }
    call.submit(.put(request), to: core) { [core] outcome, snapshot, revision in
      guard case .put(let previous) = outcome else { preconditionFailure("a put ends as a put") }
      call.respond(core.putResponse(previous: previous, header: core.header(revision: revision, term: snapshot.term)))
    }
  }

  @Sendable private func delete(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Etcdserverpb_DeleteRangeRequest.self, from: body),
      let request = call.checked({ () throws(RequestError) in try DeleteRequest(message) })
    else { return }
    call.submit(.delete(request), to: core) { [core] outcome, snapshot, revision in
      guard case .deleted(let count, let previous) = outcome else { preconditionFailure("a delete ends as one") }
      call.respond(
        core.deleteResponse(
          count: count, previous: previous, header: core.header(revision: revision, term: snapshot.term)))
    }
  }

  @Sendable private func compact(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Etcdserverpb_CompactionRequest.self, from: body) else { return }
    call.submit(.compact(message.revision), to: core) { [core] _, snapshot, revision in
      var response = Etcdserverpb_CompactionResponse()
      response.header = core.header(revision: revision, term: snapshot.term)
      call.respond(response)
    }
  }

  @Sendable private func range(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Etcdserverpb_RangeRequest.self, from: body),
      let query = call.checked({ () throws(RequestError) in try RangeQuery(message) })
    else { return }
    read(call, isSerializable: message.serializable) { [core] snapshot throws(RequestError) in
      try core.checkRead(query.range, by: call, in: snapshot)
      let result = try snapshot.state.store.range(query)
      guard fits(call, result.answerBytes(keysOnly: query.keysOnly)) else { return }
      call.respond(core.rangeResponse(result, keysOnly: query.keysOnly, header: core.header(snapshot)))
    }
  }

  @Sendable private func transact(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Etcdserverpb_TxnRequest.self, from: body) else { return }
    let limit = core.configuration.limits.maxOperationsPerTransaction
    let checked = call.checked { () throws(RequestError) in
      let request = try TransactionRequest(message, limit: limit)
      try request.validate(limit: limit)
      return request
    }
    guard let request = checked else { return }
    if request.isReadOnly {
      return read(call, isSerializable: message.isSerializable) { [core] snapshot throws(RequestError) in
        try core.checkTransaction(request, by: call, in: snapshot)
        let result = try snapshot.state.answer(readOnly: request)
        guard fits(call, result.answerBytes) else { return }
        call.respond(core.transactionResponse(result, header: core.header(snapshot)))
      }
    }
    call.submit(.transaction(request), to: core) { [core] outcome, snapshot, revision in
      guard case .transaction(let result) = outcome else { preconditionFailure("a transaction ends as one") }
      guard fits(call, result.answerBytes) else { return }
      call.respond(core.transactionResponse(result, header: core.header(revision: revision, term: snapshot.term)))
    }
  }

  /// Whether an answer of so many bytes may be made; fails the call otherwise.
  private func fits(_ call: UnaryCall, _ bytes: Int) -> Bool {
    let limit = core.configuration.limits.maxAnswerBytes
    if bytes > limit { call.fail(.answerTooLarge(bytes, limit: limit)) }
    return bytes <= limit
  }

  /// Answers from the newest snapshot for a serializable read, and otherwise from one that shows everything which was
  /// acknowledged before the call.
  private func read(
    _ call: UnaryCall, isSerializable: Bool,
    _ body: @escaping @Sendable (Snapshot) throws(RequestError) -> Void
  ) {
    let fence: GrantFence?
    do throws(RPCStatus) { fence = try core.fences.fence(of: call, core: core) } catch { return call.fail(error) }
    @Sendable func answer(_ result: Result<Snapshot, ReadFailure>) {
      switch result {
      case .failure(let failure): call.fail(RPCStatus(failure))
      case .success(let snapshot):
        if let fence, let refusal = snapshot.state.staleness(of: fence, isRead: true) {
          return call.fail(RPCStatus(stale: fence, refusal))
        }
        do throws(RequestError) { try body(snapshot) } catch { call.fail(RPCStatus(error)) }
      }
    }
    if isSerializable {
      answer(.success(core.publication.snapshot))
    } else {
      core.readLinearizably(on: call.eventLoop, answer)
    }
  }
}

extension UnaryCall {
  /// What `body` makes of the request, or nil after failing the call.
  func checked<T>(_ body: () throws(RequestError) -> T) -> T? {
    do throws(RequestError) {
      return try body()
    } catch {
      fail(RPCStatus(error))
      return nil
    }
  }
}

extension Etcdserverpb_TxnRequest {
  /// Whether it does nothing but read, and every read of it is content with what this member has. In etcd one without
  /// any operation counts too, so that its compares are made against an old state: here it is answered linearizably.
  var isSerializable: Bool {
    let operations = success + failure
    return !operations.isEmpty && operations.allSatisfy { $0.requestRange.serializable }
  }
}
