// Sessions, grants on them, guarded requests and elections, against three real nodes.

import Foundation
import Protocol
import Testing
import Wire

@Suite("sessions and grants", .serialized, .timeLimit(.minutes(3)))
struct SessionTests {
  @Test("a session is opened once for each request, shown with what it holds, and gone when it is closed")
  func sessions() async throws {
    try await withThreeNodes { calls in
      let session = try await calls[0].open("worker", requestID: "first")
      #expect(try await calls[1].open("worker", requestID: "first").id == session.id)
      #expect(session.timeLeftMs > 25_000)
      let grant = try await calls[1].acquire(["orders"], session).granted
      #expect(grant.holder == "worker" && !grant.token.isEmpty)
      let shown = try await calls[2].describe(session)
      #expect(shown.grants.map(\.number) == [grant.number] && shown.grants[0].token.isEmpty)
      let other = try await calls[0].open("other")
      let listed = try await calls[0].sessions(limit: 1)
      #expect(listed.sessions.count == 1 && listed.next != 0)
      let rest = try await calls[0].sessions(from: listed.next)
      #expect(Set((listed.sessions + rest.sessions).map(\.id)) == [session.id, other.id] && rest.next == 0)
      try await calls[1].close(session)
      try await calls[1].close(session)
      #expect(try await calls[2].acquire(["orders"], other).granted.number > grant.number)
      #expect(try await calls[0].describe(session).hasSession == false)
    }
  }

  @Test("renewals are answered in their order, and the first behind the session's end says so and ends the stream")
  func keepAlive() async throws {
    try await withThreeNodes { calls in
      let session = try await calls[0].open("worker")
      let stream = DefectsStream<Portcullis_V1_KeepSessionResponse>(
        RPCPath.Sessions.keepAlive, on: calls[2].connection)
      var request = Portcullis_V1_KeepSessionRequest()
      request.id = session.id
      for sequence in 1...3 {
        request.sequence = UInt64(sequence)
        try stream.send(request)
      }
      for sequence in 1...3 {
        let answer = try await stream.next()
        #expect(answer?.sequence == UInt64(sequence) && answer?.timeLeftMs == 30_000)
      }
      try await calls[1].close(session)
      request.sequence = 4
      try stream.send(request)
      #expect(try await stream.next()?.timeLeftMs == 0)
      #expect(try await stream.next() == nil)
    }
  }

  @Test("several scopes come together under one number, and a retry gets the same grants")
  func together() async throws {
    try await withThreeNodes { calls in
      let (one, two) = (try await calls[0].open("one"), try await calls[1].open("two"))
      let held = try await calls[0].acquire(["s"], one).granted
      async let both = calls[1].acquire(["s", "t"], two, waitMilliseconds: 30_000)
      while try await calls[0].describe("t").waiting.isEmpty { try Task.checkCancellation() }
      #expect(try await calls[2].acquire(["t"], one).refused.reason.contains("two came earlier"))
      try await calls[0].release("s", held.number)
      let answer = try await both
      #expect(answer.granted.scope == "s" && answer.alsoGranted.map(\.scope) == ["t"])
      #expect(answer.granted.number == answer.alsoGranted[0].number && answer.granted.number > held.number)
      #expect(try await calls[2].acquire(["s", "t"], two).granted.number == answer.granted.number)
    }
  }

  @Test("a shared grant's token is for reading: its audience is another one")
  func shares() async throws {
    try await withThreeNodes { calls in
      let (one, two) = (try await calls[0].open("one"), try await calls[1].open("two"))
      let first = try await calls[0].acquire(["s"], one) { $0.mode = .shared }.granted
      let second = try await calls[1].acquire(["s"], two) { $0.mode = .shared }.granted
      #expect(first.number == second.number && first.mode == .shared)
      let payload = try #require(first.token.split(separator: ".").dropFirst().first)
      var text = String(payload).replacingOccurrences(of: "-", with: "+").replacingOccurrences(of: "_", with: "/")
      text += String(repeating: "=", count: (4 - text.count % 4) % 4)
      let claims = String(decoding: try #require(Data(base64Encoded: text)), as: UTF8.self)
      #expect(claims.contains(#""aud":"portcullis-fence-read""#))
      let described = try await calls[2].describe("s")
      #expect(described.sharers.map(\.holder).sorted() == ["one", "two"] && !described.hasHolder)
      #expect(try await calls[2].acquire(["s"], two).refused.reason.isEmpty == false)
      // Under a share one reads, and does not write.
      try await calls[0].put("k")
      #expect(try await calls[0].fencedGet("k", token: first.token) != nil)
      await #expect(throws: RPCStatus.self) { try await calls[0].fencedPut("k", "x", token: first.token) }
    }
  }

  @Test("whoever shares a scope is told of the end of its share, and of no other's")
  func losingAShare() async throws {
    try await withThreeNodes { calls in
      let (one, two) = (try await calls[0].open("one"), try await calls[1].open("two"))
      let number = try await calls[0].acquire(["s"], one) { $0.mode = .shared }.granted.number
      _ = try await calls[1].acquire(["s"], two) { $0.mode = .shared }
      let stream = DefectsStream<Portcullis_V1_HoldResponse>(RPCPath.Authority.hold, on: calls[2].connection)
      var request = Portcullis_V1_HoldRequest()
      request.scope = "s"
      request.number = number
      request.holderLease = one.id
      request.sequence = 1
      try stream.send(request)
      #expect(try await stream.next()?.held.sequence == 1)
      try await calls[0].close(two)
      request.sequence = 2
      try stream.send(request)
      #expect(try await stream.next()?.held.sequence == 2)
      try await calls[0].close(one)
      #expect(try #require(try await stream.next()).lost.reason.contains("number \(number) does not hold the scope"))
    }
  }

  @Test("a scope whose holder was lost opens by itself when its lock-delay is over, and not before")
  func lockDelay() async throws {
    try await withThreeNodes { calls in
      let (one, two) = (try await calls[0].open("one"), try await calls[1].open("two"))
      _ = try await calls[0].acquire(["s"], one) { $0.lockDelayMs = 2500 }
      try await calls[0].revoke(one.id)
      let begin = ContinuousClock.now
      let refused = try await calls[1].acquire(["s"], two).refused
      #expect((1...2500).contains(refused.closedMs) && refused.reason.contains("lock-delay"))
      let granted = try await calls[2].acquire(["s"], two, waitMilliseconds: 30_000).granted
      #expect(granted.holder == "two" && ContinuousClock.now - begin > .milliseconds(1500))
    }
  }

  @Test("a guarded request is carried out while its grant is current, and never after")
  func guarded() async throws {
    try await withThreeNodes { calls in
      let (one, two) = (try await calls[0].open("one"), try await calls[1].open("two"))
      let first = try await calls[0].acquire(["s"], one).granted
      try await calls[1].fencedPut("k", "by one", token: first.token)
      try await calls[0].close(one)
      let second = try await calls[2].acquire(["s"], two).granted
      for call in calls {
        let text =
          "the grant of s under number \(first.number) is not current: held by two under number \(second.number)."
          + " Nothing was done; acquire again."
        await refused(text, .failedPrecondition) { try await call.fencedPut("k", "late", token: first.token) }
        await refused(text, .failedPrecondition) { _ = try await call.fencedGet("k", token: first.token) }
      }
      try await calls[2].fencedPut("k", "by two", token: second.token)
      #expect(try await calls[0].get("k")?.value == Data("by two".utf8))
      await #expect {
        try await calls[0].fencedPut("k", "x", token: second.token + "x")
      } throws: {
        ($0 as? RPCStatus)?.code == .invalidArgument
      }
    }
  }

  @Test("leader, number and what it says of itself come in one answer, and an observer hears of each leader")
  func election() async throws {
    try await withThreeNodes { calls in
      let (one, two) = (try await calls[0].open("one"), try await calls[1].open("two"))
      let observer = DefectsStream<Portcullis_V1_LeaderResponse>(RPCPath.Elections.observe, on: calls[2].connection)
      var observed = Portcullis_V1_LeaderRequest()
      observed.scope = "leader"
      try observer.send(observed)
      #expect(try await observer.next()?.hasLeader == false)
      let won = try await calls[0].acquire(["leader"], one, path: RPCPath.Elections.campaign) {
        $0.value = Data("10.0.0.1".utf8)
      }.granted
      #expect(try await observer.next()?.leader.value == Data("10.0.0.1".utf8))
      #expect(try await calls[1].proclaim("leader", won.number, "10.0.0.2").leader.number == won.number)
      #expect(try await observer.next()?.leader.value == Data("10.0.0.2".utf8))
      let seen = try await calls[2].leader("leader")
      #expect(seen.leader.number == won.number && seen.leader.value == Data("10.0.0.2".utf8))
      try await calls[0].close(one)
      #expect(try await observer.next()?.hasLeader == false)
      let next = try await calls[1].acquire(["leader"], two, path: RPCPath.Elections.campaign).granted
      #expect(try await observer.next()?.leader.number == next.number)
      #expect(try await calls[0].proclaim("leader", won.number, "late").refused.heldBy.holder == "two")
    }
  }
}
