// What etcd gets wrong about watches: each of these tests an etcd fails (docs/etcd-defects.md).

import Chaos
import Foundation
import Glibc
import NIOCore
import NIOPosix
import Protocol
import Synchronization
import Testing
import Wire

@Suite("etcd's defects: watches", .serialized, .timeLimit(.minutes(4)))
struct DefectsWatchTests {
  @Test("progress that was asked for never speaks of an event that is yet to come (etcd#15220)")
  func progress() async throws {
    try await withNode { nodes, call in
      // Progress of an idle stream is answered, and says where the store is.
      let watch = try call.watch("p/")
      #expect(try await watch.next()?.created == true)
      var request = Etcdserverpb_WatchRequest()
      request.progressRequest = Etcdserverpb_WatchProgressRequest()
      try await withConnection(nodes.client("a")) { connection in
        let writer = DefectsCalls(connection: connection)
        for round in 0..<60 {
          let puts = (0..<50).map { DefectsCalls.put("p/\(round)/\($0)", Data("value".utf8)) }
          async let written: Void = writer.putAll(puts)
          for _ in 0..<20 { try watch.send(request) }
          try await written
        }
      }
      let last = try await call.revision()
      try watch.send(request)
      var (told, answers) = (Int64(0), 0)
      while told < last || answers == 0 {
        let answer = try #require(try await watch.next())
        if let event = answer.events.first {
          #expect(event.kv.modRevision == max(told, 1) + 1, "events in order, none left out")
          told = answer.events.last?.kv.modRevision ?? told
        } else {
          answers += 1
          // Every revision here is an event of this watcher.
          #expect(answer.header.revision <= max(told, 1), "progress to \(answer.header.revision), events to \(told)")
        }
      }
    }
  }

  @Test("a watch from a revision to come gets what comes from there on, however much comes at once (etcd#15271)")
  func future() async throws {
    try await withNode { nodes, call in
      for round in 0..<5 {
        let now = try await call.revision()
        let watch = try call.watch("f/", from: now + 3)
        #expect(try await watch.next()?.created == true)
        // What comes while the node stands still, it takes at once when it goes on.
        try nodes.program("a").send(SIGSTOP)
        try await call.putAll((0..<6).map { DefectsCalls.put("f/\(round)/\($0)", Data()) }) {
          try? nodes.program("a").send(SIGCONT)
        }
        #expect(try await revisions(of: watch, through: now + 6) == Array(now + 3...now + 6))
        watch.cancel()
      }
    }
  }

  @Test("a watch at a member that was cut off does not go back when it catches up (etcd#15271, #20221)")
  func behind() async throws {
    let isEtcd = ServerProgram.etcd != nil
    let ownFlags = ["--snapshot-log-percent", "0", "--snapshot-catchup-entries", "10"]
    let flags = ["--snapshot-count", isEtcd ? "10" : "200"] + (isEtcd ? [] : ownFlags)
    try await withFaultsCluster(flags) { cluster in
      let leader = try await cluster.leader()
      let behind = (leader + 1) % 3
      try await cluster.proxy.set(.cut, on: FaultsDriver.around(behind, of: 3))
      let (start, end) = try await withConnection("127.0.0.1:\(cluster.ports[leader])") { connection in
        let call = DefectsCalls(connection: connection)
        // An etcd keeps five thousand entries for those who are behind.
        for round in 0..<(isEtcd ? 350 : 100) {
          try await call.putAll((0..<20).map { DefectsCalls.put("b/\(round)/\($0)", Data(count: 100)) })
        }
        var round = 1000
        let address = "127.0.0.1:\(cluster.ports[leader])"
        // Until the leader has let go of what the member lacks.
        while !isEtcd, try await Nodes.gauge("portcullis_log_first_index", at: address) ?? 0 < 500 {
          try await call.putAll((0..<20).map { DefectsCalls.put("b/\(round)/\($0)", Data(count: 100)) })
          round += 1
        }
        let end = try await call.revision()
        return (end - 5, end)
      }
      try await withConnection("127.0.0.1:\(cluster.ports[behind])") { connection in
        let call = DefectsCalls(connection: connection)
        // Its client was somewhere else before, and has everything below this.
        let watch = try call.watch("b/", from: start)
        #expect(try await watch.next()?.created == true)
        try await cluster.proxy.heal()
        #expect(try await revisions(of: watch, through: end) == Array(start...end))
      }
      if !isEtcd {
        let said = cluster.complaints
        #expect(said.contains("a snapshot of the leader is installed"), "it caught up by its log: \(said)")
      }
    }
  }

  @Test("the compaction of a deletion leaves it to those who watch from there (etcd#18089, #19179)")
  func compactedDeletion() async throws {
    try await withNode { nodes, call in
      try await call.put("c/1")
      let deleted = try await call.delete("c/1")
      try await call.put("c/2")
      // Opened at the revision of the compaction that is on its way.
      async let compacted: Void = call.compact(deleted)
      let during = try call.watch("c/", from: deleted)
      try await compacted
      #expect(try await revisions(of: during, through: deleted + 1) == [deleted, deleted + 1])
      await nodes.kill("a")
      try nodes.restart("a")
      try await nodes.ready("a")
      try await withConnection(nodes.client("a")) { connection in
        let call = DefectsCalls(connection: connection)
        let watch = try call.watch("c/", from: deleted)
        #expect(try await revisions(of: watch, through: deleted + 1) == [deleted, deleted + 1])
        #expect(try await call.get("c/1", at: deleted) == nil)
        await refused("etcdserver: mvcc: required revision has been compacted", .outOfRange) {
          _ = try await call.get("c/1", at: deleted - 1)
        }
        // One revision more, and the watcher is told where history begins.
        let before = try call.watch("c/", from: deleted - 1)
        #expect(try await before.next()?.created == true)
        let refusal = try #require(try await before.next())
        #expect(refusal.canceled && refusal.compactRevision == deleted)
      }
    }
  }

  @Test("what a watch has to catch up with comes a whole revision at a time, in answers that clients take (etcd#19442)")
  func largeTransactions() async throws {
    try await withNode { _, call in
      var first: Int64 = 0
      for _ in 0..<4 {
        var request = Etcdserverpb_TxnRequest()
        request.success = (0..<12).map { number in
          var operation = Etcdserverpb_RequestOp()
          operation.requestPut = DefectsCalls.put("t/\(number)", Data(count: 100_000))
          return operation
        }
        let revision = try await call.transact(request).header.revision
        if first == 0 { first = revision }
      }
      let watch = try call.watch("t/", from: first)
      var whole: [Int64] = []
      while whole.last != first + 3 {
        let answer = try #require(try await watch.next())
        // What clients of etcd take unless they say otherwise.
        let message: [UInt8] = try answer.serializedBytes()
        #expect(message.count <= 4 << 20)
        for (revision, events) in Dictionary(grouping: answer.events, by: \.kv.modRevision).sorted(by: { $0.0 < $1.0 })
        {
          #expect(events.count == 12, "revision \(revision) was split")
          whole.append(revision)
        }
      }
      #expect(whole == Array(first...first + 3))
    }
  }

  @Test("a watch of a range that holds no key is refused, as etcd does it")
  func emptyRange() async throws {
    try await withNode { _, call in
      let stream = DefectsStream<Etcdserverpb_WatchResponse>(RPCPath.Watch.watch, on: call.connection)
      for end in ["a", "b"] {
        try stream.send(DefectsCalls.watch("b") { $0.rangeEnd = Data(end.utf8) })
        let answer = try #require(try await stream.next())
        #expect(answer.created && answer.canceled && answer.watchID == -1)
        #expect(answer.cancelReason == "mvcc: watcher range is empty")
      }
    }
  }

  /// The revisions of all events up to one.
  private func revisions(
    of watch: DefectsStream<Etcdserverpb_WatchResponse>, through last: Int64
  ) async throws -> [Int64] {
    var revisions: [Int64] = []
    while revisions.last ?? 0 < last {
      let answer = try #require(try await watch.next(), "the stream has ended after \(revisions)")
      try #require(!answer.canceled, "the watch was cancelled after \(revisions): \(answer)")
      revisions += answer.events.map(\.kv.modRevision)
    }
    return revisions
  }

  private func withNode(_ body: (Nodes, DefectsCalls) async throws -> Void) async throws {
    let nodes = try Nodes()
    try await nodes.found("a")
    try await withConnection(nodes.client("a")) { try await body(nodes, DefectsCalls(connection: $0)) }
    await nodes.stop()
  }
}
