// etcd's Maintenance service as far as it goes here: a node's status, alarms, hashes of its store, and handing leadership
// over.

import CoordinationCore
import NIOCore
import NIOPosix
import Protocol
import RaftCore
import Wire

struct MaintenanceService: Sendable {
  let core: CoreAccess

  var routes: [String: RPCMethod] {
    [
      RPCPath.Maintenance.status: core.forUsers(status),
      RPCPath.Maintenance.alarm: core.forUsers(alarm),
      RPCPath.Maintenance.moveLeader: core.forRoot(moveLeader),
      RPCPath.Maintenance.hash: core.forRoot(hash),
      RPCPath.Maintenance.hashKV: core.forRoot(hashKV),
      RPCPath.Maintenance.defragment: core.forRoot(defragment),
      RPCPath.Maintenance.downgrade: core.forRoot(downgrade),
      RPCPath.Maintenance.snapshot: .streaming { [core] call in BackupStream(call, core: core) },
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
    for alarm in snapshot.state.alarms {
      let kind = alarm.kindOfEtcd == .noSpace ? "NOSPACE" : "CORRUPT"
      let cause = alarm.kind == .quota ? "the store is at the quota of \(alarm.quotaBytes) bytes" : "raised by hand"
      response.errors.append("\(kind): \(cause)\(alarm.member == 0 ? "" : ", member \(alarm.member)")")
    }
    if !gauges.isWritable { response.errors.append("NOSPACE: the disk is full but for the reserve") }
    if gauges.isImpaired {
      response.errors.append("CORRUPT: entries of the log were lost and are being fetched; this node does not vote")
    }
    call.respond(response)
  }

  // MARK: Alarms

  /// Alarms that operators raised, which are in force until they are disarmed; those of members whose store is at its quota;
  /// and those that follow from this node's disk, which are not stored. The last two end by themselves when their cause
  /// does (etcd#9992).
  @Sendable private func alarm(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Etcdserverpb_AlarmRequest.self, from: body) else { return }
    let kind: Alarm.Kind? =
      switch message.alarm {
      case .nospace: .noSpace
      case .corrupt: .corrupt
      case .none, .UNRECOGNIZED: nil
      }
    switch (message.action, kind) {
    case (.activate, let kind?): change(call, .raise(Alarm(kind, member: message.memberID)))
    case (.deactivate, let kind?): change(call, .disarm(Alarm(kind, member: message.memberID)))
    case (.get, _): list(call, kind)
    default: respond(call, [], core.publication.snapshot)
    }
  }

  private func change(_ call: UnaryCall, _ change: AlarmChange) {
    call.submit(.alarm(change), to: core) { outcome, snapshot, _ in
      guard case .alarms(let alarms) = outcome else { preconditionFailure("a change of alarms ends with alarms") }
      respond(call, alarms, snapshot)
    }
  }

  private func list(_ call: UnaryCall, _ kind: Alarm.Kind?) {
    call.read(core) { [core] snapshot in
      respond(call, core.alarms(in: snapshot).filter { kind == nil || $0.kindOfEtcd == kind }, snapshot)
    }
  }

  private func respond(_ call: UnaryCall, _ alarms: [Alarm], _ snapshot: Snapshot) {
    var response = Etcdserverpb_AlarmResponse()
    response.header = core.header(snapshot)
    for alarm in alarms {
      var member = Etcdserverpb_AlarmMember()
      member.memberID = alarm.member
      member.alarm = alarm.kindOfEtcd == .noSpace ? .nospace : .corrupt
      if !response.alarms.contains(member) { response.alarms.append(member) }
    }
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

  // MARK: Hashes

  /// The sum of the store up to a revision: the same on all members that have compacted at the same revision. It is not
  /// etcd's own sum, which is over the bytes of its file.
  @Sendable private func hashKV(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Etcdserverpb_HashKVRequest.self, from: body) else { return }
    digest(call, through: message.revision) { [core] digest, snapshot in
      var response = Etcdserverpb_HashKVResponse()
      response.header = core.header(snapshot)
      response.hash = Self.folded(digest)
      // etcd's word for "never".
      let compacted = snapshot.state.store.compactedRevision
      response.compactRevision = compacted == 0 ? -1 : compacted
      response.hashRevision = message.revision == 0 ? snapshot.state.revision : message.revision
      call.respond(response)
    }
  }

  /// etcd's older call for tests, of everything that the member has.
  @Sendable private func hash(_ call: UnaryCall, _ body: ByteBuffer) {
    digest(call, through: 0) { [core] digest, snapshot in
      var response = Etcdserverpb_HashResponse()
      response.header = core.header(snapshot)
      response.hash = Self.folded(digest)
      call.respond(response)
    }
  }

  static func folded(_ digest: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: digest ^ (digest >> 32)) }

  /// A large store takes a while, so a thread beside the event loops sums it up; the snapshot stays what it is meanwhile.
  private func digest(
    _ call: UnaryCall, through revision: Revision, _ body: @escaping @Sendable (UInt64, Snapshot) -> Void
  ) {
    let snapshot = core.publication.snapshot
    let summed = NIOThreadPool.singleton.runIfActive(eventLoop: call.eventLoop) {
      try snapshot.state.store.digest(through: revision)
    }
    summed.whenComplete { result in
      switch result {
      case .success(let digest): body(digest, snapshot)
      case .failure(let error as RequestError): call.fail(RPCStatus(error))
      case .failure: call.fail(.stopping)
      }
    }
  }

  // MARK: What has no counterpart here

  /// There is nothing to do: state is kept in memory and snapshots, and pages of the log that became free are used again.
  /// etcd stands still while it does this (etcd#9222).
  @Sendable private func defragment(_ call: UnaryCall, _ body: ByteBuffer) {
    // etcd's answer has no header either.
    call.respond(Etcdserverpb_DefragmentResponse())
  }

  /// There is no older version to go back to.
  @Sendable private func downgrade(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Etcdserverpb_DowngradeRequest.self, from: body) else { return }
    if message.action == .cancel { return call.fail(.etcd(.failedPrecondition, "no inflight downgrade job")) }
    call.fail(.etcd(.invalidArgument, "invalid downgrade target version"))
  }
}

package enum ProductVersion {
  package static let portcullis = "0.1.0"
  /// The etcd whose behaviour this version follows.
  package static let etcdAPI = "3.5.1"
  /// And of the cluster, as etcd says it.
  package static let etcdCluster = "3.5.0"
}
