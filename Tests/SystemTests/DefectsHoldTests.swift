// A signal that a lock was lost (etcd#6127), and times to live below etcd's two seconds (etcd#11746). An etcd has neither.

import Foundation
import NIOPosix
import Protocol
import Synchronization
import Testing
import Wire

@Suite("etcd's defects: losing a lock", .serialized, .timeLimit(.minutes(3)))
struct DefectsHoldTests {
  @Test("whoever holds a lock is told the moment that it is gone, whichever node is asked")
  func lock() async throws {
    try await withCluster { calls in
      let lease = try await calls[0].lease(30)
      let held = try await calls[0].lock("lock", lease)
      let stream = try hold(calls[1]) {
        $0.key = held.key; $0.number = held.number; $0.sequence = 7
      }
      let first = try #require(try await stream.next())
      #expect(first.held.sequence == 7 && first.held.timeLeftMs == 30_000 && first.evidence.revision >= held.number)
      try stream.send(Self.question(8))
      #expect(try await stream.next()?.held.sequence == 8)
      try await calls[2].revoke(lease)
      let last = try #require(try await stream.next())
      #expect(last.lost.reason == "the key that was made at \(held.number) is gone")
      #expect(last.lost.advice.contains("stop writing"))
      #expect(try await stream.next() == nil, "it ends with that")
    }
  }

  @Test("the same for grants: released, handed on, or ended with their lease")
  func grant() async throws {
    try await withCluster { calls in
      let (first, second) = (try await calls[0].lease(30), try await calls[0].lease(30))
      let granted = try await calls[0].acquire("scope", "one", first).granted
      let waiting = Task { try await calls[1].acquire("scope", "two", second, waitMilliseconds: 60_000) }
      while try await calls[0].describe("scope").waiting.isEmpty { try Task.checkCancellation() }
      let stream = try hold(calls[2]) {
        $0.scope = "scope"; $0.number = granted.number
      }
      #expect(try await stream.next()?.held.timeLeftMs == 30_000)
      try await calls[0].release("scope", granted.number)
      let lost = try #require(try await stream.next()).lost
      let next = try await waiting.value.granted
      #expect(lost.heldBy.holder == "two" && lost.heldBy.number == next.number && lost.heldBy.token.isEmpty)
      #expect(try await stream.next() == nil)

      let other = try hold(calls[0]) {
        $0.scope = "scope"; $0.number = next.number
      }
      #expect(try await other.next()?.held.timeLeftMs == 30_000)
      try await calls[1].revoke(second)
      #expect(
        try #require(try await other.next()).lost.reason.contains("number \(next.number) does not hold the scope"))
    }
  }

  @Test("a command that runs while a scope is held is ended when somebody else releases it")
  func command() async throws {
    let nodes = try Nodes()
    try await nodes.found("a")
    let holder = try RunningProgram(
      ["acquire", "scope", "--ttl", "60s", "--", "sh", "-c", "echo holding; exec sleep 600"],
      environment: ["PORTCULLIS_ENDPOINTS": nodes.endpoints])
    try await holder.waitForOutput("holding")
    try await withConnection(nodes.client("a")) { connection in
      let call = DefectsCalls(connection: connection)
      let number = try await call.describe("scope").holder.number
      let begin = ContinuousClock.now
      try await call.release("scope", number)
      #expect(await holder.exitCode() == 75)
      // Long before the next renewal, by which it would have found out otherwise.
      #expect(ContinuousClock.now - begin < .seconds(15))
      await holder.waitForEndOfOutput()
      #expect(holder.errors.contains("was lost: number \(number) does not hold the scope"), "\(holder.errors)")
    }
    await nodes.stop()
  }

  @Test("what is not held is lost at once, and what nobody can hold is refused")
  func notHeld() async throws {
    try await withCluster { calls in
      let (first, second) = (try await calls[0].lease(30), try await calls[0].lease(30))
      let held = try await calls[0].lock("lock", first)
      let past = try hold(calls[1]) {
        $0.key = held.key; $0.number = held.number - 1
      }
      #expect(try await past.next()?.lost.reason.contains("made at \(held.number)") == true)

      let waiting = Task { try await calls[0].lock("lock", second) }
      try await calls[0].waitForKeys("lock/", count: 2)
      let key = "lock/" + String(second, radix: 16)
      let behind = try #require(try await calls[0].get(key))
      let inLine = try hold(calls[2]) {
        $0.key = behind.key; $0.number = behind.createRevision
      }
      #expect(try await inLine.next()?.lost.reason == "the key stands in line behind older ones")
      waiting.cancel()

      let none = try hold(calls[0]) {
        $0.scope = "nobody's"; $0.number = 5
      }
      #expect(try await none.next()?.lost.reason == "number 5 does not hold the scope; its newest number is 0")
      let text = "hold needs the scope of a grant or the key of a lock, not both, and its number"
      for request in [
        { _ in }, { $0.scope = "s" },
        {
          $0.scope = "s"; $0.key = Data([1]); $0.number = 1
        },
      ]
        as [(inout Portcullis_V1_HoldRequest) -> Void]
      {
        await refused(text, .invalidArgument) { _ = try await hold(calls[0], request).next() }
      }
    }
  }

  @Test("a node that no majority hears does not say that anything is held")
  func cutOff() async throws {
    let nodes = try Nodes()
    try await nodes.found("a", "b", "c")
    try await withConnection(nodes.client("a")) { connection in
      let call = DefectsCalls(connection: connection)
      let held = try await call.lock("lock", try await call.lease(30))
      let stream = try hold(call) {
        $0.key = held.key; $0.number = held.number
      }
      #expect(try await stream.next()?.held.timeLeftMs == 30_000)
      for name in ["b", "c"] { await nodes.kill(name) }
      try stream.send(Self.question(2))
      await #expect { _ = try await stream.next() } throws: { ($0 as? RPCStatus)?.code == .unavailable }
    }
    await nodes.stop()
  }

  @Test("a lease of half a second lives half a second, and renewals keep it alive (etcd#11746)")
  func halfASecond() async throws {
    try await withCluster { calls in
      let lease = try await calls[0].lease(0, milliseconds: 500)
      let isEnough = Mutex(false)
      // Renewed as fast as it goes, so that a slow machine does not end it.
      async let lastSent = Self.renew(lease, by: calls[1]) { isEnough.withLock { $0 } }
      let held = try await calls[2].lock("short", lease)
      #expect(held.timeLeftMs <= 500)
      let time = try await calls[0].timeToLive(lease)
      #expect(time.grantedTtlMs == 500 && time.timeLeftMs <= 500)
      let watch = try calls[0].watch("short/")
      #expect(try await watch.next()?.created == true)
      isEnough.withLock { $0 = true }
      #expect(try await watch.next()?.events.first?.type == .delete)
      let ended = ContinuousClock.now
      #expect(try await ended - lastSent >= .milliseconds(500), "never early")
      #expect(try await calls[0].timeToLive(lease).ttl == -1)
      await refused("ttl_ms is at least 500, this one is 20", .invalidArgument) {
        _ = try await calls[0].lease(0, milliseconds: 20)
      }
    }
  }

  /// Renews until `isEnough`, and tells when it last sent a renewal.
  private static func renew(
    _ lease: Int64, by call: DefectsCalls, until isEnough: @Sendable () -> Bool
  ) async throws -> ContinuousClock.Instant {
    var sent = ContinuousClock.now
    repeat {
      sent = .now
      let answer = try await call.renew(lease)
      // Other clients look at the seconds, and take 0 for the end of the lease.
      #expect(answer.ttlMs == 500 && answer.ttl == 1)
    } while !isEnough()
    return sent
  }

  private static func question(_ sequence: UInt64) -> Portcullis_V1_HoldRequest {
    var request = Portcullis_V1_HoldRequest()
    request.sequence = sequence
    return request
  }

  private func hold(
    _ call: DefectsCalls, _ change: (inout Portcullis_V1_HoldRequest) -> Void
  ) throws -> DefectsStream<Portcullis_V1_HoldResponse> {
    var request = Self.question(1)
    change(&request)
    let stream = DefectsStream<Portcullis_V1_HoldResponse>(RPCPath.Authority.hold, on: call.connection)
    try stream.send(request)
    return stream
  }

  /// Three nodes, with a connection to each.
  private func withCluster(_ body: ([DefectsCalls]) async throws -> Void) async throws {
    let nodes = try Nodes()
    try await nodes.found("a", "b", "c")
    try await withConnection(nodes.client("a")) { first in
      try await withConnection(nodes.client("b")) { second in
        try await withConnection(nodes.client("c")) { third in
          try await body([first, second, third].map(DefectsCalls.init))
        }
      }
    }
    await nodes.stop()
  }
}
