// etcd's configuration file.

import Commands
import Foundation
import Testing

@Suite("etcd's configuration file")
struct ConfigFileTests {
  /// Calls `body` with the path of a file that holds `text`.
  private func withFile<T>(_ text: String, _ body: (String) throws -> T) throws -> T {
    let path = NSTemporaryDirectory() + "/portcullis-config-\(UUID().uuidString).yaml"
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    defer { try? FileManager.default.removeItem(atPath: path) }
    return try body(path)
  }

  private func flags(
    _ text: String, _ more: [String] = [], environment: [String: String] = [:]
  ) throws -> EtcdFlags {
    try withFile(text) { try EtcdFlags(arguments: ["--config-file", $0] + more, environment: environment) }
  }

  private func failure(of text: String) throws -> String {
    try withFile(text) { path in
      let failure = #expect(throws: CommandFailure.self) {
        try EtcdFlags(arguments: ["--config-file=\(path)"], environment: [:])
      }
      #expect(failure?.exitCode == ExitCode.usage)
      return failure?.description.replacing(path, with: "FILE") ?? ""
    }
  }

  @Test("keys are flags, with values of every kind")
  func values() throws {
    let flags = try flags(
      """
      # a comment
      name: 'a node'
      snapshot-count: 500
      strict-reconfig-check: false
      force-new-cluster: true
      listen-client-urls: http://127.0.0.1:2379,http://[::1]:2379
      initial-cluster:
        - a=http://h:1
        - b=http://h:2
      grpc-keepalive-interval: 30s
      grpc-keepalive-timeout: 20000000000
      auto-compaction-retention: 1
      quota-backend-bytes: 8589934592
      wal-dir:
      log-outputs: [stderr]
      """)
    #expect(
      Set(flags.arguments) == [
        "--name=a node", "--snapshot-count=500", "--strict-reconfig-check=false", "--force-new-cluster",
        "--listen-client-urls=http://127.0.0.1:2379,http://[::1]:2379", "--initial-cluster=a=http://h:1,b=http://h:2",
        "--grpc-keepalive-interval=30s", "--grpc-keepalive-timeout=20000000000ns", "--auto-compaction-retention=1",
        "--quota-backend-bytes=8589934592", "--log-outputs=stderr",
      ])
    #expect(flags.notices.isEmpty)
  }

  @Test("beside it no flag and no variable counts, as with etcd, and it is said which were there")
  func alone() throws {
    let flags = try flags(
      "name: file", ["--name", "flag", "--data-dir=x"], environment: ["ETCD_NAME": "variable", "ETCD_DEBUG": "true"])
    #expect(flags.arguments == ["--name=file"])
    #expect(flags.notices.count == 1)
    #expect(flags.notices[0].hasSuffix("not looked at: --name, --data-dir, ETCD_DEBUG"))
  }

  @Test("it may be named in the environment; a flag wins")
  func environment() throws {
    try withFile("name: one") { one in
      try withFile("name: two") { two in
        #expect(try EtcdFlags(arguments: [], environment: ["ETCD_CONFIG_FILE": one]).arguments == ["--name=one"])
        let both = try EtcdFlags(arguments: ["--config-file", two], environment: ["ETCD_CONFIG_FILE": one])
        #expect(both.arguments == ["--name=two"])
      }
    }
    #expect(try EtcdFlags(arguments: ["--name=x"], environment: ["ETCD_CONFIG_FILE": ""]).arguments == ["--name=x"])
  }

  @Test("an empty file is one without settings", arguments: ["", "# nothing\n", "---\n"])
  func empty(text: String) throws {
    #expect(try flags(text).arguments.isEmpty)
  }

  @Test(
    "what is wrong is told with its line, and the nearest key",
    arguments: [
      ("name: a\nsnapshot-counts: 5", "FILE, line 2: there is no key snapshot-counts; did you mean snapshot-count?"),
      ("\nzzzzzzzzzzzz: 5", "FILE, line 2: there is no key zzzzzzzzzzzz"),
      ("name: 5", "FILE, line 1: name is a text, not 5 (in quotes, if that is meant: \"5\")"),
      ("snapshot-count: many", "FILE, line 1: snapshot-count is a number, not many"),
      ("a: 1\nname: x", "FILE, line 1: there is no key a"),
      ("name: x\npre-vote: 'true'", "FILE, line 2: pre-vote is true or false, not \"true\""),
      ("name: [a, b]", "FILE, line 1: name is a text, not a list"),
      ("name:\n  x: y", "FILE, line 2: name is a text, not a block"),
      ("- name", "FILE, line 1: a configuration file is a mapping: lines of the form \"name: value\""),
      ("config-file: x", "FILE, line 1: a configuration file cannot name another one"),
      (
        "client-transport-security:\n  cert-fil: x",
        "FILE, line 2: there is no key cert-fil in this block; did you mean cert-file?"
      ),
      ("client-transport-security: x", "FILE, line 1: client-transport-security is a block of settings"),
      ("grpc-keepalive-interval: true", "FILE, line 1: grpc-keepalive-interval is a length of time such as 10s, or a"),
    ])
  func wrong(text: String, problem: String) throws {
    let failure = try failure(of: text)
    #expect(failure.hasPrefix(problem), "\(failure)")
  }

  @Test("a file that is no YAML, has a key twice, or is not there is told as such")
  func unreadable() throws {
    #expect(try failure(of: "name: [a").hasPrefix("FILE: line "))
    #expect(try failure(of: "name: a\nname: b").contains("name is there twice"))
    let missing = #expect(throws: CommandFailure.self) {
      try EtcdFlags(arguments: ["--config-file=/nonexistent/x"], environment: [:])
    }
    #expect(missing?.description.hasPrefix("the configuration file /nonexistent/x cannot be read: ") == true)
  }

  @Test(
    "the blocks of TLS and of sockets are groups of flags; what is refused as a flag is refused here, with its line")
  func blocks() throws {
    let failure = try failure(of: "name: a\nclient-transport-security:\n  cert-file: a.pem\n  crl-file: a.crl\n")
    #expect(failure.hasPrefix("FILE, line 4: crl-file is not there yet: "))
    let flags = try flags(
      """
      client-transport-security:
        cert-file: a.pem
        key-file: a.key
        trusted-ca-file:
        client-cert-auth: true
        auto-tls: false
      peer-transport-security:
        allowed-cn: member
      socket-options:
        reuse-port: true
      """)
    #expect(
      flags.arguments == [
        "--cert-file=a.pem", "--key-file=a.key", "--client-cert-auth", "--peer-cert-allowed-cn=member",
        "--socket-reuse-port",
      ])
  }

  @Test("the example that is shipped can be read")
  func example() throws {
    let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appendingPathComponent("deploy/portcullis.yaml.example").path
    let flags = try EtcdFlags(arguments: ["--config-file", path], environment: [:])
    #expect(flags.notices.isEmpty && flags.arguments.contains("--name=a"))
  }
}
