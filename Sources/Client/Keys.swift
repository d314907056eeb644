// Reading and writing keys.

import Protocol
import Wire

extension Portcullis {
  /// A key as of now, read linearizably; nil when it does not exist.
  public func get(_ key: String) async throws(ClientError) -> KeyValue? {
    try await list(.key(key)).keys.first
  }

  /// Keys as of now, read linearizably, with the revision at which they were so: watch or mirror from the next one on.
  public func list(_ span: KeySpan, limit: Int = 0) async throws(ClientError) -> (revision: Int64, keys: [KeyValue]) {
    var request = Etcdserverpb_RangeRequest()
    request.key = .init(span.start)
    request.rangeEnd = .init(span.end)
    request.limit = Int64(limit)
    do {
      let answer = try await call(
        RPCPath.KV.range, request, as: Etcdserverpb_RangeResponse.self, isRepeatable: true)
      return (answer.header.revision, answer.kvs.map(KeyValue.init))
    } catch {
      throw ClientError(error, during: "reading keys")
    }
  }

  /// Puts a key.
  /// - Parameter lease: with which the key ends; 0 for none.
  /// - Returns: the revision of the put.
  /// - Throws: `ClientError`, whose text says when the put may have been carried out all the same.
  @discardableResult
  public func put(_ key: String, _ value: String, lease: Int64 = 0) async throws(ClientError) -> Int64 {
    do {
      return try await call(
        RPCPath.KV.put, Self.putRequest(key, value, lease), as: Etcdserverpb_PutResponse.self, isRepeatable: false
      ).header.revision
    } catch {
      throw ClientError(error, during: "putting \(key)")
    }
  }

  /// Puts a key if it stands where it was last seen: compare-and-swap.
  /// - Parameter expected: the key's `modRevision`; 0 for "does not exist".
  /// - Returns: the revision of the put, or, where somebody else was first, nothing was changed and this is what there is.
  public func put(
    _ key: String, _ value: String, lease: Int64 = 0, ifRevision expected: Int64
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
        RPCPath.KV.txn, request, as: Etcdserverpb_TxnResponse.self, isRepeatable: false)
      if answer.succeeded { return .put(revision: answer.header.revision) }
      return .changed(answer.responses.first?.responseRange.kvs.first.map(KeyValue.init))
    } catch {
      throw ClientError(error, during: "putting \(key) if it is at revision \(expected)")
    }
  }

  /// Deletes keys.
  /// - Returns: how many there were.
  @discardableResult
  public func delete(_ span: KeySpan) async throws(ClientError) -> Int64 {
    var request = Etcdserverpb_DeleteRangeRequest()
    request.key = .init(span.start)
    request.rangeEnd = .init(span.end)
    do {
      return try await call(
        RPCPath.KV.deleteRange, request, as: Etcdserverpb_DeleteRangeResponse.self, isRepeatable: false
      ).deleted
    } catch {
      throw ClientError(error, during: "deleting keys")
    }
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
