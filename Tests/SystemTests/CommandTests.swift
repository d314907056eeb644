// The commands that look: token, status, watch, completion, as a shell and a program see them.

import Client
import Foundation
import Glibc
import Testing

@Suite("commands that look", .serialized, .timeLimit(.minutes(3)))
struct CommandTests {
  @Test("a token is shown without being believed, and verified by the cluster's keys, a file's and an address's")
  func token() async throws {
    let directory = try ScratchDirectory()
    let serving = try await Serving.start(directory("data"))
    let printed = try await serving.run(["acquire", "demo", "--holder", "anna", "--", "printenv", "PORTCULLIS_TOKEN"])
    let token = printed.output.trimmingCharacters(in: .newlines)
    let shown = try await serving.run(["token", "show", token])
    #expect(shown.exitCode == 0 && shown.output.contains("NOT VERIFIED"), "\(shown)")
    #expect(shown.output.contains("anna") && shown.output.contains("demo"))
    let json = try await serving.run(["token", "show", token, "--output", "json"])
    #expect(json.output.contains("\"verified\" : false") && json.output.contains("\"holder\" : \"anna\""))
    let verified = try await serving.run(["token", "verify", token, "--scope", "demo"])
    #expect(verified.exitCode == 0 && verified.output.contains("anna"), "\(verified)")
    let address = "http://\(serving.core)/.well-known/jwks.json"
    let byAddress = try await Program.run(["token", "verify", token, "--jwks", address, "--output", "json"])
    #expect(byAddress.exitCode == 0 && byAddress.output.contains("\"verified\" : true"), "\(byAddress)")
    // Without a server, and from the environment.
    let keys = try await Program.run(
      ["curl", "--silent", address], executable: "/usr/bin/env")
    try keys.output.write(toFile: directory("keys.json"), atomically: true, encoding: .utf8)
    await serving.stop()
    let byFile = try await Program.run(
      ["token", "verify", "--jwks", directory("keys.json")], environment: ["PORTCULLIS_TOKEN": token])
    #expect(byFile.exitCode == 0, "\(byFile)")
    try await refused(token, directory("keys.json"))
    let nobody = try await Program.run(["token", "verify", token, "--endpoints", "127.0.0.1:\(Ports.free(1)[0])"])
    #expect(nobody.exitCode == 69, "\(nobody)")
  }

  private func refused(_ token: String, _ keys: String) async throws {
    let parts = token.split(separator: ".").map(String.init)
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0"
    let forgeries = [
      "another payload": "\(parts[0]).\(parts[1].dropLast(4))AAAA.\(parts[2])",
      "no algorithm": "\(none).\(parts[1]).",
      "another's signature": "\(parts[0]).\(parts[1]).\(String(repeating: "A", count: 86))",
      "garbage": "garbage",
    ]
    for (what, forgery) in forgeries {
      let outcome = try await Program.run(["token", "verify", forgery, "--jwks", keys])
      #expect(outcome.exitCode == 77 && outcome.errors.contains("refused"), "\(what): \(outcome)")
    }
    let foreign = try await Program.run(["token", "verify", token, "--jwks", keys, "--scope", "other"])
    #expect(foreign.exitCode == 77 && foreign.errors.contains("\"demo\""), "\(foreign)")
    let garbage = try await Program.run(["token", "show", "garbage"])
    #expect(garbage.exitCode == 1 && garbage.errors.contains("no token"), "\(garbage)")
  }

  @Test("status has a line for each node, says which does not answer, and ends with a code that says it too")
  func status() async throws {
    let nodes = try ThreeNodes()
    try await nodes.start()
    let environment = ["PORTCULLIS_ENDPOINTS": nodes.endpoints]
    let all = try await Program.run(["status"], environment: environment)
    #expect(all.exitCode == 0, "\(all)")
    #expect(
      all.output.components(separatedBy: "leader").count == 2 && all.output.components(separatedBy: "voter").count == 3)
    struct Status: Decodable {
      struct Answer: Decodable {
        let name: String
        let isLeader: Bool
        let revision: Int64
        let term: UInt64
        let alarms: [String]
      }
      let endpoint: String
      let answer: Answer?
      let problem: String?
    }
    let whole = try await Program.run(
      ["status", "--cluster", "--output", "json", "--endpoints", nodes.clients[1]], environment: [:])
    #expect(whole.exitCode == 0, "\(whole)")
    let read = try JSONDecoder().decode([Status].self, from: Data(whole.output.utf8))
    #expect(
      Set(read.compactMap(\.answer?.name)) == ["a", "b", "c"] && read.filter { $0.answer?.isLeader == true }.count == 1)
    #expect(read.allSatisfy { $0.answer?.alarms == [] && ($0.answer?.term ?? 0) > 0 })
    await nodes.kill(2)
    let two = try await Program.run(["status", "--output", "json"], environment: environment)
    let seen = try JSONDecoder().decode([Status].self, from: Data(two.output.utf8))
    #expect(two.exitCode == 1 && seen.map { $0.answer == nil } == [false, false, true], "\(two)")
    #expect(seen[2].problem?.contains("no connection") == true)
    await nodes.stop()
    let none = try await Program.run(["status"], environment: environment)
    #expect(none.exitCode == 69 && none.output.contains("NO ANSWER"), "\(none)")
  }

  @Test("watch tells every change once, in order, over the loss of the node that it asks, and ends well by Ctrl-C")
  func watch() async throws {
    let nodes = try ThreeNodes()
    try await nodes.start()
    let environment = ["PORTCULLIS_ENDPOINTS": nodes.endpoints]
    try await withClient(nodes.endpoints) { client in
      try await client.put("w/here", "before")
      let watch = try RunningProgram(["watch", "w/", "--output", "json"], environment: environment)
      let people = try RunningProgram(["watch", "w/"], environment: environment)
      try await watch.waitForOutput("\"listed\"")
      try await people.waitForOutput("changes follow")
      for round in 0..<30 {
        if round == 10 { await nodes.kill(0) }
        try await Self.put(client, "w/\(round)", "v\(round)")
      }
      try await client.delete(.key("w/here"))
      try await watch.waitForOutput("\"delete\"")
      struct Event: Decodable {
        struct Text: Decodable { let text: String? }
        let type: String
        let key: Text?
        let revision: Int64
      }
      let events = try watch.output.split(separator: "\n").map {
        try JSONDecoder().decode(Event.self, from: Data($0.utf8))
      }
      #expect(events.prefix(2).map(\.type) == ["present", "listed"] && events.last?.type == "delete")
      let puts = events.filter { $0.type == "put" }
      #expect(puts.compactMap(\.key?.text) == (0..<30).map { "w/\($0)" })
      #expect(events.dropFirst().map(\.revision) == events.dropFirst().map(\.revision).sorted())
      for program in [watch, people] {
        program.send(SIGINT)
        #expect(await program.exitCode() == 0, "\(program.errors)")
      }
      #expect(people.output.contains("w/29 = v29"), "\(people.output)")
      // From a revision, without a list, and no further than asked.
      let some = try await Program.run(
        ["watch", "w/", "--from", "\(puts[3].revision)", "--limit", "2"], environment: environment)
      #expect(some.exitCode == 0 && some.output.split(separator: "\n").count == 2, "\(some)")
      #expect(some.output.contains("w/3 = v3") && some.output.contains("w/4 = v4"))
    }
    await nodes.stop()
  }

  /// While a leader is elected a put may be answered as not done, or as perhaps done; the same put again changes nothing here.
  private static func put(_ client: Portcullis, _ key: String, _ value: String) async throws {
    while try await client.get(key) == nil { _ = try? await client.put(key, value, ifRevision: 0) }
  }

  @Test("shells get their completions", arguments: ["bash", "zsh", "fish"])
  func completion(shell: String) async throws {
    let script = try await Program.run(["completion", shell])
    #expect(script.exitCode == 0)
    for word in ["acquire", "gateways", "deregister", "lock-delay"] {
      #expect(script.output.contains(word), "\(shell) does not complete \(word)")
    }
    guard shell == "bash" else { return }
    let directory = try ScratchDirectory()
    try script.output.write(toFile: directory("script"), atomically: true, encoding: .utf8)
    let checked = try await Program.run(["bash", "-n", directory("script")], executable: "/usr/bin/env")
    #expect(checked.exitCode == 0, "\(checked.errors)")
  }
}

func withClient(_ endpoints: String, _ body: (Portcullis) async throws -> Void) async throws {
  let client = try Portcullis(endpoints: Endpoint.list(parsing: endpoints))
  defer { client.close() }
  try await body(client)
}
