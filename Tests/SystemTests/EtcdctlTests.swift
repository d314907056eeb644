// What an etcd user does first: Debian's own etcdctl against one node and against three.

import Foundation
import Testing

@Suite("etcdctl", .enabled(if: Clients.etcdctl != nil, "etcdctl (Debian: etcd-client) is not there"), .serialized)
struct EtcdctlTests {
  @Test("works against one node")
  func oneNode() async throws {
    let directory = try ScratchDirectory()
    let serving = try await Serving.start(directory("data"))
    try await Self.everything(on: serving.core)
    await serving.stop()
  }

  @Test("works against three nodes")
  func threeNodes() async throws {
    let nodes = try ThreeNodes()
    try await nodes.start()
    try await Self.everything(on: nodes.endpoints)
    await nodes.stop()
  }

  private static func everything(on endpoints: String) async throws {
    let etcdctl = Etcdctl(endpoints: endpoints)
    try await keys(etcdctl)
    try await transaction(etcdctl)
    try await watch(etcdctl)
    try await leases(etcdctl)
    try await lock(etcdctl)
    try await election(etcdctl)
    try await status(etcdctl)
  }

  private static func keys(_ etcdctl: Etcdctl) async throws {
    #expect(try await etcdctl.output("put", "fruit/apple", "green") == "OK")
    #expect(try await etcdctl.output("put", "fruit/pear", "yellow") == "OK")
    let before = try await revision(etcdctl)
    #expect(try await etcdctl.output("put", "--prev-kv", "fruit/apple", "red") == "OK\nfruit/apple\ngreen")
    let both = try await etcdctl.output("get", "fruit/", "--prefix", "--write-out=json")
    #expect(
      try await etcdctl.output("get", "fruit/", "--prefix") == "fruit/apple\nred\nfruit/pear\nyellow",
      "just before: \(both)")
    #expect(try await etcdctl.output("get", "fruit/apple", "--rev=\(before)") == "fruit/apple\ngreen")
    #expect(
      try await etcdctl.output("get", "fruit/", "--prefix", "--keys-only", "--order=DESCEND", "--limit=1")
        == "fruit/pear")
    #expect(try await etcdctl.output("del", "fruit/pear") == "1")
    #expect(try await etcdctl.output("del", "fruit/", "--prefix") == "1")
    #expect(try await etcdctl.output("get", "fruit/", "--prefix") == "")
    #expect(try await etcdctl.output("get", "fruit/pear", "--rev=\(before)") == "fruit/pear\nyellow")
    let future = try await etcdctl.run("get", "x", "--rev=999999")
    #expect(future.exitCode != 0)
    #expect(future.errors.contains("etcdserver: mvcc: required revision is a future revision"))
  }

  private static func transaction(_ etcdctl: Etcdctl) async throws {
    _ = try await etcdctl.output("put", "account", "10")
    let program = try etcdctl.start("txn", "--interactive=false")
    try program.write("value(\"account\") = \"10\"\n\nput account 9\nget account\n\nput account overdrawn\n\n")
    try program.closeInput()
    #expect(await program.exitCode() == 0, "\(program.errors)")
    #expect(program.output.contains("SUCCESS"))
    #expect(program.output.contains("account\n9"))
    #expect(try await etcdctl.output("get", "account", "--print-value-only") == "9")
  }

  private static func watch(_ etcdctl: Etcdctl) async throws {
    let start = try await revision(etcdctl) + 1
    for value in ["one", "two"] { _ = try await etcdctl.output("put", "watched", value) }
    let watcher = try etcdctl.start("watch", "watched", "--rev=\(start)")
    try await watcher.waitForOutput("two\n")
    _ = try await etcdctl.output("put", "watched", "three")
    _ = try await etcdctl.output("del", "watched")
    try await watcher.waitForOutput("DELETE\nwatched\n")
    #expect(
      watcher.output.hasPrefix("PUT\nwatched\none\nPUT\nwatched\ntwo\nPUT\nwatched\nthree\nDELETE\nwatched\n"),
      "\(watcher.output)")
    watcher.send(SIGINT)
    _ = await watcher.exitCode()
  }

  private static func leases(_ etcdctl: Etcdctl) async throws {
    let granted = try await etcdctl.output("lease", "grant", "60")
    let lease = try #require(granted.split(separator: " ").dropFirst().first.map(String.init))
    _ = try await etcdctl.output("put", "leased", "x", "--lease=\(lease)")
    let info = try await etcdctl.output("lease", "timetolive", lease, "--keys")
    #expect(info.contains("granted with TTL(60s)") && info.contains("leased"), "\(info)")
    #expect(try await etcdctl.output("lease", "list").contains(lease))
    #expect(try await etcdctl.output("lease", "keep-alive", lease, "--once").contains("keepalived with TTL(60)"))
    #expect(try await etcdctl.output("lease", "revoke", lease).contains("revoked"))
    #expect(try await etcdctl.output("get", "leased") == "")
    // A lease that nobody renews ends by itself, and its keys with it.
    let short = try await etcdctl.output("lease", "grant", "2")
    let shortLease = try #require(short.split(separator: " ").dropFirst().first.map(String.init))
    let start = try await revision(etcdctl) + 1
    _ = try await etcdctl.output("put", "passing", "x", "--lease=\(shortLease)")
    let watcher = try etcdctl.start("watch", "passing", "--rev=\(start)")
    try await watcher.waitForOutput("DELETE\npassing")
    watcher.send(SIGINT)
    _ = await watcher.exitCode()
  }

  private static func lock(_ etcdctl: Etcdctl) async throws {
    let first = try etcdctl.start("lock", "mutex")
    try await first.waitForOutput("mutex/")
    let second = try etcdctl.start("lock", "mutex", "echo", "second has it")
    let start = try await revision(etcdctl)
    #expect(start > 0)
    first.send(SIGINT)
    _ = await first.exitCode()
    try await second.waitForOutput("second has it")
    #expect(await second.exitCode() == 0)
  }

  private static func election(_ etcdctl: Etcdctl) async throws {
    let leader = try etcdctl.start("elect", "presidency", "alice")
    try await leader.waitForOutput("alice")
    let observer = try etcdctl.start("elect", "--listen", "presidency")
    try await observer.waitForOutput("alice")
    let challenger = try etcdctl.start("elect", "presidency", "bob")
    leader.send(SIGINT)
    _ = await leader.exitCode()
    try await challenger.waitForOutput("bob")
    try await observer.waitForOutput("bob")
    for program in [challenger, observer] {
      program.send(SIGINT)
      _ = await program.exitCode()
    }
  }

  private static func status(_ etcdctl: Etcdctl) async throws {
    let health = try await etcdctl.run("endpoint", "health")
    #expect(health.exitCode == 0, "\(health.errors)")
    #expect(try await etcdctl.output("endpoint", "status", "--write-out=json").contains("\"raftTerm\""))
    #expect(try await etcdctl.output("member", "list").contains("http://127.0.0.1:"))
  }

  private static func revision(_ etcdctl: Etcdctl) async throws -> Int {
    let text = try await etcdctl.output("get", "no-such-key", "--write-out=json")
    let answer = try JSONDecoder().decode(Answer.self, from: Data(text.utf8))
    return answer.header.revision
  }

  private struct Answer: Decodable {
    struct Header: Decodable { let revision: Int }
    let header: Header
  }
}
