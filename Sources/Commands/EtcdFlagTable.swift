// Every flag that etcd 3.4 and 3.5 know, and ours, with what becomes of it.

enum EtcdFlag: Sendable {
  /// Passed on, with its value or as a switch.
  case value, boolean
  /// Passed on with its value, which is true or false: a switch that is on by default.
  case truth
  /// Taken and left aside: how etcd does something that is done otherwise here.
  case meaningless(String, isBoolean: Bool)
  /// Refused: what it asks for would not happen.
  case missing(String, isBoolean: Bool)
  /// Refused for good: what it asks for is against what this program promises, or for something that it is not.
  case refused(String, isBoolean: Bool)

  var takesValue: Bool {
    switch self {
    case .value: true
    case .boolean, .truth: false
    case .meaningless(_, let isBoolean), .missing(_, let isBoolean), .refused(_, let isBoolean): !isBoolean
    }
  }

  /// What a configuration file has to give.
  enum Kind {
    case text, number, truth, duration, list
    /// A number or a length of time.
    case retention

    var wording: String {
      switch self {
      case .text: "a text"
      case .number: "a number"
      case .truth: "true or false"
      case .duration: "a length of time such as 10s, or a number of nanoseconds"
      case .list: "a text, or a list of texts"
      case .retention: "a length of time such as 1h, or a number"
      }
    }
  }

  func kind(of name: String) -> Kind { takesValue ? EtcdFlags.kinds[name] ?? .text : .truth }
}

extension EtcdFlags {
  static let known: [String: EtcdFlag] = {
    var flags: [String: EtcdFlag] = ["force-new-cluster": .boolean]
    func add(_ names: String, _ flag: EtcdFlag) {
      for name in names.split(separator: " ") { flags[String(name)] = flag }
    }
    add(
      """
      name data-dir listen-client-urls advertise-client-urls listen-peer-urls initial-advertise-peer-urls initial-cluster \
      initial-cluster-token initial-cluster-state snapshot-count snapshot-log-percent snapshot-catchup-entries \
      heartbeat-interval election-timeout log-level log-outputs max-request-bytes max-txn-ops \
      experimental-watch-progress-notify-interval auto-compaction-mode auto-compaction-retention config-file \
      quota-backend-bytes wal-dir listen-metrics-urls max-concurrent-streams cors host-whitelist \
      grpc-keepalive-min-time grpc-keepalive-interval grpc-keepalive-timeout slow-watcher-timeout max-connections \
      auth-token auth-token-ttl bcrypt-cost cert-file key-file trusted-ca-file client-cert-allowed-hostname \
      peer-cert-file peer-key-file peer-client-cert-file peer-client-key-file peer-trusted-ca-file \
      peer-cert-allowed-cn peer-cert-allowed-hostname cipher-suites tls-min-version tls-max-version \
      self-signed-cert-validity
      """, .value)
    add("socket-reuse-port client-cert-auth auto-tls peer-client-cert-auth peer-auto-tls", .boolean)
    add("strict-reconfig-check enable-grpc-gateway", .truth)
    for (names, reason) in meaninglessValues { add(names, .meaningless(reason, isBoolean: false)) }
    for (names, reason) in meaninglessSwitches { add(names, .meaningless(reason, isBoolean: true)) }
    for (names, reason) in missingValues { add(names, .missing(reason, isBoolean: false)) }
    add(ignored, .meaningless("etcd has not looked at it since version 2", isBoolean: true))
    for (names, reason) in refusedValues { add(names, .refused(reason, isBoolean: false)) }
    for (names, reason) in refusedSwitches { add(names, .refused(reason, isBoolean: true)) }
    return flags
  }()

  /// What a value has to be in a configuration file, if not a text; switches are known as such.
  static let kinds: [String: EtcdFlag.Kind] = {
    var kinds: [String: EtcdFlag.Kind] = ["auto-compaction-retention": .retention]
    func add(_ names: String, _ kind: EtcdFlag.Kind) {
      for name in names.split(separator: " ") { kinds[String(name)] = kind }
    }
    add(
      """
      snapshot-count snapshot-log-percent snapshot-catchup-entries heartbeat-interval election-timeout \
      max-request-bytes max-txn-ops max-concurrent-streams max-connections quota-backend-bytes max-snapshots max-wals \
      backend-batch-limit proxy-failure-wait proxy-refresh-interval proxy-dial-timeout proxy-write-timeout \
      proxy-read-timeout bcrypt-cost auth-token-ttl self-signed-cert-validity experimental-compaction-batch-limit \
      experimental-max-learners experimental-bootstrap-defrag-threshold-megabytes
      """, .number)
    add(
      """
      grpc-keepalive-min-time grpc-keepalive-interval grpc-keepalive-timeout backend-batch-interval slow-watcher-timeout \
      experimental-watch-progress-notify-interval experimental-corrupt-check-time experimental-warning-apply-duration \
      experimental-compaction-sleep-interval experimental-downgrade-check-time raft-read-timeout raft-write-timeout \
      experimental-compact-hash-check-time experimental-warning-unary-request-duration
      """, .duration)
    add(
      """
      listen-client-urls advertise-client-urls listen-peer-urls initial-advertise-peer-urls initial-cluster \
      listen-metrics-urls log-outputs cipher-suites cors host-whitelist
      """, .list)
    return kinds
  }()

  /// The values that etcd takes, of flags whose value would otherwise not be looked at.
  static let choices: [String: [String]] = [
    "metrics": ["basic", "extensive"], "logger": ["zap"], "discovery-fallback": ["exit", "proxy"],
    "proxy": ["off", "readonly", "on"], "backend-bbolt-freelist-type": ["map", "array"],
    "v2-deprecation": ["not-yet", "write-only", "write-only-drop-data", "gone"],
  ]

  /// Which etcd takes, with any value behind an equals sign, and does not look at.
  static let ignored = """
    cluster-active-size cluster-remove-delay cluster-sync-interval config force max-result-buffer max-retry-attempts \
    peer-heartbeat-interval peer-election-timeout retry-interval snapshot v vv test.coverprofile test.outputdir
    """

  /// The value of a refused flag with which nothing is asked for.
  static let harmless = ["proxy": "off"]

  private static let meaninglessValues = [
    ("max-snapshots max-wals", "what is no longer needed of log and snapshots goes by itself"),
    (
      """
      backend-batch-limit backend-batch-interval backend-bbolt-freelist-type \
      experimental-backend-bbolt-freelist-type experimental-bootstrap-defrag-threshold-megabytes
      """, "the state is not in a file that is written in batches"
    ),
    (
      """
      proxy-failure-wait proxy-refresh-interval proxy-dial-timeout proxy-write-timeout proxy-read-timeout v2-deprecation
      """, "the v2 API and its proxy are not served"
    ),
    ("logger log-package-levels", "there is one log, of lines, and --log-level says how much of it"),
    ("log-rotation-config-json", "a log file is rotated from outside (logrotate with copytruncate, or systemd)"),
    ("metrics", "what there is of metrics is always there"),
    ("raft-read-timeout raft-write-timeout", "links between members are looked after by heartbeats and reconnected"),
    (
      "experimental-corrupt-check-time experimental-compact-hash-check-time",
      "every record and snapshot carries a sum that is looked at when it is read"
    ),
    (
      """
      experimental-compaction-batch-limit experimental-compaction-sleep-interval experimental-warning-apply-duration \
      experimental-max-learners experimental-downgrade-check-time experimental-distributed-tracing-address \
      experimental-distributed-tracing-service-name experimental-distributed-tracing-instance-id \
      experimental-warning-unary-request-duration
      """,
      "it tunes or watches something that is built otherwise here"
    ),
    ("client-cert-file client-key-file", "the JSON API makes no connection to its own node"),
    ("discovery-fallback", "there is no discovery"),
  ]

  private static let meaninglessSwitches = [
    ("pre-vote", "a candidate always asks first"),
    ("initial-election-tick-advance", "a node that starts always waits for a leader first"),
    ("debug", "--log-level sets what is logged"),
    ("enable-pprof", "there is no profile of Go's to show: perf and the metrics say where time goes"),
    (
      "experimental-enable-lease-checkpoint experimental-enable-lease-checkpoint-persist",
      "every renewal of a lease is in the log"
    ),
    (
      "experimental-initial-corrupt-check experimental-compact-hash-check-enabled",
      "every record and snapshot carries a sum that is looked at when it is read"
    ),
    (
      "experimental-peer-skip-client-san-verification",
      "the address that a peer connects from is not compared with its certificate"
    ),
    (
      """
      experimental-txn-mode-write-with-shared-buffer experimental-memory-mlock experimental-enable-distributed-tracing \
      experimental-stop-grpc-service-on-defrag
      """, "it tunes something that is built otherwise here"
    ),
    ("socket-reuse-address", "listening sockets always reuse an address that is in TIME_WAIT"),
  ]

  private static let missingValues = [
    (
      "client-crl-file peer-crl-file",
      "lists of revoked certificates are not looked at; give certificates short lives, or change the trusted authority"
    ),
    ("ca-file peer-ca-file", "etcd has taken it out too; it is --trusted-ca-file and --peer-trusted-ca-file now"),
  ]

  private static let refusedValues = [
    ("discovery discovery-proxy discovery-srv discovery-srv-name", "name the members in --initial-cluster"),
    ("proxy experimental-enable-v2v3", "the v2 API is not served, so there is nothing to stand before it"),
    ("listen-client-http-urls", "gRPC and HTTP share --listen-client-urls"),
  ]

  private static let refusedSwitches = [
    (
      "unsafe-no-fsync",
      "what is acknowledged is on the disk, always; a node that forgets its vote can elect two leaders"
    ),
    ("enable-v2", "the v2 API is not served"),
    (
      "enable-log-rotation",
      "a log file is rotated from outside (logrotate with copytruncate, or systemd)"
    ),
  ]
}
