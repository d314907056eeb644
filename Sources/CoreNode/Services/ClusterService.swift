// etcd's Cluster service, and portcullis.v1.Members beside it: who is a member, and changing that. A change is answered
// when the whole of it was applied here: the joint configuration and the final one.

import CoordinationCore
import NIOCore
import Protocol
import RaftCore
import Wire

struct ClusterService: Sendable {
  let core: CoreAccess

  /// How often, and how far apart, a change is proposed while an earlier one is under way.
  private static let maxAttempts = 20
  private static let pause = TimeAmount.milliseconds(100)

  var routes: [String: RPCMethod] {
    [
      RPCPath.Cluster.memberList: core.forUsers(list),
      RPCPath.Cluster.memberAdd: core.forRoot(add),
      RPCPath.Cluster.memberRemove: core.forRoot(remove),
      RPCPath.Cluster.memberUpdate: core.forRoot(update),
      RPCPath.Cluster.memberPromote: core.forRoot(promote),
      RPCPath.Members.replace: core.forRoot(replace),
    ]
  }

  // MARK: Looking

  @Sendable private func list(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Etcdserverpb_MemberListRequest.self, from: body) else { return }
    @Sendable func answer(_ snapshot: Snapshot) {
      var response = Etcdserverpb_MemberListResponse()
      response.header = header(snapshot)
      response.members = members(in: snapshot)
      call.respond(response)
    }
    guard message.linearizable else { return answer(core.publication.snapshot) }
    call.read(core, answer)
  }

  /// As with etcd, what is said of members has no revision: they are none of the store's.
  private func header(_ snapshot: Snapshot) -> Etcdserverpb_ResponseHeader {
    core.header(revision: 0, term: snapshot.term)
  }

  private func members(in snapshot: Snapshot) -> [Etcdserverpb_Member] {
    snapshot.membership.members.map { member in
      var answer = Etcdserverpb_Member(member, in: snapshot)
      // A node that has just started may not be in the state with its address yet. Clients that go by the list, such as
      // etcd's that syncs its endpoints, must not be left with none: it tells them its own.
      if member.id == core.identity.nodeID, answer.clientUrls.isEmpty {
        answer.clientUrls = [core.configuration.clientURL]
      }
      return answer
    }
  }

  // MARK: Changing

  @Sendable private func add(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Etcdserverpb_MemberAddRequest.self, from: body), mayChange(call),
      let urls = checked(message.peerUrls, of: call)
    else { return }
    look(call) { [core] snapshot throws(RPCStatus) in
      try Self.checkFree(urls, for: nil, in: snapshot)
      if !message.isLearner { try checkStarted(in: snapshot, adding: true, removing: nil) }
      let address = MemberAddress(name: "", peerURLs: urls)
      let member = Member(
        id: Digest.newMember(peerURLs: urls, clusterID: core.identity.clusterID), address: address.encoded())
      return (message.isLearner ? .addLearner(member) : .addVoter(member), member.id)
    } answer: { snapshot, id in
      var response = Etcdserverpb_MemberAddResponse()
      response.header = header(snapshot)
      if let member = snapshot.membership[id] { response.member = Etcdserverpb_Member(member, in: snapshot) }
      response.members = members(in: snapshot)
      call.respond(response)
    }
  }

  @Sendable private func remove(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Etcdserverpb_MemberRemoveRequest.self, from: body), mayChange(call) else { return }
    let id = NodeID(message.id)
    look(call) { snapshot throws(RPCStatus) in
      guard snapshot.membership.contains(id) else { throw .memberNotFound }
      if snapshot.membership.isVoter(id) { try checkStarted(in: snapshot, adding: false, removing: id) }
      return (.remove(id), id)
    } answer: { snapshot, _ in
      var response = Etcdserverpb_MemberRemoveResponse()
      response.header = header(snapshot)
      response.members = members(in: snapshot)
      call.respond(response)
    }
  }

  @Sendable private func update(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Etcdserverpb_MemberUpdateRequest.self, from: body), mayChange(call) else { return }
    let id = NodeID(message.id)
    look(call) { snapshot throws(RPCStatus) in
      guard let member = snapshot.membership[id] else { throw .memberNotFound }
      guard let urls = Self.peerURLs(message.peerUrls) else { throw .invalidURLs }
      try Self.checkFree(urls, for: id, in: snapshot)
      let address = MemberAddress(name: member.name, peerURLs: urls)
      return (.update(Member(id: id, address: address.encoded())), id)
    } answer: { snapshot, _ in
      var response = Etcdserverpb_MemberUpdateResponse()
      response.header = header(snapshot)
      response.members = members(in: snapshot)
      call.respond(response)
    }
  }

  @Sendable private func promote(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Etcdserverpb_MemberPromoteRequest.self, from: body), mayChange(call) else { return }
    let id = NodeID(message.id)
    look(call) { snapshot throws(RPCStatus) in
      guard snapshot.membership.contains(id) else { throw .memberNotFound }
      guard snapshot.membership.isLearner(id) else {
        throw .etcd(.failedPrecondition, "can only promote a learner member")
      }
      return (.promote(id), id)
    } answer: { snapshot, _ in
      var response = Etcdserverpb_MemberPromoteResponse()
      response.header = header(snapshot)
      response.members = members(in: snapshot)
      call.respond(response)
    }
  }

  @Sendable private func replace(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Portcullis_V1_ReplaceMemberRequest.self, from: body), mayChange(call) else {
      return
    }
    let (old, new) = (NodeID(message.memberID), NodeID(message.withMemberID))
    look(call) { snapshot throws(RPCStatus) in
      guard snapshot.membership.isVoter(old), snapshot.membership.contains(new) else { throw .memberNotFound }
      guard snapshot.membership.isLearner(new) else {
        throw .etcd(.failedPrecondition, "a member can only be replaced by a learner")
      }
      return (.replace(old, with: new), new)
    } answer: { snapshot, _ in
      var response = Portcullis_V1_ReplaceMemberResponse()
      response.evidence = core.evidence(snapshot)
      response.voters = snapshot.membership.voters.map(\.rawValue)
      response.learners = snapshot.membership.learners.map(\.rawValue)
      call.respond(response)
    }
  }

  /// Makes a change out of the newest state and proposes it.
  private func look(
    _ call: UnaryCall,
    _ make: @escaping @Sendable (Snapshot) throws(RPCStatus) -> (MembershipChange, NodeID),
    answer: @escaping @Sendable (Snapshot, NodeID) -> Void
  ) {
    call.read(core) { snapshot in
      do throws(RPCStatus) {
        let (change, id) = try make(snapshot)
        propose(change, call, attempt: 1) { answer($0, id) }
      } catch {
        call.fail(error)
      }
    }
  }

  /// A change that comes while another is under way, such as a new member's own one that tells its name, waits for it.
  private func propose(
    _ change: MembershipChange, _ call: UnaryCall, attempt: Int, _ answer: @escaping @Sendable (Snapshot) -> Void
  ) {
    core.change(change, on: call.eventLoop) { result in
      if case .refused(.membershipChangeUnderWay) = result, attempt < Self.maxAttempts, !call.isCancelled {
        call.eventLoop.scheduleTask(in: Self.pause) { propose(change, call, attempt: attempt + 1, answer) }
        return
      }
      do throws(RPCStatus) {
        answer(try result.snapshotWhenDone())
      } catch {
        call.fail(error)
      }
    }
  }

  // MARK: Checks

  private func mayChange(_ call: UnaryCall) -> Bool {
    if core.configuration.listensForPeers { return true }
    call.fail(
      RPCStatus(
        code: .failedPrecondition,
        message: "this node was started with `serve` and listens for no peers: use `core` for a cluster of several"))
    return false
  }

  private func checked(_ urls: [String], of call: UnaryCall) -> [String]? {
    let checked = Self.peerURLs(urls)
    if checked == nil { call.fail(.invalidURLs) }
    return checked
  }

  /// In order, or nil if they are not what a member can have.
  private static func peerURLs(_ urls: [String]) -> [String]? {
    let isValid = !urls.isEmpty && urls.count <= MemberAddress.maxURLs && Set(urls).count == urls.count
    return isValid && urls.allSatisfy { PeerEndpoint(url: $0) != nil } ? urls.sorted() : nil
  }

  private static func checkFree(
    _ urls: [String], for id: NodeID?, in snapshot: Snapshot
  ) throws(RPCStatus) {
    for member in snapshot.membership.members where member.id != id {
      let taken = member.peerAddress?.peerURLs ?? []
      if urls.contains(where: taken.contains) { throw .etcd(.failedPrecondition, "Peer URLs already exists") }
    }
  }

  /// etcd's `--strict-reconfig-check`: a change must leave a quorum of voters that have ever started. A cluster of one may
  /// grow to two, or it could never grow.
  private func checkStarted(
    in snapshot: Snapshot, adding: Bool, removing: NodeID?
  ) throws(RPCStatus) {
    guard core.configuration.checksReconfiguration else { return }
    let remaining = snapshot.membership.voters.filter { $0 != removing }
    let started = remaining.filter { snapshot.state.node($0.rawValue) != nil }.count
    let count = remaining.count + (adding ? 1 : 0)
    if adding, started == 1, count == 2 { return }
    guard count > 0, started >= count / 2 + 1 else { throw .notEnoughStarted }
  }
}

extension Etcdserverpb_Member {
  init(_ member: Member, in snapshot: Snapshot) {
    self.init()
    id = member.id.rawValue
    name = member.name
    peerUrls = member.peerAddress?.peerURLs ?? []
    isLearner = snapshot.membership.isLearner(member.id)
    if let record = snapshot.state.node(member.id.rawValue) {
      clientUrls = record.clientURL.split(separator: ",").map(String.init)
    }
  }
}
