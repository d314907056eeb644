// How fast scopes are handed over and sessions are renewed: not part of the suite. `PORTCULLIS_STRESS=1` turns it on
// (docs/grants.md has what came out).

import Foundation
import Glibc
import Protocol
import Testing
import Wire

private let environment = ProcessInfo.processInfo.environment

@Suite("figures of sessions", .serialized, .enabled(if: environment["PORTCULLIS_STRESS"] != nil))
struct SessionFigures {
  /// Every waiter stands in line from the beginning, so the line only gets shorter: both figures are of its first hundred.
  @Test("a hand-over with 200 and with 1000 in line, against a put", arguments: [200, 1000])
  func handOver(waiting: Int) async throws {
    let nodes = try Nodes()
    try await nodes.found("a")
    let line = WaitingLine()
    try await withConnection(nodes.client("a")) { connection in
      let calls = DefectsCalls(connection: connection)
      _ = try await Puts.measure(500, on: connection)
      try await withThrowingTaskGroup(of: Void.self) { group in
        for number in 0..<waiting {
          let session = try await calls.open("waiter \(number)", ttlMilliseconds: 600_000).id
          group.addTask { try await line.stand(session, calls) }
        }
        while try await calls.describe("s").waiting.count < waiting - 1 { try await Task.sleep(for: .milliseconds(50)) }
        let ratio = try await Self.measure(line, calls)
        print("\(waiting) in line: hand-over against put, ratio of the medians \(ratio)")
        #expect(ratio <= 2)
        group.cancelAll()
      }
    }
    await nodes.stop()
  }

  /// A hundred hand-overs and puts in turn.
  private static func measure(_ line: WaitingLine, _ calls: DefectsCalls) async throws -> Double {
    var next = line.granted.makeAsyncIterator()
    var number = try #require(await next.next()).number
    var (handOvers, puts): ([UInt64], [UInt64]) = ([], [])
    for _ in 0..<100 {
      puts += try await Puts.measure(1, on: calls.connection)
      let began = Clock.nanoseconds
      try await calls.release("s", number)
      let following = try #require(await next.next())
      handOvers.append(following.nanoseconds - began)
      number = following.number
    }
    let (handOver, put) = (handOvers.sorted()[50], puts.sorted()[50])
    print("hand-over p50 \(handOver / 1000) us, put p50 \(put / 1000) us")
    return Double(handOver) / Double(put)
  }

  @Test("10,000 sessions of ten seconds, renewed three times in each: what that costs one node")
  func renewals() async throws {
    let nodes = try Nodes()
    try await nodes.found("a")
    let process = try nodes.program("a").processID
    try await withConnection(nodes.client("a")) { connection in
      let calls = DefectsCalls(connection: connection)
      var sessions: [Int64] = []
      for number in 0..<10_000 { sessions.append(try await calls.open("s\(number)", ttlMilliseconds: 60_000).id) }
      let stream = DefectsStream<Portcullis_V1_KeepSessionResponse>(RPCPath.Sessions.keepAlive, on: connection)
      var request = Portcullis_V1_KeepSessionRequest()
      let (began, before) = (Clock.nanoseconds, try Self.cpuSeconds(process))
      var sent: UInt64 = 0
      // A third of them every 1.11 s, in slices of 50 ms.
      while Clock.nanoseconds - began < 20_000_000_000 {
        for _ in 0..<150 {
          request.id = sessions[Int(sent) % sessions.count]
          sent += 1
          request.sequence = sent
          try stream.send(request)
        }
        for _ in 0..<150 { #expect(try await stream.next()?.timeLeftMs == 60_000) }
        let due = began + sent * 1_000_000_000 / 3000
        if Clock.nanoseconds < due { try await Task.sleep(for: .nanoseconds(due - Clock.nanoseconds)) }
      }
      let seconds = Double(Clock.nanoseconds - began) / 1e9
      let cores = (try Self.cpuSeconds(process) - before) / seconds
      print("\(Double(sent) / seconds) renewals a second cost \(cores) cores")
      #expect(cores < 0.5 && Double(sent) / seconds > 2700)
    }
    await nodes.stop()
  }

  /// User and system time, in seconds.
  private static func cpuSeconds(_ process: Int32) throws -> Double {
    let text = try String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8)
    let fields = try #require(text.split(separator: ")").last).split(separator: " ")
    let ticks = try #require(Double(fields[11])) + #require(Double(fields[12]))
    return ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
  }
}

/// Callers that wait for one scope, and when each of them was told that it holds it.
private final class WaitingLine: Sendable {
  struct Granted: Sendable {
    let number: Int64
    let nanoseconds: UInt64
  }

  let granted: AsyncStream<Granted>
  private let feed: AsyncStream<Granted>.Continuation

  init() { (granted, feed) = AsyncStream.makeStream() }

  func stand(_ session: Int64, _ calls: DefectsCalls) async throws {
    var request = Portcullis_V1_AcquireRequest()
    request.scope = "s"
    request.lease = session
    request.waitMs = 600_000
    let answer = try await calls.call(
      RPCPath.Authority.acquire, request, as: Portcullis_V1_AcquireResponse.self, within: 600)
    feed.yield(Granted(number: answer.granted.number, nanoseconds: Clock.nanoseconds))
  }
}
