// Which path of the JSON API is which method: etcd's own table, and streams of portcullis.v1.

import Protocol

enum JSONRoutes {
  static let methods: [String: JSONMethod] = {
    let all = [keys, watches, leases, members, maintenance, turns, auth, users, roles, own]
    return all.reduce(into: [:]) { methods, some in
      methods.merge(some) { _, _ in preconditionFailure("two methods answer the same path") }
    }
  }()

  private static let keys = [
    "/v3/kv/range": JSONMethod(RPCPath.KV.range, Etcdserverpb_RangeRequest.self, Etcdserverpb_RangeResponse.self),
    "/v3/kv/put": JSONMethod(RPCPath.KV.put, Etcdserverpb_PutRequest.self, Etcdserverpb_PutResponse.self),
    "/v3/kv/deleterange": JSONMethod(
      RPCPath.KV.deleteRange, Etcdserverpb_DeleteRangeRequest.self, Etcdserverpb_DeleteRangeResponse.self),
    "/v3/kv/txn": JSONMethod(RPCPath.KV.txn, Etcdserverpb_TxnRequest.self, Etcdserverpb_TxnResponse.self),
    "/v3/kv/compaction": JSONMethod(
      RPCPath.KV.compact, Etcdserverpb_CompactionRequest.self, Etcdserverpb_CompactionResponse.self),
  ]

  private static let watches = [
    "/v3/watch": JSONMethod(RPCPath.Watch.watch, Etcdserverpb_WatchRequest.self, Etcdserverpb_WatchResponse.self)
  ]

  private static let leases: [String: JSONMethod] = {
    let revoke = JSONMethod(
      RPCPath.Lease.leaseRevoke, Etcdserverpb_LeaseRevokeRequest.self, Etcdserverpb_LeaseRevokeResponse.self)
    let timeToLive = JSONMethod(
      RPCPath.Lease.leaseTimeToLive, Etcdserverpb_LeaseTimeToLiveRequest.self,
      Etcdserverpb_LeaseTimeToLiveResponse.self)
    let list = JSONMethod(
      RPCPath.Lease.leaseLeases, Etcdserverpb_LeaseLeasesRequest.self, Etcdserverpb_LeaseLeasesResponse.self)
    return [
      "/v3/lease/grant": JSONMethod(
        RPCPath.Lease.leaseGrant, Etcdserverpb_LeaseGrantRequest.self, Etcdserverpb_LeaseGrantResponse.self),
      "/v3/lease/keepalive": JSONMethod(
        RPCPath.Lease.leaseKeepAlive, Etcdserverpb_LeaseKeepAliveRequest.self,
        Etcdserverpb_LeaseKeepAliveResponse.self),
      // etcd has these three at two places each.
      "/v3/lease/revoke": revoke, "/v3/kv/lease/revoke": revoke,
      "/v3/lease/timetolive": timeToLive, "/v3/kv/lease/timetolive": timeToLive,
      "/v3/lease/leases": list, "/v3/kv/lease/leases": list,
    ]
  }()

  private static let members = [
    "/v3/cluster/member/add": JSONMethod(
      RPCPath.Cluster.memberAdd, Etcdserverpb_MemberAddRequest.self, Etcdserverpb_MemberAddResponse.self),
    "/v3/cluster/member/remove": JSONMethod(
      RPCPath.Cluster.memberRemove, Etcdserverpb_MemberRemoveRequest.self, Etcdserverpb_MemberRemoveResponse.self),
    "/v3/cluster/member/update": JSONMethod(
      RPCPath.Cluster.memberUpdate, Etcdserverpb_MemberUpdateRequest.self, Etcdserverpb_MemberUpdateResponse.self),
    "/v3/cluster/member/list": JSONMethod(
      RPCPath.Cluster.memberList, Etcdserverpb_MemberListRequest.self, Etcdserverpb_MemberListResponse.self),
    "/v3/cluster/member/promote": JSONMethod(
      RPCPath.Cluster.memberPromote, Etcdserverpb_MemberPromoteRequest.self,
      Etcdserverpb_MemberPromoteResponse.self),
  ]

  /// etcd 3.5 answers a sum at the first of its paths, and this one at the second since 3.6.
  private static let hashKV = JSONMethod(
    RPCPath.Maintenance.hashKV, Etcdserverpb_HashKVRequest.self, Etcdserverpb_HashKVResponse.self)

  private static let maintenance = [
    "/v3/maintenance/alarm": JSONMethod(
      RPCPath.Maintenance.alarm, Etcdserverpb_AlarmRequest.self, Etcdserverpb_AlarmResponse.self),
    "/v3/maintenance/status": JSONMethod(
      RPCPath.Maintenance.status, Etcdserverpb_StatusRequest.self, Etcdserverpb_StatusResponse.self),
    "/v3/maintenance/defragment": JSONMethod(
      RPCPath.Maintenance.defragment, Etcdserverpb_DefragmentRequest.self, Etcdserverpb_DefragmentResponse.self),
    "/v3/maintenance/snapshot": JSONMethod(
      RPCPath.Maintenance.snapshot, Etcdserverpb_SnapshotRequest.self, Etcdserverpb_SnapshotResponse.self),
    "/v3/maintenance/hash": hashKV, "/v3/maintenance/hashkv": hashKV,
    "/v3/maintenance/transfer-leadership": JSONMethod(
      RPCPath.Maintenance.moveLeader, Etcdserverpb_MoveLeaderRequest.self, Etcdserverpb_MoveLeaderResponse.self),
    "/v3/maintenance/downgrade": JSONMethod(
      RPCPath.Maintenance.downgrade, Etcdserverpb_DowngradeRequest.self, Etcdserverpb_DowngradeResponse.self),
  ]

  private static let own = [
    "/portcullis/v1/backup/save": JSONMethod(
      RPCPath.Backup.save, Portcullis_V1_SaveRequest.self, Portcullis_V1_SaveResponse.self),
    "/portcullis/v1/authority/acquire": JSONMethod(
      RPCPath.Authority.acquire, Portcullis_V1_AcquireRequest.self, Portcullis_V1_AcquireResponse.self),
    "/portcullis/v1/authority/release": JSONMethod(
      RPCPath.Authority.release, Portcullis_V1_ReleaseRequest.self, Portcullis_V1_ReleaseResponse.self),
    "/portcullis/v1/authority/describe": JSONMethod(
      RPCPath.Authority.describe, Portcullis_V1_DescribeRequest.self, Portcullis_V1_DescribeResponse.self),
    "/portcullis/v1/authority/scopes": JSONMethod(
      RPCPath.Authority.scopes, Portcullis_V1_ScopesRequest.self, Portcullis_V1_ScopesResponse.self),
    "/portcullis/v1/authority/keys": JSONMethod(
      RPCPath.Authority.keys, Portcullis_V1_KeysRequest.self, Portcullis_V1_KeysResponse.self),
    "/portcullis/v1/authority/hold": JSONMethod(
      RPCPath.Authority.hold, Portcullis_V1_HoldRequest.self, Portcullis_V1_HoldResponse.self),
    "/portcullis/v1/sessions/open": JSONMethod(
      RPCPath.Sessions.open, Portcullis_V1_OpenSessionRequest.self, Portcullis_V1_OpenSessionResponse.self),
    "/portcullis/v1/sessions/keepalive": JSONMethod(
      RPCPath.Sessions.keepAlive, Portcullis_V1_KeepSessionRequest.self, Portcullis_V1_KeepSessionResponse.self),
    "/portcullis/v1/sessions/close": JSONMethod(
      RPCPath.Sessions.close, Portcullis_V1_CloseSessionRequest.self, Portcullis_V1_CloseSessionResponse.self),
    "/portcullis/v1/sessions/describe": JSONMethod(
      RPCPath.Sessions.describe, Portcullis_V1_DescribeSessionRequest.self,
      Portcullis_V1_DescribeSessionResponse.self),
    "/portcullis/v1/sessions/list": JSONMethod(
      RPCPath.Sessions.list, Portcullis_V1_ListSessionsRequest.self, Portcullis_V1_ListSessionsResponse.self),
    "/portcullis/v1/elections/campaign": JSONMethod(
      RPCPath.Elections.campaign, Portcullis_V1_AcquireRequest.self, Portcullis_V1_AcquireResponse.self),
    "/portcullis/v1/elections/proclaim": JSONMethod(
      RPCPath.Elections.proclaim, Portcullis_V1_ProclaimRequest.self, Portcullis_V1_ProclaimResponse.self),
    "/portcullis/v1/elections/leader": JSONMethod(
      RPCPath.Elections.leader, Portcullis_V1_LeaderRequest.self, Portcullis_V1_LeaderResponse.self),
    "/portcullis/v1/elections/observe": JSONMethod(
      RPCPath.Elections.observe, Portcullis_V1_LeaderRequest.self, Portcullis_V1_LeaderResponse.self),
    "/portcullis/v1/elections/resign": JSONMethod(
      RPCPath.Elections.resign, Portcullis_V1_ReleaseRequest.self, Portcullis_V1_ReleaseResponse.self),
    "/portcullis/v1/gateways/list": JSONMethod(
      RPCPath.Gateways.list, Portcullis_V1_ListGatewaysRequest.self, Portcullis_V1_ListGatewaysResponse.self),
    "/portcullis/v1/gateways/deregister": JSONMethod(
      RPCPath.Gateways.deregister, Portcullis_V1_DeregisterGatewayRequest.self,
      Portcullis_V1_DeregisterGatewayResponse.self),
    "/portcullis/v1/listing/list": JSONMethod(
      RPCPath.Listing.list, Portcullis_V1_ListRequest.self, Portcullis_V1_ListResponse.self),
  ]

  private static let turns = [
    "/v3/lock/lock": JSONMethod(RPCPath.Lock.lock, V3lockpb_LockRequest.self, V3lockpb_LockResponse.self),
    "/v3/lock/unlock": JSONMethod(RPCPath.Lock.unlock, V3lockpb_UnlockRequest.self, V3lockpb_UnlockResponse.self),
    "/v3/election/campaign": JSONMethod(
      RPCPath.Election.campaign, V3electionpb_CampaignRequest.self, V3electionpb_CampaignResponse.self),
    "/v3/election/proclaim": JSONMethod(
      RPCPath.Election.proclaim, V3electionpb_ProclaimRequest.self, V3electionpb_ProclaimResponse.self),
    "/v3/election/leader": JSONMethod(
      RPCPath.Election.leader, V3electionpb_LeaderRequest.self, V3electionpb_LeaderResponse.self),
    "/v3/election/observe": JSONMethod(
      RPCPath.Election.observe, V3electionpb_LeaderRequest.self, V3electionpb_LeaderResponse.self),
    "/v3/election/resign": JSONMethod(
      RPCPath.Election.resign, V3electionpb_ResignRequest.self, V3electionpb_ResignResponse.self),
  ]
}
