// `portcullis tour`: the story of a stale writer, played with real processes against a running server.
//
// A acquires a scope and writes. A is stopped in its tracks (SIGSTOP) for longer than its lease. B acquires and writes.
// A goes on where it was, writes, and is refused. The tour fails unless it has seen the refusal and B's data.

package import Client
import Foundation
import Glibc

package struct Tour: Sendable {
  package var endpoints: [Endpoint]
  /// How TLS is spoken with `endpoints` and the gateway.
  package var tls = TLSOptions()
  package var credentials: Credentials?
  package var gateway: Endpoint
  package var scope: String
  package var timeToLive: Duration
  /// Path of this program, which plays the writers.
  package var executable: String

  package init(endpoints: [Endpoint], gateway: Endpoint, scope: String, timeToLive: Duration, executable: String) {
    self.endpoints = endpoints
    self.gateway = gateway
    self.scope = scope
    self.timeToLive = timeToLive
    self.executable = executable
  }

  private static let table = "portcullis_tour"

  package func run(_ say: @Sendable (String) -> Void) async throws {
    let client = Portcullis(endpoints: endpoints, tls: tls, credentials: credentials)
    defer { client.close() }
    let before = try await check(client)
    say(
      "Scope \(scope) on \(endpoints[0]), database \(scope) behind the gateway \(gateway); newest number so far: \(before)"
    )
    let a = try writer("A")
    let b = try writer("B")
    defer {
      a.end()
      b.end()
    }
    try await play(a, b, say)
  }

  private func play(_ a: TourWriter, _ b: TourWriter, _ say: @Sendable (String) -> Void) async throws {
    let numberA = try await a.acquire()
    say("1  A acquires the scope: number \(numberA), lease \(timeToLive.seconds) s")
    try await expectAccepted(a.write("CREATE TABLE IF NOT EXISTS \(Self.table) (id INTEGER PRIMARY KEY, writer TEXT)"))
    try await expectAccepted(a.write("INSERT OR REPLACE INTO \(Self.table) VALUES (1, 'A')"))
    say("2  A writes its name: accepted, floor \(try await floor())")
    a.pause()
    say("3  A is paused (SIGSTOP to process \(a.processID)); its lease runs out while it cannot know")
    let numberB = try await b.acquire()
    say("4  B acquires the scope: number \(numberB)")
    try await expectAccepted(b.write("INSERT OR REPLACE INTO \(Self.table) VALUES (1, 'B')"))
    let floorB = try await floor()
    say("5  B writes its name: accepted, floor \(floorB)")
    a.resume()
    let late = try await a.write("INSERT OR REPLACE INTO \(Self.table) VALUES (1, 'A, too late')")
    say("6  A resumes (SIGCONT) and writes as if nothing had happened: HTTP \(late.status)")
    for line in Self.problem(late.body) { say("     \(line)") }
    let owner = try await storedWriter()
    let floor = try await floor()
    say("7  The database says: written by \(owner), floor \(floor)")
    _ = try await b.write("DROP TABLE \(Self.table)")
    guard late.status == 409, owner == "B", numberB > numberA, floor == floorB else {
      throw CommandFailure(
        ExitCode.failed,
        "the fence did not hold: the late write was answered with \(late.status), the data is \(owner)'s, the numbers are"
          + " \(numberA) and \(numberB), the floor went from \(floorB) to \(floor)")
    }
    say("The stale write was refused, and the data is B's.")
  }

  private func check(_ client: Portcullis) async throws -> Int64 {
    do {
      let description = try await client.describe(scope)
      if let grant = description.grant {
        throw CommandFailure(
          ExitCode.notHeld,
          "\(scope) is held by \(grant.holder) (number \(grant.number)); give another --scope or wait until it is free")
      }
      _ = try await floor()
      return description.lastNumber
    } catch let error as ClientError {
      throw CommandFailure(
        ExitCode.unavailable, "\(error). Start a server with ./scripts/start, or name one with --endpoints.")
    }
  }

  private func writer(_ name: String) throws -> TourWriter {
    try TourWriter(
      executable: executable,
      arguments: [
        "tour-writer", "--endpoints", endpoints.map(\.description).joined(separator: ","), "--gateway",
        gateway.description, "--scope", scope, "--holder", name, "--ttl", "\(timeToLive.seconds)s",
      ] + ((endpoints + [gateway]).contains(where: \.usesTLS) ? tls.arguments : []),
      environment: credentials?.environment ?? [:])
  }

  private func expectAccepted(_ answer: GatewayAnswer) throws {
    guard answer.isAccepted, !answer.hasStatementError else {
      throw CommandFailure(
        ExitCode.failed, "a write that should pass was answered with \(answer.status): \(answer.body)")
    }
  }

  private func storedWriter() async throws -> String {
    let answer = try await GatewayClient(endpoint: gateway, tls: tls)
      .run(.query, ["SELECT writer FROM \(Self.table) WHERE id = 1"], on: scope, token: nil)
    struct Answer: Decodable {
      struct Result: Decodable { let values: [[String]]? }
      let results: [Result]
    }
    let decoded = try? JSONDecoder().decode(Answer.self, from: Data(answer.body.utf8))
    guard let writer = decoded?.results.first?.values?.first?.first else {
      throw CommandFailure(ExitCode.failed, "the stored row could not be read: \(answer.status) \(answer.body)")
    }
    return writer
  }

  /// The highest number that the database has been told of; 0 before the first.
  private func floor() async throws -> Int64 {
    try await GatewayClient(endpoint: gateway, tls: tls).floor(of: scope)?.number ?? 0
  }

  /// A problem's members, in the order in which they tell the story.
  private static func problem(_ body: String) -> [String] {
    guard let object = try? JSONSerialization.jsonObject(with: Data(body.utf8)) as? [String: Any] else { return [body] }
    return ["title", "detail", "recovery"].compactMap { object[$0] as? String }
  }
}

extension Duration {
  var seconds: Int64 { components.seconds }
}
