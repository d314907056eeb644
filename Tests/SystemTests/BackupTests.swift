// Backups with real processes: a cluster that is saved while it is written to, lost and made anew; and what happens when
// somebody pulls the plug.

import Foundation
import Glibc
import Testing

@Suite("backup and restore", .serialized)
struct BackupTests {
  @Test("a cluster saved under writes and made anew has the same state, and its grants beat the old ones")
  func restored() async throws {
    let names = ["a", "b", "c"]
    let nodes = try Nodes()
    try await nodes.found("a", "b", "c")
    let gateway = try await Gateway.start(nodes, database: nodes.directory("orders.db"))
    let old = try await gateway.hold(nodes, "CREATE TABLE notes (text)")
    let caller = try Caller(nodes.endpoints)
    try await caller.grantLease(77, seconds: 600)
    try await caller.put("leased", Data("value".utf8), lease: 77)
    // Somebody holds the scope while the state is saved, and is gone when the new cluster begins.
    let holder = try RunningProgram(
      ["acquire", "orders", "--ttl", "5s", "--holder", "anna", "--", "sh", "-c", "echo holding; read line"],
      environment: gateway.environment(nodes))
    try await holder.waitForOutput("holding")

    let file = nodes.directory("backup.pcb")
    let load = Load(endpoints: nodes.endpoints)
    var before: [String: String] = [:]
    try await withThrowingTaskGroup(of: Void.self) { group in
      for writer in 0..<4 { group.addTask { try await load.write(writer) } }
      try await load.waitForAcknowledged(more: 500)
      before = load.acknowledged
      let saved = try await nodes.run("snapshot", "save", file)
      #expect(saved.exitCode == 0 && saved.output.contains("incarnation 1"), "\(saved.output) \(saved.errors)")
      try await load.waitForAcknowledged(more: 100)
      load.stop()
      try await group.waitForAll()
    }
    #expect(FileManager.size(of: file + ".partial") == -1)
    #expect((try FileManager.default.attributesOfItem(atPath: file)[.posixPermissions] as? Int) == 0o600)
    let status = try await FileStatus.of(file)
    #expect(status.intact && status.kind == "portcullis" && status.counts?.grants == 1, "\(status)")
    let revision = try #require(status.hashRevision)
    // The running members agree with the file, and so will those of the new cluster.
    #expect(try await caller.hash(revision) == status.hash)
    caller.close()
    holder.send(SIGKILL)
    for name in names { await nodes.kill(name) }

    for name in names {
      try nodes.wipe(name)
      let made = try await nodes.restore(file, name, of: names)
      #expect(made.exitCode == 0 && made.output.contains("incarnation 2"), "\(made.output) \(made.errors)")
    }
    for name in names { try nodes.restart(name) }
    for name in names { try await nodes.ready(name) }
    for name in names {
      let caller = try Caller(nodes.client(name))
      let stored = try await Load.read(from: nodes.client(name))
      #expect(before.filter { stored[$0.key] != $0.value }.isEmpty, "what was acknowledged before is in \(name)")
      #expect(try await caller.hash(revision) == status.hash, "\(name)")
      let lease = try await caller.lease(77)
      #expect(lease.ttl > 500 && lease.keys == [Data("leased".utf8)])
      caller.close()
    }

    // anna's lease began anew and ends; the next grant is above everything that the old cluster gave.
    let new = try await gateway.hold(nodes, "INSERT INTO notes VALUES ('new')")
    #expect(new.incarnation == 2 && new.number > revision && new.number > old.number)
    let stale = try await Program.run(
      ["sql", "orders", "--token", old.token, "INSERT INTO notes VALUES ('old')"],
      environment: gateway.environment(nodes))
    #expect(stale.exitCode == 77, "\(stale.output) \(stale.errors)")
    #expect((stale.output + stale.errors).contains("ncarnation"), "\(stale.output) \(stale.errors)")
    let read = try await Program.run(
      ["sql", "orders", "SELECT text FROM notes"], environment: gateway.environment(nodes))
    #expect(read.output.contains("new") && !read.output.contains("old"), "\(read.output)")
    await gateway.stop()
    await nodes.stop()
  }

  @Test("a save that is killed or stopped leaves no backup, and neither does a restore leave a node's directory")
  func killed() async throws {
    let nodes = try Nodes()
    try await nodes.found("a")
    let caller = try Caller(nodes.endpoints)
    // Two seconds' worth at the pace of a save.
    try await caller.fill(512)
    caller.close()
    let file = nodes.directory("backup.pcb")
    let environment = ["PORTCULLIS_ENDPOINTS": nodes.endpoints]

    let killed = try RunningProgram(["snapshot", "save", file], environment: environment)
    try await wait { FileManager.size(of: file + ".partial") > 1 << 20 }
    killed.send(SIGKILL)
    _ = await killed.exitCode()
    #expect(FileManager.size(of: file) == -1)
    let partial = try await FileStatus.of(file + ".partial")
    #expect(!partial.intact && partial.problem?.contains("cut short") == true && partial.header?.incarnation == 1)
    let refused = try await nodes.restore(file + ".partial", "a", of: ["a"])
    #expect(refused.exitCode == 1, "\(refused.errors)")

    // What a killed save left is no sign that the next one has begun.
    try FileManager.default.removeItem(atPath: file + ".partial")
    let stopped = try RunningProgram(["snapshot", "save", file], environment: environment)
    try await wait { FileManager.size(of: file + ".partial") > 1 << 20 }
    stopped.send(SIGINT)
    #expect(await stopped.exitCode() == 130)
    #expect(FileManager.size(of: file) == -1 && FileManager.size(of: file + ".partial") == -1)

    // Left of a save that was killed, it is used.
    try Data(repeating: 9, count: 1 << 20).write(to: URL(fileURLWithPath: file + ".partial"))
    let saved = try await nodes.run("snapshot", "save", file)
    #expect(saved.exitCode == 0 && FileManager.size(of: file + ".partial") == -1, "\(saved.errors)")
    #expect(try await FileStatus.of(file).intact)
    let again = try await nodes.run("snapshot", "save", file)
    #expect(again.exitCode == 1 && again.errors.contains("--force"), "\(again.errors)")
    let forced = try await nodes.run("snapshot", "save", file, "--force")
    #expect(forced.exitCode == 0, "\(forced.errors)")
    await nodes.stop("a")

    try nodes.wipe("a")
    let restoring = try RunningProgram([
      "snapshot", "restore", file, "--name", "a", "--data-dir", nodes.data("a"), "--initial-cluster",
      "a=\(nodes.peerURL("a"))", "--initial-advertise-peer-urls", nodes.peerURL("a"),
    ])
    try await wait { FileManager.size(of: nodes.data("a") + ".restoring/log") > 0 }
    restoring.send(SIGKILL)
    #expect(await restoring.exitCode() == 137)
    #expect(!FileManager.default.fileExists(atPath: nodes.data("a")))
    let made = try await nodes.restore(file, "a", of: ["a"])
    #expect(made.exitCode == 0, "\(made.errors)")
    #expect(!FileManager.default.fileExists(atPath: nodes.data("a") + ".restoring"))
    try nodes.restart("a")
    try await nodes.ready("a")
    let there = try Caller(nodes.endpoints)
    #expect(try await there.lease(77).ttl == -1)
    try await there.put("more", Data("value".utf8))
    there.close()
    await nodes.stop()
  }

  @Test("revisions that the old cluster gave out are left out, and its watchers are told to read anew")
  func bump() async throws {
    let nodes = try Nodes()
    try await nodes.found("a")
    let caller = try Caller(nodes.endpoints)
    for step in 0..<10 { try await caller.put("key", Data("\(step)".utf8)) }
    let file = nodes.directory("backup.pcb")
    #expect(try await nodes.run("snapshot", "save", file).exitCode == 0)
    let saved = try #require(try await FileStatus.of(file).header).revision
    for step in 10..<20 { try await caller.put("key", Data("\(step)".utf8)) }
    caller.close()
    await nodes.stop("a")
    try nodes.wipe("a")
    let alone = try await nodes.restore(file, "a", of: ["a"], "--bump-revision", "1000")
    #expect(alone.exitCode == 64 && alone.errors.contains("--mark-compacted"), "\(alone.errors)")
    let made = try await nodes.restore(file, "a", of: ["a"], "--bump-revision", "1000", "--mark-compacted")
    #expect(made.exitCode == 0, "\(made.errors)")
    try nodes.restart("a")
    try await nodes.ready("a")
    let json = JSONCalls(endpoint: nodes.client("a"))
    var lines = try await json.stream(
      "/v3/watch", #"{"create_request":{"key":"a2V5","start_revision":"\#(saved + 11)"}}"#)
    _ = try await lines.next()
    let told = try await lines.next()
    #expect(
      told?["canceled"] as? Bool == true && told?["compact_revision"] as? String == "\(saved + 1000)", "\(told ?? [:])")
    let after = try Caller(nodes.endpoints)
    #expect(try await after.everything().map(\.value) == [Data("9".utf8)])
    after.close()
    await nodes.stop()
  }

  @Test("a full disk is an error, and leaves nothing", .enabled(if: geteuid() == 0, "mounting a small disk needs root"))
  func fullDisk() async throws {
    let nodes = try Nodes()
    let disk = nodes.directory("disk")
    try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: false)
    let mounted = try await Program.run(["-t", "tmpfs", "-o", "size=4m", "none", disk], executable: "/bin/mount")
    try #require(mounted.exitCode == 0, "\(mounted.errors)")
    try await nodes.found("a")
    let caller = try Caller(nodes.endpoints)
    try await caller.fill(32)
    caller.close()
    let full = try await nodes.run("snapshot", "save", disk + "/backup.pcb")
    #expect(full.exitCode == 1 && full.errors.contains("No space left"), "\(full.errors)")
    #expect(try FileManager.default.contentsOfDirectory(atPath: disk).isEmpty)
    let file = nodes.directory("backup.pcb")
    #expect(try await nodes.run("snapshot", "save", file).exitCode == 0)
    let made = try await Program.run([
      "snapshot", "restore", file, "--data-dir", disk + "/node",
    ])
    #expect(made.exitCode == 1, "\(made.output)")
    #expect(try FileManager.default.contentsOfDirectory(atPath: disk).isEmpty)
    _ = try await Program.run([disk], executable: "/bin/umount")
    await nodes.stop()
  }

  @Test(
    "the stream over JSON is the same file, one node without a majority gives its own state, and nobody there is 69")
  func others() async throws {
    let nodes = try Nodes()
    try await nodes.found("a", "b", "c")
    let caller = try Caller(nodes.endpoints)
    try await caller.fill(8)
    caller.close()
    var lines = try await JSONCalls(endpoint: nodes.client("b")).stream("/portcullis/v1/backup/save", "{}")
    var bytes = Data()
    while let line = try await lines.next() {
      bytes += try #require((line["blob"] as? String).flatMap { Data(base64Encoded: $0) })
    }
    let file = nodes.directory("json.pcb")
    try bytes.write(to: URL(fileURLWithPath: file))
    let status = try await FileStatus.of(file)
    #expect(status.intact && status.counts?.keys == 8, "\(status)")
    for name in ["a", "b"] { await nodes.kill(name) }
    let alone = try await nodes.run(
      "snapshot", "save", nodes.directory("alone.pcb"), "--serializable", endpoints: nodes.client("c"))
    #expect(alone.exitCode == 0, "\(alone.errors)")
    #expect(try await FileStatus.of(nodes.directory("alone.pcb")).counts?.keys == 8)
    await nodes.stop()
    let nobody = try await nodes.run("snapshot", "save", nodes.directory("nobody.pcb"))
    #expect(nobody.exitCode == 69, "\(nobody.errors)")
    #expect(FileManager.size(of: nodes.directory("nobody.pcb.partial")) == -1)
    let nothing = try await Program.run(["snapshot", "status", nodes.directory("nobody.pcb")])
    #expect(nothing.exitCode == 1 && nothing.errors.contains("No such file"), "\(nothing.errors)")
  }

  /// Waits for what another program does to a file.
  private func wait(for condition: () -> Bool) async throws {
    let end = ContinuousClock.now + .seconds(30)
    while !condition() {
      try #require(ContinuousClock.now < end, "it did not come to be")
      await Task.yield()
    }
  }
}

/// A gateway in front of one database, with cores elsewhere.
private struct Gateway {
  let program: RunningProgram
  let address: String

  static func start(_ nodes: Nodes, database: String) async throws -> Gateway {
    let address = "127.0.0.1:\(Ports.free(1)[0])"
    let program = try RunningProgram([
      "gateway", "--endpoints", nodes.endpoints, "--listen-gateway", address, "--database", "orders=\(database)",
    ])
    try await program.waitForOutput("is ready")
    return Gateway(program: program, address: address)
  }

  func environment(_ nodes: Nodes) -> [String: String] {
    ["PORTCULLIS_ENDPOINTS": nodes.endpoints, "PORTCULLIS_GATEWAY": address]
  }

  struct Held {
    let incarnation: Int
    let number: Int64
    let token: String
  }

  /// Acquires the scope, writes under the grant and releases it.
  func hold(_ nodes: Nodes, _ statement: String) async throws -> Held {
    let quoted = statement.replacingOccurrences(of: "'", with: "'\\''")
    let script =
      "\(Program.path) sql orders '\(quoted)' >&2 && echo $PORTCULLIS_INCARNATION $PORTCULLIS_NUMBER $PORTCULLIS_TOKEN"
    let outcome = try await Program.run(
      ["acquire", "orders", "--wait", "60s", "--", "sh", "-c", script], environment: environment(nodes))
    try #require(outcome.exitCode == 0, "\(outcome.output) \(outcome.errors)")
    let fields = outcome.output.split(whereSeparator: \.isWhitespace)
    try #require(fields.count == 3, "\(outcome.output)")
    return Held(
      incarnation: try #require(Int(fields[0])), number: try #require(Int64(fields[1])), token: String(fields[2]))
  }

  func stop() async {
    program.send(SIGTERM)
    _ = await program.exitCode()
  }
}
