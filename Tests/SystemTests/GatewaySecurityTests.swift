// The gateway's port as an operator protects it: TLS, certificates of clients, and what is refused at the start.

import Foundation
import Glibc
import Testing

@Suite("The gateway's port", .serialized, .timeLimit(.minutes(3)))
struct GatewaySecurityTests {
  /// `serve` with TLS on the gateway's port and a database that takes writes without a token.
  private struct Secure {
    let files: TestFiles
    let authority: TestAuthority
    let serving: Serving
    let url: String
    let directory: ScratchDirectory

    init(_ extra: [String] = []) async throws {
      directory = try ScratchDirectory()
      files = try TestFiles()
      authority = try TestAuthority()
      try files.write(authority.pem, "ca.pem")
      let served = try files.write(authority.issue("gateway"), "gateway")
      _ = try files.write(authority.issue("client"), "client")
      url = "https://127.0.0.1:\(Ports.free(1)[0])"
      let authorities = files.path + "/ca.pem"
      serving = try await Serving.start(
        directory("data"), databases: ["notes": directory("notes.db")],
        extra: [
          "--listen-gateway", url, "--gateway-cert-file", served.certificate, "--gateway-key-file", served.key,
          "--open", "notes", "--log-level", "info",
        ] + extra.map { $0 == "CA" ? authorities : $0 })
    }

    func file(_ name: String) -> String { files.path + "/" + name }

    func curl(_ target: String, _ arguments: String...) async throws -> CurlAnswer {
      try await Curl.run(["--cacert", file("ca.pem"), url + target] + arguments)
    }
  }

  @Test("it speaks TLS with curl and with our own commands, and tells those without it so", .enabled(if: Curl.isThere))
  func tls() async throws {
    let secure = try await Secure()
    let write = try await secure.curl("/db/execute", "-d", #"["CREATE TABLE t(a)"]"#)
    #expect(write.status == 200, "\(write)")
    #expect(try await secure.curl("/nodes").body.contains("\"api_addr\":\"https://"))
    let plain = try await Curl.run(["http" + secure.url.dropFirst(5) + "/status"])
    #expect(plain.status == 400 && plain.body.contains("use https://"), "\(plain)")
    let stranger = try await Curl.run([secure.url + "/status"])
    #expect(stranger.exitCode == 60, "\(stranger)")
    let environment = [
      "PORTCULLIS_ENDPOINTS": secure.serving.core, "PORTCULLIS_GATEWAY": secure.url,
      "PORTCULLIS_CACERT": secure.file("ca.pem"),
    ]
    let held = try await Program.run(
      ["acquire", "notes", "--", Program.path, "sql", "notes", "INSERT INTO t VALUES(1)"], environment: environment)
    #expect(held.exitCode == 0 && held.output.contains("\"rows_affected\":1"), "\(held)")
    let tour = try await Program.run(["tour", "--scope", "notes", "--ttl", "1s"], environment: environment)
    #expect(tour.exitCode == 0, "\(tour)")
    await secure.serving.stop()
  }

  @Test("with required certificates nobody comes in without one of the authority's", .enabled(if: Curl.isThere))
  func requiredCertificates() async throws {
    let secure = try await Secure(["--gateway-trusted-ca-file", "CA"])
    #expect(try await secure.curl("/status").status == 0)
    let other = try TestAuthority("another authority")
    let forged = try secure.files.write(other.issue("client"), "forged")
    let refused = try await secure.curl("/status", "--cert", forged.certificate, "--key", forged.key)
    #expect(refused.status == 0, "\(refused)")
    let known = try await secure.curl(
      "/status", "--cert", secure.file("client.pem"), "--key", secure.file("client.key"))
    #expect(known.status == 200, "\(known)")
    try await secure.serving.program.waitForErrors("presented no certificate")
    await secure.serving.stop()
  }

  @Test(
    "with optional certificates one may be left out, and one that is presented must be good", .enabled(if: Curl.isThere)
  )
  func optionalCertificates() async throws {
    let secure = try await Secure(["--gateway-trusted-ca-file", "CA", "--gateway-client-certs", "optional"])
    #expect(try await secure.curl("/status").status == 200)
    let other = try TestAuthority("another authority")
    let forged = try secure.files.write(other.issue("client"), "forged")
    let refused = try await secure.curl("/status", "--cert", forged.certificate, "--key", forged.key)
    #expect(refused.status == 0, "\(refused)")
    let known = try await secure.curl(
      "/status", "--cert", secure.file("client.pem"), "--key", secure.file("client.key"))
    #expect(known.status == 200, "\(known)")
    await secure.serving.stop()
  }

  @Test(
    "a renewed certificate is used without a restart, and a broken file leaves the old one", .enabled(if: Curl.isThere))
  func renewal() async throws {
    let secure = try await Secure()
    #expect(try await secure.curl("/status").status == 200)
    try secure.files.write("no certificate\n", "gateway.pem")
    while !secure.serving.program.errors.contains("changed certificates are not used") {
      #expect(try await secure.curl("/status").status == 200)
    }
    let next = try TestAuthority("the next authority")
    try secure.files.write(next.pem, "next.pem")
    _ = try secure.files.write(next.issue("gateway"), "gateway")
    while try await Curl.run(["--cacert", secure.file("next.pem"), secure.url + "/status"]).status != 200 {
      try Task.checkCancellation()
    }
    #expect(try await secure.curl("/status").exitCode == 60)
    await secure.serving.stop()
  }

  @Test("tokens in plain text beyond loopback, and flags that fit nothing, are refused with the reason")
  func refusedStarts() async throws {
    let directory = try ScratchDirectory()
    let files = try TestFiles()
    let authority = try TestAuthority()
    let one = try files.write(authority.issue("one"), "one")
    let two = try files.write(authority.issue("two"), "two")
    let secure = ["--listen-gateway", "https://127.0.0.1:\(Ports.free(1)[0])"]
    for (flags, code, reason) in [
      (["--listen-gateway", "0.0.0.0:4001"], 64, "--allow-plain-http"),
      (["--listen-gateway", "10.1.2.3:4001"], 64, "take tokens in plain text on 10.1.2.3"),
      (["--listen-gateway", ":4001"], 64, "take tokens in plain text on 0.0.0.0"),
      (secure, 64, "needs --gateway-cert-file and --gateway-key-file"),
      (secure + ["--allow-plain-http"], 64, "exclude each other"),
      (["--gateway-cert-file", one.certificate, "--gateway-key-file", one.key], 64, "write https://"),
      (["--gateway-client-certs", "required"], 64, "needs --gateway-trusted-ca-file"),
      (secure + ["--gateway-cert-file", one.certificate, "--gateway-key-file", two.key], 1, "does not belong to"),
      (secure + ["--gateway-cert-file", one.certificate, "--gateway-key-file", files.path + "/none"], 1, "none"),
      (["--max-body-bytes", "3"], 64, "--max-body-bytes is from"),
    ] {
      let outcome = try await Program.run(
        ["gateway", "--endpoints", "127.0.0.1:1", "--database", "notes=\(directory("notes.db"))"] + flags)
      #expect(outcome.exitCode == code, "\(flags): \(outcome)")
      #expect(outcome.errors.contains(reason), "\(flags): \(outcome.errors)")
    }
  }

  @Test("a word allows plain text beyond loopback", .enabled(if: Curl.isThere))
  func plainByWord() async throws {
    let directory = try ScratchDirectory()
    let port = Ports.free(1)[0]
    let serving = try await Serving.start(
      directory("data"), extra: ["--listen-gateway", "0.0.0.0:\(port)", "--allow-plain-http"])
    #expect(try await Curl.run(["http://127.0.0.1:\(port)/status"]).status == 200)
    await serving.stop()
  }

  @Test("no answer names a path of the machine, whatever is wrong", .enabled(if: Curl.isThere))
  func noPaths() async throws {
    let directory = try ScratchDirectory()
    let files = try TestFiles()
    let databases = [
      "notes": directory("notes.db"), "broken": directory("broken.db"), "gone": directory("sub/gone.db"),
    ]
    try FileManager.default.createDirectory(atPath: directory("sub"), withIntermediateDirectories: true)
    // The keys cannot be had for want of a file, and a file that is no database is found out when it is asked for.
    let extra = ["--cacert", try files.write(TestAuthority().pem, "ca.pem"), "--open", "broken", "--open", "gone"]
    let gateway = try await GatewayAlone.start("https://127.0.0.1:1", databases: databases, extra: extra)
    try FileManager.default.removeItem(atPath: files.path + "/ca.pem")
    let token = "eyJhbGciOiJFZERTQSIsImtpZCI6ImEifQ.e30.AAAA"
    let garbage = try files.write("SQLite format 3\0 and no more", "garbage")
    for (target, arguments) in [
      ("/db/notes/execute", ["-H", "Fencing-Token: \(token)", "-d", #"["SELECT 1"]"#]),
      ("/db/none/execute", ["-d", #"["SELECT 1"]"#]), ("/db/notes/execute", ["-d", "no json"]),
      ("/db/broken/execute", ["-d", #"["ATTACH '/etc/passwd' AS x"]"#]),
      ("/db/broken/execute", ["-d", #"["SELECT readfile('/etc/passwd')"]"#]),
      ("/db/broken/execute", ["-d", #"["VACUUM INTO '/proc/none/x'"]"#]),
      ("/db/broken/load", ["--data-binary", "@\(garbage)"]), ("/db/broken/load", ["-d", "no sql"]),
      ("/db/gone/backup?fmt=x", []), ("/status", []), ("/metrics", []), ("/none", []),
    ] {
      let answer = try await Curl.run(["http://\(gateway.address)\(target)"] + arguments)
      #expect(answer.status > 0 && !answer.body.contains(directory.path), "\(target): \(answer)")
      #expect(!answer.body.contains(files.path), "\(target): \(answer)")
      #expect(!answer.body.contains("127.0.0.1"), "\(target): \(answer)")
    }
    // What happens to the file itself.
    try FileManager.default.removeItem(atPath: directory("sub"))
    for target in ["/db/gone/backup", "/db/gone/load"] {
      let answer = try await Curl.run(
        ["http://\(gateway.address)\(target)"] + (target.hasSuffix("load") ? ["-d", "SELECT 1;"] : []))
      #expect(answer.status >= 500 && !answer.body.contains(directory.path), "\(target): \(answer)")
    }
    await gateway.stop()
  }
}
