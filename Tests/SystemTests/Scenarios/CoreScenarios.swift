// Scenarios 6, 22, 23 and 25: leaders that are gone for a while or for good, and what is decided by the order of the log.

import Client
import Foundation
import Glibc
import NIOCore
import Protocol
import Testing
import Wire

@Suite("scenarios: what the core decides", .serialized, .timeLimit(.minutes(2)))
struct CoreScenarios {
  private func leader(of nodes: ThreeNodes) async throws -> Int {
    let members = ClusterMembers(endpoints: try Endpoint.list(parsing: nodes.endpoints))
    defer { members.close() }
    while true {
      try Task.checkCancellation()
      let name = try? await members.list().first(where: \.isLeader)?.name
      if let place = ThreeNodes.names.firstIndex(where: { $0 == name }) { return place }
    }
  }

  @Test(
    "scenario 6: a leader that was stopped for two elections and goes on grants nothing, ends nothing and shows nothing old"
  )
  func stoppedLeader() async throws {
    let nodes = try ThreeNodes()
    try await nodes.start()
    let old = try await leader(of: nodes)
    let others = nodes.clients.enumerated().filter { $0.offset != old }.map(\.element).joined(separator: ",")
    try await withClient(others) { client in
      let session = try await Session.open(on: client, holder: "A", timeToLive: .seconds(5))
      let kept = try await session.acquire("kept")
      try await client.put("k", "old")
      nodes.send(SIGSTOP, to: old)
      // The next leader's, so the election is over when it is answered.
      try await client.put("k", "new")
      let other = try await Session.open(on: client, holder: "B", timeToLive: .seconds(30))
      let fresh = try await other.acquire("fresh")
      // Two election timeouts.
      try await Task.sleep(for: .seconds(2))
      nodes.send(SIGCONT, to: old)
      try await expectNothingOld(at: nodes.clients[old], kept: kept, fresh: fresh)
      #expect(session.current == .active)
      #expect(try await client.describe("kept").grant?.number == kept.number)
      await session.close()
      await other.close()
    }
    await nodes.stop()
  }

  /// Asks the old leader from its first moment on, until it has answered often enough.
  private func expectNothingOld(at endpoint: String, kept: Grant, fresh: Grant) async throws {
    try await withConnection(endpoint) { connection in
      let calls = DefectsCalls(connection: connection)
      let lease = try await calls.lease(60)
      var answers = 0
      while answers < 100 {
        try Task.checkCancellation()
        // It refuses until it has found its new leader.
        try await Self.whenLed { try await Self.expectNothingOld(calls, lease, [kept, fresh]) }
        answers += 1
      }
    }
  }

  private static func expectNothingOld(_ calls: DefectsCalls, _ lease: Int64, _ grants: [Grant]) async throws {
    #expect(try await calls.get("k")?.value == Data("new".utf8))
    for grant in grants {
      #expect(try await calls.describe(grant.scope).holder.number == grant.number, "\(grant.scope)")
      let attempt = try await calls.acquire(grant.scope, "C", lease)
      guard case .refused = attempt.outcome else {
        Issue.record("\(grant.scope) was granted twice: \(attempt)")
        continue
      }
    }
  }

  @Test(
    "scenario 22: the leader dies between the commit of a grant and its answer: the request made again has the same grant"
  )
  func lostAnswer() async throws {
    let nodes = try ThreeNodes()
    try await nodes.start()
    let first = try await leader(of: nodes)
    let proxy = try await CutProxy.start(to: nodes.clients[first])
    let other = nodes.clients[(first + 1) % 3]
    try await withConnection(other) { connection in
      let calls = DefectsCalls(connection: connection)
      let session = try await calls.open("A")
      try await withConnection(proxy.endpoint) { cutOff in
        try await proxy.cut(.toClient)
        async let lost = DefectsCalls(connection: cutOff).acquire(["s"], session) { $0.requestID = "one" }
        // The grant is in the log and applied when another node shows it, and its answer is on no way to anybody.
        while try await calls.describe("s").holder.number == 0 { try Task.checkCancellation() }
        await nodes.kill(first)
        await proxy.stop()
        _ = try? await lost
      }
      let granted = try await Self.whenLed { try await calls.describe("s").holder }
      let again = try await Self.whenLed { try await calls.acquire(["s"], session) { $0.requestID = "one" } }
      #expect(again.granted.number == granted.number && granted.holder == "A" && !again.granted.token.isEmpty)
      let rival = try await calls.acquire(["s"], try await calls.open("B"))
      guard case .refused(let refused) = rival.outcome else {
        Issue.record("two holders: \(rival)")
        return
      }
      #expect(refused.heldBy.number == granted.number)
    }
    await nodes.stop()
  }

  /// Asks again for as long as there is no leader; nothing was done then.
  private static func whenLed<T>(_ body: () async throws -> T) async throws -> T {
    while true {
      try Task.checkCancellation()
      do {
        return try await body()
      } catch {
        guard (error as? RPCStatus)?.code == .unavailable else { throw error }
      }
    }
  }

  @Test("scenario 23: a lock that is deleted and made again, by whatever way, has a higher number each time")
  func numbersRise() async throws {
    try await withCalls { calls in
      var numbers: [Int64] = []
      for round in 0..<20 {
        let lease = try await calls.lease(60)
        let locked = try await calls.lock("job", lease)
        numbers.append(locked.number)
        switch round % 4 {
        case 0: try await calls.unlock(locked.key)
        case 1: try await calls.revoke(lease)
        case 2: _ = try await calls.delete(String(decoding: locked.key, as: UTF8.self))
        default:
          // The key, and everything else that there ever was of it.
          try await calls.compact(try await calls.delete(String(decoding: locked.key, as: UTF8.self)))
        }
        let session = try await calls.open("round \(round)")
        let granted = try await calls.acquire(["lock:job-again"], session).granted.number
        #expect(granted > locked.number, "numbers of all scopes come from one order")
        try await calls.close(session)
      }
      #expect(numbers == numbers.sorted() && Set(numbers).count == numbers.count && numbers[0] > 0)
    }
  }

  @Test(
    "scenario 25: a renewal at the very end of a lease: either it is in time and the grant stays, or the next one has it"
  )
  func race() async throws {
    try await withCalls { calls in
      var (renewed, expired, round) = (0, 0, 0)
      // Both must have been seen, or nothing was shown.
      while renewed < 5 || expired < 5 {
        try Task.checkCancellation()
        let outcomes = try await withThrowingTaskGroup(of: Bool.self) { group in
          for place in 0..<16 {
            group.addTask { [round] in try await Self.raceOnce(calls, "race \(round) \(place)", late: place * 12) }
          }
          return try await group.reduce(into: []) { $0.append($1) }
        }
        renewed += outcomes.count { $0 }
        expired += outcomes.count { !$0 }
        round += 1
      }
      print("scenario 25: \(renewed) renewals came in time, \(expired) leases had ended")
    }
  }

  /// Whether a renewal that is sent so long after a lease's end, by the client's clock, was in time.
  private static func raceOnce(_ calls: DefectsCalls, _ scope: String, late milliseconds: Int) async throws -> Bool {
    let end = ContinuousClock.now + .milliseconds(980 + milliseconds)
    let holder = try await calls.open("holder", ttlMilliseconds: 1000)
    let held = try await calls.acquire([scope], holder).granted.number
    let waiter = try await calls.open("waiter")
    async let next = calls.acquire([scope], waiter, waitMilliseconds: 60_000)
    while try await calls.describe(scope).waiting.isEmpty { try Task.checkCancellation() }
    try await Task.sleep(until: end)
    let isRenewed = try await calls.renew(holder.id).ttl > 0
    let now = try await calls.describe(scope)
    if isRenewed {
      #expect(now.holder.number == held, "\(scope)")
      try await calls.close(holder)
    } else {
      #expect(now.holder.number > held && now.holder.holder == "waiter", "\(scope)")
      #expect(try await calls.renew(holder.id).ttl <= 0, "what has ended is not renewed later either")
    }
    #expect(try await next.granted.number > held)
    try await calls.close(waiter)
    return isRenewed
  }

  private func withCalls(_ body: (DefectsCalls) async throws -> Void) async throws {
    let directory = try ScratchDirectory()
    let serving = try await Serving.start(directory("data"))
    try await withConnection(serving.core) { try await body(DefectsCalls(connection: $0)) }
    await serving.stop()
  }
}
