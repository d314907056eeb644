// etcd's flags and configuration file on real nodes.

import Foundation
import Glibc
import NIOCore
import NIOPosix
import Protocol
import Testing
import Wire

@Suite("etcd's flags on real nodes", .serialized)
struct FlagsTests {
  /// Runs one node, with these arguments, and stops it.
  private func withNode(
    _ arguments: [String], environment: [String: String] = [:], _ body: (RunningProgram) async throws -> Void
  ) async throws {
    let program = try RunningProgram(["core"] + arguments, environment: environment)
    try await program.waitForOutput("is ready")
    try await body(program)
    program.send(SIGTERM)
    #expect(await program.exitCode() == 0)
  }

  private func port() -> Int { Ports.free(1)[0] }

  @Test("a configuration file starts a node, alone: what is beside it is told and not looked at")
  func configurationFile() async throws {
    let directory = try ScratchDirectory()
    let (client, peer, metrics) = (port(), port(), port())
    let file = directory("etcd.yaml")
    let text = """
      name: filed
      data-dir: \(directory("data"))
      listen-client-urls: http://127.0.0.1:\(client)
      advertise-client-urls: http://127.0.0.1:\(client)
      listen-peer-urls: http://127.0.0.1:\(peer)
      initial-advertise-peer-urls: http://127.0.0.1:\(peer)
      initial-cluster: filed=http://127.0.0.1:\(peer)
      listen-metrics-urls: http://127.0.0.1:\(metrics)
      max-txn-ops: 3
      client-transport-security:
        cert-file:
        client-cert-auth: false
      log-level: info
      """
    try Data(text.utf8).write(to: URL(fileURLWithPath: file))
    let arguments = ["--config-file", file, "--name", "flagged", "--listen-client-urls", "http://127.0.0.1:1"]
    try await withNode(arguments, environment: ["ETCD_DATA_DIR": "/nonexistent"]) { program in
      #expect(program.output.contains("portcullis core filed is ready on http://127.0.0.1:\(client)"))
      #expect(program.errors.contains("not looked at: --name, --listen-client-urls, ETCD_DATA_DIR"))
      let health = try await HTTPText.get("/health", at: "127.0.0.1:\(client)")
      let figures = try await HTTPText.get("/metrics", at: "127.0.0.1:\(metrics)")
      #expect(health.contains(#"{"health":"true","reason":""}"#) && figures.contains("etcd_server_has_leader 1\n"))
    }
    let wrong = directory("wrong.yaml")
    try Data("name: a\nlisten-client-url: http://127.0.0.1:1\n".utf8).write(to: URL(fileURLWithPath: wrong))
    let outcome = try await Program.run(["core", "--config-file", wrong])
    #expect(outcome.exitCode == 64)
    #expect(outcome.errors.contains("wrong.yaml, line 2: there is no key listen-client-url; did you mean"))
  }

  @Test("clients are served at every URL: IPv4, IPv6 and a socket; metrics and health at ports of their own")
  func severalURLs() async throws {
    let directory = try ScratchDirectory()
    let (first, second, peer, metrics) = (port(), port(), port(), port())
    let socket = directory("p.sock")
    // Left over from a run that crashed.
    let stale = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(socket.utf8)) }
    let bound = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(stale, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    #expect(bound == 0)
    close(stale)
    let clients = "http://127.0.0.1:\(first),http://[::1]:\(second),unix://\(socket)"
    let arguments = [
      "--name", "a", "--data-dir", directory("a"), "--listen-client-urls", clients, "--advertise-client-urls",
      "http://127.0.0.1:\(first),http://[::1]:\(second)", "--listen-peer-urls", "http://127.0.0.1:\(peer)",
      "--listen-metrics-urls", "http://127.0.0.1:\(metrics)", "--socket-reuse-port",
    ]
    try await withNode(arguments) { program in
      #expect(program.output.contains("is ready on \(clients.replacing(",", with: " and "))"))
      for endpoint in ["127.0.0.1:\(first)", "[::1]:\(second)", socket] {
        let version = try await HTTPText.get("/version", at: endpoint)
        #expect(version.hasPrefix("HTTP/1.1 200 ") && version.contains("etcdserver"), "\(endpoint)")
      }
      let list = try await HTTPText.request("POST", "/v3/cluster/member/list", at: socket, body: "{}")
      #expect(list.contains(#""http://127.0.0.1:\#(first)","http://[::1]:\#(second)""#), "\(list)")
      for path in ["/metrics", "/health", "/livez", "/readyz"] {
        #expect(try await HTTPText.get(path, at: "127.0.0.1:\(metrics)").hasPrefix("HTTP/1.1 200 "))
      }
      #expect(try await HTTPText.get("/version", at: "127.0.0.1:\(metrics)").hasPrefix("HTTP/1.1 404 "))
      if Clients.etcdctl != nil {
        _ = try await Etcdctl(endpoints: "unix://\(socket)").output("put", "over", "a socket")
        #expect(try await Etcdctl(endpoints: "[::1]:\(second)").output("get", "over") == "over\na socket")
        let refused = try await Etcdctl(endpoints: "127.0.0.1:\(metrics)").run("--command-timeout=2s", "get", "over")
        #expect(refused.exitCode != 0)
      }
    }
    #expect(!FileManager.default.fileExists(atPath: socket), "a node takes its socket away")
  }

  @Test("members with several peer URLs find each other at the one that works")
  func severalPeerURLs() async throws {
    let directory = try ScratchDirectory()
    let ports = Ports.free(9)
    let names = ["a", "b", "c"]
    // Nobody listens at the first URL of each.
    let cluster = names.enumerated().flatMap { index, name in
      ["\(name)=http://127.0.0.1:\(ports[3 * index])", "\(name)=http://127.0.0.1:\(ports[3 * index + 1])"]
    }
    let programs = try names.enumerated().map { index, name in
      try RunningProgram([
        "core", "--name", name, "--data-dir", directory(name), "--initial-cluster", cluster.joined(separator: ","),
        "--listen-peer-urls", "http://127.0.0.1:\(ports[3 * index + 1])", "--initial-cluster-token", "several",
        "--listen-client-urls", "http://127.0.0.1:\(ports[3 * index + 2])",
      ])
    }
    for program in programs { try await program.waitForOutput("is ready") }
    let list = try await HTTPText.request("POST", "/v3/cluster/member/list", at: "127.0.0.1:\(ports[2])", body: "{}")
    for port in [0, 1, 3, 4, 6, 7].map({ ports[$0] }) { #expect(list.contains("http://127.0.0.1:\(port)\"")) }
    for program in programs { program.send(SIGTERM) }
    for program in programs { _ = await program.exitCode() }
  }

  @Test("web pages of other origins and names that are not ours are kept out, and JSON can be switched off")
  func access() async throws {
    let directory = try ScratchDirectory()
    let (client, peer) = (port(), port())
    let endpoint = "127.0.0.1:\(client)"
    let common = [
      "--name", "a", "--listen-client-urls", "http://\(endpoint)", "--listen-peer-urls", "http://127.0.0.1:\(peer)",
    ]
    try await withNode(common + ["--data-dir", directory("open")]) { _ in
      let any = try await HTTPText.request("OPTIONS", "/v3/kv/range", at: endpoint, headers: [("origin", "http://x")])
      #expect(any.hasPrefix("HTTP/1.1 200 ") && any.contains("access-control-allow-origin: *\r\n"))
      #expect(try await HTTPText.get("/version", at: endpoint, headers: [("host", "evil")]).hasPrefix("HTTP/1.1 200 "))
    }
    let rules = [
      "--cors", "http://good,http://fine", "--host-whitelist", "localhost,127.0.0.1", "--enable-grpc-gateway=false",
      "--data-dir", directory("closed"),
    ]
    try await withNode(common + rules) { _ in
      let good = try await HTTPText.get("/version", at: endpoint, headers: [("origin", "http://good")])
      #expect(good.contains("access-control-allow-origin: http://good\r\n"))
      let bad = try await HTTPText.get("/version", at: endpoint, headers: [("origin", "http://bad")])
      #expect(bad.hasPrefix("HTTP/1.1 200 ") && !bad.contains("access-control-allow-origin"))
      let evil = try await HTTPText.get("/version", at: endpoint, headers: [("host", "evil:2379")])
      #expect(evil.hasPrefix("HTTP/1.1 421 ") && evil.contains("--host-whitelist"))
      #expect(
        try await HTTPText.get("/version", at: endpoint, headers: [("host", "127.0.0.1:1")]).hasPrefix("HTTP/1.1 200 "))
      let json = try await HTTPText.request("POST", "/v3/cluster/member/list", at: endpoint, body: "{}")
      #expect(!json.hasPrefix("HTTP/1.1 200 ") && !json.contains("members"))
    }
  }

  @Test(
    "a client that pings too often is told so and disconnected; so is one that is silent, and one that answers stays")
  func keepalive() async throws {
    let directory = try ScratchDirectory()
    let (client, peer) = (port(), port())
    let arguments = [
      "--name", "a", "--data-dir", directory("a"), "--listen-client-urls", "http://127.0.0.1:\(client)",
      "--listen-peer-urls", "http://127.0.0.1:\(peer)", "--grpc-keepalive-min-time", "1h",
      "--grpc-keepalive-interval", "500ms", "--grpc-keepalive-timeout", "500ms",
    ]
    try await withNode(arguments) { _ in
      let pings = [[UInt8]](repeating: [0, 0, 8, 6, 0, 0, 0, 0, 0] + [UInt8](repeating: 7, count: 8), count: 5)
      #expect(try await untilClosed(client, sending: pings.flatMap { $0 }).contains("too_many_pings"))
      #expect(try await !untilClosed(client, sending: []).contains("too_many_pings"))
      // NIO's own client answers the node's pings.
      try await withConnection("127.0.0.1:\(client)") { connection in
        let heard = FirstAnswer()
        let stream = connection.openStream(RPCPath.Watch.watch, handler: heard)
        var request = Etcdserverpb_WatchRequest()
        request.createRequest.key = Data("key".utf8)
        try stream.send(request)
        #expect(await heard.next() == nil)
        // Two others are silent for longer than this one has to answer for.
        for _ in 0..<2 { _ = try await untilClosed(client, sending: []) }
        var put = Etcdserverpb_PutRequest()
        put.key = Data("key".utf8)
        _ = try await connection.unary(RPCPath.KV.put, put, as: Etcdserverpb_PutResponse.self)
        #expect(await heard.next() == nil)
        stream.cancel()
      }
    }
  }

  /// What an HTTP/2 client hears that sends its preface, settings, these bytes, and nothing more.
  private func untilClosed(_ port: Int, sending bytes: [UInt8]) async throws -> String {
    let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .connect(host: "127.0.0.1", port: port) { channel in
        channel.eventLoop.makeCompletedFuture {
          try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
        }
      }
    return try await channel.executeThenClose { inbound, outbound in
      var first = ByteBuffer(string: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
      first.writeBytes([0, 0, 0, 4, 0, 0, 0, 0, 0] + bytes)
      try await outbound.write(first)
      var answer = ByteBuffer()
      for try await var piece in inbound { answer.writeBuffer(&piece) }
      return String(buffer: answer)
    }
  }

  /// What a stream does next: nil for an answer, or with what it ends.
  private final class FirstAnswer: ClientStreamHandler {
    private let ends: AsyncStream<RPCStatus?>
    private let feed: AsyncStream<RPCStatus?>.Continuation

    init() { (ends, feed) = AsyncStream.makeStream() }

    func received(_ message: ByteBuffer) { feed.yield(nil) }
    func closed(_ status: RPCStatus) { feed.yield(status) }

    func next() async -> RPCStatus? {
      var iterator = ends.makeAsyncIterator()
      return await iterator.next() ?? nil
    }
  }

  @Test("metrics have the names by which etcd's alert rules and dashboards look", .enabled(if: Clients.etcdctl != nil))
  func metrics() async throws {
    let directory = try ScratchDirectory()
    let (client, peer) = (port(), port())
    let endpoint = "127.0.0.1:\(client)"
    let arguments = [
      "--name", "a", "--data-dir", directory("a"), "--wal-dir", directory("wal"), "--listen-client-urls",
      "http://\(endpoint)", "--listen-peer-urls", "http://127.0.0.1:\(peer)",
    ]
    try await withNode(arguments) { _ in
      #expect(FileManager.default.fileExists(atPath: directory("wal")))
      #expect(!FileManager.default.fileExists(atPath: directory("a") + "/log"))
      let etcdctl = Etcdctl(endpoints: endpoint)
      for step in 0..<5 { _ = try await etcdctl.output("put", "key\(step)", "value") }
      _ = try await etcdctl.run("lease", "revoke", "1234")
      let text = try await HTTPText.get("/metrics", at: endpoint)
      for line in [
        "etcd_server_has_leader 1", "etcd_server_is_leader 1", "etcd_server_leader_changes_seen_total 1",
        "etcd_debugging_mvcc_keys_total 5", "etcd_server_quota_backend_bytes 2147483648",
        "etcd_server_proposals_failed_total 0",
        #"grpc_server_started_total{grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"} 5"#,
        #"grpc_server_handled_total{grpc_code="OK",grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"} 5"#,
        #"grpc_server_handled_total{grpc_code="NotFound",grpc_method="LeaseRevoke",grpc_service="etcdserverpb.Lease",grpc_type="unary"} 1"#,
        #"grpc_server_started_total{grpc_method="Watch",grpc_service="etcdserverpb.Watch",grpc_type="bidi_stream"} 0"#,
        "# TYPE etcd_disk_wal_fsync_duration_seconds histogram",
      ] { #expect(text.contains("\n\(line)\n"), "\(line)") }
      for name in [
        "etcd_disk_wal_fsync_duration_seconds_count", "etcd_network_client_grpc_received_bytes_total",
        "etcd_network_client_grpc_sent_bytes_total", "etcd_mvcc_db_total_size_in_use_in_bytes",
        "process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds", "process_cpu_seconds_total",
      ] { #expect(value(of: name, in: text) > 0, "\(name)") }
      let started = value(of: "process_start_time_seconds", in: text)
      #expect(abs(Date().timeIntervalSince1970 - started) < 600)
      #expect(value(of: "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"+Inf\"}", in: text) >= 5)
    }
  }

  private func value(of name: String, in text: String) -> Double {
    let line = text.split(separator: "\n").first { $0.hasPrefix(name + " ") }
    return line.flatMap { Double($0.dropFirst(name.count + 1)) } ?? -1
  }

  @Test("health tells a node that has lost its leader from one that still answers", .timeLimit(.minutes(2)))
  func health() async throws {
    let nodes = try Nodes()
    try await nodes.found("a", "b", "c")
    for name in ["b", "c"] { await nodes.kill(name) }
    try await nodes.wait(for: "etcd_server_has_leader", of: "a") { $0 == 0 }
    let lost = try await HTTPText.get("/health", at: nodes.client("a"))
    #expect(lost.hasPrefix("HTTP/1.1 503 ") && lost.hasSuffix(#"{"health":"false","reason":"RAFT NO LEADER"}"#))
    let local = try await HTTPText.get("/health?serializable=true", at: nodes.client("a"))
    #expect(local.hasPrefix("HTTP/1.1 200 ") && local.hasSuffix(#"{"health":"true","reason":""}"#))
    #expect(try await HTTPText.request("PUT", "/health", at: nodes.client("a")).hasPrefix("HTTP/1.1 405 "))
    await nodes.stop()
  }

  @Test("the log goes where it is sent, and a bad place is told before anything is started")
  func logOutputs() async throws {
    let directory = try ScratchDirectory()
    let (client, peer) = (port(), port())
    let arguments = [
      "--name", "a", "--data-dir", directory("a"), "--listen-client-urls", "http://127.0.0.1:\(client)",
      "--listen-peer-urls", "http://127.0.0.1:\(peer)", "--log-level", "info",
    ]
    try await withNode(arguments + ["--log-outputs", directory("node.log")]) { program in
      let log = try String(contentsOf: URL(fileURLWithPath: directory("node.log")), encoding: .utf8)
      #expect(log.contains("leadership") && !program.errors.contains("leadership"))
    }
    try await withNode(arguments + ["--log-outputs=stdout"]) { program in
      #expect(program.output.contains("leadership") && !program.errors.contains("leadership"))
    }
    for wrong in ["/nonexistent/x.log", "stderr,/tmp/x"] {
      let outcome = try await Program.run(["core"] + arguments + ["--log-outputs", wrong])
      #expect(outcome.exitCode == 64 && outcome.errors.contains("--log-outputs"), "\(outcome.errors)")
    }
  }
}
