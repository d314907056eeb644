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
    for argument in ["--client-crl-file=x", "--peer-crl-file=x"] {
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
    #expect(try self.flags("--client-cert-auth=false").arguments.isEmpty)
    #expect(try self.flags("--client-crl-file=", "--peer-crl-file", "").arguments.isEmpty)
  }

  @Test(
    "what is against the program's promises is refused for good, with the reason",
    arguments: [
      "--unsafe-no-fsync", "--enable-v2", "--enable-v2=true", "--proxy=on", "--discovery=http://d", "--discovery-srv=d",
      "--enable-log-rotation", "--experimental-enable-v2v3=/p",
    ])
  func refused(argument: String) throws {
    let failure = #expect(throws: CommandFailure.self) { try flags(argument) }
    #expect(failure?.exitCode == ExitCode.usage && failure?.description.contains("is not taken: ") == true)
  }

  @Test("what etcd has by default may be said", arguments: ["--unsafe-no-fsync=false", "--proxy=off", "--discovery="])
  func harmless(argument: String) throws {
    let flags = try flags(argument)
    #expect(flags.arguments.isEmpty && flags.notices.isEmpty)
  }

  @Test(
    "a switch that is on by default is passed on with its value",
    arguments: [("", "true"), ("=true", "true"), ("=false", "false"), ("=0", "false")])
  func truth(value: String, passed: String) throws {
    for name in ["--strict-reconfig-check", "--enable-grpc-gateway"] {
      #expect(try flags(name + value).arguments == ["\(name)=\(passed)"])
    }
  }

  @Test(
    "a value that etcd would not take is refused, also of a flag that has no meaning here",
    arguments: ["--metrics=some", "--logger=syslog", "--pre-vote=maybe", "--proxy=perhaps", "--force-new-cluster=x"])
  func wrongValues(argument: String) throws {
    let failure = #expect(throws: CommandFailure.self) { try flags(argument) }
    #expect(failure?.exitCode == ExitCode.usage)
  }

  @Test("every flag of etcd 3.5.1 is known: passed on, taken with a notice, or refused with a reason")
  func complete() throws {
    for (name, value) in Self.flagsOf351 {
      let argument = value.isEmpty ? "--\(name)" : "--\(name)=\(value)"
      do {
        let flags = try flags(argument)
        #expect(!flags.arguments.isEmpty || !flags.notices.isEmpty, "\(argument) was lost")
        #expect(flags.notices.allSatisfy { $0.hasPrefix("--\(name) has no meaning here: ") })
      } catch let failure as CommandFailure {
        let text = failure.description
        #expect(text.hasPrefix("--\(name) is not there yet: ") || text.hasPrefix("--\(name) is not taken: "))
      }
      let variable = "ETCD_\(name.uppercased().replacing("-", with: "_"))"
      let fromEnvironment = Result { try self.flags(environment: [variable: value.isEmpty ? "true" : value]) }
      if case .success(let flags) = fromEnvironment {
        #expect(!flags.notices.contains { $0.contains("names no flag") }, "\(variable) is unknown")
      }
    }
  }

  /// By `etcd --help` and the program itself, with a value other than etcd's default; none for a switch. What it takes and
  /// has not looked at since version 2 is at the end.
  private static let flagsOf351: [(String, String)] = [
    ("name", "x"), ("data-dir", "x"), ("wal-dir", "x"), ("snapshot-count", "5"), ("heartbeat-interval", "50"),
    ("election-timeout", "500"), ("initial-election-tick-advance", ""), ("listen-peer-urls", "http://h:1"),
    ("listen-client-urls", "http://h:1"), ("max-snapshots", "2"), ("max-wals", "2"), ("quota-backend-bytes", "5"),
    ("backend-bbolt-freelist-type", "array"), ("backend-batch-interval", "1s"), ("backend-batch-limit", "5"),
    ("max-txn-ops", "5"), ("max-request-bytes", "5"), ("grpc-keepalive-min-time", "1s"),
    ("grpc-keepalive-interval", "1s"), ("grpc-keepalive-timeout", "1s"), ("socket-reuse-port", ""),
    ("socket-reuse-address", ""), ("initial-advertise-peer-urls", "http://h:1"), ("initial-cluster", "x=http://h:1"),
    ("initial-cluster-state", "existing"), ("initial-cluster-token", "x"), ("advertise-client-urls", "http://h:1"),
    ("discovery", "x"), ("discovery-fallback", "exit"), ("discovery-proxy", "x"), ("discovery-srv", "x"),
    ("discovery-srv-name", "x"), ("strict-reconfig-check", ""), ("pre-vote", ""), ("auto-compaction-retention", "1"),
    ("auto-compaction-mode", "revision"), ("enable-v2", ""), ("v2-deprecation", "gone"), ("cert-file", "x"),
    ("key-file", "x"), ("client-cert-file", "x"), ("client-key-file", "x"), ("client-cert-auth", ""),
    ("client-crl-file", "x"), ("client-cert-allowed-hostname", "x"), ("trusted-ca-file", "x"), ("auto-tls", ""),
    ("peer-cert-file", "x"), ("peer-key-file", "x"), ("peer-client-cert-file", "x"), ("peer-client-key-file", "x"),
    ("peer-client-cert-auth", ""), ("peer-trusted-ca-file", "x"), ("peer-cert-allowed-cn", "x"),
    ("peer-cert-allowed-hostname", "x"), ("peer-auto-tls", ""), ("self-signed-cert-validity", "5"),
    ("peer-crl-file", "x"), ("cipher-suites", "x"), ("cors", "http://x"), ("host-whitelist", "x"),
    ("auth-token", "jwt"), ("bcrypt-cost", "5"), ("auth-token-ttl", "5"), ("enable-pprof", ""),
    ("metrics", "extensive"), ("listen-metrics-urls", "http://h:1"), ("logger", "zap"), ("log-outputs", "stdout"),
    ("log-level", "debug"), ("enable-log-rotation", ""), ("log-rotation-config-json", "{}"),
    ("experimental-enable-distributed-tracing", ""), ("experimental-distributed-tracing-address", "x"),
    ("experimental-distributed-tracing-service-name", "x"), ("experimental-distributed-tracing-instance-id", "x"),
    ("proxy", "on"), ("proxy-failure-wait", "5"), ("proxy-refresh-interval", "5"), ("proxy-dial-timeout", "5"),
    ("proxy-write-timeout", "5"), ("proxy-read-timeout", "5"), ("experimental-initial-corrupt-check", ""),
    ("experimental-corrupt-check-time", "1s"), ("experimental-enable-v2v3", "x"),
    ("experimental-enable-lease-checkpoint", ""), ("experimental-compaction-batch-limit", "5"),
    ("experimental-peer-skip-client-san-verification", ""), ("experimental-watch-progress-notify-interval", "1s"),
    ("experimental-warning-apply-duration", "1s"), ("experimental-txn-mode-write-with-shared-buffer", ""),
    ("experimental-bootstrap-defrag-threshold-megabytes", "5"), ("experimental-memory-mlock", ""),
    ("experimental-downgrade-check-time", "1s"), ("force-new-cluster", ""), ("unsafe-no-fsync", ""),
    ("enable-grpc-gateway", ""), ("raft-read-timeout", "1s"), ("raft-write-timeout", "1s"),
    ("cluster-active-size", "5"), ("cluster-remove-delay", "5"), ("cluster-sync-interval", "5"), ("config", "x"),
    ("force", "x"), ("max-result-buffer", "5"), ("max-retry-attempts", "5"), ("peer-heartbeat-interval", "5"),
    ("peer-election-timeout", "5"), ("retry-interval", "5"), ("snapshot", "x"), ("v", "x"), ("vv", "x"),
    ("test.coverprofile", "x"), ("test.outputdir", "x"),
  ]

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
