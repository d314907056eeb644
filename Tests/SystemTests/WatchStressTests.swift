// Watchers in numbers, watchers that do not read, and watchers whose node goes away.

import Client
import Foundation
import NIOPosix
import Protocol
import Testing
import Wire

@Suite("watchers under stress", .serialized, .timeLimit(.minutes(5)))
struct WatchStressTests {
  @Test("one stream that is never read delays nobody, and its watchers end with the revision to go on from")
  func silent() async throws {
    let nodes = try Nodes("--slow-watcher-timeout", "1500ms")
    try await nodes.found("a")
    let address = nodes.client("a")
    try await withConnection(address) { writer in
      let crowd = try await Crowd.watch("crowd", at: address, streams: 20, watchersEach: 50)
      // The first puts find everything cold.
      _ = try await crowd.deliver(10, from: writer)
      let alone = try await crowd.deliver(40, from: writer)

      let silent = try await SilentWatchClient.connect(address)
      try await silent.watch("big")
      try await silent.watch("crowd", times: 20)
      _ = try await silent.answers { $0.filter(\.created).count == 21 }
      try await silent.setReading(false)
      // More than the socket's two ends take.
      let filling = Data(repeating: 120, count: 100_000)
      for _ in 0..<200 { try await writer.put("big", filling) }
      let together = try await crowd.deliver(40, from: writer)
      #expect(
        together.milliseconds(at: 50) < 4 * alone.milliseconds(at: 50) + 4,
        "\(alone.milliseconds(at: 50)) ms before, \(together.milliseconds(at: 50)) ms beside a silent stream")

      // 1,000 of the crowd are left when those of the silent client are gone.
      try await nodes.wait(for: "portcullis_watchers", of: "a") { $0 == 1000 }
      try await silent.setReading(true)
      let answers = try await silent.answers { $0.filter(\.canceled).count == 21 }
      for watch in Set(answers.map(\.watchID)) {
        try await resume(watch, answers, key: watch == answers[0].watchID ? "big" : "crowd", at: address)
      }
      silent.close()
    }
    await nodes.stop()
  }

  /// What a watcher was sent, and what one gets that begins where it is told to, is everything, once.
  private func resume(
    _ watch: Int64, _ answers: [Etcdserverpb_WatchResponse], key: String, at address: String
  ) async throws {
    let own = answers.filter { $0.watchID == watch }
    let end = try #require(own.last)
    #expect(end.canceled && end.compactRevision == 0)
    #expect(end.cancelReason.contains("too slow") && end.cancelReason.contains("\(end.resumeRevision)"))
    let sent = own.flatMap(\.events).map(\.kv.modRevision)
    #expect((sent.last ?? 0) < end.resumeRevision)
    try await withConnection(address) { connection in
      let (again, whole) = (WatchClient(on: connection), WatchClient(on: connection))
      let last = try await connection.put(key, Clock.text)
      try again.watch(key, from: end.resumeRevision)
      try whole.watch(key, from: 1)
      for client in [again, whole] { await client.wait { $0.revisions[0]?.last == last } }
      let all = try #require(whole.seen.revisions[0])
      let after = all.drop { $0 < sent.first ?? end.resumeRevision }
      #expect(sent + (again.seen.revisions[0] ?? []) == Array(after))
    }
  }

  @Test("a watcher goes on elsewhere after a change of leader, a crash and a removal, with nothing lost or twice")
  func elsewhere() async throws {
    let nodes = try Nodes()
    try await nodes.found("a", "b", "c")
    let watcher = try await Wandering.start(nodes.client("a"))
    let load = Load(endpoints: nodes.endpoints)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for writer in 0..<2 { group.addTask { try await load.write(writer) } }
      try await load.waitForAcknowledged(more: 100)
      for name in ["b", "c", "a"] {
        let moved = try await nodes.run("move-leader", name)
        #expect(moved.exitCode == 0, "\(moved.errors)")
        try await load.waitForAcknowledged(more: 50)
      }
      await nodes.kill("a")
      try await watcher.move(to: nodes.client("b"))
      try await load.waitForAcknowledged(more: 100)
      try nodes.restart("a")
      try await nodes.ready("a")
      let left = "\(nodes.client("a")),\(nodes.client("c"))"
      let removed = try await nodes.run("member", "remove", "b", endpoints: left)
      #expect(removed.exitCode == 0, "\(removed.errors)")
      try await watcher.move(to: nodes.client("a"))
      try await load.waitForAcknowledged(more: 100)
      load.stop()
      try await group.waitForAll()
    }
    try await watcher.finish(at: nodes.client("c"))
    await nodes.stop()
  }

  @Test("a watcher that asks for what was compacted is told from where it can go on")
  func compacted() async throws {
    let nodes = try Nodes()
    try await nodes.found("a")
    try await withConnection(nodes.client("a")) { connection in
      for _ in 0..<19 { try await connection.put("key", Clock.text) }
      let last = try await connection.put("key", Clock.text)
      try await connection.compact(last - 5)
      let client = WatchClient(on: connection)
      try client.watch("key", from: 2)
      await client.wait { !$0.cancelled.isEmpty }
      let told = try #require(client.seen.cancelled[0])
      #expect(told.compactRevision == last - 5)
      try client.watch("key", from: told.compactRevision)
      await client.wait { $0.revisions[1]?.last == last }
      #expect(client.seen.revisions[1] == Array(last - 5...last))
    }
    await nodes.stop()
  }

  @Test("two thousand that ask for history at once are served by the same walk over it")
  func history() async throws {
    let nodes = try Nodes()
    try await nodes.found("a")
    try await withConnection(nodes.client("a")) { connection in
      for batch in 0..<800 { try await connection.putMany((0..<125).map { "history/\(batch)/\($0)" }) }
      let revision = try await connection.put("somebody", Clock.text)
      func time(watchers: Int) async throws -> Double {
        let client = WatchClient(on: connection)
        let began = Clock.nanoseconds
        for number in 0..<watchers - 1 { try client.watch("nobody writes this \(number)", from: 1) }
        try client.watch("somebody", from: 1)
        await client.wait { $0.revisions[Int64(watchers) - 1]?.last == revision }
        let took = Double(Clock.nanoseconds - began)
        #expect(client.seen.eventCount == 1 && client.seen.created == watchers)
        client.cancel()
        return took
      }
      _ = try await time(watchers: 1)
      let one = try await time(watchers: 1)
      let many = try await time(watchers: 2000)
      #expect(many < 300 * one, "\(one / 1e6) ms for one, \(many / 1e6) ms for two thousand")
    }
    await nodes.stop()
  }
}

/// Many watchers of one key on streams of their own connection, from which the time of each delivery is taken.
struct Crowd {
  let key: String
  let clients: [WatchClient]
  let connections: [WireConnection]
  let size: Int

  static func watch(
    _ key: String, at address: String, streams: Int, watchersEach: Int, connections count: Int = 4
  ) async throws -> Crowd {
    let endpoint = try Endpoint(parsing: address)
    var (clients, connections): ([WatchClient], [WireConnection]) = ([], [])
    for _ in 0..<count {
      connections.append(
        try await WireConnection.connect(
          host: endpoint.host, port: endpoint.port, on: MultiThreadedEventLoopGroup.singleton.next()
        ).get())
    }
    for stream in 0..<streams {
      let client = WatchClient(on: connections[stream % count], measures: true)
      for _ in 0..<watchersEach { try client.watch(key) }
      clients.append(client)
    }
    for client in clients { await client.wait { $0.created == watchersEach } }
    return Crowd(key: key, clients: clients, connections: connections, size: watchersEach)
  }

  /// Puts so often, each time waits until every watcher has heard of it, and returns how long each took.
  func deliver(_ count: Int, from writer: WireConnection) async throws -> [UInt64] {
    for client in clients { _ = client.takeLatencies() }
    for _ in 0..<count {
      let before = clients.map(\.seen.eventCount)
      try await writer.put(key, Clock.text)
      for (client, heard) in zip(clients, before) { await client.wait { [size] in $0.eventCount >= heard + size } }
    }
    return clients.flatMap { $0.takeLatencies() }
  }

  func close() { for connection in connections { connection.close() } }
}

/// One watcher of everything that loads write, which begins anew behind the last revision that it heard of.
final class Wandering {
  private var connection: WireConnection
  private var client: WatchClient
  private var heard: [Int64] = []

  private init(_ connection: WireConnection, _ client: WatchClient) {
    self.connection = connection
    self.client = client
  }

  static func start(_ address: String) async throws -> Wandering {
    let (connection, client) = try await begin(address, from: 1)
    return Wandering(connection, client)
  }

  private static func begin(_ address: String, from revision: Int64) async throws -> (WireConnection, WatchClient) {
    let endpoint = try Endpoint(parsing: address)
    let connection = try await WireConnection.connect(
      host: endpoint.host, port: endpoint.port, on: MultiThreadedEventLoopGroup.singleton.next()
    ).get()
    let client = WatchClient(on: connection)
    try client.watch("load/", rangeEnd: "load0", from: revision)
    await client.wait { $0.created == 1 || $0.end != nil }
    return (connection, client)
  }

  /// Waits for the end of the stream, and goes on with another node.
  func move(to address: String) async throws {
    await client.wait { $0.end != nil }
    connection.close()
    heard += client.seen.revisions[0] ?? []
    (connection, client) = try await Self.begin(address, from: (heard.last ?? 0) + 1)
  }

  /// Hears the rest, and compares all of it with what one watcher hears that was never disturbed.
  func finish(at address: String) async throws {
    let (other, whole) = try await Self.begin(address, from: 1)
    // Something to wait for, behind everything.
    let last = try await other.put("load/last")
    for client in [client, whole] { await client.wait { $0.revisions[0]?.last == last } }
    heard += client.seen.revisions[0] ?? []
    #expect(heard == whole.seen.revisions[0])
    #expect(heard.count > 400)
    connection.close()
    other.close()
  }
}
