// What a soak does to the core between two rounds, so that its store stays small, and what it asks it beside histories.

import Foundation
import NIOCore
import NIOPosix
import Protocol
import Wire

enum CoreUpkeep {
  /// Deletes every key that begins with `prefix` and forgets what was before.
  /// - Returns: the revision as of which the rest is kept.
  static func clear(_ prefix: String, ports: [Int]) async throws -> Int64 {
    try await eventually(within: ChaosSettings.patienceSeconds, "the end of old keys") {
      for port in ports {
        if let revision = try? await clear(prefix, port: port) { return revision }
      }
      return nil
    }
  }

  private static func clear(_ prefix: String, port: Int) async throws -> Int64 {
    try await withConnection(port) { connection in
      var delete = Etcdserverpb_DeleteRangeRequest()
      delete.key = Data(prefix.utf8)
      delete.rangeEnd = HistoryLog.end(of: prefix)
      let deleted = try await connection.unary(
        RPCPath.KV.deleteRange, delete, as: Etcdserverpb_DeleteRangeResponse.self, deadline: deadline)
      var compact = Etcdserverpb_CompactionRequest()
      compact.revision = deleted.header.revision
      _ = try await connection.unary(
        RPCPath.KV.compact, compact, as: Etcdserverpb_CompactionResponse.self, deadline: deadline)
      return deleted.header.revision
    }
  }

  /// A node's sum of its store as of a revision.
  static func hash(port: Int, at revision: Int64) async throws -> UInt32 {
    try await withConnection(port) { connection in
      var request = Etcdserverpb_HashKVRequest()
      request.revision = revision
      return try await connection.unary(
        RPCPath.Maintenance.hashKV, request, as: Etcdserverpb_HashKVResponse.self, deadline: deadline
      ).hash
    }
  }

  private static var deadline: NIODeadline { .now() + .seconds(10) }

  private static func withConnection<Result>(
    _ port: Int, _ body: (WireConnection) async throws -> Result
  ) async throws -> Result {
    let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
    let connection = try await WireConnection.connect(host: "127.0.0.1", port: port, on: eventLoop).get()
    defer { connection.close() }
    return try await body(connection)
  }
}
