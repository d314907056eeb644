// etcd's Maintenance service as far as it goes here, and gRPC's health check: a node's status, alarms, and handing
// leadership over.

import CoordinationCore
import NIOCore
import Protocol
import RaftCore
import Wire

struct MaintenanceService: Sendable {
  let core: CoreAccess

  var routes: [String: RPCMethod] {
    [
      RPCPath.Maintenance.status: .unary(status),
      RPCPath.Maintenance.alarm: .unary(alarm),
      RPCPath.Maintenance.moveLeader: .unary(moveLeader),
      RPCPath.Health.check: .unary(health),
    ]
  }

  @Sendable private func status(_ call: UnaryCall, _ body: ByteBuffer) {
    let snapshot = core.publication.snapshot
    let gauges = core.publication.gauges
    var response = Etcdserverpb_StatusResponse()
    response.header = core.header(snapshot)
    // The version whose API is spoken: etcdctl compares it with its own.
    response.version = ProductVersion.etcdAPI
    response.dbSize = Int64(snapshot.state.store.sizeBytes)
    response.dbSizeInUse = Int64(snapshot.state.store.sizeBytes)
    response.leader = snapshot.leader?.rawValue ?? 0
    response.raftIndex = max(gauges.raft?.commit ?? .beforeFirst, snapshot.applied).rawValue
    response.raftAppliedIndex = snapshot.applied.rawValue
    response.raftTerm = snapshot.term.rawValue
    response.isLearner = snapshot.membership.isLearner(core.identity.nodeID)
    if snapshot.leader == nil { response.errors.append("etcdserver: no leader") }
    if !gauges.isWritable { response.errors.append("NOSPACE: the disk is full but for the reserve") }
    if gauges.isImpaired {
      response.errors.append("CORRUPT: entries of the log were lost and are being fetched; this node does not vote")
    }
    call.respond(response)
  }

  /// What is wrong with this node now. An alarm is not stored: it ends by itself when its cause does, so there is nothing
  /// to disarm, and doing so changes nothing (etcd#9992).
  @Sendable private func alarm(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Etcdserverpb_AlarmRequest.self, from: body) else { return }
    guard message.action != .activate else {
      return call.fail(RPCStatus(code: .unimplemented, message: "alarms follow from their causes and cannot be raised"))
    }
    let gauges = core.publication.gauges
    var response = Etcdserverpb_AlarmResponse()
    response.header = core.header(core.publication.snapshot)
    func add(_ kind: Etcdserverpb_AlarmType, _ isOn: Bool) {
      guard isOn, message.alarm == .none || message.alarm == kind else { return }
      var alarm = Etcdserverpb_AlarmMember()
      alarm.memberID = core.identity.nodeID.rawValue
      alarm.alarm = kind
      response.alarms.append(alarm)
    }
    add(.nospace, !gauges.isWritable)
    add(.corrupt, gauges.isImpaired)
    call.respond(response)
  }

  @Sendable private func moveLeader(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Etcdserverpb_MoveLeaderRequest.self, from: body) else { return }
    let target = NodeID(message.targetID)
    let snapshot = core.publication.snapshot
    guard snapshot.isLeader else { return call.fail(.etcd(.failedPrecondition, "not leader")) }
    guard snapshot.membership.voters.contains(target) else {
      return call.fail(.etcd(.failedPrecondition, "bad leader transferee"))
    }
    @Sendable func succeed(_ snapshot: Snapshot) {
      var response = Etcdserverpb_MoveLeaderResponse()
      response.header = core.header(snapshot)
      call.respond(response)
    }
    if target == core.identity.nodeID { return succeed(snapshot) }
    core.transferLeadership(to: target, on: call.eventLoop) { answer in
      if case .timedOut = answer {
        return call.fail(.etcd(.unavailable, "request timed out, leader transfer took too long"))
      }
      do throws(RPCStatus) {
        succeed(try answer.snapshotWhenDone())
      } catch {
        call.fail(error)
      }
    }
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
