// Where the time of a commit went, as real nodes say it in their metrics: whatever is made slow is the stage that grows,
// and the stages sum to the total.

import Client
import Conformance
import Foundation
import Protocol
import Testing
import Wire

@Suite("commit stages", .timeLimit(.minutes(2)))
struct CommitStagesTests {
  /// What a node has counted of one path, in seconds.
  private struct Path {
    var count = 0.0
    var total = 0.0
    var stages: [String: Double] = [:]
  }

  private static func paths(at address: String) async throws -> [String: Path] {
    let text = try await HTTPText.get("/metrics", at: address)
    var paths: [String: Path] = [:]
    let sample = /portcullis_commit(_stage)?_duration_seconds_(sum|count)\{path="(\w+)"(?:,stage="(\w+)")?\} ([0-9.]+)/
    for match in text.matches(of: sample) {
      let (path, value) = (String(match.3), try #require(Double(match.5)))
      switch (match.4, match.2) {
      case (let stage?, "sum"): paths[path, default: Path()].stages[String(stage)] = value
      case (nil, "sum"): paths[path, default: Path()].total = value
      case (nil, _): paths[path, default: Path()].count = value
      default: break
      }
    }
    return paths
  }

  /// Puts one after the other, and what they added to a node's account.
  /// - Returns: the account, and the time that the caller waited, in seconds.
  private static func put(_ count: Int, at address: String) async throws -> (paths: [String: Path], waited: Double) {
    let before = try await paths(at: address)
    let waited = try await withConnection(address) { connection in
      try await ContinuousClock().measure {
        for number in 0..<count {
          var request = Etcdserverpb_PutRequest()
          request.key = Data("key/\(number)".utf8)
          _ = try await connection.unary(RPCPath.KV.put, request, as: Etcdserverpb_PutResponse.self)
        }
      }
    }
    var paths = try await paths(at: address)
    for (path, old) in before {
      paths[path]?.count -= old.count
      paths[path]?.total -= old.total
      for (stage, seconds) in old.stages { paths[path]?.stages[stage, default: 0] -= seconds }
    }
    for (path, figures) in paths {
      // The figures have nine digits; the sums of differences have rounding of their own.
      let sum = figures.stages.values.reduce(0, +)
      #expect(abs(sum - figures.total) < 1e-6, "the stages of \(path) sum to \(sum) s of \(figures.total) s")
    }
    return (paths, Double(waited.components.seconds) + Double(waited.components.attoseconds) / 1e18)
  }

  @Test("a slow disk of a node alone is its flush, and the rest is what it was")
  func alone() async throws {
    let nodes = try Nodes()
    let faults = try FaultControl(for: Program.path, below: nodes.directory("a"))
    nodes.environments["a"] = faults.environment
    try await nodes.found("a")
    faults[.flushDelayMicroseconds] = 30_000
    let (paths, waited) = try await Self.put(20, at: nodes.client("a"))
    let own = try #require(paths["own_disk"])
    #expect(own.count == 20 && paths["peer"]?.count == 0 && paths["forwarded"]?.count == 0)
    // A flush that was under way when the put came makes it wait: then it waits for two.
    #expect(own.stages["flush", default: 0] >= 0.6, "\(own)")
    #expect(own.total <= waited && own.total >= 0.6, "\(own) of \(waited) s")
    for stage in ["queue", "append", "quorum", "apply", "reply"] {
      #expect(own.stages[stage, default: 1] < 0.3, "\(stage) of \(own)")
    }
    await nodes.stop()
  }

  @Test(
    "with peers it is the flush of that disk which completed the quorum, and a follower knows the way to its leader")
  func three() async throws {
    let nodes = try Nodes()
    var faults: [String: FaultControl] = [:]
    for name in ["a", "b", "c"] {
      let control = try FaultControl(for: Program.path, below: nodes.directory(name))
      faults[name] = control
      nodes.environments[name] = control.environment
    }
    try await nodes.found("a", "b", "c")
    let members = try await nodes.members()
    let leader = try #require(members.first { $0.isLeader }).name
    let followers = members.map(\.name).filter { $0 != leader }

    // Both followers are slow: one of them is needed.
    for name in followers { faults[name]?[.flushDelayMicroseconds] = 30_000 }
    var (paths, waited) = try await Self.put(10, at: nodes.client(leader))
    var peer = try #require(paths["peer"])
    #expect(peer.count == 10 && paths["own_disk"]?.count == 0)
    #expect(peer.stages["peer_flush", default: 0] >= 0.3 && peer.total <= waited, "\(peer)")

    // The leader is slow: the followers are a majority without it.
    for name in followers { faults[name]?[.flushDelayMicroseconds] = 0 }
    faults[leader]?[.flushDelayMicroseconds] = 60_000
    (paths, _) = try await Self.put(10, at: nodes.client(leader))
    peer = try #require(paths["peer"])
    #expect(peer.count == 10 && peer.stages["peer_flush", default: 1] < 0.3, "\(paths)")

    // One follower is gone: the leader's own disk is needed, and is what is waited for.
    await nodes.kill(followers[1])
    (paths, waited) = try await Self.put(10, at: nodes.client(leader))
    let own = try #require(paths["own_disk"])
    #expect(own.count == 10 && own.stages["flush", default: 0] >= 0.6 && own.total <= waited, "\(paths)")

    (paths, waited) = try await Self.put(5, at: nodes.client(followers[0]))
    let forwarded = try #require(paths["forwarded"])
    #expect(forwarded.count == 5 && forwarded.stages["forward", default: 0] >= 0.3, "\(paths)")
    #expect(forwarded.total <= waited)
    await nodes.stop()
  }
}
