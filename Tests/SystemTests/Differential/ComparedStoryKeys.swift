// The part of a story that is about keys: puts, ranges, deletions and transactions.

import Foundation
import Protocol

extension ComparedStory {
  mutating func putRequest() -> Etcdserverpb_PutRequest {
    var request = Etcdserverpb_PutRequest()
    request.key = key()
    request.value = value()
    request.lease = lease(in: 20)
    request.prevKv = chance(30)
    if chance(8) {
      request.ignoreValue = true
      if !isWrong() { request.value = Data() }
    }
    if chance(8) {
      request.ignoreLease = true
      if !isWrong() { request.lease = 0 }
    }
    return request
  }

  mutating func rangeRequest() -> Etcdserverpb_RangeRequest {
    var request = Etcdserverpb_RangeRequest()
    request.key = key()
    request.rangeEnd = rangeEnd(for: request.key)
    if chance(30) { request.limit = Int64(1 + below(5)) }
    if isWrong() { request.limit = -1 }
    if chance(25) { request.revision = someRevision() }
    request.serializable = chance(20)
    request.keysOnly = chance(15)
    request.countOnly = chance(10)
    if chance(40) { sort(&request) }
    if chance(12) { request.minModRevision = someRevision() }
    if chance(12) { request.maxModRevision = someRevision() }
    if chance(12) { request.minCreateRevision = someRevision() }
    if chance(12) { request.maxCreateRevision = someRevision() }
    return request
  }

  private mutating func sort(_ request: inout Etcdserverpb_RangeRequest) {
    request.sortOrder = pick([.none, .ascend, .descend])
    // Which of the keys that sort alike comes first is chance with etcd where there are more than six, so sorting by
    // versions and values is compared with chosen keys (EtcdctlCommands.swift).
    request.sortTarget = pick([.key, .create, .mod])
    guard request.sortTarget != .key else { return }
    // With a target and a limit but no order, etcd takes the first keys and sorts those (docs/differences-from-etcd.md).
    if request.limit > 0, request.sortOrder == .none { request.sortOrder = .ascend }
    // Of more than a dozen keys that sort alike, which come first is chance with etcd.
    if kind == .manyKeys {
      request.limit = 0
      request.keysOnly = false
    }
  }

  /// - Parameter isInTransaction: beside a put, etcd takes a deletion of everything from a key on for an empty one
  ///   (docs/differences-from-etcd.md).
  mutating func deleteRequest(isInTransaction: Bool) -> Etcdserverpb_DeleteRangeRequest {
    var request = Etcdserverpb_DeleteRangeRequest()
    request.key = key()
    request.rangeEnd = chance(60) ? Data() : rangeEnd(for: request.key, from: !isInTransaction)
    request.prevKv = chance(40)
    return request
  }

  // MARK: Transactions

  /// A put in one nested transaction and a deletion of its key in a later one is a duplicate here, and passes in etcd
  /// (docs/differences-from-etcd.md).
  mutating func transactionRequest() -> Etcdserverpb_TxnRequest {
    while true {
      let request = transactionRequest(depth: 0)
      if !request.deletesLate { return request }
    }
  }

  private mutating func transactionRequest(depth: Int) -> Etcdserverpb_TxnRequest {
    var request = Etcdserverpb_TxnRequest()
    for _ in 0..<count(3) { request.compare.append(compare()) }
    for _ in 0..<count(4) { request.success.append(operation(depth: depth)) }
    for _ in 0..<count(4) { request.failure.append(operation(depth: depth)) }
    return request
  }

  /// Sometimes more than the servers take in all.
  private mutating func count(_ usual: Int) -> Int { isWrong() ? 6 + below(5) : below(usual) }

  private mutating func operation(depth: Int) -> Etcdserverpb_RequestOp {
    var operation = Etcdserverpb_RequestOp()
    switch below(10) {
    case ..<3: operation.request = .requestRange(rangeRequest())
    case ..<6: operation.request = .requestPut(putRequest())
    case ..<8: operation.request = .requestDeleteRange(deleteRequest(isInTransaction: true))
    case 8 where isWrong(): break
    default:
      operation.request =
        depth < 3 ? .requestTxn(transactionRequest(depth: depth + 1)) : .requestRange(rangeRequest())
    }
    return operation
  }

  private mutating func compare() -> Etcdserverpb_Compare {
    var compare = Etcdserverpb_Compare()
    compare.key = key()
    if chance(30) { compare.rangeEnd = rangeEnd(for: compare.key) }
    compare.result = pick([.equal, .greater, .less, .notEqual])
    compare.target = pick([.version, .create, .mod, .value, .lease])
    // Mostly with the value that the target asks for; none or another one counts as its default.
    let target = isWrong() ? pick([.version, .create, .mod, .value, .lease]) : compare.target
    switch target {
    case .version: compare.targetUnion = .version(Int64(below(4)))
    case .create: compare.targetUnion = .createRevision(chance(40) ? 0 : someRevision())
    case .mod: compare.targetUnion = .modRevision(chance(40) ? 0 : someRevision())
    case .value: compare.targetUnion = .value(value())
    default: compare.targetUnion = .lease(Int64(below(4)))
    }
    if isWrong() { compare.targetUnion = nil }
    return compare
  }
}

extension Etcdserverpb_TxnRequest {
  private typealias Written = (puts: [Data], deletes: [Etcdserverpb_DeleteRangeRequest])

  /// Whether, in one branch, a nested transaction deletes what one before it puts.
  fileprivate var deletesLate: Bool { Self.deletesLate(success) || Self.deletesLate(failure) }

  private static func deletesLate(_ operations: [Etcdserverpb_RequestOp]) -> Bool {
    var puts: [Data] = []
    for case .requestTxn(let inner) in operations.map(\.request) {
      if inner.deletesLate { return true }
      let (own, deletes) = written(by: inner.success + inner.failure)
      if puts.contains(where: { key in deletes.contains { $0.touches(key) } }) { return true }
      puts += own
    }
    return false
  }

  private static func written(by operations: [Etcdserverpb_RequestOp]) -> Written {
    var all: Written = ([], [])
    for operation in operations {
      switch operation.request {
      case .requestPut(let put): all.puts.append(put.key)
      case .requestDeleteRange(let delete): all.deletes.append(delete)
      case .requestTxn(let inner):
        let nested = written(by: inner.success + inner.failure)
        all.puts += nested.puts
        all.deletes += nested.deletes
      case .requestRange, nil: break
      }
    }
    return all
  }
}

extension Etcdserverpb_DeleteRangeRequest {
  fileprivate func touches(_ other: Data) -> Bool {
    if rangeEnd.isEmpty { return other == key }
    return !other.lexicographicallyPrecedes(key) && (rangeEnd == Data([0]) || other.lexicographicallyPrecedes(rangeEnd))
  }
}
