// `bench write` against gateways that lie: its oracle must find out what only the database shows.

import Foundation
import Logging
import NIOCore
import NIOPosix
import Synchronization
import Testing
import Wire

@Suite("bench write against a gateway that lies")
struct BenchOracleTests {
  enum Lie: String, CaseIterable {
    case none
    case takesStaleTokens = "a write with a stale token was accepted"
    case writesWhatItRefused = "stale writes are in the database"
    case forgetsWhatItAccepted = "are in the database"
  }

  @Test("a lie fails the run and is named, and a gateway that tells the truth is believed", arguments: Lie.allCases)
  func lie(_ lie: Lie) async throws {
    let nodes = try Nodes()
    try await nodes.found("a")
    let gateway = try await LyingGateway.start(lie)
    let outcome = try await Program.run(
      [
        "bench", "write", "--endpoints", nodes.client("a"), "--gateway", gateway.address, "--database", "d",
        "--stale-share", "0.3", "--clients", "4", "--connections", "2", "--duration", "500ms", "--warm-up", "100ms",
        "--output", "json",
      ])
    await gateway.stop()
    await nodes.stop()
    struct Result: Decodable {
      struct Oracle: Decodable {
        let violations: Int
        let firstViolation: String?
      }
      struct Judgement: Decodable { let verdict: String }
      struct Measured: Decodable {
        let refused: Int
        let succeeded: Int
        let oracle: Oracle
      }
      let measured: Measured
      let judgement: Judgement
    }
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    let result = try decoder.decode(Result.self, from: Data(outcome.output.utf8))
    let oracle = result.measured.oracle
    #expect(result.measured.succeeded > 0)
    guard lie != .none else {
      #expect(oracle.violations == 0 && result.measured.refused > 0, "\(oracle)")
      return #expect(result.judgement.verdict != "failed")
    }
    #expect(outcome.exitCode == 1)
    #expect(result.judgement.verdict == "failed")
    #expect(oracle.violations > 0)
    #expect(oracle.firstViolation?.contains(lie.rawValue) == true, "\(oracle)")
    if lie == .forgetsWhatItAccepted { #expect(oracle.firstViolation?.hasPrefix("of ") == true, "\(oracle)") }
  }
}

/// As much of a gateway as a load of writes looks at, with a table of two counts.
private final class LyingGateway: Sendable {
  private struct Table {
    var rows = 0
    var staleRows = 0
    /// The token with the highest number is the newest that was seen: the load's own, which the first request shows.
    var token: String?
  }

  private let table = Mutex(Table())
  private let lie: BenchOracleTests.Lie
  private let wire = Mutex<WireServer?>(nil)

  private init(_ lie: BenchOracleTests.Lie) { self.lie = lie }

  static func start(_ lie: BenchOracleTests.Lie) async throws -> LyingGateway {
    let gateway = LyingGateway(lie)
    let wire = try await WireServer.start(
      host: "127.0.0.1", port: 0, group: MultiThreadedEventLoopGroup.singleton, router: RPCRoutes([:]),
      http: { request, eventLoop in eventLoop.makeSucceededFuture(gateway.answer(request)) },
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    gateway.wire.withLock { $0 = wire }
    return gateway
  }

  var address: String { "127.0.0.1:\(wire.withLock { $0?.localAddress.port } ?? 0)" }

  func stop() async { await wire.withLock { $0 }?.shutdown(grace: .zero) }

  private func answer(_ request: HTTPRequest) -> HTTPReply {
    let (text, token) = (String(buffer: request.body), request.header("Fencing-Token"))
    return table.withLock { table in
      // The table is made under the token that counts.
      if table.token == nil { table.token = token }
      if text.contains("SELECT max") { return Self.reply("[[null]]") }
      if text.contains("NOT is_stale") { return Self.reply("[[\(table.rows)]]") }
      if text.contains("is_stale\"") { return Self.reply("[[\(table.staleRows)]]") }
      guard text.contains("INSERT") else { return Self.reply("[]") }
      guard token == table.token else {
        if lie == .writesWhatItRefused { table.staleRows += 1 }
        return lie == .takesStaleTokens ? Self.reply("[]") : HTTPReply(status: 409, text: "stale-token")
      }
      if lie != .forgetsWhatItAccepted || table.rows < 20 { table.rows += 1 }
      return Self.reply("[]")
    }
  }

  private static func reply(_ values: String) -> HTTPReply {
    let body = "{\"results\":[{\"values\":\(values),\"time\":0.000010}],\"time\":0.000020}"
    return HTTPReply(status: 200, contentType: "application/json", body: ByteBuffer(string: body))
  }
}
