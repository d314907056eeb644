// Certificates that nodes make for themselves, and settings that contradict each other.

import Foundation
import Testing

@Suite("Automatic TLS, and wrong settings of TLS", .serialized, .timeLimit(.minutes(5)))
struct AutoTLSTests {
  private func permissions(_ path: String) throws -> Int {
    try #require(FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int)
  }

  @Test("two nodes with certificates of their own talk to each other and to clients, and keep them")
  func automatic() async throws {
    let directory = try ScratchDirectory()
    let ports = Ports.free(4)
    let cluster = "a=https://127.0.0.1:\(ports[2]),b=https://127.0.0.1:\(ports[3])"
    func launch(_ name: String, _ number: Int) throws -> RunningProgram {
      try RunningProgram([
        "core", "--name", name, "--data-dir", directory(name), "--listen-client-urls",
        "https://127.0.0.1:\(ports[number])", "--listen-peer-urls", "https://127.0.0.1:\(ports[2 + number])",
        "--initial-cluster", cluster, "--auto-tls", "--peer-auto-tls", "--self-signed-cert-validity", "2",
      ])
    }
    let (a, b) = (try launch("a", 0), try launch("b", 1))
    try await a.waitForOutput("is ready on https://")
    try await b.waitForOutput("is ready on https://")
    let fixtures = directory("a") + "/fixtures/"
    for kind in ["client", "peer"] {
      for file in ["cert.pem", "key.pem"] { #expect(try permissions(fixtures + kind + "/" + file) == 0o600) }
    }
    let certificate = fixtures + "client/cert.pem"
    let listed = try await Program.run(
      ["member", "list", "--endpoints", "https://localhost:\(ports[0])", "--cacert", certificate])
    #expect(listed.exitCode == 0 && listed.output.contains("https://127.0.0.1:\(ports[3])"), "\(listed.errors)")
    // The certificate of a is not the one of b.
    let other = try await Program.run(
      ["member", "list", "--endpoints", "https://127.0.0.1:\(ports[1])", "--cacert", certificate])
    #expect(other.exitCode == 69 && other.errors.contains("is not signed by an authority"), "\(other.errors)")
    let any = try await Program.run(
      ["member", "list", "--endpoints", "https://127.0.0.1:\(ports[1])", "--insecure-skip-tls-verify"])
    #expect(any.exitCode == 0, "\(any.errors)")
    let before = try Data(contentsOf: URL(fileURLWithPath: certificate))
    a.send(SIGTERM)
    #expect(await a.exitCode() == 0)
    let again = try launch("a", 0)
    try await again.waitForOutput("is ready")
    #expect(try Data(contentsOf: URL(fileURLWithPath: certificate)) == before)
    for program in [again, b] { program.send(SIGTERM) }
    for program in [again, b] { _ = await program.exitCode() }
  }

  @Test("serve speaks TLS with its core's clients")
  func serve() async throws {
    let directory = try ScratchDirectory()
    let ports = Ports.free(2)
    let program = try RunningProgram([
      "serve", "--data-dir", directory("data"), "--listen-client", "https://127.0.0.1:\(ports[0])",
      "--listen-gateway", "127.0.0.1:\(ports[1])", "--auto-tls",
    ])
    try await program.waitForOutput("Ctrl-C stops it.")
    #expect(program.output.contains("core      https://127.0.0.1:\(ports[0]) "))
    let tour = try await Program.run([
      "tour", "--endpoints", "https://127.0.0.1:\(ports[0])", "--gateway", "127.0.0.1:\(ports[1])",
      "--cacert", directory("data") + "/core/fixtures/client/cert.pem",
    ])
    #expect(tour.exitCode == 0, "\(tour.output) \(tour.errors)")
    program.send(SIGTERM)
    _ = await program.exitCode()
  }

  @Test("settings that contradict each other are refused with what to do")
  func contradictions() async throws {
    let directory = try ScratchDirectory()
    let ports = Ports.free(2)
    let (http, https) = ("http://127.0.0.1:\(ports[0])", "https://127.0.0.1:\(ports[0])")
    let (peer, securePeer) = ("http://127.0.0.1:\(ports[1])", "https://127.0.0.1:\(ports[1])")
    for (arguments, words) in [
      (["--listen-client-urls", https], "which needs --cert-file and --key-file, or --auto-tls"),
      (["--listen-client-urls", http, "--cert-file", "a", "--key-file", "b"], "is http://, and TLS was asked for"),
      (["--listen-client-urls", http, "--auto-tls"], "is http://, and TLS was asked for"),
      (["--listen-client-urls", https, "--auto-tls", "--client-cert-auth"], "needs --trusted-ca-file"),
      (["--listen-client-urls", https, "--cert-file", "a"], "which needs --cert-file and --key-file"),
      (["--listen-peer-urls", securePeer], "which needs --peer-cert-file and --peer-key-file"),
      (
        ["--listen-peer-urls", securePeer, "--peer-auto-tls", "--initial-cluster", "default=\(peer)"],
        "https:// both, or"
      ),
      (["--listen-peer-urls", peer, "--initial-cluster", "default=\(securePeer)"], "https:// both, or http:// both"),
      (["--listen-client-urls", https, "--auto-tls", "--tls-min-version", "TLS1.1"], "is TLS1.2 or TLS1.3, not"),
      (["--listen-client-urls", https, "--auto-tls", "--cipher-suites", "X"], "no suite is called \"X\""),
      (["--client-crl-file", "x"], "lists of revoked certificates are not looked at"),
    ] {
      let outcome = try await Program.run(["core", "--data-dir", directory("data")] + arguments)
      #expect(outcome.exitCode == 64 && outcome.errors.contains(words), "\(arguments): \(outcome.errors)")
    }
    let absent = try await Program.run([
      "core", "--data-dir", directory("data"), "--listen-client-urls", https, "--listen-peer-urls", peer,
      "--cert-file", "/absent.pem", "--key-file", "/absent.key",
    ])
    #expect(absent.exitCode == 1)
    #expect(absent.errors.contains("the certificate /absent.pem: No such file or directory"), "\(absent.errors)")
  }

  @Test("a node in plain text and one with TLS do not talk, and both say why")
  func mixed() async throws {
    let directory = try ScratchDirectory()
    let ports = Ports.free(4)
    func launch(_ name: String, _ number: Int, _ scheme: String, _ extra: [String]) throws -> RunningProgram {
      let cluster = "a=\(scheme)://127.0.0.1:\(ports[2]),b=\(scheme)://127.0.0.1:\(ports[3])"
      return try RunningProgram(
        [
          "core", "--name", name, "--data-dir", directory(name), "--listen-client-urls",
          "http://127.0.0.1:\(ports[number])", "--listen-peer-urls", "\(scheme)://127.0.0.1:\(ports[2 + number])",
          "--initial-cluster", cluster,
        ] + extra)
    }
    let (a, b) = (try launch("a", 0, "http", []), try launch("b", 1, "https", ["--peer-auto-tls"]))
    try await a.waitForErrors("the other end speaks TLS, and this node talks to its peers in plain text")
    try await b.waitForErrors("a connection in plain text to a port that speaks TLS")
    try await b.waitForErrors("a peer is not talked to")
    for program in [a, b] { program.send(SIGTERM) }
    for program in [a, b] { _ = await program.exitCode() }
  }
}
