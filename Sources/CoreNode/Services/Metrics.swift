// What `/metrics` says, in Prometheus' text: etcd's names where etcd has the figure, so that its dashboards work.

import CoordinationCore
import RaftCore

struct Metrics {
  let snapshot: Snapshot
  let gauges: NodeGauges
  let watchers: Int

  var text: String {
    var out = MetricsText()
    general(&out)
    log(&out)
    members(&out)
    return out.text
  }

  private func general(_ out: inout MetricsText) {
    let state = snapshot.state
    out.gauge("etcd_server_has_leader", snapshot.leader == nil ? 0 : 1)
    out.gauge("etcd_server_is_leader", snapshot.isLeader ? 1 : 0)
    out.gauge("etcd_server_proposals_applied_total", snapshot.applied.rawValue)
    out.gauge(
      "etcd_server_proposals_committed_total", max(gauges.raft?.commit ?? .beforeFirst, snapshot.applied).rawValue)
    out.gauge("portcullis_revision", UInt64(state.revision))
    out.gauge("portcullis_compacted_revision", UInt64(state.store.compactedRevision))
    out.gauge("portcullis_term", snapshot.term.rawValue)
    out.gauge("portcullis_keys", UInt64(state.store.keyCount))
    out.gauge("portcullis_leases", UInt64(state.leases.count))
    out.gauge("portcullis_clients", UInt64(state.clients.count))
    out.gauge("portcullis_watchers", UInt64(watchers))
    out.gauge("portcullis_auth_enabled", state.auth.isEnabled ? 1 : 0)
    out.gauge("etcd_debugging_auth_revision", state.auth.revision)
    out.gauge("portcullis_store_bytes", UInt64(state.store.sizeBytes))
    // Turned away while the disk is full; entries lost on this node's disk and not yet fetched from the others.
    out.gauge("portcullis_storage_writable", gauges.isWritable ? 1 : 0)
    out.gauge("portcullis_is_impaired", gauges.isImpaired ? 1 : 0)
  }

  private func log(_ out: inout MetricsText) {
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

  private func members(_ out: inout MetricsText) {
    let membership = snapshot.membership
    out.gauge("portcullis_voters", UInt64(membership.voters.count))
    out.gauge("portcullis_learners", UInt64(membership.learners.count))
    out.gauge("portcullis_membership_change_under_way", membership.isJoint ? 1 : 0)
    guard let peers = gauges.raft?.peers, !peers.isEmpty else { return }
    let labelled = peers.map { (label: String($0.id.rawValue, radix: 16), peer: $0) }
    out.gauge("portcullis_peer_matched_index", labelled.map { ($0.label, $0.peer.matched.rawValue) })
    out.gauge("portcullis_peer_active", labelled.map { ($0.label, $0.peer.isActive ? 1 : 0) })
    out.gauge("portcullis_peer_inflight_bytes", labelled.map { ($0.label, UInt64($0.peer.inFlightBytes)) })
  }
}

private struct MetricsText {
  private(set) var text = ""

  mutating func gauge(_ name: String, _ value: UInt64) {
    text += "# TYPE \(name) gauge\n\(name) \(value)\n"
  }

  mutating func gauge(_ name: String, seconds value: Double) {
    text += "# TYPE \(name) gauge\n\(name) \(value)\n"
  }

  mutating func gauge(_ name: String, _ values: [(peer: String, value: UInt64)]) {
    text += "# TYPE \(name) gauge\n"
    for (peer, value) in values { text += "\(name){peer=\"\(peer)\"} \(value)\n" }
  }
}
