// The large runs, with figures: not part of the suite, for they take minutes. `PORTCULLIS_STRESS=1` turns them on, and
// `PORTCULLIS_STRESS_ETCD=/path/to/etcd` has etcd do the same beside us (docs/operations.md has what came out).

import Client
import Foundation
import NIOPosix
import Protocol
import Testing
import Wire

private let environment = ProcessInfo.processInfo.environment

@Suite("figures under stress", .serialized, .enabled(if: environment["PORTCULLIS_STRESS"] != nil))
struct StressFigures {
  private static let streams = 100
  private static let watchersEach = 100

  @Test("10,000 watchers of one key over 100 streams: how long a put takes to reach them")
  func fanOut() async throws {
    let systems = try await Contender.start()
    var crowds: [Crowd] = []
    var latencies = [[Double]](repeating: [], count: systems.count)
    for system in systems {
      let began = Clock.nanoseconds
      crowds.append(
        try await Crowd.watch(
          "crowd", at: system.address, streams: Self.streams, watchersEach: Self.watchersEach, connections: 10))
      print("\(system.name): 10,000 watchers made in \((Clock.nanoseconds - began) / 1_000_000) ms")
    }
    for round in 0..<5 {
      for (place, system) in systems.enumerated() {
        let times = try await withConnection(system.address) { try await crowds[place].deliver(20, from: $0) }
        // The first round finds everything cold.
        if round > 0 { latencies[place].append(times.milliseconds(at: 50)) }
        print(
          "\(system.name): delivery p50 \(times.milliseconds(at: 50)) ms, p99 \(times.milliseconds(at: 99)) ms,",
          "resident \(try system.residentMiB) MiB")
      }
    }
    print(systems.indices.map { "\(systems[$0].name): median of rounds \(latencies[$0].median)" })
    if systems.count > 1 { print("ratio of the medians: \(latencies[0].median / latencies[1].median)") }
    for crowd in crowds { crowd.close() }
    for system in systems { await system.stop() }
  }

  @Test("10,000 watchers of other ranges: what they cost those who write")
  func otherRanges() async throws {
    let systems = try await Contender.start()
    for system in systems {
      let endpoint = try Endpoint(parsing: system.address)
      let connection = try await WireConnection.connect(
        host: endpoint.host, port: endpoint.port, on: MultiThreadedEventLoopGroup.singleton.next()
      ).get()
      _ = try await Puts.measure(2000, on: connection)
      let alone = try await Puts.measure(4000, on: connection)
      let clients = (0..<100).map { _ in WatchClient(on: connection) }
      for number in 0..<10_000 {
        try clients[number % 100].watch("range/\(number)/", rangeEnd: "range/\(number)0")
      }
      for client in clients { await client.wait { $0.created == 100 } }
      let watched = try await Puts.measure(4000, on: connection)
      print(
        "\(system.name): put p50 \(alone.milliseconds(at: 50)) ms alone, \(watched.milliseconds(at: 50)) ms beside",
        "10,000 watchers of other ranges")
      connection.close()
      await system.stop()
    }
  }

  @Test("one of 100 streams is never read: what the others notice, and what it costs")
  func silent() async throws {
    let nodes = try Nodes("--slow-watcher-timeout", "10s")
    try await nodes.found("a")
    let address = nodes.client("a")
    let process = try nodes.program("a").processID
    try await withConnection(address) { writer in
      let crowd = try await Crowd.watch(
        "crowd", at: address, streams: Self.streams - 1, watchersEach: Self.watchersEach, connections: 10)
      _ = try await crowd.deliver(20, from: writer)
      let alone = try await crowd.deliver(100, from: writer)
      let silent = try await SilentWatchClient.connect(address)
      try await silent.watch("big")
      try await silent.watch("crowd", times: Self.watchersEach - 1)
      _ = try await silent.answers { $0.filter(\.created).count == Self.watchersEach }
      try await silent.setReading(false)
      let before = try Memory.residentMiB(process)
      for _ in 0..<300 { try await writer.put("big", Data(repeating: 120, count: 100_000)) }
      let stored = try Memory.residentMiB(process)
      let together = try await crowd.deliver(100, from: writer)
      let after = try Memory.residentMiB(process)
      print(
        "delivery p50 \(alone.milliseconds(at: 50)) ms, p99 \(alone.milliseconds(at: 99)) ms alone;",
        "p50 \(together.milliseconds(at: 50)) ms, p99 \(together.milliseconds(at: 99)) ms beside a silent stream")
      print("resident \(before) MiB before 30 MB were written, \(stored) behind them, \(after) after all deliveries")
      try await nodes.wait(for: "portcullis_watchers", of: "a") { $0 == 9900 }
      print("its watchers are gone, resident \(try Memory.residentMiB(process)) MiB")
      silent.close()
      crowd.close()
    }
    await nodes.stop()
  }

  @Test("50,000 leases kept alive, 10,000 that end at once, three changes of leader", .timeLimit(.minutes(15)))
  func leases() async throws {
    let nodes = try Nodes()
    try await nodes.found("a", "b", "c")
    let (kept, dropped) = (Holders(ttlMilliseconds: 120_000), Holders(ttlMilliseconds: 90_000))
    let endpoint = try Endpoint(parsing: nodes.client("b"))
    func connect() async throws -> WireConnection {
      try await WireConnection.connect(
        host: endpoint.host, port: endpoint.port, on: MultiThreadedEventLoopGroup.singleton.next()
      ).get()
    }
    let (connection, writer) = (try await connect(), try await connect())
    try await EndWatcher([kept, dropped]).start(on: connection)
    let began = Clock.nanoseconds
    try await dropped.grant(10_000, on: connection, together: 256)
    try await kept.grant(50_000, on: connection, together: 256, withKeys: false)
    print("60,000 leases granted in \((Clock.nanoseconds - began) / 1_000_000) ms")
    kept.connect(connection)
    let renewing = Task {
      while !Task.isCancelled {
        // A change of leader ends the stream, as etcd's do; the leases live on.
        if kept.hasEnded { kept.connect(connection) }
        // Five thousand a second, as evenly as so many holders would send them.
        try kept.renew(atMost: 50)
        try await Task.sleep(for: .milliseconds(10))
      }
    }
    let usual = try await Puts.measure(for: .seconds(20), on: writer)
    var busy = try await withThrowingTaskGroup(of: [UInt64].self) { group in
      group.addTask { try await Puts.measure(for: .seconds(100), on: writer) }
      for name in ["c", "a", "b"] {
        let moved = try await nodes.run("move-leader", name)
        #expect(moved.exitCode == 0, "\(moved.errors)")
        try await Task.sleep(for: .seconds(3))
      }
      await dropped.waitForEnds(10_000)
      return try await group.reduce(into: []) { $0 += $1 }
    }
    busy.sort()
    renewing.cancel()
    print(
      "puts: p99 \(usual.milliseconds(at: 99)) ms usually; \(busy.milliseconds(at: 99)) ms with all that;",
      "the slowest \(busy.milliseconds(at: 100)) ms of \(busy.count)")
    print(
      "ended early by at most \(dropped.earliestBy) ms, late by at most \(dropped.latestBy) ms; lost \(kept.lost.count)"
    )
    #expect(dropped.earliestBy == 0)
    #expect(kept.lost.isEmpty)
    try await nodes.wait(for: "portcullis_leases", of: "b") { $0 == 50_000 }
    #expect(busy.milliseconds(at: 99) < 3 * usual.milliseconds(at: 99))
    connection.close()
    writer.close()
    await nodes.stop()
  }
}

/// Puts one behind another, with the time that each took.
enum Puts {
  static func measure(_ count: Int, on connection: WireConnection) async throws -> [UInt64] {
    var times: [UInt64] = []
    for number in 0..<count {
      let began = Clock.nanoseconds
      try await connection.put("puts/\(number % 1000)", Data(repeating: 120, count: 100))
      times.append(Clock.nanoseconds - began)
    }
    return times
  }

  /// A hundred a second; each counts from when it should have begun.
  static func measure(for duration: Duration, on connection: WireConnection) async throws -> [UInt64] {
    let (began, step) = (Clock.nanoseconds, UInt64(10_000_000))
    var times: [UInt64] = []
    for number in 0..<UInt64(duration / .milliseconds(10)) {
      let due = began + number * step
      if Clock.nanoseconds < due { try await Task.sleep(for: .nanoseconds(due - Clock.nanoseconds)) }
      // Through a change of leader the caller tries again, and its time goes on.
      var isDone = false
      while !isDone {
        do {
          try await connection.put("puts/\(number % 1000)", Data(repeating: 120, count: 100))
          isDone = true
        } catch let status as RPCStatus where status.code == .unavailable {
          try await Task.sleep(for: .milliseconds(20))
        }
      }
      times.append(Clock.nanoseconds - due)
    }
    return times
  }
}

enum Memory {
  static func residentMiB(_ process: Int32) throws -> Int {
    let text = try String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8)
    let line = try #require(text.split(separator: "\n").first { $0.hasPrefix("VmRSS:") })
    return try #require(Int(line.filter(\.isNumber))) / 1024
  }
}

/// One node of a system that is measured.
private struct Contender {
  let name: String
  let address: String
  let program: RunningProgram
  let directory: ScratchDirectory

  var residentMiB: Int { get throws { try Memory.residentMiB(program.processID) } }

  static func start() async throws -> [Contender] {
    var all = [try await start("portcullis", Program.path, ["core"], "is ready")]
    if let etcd = environment["PORTCULLIS_STRESS_ETCD"] {
      all.append(try await start("etcd", etcd, [], "ready to serve client requests"))
    }
    return all
  }

  private static func start(
    _ name: String, _ executable: String, _ command: [String], _ ready: String
  ) async throws -> Contender {
    let directory = try ScratchDirectory()
    let ports = Ports.free(2)
    let (client, peer) = ("http://127.0.0.1:\(ports[0])", "http://127.0.0.1:\(ports[1])")
    let program = try RunningProgram(
      command + [
        "--name", "a", "--data-dir", directory("a"), "--listen-client-urls", client, "--advertise-client-urls", client,
        "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "a=\(peer)",
      ], executable: executable)
    if command.isEmpty {
      try await program.waitForErrors(ready)
    } else {
      try await program.waitForOutput(ready)
    }
    return Contender(
      name: name, address: "127.0.0.1:\(ports[0])", program: program, directory: directory)
  }

  func stop() async {
    program.send(SIGTERM)
    _ = await program.exitCode()
  }
}

extension [Double] {
  fileprivate var median: Double {
    let sorted = sorted()
    return isEmpty ? .nan : sorted[count / 2]
  }
}
