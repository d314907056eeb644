// What may differ between two servers that behave alike: ids that they draw, terms, sizes, sums, the order of what has none,
// and fields of ours (tags from 1000 on), which etcd's clients skip. All else is compared, and also whether these are there at all.

import Foundation
import Protocol
import SwiftProtobuf

/// An answer with a header, that can be made comparable.
protocol ComparedAnswer: SwiftProtobuf.Message, Sendable {
  var header: Etcdserverpb_ResponseHeader { get set }
  var hasHeader: Bool { get }
  /// Masks what is special about this answer; the header is masked by others.
  mutating func maskRest()
}

extension ComparedAnswer {
  mutating func maskRest() {}

  func masked() -> Self {
    var copy = self
    if copy.hasHeader { copy.header.mask() }
    copy.maskRest()
    return copy
  }
}

extension SwiftProtobuf.Message {
  /// On one line.
  var line: String {
    textFormatString().split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }.joined(separator: " ")
  }
}

/// 1 for whatever is there, so that its absence shows.
private func presence<T: BinaryInteger>(_ number: T) -> T { number == 0 ? 0 : 1 }

extension Etcdserverpb_ResponseHeader {
  mutating func mask() {
    clusterID = presence(clusterID)
    memberID = presence(memberID)
    raftTerm = presence(raftTerm)
  }
}

// MARK: - KV

extension Etcdserverpb_RangeResponse: ComparedAnswer {}
extension Etcdserverpb_PutResponse: ComparedAnswer {}
extension Etcdserverpb_DeleteRangeResponse: ComparedAnswer {}
extension Etcdserverpb_CompactionResponse: ComparedAnswer {}

extension Etcdserverpb_TxnResponse: ComparedAnswer {
  mutating func maskRest() {
    failed = []
    responses = responses.map { item in
      var item = item
      switch item.response {
      case .responseRange(let inner): item.response = .responseRange(inner.masked())
      case .responsePut(let inner): item.response = .responsePut(inner.masked())
      case .responseDeleteRange(let inner): item.response = .responseDeleteRange(inner.masked())
      case .responseTxn(var inner):
        // Ours has the revision, etcd's is empty (docs/differences-from-etcd.md).
        inner.clearHeader()
        inner.maskRest()
        item.response = .responseTxn(inner)
      case nil: break
      }
      return item
    }
  }
}

extension Etcdserverpb_RangeResponse {
  /// etcd does not say which of two keys comes first that sort alike, once there are more than a dozen.
  mutating func orderAlike(as request: Etcdserverpb_RangeRequest) {
    func sortKey(_ pair: Mvccpb_KeyValue) -> Data {
      switch request.sortTarget {
      case .version: Data("\(pair.version)".utf8)
      case .create: Data("\(pair.createRevision)".utf8)
      case .mod: Data("\(pair.modRevision)".utf8)
      case .value: pair.value
      default: pair.key
      }
    }
    // Without values nobody can tell which sorted alike.
    guard request.limit <= 0, !(request.keysOnly && request.sortTarget == .value) else { return }
    var ordered: [Mvccpb_KeyValue] = []
    var alike: [Mvccpb_KeyValue] = []
    for pair in kvs {
      if let first = alike.first, sortKey(first) != sortKey(pair) {
        ordered += alike.sorted { $0.key.lexicographicallyPrecedes($1.key) }
        alike = []
      }
      alike.append(pair)
    }
    kvs = ordered + alike.sorted { $0.key.lexicographicallyPrecedes($1.key) }
  }
}

// MARK: - Leases

extension Etcdserverpb_LeaseGrantResponse: ComparedAnswer {
  mutating func maskRest() { ttlMs = 0 }
}

extension Etcdserverpb_LeaseRevokeResponse: ComparedAnswer {}

extension Etcdserverpb_LeaseKeepAliveResponse: ComparedAnswer {
  mutating func maskRest() { ttlMs = 0 }
}

extension Etcdserverpb_LeaseTimeToLiveResponse: ComparedAnswer {
  mutating func maskRest() {
    (timeLeftMs, grantedTtlMs) = (0, 0)
    // What is left depends on when one asks. Nothing in a comparison takes a minute.
    if ttl > 0, ttl <= grantedTtl, ttl > grantedTtl - 60 { ttl = grantedTtl }
    // etcd's keys come out of a map of Go's.
    keys.sort { $0.lexicographicallyPrecedes($1) }
  }
}

extension Etcdserverpb_LeaseLeasesResponse: ComparedAnswer {
  mutating func maskRest() {
    // Ids that the server drew; and those which end at the same instant come in any order.
    leases = leases.map { status in
      var status = status
      if status.id > ComparedKeys.mostLeaseID { status.id = .max }
      return status
    }.sorted { $0.id < $1.id }
  }
}

// MARK: - The cluster

extension Etcdserverpb_StatusResponse: ComparedAnswer {
  mutating func maskRest() {
    dbSize = presence(dbSize)
    dbSizeInUse = presence(dbSizeInUse)
    leader = presence(leader)
    raftIndex = presence(raftIndex)
    raftTerm = presence(raftTerm)
    raftAppliedIndex = presence(raftAppliedIndex)
    // Their words are about members by their ids.
    errors = errors.map { _ in "an error" }
  }
}

extension Etcdserverpb_MemberListResponse: ComparedAnswer {
  mutating func maskRest() { members = members.map(\.masked) }
}

extension Etcdserverpb_MemberAddResponse: ComparedAnswer {
  mutating func maskRest() { members = members.map(\.masked) }
}

extension Etcdserverpb_MemberRemoveResponse: ComparedAnswer {
  mutating func maskRest() { members = members.map(\.masked) }
}

extension Etcdserverpb_MemberUpdateResponse: ComparedAnswer {
  mutating func maskRest() { members = members.map(\.masked) }
}

extension Etcdserverpb_MemberPromoteResponse: ComparedAnswer {
  mutating func maskRest() { members = members.map(\.masked) }
}

extension Etcdserverpb_Member {
  fileprivate var masked: Etcdserverpb_Member {
    var copy = self
    copy.id = presence(id)
    copy.peerUrls = peerUrls.map { _ in "a URL" }
    copy.clientUrls = clientUrls.map { _ in "a URL" }
    return copy
  }
}

extension Etcdserverpb_AlarmResponse: ComparedAnswer {}
extension Etcdserverpb_DefragmentResponse: ComparedAnswer {}
extension Etcdserverpb_MoveLeaderResponse: ComparedAnswer {}
extension Etcdserverpb_DowngradeResponse: ComparedAnswer {}

extension Etcdserverpb_HashKVResponse: ComparedAnswer {
  mutating func maskRest() {
    hash = presence(hash)
    // Newer than 3.5.1.
    hashRevision = 0
  }
}

// MARK: - Locks and elections

extension V3lockpb_LockResponse: ComparedAnswer {
  mutating func maskRest() {
    (number, token) = (0, "")
    (timeLeftMs, incarnation) = (0, 0)
  }
}

extension V3lockpb_UnlockResponse: ComparedAnswer {
  mutating func maskRest() { (released, currentNumber) = (false, 0) }
}

extension V3electionpb_CampaignResponse: ComparedAnswer {
  mutating func maskRest() {
    // Ours is of when the caller leads, etcd's of when it asked to (docs/differences-from-etcd.md).
    header.revision = presence(header.revision)
    (number, token) = (0, "")
    (timeLeftMs, incarnation) = (0, 0)
  }
}

extension V3electionpb_ProclaimResponse: ComparedAnswer {}
extension V3electionpb_LeaderResponse: ComparedAnswer {}
extension V3electionpb_ResignResponse: ComparedAnswer {}

// MARK: - Auth

extension Etcdserverpb_AuthEnableResponse: ComparedAnswer {}
extension Etcdserverpb_AuthDisableResponse: ComparedAnswer {}
extension Etcdserverpb_AuthStatusResponse: ComparedAnswer {}
extension Etcdserverpb_AuthUserAddResponse: ComparedAnswer {}
extension Etcdserverpb_AuthUserGetResponse: ComparedAnswer {}
extension Etcdserverpb_AuthUserListResponse: ComparedAnswer {}
extension Etcdserverpb_AuthUserDeleteResponse: ComparedAnswer {}
extension Etcdserverpb_AuthUserChangePasswordResponse: ComparedAnswer {}
extension Etcdserverpb_AuthUserGrantRoleResponse: ComparedAnswer {}
extension Etcdserverpb_AuthUserRevokeRoleResponse: ComparedAnswer {}
extension Etcdserverpb_AuthRoleAddResponse: ComparedAnswer {}
extension Etcdserverpb_AuthRoleGetResponse: ComparedAnswer {}
extension Etcdserverpb_AuthRoleListResponse: ComparedAnswer {}
extension Etcdserverpb_AuthRoleDeleteResponse: ComparedAnswer {}
extension Etcdserverpb_AuthRoleGrantPermissionResponse: ComparedAnswer {}
extension Etcdserverpb_AuthRoleRevokePermissionResponse: ComparedAnswer {}

extension Etcdserverpb_AuthenticateResponse: ComparedAnswer {
  mutating func maskRest() { token = token.isEmpty ? "" : "a token" }
}
