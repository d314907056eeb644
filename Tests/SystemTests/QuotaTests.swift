// The bound on the store's size, as clients and operators meet it.

import Foundation
import NIOCore
import Protocol
import Testing
import Wire

@Suite("the quota of the store", .serialized, .enabled(if: Clients.etcdctl != nil))
struct QuotaTests {
  private static let exceeded = "etcdserver: mvcc: database space exceeded"
  private let value = String(repeating: "v", count: 10_000)

  /// Puts keys until one is refused, at a node or at each in turn.
  private func fill(_ endpoints: [String], prefix: String) async throws {
    for step in 0..<1000 {
      do {
        try await put("\(prefix)\(step)", value, at: endpoints[step % endpoints.count])
      } catch let status as RPCStatus {
        #expect(status.code == .resourceExhausted && status.message == Self.exceeded)
        return
      }
    }
    Issue.record("the quota was never reached")
  }

  private func put(_ key: String, _ value: String, at endpoint: String) async throws {
    var request = Etcdserverpb_PutRequest()
    request.key = Data(key.utf8)
    request.value = Data(value.utf8)
    try await withConnection(endpoint) { [request] connection in
      _ = try await connection.unary(RPCPath.KV.put, request, as: Etcdserverpb_PutResponse.self)
    }
  }

  /// Waits until `alarm list` says as many lines.
  private func waitForAlarms(_ count: Int, _ etcdctl: Etcdctl) async throws -> [String] {
    let end = ContinuousClock.now + .seconds(30)
    var lines: [String] = []
    repeat {
      lines = try await etcdctl.output("alarm", "list").split(separator: "\n").map(String.init)
      if lines.count == count { return lines }
    } while ContinuousClock.now < end
    Issue.record("alarm list says \(lines)")
    return lines
  }

  private func waitUntilPut(_ key: String, at endpoint: String) async throws {
    let end = ContinuousClock.now + .seconds(30)
    while ContinuousClock.now < end {
      if (try? await put(key, "small", at: endpoint)) != nil { return }
    }
    try await put(key, "small", at: endpoint)
  }

  @Test("at it puts are refused on all members, deletions and a compaction end that, and members stay alike")
  func threeNodes() async throws {
    let nodes = try Nodes("--quota-backend-bytes", "400000")
    try await nodes.found("a", "b", "c")
    let all = ["a", "b", "c"].map(nodes.client)
    let etcdctl = Etcdctl(endpoints: nodes.client("a"))
    let lease = try await etcdctl.output("lease", "grant", "600").split(separator: " ")[1]
    try await fill(all, prefix: "k")
    // Each member says it of itself, with the same name on all of them.
    let alarms = try await waitForAlarms(3, etcdctl)
    #expect(alarms.allSatisfy { $0.hasPrefix("memberID:") && $0.hasSuffix("alarm:NOSPACE ") })
    for endpoint in all {
      let refused = try await Etcdctl(endpoints: endpoint).run("put", "small", "1")
      #expect(refused.exitCode != 0 && refused.errors.contains(Self.exceeded))
      let granted = try await Etcdctl(endpoints: endpoint).run("lease", "grant", "60")
      #expect(granted.errors.contains(Self.exceeded))
      #expect(try await HTTPText.get("/health", at: endpoint).contains(#"{"health":"false","reason":"ALARM NOSPACE"}"#))
      #expect(try await HTTPText.get("/health?exclude=NOSPACE", at: endpoint).contains(#"{"health":"true""#))
    }
    // What makes room, and what needs none, goes on.
    #expect(try await etcdctl.output("get", "k0", "--print-value-only") == value)
    _ = try await etcdctl.output("lease", "keep-alive", "--once", String(lease))
    _ = try await etcdctl.output("lease", "revoke", String(lease))
    let deleted = try await etcdctl.output("del", "k", "--prefix")
    #expect(Int(deleted) ?? 0 > 30)
    let revision = try await nodes.gauge("portcullis_revision", of: "a") ?? 0
    _ = try await etcdctl.output("compact", "\(Int(revision))")
    #expect(try await waitForAlarms(0, etcdctl).isEmpty)
    for endpoint in all { try await waitUntilPut("small", at: endpoint) }
    // The sums of the stores say whether members refused the same.
    for name in ["a", "b", "c"] { _ = try await Etcdctl(endpoints: nodes.client(name)).output("get", "small") }
    let hashes = try await Etcdctl(endpoints: nodes.endpoints).output("endpoint", "hashkv").split(separator: "\n")
    #expect(hashes.count == 3 && Set(hashes.map { $0.split(separator: " ").last }).count == 1)
    for name in ["a", "b", "c"] {
      #expect(try await nodes.gauge("etcd_server_quota_backend_bytes", of: name) == 400_000)
      #expect(try await nodes.gauge("etcd_mvcc_db_total_size_in_bytes", of: name) ?? 1e9 < 400_000)
      try await nodes.program(name).waitForErrors("of the 400000 bytes of --quota-backend-bytes")
      try await nodes.program(name).waitForErrors("the store has room again")
    }
    await nodes.stop()
  }

  @Test("the smallest quota counts for everybody, also while its member is down, and a larger one ends it")
  func differentQuotas() async throws {
    let nodes = try Nodes("--quota-backend-bytes", "20000000")
    try await nodes.found("a", "b", "c")
    await nodes.stop("c")
    try nodes.restart("c", "--quota-backend-bytes", "300000")
    try await nodes.ready("c")
    let etcdctl = Etcdctl(endpoints: nodes.client("a"))
    // Where there is room enough, until the member that has none raises its alarm.
    try await fill([nodes.client("a")], prefix: "k")
    #expect(try await waitForAlarms(1, etcdctl).count == 1)
    #expect(try await nodes.gauge("etcd_mvcc_db_total_size_in_bytes", of: "a") ?? 0 < 19_000_000)
    await nodes.kill("c")
    // Whoever leads now knows the quota from the alarm, and that it is not over. A put that was handed to a leader that died
    // gets no answer, so there may be several.
    var refused = try await etcdctl.run("put", "small", "1")
    for _ in 0..<5 where !refused.errors.contains(Self.exceeded) {
      refused = try await etcdctl.run("put", "small", "1")
    }
    #expect(refused.errors.contains(Self.exceeded))
    _ = try await etcdctl.output("del", "k", "--prefix")
    let revision = try await nodes.gauge("portcullis_revision", of: "a") ?? 0
    _ = try await etcdctl.output("compact", "\(Int(revision))")
    #expect(try await waitForAlarms(0, etcdctl).isEmpty)
    try await waitUntilPut("small", at: nodes.client("b"))
    // With another quota at its next start the member takes its old word back.
    try nodes.restart("c", "--quota-backend-bytes", "200000")
    try await nodes.ready("c")
    try await fill([nodes.client("c")], prefix: "k")
    #expect(try await waitForAlarms(1, etcdctl).count == 1)
    await nodes.stop("c")
    try nodes.restart("c", "--quota-backend-bytes", "-1")
    try await nodes.ready("c")
    #expect(try await waitForAlarms(0, etcdctl).isEmpty)
    try await waitUntilPut("small", at: nodes.client("a"))
    await nodes.stop()
  }

  @Test("an operator may disarm it as etcd's")
  func disarm() async throws {
    let nodes = try Nodes("--quota-backend-bytes", "200000")
    try await nodes.found("a")
    let etcdctl = Etcdctl(endpoints: nodes.client("a"))
    try await fill([nodes.client("a")], prefix: "k")
    let up = try await waitForAlarms(1, etcdctl)
    #expect(try await etcdctl.output("alarm", "disarm").hasPrefix(up[0].prefix { $0 != " " }))
    // Still at its quota, it says so again when the next put comes.
    try await fill([nodes.client("a")], prefix: "l")
    _ = try await waitForAlarms(1, etcdctl)
    await nodes.stop()
  }
}
