// A gateway on a plain etcd, of both versions that are to be had: what holds there, and what is weaker, each shown.

import Foundation
import Glibc
import Testing

/// An etcd of one member, with etcdctl.
private final class PlainEtcd {
  let executable: String
  let directory: ScratchDirectory
  private(set) var program: RunningProgram?
  private let ports = Ports.free(2)

  static var versions: [String] { [Clients.etcd34, Clients.etcd].compactMap { $0 } }

  init(_ executable: String) throws {
    self.executable = executable
    directory = try ScratchDirectory()
  }

  var endpoint: String { "127.0.0.1:\(ports[0])" }
  var etcdctl: Etcdctl { Etcdctl(endpoints: endpoint) }
  private var peerURL: String { "http://127.0.0.1:\(ports[1])" }

  /// - Parameter data: a directory that was restored, or the first one.
  func start(_ data: String = "first", token: String = "first") async throws {
    let url = "http://\(endpoint)"
    let program = try RunningProgram(
      [
        "--name", "a", "--data-dir", directory(data), "--listen-client-urls", url, "--advertise-client-urls", url,
        "--listen-peer-urls", peerURL, "--initial-advertise-peer-urls", peerURL, "--initial-cluster", "a=\(peerURL)",
        "--initial-cluster-token", token,
      ], executable: executable)
    self.program = program
    while try await etcdctl.run("--command-timeout=2s", "put", "ready", "yes").exitCode != 0 {
      try #require(!program.hasEnded, "\(program.errors.suffix(2000))")
    }
  }

  func stop() async {
    program?.send(SIGKILL)
    _ = await program?.exitCode()
  }

  /// Makes a data directory of a snapshot, as an operator does after a loss.
  func restore(_ snapshot: String, to data: String, token: String) async throws {
    _ = try await etcdctl.output(
      "snapshot", "restore", snapshot, "--name", "a", "--data-dir", directory(data), "--initial-cluster",
      "a=\(peerURL)", "--initial-advertise-peer-urls", peerURL, "--initial-cluster-token", token)
  }

  /// Takes the lock with etcdctl, which holds it until it is ended.
  func lock(_ name: String) async throws -> HeldLock {
    let program = try etcdctl.start("lock", "--ttl", "60", name)
    try await program.waitForOutput("\n")
    let key = program.output.trimmingCharacters(in: .newlines)
    return HeldLock(program: program, key: key, revision: try await createRevision(key))
  }

  func createRevision(_ key: String) async throws -> Int64 {
    struct Answer: Decodable {
      struct Pair: Decodable {
        let created: Int64

        enum CodingKeys: String, CodingKey { case created = "create_revision" }
      }
      let kvs: [Pair]
    }
    let text = try await etcdctl.output("get", key, "-w", "json")
    let answer = try JSONDecoder().decode(Answer.self, from: Data(text.utf8))
    return try #require(answer.kvs.first).created
  }
}

private struct HeldLock {
  let program: RunningProgram
  let key: String
  let revision: Int64

  var header: String { PlainFence.header(key, revision) }

  func release() async {
    program.send(SIGINT)
    _ = await program.exitCode()
  }
}

private enum PlainFence {
  static func header(_ key: String, _ revision: Int64) -> String {
    "Fence: etcd key=\(key.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? key), rev=\(revision)"
  }
}

@Suite(
  "A gateway on a plain etcd", .serialized, .timeLimit(.minutes(4)),
  .enabled(if: Clients.etcdctl != nil && Curl.isThere && !PlainEtcd.versions.isEmpty, "etcd and etcdctl are not there"))
struct EtcdLocksTests {
  private func write(_ gateway: GatewayAlone, _ header: String, _ value: String) async throws -> CurlAnswer {
    try await gateway.curl("/db/notes/execute", "-H", header, "-d", #"[["INSERT INTO t VALUES(?)", "\#(value)"]]"#)
  }

  /// A database with a table `t`, behind a gateway on etcd.
  private func start(
    _ etcd: PlainEtcd, extra: [String] = []
  ) async throws -> (gateway: GatewayAlone, database: String) {
    let database = etcd.directory("notes.db")
    let gateway = try await GatewayAlone.start(
      etcd.endpoint, databases: ["notes": database], extra: ["--etcd"] + extra)
    return (gateway, database)
  }

  @Test(
    "the holder of the lock writes, and no waiter, no made-up number, no key without a lease",
    arguments: PlainEtcd.versions)
  func holders(_ version: String) async throws {
    let etcd = try PlainEtcd(version)
    try await etcd.start()
    let (gateway, _) = try await start(etcd)
    let status = try await gateway.curl("/status").body
    #expect(status.contains(#""authority":{"kind":"etcd","signed":false,"barrier":false}"#), "\(status)")
    #expect(gateway.program.errors.contains("stands on a plain etcd"), "\(gateway.program.errors)")
    let holder = try await etcd.lock("notes")
    let made = try await gateway.curl(
      "/db/notes/execute", "-H", holder.header, "-d", #"["CREATE TABLE t(a)","INSERT INTO t VALUES('first')"]"#)
    #expect(made.status == 200 && made.body.contains("\"number\":\(holder.revision)"), "\(made)")
    #expect(made.body.contains("\"holder\":\"\(holder.key)\"") && made.body.contains("\"incarnation\":0"), "\(made)")

    let waiter = try etcd.etcdctl.start("lock", "--ttl", "60", "notes")
    var waiting: [String] = []
    repeat {
      waiting = try await etcd.etcdctl.output("get", "--prefix", "notes/", "--keys-only").split(separator: "\n").map(
        String.init
      ).filter { $0 != holder.key && !$0.isEmpty }
    } while waiting.isEmpty
    let revision = try await etcd.createRevision(waiting[0])
    let early = try await write(gateway, PlainFence.header(waiting[0], revision), "early")
    #expect(early.status == 409 && early.problem == "not-current" && early.body.contains(holder.key), "\(early)")

    let high = try await write(gateway, PlainFence.header(holder.key, .max), "made up")
    #expect(high.status == 409 && high.problem == "not-current", "\(high)")
    let foreign = try await write(gateway, PlainFence.header("other/1", 1), "foreign")
    #expect(foreign.status == 403 && foreign.problem == "wrong-scope", "\(foreign)")
    for header in [
      "Fence: etcd key=notes%2F1", "Fence: what=ever", "Fence: etcd key=a, rev=0", "Fence: etcd key=%, rev=1",
    ] {
      let unreadable = try await write(gateway, header, "unreadable")
      #expect(unreadable.status == 401 && unreadable.problem == "unverifiable-token", "\(header): \(unreadable)")
    }
    let token = try await write(gateway, "Fencing-Token: e30.e30.AAAA", "token")
    #expect(token.status == 401 && token.body.contains("signs no tokens"), "\(token)")
    #expect(try await write(gateway, "X-None: 1", "none").problem == "token-required")

    _ = try await etcd.etcdctl.output("put", "notes", "a key of the scope's own name, for ever")
    let lasting = try await write(gateway, PlainFence.header("notes", etcd.createRevision("notes")), "lasting")
    #expect(lasting.status == 409 && lasting.body.contains("has no lease"), "\(lasting)")
    // As python-etcd3 locks: the one key, with a lease.
    _ = try await etcd.etcdctl.output("del", "notes")
    let lease = try await etcd.etcdctl.output("lease", "grant", "60").split(separator: " ")[1]
    _ = try await etcd.etcdctl.output("put", "notes", "python", "--lease=\(lease)")
    let python = try await write(gateway, PlainFence.header("notes", etcd.createRevision("notes")), "python")
    #expect(python.status == 200, "\(python)")
    let rows = try await gateway.curl("/db/notes/query?q=SELECT+a+FROM+t")
    #expect(rows.body.contains(#"[["first"],["python"]]"#), "\(rows)")
    waiter.send(SIGKILL)
    await holder.release()
    await gateway.stop()
    await etcd.stop()
  }

  @Test(
    "after a hand-over the old holder is stale once the new one has raised, and not before: no barrier",
    arguments: PlainEtcd.versions)
  func handOver(_ version: String) async throws {
    let etcd = try PlainEtcd(version)
    try await etcd.start()
    let (gateway, _) = try await start(etcd)
    let old = try await etcd.lock("notes")
    #expect(
      try await gateway.curl("/db/notes/execute", "-H", old.header, "-d", #"["CREATE TABLE t(a)"]"#).status == 200)
    await old.release()
    let new = try await etcd.lock("notes")
    #expect(new.revision > old.revision)
    // Weaker than a core of ours: nobody told the gateway.
    #expect(try await write(gateway, old.header, "in the gap").status == 200)
    let raised = try await gateway.curl("/db/notes/raise", "-X", "POST", "-H", new.header)
    #expect(raised.status == 200 && raised.body.contains("\"number\":\(new.revision)"), "\(raised)")
    let late = try await write(gateway, old.header, "late")
    #expect(late.status == 409 && late.problem == "stale-token", "\(late)")
    // Unsigned: whoever knows the key and its revision writes as the holder does.
    #expect(try await write(gateway, PlainFence.header(new.key, new.revision), "anybody").status == 200)

    // Without etcd the stored floor goes on deciding; what is above it cannot be checked.
    await etcd.stop()
    #expect(try await write(gateway, new.header, "still").status == 200)
    let unknown = try await write(gateway, PlainFence.header("notes/1", new.revision + 100), "unknown")
    #expect(unknown.status == 503 && unknown.problem == "core-unreachable", "\(unknown)")
    // A gateway that starts anew knows the holder from the file.
    await gateway.stop()
    let again = try await GatewayAlone.start(
      etcd.endpoint, databases: ["notes": etcd.directory("notes.db")], extra: ["--etcd"])
    #expect(try await write(again, new.header, "after the start").status == 200)
    #expect(try await write(again, old.header, "late").problem == "stale-token")
    await again.stop()
  }

  @Test(
    "a cluster that was restored goes back in revisions: refused under the same id, and under another until adopted",
    arguments: PlainEtcd.versions)
  func restored(_ version: String) async throws {
    let etcd = try PlainEtcd(version)
    try await etcd.start()
    let snapshot = etcd.directory("snapshot.db")
    _ = try await etcd.etcdctl.output("snapshot", "save", snapshot)
    for number in 0..<20 { _ = try await etcd.etcdctl.output("put", "other", "\(number)") }
    var (gateway, database) = try await start(etcd)
    let before = try await etcd.lock("notes")
    #expect(
      try await gateway.curl("/db/notes/execute", "-H", before.header, "-d", #"["CREATE TABLE t(a)"]"#).status == 200)
    before.program.send(SIGKILL)
    await etcd.stop()

    try await etcd.restore(snapshot, to: "same", token: "first")
    try await etcd.start("same")
    let same = try await etcd.lock("notes")
    #expect(same.revision < before.revision)
    let lower = try await write(gateway, same.header, "lower")
    #expect(lower.status == 409 && lower.problem == "stale-token", "\(lower)")
    same.program.send(SIGKILL)
    await etcd.stop()

    try await etcd.restore(snapshot, to: "other", token: "second")
    try await etcd.start("other", token: "second")
    let other = try await etcd.lock("notes")
    for number in 0..<30 { _ = try await etcd.etcdctl.output("put", "other", "\(number)") }
    await other.release()
    let higher = try await etcd.lock("notes")
    #expect(higher.revision > before.revision)
    let refused = try await write(gateway, higher.header, "other cluster")
    #expect(refused.status == 403 && refused.problem == "other-cluster", "\(refused)")
    await gateway.stop()

    struct Seen: Decodable {
      struct Presented: Decodable { let cluster: String }
      let presented: Presented
    }
    let cluster = try JSONDecoder().decode(Seen.self, from: Data(refused.body.utf8)).presented.cluster
    gateway = try await GatewayAlone.start(
      etcd.endpoint, databases: ["notes": database], extra: ["--etcd", "--adopt", "notes=\(cluster)"])
    #expect(try await write(gateway, higher.header, "adopted").status == 200)
    #expect(try await write(gateway, before.header, "of the old cluster").status != 200)
    await gateway.stop()
    higher.program.send(SIGKILL)
    await etcd.stop()
  }

  @Test(
    "each write is confirmed where that is asked for, and a closed scope opens by etcd's word",
    arguments: PlainEtcd.versions)
  func asking(_ version: String) async throws {
    let etcd = try PlainEtcd(version)
    try await etcd.start()
    let (gateway, database) = try await start(etcd, extra: ["--check-core", "notes"])
    let holder = try await etcd.lock("notes")
    #expect(
      try await gateway.curl("/db/notes/execute", "-H", holder.header, "-d", #"["CREATE TABLE t(a)"]"#).status == 200)
    await holder.release()
    let gone = try await write(gateway, holder.header, "gone")
    #expect(gone.status == 409 && gone.problem == "not-current", "\(gone)")
    await gateway.stop()
    try FileManager.default.removeItem(atPath: database + "-gateway.floors")
    let again = try await GatewayAlone.start(etcd.endpoint, databases: ["notes": database], extra: ["--etcd"])
    #expect(try await again.curl("/status").body.contains("\"closed_scopes\":[\"notes\"]"))
    let next = try await etcd.lock("notes")
    #expect(try await write(again, next.header, "next").status == 200)
    #expect(try await again.curl("/status").body.contains("\"closed_scopes\":[]"))
    #expect(try await write(again, holder.header, "gone").problem == "stale-token")
    await next.release()
    await again.stop()
    await etcd.stop()
  }

  @Test("one kind of cluster is never taken for the other without a word", arguments: PlainEtcd.versions)
  func kinds(_ version: String) async throws {
    let etcd = try PlainEtcd(version)
    try await etcd.start()
    let plain = try await GatewayAlone.start(
      etcd.endpoint, databases: ["notes": etcd.directory("a.db")], waits: false)
    #expect(await plain.program.exitCode() == 64)
    await plain.program.waitForEndOfOutput()
    #expect(plain.program.errors.contains("is a plain etcd, which signs no tokens"), "\(plain.program.errors)")
    await etcd.stop()
    let serving = try await Serving.start(etcd.directory("data"))
    let core = try await GatewayAlone.start(
      serving.core, databases: ["notes": etcd.directory("a.db")], extra: ["--etcd"], waits: false)
    #expect(await core.program.exitCode() == 64)
    await core.program.waitForEndOfOutput()
    #expect(core.program.errors.contains("leave --etcd out"), "\(core.program.errors)")
    await serving.stop()
  }
}
