// From etcd's messages to the state's requests and back.

import CoordinationCore
import Foundation
import Protocol
import RaftCore

extension Mvccpb_KeyValue {
  init(_ version: KeyVersion, keysOnly: Bool = false) {
    self.init()
    key = Data(version.key.bytes)
    if !keysOnly { value = Data(version.value) }
    createRevision = version.createRevision
    modRevision = version.modRevision
    self.version = version.version
    lease = version.lease
  }
}

extension Mvccpb_Event {
  init(_ event: KeyEvent, withPrevious: Bool) {
    self.init()
    type = event.version.isTombstone ? .delete : .put
    kv = Mvccpb_KeyValue(event.version)
    if withPrevious, let previous = event.previous { prevKv = Mvccpb_KeyValue(previous) }
  }
}

extension PutRequest {
  /// Refuses what etcd refuses before the log is asked.
  init(_ request: Etcdserverpb_PutRequest) throws(RequestError) {
    if request.key.isEmpty { throw .keyNotProvided }
    if request.ignoreValue, !request.value.isEmpty { throw .valueProvided }
    if request.ignoreLease, request.lease != 0 { throw .leaseProvided }
    self.init(key: Key(Bytes(request.key)), value: Bytes(request.value))
    lease = request.lease
    wantsPrevious = request.prevKv
    ignoresValue = request.ignoreValue
    ignoresLease = request.ignoreLease
  }
}

extension DeleteRequest {
  init(_ request: Etcdserverpb_DeleteRangeRequest) throws(RequestError) {
    if request.key.isEmpty { throw .keyNotProvided }
    self.init(
      range: KeyRange(key: Bytes(request.key), rangeEnd: Bytes(request.rangeEnd)), wantsPrevious: request.prevKv)
  }
}

extension RangeQuery {
  init(_ request: Etcdserverpb_RangeRequest) throws(RequestError) {
    if request.key.isEmpty { throw .keyNotProvided }
    self.init(range: KeyRange(key: Bytes(request.key), rangeEnd: Bytes(request.rangeEnd)))
    limit = request.limit
    revision = request.revision
    keysOnly = request.keysOnly
    countOnly = request.countOnly
    minModRevision = request.minModRevision
    maxModRevision = request.maxModRevision
    minCreateRevision = request.minCreateRevision
    maxCreateRevision = request.maxCreateRevision
    order =
      switch request.sortOrder {
      case .none: .none
      case .ascend: .ascending
      case .descend: .descending
      case .UNRECOGNIZED: throw .unknownChoice("invalid sort option")
      }
    target =
      switch request.sortTarget {
      case .version: .version
      case .create: .createRevision
      case .mod: .modRevision
      case .value: .value
      case .key: .key
      case .UNRECOGNIZED: throw .unknownChoice("invalid sort option")
      }
  }
}

extension Compare {
  init(_ request: Etcdserverpb_Compare) throws(RequestError) {
    if request.key.isEmpty { throw .keyNotProvided }
    let relation: Relation =
      switch request.result {
      case .greater: .greater
      case .less: .less
      case .notEqual: .notEqual
      case .equal: .equal
      case .UNRECOGNIZED: throw .unknownChoice("invalid comparison given in txn request")
      }
    // An absent value of the oneof compares with the default of the named target, as etcd does.
    let target: Target =
      switch request.target {
      case .create: .createRevision(request.createRevision)
      case .mod: .modRevision(request.modRevision)
      case .value: .value(Bytes(request.value))
      case .lease: .lease(request.lease)
      case .version: .version(request.version)
      case .UNRECOGNIZED: throw .unknownChoice("invalid comparison given in txn request")
      }
    self.init(
      range: KeyRange(key: Bytes(request.key), rangeEnd: Bytes(request.rangeEnd)), target: target, relation: relation)
  }
}

extension TransactionRequest {
  /// Of a transaction that is wrong in several ways, what comes first is told: that it is too long, then what is wrong with
  /// its comparisons and operations one after the other, a nested transaction being one of them.
  /// - Parameter limit: the most operations; what is nested has what is left over.
  init(_ request: Etcdserverpb_TxnRequest, limit: Int) throws(RequestError) {
    self.init()
    let longest = max(request.compare.count, request.success.count, request.failure.count)
    guard longest <= limit else { throw .tooManyOperations(limit: limit) }
    for item in request.compare { compares.append(try Compare(item)) }
    for item in request.success { success.append(try Self.operation(item, limit: limit - longest)) }
    for item in request.failure { failure.append(try Self.operation(item, limit: limit - longest)) }
  }

  private static func operation(_ request: Etcdserverpb_RequestOp, limit: Int) throws(RequestError) -> Operation {
    switch request.request {
    case .requestRange(let range): .range(try RangeQuery(range))
    case .requestPut(let put): .put(try PutRequest(put))
    case .requestDeleteRange(let delete): .delete(try DeleteRequest(delete))
    case .requestTxn(let inner): .transaction(try TransactionRequest(inner, limit: limit))
    case nil: throw .keyNotFound
    }
  }
}

extension Etcdserverpb_FailedCompare {
  /// The most of a value that is shown: evidence, not a read.
  private static let maxValueBytes = 1024

  init(_ failed: FailedCompare) {
    self.init()
    index = Int32(clamping: failed.index)
    guard let version = failed.version else { return }
    kv = Mvccpb_KeyValue(version, keysOnly: true)
    kv.value = Data(version.value.prefix(Self.maxValueBytes))
    valueBytes = Int64(version.value.count)
  }
}

extension CoreAccess {
  func rangeResponse(
    _ result: RangeResult, keysOnly: Bool, header: Etcdserverpb_ResponseHeader
  ) -> Etcdserverpb_RangeResponse {
    var response = Etcdserverpb_RangeResponse()
    response.header = header
    response.kvs = result.versions.map { Mvccpb_KeyValue($0, keysOnly: keysOnly) }
    response.count = result.count
    response.more = result.more
    return response
  }

  func deleteResponse(
    count: Int, previous: [KeyVersion], header: Etcdserverpb_ResponseHeader
  ) -> Etcdserverpb_DeleteRangeResponse {
    var response = Etcdserverpb_DeleteRangeResponse()
    response.header = header
    response.deleted = Int64(count)
    response.prevKvs = previous.map { Mvccpb_KeyValue($0) }
    return response
  }

  func putResponse(previous: KeyVersion?, header: Etcdserverpb_ResponseHeader) -> Etcdserverpb_PutResponse {
    var response = Etcdserverpb_PutResponse()
    response.header = header
    if let previous { response.prevKv = Mvccpb_KeyValue(previous) }
    return response
  }

  func transactionResponse(
    _ result: TransactionResult, header: Etcdserverpb_ResponseHeader
  ) -> Etcdserverpb_TxnResponse {
    var response = Etcdserverpb_TxnResponse()
    response.header = header
    response.succeeded = result.succeeded
    if !result.failed.isEmpty { response.failed = result.failed.map { Etcdserverpb_FailedCompare($0) } }
    response.responses = result.results.map { item in
      // The headers inside a transaction carry the revision alone, as etcd's do.
      var inner = Etcdserverpb_ResponseHeader()
      inner.revision = item.revision
      var operation = Etcdserverpb_ResponseOp()
      switch item.result {
      case .range(let range, let keysOnly):
        operation.responseRange = rangeResponse(range, keysOnly: keysOnly, header: inner)
      case .put(let previous): operation.responsePut = putResponse(previous: previous, header: inner)
      case .deleted(let count, let previous):
        operation.responseDeleteRange = deleteResponse(count: count, previous: previous, header: inner)
      case .transaction(let nested): operation.responseTxn = transactionResponse(nested, header: inner)
      }
      return operation
    }
    return response
  }
}
