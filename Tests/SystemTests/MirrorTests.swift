// Mirrors: what a reader of one sees while nodes die, leaders change and history is compacted away.

import Client
import Foundation
import Glibc
import Protocol
import Synchronization
import Testing
import Wire

@Suite("mirrors", .serialized)
struct MirrorTests {
  @Test("every view is one that was: through a killed node, a paused one and a compaction", .timeLimit(.minutes(3)))
  func faults() async throws {
    let nodes = try ThreeNodes()
    try await nodes.start()
    let writer = try Portcullis(endpoints: Endpoint.list(parsing: nodes.endpoints))
    let reader = try Portcullis(endpoints: Endpoint.list(parsing: nodes.endpoints))
    try await writer.putPair(0)
    try await reader.withMirror(of: .prefix("pair/")) { mirror in
      #expect(mirror.view.count == 2)
      let watching = Task { await Self.check(mirror) }
      var round = 1
      for fault in 0..<3 {
        for _ in 0..<50 {
          try await writer.putPair(round)
          round += 1
        }
        // The reader's node goes, the history with it, and the reader must go on elsewhere.
        await nodes.kill(fault)
        for _ in 0..<50 {
          try await writer.putPair(round)
          round += 1
        }
        let newest = try await writer.putPair(round)
        try await writer.compact(newest)
        let view = try #require(await mirror.view(atLeast: newest))
        #expect(view["pair/a"]?.valueText == "\(round)" && view.revision >= newest)
        round += 1
        try await nodes.restart(fault)
      }
      watching.cancel()
      let seen = await watching.value
      #expect(seen.broken == nil)
      #expect(seen.views > 10)
    }
    writer.close()
    reader.close()
    await nodes.stop()
  }

  @Test("a mirror that cannot reach a majority says that it is not current", .timeLimit(.minutes(1)))
  func age() async throws {
    let nodes = try ThreeNodes()
    try await nodes.start()
    let reader = try Portcullis(endpoints: Endpoint.list(parsing: nodes.clients[0]))
    try await reader.withMirror(of: .prefix(""), checking: .milliseconds(100)) { mirror in
      _ = await mirror.views.first { $0.isCurrent(within: .seconds(2)) && $0.isFollowing }
      // The node itself lives, and answers what it can answer alone.
      nodes.send(SIGSTOP, to: 1)
      nodes.send(SIGSTOP, to: 2)
      let stopped = ContinuousClock.now
      // A question that was under way may still be answered; later ones cannot be.
      _ = await mirror.views.first { !$0.isFollowing }
      let confirmed = try #require(mirror.view.confirmed)
      #expect(confirmed < stopped + .seconds(1))
      nodes.send(SIGCONT, to: 1)
      nodes.send(SIGCONT, to: 2)
      _ = await mirror.views.first { ($0.confirmed ?? stopped) > stopped + .seconds(1) && $0.isFollowing }
      #expect(mirror.view.isFollowing)
    }
    reader.close()
    await nodes.stop()
  }

  @Test("cancelling the reader ends the mirror, and nothing of it stays")
  func cancelled() async throws {
    try await withServer { client in
      let left = Shared(WeakMirror())
      let (started, start) = AsyncStream<Void>.makeStream()
      let work = Task {
        try await client.withMirror(of: .prefix("x")) { mirror in
          left.change { $0.mirror = mirror }
          start.yield()
          _ = await mirror.views.first { _ in false }
          try Task.checkCancellation()
        }
      }
      _ = await started.first { _ in true }
      work.cancel()
      await #expect(throws: CancellationError.self) { try await work.value }
      #expect(left.change { $0.mirror } == nil)
    }
  }

  private static func check(_ mirror: Mirror) async -> PairCheck {
    var check = PairCheck()
    for await view in mirror.views where check.broken == nil { check.take(view) }
    return check
  }
}

/// Both keys of a pair are written in one transaction, with one value that rises.
private struct PairCheck: Sendable {
  var views = 0
  var broken: String?
  private var revision: Int64 = 0
  private var round = -1

  mutating func take(_ view: MirrorView) {
    views += 1
    guard let a = view["pair/a"], let b = view["pair/b"], let next = Int(a.valueText) else {
      broken = "no pair at \(view.revision)"
      return
    }
    if a.valueText != b.valueText || a.modRevision != b.modRevision {
      broken = "half a transaction at \(view.revision): \(a.valueText) and \(b.valueText)"
    } else if view.revision < revision || next < round || a.modRevision > view.revision {
      broken = "back from \(revision), \(round) to \(view.revision), \(next)"
    }
    (revision, round) = (view.revision, next)
  }
}

private struct WeakMirror: Sendable {
  weak var mirror: Mirror?
}

extension Portcullis {
  /// - Returns: the revision.
  @discardableResult
  fileprivate func putPair(_ round: Int) async throws -> Int64 {
    var request = Etcdserverpb_TxnRequest()
    for key in ["pair/a", "pair/b"] {
      var put = Etcdserverpb_RequestOp()
      put.requestPut.key = Data(key.utf8)
      put.requestPut.value = Data("\(round)".utf8)
      request.success.append(put)
    }
    // Putting the same round again changes nothing that the check looks at.
    return try await call(RPCPath.KV.txn, request, as: Etcdserverpb_TxnResponse.self, isRepeatable: true).header
      .revision
  }

  fileprivate func compact(_ revision: Int64) async throws {
    var request = Etcdserverpb_CompactionRequest()
    request.revision = revision
    do throws(RPCStatus) {
      _ = try await call(
        RPCPath.KV.compact, request, as: Etcdserverpb_CompactionResponse.self, isRepeatable: true)
    } catch {
      // An attempt whose answer was lost did it.
      guard error.message.contains("compacted") else { throw error }
    }
  }
}

/// A value that several tasks change.
final class Shared<Value: Sendable>: Sendable {
  private let value: Mutex<Value>

  init(_ value: Value) { self.value = Mutex(value) }

  @discardableResult
  func change<Result: Sendable>(_ body: (inout Value) -> Result) -> Result {
    value.withLock { value in body(&value) }
  }
}

func withServer(_ body: (Portcullis) async throws -> Void) async throws {
  let directory = try ScratchDirectory()
  let serving = try await Serving.start(directory("data"))
  let client = try Portcullis(endpoints: Endpoint.list(parsing: serving.core))
  try await body(client)
  client.close()
  await serving.stop()
}
