// The snippets of the client's articles, compiled and run. Each block of Swift in Sources/Client/Client.docc stands here word for
// word, and a test compares the two.

import Client
import Foundation
import Testing

@Suite("the client's articles", .serialized, .timeLimit(.minutes(2)))
struct ClientSnippets {
  @Test("sessions")
  func sessions() async throws {
    try await withServer { portcullis in
      let session = try await Session.open(on: portcullis, holder: "worker-7", timeToLive: .seconds(10))
      let watching = Task {
        for await state in session.states {
          switch state {
          case .active: break
          case .jeopardy: print("the next renewal is overdue: begin nothing new")
          case .lost(let ending): print("over: \(ending)")
          }
        }
      }
      try await portcullis.put("workers/7", "10.0.0.7:80", lease: session.lease)
      await session.close()
      await watching.value
      #expect(session.current == .lost(.closed))
      #expect(try await portcullis.get("workers/7") == nil)
    }
  }

  @Test("grants")
  func grants() async throws {
    try await withServer { portcullis in
      let done = Shared<[String]>([])
      let processOrders = { @Sendable (token: String) in done.change { $0.append(token) } }
      do {
        try await portcullis.withGrant(on: "orders", wait: .seconds(30)) { grant in
          processOrders(grant.token)
        }
      } catch let error as ClientError where error.code == .held {
        print("held by \(error.refusal?.heldBy?.holder ?? "somebody")")
      } catch let error as ClientError where error.code == .sessionLost {
        print("lost: \(error.ending?.description ?? "")")
      }
      #expect(done.change { $0.count } == 1)

      var request = GrantRequest(["orders", "stock"])
      request.wait = .seconds(30)
      request.barrier = .required
      request.value = Array("moving stock".utf8)
      try await portcullis.withGrants(request) { grants in
        for grant in grants { print(grant.scope, grant.number, grant.barrier) }
      }
    }
  }

  @Test("fencing")
  func fencing() async throws {
    try await withServer { portcullis in
      let session = try await Session.open(on: portcullis, timeToLive: .seconds(10))
      let grant = try await session.acquire("config")
      try await portcullis.put("config/mode", "fast", fence: grant.token)
      await session.close()
      do {
        try await portcullis.put("config/mode", "slow", fence: grant.token)
      } catch let error as ClientError where error.code == .stale {
        print("nothing was done: \(error)")
      }
      #expect(try await portcullis.get("config/mode")?.valueText == "fast")
    }
  }

  @Test("mirrors")
  func mirrors() async throws {
    try await withServer { portcullis in
      try await portcullis.put("routes/a", "10.0.0.1")
      try await portcullis.withMirror(of: .prefix("routes/")) { mirror in
        for await view in mirror.views {
          let isFresh = view.isCurrent(within: .seconds(3))
          print("\(view.count) routes at revision \(view.revision), \(isFresh ? "current" : "growing old")")
          if view["routes/a"]?.valueText == "10.0.0.1" { break }
        }
      }
      let written = try await portcullis.put("routes/b", "10.0.0.2")
      for try await event in portcullis.events(of: .prefix("routes/"), from: written) {
        if case .put(let pair) = event { print("\(pair.keyText) = \(pair.valueText)") }
        break
      }
    }
  }

  @Test("elections")
  func elections() async throws {
    try await withServer { portcullis in
      let election = Election("scheduler", on: portcullis)
      try await portcullis.withSession(holder: "node-1") { session in
        let leadership = try await election.campaign(with: session, value: "10.0.0.1:8080")
        try await session.whileHeld([leadership]) {
          try await election.proclaim("10.0.0.1:9090", under: leadership)
          print("leading under number \(leadership.number)")
        }
        try await election.resign(leadership)
      }
      for try await now in election.observe() {
        print(now.leader.map { "\($0.holder) at \($0.valueText)" } ?? "nobody leads")
        break
      }
      #expect(try await election.leader().leader == nil)
    }
  }

  @Test("every block of Swift in the articles is one that is compiled here")
  func sameText() throws {
    let here = URL(fileURLWithPath: #filePath)
    let code = try Self.lines(of: String(contentsOf: here, encoding: .utf8))
    let articles = here.deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("Sources/Client/Client.docc")
    var blocks = 0
    for name in try FileManager.default.contentsOfDirectory(atPath: articles.path).sorted() where name.hasSuffix(".md")
    {
      let text = try String(contentsOf: articles.appendingPathComponent(name), encoding: .utf8)
      for part in text.components(separatedBy: "```swift\n").dropFirst() {
        let block = Self.lines(of: part.components(separatedBy: "```")[0])
        #expect(code.contains(block), "\(name) has Swift that is not in ClientSnippets.swift:\n\(block)")
        blocks += 1
      }
    }
    #expect(blocks >= 6)
  }

  /// Without the indentation, which is another one here.
  private static func lines(of text: String) -> String {
    text.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
      .joined(separator: "\n")
  }
}
