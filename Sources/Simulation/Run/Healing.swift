// Owns what a world must show once its faults are over: that it serves again, and that all of it comes to agree.
// Must never: wait for ever, or give up on a cluster that still makes progress before all patience is over.
// Invariant: a random majority is enough to serve; the rest starts again when it has.

import CoordinationCore
import RaftCore

enum Phase: Equatable {
  case faults
  /// Faults are over, a majority is up: it must serve again.
  case majority
  /// Everybody is up: all must come to agree.
  case convergence
  case done
}

struct Watch {
  var ends: UInt64 = 0
  /// The end of all patience, even with a cluster that keeps making progress.
  var endsForGood: UInt64 = 0
  var acknowledgedBefore = 0
  var progress = 0
}

extension Simulator {
  static let lookMicroseconds: UInt64 = 100_000
  static let operationsAfterHealing = 10

  mutating func heal() throws(Broken) {
    phase = .majority
    network.becomeReliable()
    trace.record(.healed("everything"), at: now)
    let down = drawMinority()
    if !down.isEmpty { reach(.minorityDownWhileHealing) }
    for node in nodes {
      node.localClock.thaw(at: now)
      node.frozenUntil = 0
      node.disk.stalledUntil = 0
      if node.disk.isFull { diskHasRoom(node) }
      if down.contains(node.position) {
        if node.isUp { crash(node, for: nil) }
      } else if !node.isUp {
        try start(node)
      } else {
        schedule(node)
      }
    }
    watch.ends = now + options.livenessMilliseconds * 1000
    watch.endsForGood = now + 20 * options.livenessMilliseconds * 1000
    watch.acknowledgedBefore = operations.acknowledged
    queue.push(.look, afterMicroseconds: Self.lookMicroseconds)
  }

  /// Nodes that stay down for now. What is left has a majority of healthy nodes in every configuration that may be in
  /// force.
  private mutating func drawMinority() -> [Int] {
    guard healingChance.chance(perMille: 500) else { return [] }
    var down: [Int] = []
    for candidate in healingChance.sample(nodes.count, below: nodes.count) where !nodes[candidate].isGone {
      let isEnough = everyConfigurationHasMajority {
        self.isHealthy($0) && $0.position != candidate && !down.contains($0.position)
      }
      if isEnough { down.append(candidate) }
    }
    return down
  }

  mutating func look() throws(Broken) {
    switch phase {
    case .majority where operations.acknowledged >= watch.acknowledgedBefore + Self.operationsAfterHealing:
      phase = .convergence
      watch.progress = 0
      watch.ends = now + options.livenessMilliseconds * 1000
      for node in nodes where !node.isUp { try start(node) }
    case .convergence where hasConverged():
      phase = .done
      return try checkAgreement()
    case .majority where progress() != watch.progress, .convergence where progress() != watch.progress:
      // A backlog that goes through a narrow window takes its time. It may, as long as it goes on and comes to an end.
      guard now < watch.endsForGood else { throw stuck() }
      watch.progress = progress()
      watch.ends = min(now + options.livenessMilliseconds * 1000, watch.endsForGood)
    case .majority, .convergence:
      guard now < watch.ends else { throw stuck() }
    case .faults, .done:
      return
    }
    queue.push(.look, afterMicroseconds: Self.lookMicroseconds)
  }

  /// Members of the newest configuration whose disks are still there.
  private var members: [SimulatedNode] {
    checker.members.newest.members.compactMap { isGone($0.id) ? nil : nodes[Int($0.id.rawValue) - 1] }
  }

  /// What everybody has applied and what the others have of the longest log. That one growing is not progress yet. Nodes
  /// that no committed configuration names yet count too: a change to them may be what everything waits for.
  private func progress() -> Int {
    let applied = nodes.reduce(0) { $0 + Int($1.applied.rawValue) }
    let lengths = nodes.map { Int($0.disk.durable.lastIndex.rawValue) }
    let staged = nodes.reduce(0) { $0 + ($1.staging?.bytes.count ?? 0) }
    return applied + lengths.reduce(0, +) - (lengths.max() ?? 0) + staged
  }

  private func hasConverged() -> Bool {
    guard !checker.members.newest.isJoint else { return false }
    let committed = checker.log.committedIndex
    return members.allSatisfy {
      $0.applied == committed && $0.raft?.lastIndex == committed && $0.disk.durable.damage == nil
    }
  }

  private mutating func checkAgreement() throws(Broken) {
    for node in members {
      let digest = SnapshotCodec.digest(node.state)
      try checker.state.compare(digest: digest, at: node.applied, of: node.id)
      mix(digest)
      mix(node.state.digest)
    }
  }

  /// As the leader sees them.
  private func followers(of raft: Raft) -> String {
    raft.status.peers.map { peer in
      let manner = peer.snapshot != nil ? "in a snapshot" : peer.isReplicating ? "replicating" : "probing"
      return ", \(peer.id) \(manner) from \(peer.next.rawValue) after \(peer.matched.rawValue)"
    }.joined()
  }

  private func stuck() -> Broken {
    let nodes = nodes.filter { !$0.isGone }.map { node in
      guard let raft = node.raft else { return "\(node.id) is down" }
      let damage = node.disk.durable.damage.map { ", damaged \($0.firstLost)...\($0.lastLost)" } ?? ""
      return "\(node.id) is \(raft.role) in \(raft.term), log \(raft.lastIndex.rawValue), commit "
        + "\(raft.commit.rawValue), applied \(node.applied.rawValue)\(damage)\(followers(of: raft))"
    }
    let expected = phase == .majority ? "serve again" : "agree"
    return Broken(
      "a healed cluster makes progress",
      "it did not \(expected) within \(options.livenessMilliseconds) ms, \(checker.log.committed.count) committed, "
        + "voters \(checker.members.newest.voters.map(\.rawValue)) leaving "
        + "\(checker.members.newest.outgoing.map(\.rawValue)): " + nodes.joined(separator: "; "))
  }
}
