// What a leader does without being asked: it proposes the end of leases and of clients' memories whose time is over,
// marks the clock of an idle cluster, lets go of old history where that is wanted, and marks the records of nodes that
// were removed. What every node does: it sees to
// it that its public key, the birth of its disk and its name are known to all.
//
// An expiry is a proposal like any other. It names the generation that this leader saw, so a renewal that is ordered
// before it wins; and it is never handed to another leader, who has a clock of its own.

import CoordinationCore
import RaftCore

struct Housekeeping {
  private static let periodMilliseconds: UInt64 = 100
  /// A proposal that got no place in the log is made again after this time.
  private static let retryMilliseconds: UInt64 = 2000
  private static let idleMarkMilliseconds: UInt64 = 10_000

  private var lastLookMilliseconds: UInt64 = 0
  /// Leases whose expiry is proposed, with the time at which it was.
  private var proposedExpiries: [LeaseID: UInt64] = [:]
  private var proposedClients: [ClientID: UInt64] = [:]
  private var recordProposedMilliseconds: UInt64?
  private var nameProposedMilliseconds: UInt64?
  private var forgetProposedMilliseconds: UInt64?
  private var lastEntry = Index.beforeFirst
  private var lastEntryMilliseconds: UInt64 = 0
  private var compaction: AutoCompaction
  private var quota = QuotaKeeping()

  init(compaction: AutoCompaction.Policy?) {
    self.compaction = AutoCompaction(compaction)
  }

  mutating func settled(_ lease: LeaseID) { proposedExpiries[lease] = nil }

  /// The state became another one: nothing that was proposed for the old one is waited for.
  mutating func reset() {
    let (compaction, quota) = (compaction, quota)
    self = Housekeeping(compaction: nil)
    (self.compaction, self.quota) = (compaction, quota)
  }

  mutating func run(on loop: CoreLoop, localMilliseconds now: UInt64) {
    guard now >= lastLookMilliseconds + Self.periodMilliseconds else { return }
    lastLookMilliseconds = now
    showGauges(of: loop)
    registerNode(on: loop, now)
    publishName(on: loop, now)
    quota.run(on: loop, localMilliseconds: now)
    let store = loop.state.store
    let compactTo = compaction.due(at: now, revision: store.revision, compacted: store.compactedRevision)
    guard loop.leadership.role == .leader, loop.lastAppliedTerm == loop.leadership.term else {
      proposedExpiries.removeAll()
      proposedClients.removeAll()
      return
    }
    expireLeases(on: loop, now)
    reopenScopes(on: loop, now)
    expireClients(on: loop, now)
    forgetRemoved(on: loop, now)
    markClock(on: loop, now)
    if let compactTo { loop.propose(.compact(compactTo)) }
  }

  private func showGauges(of loop: CoreLoop) {
    var gauges = NodeGauges(raft: loop.raft.status)
    gauges.isImpaired = loop.isImpaired
    gauges.isWritable = loop.isWritable
    gauges.leaderChanges = loop.leaderChanges
    gauges.pendingProposals = loop.pending.count
    gauges.failedProposals = loop.failedProposals
    if let taken = loop.newestSnapshot {
      gauges.snapshotIndex = taken.description.point.index
      gauges.snapshotBytes = taken.description.totalBytes
      gauges.snapshotSeconds = taken.seconds
    }
    loop.publication.gauges = gauges
  }

  private mutating func expireLeases(on loop: CoreLoop, _ now: UInt64) {
    let reading = loop.clock.now(localMilliseconds: now)
    let limit = loop.parts.configuration.limits.maxExpiriesPerLook
    proposedExpiries = proposedExpiries.filter { $0.value + Self.retryMilliseconds > now }
    for candidate in loop.state.leases.expired(at: reading, limit: limit + proposedExpiries.count)
    where proposedExpiries[candidate.lease] == nil {
      proposedExpiries[candidate.lease] = now
      loop.propose(.leaseExpire(candidate))
    }
  }

  /// A proposal that is made twice opens nothing that was closed again since: it names the time.
  private mutating func reopenScopes(on loop: CoreLoop, _ now: UInt64) {
    let reading = loop.clock.now(localMilliseconds: now)
    for (scope, until) in loop.state.scopes.reopenable(
      at: reading, limit: loop.parts.configuration.limits.maxExpiriesPerLook)
    {
      loop.propose(.reopen(scope: scope, untilMilliseconds: until))
    }
  }

  private mutating func expireClients(on loop: CoreLoop, _ now: UInt64) {
    let reading = loop.clock.now(localMilliseconds: now)
    let limit = loop.parts.configuration.limits.maxExpiriesPerLook
    proposedClients = proposedClients.filter { $0.value + Self.retryMilliseconds > now }
    for candidate in loop.state.clients.expired(at: reading, limit: limit + proposedClients.count)
    where proposedClients[candidate.client] == nil {
      proposedClients[candidate.client] = now
      loop.propose(.expireClient(candidate))
    }
  }

  private mutating func markClock(on loop: CoreLoop, _ now: UInt64) {
    if loop.applied != lastEntry {
      lastEntry = loop.applied
      lastEntryMilliseconds = now
    } else if loop.state.leases.count + loop.state.clients.count + loop.state.auth.tokens.count > 0,
      now >= lastEntryMilliseconds + Self.idleMarkMilliseconds
    {
      lastEntryMilliseconds = now
      loop.propose(.markClock)
    }
  }

  /// The records of a node that is no member any more are marked: its keys vouch for what was granted until now, and can be
  /// let go of one day. So are those of a key that was followed by another.
  private mutating func forgetRemoved(on loop: CoreLoop, _ now: UInt64) {
    let membership = loop.appliedMembership
    guard !membership.isJoint, let gone = loop.state.unboundedKey(isMember: { membership.contains(NodeID($0)) }),
      Self.isDue(&forgetProposedMilliseconds, now)
    else { return }
    loop.propose(.retireKeys(node: gone.node, isRemoved: gone.isRemoved))
  }

  private mutating func registerNode(on loop: CoreLoop, _ now: UInt64) {
    let record = loop.parts.nodeRecord
    guard loop.leadership.leader != nil, !loop.state.nodes.contains(record),
      loop.appliedMembership.contains(loop.localID), Self.isDue(&recordProposedMilliseconds, now)
    else { return }
    loop.propose(.registerNode(record))
  }

  /// A member that was added has a URL and no name until it starts.
  private mutating func publishName(on loop: CoreLoop, _ now: UInt64) {
    let name = loop.parts.address.name
    guard loop.leadership.leader != nil, !loop.membership.isJoint, let own = loop.appliedMembership[loop.localID],
      var address = own.peerAddress, address.name != name, Self.isDue(&nameProposedMilliseconds, now)
    else { return }
    address.name = name
    let change = MembershipChange.update(Member(id: own.id, address: address.encoded()))
    let context = ChangeContext(origin: own.id, request: 0).bytes
    let payload = MembershipRequest(change: change, context: context).encoded()
    loop.inputs.append(.propose([Proposal(id: 0, kind: .membership, payload: payload)]))
    loop.hasUrgentInput = true
  }

  /// Whether a proposal may be made now, being the first or long enough after the last; notes that it is made.
  private static func isDue(_ proposedMilliseconds: inout UInt64?, _ now: UInt64) -> Bool {
    if let proposed = proposedMilliseconds, now < proposed + retryMilliseconds { return false }
    proposedMilliseconds = now
    return true
  }
}
