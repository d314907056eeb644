// Owns what a leader does without being asked: it proposes the end of leases and clients whose time is over, and marks
// the clock of an idle cluster.
// Must never: hand an expiry to another leader, who has a clock of its own.
// Invariant: only a leader that has applied an entry of its own term proposes an expiry, for only then it has seen every
// renewal that was ordered before.

import CoordinationCore
import RaftCore

struct SimulatedHousekeeping {
  static let periodMilliseconds: UInt64 = 100
  static let retryMilliseconds: UInt64 = 2000
  static let idleMarkMilliseconds: UInt64 = 10_000
  static let maxExpiriesPerLook = 8

  var lastLookMilliseconds: UInt64 = 0
  /// Leases whose expiry is proposed, with the time at which it was; few at a time.
  var proposed: [(lease: LeaseID, at: UInt64)] = []
  var proposedClients: [(client: ClientID, at: UInt64)] = []
  var lastApplied = RaftCore.Index.beforeFirst
  var lastAppliedMilliseconds: UInt64 = 0
}

extension Simulator {
  mutating func keepHouse(_ node: SimulatedNode, localMilliseconds now: UInt64) {
    guard now >= node.housekeeping.lastLookMilliseconds + SimulatedHousekeeping.periodMilliseconds else { return }
    node.housekeeping.lastLookMilliseconds = now
    guard let term = node.raft?.term, node.role == .leader, node.appliedTerm == term else {
      if !node.housekeeping.proposed.isEmpty { node.housekeeping.proposed = [] }
      if !node.housekeeping.proposedClients.isEmpty { node.housekeeping.proposedClients = [] }
      return
    }
    let reading = node.clock.now(localMilliseconds: now)
    expireLeases(node, reading: reading, now: now)
    reopenScopes(node, reading: reading)
    expireClients(node, reading: reading, now: now)
    markClock(node, now: now)
  }

  /// The planted bug must be in both places, for the state looks at an expiry's time once more.
  func expiresEarlyBy(_ command: Command) -> UInt64 {
    switch (options.plantedBug, command) {
    case (.leaseExpiresEarly, .leaseExpire): return world.sessions.ttlMilliseconds / 2
    case (.reopenedEarly, .reopen): return contention.ttlMilliseconds / 2
    default: return 0
    }
  }

  private mutating func expireLeases(_ node: SimulatedNode, reading: UInt64, now: UInt64) {
    let early = options.plantedBug == .leaseExpiresEarly ? world.sessions.ttlMilliseconds / 2 : 0
    guard let next = node.state.leases.nextDeadlineMilliseconds, next <= reading + early else { return }
    node.housekeeping.proposed.removeAll { $0.at + SimulatedHousekeeping.retryMilliseconds <= now }
    let limit = SimulatedHousekeeping.maxExpiriesPerLook + node.housekeeping.proposed.count
    for candidate in node.state.leases.expired(at: reading + early, limit: limit)
    where !node.housekeeping.proposed.contains(where: { $0.lease == candidate.lease }) {
      node.housekeeping.proposed.append((candidate.lease, now))
      proposeHousekeeping(.leaseExpire(candidate), at: node)
    }
  }

  /// A proposal that is made twice opens nothing that was closed again since: it names the time.
  private mutating func reopenScopes(_ node: SimulatedNode, reading: UInt64) {
    guard world.contention != nil else { return }
    let early = options.plantedBug == .reopenedEarly ? contention.ttlMilliseconds / 2 : 0
    let due = node.state.scopes.reopenable(at: reading + early, limit: SimulatedHousekeeping.maxExpiriesPerLook)
    for (scope, until) in due { proposeHousekeeping(.reopen(scope: scope, untilMilliseconds: until), at: node) }
  }

  private mutating func expireClients(_ node: SimulatedNode, reading: UInt64, now: UInt64) {
    guard let next = node.state.clients.nextDeadlineMilliseconds, next <= reading else { return }
    node.housekeeping.proposedClients.removeAll { $0.at + SimulatedHousekeeping.retryMilliseconds <= now }
    let limit = SimulatedHousekeeping.maxExpiriesPerLook + node.housekeeping.proposedClients.count
    for candidate in node.state.clients.expired(at: reading, limit: limit)
    where !node.housekeeping.proposedClients.contains(where: { $0.client == candidate.client }) {
      node.housekeeping.proposedClients.append((candidate.client, now))
      proposeHousekeeping(.expireClient(candidate), at: node)
    }
  }

  private mutating func markClock(_ node: SimulatedNode, now: UInt64) {
    if node.applied != node.housekeeping.lastApplied {
      node.housekeeping.lastApplied = node.applied
      node.housekeeping.lastAppliedMilliseconds = now
    } else if node.state.leases.count > 0,
      now >= node.housekeeping.lastAppliedMilliseconds + SimulatedHousekeeping.idleMarkMilliseconds
    {
      node.housekeeping.lastAppliedMilliseconds = now
      proposeHousekeeping(.markClock, at: node)
    }
  }

  mutating func proposeHousekeeping(_ command: Command, at node: SimulatedNode) {
    let id = operations.begin(.housekeeping, node: node.position, life: node.life, at: now)
    let payload = Envelope(origin: node.id.rawValue, request: id, command: command).encoded()
    node.inputs.append(.propose([Proposal(id: id, payload: payload)]))
  }
}
