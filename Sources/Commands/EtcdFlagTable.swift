// Every flag that etcd 3.4 and 3.5 know, and ours, with what becomes of it.

enum EtcdFlag: Sendable {
  /// Passed on, with its value or as a switch.
  case value, boolean
  /// Taken and left aside: how etcd does something that is done otherwise here.
  case meaningless(String, isBoolean: Bool)
  /// Refused: what it asks for would not happen.
  case missing(String, isBoolean: Bool)

  var takesValue: Bool {
    switch self {
    case .value: true
    case .boolean: false
    case .meaningless(_, let isBoolean), .missing(_, let isBoolean): !isBoolean
    }
  }
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
      heartbeat-interval election-timeout log-level max-request-bytes max-txn-ops \
      experimental-watch-progress-notify-interval auto-compaction-mode auto-compaction-retention \
      slow-watcher-timeout max-connections auth-token auth-token-ttl bcrypt-cost cert-file key-file \
      trusted-ca-file client-cert-allowed-hostname peer-cert-file peer-key-file peer-client-cert-file \
      peer-client-key-file peer-trusted-ca-file peer-cert-allowed-cn peer-cert-allowed-hostname cipher-suites \
      tls-min-version tls-max-version self-signed-cert-validity
      """, .value)
    add("client-cert-auth auto-tls peer-client-cert-auth peer-auto-tls", .boolean)
    for (names, reason) in meaninglessValues { add(names, .meaningless(reason, isBoolean: false)) }
    for (names, reason) in meaninglessSwitches { add(names, .meaningless(reason, isBoolean: true)) }
    for (names, reason) in missingValues { add(names, .missing(reason, isBoolean: false)) }
    return flags
  }()

  private static let meaninglessValues = [
    ("wal-dir", "the log is in --data-dir"),
    ("max-snapshots max-wals", "what is no longer needed of log and snapshots goes by itself"),
    (
      """
      backend-batch-limit backend-batch-interval backend-bbolt-freelist-type \
      experimental-backend-bbolt-freelist-type experimental-bootstrap-defrag-threshold-megabytes
      """, "the state is not in a file that is written in batches"
    ),
    (
      """
      proxy proxy-failure-wait proxy-refresh-interval proxy-dial-timeout proxy-write-timeout proxy-read-timeout \
      experimental-enable-v2v3 v2-deprecation
      """, "the v2 API and its proxy are not served"
    ),
    ("logger log-outputs log-package-levels log-rotation-config-json", "the log goes to stderr"),
    ("metrics", "all metrics are there always"),
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
    ("grpc-keepalive-min-time", "a client may ping as often as it likes, within the bound on control frames"),
    ("discovery-fallback", "there is no discovery"),
  ]

  private static let meaninglessSwitches = [
    ("pre-vote", "a candidate always asks first"),
    ("strict-reconfig-check", "a change of members that endangers the quorum is always refused"),
    ("initial-election-tick-advance", "a node that starts always waits for a leader first"),
    ("enable-grpc-gateway", "the API as JSON is always there"),
    ("enable-v2", "the v2 API is not served"),
    ("debug enable-log-rotation enable-pprof", "--log-level sets what is logged, to stderr"),
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
    ("unsafe-no-fsync", "what is acknowledged is always on the disk"),
    (
      """
      experimental-txn-mode-write-with-shared-buffer experimental-memory-mlock experimental-enable-distributed-tracing \
      experimental-stop-grpc-service-on-defrag socket-reuse-port socket-reuse-address
      """, "it tunes something that is built otherwise here"
    ),
  ]

  private static let missingValues = [
    (
      "client-crl-file peer-crl-file",
      "lists of revoked certificates are not looked at; give certificates short lives, or change the trusted authority"
    ),
    ("ca-file peer-ca-file", "etcd has taken it out too; it is --trusted-ca-file and --peer-trusted-ca-file now"),
    ("cors host-whitelist", "every origin and host is answered, so keep the port on a private network"),
    ("quota-backend-bytes", "memory and the disk are the limits"),
    ("discovery discovery-proxy discovery-srv discovery-srv-name", "name the members in --initial-cluster"),
    ("listen-metrics-urls", "metrics are at /metrics on the client port"),
    ("grpc-keepalive-interval grpc-keepalive-timeout", "the node pings no clients"),
    ("config-file", "give its settings as flags or in the environment"),
  ]
}
