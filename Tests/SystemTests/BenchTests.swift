// `portcullis bench` against our own core and gateway, and against etcd.

import Client
import Foundation
import Protocol
import Testing

@Suite("bench", .serialized)
struct BenchTests {
  private static let scenarios: [[String]] = [
    ["put", "--clients", "16", "--connections", "4"],
    ["put", "--rate", "500", "--connections", "2"],
    ["get", "--rate", "1000", "--connections", "2", "--key-count", "250"],
    ["get", "--serializable", "--clients", "8", "--key-count", "100"],
    ["cas", "--clients", "16", "--connections", "4", "--key-count", "3"],
    ["lock", "--clients", "10", "--locks", "2", "--connections", "2"],
    ["renew", "--leases", "50", "--rate", "500", "--connections", "2"],
    ["watch", "--watchers", "20", "--rate", "50", "--connections", "3"],
    ["write", "--database", "fenced", "--clients", "8", "--connections", "4", "--stale-share", "0.3"],
    ["write", "--database", "open", "--open", "--rate", "500", "--connections", "4"],
  ]

  @Test("each scenario gives valid figures against one node and its gateway", arguments: scenarios)
  func runs(scenario: [String]) async throws {
    try await withServing { serving in
      let result = try await Self.bench(scenario, serving)
      #expect(result.schema == "portcullis.bench/2")
      #expect(result.scenario == (scenario.contains("--serializable") ? "get-serializable" : scenario[0]))
      #expect(result.judgement.verdict == "valid", "\(result.judgement)")
      let figures = result.measured
      #expect(figures.succeeded > 10)
      #expect(figures.failed == 0, "\(figures.errors)")
      #expect(figures.started == figures.succeeded + figures.refused)
      #expect(figures.oracle.checked > 0 && figures.oracle.violations == 0)
      // Three keys for sixteen clients are contended, and a third of the writes shows a stale token.
      let isRefused = scenario[0] == "cas" || scenario.contains("--stale-share")
      #expect((figures.refused > 0) == isRefused)
      if scenario[0] == "put" {
        // The node's account has as good as the same commits, and its stages are all of their time.
        let path = try #require(result.commits?.paths.first)
        #expect(path.name == "own_disk" && 2 * path.commits > figures.succeeded)
        #expect(abs(path.stages.map(\.meanNanoseconds).reduce(0, +) - path.meanNanoseconds) < 1, "\(path)")
      }
      if scenario[0] == "watch" {
        let told = try #require(figures.deliveries)
        #expect(told.events == figures.succeeded * 20)
      }
      if scenario[0] == "write" { #expect(figures.timeAtTarget.count == figures.succeeded) }
    }
  }

  @Test("a mix draws its operations by their weights, and says what is wrong with its file")
  func mix() async throws {
    try await withServing { serving in
      let file = FileManager.default.temporaryDirectory.appendingPathComponent("mix-\(UUID()).yaml").path
      defer { try? FileManager.default.removeItem(atPath: file) }
      try "put: 1\nget: 8\ncas: 1\n".write(toFile: file, atomically: true, encoding: .utf8)
      let result = try await Self.bench(["mix", file, "--clients", "8", "--key-count", "200"], serving)
      #expect(result.judgement.verdict == "valid", "\(result.judgement)")
      let parts = result.measured.parts
      #expect(parts.map(\.name) == ["cas", "get", "put"])
      #expect(parts.allSatisfy { $0.succeeded > 0 && $0.latency.count == $0.succeeded })
      #expect(parts[1].succeeded > 2 * parts[2].succeeded)
      for (text, words) in [("pat: 1", "\"pat\" is no operation"), ("put: -1", "above 0"), ("", "no operations")] {
        try text.write(toFile: file, atomically: true, encoding: .utf8)
        let outcome = try await serving.run(["bench", "mix", file])
        #expect(outcome.exitCode == 64 && outcome.errors.contains(words), "\(outcome.errors)")
      }
    }
  }

  @Test("a load leaves no lease, no lock, no table and no grant behind")
  func leavesNothing() async throws {
    try await withServing { serving in
      for scenario in [Self.scenarios[5], Self.scenarios[6], Self.scenarios[8]] {
        _ = try await Self.bench(scenario, serving)
      }
      let client = Portcullis(endpoints: [try Endpoint(parsing: serving.core)])
      defer { client.close() }
      let leases = try await client.call(
        RPCPath.Lease.leaseLeases, Etcdserverpb_LeaseLeasesRequest(), as: Etcdserverpb_LeaseLeasesResponse.self,
        isRepeatable: true)
      #expect(leases.leases.isEmpty)
      #expect(try await client.list(.prefix("portcullis/bench/lock")).keys.isEmpty)
      let gateway = GatewayClient(endpoint: try Endpoint(parsing: serving.gateway))
      let tables = try await gateway.run(
        .query, ["SELECT count(*) FROM sqlite_master WHERE name LIKE '%bench%'"], on: "fenced", token: nil)
      #expect(tables.body.contains("[[0]]"), "\(tables.body)")
      let taken = try await serving.run(["acquire", "fenced", "--", "true"])
      #expect(taken.exitCode == 0, "\(taken.errors)")
    }
  }

  @Test(
    "an unreachable target is one clear line", arguments: [["put"], ["lock"], ["write", "--database", "d", "--open"]])
  func unreachable(scenario: [String]) async throws {
    let address = "127.0.0.1:\(Ports.free(1)[0])"
    let outcome = try await Program.run(
      ["bench"] + scenario + ["--duration", "1s"],
      environment: ["PORTCULLIS_ENDPOINTS": address, "PORTCULLIS_GATEWAY": address])
    #expect(outcome.exitCode == 69)
    #expect(outcome.errors.contains(address))
  }

  @Test(
    "a target is started for a run, and is gone with its files after it",
    arguments: [["put"], ["write", "--database", "d"]])
  func started(scenario: [String]) async throws {
    let directory = try ScratchDirectory()
    let outcome = try await Program.run(
      ["bench"] + scenario + [
        "--start", "3", "--directory", directory.path, "--clients", "4", "--duration", "500ms", "--warm-up", "0",
      ])
    #expect(outcome.exitCode == 0, "\(outcome.errors)")
    #expect(outcome.output.contains("\(scenario[0]): valid"), "\(outcome.output)")
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).isEmpty)
    let missing = try await Program.run(["bench"] + scenario + ["--start", "1", "--directory", "/proc/none"])
    #expect(missing.exitCode == 64 && missing.errors.contains("/proc/none"), "\(missing.errors)")
  }

  @Test("a database that is not there, or a scope that another holds, ends the load before it begins")
  func noDatabase() async throws {
    try await withServing { serving in
      let missing = try await serving.run(["bench", "write", "--database", "missing", "--duration", "1s"])
      #expect(missing.exitCode == 69 && missing.errors.contains("missing"), "\(missing.errors)")
      #expect(missing.output.isEmpty)
    }
  }

  private static func bench(_ scenario: [String], _ serving: Serving) async throws -> Result {
    let outcome = try await serving.run(
      ["bench"] + scenario + ["--duration", "1s", "--warm-up", "200ms", "--output", "json"])
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    guard !outcome.output.isEmpty else { throw Silent(errors: outcome.errors) }
    return try decoder.decode(Result.self, from: Data(outcome.output.utf8))
  }

  private func withServing(_ body: (Serving) async throws -> Void) async throws {
    let directory = try ScratchDirectory()
    let serving = try await Serving.start(
      directory("data"), databases: ["fenced": directory("fenced.db"), "open": directory("open.db")],
      extra: ["--open", "open"])
    do { try await body(serving) } catch {
      await serving.stop()
      throw error
    }
    await serving.stop()
  }

  private struct Silent: Error { let errors: String }

  private struct Result: Decodable {
    struct Histogram: Decodable { let count: UInt64 }
    struct Part: Decodable {
      let name: String
      let succeeded: UInt64
      let latency: Histogram
    }
    struct Deliveries: Decodable { let events: UInt64 }
    struct Oracle: Decodable {
      let checked: UInt64
      let violations: UInt64
    }
    struct Failures: Decodable { let firstMessage: String }
    struct Figures: Decodable {
      let started: UInt64
      let succeeded: UInt64
      let refused: UInt64
      let failed: UInt64
      let errors: [Failures]
      let oracle: Oracle
      let parts: [Part]
      let deliveries: Deliveries?
      let timeAtTarget: Histogram
    }
    struct Judgement: Decodable {
      struct Reason: Decodable { let message: String }
      let verdict: String
      let reasons: [Reason]
    }
    struct Commits: Decodable {
      struct Stage: Decodable { let meanNanoseconds: Double }
      struct Path: Decodable {
        let name: String
        let commits: UInt64
        let meanNanoseconds: Double
        let stages: [Stage]
      }
      let paths: [Path]
    }
    let schema: String
    let scenario: String
    let judgement: Judgement
    let measured: Figures
    let commits: Commits?
  }
}
