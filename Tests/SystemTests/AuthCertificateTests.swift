// Users who come by certificate: its common name is who they are, where they show no token.

import Foundation
import Testing

@Suite(
  "users by certificate", .enabled(if: Clients.etcdctl != nil, "etcdctl (Debian: etcd-client) is not there"),
  .serialized, .timeLimit(.minutes(5)))
struct AuthCertificateTests {
  @Test("a certificate's common name is the user, a token goes before it, and it counts for nothing over JSON")
  func commonName() async throws {
    let nodes = try SecureNodes("a", "b", "c")
    try await nodes.start()
    let root = nodes.etcdctl
    _ = try nodes.files.write(nodes.authority.issue("ann"), "ann")
    let ann = Etcdctl(
      endpoints: nodes.endpoints,
      extraEnvironment: [
        "ETCDCTL_CACERT": nodes.file("ca.pem"), "ETCDCTL_CERT": nodes.file("ann.pem"),
        "ETCDCTL_KEY": nodes.file("ann.key"),
      ])
    for user in ["root", "ann"] {
      #expect(try await root.output("user", "add", user, "--no-password") == "User \(user) created")
    }
    _ = try await root.output("user", "add", "bob:secret")
    _ = try await root.output("role", "add", "fruit")
    _ = try await root.output("role", "grant-permission", "fruit", "readwrite", "--prefix", "fruit/")
    _ = try await root.output("user", "grant-role", "ann", "fruit")
    #expect(try await root.output("auth", "enable") == "Authentication Enabled")

    #expect(try await root.output("user", "list") == "ann\nbob\nroot")
    #expect(try await ann.output("put", "fruit/a", "1") == "OK")
    #expect(try await ann.output("get", "fruit/a") == "fruit/a\n1")
    #expect(try await ann.run("put", "other", "1").errors.contains("etcdserver: permission denied"))
    #expect(try await ann.run("user", "list").errors.contains("etcdserver: permission denied"))
    // Root's certificate, and bob's token.
    #expect(try await root.run("--user=bob:secret", "get", "fruit/a").errors.contains("etcdserver: permission denied"))
    let password = try await ann.run("--user=ann", "--password=guess", "get", "fruit/a")
    #expect(password.exitCode != 0 && password.errors.contains("password was given for no password user"))
    await nodes.stop()
  }

  @Test(
    "over JSON a certificate is nobody's name",
    .enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/curl"), "curl is not there"))
  func json() async throws {
    let nodes = try SecureNodes("a")
    try await nodes.start()
    _ = try await nodes.etcdctl.output("user", "add", "root:secret")
    _ = try await nodes.etcdctl.output("auth", "enable")
    let url = nodes.url("a")
    for version in ["--http1.1", "--http2"] {
      let denied = try await nodes.curl(version, "-d", #"{"key":"Zm9v"}"#, url + "/v3/kv/range")
      #expect(denied.output.contains("etcdserver: user name is empty"), "\(denied.output) \(denied.errors)")
      let login = try await nodes.curl(
        version, "-d", #"{"name":"root","password":"secret"}"#, url + "/v3/auth/authenticate")
      let answer = try JSONSerialization.jsonObject(with: Data(login.output.utf8)) as? [String: Any]
      let token = try #require(answer?["token"] as? String)
      let found = try await nodes.curl(
        version, "-H", "Authorization: Bearer \(token)", "-d", #"{"key":"Zm9v"}"#, url + "/v3/kv/range")
      #expect(found.output.contains("\"header\"") && !found.output.contains("error"), "\(found.output)")
    }
    await nodes.stop()
  }
}
