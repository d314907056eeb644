// What `/metrics` says, in Prometheus' text: etcd's names where etcd has the figure, with its types, so that its alert rules
// and dashboards work.

import CoordinationCore
import RaftCore
import Wire

struct Metrics {
  private let core: CoreAccess
  private let snapshot: Snapshot
  private let gauges: NodeGauges

  init(_ core: CoreAccess) {
    self.core = core
    snapshot = core.publication.snapshot
    gauges = core.publication.gauges
  }

  var text: String {
    var out = MetricsText()
    server(&out)
    store(&out)
    calls(&out)
    log(&out)
    commits(&out)
    members(&out)
    ProcessFigures.now().write(into: &out)
    return out.text
  }

  private func server(_ out: inout MetricsText) {
    out.gauge("etcd_server_has_leader", snapshot.leader == nil ? 0 : 1)
    out.gauge("etcd_server_is_leader", snapshot.isLeader ? 1 : 0)
    out.gauge("etcd_server_is_learner", snapshot.membership.isLearner(core.identity.nodeID) ? 1 : 0)
    out.gauge("etcd_server_id", [([("server_id", String(core.identity.nodeID.rawValue, radix: 16))], 1)])
    out.gauge("etcd_server_version", [([("server_version", ProductVersion.etcdAPI)], 1)])
    out.gauge("etcd_cluster_version", [([("cluster_version", String(ProductVersion.etcdCluster.prefix(3)))], 1)])
    out.counter("etcd_server_leader_changes_seen_total", gauges.leaderChanges)
    out.gauge("etcd_server_proposals_applied_total", snapshot.applied.rawValue)
    out.gauge(
      "etcd_server_proposals_committed_total", max(gauges.raft?.commit ?? .beforeFirst, snapshot.applied).rawValue)
    out.gauge("etcd_server_proposals_pending", UInt64(gauges.pendingProposals))
    out.counter("etcd_server_proposals_failed_total", gauges.failedProposals)
    out.gauge("portcullis_term", snapshot.term.rawValue)
    // Turned away while the disk is full; entries lost on this node's disk and not yet fetched from the others.
    out.gauge("portcullis_storage_writable", gauges.isWritable ? 1 : 0)
    out.gauge("portcullis_is_impaired", gauges.isImpaired ? 1 : 0)
  }

  private func store(_ out: inout MetricsText) {
    let state = snapshot.state
    let size = UInt64(state.store.sizeBytes)
    out.gauge("etcd_server_quota_backend_bytes", core.configuration.quota.bytes ?? 0)
    out.gauge("etcd_mvcc_db_total_size_in_bytes", size)
    out.gauge("etcd_mvcc_db_total_size_in_use_in_bytes", size)
    out.gauge("etcd_debugging_mvcc_keys_total", UInt64(state.store.keyCount))
    out.gauge("etcd_debugging_mvcc_current_revision", UInt64(state.revision))
    out.gauge("etcd_debugging_mvcc_compact_revision", UInt64(state.store.compactedRevision))
    out.gauge("portcullis_revision", UInt64(state.revision))
    out.gauge("portcullis_compacted_revision", UInt64(state.store.compactedRevision))
    out.gauge("portcullis_keys", UInt64(state.store.keyCount))
    out.gauge("portcullis_leases", UInt64(state.leases.count))
    out.gauge("portcullis_clients", UInt64(state.clients.count))
    out.gauge("portcullis_watchers", UInt64(core.watches.count))
    out.gauge("portcullis_auth_enabled", state.auth.isEnabled ? 1 : 0)
    out.gauge("etcd_debugging_auth_revision", state.auth.revision)
    out.gauge("portcullis_store_bytes", size)
  }

  private func calls(_ out: inout MetricsText) {
    out.counter("etcd_network_client_grpc_received_bytes_total", core.statistics.traffic.receivedBytes)
    out.counter("etcd_network_client_grpc_sent_bytes_total", core.statistics.traffic.sentBytes)
    let methods = core.statistics.calls.sorted { $0.path < $1.path }.map { ($0.labels, $0.tally) }
    out.counter("grpc_server_started_total", methods.map { ($0, $1.startedTotal) })
    out.counter(
      "grpc_server_handled_total",
      methods.flatMap { labels, tally in
        tally.handledTotals.map { ([("grpc_code", $0.code.nameOfGo)] + labels, $0.count) }
      })
  }

  private func log(_ out: inout MetricsText) {
    out.histogram("etcd_disk_wal_fsync_duration_seconds", core.statistics.flushes.reading)
    out.gauge("portcullis_snapshot_index", gauges.snapshotIndex.rawValue)
    out.gauge("portcullis_snapshot_bytes", gauges.snapshotBytes)
    out.gauge("portcullis_snapshot_duration_seconds", seconds: gauges.snapshotSeconds)
    guard let raft = gauges.raft else { return }
    out.gauge("portcullis_log_first_index", raft.firstIndex.rawValue)
    out.gauge("portcullis_log_last_index", raft.lastIndex.rawValue)
    out.gauge("portcullis_log_durable_index", raft.durableIndex.rawValue)
    out.gauge("portcullis_log_cached_bytes", UInt64(raft.cachedBytes))
    out.gauge("portcullis_uncommitted_bytes", UInt64(raft.uncommittedBytes))
  }

  /// By what completed the quorum: for each path its stages sum to its total.
  private func commits(_ out: inout MetricsText) {
    let paths = CommitPath.allCases.map { ($0, core.statistics.commits.reading($0)) }
    out.histogram(
      "portcullis_commit_duration_seconds", paths.map { ([("path", $0.rawValue)], $1.total) })
    out.histogram(
      "portcullis_commit_stage_duration_seconds",
      paths.flatMap { path, reading in
        zip(path.stages, reading.stages).map { ([("path", path.rawValue), ("stage", $0.rawValue)], $1) }
      })
  }

  private func members(_ out: inout MetricsText) {
    let membership = snapshot.membership
    out.gauge("portcullis_voters", UInt64(membership.voters.count))
    out.gauge("portcullis_learners", UInt64(membership.learners.count))
    out.gauge("portcullis_membership_change_under_way", membership.isJoint ? 1 : 0)
    guard let peers = gauges.raft?.peers, !peers.isEmpty else { return }
    let labelled = peers.map { (labels: [("peer", String($0.id.rawValue, radix: 16))], peer: $0) }
    out.gauge("portcullis_peer_matched_index", labelled.map { ($0.labels, $0.peer.matched.rawValue) })
    out.gauge("portcullis_peer_active", labelled.map { ($0.labels, $0.peer.isActive ? 1 : 0) })
    out.gauge("portcullis_peer_inflight_bytes", labelled.map { ($0.labels, UInt64($0.peer.inFlightBytes)) })
  }
}

extension RPCCode {
  /// As Go's monitoring writes it.
  fileprivate var nameOfGo: String {
    switch self {
    case .ok: "OK"
    case .cancelled: "Canceled"
    case .unknown: "Unknown"
    case .invalidArgument: "InvalidArgument"
    case .deadlineExceeded: "DeadlineExceeded"
    case .notFound: "NotFound"
    case .alreadyExists: "AlreadyExists"
    case .permissionDenied: "PermissionDenied"
    case .resourceExhausted: "ResourceExhausted"
    case .failedPrecondition: "FailedPrecondition"
    case .aborted: "Aborted"
    case .outOfRange: "OutOfRange"
    case .unimplemented: "Unimplemented"
    case .internalError: "Internal"
    case .unavailable: "Unavailable"
    case .dataLoss: "DataLoss"
    case .unauthenticated: "Unauthenticated"
    }
  }
}
