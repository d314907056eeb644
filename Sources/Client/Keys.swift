// Reading and writing keys, guarded by a grant where one is named.
//
// A guarded call carries the grant's token, and the cluster carries it out only while that very grant is current: a write is
// judged in its place in the log, a read by the state that answers it.

import Protocol
import Wire

extension Portcullis {
  /// A key as of now, read linearizably; nil when it does not exist.
  /// - Parameter fence: a grant's token: the call is carried out only while that grant is current.
  /// - Throws: `ClientError`; with code `stale` when it is not.
  public func get(_ key: String, fence: String? = nil) async throws(ClientError) -> KeyValue? {
    try await list(.key(key), fence: fence).keys.first
  }

  /// Keys as of now, read linearizably, with the revision at which they were so: watch or mirror from the next one on.
  /// - Parameter fence: as in `get`.
  public func list(
    _ span: KeySpan, limit: Int = 0, fence: String? = nil
  ) async throws(ClientError) -> (revision: Int64, keys: [KeyValue]) {
    var request = Etcdserverpb_RangeRequest()
    request.key = .init(span.start)
    request.rangeEnd = .init(span.end)
    request.limit = Int64(limit)
    do {
      let answer = try await call(
        RPCPath.KV.range, request, as: Etcdserverpb_RangeResponse.self, isRepeatable: true,
        metadata: Self.metadata(fence))
      return (answer.header.revision, answer.kvs.map(KeyValue.init))
    } catch {
      throw Self.error(error, during: "reading keys", fence)
    }
  }

  /// Puts a key.
  /// - Parameters:
  ///   - lease: with which the key ends; 0 for none.
  ///   - fence: as in `get`.
  /// - Returns: the revision of the put.
  /// - Throws: `ClientError`, whose text says when the put may have been carried out all the same; with code `stale` when
  ///   the grant was not current, and then nothing was done.
  @discardableResult
  public func put(
    _ key: String, _ value: String, lease: Int64 = 0, fence: String? = nil
  ) async throws(ClientError) -> Int64 {
    do {
      return try await call(
        RPCPath.KV.put, Self.putRequest(key, value, lease), as: Etcdserverpb_PutResponse.self, isRepeatable: false,
        metadata: Self.metadata(fence)
      ).header.revision
    } catch {
      throw Self.error(error, during: "putting \(key)", fence)
    }
  }

  /// Puts a key if it stands where it was last seen: compare-and-swap.
  /// - Parameters:
  ///   - expected: the key's `modRevision`; 0 for "does not exist".
  ///   - fence: as in `get`.
  /// - Returns: the revision of the put, or, where somebody else was first, nothing was changed and this is what there is.
  public func put(
    _ key: String, _ value: String, lease: Int64 = 0, ifRevision expected: Int64, fence: String? = nil
  ) async throws(ClientError) -> CompareAndPut {
    var compare = Etcdserverpb_Compare()
    compare.key = .init(key.utf8)
    compare.target = .mod
    compare.result = .equal
    compare.modRevision = expected
    var get = Etcdserverpb_RequestOp()
    get.requestRange.key = .init(key.utf8)
    var put = Etcdserverpb_RequestOp()
    put.requestPut = Self.putRequest(key, value, lease)
    var request = Etcdserverpb_TxnRequest()
    request.compare = [compare]
    request.success = [put]
    request.failure = [get]
    do {
      let answer = try await call(
        RPCPath.KV.txn, request, as: Etcdserverpb_TxnResponse.self, isRepeatable: false,
        metadata: Self.metadata(fence))
      if answer.succeeded { return .put(revision: answer.header.revision) }
      return .changed(answer.responses.first?.responseRange.kvs.first.map(KeyValue.init))
    } catch {
      throw Self.error(error, during: "putting \(key) if it is at revision \(expected)", fence)
    }
  }

  /// Deletes keys.
  /// - Parameter fence: as in `get`.
  /// - Returns: how many there were.
  @discardableResult
  public func delete(_ span: KeySpan, fence: String? = nil) async throws(ClientError) -> Int64 {
    var request = Etcdserverpb_DeleteRangeRequest()
    request.key = .init(span.start)
    request.rangeEnd = .init(span.end)
    do {
      return try await call(
        RPCPath.KV.deleteRange, request, as: Etcdserverpb_DeleteRangeResponse.self, isRepeatable: false,
        metadata: Self.metadata(fence)
      ).deleted
    } catch {
      throw Self.error(error, during: "deleting keys", fence)
    }
  }

  private static func metadata(_ fence: String?) -> [(String, String)] { fence.map { [("fence", $0)] } ?? [] }

  /// A guard that fails is told as such, also where the token is of another cluster or incarnation.
  private static func error(_ status: RPCStatus, during what: String, _ fence: String?) -> ClientError {
    guard fence != nil, status.code == .failedPrecondition else { return ClientError(status, during: what) }
    return ClientError(.stale, "\(what): \(status.message)", status: status)
  }

  private static func putRequest(_ key: String, _ value: String, _ lease: Int64) -> Etcdserverpb_PutRequest {
    var request = Etcdserverpb_PutRequest()
    request.key = .init(key.utf8)
    request.value = .init(value.utf8)
    request.lease = lease
    return request
  }
}

/// What became of a put that was to happen only if nobody else was first.
public enum CompareAndPut: Sendable, Hashable {
  /// It happened, at this revision.
  case put(revision: Int64)
  /// It did not: this is the key as it was instead, nil when it did not exist.
  case changed(KeyValue?)
}
