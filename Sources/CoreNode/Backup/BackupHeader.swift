// What a backup says of itself before its content: whose state it is, as of when, and who was in the cluster.

package import CoordinationCore
import RaftCore

package struct BackupHeader: Codable, Sendable, Equatable {
  package struct Member: Codable, Sendable, Equatable {
    /// In hexadecimal, as etcd's tools show ids.
    package var id: String
    package var name: String
    package var peerURLs: [String]
    package var clientURLs: [String]
    package var isLearner: Bool

    package init(id: String, name: String, peerURLs: [String], clientURLs: [String], isLearner: Bool) {
      self.id = id
      self.name = name
      self.peerURLs = peerURLs
      self.clientURLs = clientURLs
      self.isLearner = isLearner
    }

    enum CodingKeys: String, CodingKey {
      case id, name
      case peerURLs = "peer_urls"
      case clientURLs = "client_urls"
      case isLearner = "is_learner"
    }
  }

  /// In hexadecimal.
  package var clusterID: String
  package var incarnation: UInt64
  package var revision: Revision
  package var compactedRevision: Revision
  /// Of the last entry of the log that the state has.
  package var index: UInt64
  package var term: UInt64
  /// The cluster clock when it was taken.
  package var clockMilliseconds: UInt64
  package var members: [Member]
  /// The member that was asked.
  package var savedBy: String
  /// By that member's wall clock, since 1970.
  package var takenAtMilliseconds: Int64
  /// The version of the program that wrote it.
  package var portcullis: String

  package init(
    clusterID: String, incarnation: UInt64, revision: Revision, compactedRevision: Revision, index: UInt64,
    term: UInt64, clockMilliseconds: UInt64, members: [Member], savedBy: String, takenAtMilliseconds: Int64,
    portcullis: String
  ) {
    self.clusterID = clusterID
    self.incarnation = incarnation
    self.revision = revision
    self.compactedRevision = compactedRevision
    self.index = index
    self.term = term
    self.clockMilliseconds = clockMilliseconds
    self.members = members
    self.savedBy = savedBy
    self.takenAtMilliseconds = takenAtMilliseconds
    self.portcullis = portcullis
  }

  enum CodingKeys: String, CodingKey {
    case incarnation, revision, index, term, members, portcullis
    case clusterID = "cluster_id"
    case compactedRevision = "compacted_revision"
    case clockMilliseconds = "clock_ms"
    case savedBy = "saved_by"
    case takenAtMilliseconds = "taken_at_ms"
  }
}

extension BackupHeader {
  init(_ snapshot: Snapshot, of core: CoreAccess) {
    let (state, membership) = (snapshot.state, snapshot.membership)
    self.init(
      clusterID: MemberFile.text(core.identity.clusterID), incarnation: core.identity.incarnation,
      revision: state.revision, compactedRevision: state.store.compactedRevision, index: snapshot.applied.rawValue,
      term: snapshot.term.rawValue, clockMilliseconds: snapshot.clusterMilliseconds,
      members: membership.members.map { member in
        Member(
          id: MemberFile.text(member.id.rawValue), name: member.name, peerURLs: member.peerAddress?.peerURLs ?? [],
          clientURLs: state.node(member.id.rawValue).map { [$0.clientURL] } ?? [],
          isLearner: membership.isLearner(member.id))
      },
      savedBy: MemberFile.text(core.identity.nodeID.rawValue), takenAtMilliseconds: MachineClock.wallSeconds * 1000,
      portcullis: ProductVersion.portcullis)
  }
}
