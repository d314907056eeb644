// What etcd gets wrong about locks and elections: each of these tests an etcd fails (docs/etcd-defects.md).

import Foundation
import NIOPosix
import Protocol
import Testing
import Wire

@Suite("etcd's defects: locks", .serialized, .timeLimit(.minutes(3)))
struct DefectsLockTests {
  @Test("a caller whose lease ended while it waited does not get the lock")
  func lockAfterTheEnd() async throws {
    try await withNode { call in
      let (first, second) = (try await call.lease(), try await call.lease())
      let held = try await call.lock("lock", first)
      let waiting = Task { try await call.lock("lock", second) }
      try await call.waitForKeys("lock/", count: 2)
      try await call.revoke(second)
      try await call.unlock(held.key)
      await refused("mutex: session is expired") { _ = try await waiting.value }
      // Nobody holds it, so somebody can.
      _ = try await call.lock("lock", try await call.lease())
    }
  }

  @Test("a candidate whose lease ended while it waited does not win (etcd#19597)")
  func campaignAfterTheEnd() async throws {
    try await withNode { call in
      let (first, second) = (try await call.lease(), try await call.lease())
      let leader = try await call.campaign("election", first, "one").leader
      let waiting = Task { try await call.campaign("election", second, "two") }
      try await call.waitForKeys("election/", count: 2)
      try await call.revoke(second)
      try await call.resign(leader)
      await refused("election: session is expired") { _ = try await waiting.value }
    }
  }

  @Test("an unlock that comes late leaves the next lock of the same session alone (etcd#22082)")
  func lateUnlock() async throws {
    try await withNode { call in
      let lease = try await call.lease()
      let first = try await call.lock("late", lease)
      try await call.unlock(first.key, number: first.number)
      let second = try await call.lock("late", lease)
      #expect(second.key == first.key && second.number > first.number)
      // The caller did not hear that its unlock was done, and sends it again.
      let late = try await call.unlock(first.key, number: first.number)
      #expect(!late.released && late.currentNumber == second.number)
      #expect(try await call.get(second.key)?.createRevision == second.number)
      #expect(try await call.unlock(second.key, number: second.number).released)
      #expect(try await call.get(second.key) == nil)
      await refused("number is that of Lock's answer, or 0 for whichever lock is at the key") {
        try await call.unlock(second.key, number: -1)
      }
    }
  }

  @Test("an unlock takes nothing but a lock: no plain key, and none with another lease than its name says")
  func unlockOfOtherThings() async throws {
    try await withNode { call in
      let (lease, other) = (try await call.lease(), try await call.lease())
      let name = String(lease, radix: 16)
      let others = [("plain", Int64(0)), ("dir/plain", 0), ("dir/\(name)", 0), ("dir2/\(name)", other), (name, lease)]
      for (key, lease) in others { try await call.put(key, lease: lease) }
      for (key, _) in others {
        let answer = try await call.unlock(Data(key.utf8))
        #expect(!answer.released && answer.header.revision > 0)
        #expect(try await call.get(key) != nil, "\(key) is gone")
      }
      // As other clients do it, without a number.
      let held = try await call.lock("dir3", lease)
      #expect(try await call.unlock(held.key).released)
      #expect(try await call.get(held.key) == nil)
    }
  }

  @Test("answers that give authority say under which number, with which token and for how long")
  func evidence() async throws {
    try await withNode { call in
      let (first, second) = (try await call.lease(), try await call.lease(40))
      let held = try await call.lock("told", first)
      let leader = try await call.campaign("told too", first, "one")
      let (locking, campaigning) = (
        Task { try await call.lock("told", second) }, Task { try await call.campaign("told too", second, "two") }
      )
      try await call.waitForKeys("told/", count: 2)
      try await call.waitForKeys("told too/", count: 2)
      for number in 0..<5 { try await call.put("other", "\(number)") }
      try await call.unlock(held.key, number: held.number)
      try await call.resign(leader.leader)
      let (locked, won) = (try await locking.value, try await campaigning.value)
      // The header's revision is that of the store, which others move.
      #expect(locked.number > held.number && locked.number < locked.header.revision - 4)
      #expect(won.number == won.leader.rev && won.number < won.header.revision - 4)
      for (token, left, incarnation) in [
        (locked.token, locked.timeLeftMs, locked.incarnation), (won.token, won.timeLeftMs, won.incarnation),
      ] {
        #expect(token.split(separator: ".").count == 3)
        #expect(left > 10_000 && left <= 40_000)
        #expect(incarnation == 1)
      }
    }
  }

  @Test("a caller that is gone before its place is made leaves none")
  func goneAtOnce() async throws {
    try await withNode { call in
      let (first, second) = (try await call.lease(), try await call.lease())
      _ = try await call.lock("gone", first)
      for _ in 0..<30 {
        let waiting = Task { try await call.lock("gone", second) }
        await Task.yield()
        waiting.cancel()
        _ = await waiting.result
      }
      try await call.waitForKeys("gone/", count: 1)
    }
  }

  @Test("a second call of the session that holds a lock takes it from nobody when it is given up")
  func secondCall() async throws {
    try await withNode { call in
      let lease = try await call.lease()
      let held = try await call.lock("twice", lease)
      for _ in 0..<30 {
        let again = Task { try await call.lock("twice", lease) }
        await Task.yield()
        again.cancel()
        _ = await again.result
      }
      // Behind whatever those calls have left in the queues.
      let last = try await call.lock("twice", lease)
      #expect(last.number == held.number)
      #expect(try await call.get(held.key)?.createRevision == held.number)
    }
  }

  @Test("an acquire whose time is over before it is known that it has to wait is answered, and one that is gone leaves")
  func acquireInAHurry() async throws {
    try await withNode { call in
      let (first, second) = (try await call.lease(), try await call.lease())
      let number = try await call.acquire("scope", "one", first).granted.number
      for _ in 0..<30 {
        let answer = try await call.acquire("scope", "two", second, waitMilliseconds: 1)
        #expect(answer.refused.heldBy.number == number)
      }
      for _ in 0..<30 {
        let waiting = Task { try await call.acquire("scope", "two", second, waitMilliseconds: 600_000) }
        await Task.yield()
        waiting.cancel()
        _ = await waiting.result
      }
      while try await !call.describe("scope").waiting.isEmpty { try Task.checkCancellation() }
      try await call.release("scope", number)
      // The last of them may have been on its way still, and be handed the scope for as long as it takes to give it back.
      while try await call.describe("scope").hasHolder { try Task.checkCancellation() }
    }
  }

  private func withNode(_ body: (DefectsCalls) async throws -> Void) async throws {
    let nodes = try Nodes()
    try await nodes.found("a")
    try await withConnection(nodes.client("a")) { try await body(DefectsCalls(connection: $0)) }
    await nodes.stop()
  }
}
