// Disks that lose something or run full, with real processes.

import Foundation
import Glibc
import Testing

@Suite("disks", .serialized)
struct RepairTests {
  @Test("a record that a disk lost comes back from the other members")
  func repair() async throws {
    let nodes = try Nodes()
    try await nodes.found("a", "b", "c")
    let load = Load(endpoints: nodes.endpoints)
    try await write(500, load)
    await nodes.stop("c")
    try flip("load/3/20", in: nodes.data("c") + "/log/data.mdb")
    try nodes.restart("c")
    try await nodes.program("c").waitForErrors("the log is damaged")
    try await nodes.program("c").waitForErrors("was repaired from the other members")
    try await nodes.ready("c")
    try await nodes.wait(for: "portcullis_is_impaired", of: "c") { $0 == 0 }
    let stored = try await Load.read(from: nodes.client("c"))
    #expect(load.acknowledged.allSatisfy { stored[$0.key] == $0.value })
    // It counts again: with another node down the two of them go on.
    await nodes.kill("a")
    let rest = Load(endpoints: "\(nodes.client("b")),\(nodes.client("c"))")
    try await write(50, rest)
    await nodes.stop()
  }

  @Test("a damaged log with no other member to repair it from is refused")
  func alone() async throws {
    let nodes = try Nodes()
    try await nodes.found("a")
    let load = Load(endpoints: nodes.endpoints)
    try await write(200, load)
    await nodes.stop("a")
    try flip("load/3/10", in: nodes.data("a") + "/log/data.mdb")
    try nodes.restart("a")
    let program = try nodes.program("a")
    #expect(await program.exitCode() == 1)
    #expect(program.errors.contains("no other member has them"), "\(program.errors)")
  }

  @Test(
    "a full disk turns a node read-only, and room turns it back",
    .enabled(if: getuid() == 0, "mounting a small file system takes root"))
  func full() async throws {
    let mount = try SmallFileSystem(megabytes: 160)
    defer { mount.unmount() }
    let nodes = try Nodes(dataDirectories: ["a": mount.path + "/a"])
    try await nodes.found("a")
    let load = Load(endpoints: nodes.endpoints)
    try await write(50, load)
    try mount.fill(leaving: 8 << 20)
    try await nodes.wait(for: "portcullis_storage_writable", of: "a") { $0 == 0 }
    let etcdctl = Etcdctl(endpoints: nodes.client("a"))
    if Clients.etcdctl != nil {
      let refused = try await etcdctl.run("put", "key", "value")
      #expect(refused.errors.contains("etcdserver: mvcc: database space exceeded"), "\(refused.errors)")
      #expect(try await etcdctl.output("alarm", "list").contains("NOSPACE"))
    }
    let stored = try await Load.read(from: nodes.client("a"))
    #expect(load.acknowledged.allSatisfy { stored[$0.key] == $0.value }, "reads go on")
    try mount.free()
    try await nodes.wait(for: "portcullis_storage_writable", of: "a") { $0 == 1 }
    let after = Load(endpoints: nodes.endpoints)
    try await write(50, after)
    await nodes.stop()
  }

  @Test(
    "with one full disk of three, the other two go on, and the node comes back",
    .enabled(if: getuid() == 0, "mounting a small file system takes root"))
  func oneOfThree() async throws {
    let mount = try SmallFileSystem(megabytes: 160)
    defer { mount.unmount() }
    let nodes = try Nodes(dataDirectories: ["a": mount.path + "/a"])
    try await nodes.found("a", "b", "c")
    let moved = try await nodes.run("move-leader", "a")
    #expect(moved.exitCode == 0, "\(moved.errors)")
    try mount.fill(leaving: 8 << 20)
    try await nodes.wait(for: "etcd_server_is_leader", of: "a") { $0 == 0 }
    let load = Load(endpoints: nodes.endpoints)
    try await write(200, load)
    try mount.free()
    try await nodes.wait(for: "portcullis_storage_writable", of: "a") { $0 == 1 }
    let applied = try #require(try await nodes.gauge("etcd_server_proposals_applied_total", of: "b"))
    try await nodes.wait(for: "etcd_server_proposals_applied_total", of: "a") { $0 >= applied }
    await nodes.stop()
  }

  private func write(_ count: Int, _ load: Load) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for writer in 0..<8 { group.addTask { try await load.write(writer) } }
      try await load.waitForAcknowledged(more: count)
      load.stop()
      try await group.waitForAll()
    }
  }

  /// Flips a bit in the middle of a key in the log's file.
  private func flip(_ text: String, in path: String) throws {
    var data = try Data(contentsOf: URL(fileURLWithPath: path), options: .mappedIfSafe)
    let place = try #require(data.range(of: Data(text.utf8)), "\(text) is not in \(path)")
    let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
    let at = place.lowerBound + 2
    let changed = data[at] ^ 0x10
    data = Data()
    try file.seek(toOffset: UInt64(at))
    try file.write(contentsOf: Data([changed]))
    try file.close()
  }
}

/// A file system in memory that is quickly full.
private final class SmallFileSystem {
  let path: String
  private let directory: ScratchDirectory

  init(megabytes: Int) throws {
    directory = try ScratchDirectory()
    path = directory("small")
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    let result = Glibc.mount("tmpfs", path, "tmpfs", 0, "size=\(megabytes)m")
    try #require(result == 0, "mounting failed: \(String(cString: strerror(errno)))")
  }

  func fill(leaving bytes: Int) throws {
    var status = statvfs()
    try #require(statvfs(path, &status) == 0)
    let free = Int(status.f_bavail) * Int(status.f_frsize)
    let file = open(path + "/ballast", O_WRONLY | O_CREAT, 0o600)
    defer { close(file) }
    try #require(posix_fallocate(file, 0, off_t(free - bytes)) == 0)
  }

  func free() throws { try FileManager.default.removeItem(atPath: path + "/ballast") }

  func unmount() { umount2(path, Int32(MNT_DETACH)) }
}
