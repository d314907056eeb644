// Members that come, go and are replaced while clients write, with real processes; and who may not come back.

import Foundation
import Glibc
import Testing

@Suite("membership", .serialized)
struct MembershipTests {
  @Test("a learner is added, promoted, and a voter removed under load, and no acknowledged write is lost")
  func growAndShrink() async throws {
    let nodes = try Nodes()
    try await nodes.found("a", "b", "c")
    let load = Load(endpoints: nodes.endpoints)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for writer in 0..<4 { group.addTask { try await load.write(writer) } }
      try await load.waitForAcknowledged(more: 100)
      nodes.reserve("d")
      let added = try await nodes.run("member", "add", nodes.peerURL("d"))
      #expect(added.exitCode == 0 && added.output.contains("learner"), "\(added.output) \(added.errors)")
      try nodes.join("d", beside: "a")
      try await nodes.ready("d")
      let promoted = try await nodes.run("member", "promote", "d")
      #expect(promoted.exitCode == 0, "\(promoted.errors)")
      #expect(try await nodes.members().filter { !$0.isLearner }.map(\.name).sorted() == ["a", "b", "c", "d"])
      try await load.waitForAcknowledged(more: 100)
      // The leader, so that it has to hand over.
      let leader = try #require(try await nodes.members().first(where: \.isLeader)).name
      let removed = try await nodes.run("member", "remove", leader)
      #expect(removed.exitCode == 0, "\(removed.errors)")
      let gone = try nodes.program(leader)
      #expect(await gone.exitCode() == 3, "a removed node ends by itself")
      #expect(gone.errors.contains("removed from"), "\(gone.errors)")
      try await load.waitForAcknowledged(more: 100)
      load.stop()
      try await group.waitForAll()
      let rest = try await nodes.members().map(\.name)
      #expect(rest.sorted() == ["a", "b", "c", "d"].filter { $0 != leader })
      try await expectEverything(load, on: rest, nodes)
    }
    await nodes.stop()
  }

  @Test("a dead node is replaced by a new one under load, and cannot come back")
  func replaceDead() async throws {
    let nodes = try Nodes()
    try await nodes.found("a", "b", "c")
    await nodes.kill("c")
    let load = Load(endpoints: "\(nodes.client("a")),\(nodes.client("b"))")
    try await withThrowingTaskGroup(of: Void.self) { group in
      for writer in 0..<4 { group.addTask { try await load.write(writer) } }
      try await load.waitForAcknowledged(more: 100)
      nodes.reserve("d")
      let replacing = try RunningProgram(
        ["member", "replace", "c", nodes.peerURL("d")], environment: ["PORTCULLIS_ENDPOINTS": nodes.client("a")])
      try await replacing.waitForErrors("waiting for")
      try nodes.join("d", beside: "b")
      #expect(await replacing.exitCode() == 0, "\(replacing.errors)")
      try await nodes.ready("d")
      try await load.waitForAcknowledged(more: 100)
      load.stop()
      try await group.waitForAll()
    }
    try await nodes.waitForMembers("a", "b", "d")
    try await expectEverything(load, on: ["a", "b", "d"], nodes)
    try nodes.restart("c")
    let gone = try nodes.program("c")
    #expect(await gone.exitCode() == 3)
    #expect(gone.errors.contains("was removed"), "\(gone.errors)")
    await nodes.stop()
  }

  @Test("a node whose disk was wiped is refused under its old identity")
  func wipedDisk() async throws {
    let nodes = try Nodes()
    try await nodes.found("a", "b", "c")
    for name in ["a", "b"] { try await waitForBirths(3, on: name, nodes) }
    await nodes.kill("c")
    try nodes.wipe("c")
    // Those that are to refuse it know of its disk even when they have only just started.
    for name in ["a", "b"] { await nodes.kill(name) }
    for name in ["c", "a", "b"] { try nodes.restart(name) }
    let wiped = try nodes.program("c")
    #expect(await wiped.exitCode() == 1)
    #expect(wiped.errors.contains("its disk was wiped"), "\(wiped.errors)")
    for name in ["a", "b"] { try await nodes.ready(name) }
    await nodes.stop()
  }

  @Test("a node that nobody added is told how to be added")
  func notAdded() async throws {
    let nodes = try Nodes()
    try await nodes.found("a")
    nodes.reserve("b")
    try nodes.join("b", beside: "a")
    let stranger = try nodes.program("b")
    #expect(await stranger.exitCode() == 1)
    #expect(stranger.errors.contains("portcullis member add \(nodes.peerURL("b"))"), "\(stranger.errors)")
    await nodes.stop()
  }

  @Test("leadership moves where it is told to")
  func moveLeader() async throws {
    let nodes = try Nodes()
    try await nodes.found("a", "b", "c")
    for name in ["b", "c", "a", "a"] {
      let outcome = try await nodes.run("move-leader", name)
      #expect(outcome.exitCode == 0, "\(outcome.errors)")
      #expect(try await nodes.members().first(where: \.isLeader)?.name == name)
    }
    let nobody = try await nodes.run("move-leader", "nobody")
    #expect(nobody.exitCode == 1 && nobody.errors.contains("nobody"))
    await nodes.stop()
  }

  @Test("a member moves to another address")
  func update() async throws {
    let nodes = try Nodes()
    try await nodes.found("a", "b", "c")
    await nodes.kill("c")
    let old = nodes.peerURL("c")
    nodes.reserve("c")
    let endpoints = nodes.client("a")
    let outcome = try await nodes.run("member", "update", "c", nodes.peerURL("c"), endpoints: endpoints)
    #expect(outcome.exitCode == 0, "\(outcome.errors)")
    #expect(outcome.output.contains(nodes.peerURL("c")) && !outcome.output.contains(old), "\(outcome.output)")
    try nodes.restart("c")
    try await nodes.ready("c")
    await nodes.stop()
  }

  @Test(
    "etcdctl adds, promotes and removes",
    .enabled(if: Clients.etcdctl != nil, "etcdctl (Debian: etcd-client) is not there"))
  func etcdctl() async throws {
    let nodes = try Nodes()
    try await nodes.found("a")
    let etcdctl = Etcdctl(endpoints: nodes.client("a"))
    nodes.reserve("b")
    let added = try await etcdctl.output("member", "add", "b", "--learner", "--peer-urls=\(nodes.peerURL("b"))")
    #expect(added.contains("added to cluster"), "\(added)")
    let again = try await etcdctl.run("member", "add", "b", "--peer-urls=\(nodes.peerURL("b"))")
    #expect(again.errors.contains("Peer URLs already exists"), "\(again.errors)")
    let early = try await etcdctl.run("member", "promote", try #require(try await id(of: "", etcdctl)))
    #expect(early.errors.contains("in sync with leader"), "\(early.errors)")
    try nodes.join("b", beside: "a")
    try await nodes.ready("b")
    let promoted = try await nodes.run("member", "promote", "b", endpoints: nodes.client("a"))
    #expect(promoted.exitCode == 0, "\(promoted.errors)")
    #expect(try await etcdctl.output("put", "key", "value") == "OK")
    #expect(try await Etcdctl(endpoints: nodes.client("b")).output("get", "key") == "key\nvalue")
    let removed = try await etcdctl.output("member", "remove", try #require(try await id(of: "b", etcdctl)))
    #expect(removed.contains("removed from cluster"), "\(removed)")
    #expect(await (try nodes.program("b")).exitCode() == 3)
    let unknown = try await etcdctl.run("member", "remove", "abcdef")
    #expect(unknown.errors.contains("etcdserver: member not found"), "\(unknown.errors)")
    let last = try await etcdctl.run("member", "remove", try #require(try await id(of: "a", etcdctl)))
    #expect(last.errors.contains("not enough started members"), "\(last.errors)")
    #expect(try await etcdctl.output("put", "key", "still") == "OK")
    await nodes.stop()
  }

  /// A member's id by its name, as `etcdctl member list` tells it.
  private func id(of name: String, _ etcdctl: Etcdctl) async throws -> String? {
    let lines = try await etcdctl.output("member", "list").split(separator: "\n")
    let fields = lines.map { $0.components(separatedBy: ", ") }
    return fields.first { $0.count > 2 && $0[2] == name }?[0]
  }

  /// Waits until a node has written down with which disks the others have registered.
  private func waitForBirths(_ count: Int, on name: String, _ nodes: Nodes) async throws {
    struct File: Decodable { let births: [String: String] }
    let url = URL(fileURLWithPath: nodes.data(name) + "/member.json")
    let end = ContinuousClock.now + .seconds(10)
    while ContinuousClock.now < end {
      let file = try? JSONDecoder().decode(File.self, from: Data(contentsOf: url))
      if file?.births.count == count { return }
      await Task.yield()
    }
    Issue.record("\(name) wrote down too few births")
  }

  private func expectEverything(_ load: Load, on names: [String], _ nodes: Nodes) async throws {
    let acknowledged = load.acknowledged
    for name in names {
      let stored = try await Load.read(from: nodes.client(name))
      let lost = acknowledged.filter { stored[$0.key] != $0.value }
      #expect(lost.isEmpty, "\(name) lacks \(lost.count) of \(acknowledged.count) acknowledged writes")
    }
  }
}
