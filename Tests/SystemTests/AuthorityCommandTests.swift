// The commands about authority: acquire with all that it can ask for, grants, scopes, sessions, elect, gateways.

import Client
import Foundation
import Glibc
import Testing

@Suite("commands about authority", .serialized, .timeLimit(.minutes(3)))
struct AuthorityCommandTests {
  @Test("several scopes at once are shown with their holder, its value, its session and its line")
  func several() async throws {
    try await withServing { serving in
      let holder = try RunningProgram(
        ["acquire", "b", "a", "--holder", "anna", "--value", "10.0.0.1:80", "--", "sh", "-c", "echo held; read line"],
        environment: serving.environment)
      try await holder.waitForOutput("held")
      let next = try RunningProgram(
        ["acquire", "a", "--holder", "bert", "--", "printenv", "PORTCULLIS_NUMBER"], environment: serving.environment)
      let scope = try await Self.scope("a", serving) { $0.waiting == ["bert"] }
      #expect(scope.grants.map(\.holder) == ["anna"] && scope.grants[0].value?.text == "10.0.0.1:80")
      let grants = try await serving.run(["grants"])
      #expect(grants.output.split(separator: "\n").count == 3 && grants.output.contains("exclusive"), "\(grants)")
      let scopes = try await serving.run(["scopes", "--in-use"])
      #expect(scopes.exitCode == 0 && scopes.output.contains("anna"), "\(scopes)")
      struct Session: Decodable {
        let id: String
        let holder: String
        let grants: Int64
        let waits: Int64
      }
      let listed = try await serving.run(["sessions", "--output", "json"])
      let sessions = try JSONDecoder().decode([Session].self, from: Data(listed.output.utf8))
      let anna = try #require(sessions.first { $0.holder == "anna" })
      #expect(anna.grants == 2 && sessions.first { $0.holder == "bert" }?.waits == 1)
      let one = try await serving.run(["sessions", anna.id])
      #expect(one.exitCode == 0 && one.output.contains("10.0.0.1:80"), "\(one)")
      holder.send(SIGTERM)
      #expect(await holder.exitCode() == 143)
      #expect(await next.exitCode() == 0)
      #expect(try #require(Int64(next.output.trimmingCharacters(in: .newlines))) > scope.lastNumber)
    }
  }

  @Test("without a command the tokens are printed and the scopes held until a signal; whose hold is lost is told so")
  func withoutCommand() async throws {
    try await withServing { serving in
      let holder = try RunningProgram(["acquire", "b", "a", "--ttl", "2s"], environment: serving.environment)
      try await holder.waitForErrors("held until Ctrl-C: b (number ")
      try await holder.waitForOutput("\n")
      for (token, scope) in zip(holder.output.split(separator: "\n").map(String.init), ["b", "a"]) {
        let verified = try await serving.run(["token", "verify", token, "--scope", scope])
        #expect(verified.exitCode == 0, "\(verified.errors)")
      }
      let other = try await serving.run(["acquire", "a", "--wait", "0"])
      #expect(other.exitCode == 75 && other.output.isEmpty, "\(other)")
      holder.send(SIGINT)
      #expect(await holder.exitCode() == 0, "\(holder.errors)")
      #expect(try await serving.run(["acquire", "a", "--wait", "0", "--", "true"]).exitCode == 0, "it was given up")
      let unlucky = try RunningProgram(["acquire", "c", "--ttl", "1s"], environment: serving.environment)
      try await unlucky.waitForOutput("\n")
      serving.program.send(SIGSTOP)
      #expect(await unlucky.exitCode() == 75)
      serving.program.send(SIGCONT)
      await unlucky.waitForEndOfOutput()
      #expect(unlucky.errors.contains("c was lost: "), "\(unlucky.errors)")
    }
  }

  @Test("a share is held with others and keeps out who wants it alone; every token is there, and for reading")
  func shared() async throws {
    try await withServing { serving in
      let first = try RunningProgram(
        ["acquire", "r", "--shared", "--holder", "one", "--", "sh", "-c", "echo held; read line"],
        environment: serving.environment)
      try await first.waitForOutput("held")
      let second = try await serving.run([
        "acquire", "r", "--shared", "--wait", "0", "--", Program.path, "token", "show", "--output", "json",
      ])
      #expect(second.exitCode == 0 && second.output.contains("portcullis-fence-read"), "\(second)")
      let alone = try await serving.run(["acquire", "r", "s", "--wait", "0", "--", "true"])
      #expect(alone.exitCode == 75 && alone.errors.contains("one"), "\(alone)")
      let scope = try await Self.scope("s", serving) { _ in true }
      #expect(scope.grants.isEmpty, "all or none")
      first.send(SIGTERM)
      _ = await first.exitCode()
    }
  }

  @Test("behind a holder that was killed the scope stays closed for its lock-delay, and the refusal says how long")
  func lockDelay() async throws {
    try await withServing { serving in
      let holder = try RunningProgram(
        ["acquire", "d", "--ttl", "600ms", "--lock-delay", "5m", "--", "sh", "-c", "echo held; exec sleep 600"],
        environment: serving.environment)
      try await holder.waitForOutput("held")
      holder.send(SIGKILL)
      let closed = try await Self.scope("d", serving) { $0.grants.isEmpty }
      #expect(closed.closedMs > 200_000 && closed.closedMs <= 300_000)
      let refused = try await serving.run(["acquire", "d", "--wait", "0", "--", "true"])
      #expect(refused.exitCode == 75 && refused.errors.contains("closed"), "\(refused)")
    }
  }

  @Test("leading is run, observed, proclaimed, resigned from, and handed on")
  func elect() async throws {
    try await withServing { serving in
      let watcher = try RunningProgram(["elect", "observe", "boss"], environment: serving.environment)
      try await watcher.waitForOutput("nobody leads")
      let none = try await serving.run(["elect", "leader", "boss"])
      #expect(none.exitCode == 75, "\(none)")
      let first = try RunningProgram(
        [
          "elect", "campaign", "boss", "--value", "first:1", "--holder", "one", "--", "sh", "-c",
          "\(Program.path) elect proclaim boss first:2 && echo leading && read line",
        ],
        environment: serving.environment)
      try await first.waitForOutput("leading")
      try await watcher.waitForOutput("first:2")
      let second = try RunningProgram(
        [
          "elect", "campaign", "boss", "--value", "second:1", "--holder", "two", "--", "sh", "-c",
          "echo leading; read line",
        ],
        environment: serving.environment)
      _ = try await Self.scope("boss", serving) { $0.waiting == ["two"] }
      let leader = try await serving.run(["elect", "leader", "boss", "--output", "json"])
      struct Led: Decodable {
        struct Grant: Decodable { let number: Int64 }
        let leader: Grant?
      }
      let number = try #require(try JSONDecoder().decode(Led.self, from: Data(leader.output.utf8)).leader?.number)
      let resigned = try await serving.run(["elect", "resign", "boss", "--number", "\(number)"])
      #expect(resigned.exitCode == 0, "\(resigned)")
      // The one that was made to resign is told, and the next one leads.
      #expect(await first.exitCode() == 75)
      try await second.waitForOutput("leading")
      try await watcher.waitForOutput("second:1")
      let late = try await serving.run(["elect", "proclaim", "boss", "late", "--number", "\(number)"])
      #expect(late.exitCode == 75 && late.errors.contains("two"), "\(late)")
      watcher.send(SIGINT)
      #expect(await watcher.exitCode() == 0)
      second.send(SIGTERM)
      _ = await second.exitCode()
    }
  }

  @Test("a gateway that is away holds grants up, is named, and is deregistered on record", .timeLimit(.minutes(2)))
  func gateways() async throws {
    try await withServing { serving in
      try await withConnection(serving.core) { connection in
        let gateway = try await ProtectCalls.register("g@host", ["p"], at: DefectsCalls(connection: connection))
        let refused = try await serving.run([
          "acquire", "p", "--barrier", "required", "--barrier-wait", "300ms", "--wait", "0", "--", "true",
        ])
        #expect(refused.exitCode == 75 && refused.errors.contains("g@host"), "\(refused)")
        let preferred = try await serving.run([
          "acquire", "p", "--barrier", "preferred", "--barrier-wait", "100ms", "--", "printenv", "PORTCULLIS_BARRIER",
        ])
        #expect(preferred.exitCode == 0 && preferred.output == "unconfirmed\n", "\(preferred)")
        let listed = try await serving.run(["gateways", "list"])
        #expect(listed.output.contains("g@host") && listed.output.contains("connected"), "\(listed)")
        let gone = try await serving.run(["gateways", "deregister", "g@host", "--reason", "scrapped"])
        #expect(
          gone.exitCode == 0 && gone.output.contains("deregistered") && gone.output.contains("scrapped"), "\(gone)")
        let unknown = try await serving.run(["gateways", "deregister", "nobody", "--reason", "none"])
        #expect(unknown.exitCode == 1 && unknown.errors.contains("nobody"), "\(unknown)")
        let free = try await serving.run(["acquire", "p", "--wait", "10s", "--", "printenv", "PORTCULLIS_BARRIER"])
        #expect(free.exitCode == 0 && free.output == "none\n", "\(free)")
        _ = gateway
      }
    }
  }

  // MARK: What the commands say

  struct Described: Decodable {
    struct Grant: Decodable {
      struct Value: Decodable { let text: String? }
      let holder: String
      let number: Int64
      let value: Value?
    }
    let lastNumber: Int64
    let grants: [Grant]
    let waiting: [String]
    let closedMs: Int64
  }

  /// Looks until a scope is as wanted; the suite's time ends it if that never comes.
  private static func scope(
    _ scope: String, _ serving: Serving, _ isWanted: (Described) -> Bool
  ) async throws -> Described {
    while true {
      try Task.checkCancellation()
      let outcome = try await serving.run(["scopes", "--show", scope, "--output", "json"])
      try #require(outcome.exitCode == 0, "\(outcome)")
      let described = try JSONDecoder().decode(Described.self, from: Data(outcome.output.utf8))
      if isWanted(described) { return described }
    }
  }

  private func withServing(_ body: (Serving) async throws -> Void) async throws {
    let directory = try ScratchDirectory()
    let serving = try await Serving.start(directory("data"))
    try await body(serving)
    await serving.stop()
  }
}
