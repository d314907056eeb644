// Snapshots with real processes: restarting from one, and followers that are too far behind for the log.

import Client
import Foundation
import Glibc
import Protocol
import Testing
import Wire

@Suite("snapshots", .serialized)
struct SnapshotTests {
  @Test("a restart after kill -9 reads the newest snapshot and applies the log behind it")
  func restart() async throws {
    let nodes = try Nodes("--snapshot-count", "300", "--snapshot-log-percent", "0", "--snapshot-catchup-entries", "10")
    try await nodes.found("a")
    let load = Load(endpoints: nodes.endpoints)
    try await write(2000, load)
    try await nodes.wait(for: "portcullis_snapshot_index", of: "a") { $0 > 1000 }
    try await nodes.wait(for: "portcullis_log_first_index", of: "a") { $0 > 900 }
    let revision = try await nodes.gauge("portcullis_revision", of: "a")
    await nodes.kill("a")
    try nodes.restart("a")
    try await nodes.ready("a")
    let stored = try await Load.read(from: nodes.client("a"))
    let lost = load.acknowledged.filter { stored[$0.key] != $0.value }
    #expect(lost.isEmpty, "\(lost.count) acknowledged writes are lost")
    #expect(try await nodes.gauge("portcullis_revision", of: "a") ?? 0 >= revision ?? .infinity)
    await nodes.stop()
  }

  @Test("a new follower, and one that slept, catch up by a snapshot under load")
  func followers() async throws {
    let nodes = try Nodes("--snapshot-count", "300", "--snapshot-log-percent", "0", "--snapshot-catchup-entries", "10")
    try await nodes.found("a", "b", "c")
    await nodes.kill("c")
    let load = Load(endpoints: "\(nodes.client("a")),\(nodes.client("b"))")
    try await withThrowingTaskGroup(of: Void.self) { group in
      for writer in 0..<4 { group.addTask { try await load.write(writer) } }
      try await load.waitForAcknowledged(more: 1000)
      for name in ["a", "b"] {
        try await nodes.wait(for: "portcullis_log_first_index", of: name, { $0 > 300 }, within: .seconds(90))
      }
      try nodes.restart("c")
      try await nodes.ready("c")
      nodes.reserve("d")
      let endpoints = nodes.client("a")
      let added = try await nodes.run("member", "add", nodes.peerURL("d"), endpoints: endpoints)
      #expect(added.exitCode == 0, "\(added.errors)")
      try nodes.join("d", beside: "a")
      try await nodes.ready("d")
      let promoted = try await nodes.run("member", "promote", "d", endpoints: endpoints)
      #expect(promoted.exitCode == 0, "\(promoted.errors)")
      try await load.waitForAcknowledged(more: 300)
      load.stop()
      try await group.waitForAll()
    }
    for name in ["c", "d"] {
      #expect(try nodes.program(name).errors.contains("a snapshot of the leader is installed"))
      let stored = try await Load.read(from: nodes.client(name))
      let lost = load.acknowledged.filter { stored[$0.key] != $0.value }
      #expect(lost.isEmpty, "\(name) lacks \(lost.count) acknowledged writes")
    }
    // What was installed is there after a crash as well.
    await nodes.kill("d")
    try nodes.restart("d")
    try await nodes.ready("d")
    #expect(try await Load.read(from: nodes.client("d")).count >= load.acknowledged.count)
    await nodes.stop()
  }

  @Test("a watch that goes on over a snapshot misses nothing, and one from before the history is told where it begins")
  func watches() async throws {
    let nodes = try Nodes("--snapshot-count", "200", "--snapshot-log-percent", "0", "--snapshot-catchup-entries", "10")
    try await nodes.found("a", "b", "c")
    let load = Load(endpoints: "\(nodes.client("a")),\(nodes.client("b"))")
    let watcher = try #require(Clients.etcdctl != nil ? Etcdctl(endpoints: nodes.client("c")) : nil)
      .start("watch", "load/", "--prefix", "--rev=1", "--write-out=json")
    // Stopped, it falls behind; its watcher's connection stays open.
    try nodes.program("c").send(SIGSTOP)
    try await write(1500, load)
    for name in ["a", "b"] { try await nodes.wait(for: "portcullis_log_first_index", of: name) { $0 > 500 } }
    try nodes.program("c").send(SIGCONT)
    try await nodes.program("c").waitForErrors("a snapshot of the leader is installed")
    let count = load.acknowledged.count
    try await watcher.waitForOutput("\"mod_revision\"", times: count)
    watcher.send(SIGINT)
    _ = await watcher.exitCode()
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
}
