// What etcd gets wrong about its store, and what its transactions do not tell (docs/etcd-defects.md).

import Foundation
import Glibc
import NIOCore
import NIOPosix
import Protocol
import Synchronization
import Testing
import Wire

@Suite("etcd's defects: the store", .serialized, .timeLimit(.minutes(5)))
struct DefectsStoreTests {
  @Test("a transaction that fails says what it met")
  func failedTransaction() async throws {
    try await withNode { _, call in
      let made = try await call.put("a", "one")
      try await call.put("a", "two")
      let long = String(repeating: "x", count: 5000)
      try await call.put("r/1", "first")
      try await call.put("r/2", long)
      var request = Etcdserverpb_TxnRequest()
      request.compare = [
        Self.compare("a") {
          $0.target = .value; $0.value = Data("two".utf8)
        },
        Self.compare("a") {
          $0.target = .mod; $0.modRevision = made
        },
        Self.compare("none") {
          $0.target = .create; $0.createRevision = 7
        },
        Self.compare("r/") {
          $0.rangeEnd = DefectsCalls.end(of: "r/"); $0.target = .value; $0.value = Data("first".utf8)
        },
      ]
      var write = Etcdserverpb_RequestOp()
      write.requestPut = DefectsCalls.put("a", Data("three".utf8))
      request.success = [write]
      let failed = try await call.transact(request)
      #expect(!failed.succeeded && failed.failed.map(\.index) == [1, 2, 3])
      let met = try #require(failed.failed.first)
      #expect(met.kv.value == Data("two".utf8) && met.kv.modRevision == made + 1 && met.kv.version == 2)
      #expect(met.kv.createRevision == made && met.valueBytes == 3)
      #expect(!failed.failed[1].hasKv)
      #expect(failed.failed[2].kv.key == Data("r/2".utf8) && failed.failed[2].valueBytes == 5000)
      #expect(failed.failed[2].kv.value == Data(long.utf8.prefix(1024)))
      // It is as of the decision, and not of what the other branch then does.
      request.failure = [write]
      let decided = try await call.transact(request)
      #expect(decided.failed.first?.kv.value == Data("two".utf8) && decided.header.revision == made + 4)
      // What was met is enough for another try.
      request.compare = [
        Self.compare("a") {
          $0.target = .mod; $0.modRevision = decided.header.revision
        }
      ]
      let succeeded = try await call.transact(request)
      #expect(succeeded.succeeded && succeeded.failed.isEmpty)
    }
  }

  private static func compare(
    _ key: String, _ change: (inout Etcdserverpb_Compare) -> Void
  ) -> Etcdserverpb_Compare {
    var compare = Etcdserverpb_Compare()
    compare.key = Data(key.utf8)
    compare.result = .equal
    change(&compare)
    return compare
  }

  @Test("puts go on while the store is defragmented (etcd#9222)")
  func defragmentation() async throws {
    try await withNode { nodes, call in
      let value = Data(count: 1 << 20)
      for batch in 0..<20 { try await call.putAll((0..<10).map { DefectsCalls.put("big/\(batch)/\($0)", value) }) }
      try await withConnection(nodes.client("a")) { connection in
        let other = DefectsCalls(connection: connection)
        // As long as it takes an etcd to copy this much, which it does with the store locked.
        let defragmented = Mutex(0)
        let defragmenting = Task {
          for _ in 0..<20 {
            _ = try await other.call(
              RPCPath.Maintenance.defragment, Etcdserverpb_DefragmentRequest(), as: Etcdserverpb_DefragmentResponse.self
            )
            defragmented.withLock { $0 += 1 }
          }
        }
        var slowest = Duration.zero
        var count = 0
        while defragmented.withLock({ $0 }) < 20 || count < 200 {
          let begin = ContinuousClock.now
          try await call.put("small", "\(count)")
          slowest = max(slowest, ContinuousClock.now - begin)
          count += 1
        }
        try await defragmenting.value
        // A put takes a few milliseconds on a busy machine; copying 200 MB takes hundreds.
        #expect(slowest < .milliseconds(150), "a put took \(slowest)")
      }
    }
  }

  @Test("a range of more than may be answered is refused, and memory stays as it is (etcd#12342)")
  func largeRange() async throws {
    try await withNode { nodes, call in
      let value = Data(count: 1 << 20)
      // Half a GiB and a little, which is more than an answer may be.
      for batch in 0..<52 { try await call.putAll((0..<10).map { DefectsCalls.put("big/\(batch)/\($0)", value) }) }
      let process = try nodes.program("a").processID
      let before = try Self.peakMemoryKilobytes(of: process)
      var request = Etcdserverpb_RangeRequest()
      request.key = Data("big/".utf8)
      request.rangeEnd = DefectsCalls.end(of: "big/")
      for _ in 0..<4 {
        do {
          _ = try await call.call(RPCPath.KV.range, request, as: Etcdserverpb_RangeResponse.self, within: 60)
          Issue.record("it was answered")
        } catch let status as RPCStatus {
          #expect(status.code == .resourceExhausted && status.message.contains("ask with a limit"), "\(status)")
        }
      }
      let grown = try Self.peakMemoryKilobytes(of: process) - before
      #expect(grown < 100_000, "memory grew by \(grown) kB")
      // What it says to do works.
      request.limit = 20
      let part = try await call.call(RPCPath.KV.range, request, as: Etcdserverpb_RangeResponse.self)
      #expect(part.kvs.count == 20 && part.more && part.count == 520)
    }
  }

  private static func peakMemoryKilobytes(of process: pid_t) throws -> Int {
    let status = try String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8)
    let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") })
    return try #require(line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) })
  }

  private func withNode(_ body: (Nodes, DefectsCalls) async throws -> Void) async throws {
    let nodes = try Nodes()
    try await nodes.found("a")
    try await withConnection(nodes.client("a")) { try await body(nodes, DefectsCalls(connection: $0)) }
    await nodes.stop()
  }
}
