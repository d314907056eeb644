// TLS as an operator sets it up: real nodes, files and other people's clients.

import Client
import Foundation
import Synchronization
import Testing

@Suite("Nodes with TLS", .serialized, .timeLimit(.minutes(5)))
struct TLSTests {
  private static let hasCurl = FileManager.default.isExecutableFile(atPath: "/usr/bin/curl")

  @Test(
    "three nodes with certificates on both ports serve etcdctl, and nobody without a certificate",
    .enabled(if: Clients.etcdctl != nil, "etcdctl (Debian: etcd-client) is not there"))
  func etcdctl() async throws {
    let nodes = try SecureNodes("a", "b", "c")
    try await nodes.start()
    let etcdctl = nodes.etcdctl
    #expect(try await etcdctl.output("put", "door", "closed") == "OK")
    #expect(try await etcdctl.output("get", "door") == "door\nclosed")
    let health = try await etcdctl.run("endpoint", "health")
    #expect(health.exitCode == 0, "\(health.errors)")
    let members = try await etcdctl.output("member", "list")
    for name in nodes.names { #expect(members.contains("\(nodes.peerURL(name)), \(nodes.url(name))"), "\(members)") }
    let watcher = try etcdctl.start("watch", "door")
    while try await etcdctl.run("put", "door", "open").exitCode == 0, !watcher.output.contains("open") {}
    watcher.send(SIGINT)
    _ = await watcher.exitCode()

    let stranger = Etcdctl(endpoints: nodes.endpoints, extraEnvironment: ["ETCDCTL_CACERT": nodes.file("ca.pem")])
    #expect(try await stranger.run("--dial-timeout=2s", "--command-timeout=2s", "get", "door").exitCode != 0)
    await nodes.stop()
  }

  @Test("curl gets health, metrics and JSON over both versions of HTTP", .enabled(if: hasCurl, "curl is not there"))
  func curl() async throws {
    let nodes = try SecureNodes("a")
    try await nodes.start()
    let url = nodes.url("a")
    for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
      let health = try await nodes.curl(flag, "-w", " %{http_version} %{http_code}", url + "/health")
      #expect(health.output == #"{"health":"true","reason":""} \#(version) 200"#, "\(health.errors)")
      let metrics = try await nodes.curl(flag, url + "/metrics")
      #expect(metrics.output.contains("etcd_server_has_leader 1"), "\(metrics.output.prefix(200))")
      let absent = try await nodes.curl(flag, "-o", "/dev/null", "-w", "%{http_code}", url + "/absent")
      #expect(absent.output == "404")
      let put = try await nodes.curl(flag, "-d", #"{"key":"Zm9v","value":"YmFy"}"#, url + "/v3/kv/put")
      #expect(put.output.contains("\"revision\""), "\(put.output) \(put.errors)")
      // Larger than one frame and than a stream's first window.
      let value = String(repeating: "QUJD", count: 60_000)
      let large = try nodes.files.write(#"{"key":"bGFyZ2U=","value":"\#(value)"}"#, "large.json")
      _ = try await nodes.curl(flag, "-d", "@\(large)", url + "/v3/kv/put")
      let range = try await nodes.curl(flag, "-d", #"{"key":"bGFyZ2U="}"#, url + "/v3/kv/range")
      #expect(range.output.contains(value), "\(range.output.prefix(200)) \(range.errors)")
    }
    let stream = try RunningProgram(
      [
        "-sSN", "--http2", "--cacert", nodes.file("ca.pem"), "--cert", nodes.file("client.pem"), "--key",
        nodes.file("client.key"), "-d", #"{"create_request":{"key":"Zm9v","start_revision":"2"}}"#, url + "/v3/watch",
      ], executable: "/usr/bin/curl")
    try await stream.waitForOutput("YmFy")
    // A thread of the pool blocks the gentler signals, and what it starts inherits that.
    stream.send(SIGKILL)
    _ = await stream.exitCode()

    let plain = try await Program.run(
      ["-sS", url.replacing("https://", with: "http://") + "/health"], executable: "/usr/bin/curl")
    #expect(plain.output == "this port speaks TLS: use https://\n")
    let anonymous = try await Program.run(
      ["-sS", "--cacert", nodes.file("ca.pem"), url + "/health"], executable: "/usr/bin/curl")
    #expect(anonymous.exitCode != 0 && anonymous.output.isEmpty)
    try await nodes.programs["a"]?.waitForErrors("the client presented no certificate")
    await nodes.stop()
  }

  @Test("our own commands speak TLS, and say what is wrong when they cannot")
  func commands() async throws {
    let nodes = try SecureNodes("a", "b", "c")
    try await nodes.start()
    let listed = try await Program.run(["member", "list"], environment: nodes.environment)
    #expect(listed.exitCode == 0 && listed.output.contains(nodes.peerURL("b")), "\(listed.errors)")
    let held = try await Program.run(
      ["acquire", "scope", "--", "/bin/sh", "-c", "echo $PORTCULLIS_NUMBER $PORTCULLIS_CACERT $PORTCULLIS_ENDPOINTS"],
      environment: nodes.environment)
    #expect(held.exitCode == 0, "\(held.errors)")
    #expect(held.output.contains(" \(nodes.file("ca.pem")) \(nodes.endpoints)"), "\(held.output)")
    let saved = try await Program.run(["snapshot", "save", nodes.file("backup")], environment: nodes.environment)
    #expect(saved.exitCode == 0, "\(saved.errors)")
    let token = try await Program.run(
      ["acquire", "scope", "--", "printenv", "PORTCULLIS_TOKEN"], environment: nodes.environment)
    let keys = [
      "token", "verify", token.output.trimmingCharacters(in: .newlines), "--jwks",
      nodes.url("a") + "/.well-known/jwks.json",
    ]
    let verified = try await Program.run(keys, environment: nodes.environment)
    #expect(verified.exitCode == 0, "\(verified.errors)")
    let unknown = try await Program.run(keys)
    #expect(unknown.exitCode == 69, "its authority is nobody's that the system trusts: \(unknown)")
    let moved = try await Program.run(["move-leader", "c"], environment: nodes.environment)
    #expect(moved.exitCode == 0, "\(moved.errors)")
    let bench = try await Program.run(
      ["bench", "put", "--total", "200", "--clients", "4", "--warm-up", "0", "--endpoints", nodes.endpoints]
        + ["--cacert", nodes.file("ca.pem"), "--cert", nodes.file("client.pem"), "--key", nodes.file("client.key")])
    #expect(bench.output.contains("200"), "\(bench.errors)")

    let other = try nodes.files.write(TestAuthority("another authority").pem, "other-ca.pem")
    for (arguments, words) in [
      (["--cacert", other], "is not signed by an authority that is trusted here"),
      (["--cacert", nodes.file("ca.pem")], "asks for a client certificate"),
      (["--cacert", "/absent.pem"], "the trusted authorities /absent.pem: No such file or directory"),
    ] {
      let outcome = try await Program.run(["member", "list", "--endpoints", nodes.url("a")] + arguments)
      #expect(outcome.exitCode == 69 && outcome.errors.contains(words), "\(outcome.errors)")
    }
    let useless = try await Program.run(["member", "list", "--endpoints", "127.0.0.1:1", "--cacert", other])
    #expect(useless.exitCode == 64 && useless.errors.contains("there is none: write https://"), "\(useless.errors)")
    await nodes.stop()
  }

  @Test("a gateway takes its keys from a core that speaks TLS")
  func gateway() async throws {
    let nodes = try SecureNodes("a")
    try await nodes.start()
    let port = Ports.free(1)[0]
    let gateway = try RunningProgram(
      ["gateway", "--listen-gateway", "127.0.0.1:\(port)", "--database", "orders=\(nodes.data("orders.db"))"],
      environment: nodes.environment)
    try await gateway.waitForOutput("is ready")
    let environment = nodes.environment.merging(["PORTCULLIS_GATEWAY": "127.0.0.1:\(port)"]) { $1 }
    let written = try await Program.run(
      ["acquire", "orders", "--", Program.path, "sql", "orders", "CREATE TABLE t (x)"], environment: environment)
    #expect(written.exitCode == 0, "\(written.errors) \(written.output)")
    gateway.send(SIGTERM)
    _ = await gateway.exitCode()
    await nodes.stop()
  }

  @Test("certificates of all nodes are renewed under traffic, by another authority, without a failed call")
  func renewal() async throws {
    let nodes = try SecureNodes("a", "b", "c")
    try await nodes.start()
    let endpoints = try Endpoint.list(parsing: nodes.endpoints)
    let traffic = Traffic()
    try await withThrowingTaskGroup(of: Void.self) { group in
      let options = nodes.options
      // One goes on with its connection, the other makes a new one for each call.
      group.addTask {
        let client = Portcullis(endpoints: endpoints, tls: options)
        defer { client.close() }
        while !traffic.isOver {
          _ = try await client.keys()
          traffic.count()
        }
      }
      for endpoint in endpoints {
        group.addTask {
          while !traffic.isOver {
            let client = Portcullis(endpoints: [endpoint], tls: options)
            defer { client.close() }
            _ = try await client.keys()
            traffic.count()
          }
        }
      }
      try nodes.changeAuthority()
      // Nodes must trust the next authority before anything of it comes.
      for name in nodes.names { try await nodes.programs[name]?.waitForErrors("certificates were read anew") }
      try nodes.issue()
      var next = nodes.options
      next.trustedCAFile = nodes.file("next-ca.pem")
      for endpoint in endpoints {
        while true {
          let client = Portcullis(endpoints: [endpoint], tls: next)
          defer { client.close() }
          do {
            _ = try await client.keys()
            break
          } catch let error as ClientError where error.code == .untrusted {}
        }
      }
      traffic.end()
      try await group.waitForAll()
    }
    #expect(traffic.calls > 100)
    await nodes.stop()
  }

  @Test("a node is added and joins over TLS")
  func joining() async throws {
    let nodes = try SecureNodes("a", "b")
    try await nodes.start()
    try nodes.reserve("c")
    let added = try await Program.run(["member", "add", nodes.peerURL("c")], environment: nodes.environment)
    #expect(added.exitCode == 0 && added.output.contains(nodes.peerURL("c")), "\(added.errors)")
    try nodes.join("c", beside: "b")
    try await nodes.programs["c"]?.waitForOutput("is ready on https://")
    let promoted = try await Program.run(["member", "promote", "c"], environment: nodes.environment)
    #expect(promoted.exitCode == 0, "\(promoted.errors)")
    await nodes.stop()
  }

  @Test("peers get new certificates without a restart, and a peer of another authority stays out")
  func peers() async throws {
    let nodes = try SecureNodes("a", "b", "c")
    try await nodes.start()
    let foreign = try TestAuthority("another authority")
    try nodes.files.write(foreign.pem, "foreign-ca.pem")
    let paths = try nodes.files.write(foreign.issue("peer"), "foreign")
    // In the place of c, with c's data and address.
    nodes.programs["c"]?.send(SIGTERM)
    _ = await nodes.programs["c"]?.exitCode()
    let intruder = try RunningProgram(
      nodes.arguments("c").map {
        switch $0 {
        case nodes.file("c-peer.pem"): paths.certificate
        case nodes.file("c-peer.key"): paths.key
        default: $0
        }
      })
    try await nodes.programs["a"]?.waitForErrors("the client's certificate is not signed by an authority")
    try await intruder.waitForErrors("does not trust the authority that signed this end's certificate")
    #expect(!intruder.output.contains("is ready"))
    intruder.send(SIGTERM)
    _ = await intruder.exitCode()
    // The right certificate, but not a peer's.
    _ = try nodes.files.write(nodes.authority.issue("mallory"), "foreign")
    let stranger = try RunningProgram(
      nodes.arguments("c").map {
        switch $0 {
        case nodes.file("c-peer.pem"): paths.certificate
        case nodes.file("c-peer.key"): paths.key
        default: $0
        }
      })
    try await nodes.programs["a"]?.waitForErrors("has the common name \"mallory\", and only \"peer\" is allowed")
    #expect(!stranger.output.contains("is ready"))
    // And with its own again, by renewal of the files.
    let mended = try nodes.authority.issue("peer")
    _ = try nodes.files.write(mended, "foreign")
    try await stranger.waitForOutput("is ready")
    stranger.send(SIGTERM)
    _ = await stranger.exitCode()
    await nodes.stop()
  }
}

/// Calls that go on until they are told to end.
private final class Traffic: Sendable {
  private let state = Mutex((isOver: false, calls: 0))

  var isOver: Bool { state.withLock { $0.isOver } }
  var calls: Int { state.withLock { $0.calls } }
  func count() { state.withLock { $0.calls += 1 } }
  func end() { state.withLock { $0.isOver = true } }
}
