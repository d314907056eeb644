// What each node of a cluster says of itself, asked one by one.

import Protocol
import SwiftProtobuf
import Wire

/// What one endpoint said of itself, or why it said nothing.
public struct EndpointStatus: Sendable, Codable, Equatable {
  /// Of a node that answered.
  public struct Answer: Sendable, Codable, Equatable {
    /// Of the cluster, in hexadecimal.
    public let clusterID: String
    /// In hexadecimal.
    public let memberID: String
    /// As the list of members has it; empty where that could not be read.
    public let name: String
    /// In hexadecimal; "0" where the node knows of no leader.
    public let leaderID: String
    /// Whether it is the leader.
    public let isLeader: Bool
    /// Whether it gets the log and does not count.
    public let isLearner: Bool
    /// Raft's.
    public let term: UInt64
    /// The newest entry of its log.
    public let index: UInt64
    /// The newest one that it has applied.
    public let appliedIndex: UInt64
    /// Of the store as the node has it.
    public let revision: Int64
    /// Of the store.
    public let dbSizeBytes: Int64
    /// Of that, what is in use.
    public let dbSizeInUseBytes: Int64
    /// The bound on it; 0 for none that is told.
    public let quotaBytes: Int64
    /// Of the whole cluster, as this node knows them: `NOSPACE` or `CORRUPT` and the member, in hexadecimal.
    public let alarms: [String]
    /// What else it has to say against itself.
    public let errors: [String]
    /// The version of etcd's API that it speaks.
    public let version: String
  }

  /// Where it was asked.
  public let endpoint: String
  /// Nil where there is a `problem`.
  public let answer: Answer?
  /// Why there is no answer.
  public let problem: String?
  /// Whether no member could be reached at all, as opposed to having answered something else.
  public var isUnreachable: Bool { answer == nil }
}

extension EndpointStatus {
  /// Asks all endpoints at the same time, each by itself.
  /// - Parameter wholeCluster: asks every member where it says that it serves clients, in place of the endpoints.
  /// - Throws: `ClientError` when the members cannot be listed; a node that does not answer is in the result.
  public static func of(
    _ endpoints: [Endpoint], tls: TLSOptions = TLSOptions(), credentials: Credentials? = nil, wholeCluster: Bool = false
  ) async throws(ClientError) -> [EndpointStatus] {
    var asked = endpoints
    if wholeCluster {
      let members = ClusterMembers(endpoints: endpoints, tls: tls, credentials: credentials)
      defer { members.close() }
      let urls = try await members.list().compactMap(\.clientURLs.first)
      asked = []
      for url in urls { asked.append(try Endpoint(parsing: url)) }
    }
    let places = asked
    return await withTaskGroup(of: (Int, EndpointStatus).self) { group in
      for (place, endpoint) in places.enumerated() {
        group.addTask { (place, await EndpointStatus.of(endpoint, tls, credentials)) }
      }
      return await group.reduce(into: [(Int, EndpointStatus)]()) { $0.append($1) }
        .sorted { $0.0 < $1.0 }.map(\.1)
    }
  }

  private static func of(
    _ endpoint: Endpoint, _ tls: TLSOptions, _ credentials: Credentials?
  ) async -> EndpointStatus {
    let client = Portcullis(endpoints: [endpoint], tls: tls, credentials: credentials)
    defer { client.close() }
    do {
      return EndpointStatus(endpoint: endpoint.description, answer: try await client.status(), problem: nil)
    } catch {
      let text = error.message.isEmpty ? "\(error.code)" : error.message
      return EndpointStatus(endpoint: endpoint.description, answer: nil, problem: text)
    }
  }
}

extension Portcullis {
  /// What the current endpoint says of itself.
  fileprivate func status() async throws(RPCStatus) -> EndpointStatus.Answer {
    let patience = Duration.seconds(5)
    let status = try await call(
      RPCPath.Maintenance.status, Etcdserverpb_StatusRequest(), as: Etcdserverpb_StatusResponse.self,
      isRepeatable: true, timeout: patience)
    let alarms = try await call(
      RPCPath.Maintenance.alarm, Etcdserverpb_AlarmRequest(), as: Etcdserverpb_AlarmResponse.self, isRepeatable: true,
      timeout: patience)
    // A node without a leader knows its members all the same.
    let members = try await call(
      RPCPath.Cluster.memberList, Etcdserverpb_MemberListRequest(), as: Etcdserverpb_MemberListResponse.self,
      isRepeatable: true, timeout: patience)
    let me = status.header.memberID
    return EndpointStatus.Answer(
      clusterID: String(status.header.clusterID, radix: 16), memberID: String(me, radix: 16),
      name: members.members.first { $0.id == me }?.name ?? "", leaderID: String(status.leader, radix: 16),
      isLeader: status.leader == me && me != 0, isLearner: status.isLearner, term: status.raftTerm,
      index: status.raftIndex, appliedIndex: status.raftAppliedIndex, revision: status.header.revision,
      dbSizeBytes: status.dbSize, dbSizeInUseBytes: status.dbSizeInUse, quotaBytes: status.dbSizeQuota,
      alarms: alarms.alarms.filter { $0.alarm != .none }.map {
        "\($0.alarm == .nospace ? "NOSPACE" : "CORRUPT") of \(String($0.memberID, radix: 16))"
      },
      errors: status.errors, version: status.version)
  }
}
