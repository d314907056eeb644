// What the Swift client promises about authority: guarded writes, requests that are made twice, elections, why it ended; and
// that a task which is cancelled leaves nothing behind, here or at the server.

import Client
import Foundation
import FoundationNetworking
import Glibc
import Testing

@Suite("the Swift client and authority", .serialized, .timeLimit(.minutes(3)))
struct ClientLifeTests {
  @Test("a guarded write happens under its grant and not after, and the error names holder and number")
  func fenced() async throws {
    try await withServer { client in
      let old = try await Session.open(on: client, holder: "old", timeToLive: .seconds(30))
      let stale = try await old.acquire("s")
      try await client.put("k", "1", fence: stale.token)
      #expect(try await client.get("k", fence: stale.token)?.valueText == "1")
      await old.close()
      let new = try await Session.open(on: client, holder: "new", timeToLive: .seconds(30))
      let grant = try await new.acquire("s")
      #expect(grant.number > stale.number)
      for write in [
        { try await client.put("k", "2", fence: stale.token) },
        { try await client.delete(.key("k"), fence: stale.token) },
        { try await client.get("k", fence: stale.token)?.modRevision ?? 0 },
        { try await client.put("k", "2", ifRevision: 0, fence: stale.token) == .changed(nil) ? 0 : 1 },
      ] as [@Sendable () async throws -> Int64] {
        let error = await #expect(throws: ClientError.self) { _ = try await write() }
        #expect(error?.code == .stale, "\(error?.description ?? "")")
        #expect(error?.description.contains("new under number \(grant.number)") == true, "\(error?.description ?? "")")
      }
      #expect(try await client.get("k")?.valueText == "1")
      await new.close()
    }
  }

  @Test("a request made again under its id is one: same number; and several scopes are had together or not at all")
  func requests() async throws {
    try await withServer { client in
      try await client.withSession(holder: "one") { session in
        var request = GrantRequest(["b", "a"])
        request.value = Array("here".utf8)
        let grants = try await session.acquire(request)
        #expect(grants.map(\.scope) == ["b", "a"] && grants[0].number == grants[1].number)
        #expect(grants.allSatisfy { $0.valueText == "here" && $0.barrier == .none && $0.timeLeft > .zero })
        #expect(try await session.acquire(request).map(\.number) == grants.map(\.number))
        try await client.withSession(holder: "two") { other in
          let error = await #expect(throws: ClientError.self) { _ = try await other.acquire(GrantRequest(["c", "a"])) }
          #expect(error?.code == .held && error?.refusal?.heldBy?.holder == "one")
          let free = try await client.describe("c")
          #expect(free.grant == nil)
        }
      }
      #expect(try await client.sessions().isEmpty)
    }
  }

  @Test("a gateway that is not there is reported at once, with the cause")
  func noGateway() async throws {
    let gateway = GatewayClient(endpoint: Endpoint(host: "127.0.0.1", port: Ports.free(1)[0]))
    let write = await #expect(throws: ClientError.self) {
      _ = try await gateway.run(.execute, ["SELECT 1"], on: "none", token: nil)
    }
    let floor = await #expect(throws: ClientError.self) { _ = try await gateway.floor(of: "none") }
    for error in [write, floor] {
      #expect(error?.code == .unavailable)
      #expect(error?.description.contains("Connection refused") == true, "\(error?.description ?? "")")
    }
  }

  @Test("an election: won in turn, proclaimed under the number, observed without a gap in who led")
  func election() async throws {
    try await withServer { client in
      let election = Election("boss", on: client)
      let (seen, feed) = AsyncStream.makeStream(of: String.self)
      let observer = Task {
        for try await leadership in election.observe() {
          feed.yield(leadership.leader.map { "\($0.holder):\($0.valueText)" } ?? "nobody")
        }
      }
      var news = seen.makeAsyncIterator()
      func until(_ text: String) async throws {
        while let next = await news.next(), next != text {}
        try Task.checkCancellation()
      }
      try await until("nobody")
      let one = try await Session.open(on: client, holder: "one", timeToLive: .seconds(30))
      let two = try await Session.open(on: client, holder: "two", timeToLive: .seconds(30))
      let first = try await election.campaign(with: one, value: "a")
      try await until("one:a")
      try await election.proclaim("b", under: first)
      try await until("one:b")
      async let second = election.campaign(with: two, value: "c")
      while try await client.describe("boss").waiting.isEmpty { try Task.checkCancellation() }
      try await election.resign(first)
      let next = try await second
      try await until("two:c")
      #expect(next.number > first.number)
      let error = await #expect(throws: ClientError.self) { try await election.proclaim("late", under: first) }
      #expect(error?.code == .stale && error?.refusal?.heldBy?.holder == "two", "\(error?.description ?? "")")
      #expect(try await election.leader().leader?.valueText == "c")
      observer.cancel()
      _ = await observer.result
      await one.close()
      await two.close()
    }
  }

  @Test("work is cancelled the moment that its grant is taken away, and the error says that it was the grant")
  func takenAway() async throws {
    try await withServer { client in
      let error = await #expect(throws: ClientError.self) {
        try await client.withGrant(on: "orders", timeToLive: .seconds(60)) { grant in
          // An operator, elsewhere.
          try await Election("orders", on: client).resign(number: grant.number)
          try await Task.sleep(for: .seconds(600))
        }
      }
      #expect(error?.code == .sessionLost)
      guard case .grant? = error?.ending else {
        Issue.record("the ending is \(String(describing: error?.ending))")
        return
      }
    }
  }

  @Test("a session outlives a node that hangs, where there is another to ask")
  func hangingNode() async throws {
    let nodes = try ThreeNodes()
    try await nodes.start()
    try await withClient(nodes.endpoints) { client in
      let session = try await Session.open(on: client, timeToLive: .seconds(9))
      // The client talks to the first endpoint.
      nodes.send(SIGSTOP, to: 0)
      _ = await session.states.first { $0 == .jeopardy }
      #expect(await session.states.first { $0 != .jeopardy } == .active)
      nodes.send(SIGCONT, to: 0)
      await session.close()
    }
    await nodes.stop()
  }

  @Test("what is cancelled leaves no call, no session, no place in line, no task and no descriptor behind")
  func leaks() async throws {
    let directory = try ScratchDirectory()
    let serving = try await Serving.start(directory("data"))
    try await withClient(serving.core) { client in
      let holder = try await Session.open(on: client, holder: "holder", timeToLive: .seconds(60))
      let grant = try await holder.acquire("busy")
      // Whatever reads the metrics keeps descriptors of its own.
      _ = try await Self.openCalls(serving.core)
      let before = try Self.descriptors()
      let live = Shared(0)
      for _ in 0..<25 { try await Self.startAndCancel(client, live) }
      #expect(live.change { $0 } == 0, "tasks that were started and have not ended")
      try await Self.settled(serving.core, "streams") { try await Self.openCalls(serving.core) == 0 }
      try await Self.settled(serving.core, "sessions") { try await client.sessions().map(\.holder) == ["holder"] }
      #expect(try await client.describe("busy").waiting.isEmpty)
      let after = try Self.descriptors()
      #expect(after <= before + 1, "\(before) descriptors before, \(after) after")
      #expect(try await client.describe("busy").grant?.number == grant.number)
      await holder.close()
    }
    await serving.stop()
  }

  /// One of each thing that waits, cancelled when it does.
  private static func startAndCancel(_ client: Portcullis, _ live: Shared<Int>) async throws {
    let (started, start) = AsyncStream<Void>.makeStream()
    let bodies: [@Sendable () async throws -> Void] = [
      { try await client.withGrant(on: "mine", timeToLive: .seconds(60)) { _ in try await waiting(start) } },
      {
        try await client.withSession(holder: "queue", timeToLive: .seconds(60)) { session in
          start.yield()
          _ = try await session.acquire("busy", wait: .seconds(600))
        }
      },
      {
        for try await event in client.events(of: .prefix("x")) { if case .listed = event { start.yield() } }
      },
      { for try await _ in Election("nobody's", on: client).observe() { start.yield() } },
      { try await client.withMirror(of: .prefix("x")) { _ in try await waiting(start) } },
    ]
    let tasks = bodies.map { body in
      live.change { $0 += 1 }
      return Task {
        defer { live.change { $0 -= 1 } }
        try await body()
      }
    }
    var count = 0
    for await _ in started {
      count += 1
      if count == bodies.count { break }
    }
    for task in tasks { task.cancel() }
    for task in tasks { _ = await task.result }
  }

  private static func waiting(_ start: AsyncStream<Void>.Continuation) async throws {
    start.yield()
    try await Task.sleep(for: .seconds(600))
  }

  private static func settled(_ core: String, _ what: String, _ isSo: () async throws -> Bool) async throws {
    let end = ContinuousClock.now + .seconds(30)
    while !(try await isSo()) {
      try #require(ContinuousClock.now < end, "\(what) are left over")
      try await Task.sleep(for: .milliseconds(20))
    }
  }

  private static func descriptors() throws -> Int {
    try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
  }

  /// Calls that the node has begun and not ended.
  private static func openCalls(_ core: String) async throws -> Double {
    let url = try #require(URL(string: "http://\(core)/metrics"))
    let (body, _) = try await URLSession.shared.data(from: url)
    var open = 0.0
    for line in String(decoding: body, as: UTF8.self).split(separator: "\n") {
      guard let value = line.split(separator: " ").last.flatMap({ Double($0) }) else { continue }
      if line.hasPrefix("grpc_server_started_total{") { open += value }
      if line.hasPrefix("grpc_server_handled_total{") { open -= value }
    }
    return open
  }
}
