// The Swift client as its users hold it: work under a grant, sessions, keys.

import Client
import Foundation
import Glibc
import Synchronization
import Testing

@Suite("the Swift client", .serialized)
struct GrantClientTests {
  @Test("one holds at a time, and each grant has a higher number", .timeLimit(.minutes(1)))
  func exclusive() async throws {
    try await withServer { client in
      let inside = Shared(0)
      let numbers = Shared<[Int64]>([])
      try await withThrowingTaskGroup(of: Void.self) { group in
        for worker in 0..<5 {
          group.addTask {
            for _ in 0..<4 {
              try await client.withGrant(on: "orders", holder: "worker \(worker)") { grant in
                #expect(
                  inside.change { count in
                    count += 1
                    return count
                  } == 1)
                // A read and a write that only exclusion keeps together.
                let seen = Int(try await client.get("sum")?.valueText ?? "0") ?? 0
                try await client.put("sum", "\(seen + 1)")
                numbers.change { $0.append(grant.number) }
                inside.change { $0 -= 1 }
              }
            }
          }
        }
        try await group.waitForAll()
      }
      #expect(try await client.get("sum")?.valueText == "20")
      let all = numbers.change { $0 }
      #expect(all == all.sorted() && Set(all).count == 20)
    }
  }

  @Test("work is cancelled at the client's deadline, and the error says why", .timeLimit(.minutes(1)))
  func deadline() async throws {
    let directory = try ScratchDirectory()
    let serving = try await Serving.start(directory("data"))
    let client = try Portcullis(endpoints: Endpoint.list(parsing: serving.core))
    let error = await #expect(throws: ClientError.self) {
      try await client.withGrant(on: "orders", timeToLive: .seconds(2)) { _ in
        serving.program.send(SIGSTOP)
        // Far longer than the test may take: only a cancellation ends it.
        try await Task.sleep(for: .seconds(600))
      }
    }
    serving.program.send(SIGCONT)
    #expect(error?.code == .sessionLost)
    #expect(error?.description.contains("deadline") == true, "\(error?.description ?? "")")
    // The dead session's grant ends, and the scope can be had again.
    let answer = try await client.withGrant(on: "orders") { $0.scope }
    #expect(answer == "orders")
    client.close()
    await serving.stop()
  }

  @Test("a session shows jeopardy before it is lost, and nothing after", .timeLimit(.minutes(1)))
  func states() async throws {
    let directory = try ScratchDirectory()
    let serving = try await Serving.start(directory("data"))
    let client = try Portcullis(endpoints: Endpoint.list(parsing: serving.core))
    let session = try await Session.open(on: client, timeToLive: .seconds(3))
    #expect(session.current == .active)
    serving.program.send(SIGSTOP)
    let overdue = await session.states.first { $0 != .active }
    #expect(overdue == .jeopardy && session.isAlive)
    serving.program.send(SIGCONT)
    #expect(await session.states.first { $0 != .jeopardy } == .active)
    serving.program.send(SIGSTOP)
    _ = await session.states.first { $0 == .lost(.deadlinePassed) }
    #expect(session.current == .lost(.deadlinePassed) && !session.isAlive)
    serving.program.send(SIGCONT)
    await session.waitUntilOver()
    #expect(session.current == .lost(.deadlinePassed), "what is lost stays lost")
    client.close()
    await serving.stop()
  }

  @Test("a session that the cluster ended is lost at once, and one that was closed says so", .timeLimit(.minutes(1)))
  func ended() async throws {
    try await withServer { client in
      let session = try await Session.open(on: client, timeToLive: .seconds(3))
      let other = try await Session.open(on: client, timeToLive: .seconds(60))
      let key = try await client.put("mine", "1", lease: session.lease)
      #expect(key > 0)
      await session.close()
      #expect(session.current == .lost(.closed))
      #expect(try await client.get("mine") == nil)
      await other.close()
      #expect(other.current == .lost(.closed))
    }
  }

  @Test("compare-and-swap: one of many wins, and the others are told what there is", .timeLimit(.minutes(1)))
  func swap() async throws {
    try await withServer { client in
      let results = try await withThrowingTaskGroup(of: CompareAndPut.self) { group in
        for writer in 0..<10 { group.addTask { try await client.put("one", "\(writer)", ifRevision: 0) } }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      let current = try #require(try await client.get("one"))
      var wins = 0
      for result in results {
        switch result {
        case .put(let revision):
          wins += 1
          #expect(revision == current.modRevision)
        case .changed(let seen): #expect(seen == current)
        }
      }
      #expect(wins == 1)
      #expect(try await client.delete(.prefix("on")) == 1)
      #expect(try await client.put("one", "x", ifRevision: current.modRevision) == .changed(nil))
    }
  }
}
