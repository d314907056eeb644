// The parts of a story that are about leases, watches, locks and elections.

import Foundation
import Protocol

extension ComparedStory {
  // MARK: Leases

  /// No lease that lives on ends within a story: when it would end is not the same instant for both servers.
  mutating func leaseSteps() -> [ComparedStep] {
    let id = isWrong() ? pick([99, 0, -3]) : Int64(1 + below(6))
    switch below(12) {
    case ..<5:
      if isWrong() {
        // The least is a second here: gone at once, and what was asked for shows in the answer.
        let short = Int64(1001 + below(3))
        return [.grant(short, ttl: pick([0, -1, 1, .min])), .revoke(short)]
      }
      return [.grant(id, ttl: isWrong() ? pick([9_000_000_001, .max]) : pick([5000, 7777, 9_000_000_000]))]
    case ..<7: return [.revoke(id)]
    case ..<9:
      var request = Etcdserverpb_LeaseTimeToLiveRequest()
      request.id = id
      request.keys = chance(60)
      return [.call(RPCPath.Lease.leaseTimeToLive, request, as: Etcdserverpb_LeaseTimeToLiveResponse.self)]
    case 9:
      return [
        .call(RPCPath.Lease.leaseLeases, Etcdserverpb_LeaseLeasesRequest(), as: Etcdserverpb_LeaseLeasesResponse.self)
      ]
    case 10 where chance(30): return [.grant(0, ttl: 5000)]
    default: return [.keepAlive(lease: id)]
    }
  }

  // MARK: Watches

  mutating func watchSteps() -> [ComparedStep] {
    switch below(10) {
    case ..<5: return [.watch(watchRequest())]
    case ..<8: return [.cancelWatch(Int64(below(10)))]
    case 8: return [.progress]
    default: return [.settle]
    }
  }

  private mutating func watchRequest() -> Etcdserverpb_WatchCreateRequest {
    var request = Etcdserverpb_WatchCreateRequest()
    request.key = key()
    request.rangeEnd = rangeEnd(for: request.key)
    // What is past is awaited by a put, which an alarm may refuse.
    switch raised.isEmpty ? below(10) : 0 {
    case ..<5: break
    case 5: request.startRevision = revision + Int64(1 + below(5))
    case 6: request.startRevision = max(0, compacted - Int64(below(3)))
    default: request.startRevision = max(1, revision - Int64(below(15)))
    }
    // From the very revision of a compaction, etcd does not show deletions (docs/differences-from-etcd.md).
    if request.startRevision == compacted, compacted > 0 { request.startRevision += 1 }
    if chance(15) { request.filters.append(.noput) }
    if chance(15) { request.filters.append(.nodelete) }
    if isWrong() { request.filters.append(.UNRECOGNIZED(9)) }
    request.prevKv = chance(40)
    request.fragment = chance(20)
    request.progressNotify = chance(20)
    if chance(25) { request.watchID = Int64(1 + below(9)) }
    if isWrong() { request.watchID = -2 }
    return request
  }

  // MARK: Locks and elections

  /// Each lease has names of its own, so that nobody waits for anybody.
  mutating func lineSteps() -> [ComparedStep] {
    let lease = isWrong() ? 99 : Int64(1 + below(6))
    switch below(8) {
    case ..<2:
      var request = V3lockpb_LockRequest()
      request.name = Data("lock\(lease)".utf8)
      request.lease = lease
      return [.call(RPCPath.Lock.lock, request, as: V3lockpb_LockResponse.self)]
    case 2:
      var request = V3lockpb_UnlockRequest()
      request.key = isWrong() ? Data() : Data("lock\(lease)/\(lease)".utf8)
      return [.call(RPCPath.Lock.unlock, request, as: V3lockpb_UnlockResponse.self)]
    case ..<5:
      var request = V3electionpb_CampaignRequest()
      request.name = Data("election\(lease)".utf8)
      request.lease = lease
      request.value = value()
      return [.campaign(request)]
    case 5: return [.leading(.proclaim(value()), lease: lease)]
    case 6: return [.leading(.resign, lease: lease)]
    default:
      var request = V3electionpb_LeaderRequest()
      request.name = Data("election\(lease)".utf8)
      return [.call(RPCPath.Election.leader, request, as: V3electionpb_LeaderResponse.self)]
    }
  }
}
