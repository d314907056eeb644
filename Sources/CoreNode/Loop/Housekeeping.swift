// What a leader does without being asked: it proposes the end of leases whose time is over, and marks the clock of an
// idle cluster. What every node does: it sees to it that its public key is in the state.
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
  private var recordProposedMilliseconds: UInt64?
  private var lastEntry = Index.beforeFirst
  private var lastEntryMilliseconds: UInt64 = 0

  mutating func settled(_ lease: LeaseID) { proposedExpiries[lease] = nil }

  mutating func run(on loop: CoreLoop, localMilliseconds now: UInt64) {
    guard now >= lastLookMilliseconds + Self.periodMilliseconds else { return }
    lastLookMilliseconds = now
    registerNode(on: loop, now)
    guard loop.leadership.role == .leader, loop.lastAppliedTerm == loop.leadership.term else {
      proposedExpiries.removeAll()
      return
    }
    expireLeases(on: loop, now)
    markClock(on: loop, now)
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

  private mutating func markClock(on loop: CoreLoop, _ now: UInt64) {
    if loop.applied != lastEntry {
      lastEntry = loop.applied
      lastEntryMilliseconds = now
    } else if loop.state.leases.count > 0, now >= lastEntryMilliseconds + Self.idleMarkMilliseconds {
      lastEntryMilliseconds = now
      loop.propose(.markClock)
    }
  }

  private mutating func registerNode(on loop: CoreLoop, _ now: UInt64) {
    let key = loop.parts.nodeRecord
    guard loop.leadership.leader != nil, !loop.state.nodes.contains(key) else { return }
    if let proposed = recordProposedMilliseconds, now < proposed + Self.retryMilliseconds { return }
    recordProposedMilliseconds = now
    loop.propose(.registerNode(key))
  }
}
