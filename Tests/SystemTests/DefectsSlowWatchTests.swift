// Many watchers on one stream whose client is slow, and a compaction: where etcd leaves out events (etcd#17529).

import Foundation
import Glibc
import NIOCore
import NIOPosix
import Protocol
import Synchronization
import Testing
import Wire

@Suite("etcd's defects: slow watchers", .serialized, .timeLimit(.minutes(4)))
struct DefectsSlowWatchTests {
  private static let watchers = 20
  private static let puts = 300

  @Test("a slow watcher gets every event, or is told that history was compacted, and delays nobody (etcd#17529)")
  func starvation() async throws {
    let nodes = try Nodes()
    try await nodes.found("a")
    let slowLoop = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let endpoint = nodes.client("a").split(separator: ":")
    let port = try #require(endpoint.last.flatMap { Int($0) })
    let slowConnection = try await WireConnection.connect(host: "127.0.0.1", port: port, on: slowLoop.any()).get()
    try await withConnection(nodes.client("a")) { connection in
      let call = DefectsCalls(connection: connection)
      let start = try await call.revision() + 1
      let slow = SlowReader(watchers: Self.watchers, through: start + Int64(Self.puts) - 1)
      let stream = slowConnection.openStream(RPCPath.Watch.watch, handler: slow)
      for _ in 0..<Self.watchers { try stream.send(DefectsCalls.watch("w/", from: start) { $0.prevKv = true }) }
      await slow.waitUntilCreated()
      let fast = try call.watch("w/", from: start)
      for batch in 0..<Self.puts / 50 {
        try await call.putAll(
          (0..<50).map { DefectsCalls.put("w/\(($0 + batch) % 10)", Data(repeating: UInt8($0), count: 10_000)) })
      }
      var seen: [Int64] = []
      while seen.count < Self.puts { seen += try #require(try await fast.next()).events.map(\.kv.modRevision) }
      #expect(seen == Array(start..<start + Int64(Self.puts)))
      #expect(!slow.isDone, "the slow reader was none")
      let compacted = start + Int64(Self.puts) - 1
      try await call.compact(compacted)
      await slow.waitUntilDone()
      let stories = slow.stories
      #expect(stories.count == Self.watchers)
      for story in stories.values {
        #expect(story.revisions == Array(start..<start + Int64(story.revisions.count)), "a gap, or events twice")
        #expect(story.compactRevision == nil || story.compactRevision == compacted)
        #expect(!story.hasMoreAfterEnd)
      }
      #expect(stories.values.contains { $0.compactRevision != nil }, "nobody was so slow that it mattered")
    }
    slowConnection.close()
    try await slowLoop.shutdownGracefully()
    await nodes.stop()
  }
}

/// Takes its time over every answer, and with it that of its whole connection.
private final class SlowReader: ClientStreamHandler {
  struct Story {
    var revisions: [Int64] = []
    var compactRevision: Int64?
    var hasMoreAfterEnd = false
  }

  private struct State {
    var stories: [Int64: Story] = [:]
    var unfinished: Int
    var waiters: [(condition: @Sendable (State) -> Bool, continuation: CheckedContinuation<Void, Never>)] = []
  }

  private static let microsecondsPerAnswer: UInt32 = 20_000
  private let watchers: Int
  private let last: Int64
  private let state: Mutex<State>

  init(watchers: Int, through last: Int64) {
    self.watchers = watchers
    self.last = last
    state = Mutex(State(unfinished: watchers))
  }

  var stories: [Int64: Story] { state.withLock { $0.stories } }
  var isDone: Bool { state.withLock { $0.unfinished == 0 } }

  func received(_ message: ByteBuffer) {
    guard let answer = try? Etcdserverpb_WatchResponse(received: message) else { return }
    if !answer.created { usleep(Self.microsecondsPerAnswer) }
    change { state in
      var story = state.stories[answer.watchID] ?? Story()
      if story.compactRevision != nil { story.hasMoreAfterEnd = true }
      story.revisions += answer.events.map(\.kv.modRevision)
      if answer.canceled { story.compactRevision = answer.compactRevision }
      if answer.canceled || (!answer.events.isEmpty && story.revisions.last ?? 0 >= self.last) { state.unfinished -= 1 }
      state.stories[answer.watchID] = story
    }
  }

  func closed(_ status: RPCStatus) { change { $0.unfinished = 0 } }

  func waitUntilCreated() async {
    let watchers = watchers
    await wait { $0.stories.count == watchers }
  }

  func waitUntilDone() async { await wait { $0.unfinished <= 0 } }

  private func change(_ body: (inout State) -> Void) {
    let ready = state.withLock { state in
      body(&state)
      let ready = state.waiters.filter { $0.condition(state) }
      let now = state
      state.waiters.removeAll { $0.condition(now) }
      return ready.map(\.continuation)
    }
    for waiter in ready { waiter.resume() }
  }

  private func wait(until condition: @escaping @Sendable (State) -> Bool) async {
    await withCheckedContinuation { continuation in
      let isDone = state.withLock { state in
        if condition(state) { return true }
        state.waiters.append((condition, continuation))
        return false
      }
      if isDone { continuation.resume() }
    }
  }
}
