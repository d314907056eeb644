// Fence before grant with a real gateway: a file's floor rises before the new holder is told that it holds.

import Client
import Foundation
import Glibc
import Protocol
import Synchronization
import Testing
import Wire

@Suite("fence before grant at a gateway", .serialized, .timeLimit(.minutes(3)))
struct FenceBeforeGrantTests {
  @Test("once a holder is told of its grant, the one before writes nothing more, though nobody else has written")
  func oldWriter() async throws {
    try await withGateway { calls, gateway, _ in
      let (one, two) = (try await calls.open("one"), try await calls.open("two"))
      let first = try await calls.acquire(["orders"], one).granted
      #expect(first.barrier == .confirmed)
      let made = try await gateway.run(
        .execute, ["CREATE TABLE t(x)", "INSERT INTO t VALUES (1)"], on: "orders", token: first.token)
      #expect(made.isAccepted && !made.hasStatementError, "\(made.body)")
      try await calls.close(one)
      let second = try await calls.acquire(["orders"], two).granted
      #expect(second.barrier == .confirmed)
      let late = try await gateway.run(.execute, ["INSERT INTO t VALUES (2)"], on: "orders", token: first.token)
      #expect(!late.isAccepted && late.body.contains("stale"), "\(late.body)")
      let read = try await gateway.run(.query, ["SELECT x FROM t"], on: "orders", token: second.token)
      #expect(read.body.contains("[[1]]"), "\(read.body)")
    }
  }

  @Test("a gateway that stands still holds the grant up; it is given when it goes on, or refused with its name")
  func standstill() async throws {
    try await withGateway { calls, _, program in
      let session = try await calls.open("one")
      program.send(SIGSTOP)
      let refused = try await calls.acquire(["orders"], session) { $0.barrierMs = 500 }.refused
      #expect(refused.missing.count == 1 && refused.missing[0].hasPrefix("orders@"), "\(refused)")
      async let granted = calls.acquire(["orders"], session, waitMilliseconds: 30_000) { $0.barrierMs = 60_000 }
      while try await calls.gateways().first?.unconfirmed == 0 { try Task.checkCancellation() }
      program.send(SIGCONT)
      #expect(try await granted.granted.barrier == .confirmed)
    }
  }

  @Test("a raise that cannot be made at first is tried again on the same connection, and the grant is given")
  func triedAgain() async throws {
    let nodes = try Nodes()
    try await nodes.found("a")
    let client = Portcullis(endpoints: try Endpoint.list(parsing: nodes.endpoints))
    defer { client.close() }
    // As with a key that is not known yet: a node that was restored, or has just joined, signs with a new one.
    let attempts = Attempts()
    try await withConnection(nodes.client("a")) { connection in
      let calls = DefectsCalls(connection: connection)
      async let protecting: Void = client.protect("orders@1", scopes: ["orders"]) { _ in attempts.next() > 3 }
      while try await calls.gateways().first?.isConnected != true { try Task.checkCancellation() }
      let grant = try await calls.acquire(["orders"], try await calls.open("one")).granted
      #expect(grant.barrier == .confirmed && attempts.made == 4)
      await nodes.stop()
      _ = try? await protecting
    }
  }

  private final class Attempts: Sendable {
    private let count = Mutex(0)
    var made: Int { count.withLock { $0 } }

    func next() -> Int {
      count.withLock { count in
        count += 1
        return count
      }
    }
  }

  @Test("under a shared grant the gateway reads and does not write")
  func shared() async throws {
    try await withGateway { calls, gateway, _ in
      let (one, two) = (try await calls.open("one"), try await calls.open("two"))
      for session in [one, two] {
        let grant = try await calls.acquire(["orders"], session) { $0.mode = .shared }.granted
        let read = try await gateway.run(.query, ["SELECT 7"], on: "orders", token: grant.token)
        #expect(read.isAccepted && read.body.contains("[[7]]"), "\(read.body)")
        let write = try await gateway.run(.execute, ["CREATE TABLE t(x)"], on: "orders", token: grant.token)
        #expect(write.status == 403 && write.body.contains("shared-token"), "\(write.body)")
      }
    }
  }

  @Test("the gateway inside of serve confirms as one elsewhere does")
  func serve() async throws {
    let directory = try ScratchDirectory()
    let serving = try await Serving.start(directory("data"))
    try await withConnection(serving.core) { connection in
      let calls = DefectsCalls(connection: connection)
      let session = try await calls.open("one")
      while try await calls.gateways().isEmpty { try Task.checkCancellation() }
      let scope = try #require(try await calls.gateways().first?.scopes.first)
      #expect(try await calls.acquire([scope], session).granted.barrier == .confirmed)
    }
    await serving.stop()
  }

  private func withGateway(
    _ body: (DefectsCalls, GatewayClient, RunningProgram) async throws -> Void
  ) async throws {
    let directory = try ScratchDirectory()
    let nodes = try Nodes()
    try await nodes.found("a", "b", "c")
    let port = Ports.free(1)[0]
    let program = try RunningProgram([
      "gateway", "--endpoints", nodes.endpoints, "--listen-gateway", "127.0.0.1:\(port)", "--database",
      "orders=\(directory("orders.db"))", "--log-level", "info",
    ])
    try await program.waitForOutput("is ready")
    try await withConnection(nodes.client("a")) { connection in
      let calls = DefectsCalls(connection: connection)
      while try await calls.gateways().isEmpty { try Task.checkCancellation() }
      try await body(calls, GatewayClient(endpoint: Endpoint(host: "127.0.0.1", port: port)), program)
    }
    program.send(SIGTERM)
    #expect(await program.exitCode() == 0, "\(program.errors)")
    await nodes.stop()
  }
}
