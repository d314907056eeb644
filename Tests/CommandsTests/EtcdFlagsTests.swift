// Command lines and environments that were written for etcd.

import Commands
import Testing

@Suite("etcd's flags and environment")
struct EtcdFlagsTests {
  private func flags(_ arguments: String..., environment: [String: String] = [:]) throws -> EtcdFlags {
    try EtcdFlags(arguments: arguments, environment: environment)
  }

  @Test("one dash or two, with a space or an equals sign, and values with equals signs in them")
  func forms() throws {
    let flags = try flags("-name", "a", "--data-dir=/x=y", "--initial-cluster", "a=http://h:1,b=http://h:2", "--help")
    #expect(
      flags.arguments == ["--name=a", "--data-dir=/x=y", "--initial-cluster=a=http://h:1,b=http://h:2", "--help"])
    #expect(flags.notices.isEmpty)
  }

  @Test(
    "a switch may have a value",
    arguments: [
      ("--force-new-cluster", true), ("--force-new-cluster=true", true), ("-force-new-cluster=1", true),
      ("--force-new-cluster=false", false), ("--force-new-cluster=0", false),
    ])
  func switches(argument: String, isOn: Bool) throws {
    #expect(try flags(argument).arguments == (isOn ? ["--force-new-cluster"] : []))
  }

  @Test("the environment counts where no flag is given, and what it does not know is told")
  func environment() throws {
    let flags = try flags(
      "--name", "flag",
      environment: [
        "ETCD_NAME": "environment", "ETCD_ELECTION_TIMEOUT": "500", "ETCD_FORCE_NEW_CLUSTER": "false",
        "ETCD_NO_SUCH_THING": "1", "PATH": "/bin", "ETCDCTL_API": "3",
      ])
    #expect(flags.arguments == ["--name=flag", "--election-timeout=500"])
    #expect(flags.notices.count == 1 && flags.notices[0].hasPrefix("ETCD_NO_SUCH_THING "))
  }

  @Test("what has no meaning here is taken with a notice, value and all")
  func meaningless() throws {
    let flags = try flags("--max-wals", "5", "--pre-vote", "--logger=zap", "--name", "a")
    #expect(flags.arguments == ["--name=a"])
    #expect(flags.notices.map { $0.prefix { $0 != " " } } == ["--max-wals", "--pre-vote", "--logger"])
  }

  @Test("what would silently not happen is refused")
  func missing() throws {
    for argument in ["--client-crl-file=x", "--quota-backend-bytes=1"] {
      let failure = #expect(throws: CommandFailure.self) { try flags(argument) }
      #expect(failure?.exitCode == ExitCode.usage && failure?.description.contains("not there yet") == true)
    }
    #expect(throws: CommandFailure.self) { try flags(environment: ["ETCD_PEER_CRL_FILE": "x"]) }
  }

  @Test("etcd's flags for TLS are ours")
  func tls() throws {
    let flags = try flags(
      "--cert-file", "x", "-client-cert-auth=true", "--peer-client-cert-auth=false",
      environment: ["ETCD_PEER_AUTO_TLS": "true", "ETCD_TLS_MIN_VERSION": "TLS1.3"])
    #expect(
      flags.arguments == ["--cert-file=x", "--client-cert-auth", "--peer-auto-tls", "--tls-min-version=TLS1.3"])
    #expect(flags.notices.isEmpty)
  }

  @Test(
    "an unknown flag is refused with the nearest known one",
    arguments: [
      ("--nam", "--name"), ("--listen-client-url", "--listen-client-urls"),
      ("--initial-clusterstate", "--initial-cluster-state"),
    ])
  func unknown(argument: String, nearest: String) throws {
    let failure = try #require(#expect(throws: CommandFailure.self) { try flags(argument, "x") })
    #expect(failure.description.contains("did you mean \(nearest)?") && failure.exitCode == ExitCode.usage)
    let far = try #require(#expect(throws: CommandFailure.self) { try flags("--zzzzzzzzzz") })
    #expect(!far.description.contains("did you mean"))
    #expect(throws: CommandFailure.self) { try flags("--name") }
  }
}
