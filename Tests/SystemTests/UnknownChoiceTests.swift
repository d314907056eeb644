// What a client of a later version may ask for and this one does not know is refused, and not taken for something else.

import Foundation
import Protocol
import SwiftProtobuf
import Testing
import Wire

@Suite("choices that nobody knows")
struct UnknownChoiceTests {
  @Test("an unknown sort order, sort target or comparison is refused, also within a transaction")
  func refused() async throws {
    let nodes = try Nodes()
    try await nodes.found("a")
    try await withConnection(nodes.client("a")) { connection in
      var byOrder = Etcdserverpb_RangeRequest()
      byOrder.key = Data("key".utf8)
      var byTarget = byOrder
      byOrder.sortOrder = .UNRECOGNIZED(9)
      byTarget.sortTarget = .UNRECOGNIZED(9)
      for range in [byOrder, byTarget] {
        await Self.expectRefusal("etcdserver: invalid sort option") {
          _ = try await connection.unary(RPCPath.KV.range, range, as: Etcdserverpb_RangeResponse.self)
        }
        var transaction = Etcdserverpb_TxnRequest()
        transaction.success = [Etcdserverpb_RequestOp.with { $0.requestRange = range }]
        await Self.expectRefusal("etcdserver: invalid sort option") {
          _ = try await connection.unary(RPCPath.KV.txn, transaction, as: Etcdserverpb_TxnResponse.self)
        }
      }
      var compare = Etcdserverpb_Compare()
      compare.key = Data("key".utf8)
      var other = compare
      compare.target = .UNRECOGNIZED(9)
      other.result = .UNRECOGNIZED(9)
      for compare in [compare, other] {
        var transaction = Etcdserverpb_TxnRequest()
        transaction.compare = [compare]
        await Self.expectRefusal("etcdserver: invalid comparison given in txn request") {
          _ = try await connection.unary(RPCPath.KV.txn, transaction, as: Etcdserverpb_TxnResponse.self)
        }
      }
    }
    await nodes.stop()
  }

  private static func expectRefusal(_ text: String, _ body: () async throws -> Void) async {
    await #expect {
      try await body()
    } throws: {
      ($0 as? RPCStatus)?.code == .invalidArgument && ($0 as? RPCStatus)?.message == text
    }
  }
}
