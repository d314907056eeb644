// Who is in a cluster, and changing that, step by step and safely.

import Protocol
import SwiftProtobuf
import Wire

/// A cluster's members.
public struct ClusterMembers: Sendable {
  /// One of them.
  public struct Member: Sendable, Codable, Equatable {
    /// In hexadecimal.
    public let id: String
    /// Empty until the member has started for the first time.
    public let name: String
    /// Where the other members reach it.
    public let peerURLs: [String]
    /// Where it serves clients, by its own word.
    public let clientURLs: [String]
    /// Whether it gets the log and does not count.
    public let isLearner: Bool
    /// Whether it led when the list was made.
    public let isLeader: Bool
  }

  private let client: Portcullis

  /// Nothing is connected before the first call.
  /// - Parameters:
  ///   - tls: how TLS is spoken with the endpoints whose scheme is `https`.
  ///   - credentials: a user with the role `root` and its password, where the cluster has authentication on.
  public init(endpoints: [Endpoint], tls: TLSOptions = TLSOptions(), credentials: Credentials? = nil) {
    client = Portcullis(endpoints: endpoints, tls: tls, credentials: credentials)
  }

  /// Ends calls in flight and takes no more.
  public func close() { client.close() }

  // MARK: Looking

  /// All members, as of now.
  public func list() async throws(ClientError) -> [Member] {
    var request = Etcdserverpb_MemberListRequest()
    request.linearizable = true
    let response = try await call(
      RPCPath.Cluster.memberList, request, Etcdserverpb_MemberListResponse.self, isRepeatable: true,
      "listing the members")
    let status = try await call(
      RPCPath.Maintenance.status, Etcdserverpb_StatusRequest(), Etcdserverpb_StatusResponse.self, isRepeatable: true,
      "asking for the leader")
    return response.members.map { Member($0, leader: status.leader) }
  }

  /// Finds one member.
  /// - Parameter text: its id in hexadecimal, or its name.
  public func find(_ text: String) async throws(ClientError) -> Member {
    let members = try await list()
    let found = members.filter { $0.id == text.lowercased() || (!$0.name.isEmpty && $0.name == text) }
    guard let member = found.first else {
      let known = members.map { $0.name.isEmpty ? $0.id : "\($0.id) (\($0.name))" }.joined(separator: ", ")
      throw ClientError(.invalidArgument, "no member \(text); there are \(known)")
    }
    guard found.count == 1 else {
      throw ClientError(.invalidArgument, "\(found.count) members are called \(text): name one by its id")
    }
    return member
  }

  // MARK: Changing

  /// Adds a member, which is to be started then. A learner does not count until it is promoted.
  public func add(_ peerURLs: [String], isLearner: Bool) async throws(ClientError) -> Member {
    var request = Etcdserverpb_MemberAddRequest()
    request.peerUrls = peerURLs
    request.isLearner = isLearner
    let response = try await call(
      RPCPath.Cluster.memberAdd, request, Etcdserverpb_MemberAddResponse.self,
      "adding \(peerURLs.joined(separator: ","))")
    return Member(response.member, leader: 0)
  }

  /// Removes a member, dead or alive, for good: its id is never given again.
  public func remove(_ member: Member) async throws(ClientError) {
    var request = Etcdserverpb_MemberRemoveRequest()
    request.id = member.number
    _ = try await call(
      RPCPath.Cluster.memberRemove, request, Etcdserverpb_MemberRemoveResponse.self, "removing \(member.label)")
  }

  /// Tells the cluster that a member is reached elsewhere now.
  public func update(_ member: Member, _ peerURLs: [String]) async throws(ClientError) {
    var request = Etcdserverpb_MemberUpdateRequest()
    request.id = member.number
    request.peerUrls = peerURLs
    _ = try await call(
      RPCPath.Cluster.memberUpdate, request, Etcdserverpb_MemberUpdateResponse.self, "updating \(member.label)")
  }

  /// Makes a voter of a learner, as soon as it has caught up.
  /// - Parameter patience: how long to wait for that.
  public func promote(_ member: Member, patience: Duration) async throws(ClientError) {
    var request = Etcdserverpb_MemberPromoteRequest()
    request.id = member.number
    try await whenCaughtUp(patience) { () throws(ClientError) in
      _ = try await call(
        RPCPath.Cluster.memberPromote, request, Etcdserverpb_MemberPromoteResponse.self, "promoting \(member.label)")
    }
  }

  /// Puts a learner in the place of a voter, in one joint step, as soon as it has caught up.
  public func replace(_ old: Member, with new: Member, patience: Duration) async throws(ClientError) {
    var request = Portcullis_V1_ReplaceMemberRequest()
    request.memberID = old.number
    request.withMemberID = new.number
    try await whenCaughtUp(patience) { () throws(ClientError) in
      _ = try await call(
        RPCPath.Members.replace, request, Portcullis_V1_ReplaceMemberResponse.self,
        "replacing \(old.label) with \(new.label)")
    }
  }

  /// Only the leader hands leadership over, so it is asked at the URL that it has told the cluster.
  public func moveLeader(to target: Member) async throws(ClientError) {
    guard let leader = try await list().first(where: \.isLeader) else {
      throw ClientError(.unavailable, "the cluster has no leader")
    }
    if leader.id == target.id { return }
    guard let endpoint = leader.clientURLs.lazy.compactMap({ try? Endpoint(parsing: $0) }).first else {
      throw ClientError(.unavailable, "the leader \(leader.label) has told no URL for clients")
    }
    let direct = ClusterMembers(endpoints: [endpoint], tls: client.tls)
    defer { direct.close() }
    var request = Etcdserverpb_MoveLeaderRequest()
    request.targetID = target.number
    _ = try await direct.call(
      RPCPath.Maintenance.moveLeader, request, Etcdserverpb_MoveLeaderResponse.self,
      "moving leadership to \(target.label)"
    )
  }

  // MARK: Calls

  private static let behind = "in sync with leader"

  private func whenCaughtUp(
    _ patience: Duration, _ body: () async throws(ClientError) -> Void
  ) async throws(ClientError) {
    let end = ContinuousClock.now + patience
    while true {
      do throws(ClientError) {
        return try await body()
      } catch {
        guard error.status?.message.hasSuffix(Self.behind) == true,
          ContinuousClock.now < end, !Task.isCancelled
        else { throw error }
        try? await Task.sleep(for: .milliseconds(200))
      }
    }
  }

  private func call<Request: SwiftProtobuf.Message, Response: SwiftProtobuf.Message & Sendable>(
    _ path: String, _ request: Request, _ type: Response.Type, isRepeatable: Bool = false, _ what: String
  ) async throws(ClientError) -> Response {
    do throws(RPCStatus) {
      return try await client.call(path, request, as: type, isRepeatable: isRepeatable, timeout: .seconds(15))
    } catch {
      throw ClientError(error, during: what)
    }
  }
}

extension ClusterMembers.Member {
  init(_ member: Etcdserverpb_Member, leader: UInt64) {
    id = String(member.id, radix: 16)
    name = member.name
    peerURLs = member.peerUrls
    clientURLs = member.clientUrls
    isLearner = member.isLearner
    isLeader = member.id == leader
  }

  var number: UInt64 { UInt64(id, radix: 16) ?? 0 }
  /// Name and id, for people.
  public var label: String { name.isEmpty ? id : "\(name) (\(id))" }
}
