// What clients ask about the cluster itself: its members, a node's status, its health.

import CoordinationCore
import NIOCore
import Protocol
import RaftCore
import Wire

struct ClusterService: Sendable {
  let core: CoreAccess

  var routes: [String: RPCMethod] {
    [
      RPCPath.Cluster.memberList: .unary(memberList),
      RPCPath.Maintenance.status: .unary(status),
      RPCPath.Maintenance.alarm: .unary(alarm),
      RPCPath.Health.check: .unary(health),
    ]
  }

  @Sendable private func memberList(_ call: UnaryCall, _ body: ByteBuffer) {
    let snapshot = core.publication.snapshot
    var response = Etcdserverpb_MemberListResponse()
    response.header = core.header(snapshot)
    response.members = core.cluster.members.map { member in
      var entry = Etcdserverpb_Member()
      entry.id = member.id.rawValue
      entry.name = member.peer.name
      entry.peerUrls = [member.peer.url]
      if let record = snapshot.state.nodes.last(where: { $0.node == member.id.rawValue }) {
        entry.clientUrls = [record.clientURL]
      }
      return entry
    }
    call.respond(response)
  }

  @Sendable private func status(_ call: UnaryCall, _ body: ByteBuffer) {
    let snapshot = core.publication.snapshot
    var response = Etcdserverpb_StatusResponse()
    response.header = core.header(snapshot)
    // The version whose API is spoken: etcdctl compares it with its own.
    response.version = ProductVersion.etcdAPI
    response.dbSize = Int64(snapshot.state.store.sizeBytes)
    response.dbSizeInUse = Int64(snapshot.state.store.sizeBytes)
    response.leader = snapshot.leader?.rawValue ?? 0
    response.raftIndex = snapshot.applied.rawValue
    response.raftAppliedIndex = snapshot.applied.rawValue
    response.raftTerm = snapshot.term.rawValue
    if snapshot.leader == nil { response.errors = ["etcdserver: no leader"] }
    call.respond(response)
  }

  /// There is nothing yet that would raise an alarm, so a list of them is empty.
  @Sendable private func alarm(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Etcdserverpb_AlarmRequest.self, from: body) else { return }
    guard message.action == .get else {
      return call.fail(RPCStatus(code: .unimplemented, message: "alarms can be listed, not raised or disarmed"))
    }
    var response = Etcdserverpb_AlarmResponse()
    response.header = core.header(core.publication.snapshot)
    call.respond(response)
  }

  @Sendable private func health(_ call: UnaryCall, _ body: ByteBuffer) {
    var response = Grpc_Health_V1_HealthCheckResponse()
    response.status = core.publication.snapshot.leader == nil ? .notServing : .serving
    call.respond(response)
  }
}

package enum ProductVersion {
  package static let portcullis = "0.1.0"
  /// The etcd whose behaviour this version follows.
  package static let etcdAPI = "3.5.1"
}
