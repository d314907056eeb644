// Owns what planted bugs do to messages, commands and verdicts, and the worlds in which they can show.
// Must never: do anything while no bug is planted.
// Invariant: a bug alters what goes into a core or comes out of it, never the core.

import CoordinationCore
import FencingCore
import RaftCore

extension Simulator {
  // MARK: Messages

  mutating func forged(_ message: Message, from node: SimulatedNode) -> Message {
    switch (options.plantedBug, message) {
    case (.voteForged, .voteResponse(var response)) where !response.isPreVote && !response.isGranted:
      response.isGranted = true
      return .voteResponse(response)
    case (.acknowledgementForged, .appendResponse(var response)):
      guard case .conflict(let previous, _, _) = response.outcome else { return message }
      response.outcome = .matched(through: previous)
      return .appendResponse(response)
    case (.payloadChanged, .appendEntries(var append)):
      guard let last = append.entries.indices.last, networkChance.chance(perMille: 20) else { return message }
      guard let byte = append.entries[last].payload.indices.last else { return message }
      append.entries[last].payload[byte] ^= 1
      return .appendEntries(append)
    case (.oldRoundConfirms, .heartbeatResponse(var response)) where response.readContext > 0:
      response.readContext += 1
      return .heartbeatResponse(response)
    default:
      return message
    }
  }

  func repeated(_ message: Message) -> Message {
    guard options.plantedBug == .proposalRepeated, case .propose(var propose) = message else { return message }
    propose.sequence += 1_000_000
    return .propose(propose)
  }

  mutating func forgeConfirmation(of message: Message, to sender: Int, by receiver: Int) {
    guard case .heartbeat(let heartbeat) = message else { return }
    let response = HeartbeatResponse(term: heartbeat.term, readContext: heartbeat.readContext)
    queue.push(
      .arrive(.heartbeatResponse(response), from: receiver, to: sender),
      afterMicroseconds: world.network.delayMicroseconds)
  }

  /// A message that also arrives in the name of somebody whose word counts.
  mutating func forgeSender(of message: Message, from sender: Int, to receiver: Int) {
    guard case .appendResponse(let response) = message, case .matched = response.outcome else { return }
    let membership = nodes[receiver].membership
    var names: [NodeID] = []
    switch options.plantedBug {
    case .learnerCounted where membership.isLearner(nodes[sender].id): names = membership.voters
    case .jointOneSided where membership.isJoint && membership.voters.contains(nodes[sender].id):
      names = membership.outgoing
    default: return
    }
    for name in names where name != nodes[receiver].id {
      queue.push(
        .arrive(message, from: Int(name.rawValue) - 1, to: receiver),
        afterMicroseconds: world.network.delayMicroseconds)
    }
  }

  // MARK: Commands

  func distorted(_ envelope: Envelope, _ state: Coordination) -> Envelope {
    var command = envelope.command
    var name = envelope.name
    switch (options.plantedBug, envelope.command) {
    case (.executedTwice, _): name = nil
    case (.generationIgnored, .leaseExpire(let candidate)) where state.leases[candidate.lease] != nil:
      command = .leaseRevoke(candidate.lease)
    case (.releaseIgnoresNumber, .release(let scope, _, _)):
      if let holder = state.scopes[scope]?.holder { command = .release(scope: scope, number: holder.number) }
    case (.grantedInPart, .acquire(let request)):
      let first = state.scopes[request.scope]
      guard first.map({ !$0.isHeld && !$0.isClosed && $0.waitingCount == 0 }) ?? true,
        request.terms?.more.contains(where: { state.scopes[$0]?.isHeld ?? false }) ?? false
      else { return envelope }
      var part = request
      part.terms?.more = []
      command = .acquire(part)
    case (.givenBackFromHolder, .giveBack(let scope, let number, let lease, _)):
      command = .release(scope: scope, number: number, lease: lease)
    case (.closeTakenForLoss, .closeSession(let lease)): command = .leaseRevoke(lease)
    case (.olderConfirmationCounts, .gateway(.confirm(let gateway, let scope, _))):
      guard let raise = state.gateways[gateway]?.raises.first(where: { $0.scope == scope }) else { return envelope }
      command = .gateway(.confirm(gateway, scope: scope, number: raise.number))
    default: return envelope
    }
    return Envelope(
      origin: envelope.origin, request: envelope.request, name: name, fence: envelope.fence, command: command)
  }

  /// What a bug does to a state before an entry is applied to it.
  func meddle(with node: SimulatedNode, _ command: Command, _ entry: Entry) {
    let state = node.state
    switch (options.plantedBug, command) {
    case (.laterPassesBy, .release(let scope, let number, _)):
      guard let known = state.scopes[scope], known.holder?.number == number, known.waitingCount > 1 else { return }
      let waiting = known.waiting
      guard waiting[0].terms?.more.isEmpty ?? true, waiting[1].terms?.more.isEmpty ?? true else { return }
      let cancel = Command.cancelWait(scope: scope, ticket: waiting[0].ticket)
      _ = node.state.apply(cancel, index: entry.index.rawValue, clockMilliseconds: entry.clockMilliseconds)
    case (.shareBesideHolder, .acquire(let request)) where request.wantsShare:
      guard let known = state.scopes[request.scope], let holder = known.holder, known.waitingCount == 0,
        holder.lease != request.lease, request.terms?.more.isEmpty ?? true
      else { return }
      _ = node.state.apply(
        .release(holder), index: entry.index.rawValue, clockMilliseconds: entry.clockMilliseconds)
    default: break
    }
  }

  /// Whether a bug has the node that is asked look at a guard, and at once.
  func isCheckedEarly(_ fence: GrantFence, at node: SimulatedNode) -> Bool {
    options.plantedBug == .guardCheckedBeforeLog && node.state.staleness(of: fence) == nil
  }

  // MARK: Commits

  /// What figure 8 of the Raft paper forbids: a leader counts copies of entries of earlier terms.
  mutating func countPriorTerm(_ node: SimulatedNode) throws(Broken) {
    guard node.role == .leader, let membership = node.raft?.membership else { return }
    var index = node.applied.next
    var agreed: RaftCore.Index?
    while let term = node.disk.durable.term(at: index) {
      let holders = membership.voters.filter { !isGone($0) && disk(of: $0).durable.term(at: index) == term }
      guard holders.count >= membership.quorum else { break }
      agreed = index
      index = index.next
    }
    guard let agreed, node.raft.map({ $0.commit < agreed }) ?? false else { return }
    try apply(through: agreed, by: node)
  }

  private func disk(of id: NodeID) -> SimulatedDisk { nodes[Int(id.rawValue) - 1].disk }

  // MARK: Verdicts

  func distorted(_ verdict: Verdict, _ request: GatewayRequest, _ floor: Floor?) -> Verdict {
    guard let floor else { return verdict }
    switch (options.plantedBug, verdict) {
    case (.fenceRefusesEqual, .accept): return .refuse(.stale(seen: floor, presented: request.claims))
    case (.incarnationIgnored, _):
      if request.claims.number < floor.number { return .refuse(.stale(seen: floor, presented: request.claims)) }
      return request.claims.number == floor.number ? .accept : .raise(to: request.claims.floor)
    default: return verdict
    }
  }
}

extension World {
  /// A planted bug can only show where its occasion comes up. Everything else stays as the seed drew it.
  mutating func provoke(_ bug: PlantedBug) {
    nodeCount = max(nodeCount, 3)
    switch bug {
    case .voteNotPersisted, .termNotPersisted: provokeElections()
    case .diskForgets, .reportedBeforeDurable: insert([.crash, .powerCut, .isolation])
    case .voteForged, .acknowledgementForged, .payloadChanged: insert([.crash, .isolation])
    case .proposalRepeated:
      insert([.repeatedMessage])
      network.repeatPerMille = max(network.repeatPerMille, 50)
    case .readFromMemory, .readBeforeApplied, .confirmationForged: insert([.isolation, .splitPartition])
    case .oldRoundConfirms:
      insert([.isolation, .oneWayPartition, .lateMessage])
      network.latePerMille = max(network.latePerMille, 200)
      network.maxLateMicroseconds = 1_000_000
      load.readPerMille = 700
    case .priorTermCounted: provokeFigureEight()
    case .damageIgnored: insert([.entryRot, .crash, .isolation, .powerCut])
    case .fullDiskAcknowledges, .fullDiskUnnoticed:
      insert([.diskFull, .isolation])
      disk.reserveBytes = 4 << 10
      load.operationsPerSecond = 150
      load.readPerMille = 100
    case .learnerCounted, .jointOneSided: insert([.reconfiguration, .isolation, .splitPartition])
    case .snapshotMembershipWrong: insertSnapshots([])
    case .applySkippedAfterInstall: insertSnapshots([.crash, .isolation])
    case .executedTwice:
      insert([.crash, .isolation])
      load.exactlyOncePerMille = 500
    case .leaseExpiresEarly, .generationIgnored, .deadlineFromAnswer, .releaseIgnoresNumber: provokeSessions()
    case .fenceRefusesEqual, .fenceCheckedEarly, .floorNotDurable, .incarnationIgnored: provokeGateways()
    case .watchSkipsRevision, .watchResumesFromHeader: load.watchers = 3
    case .guardCheckedBeforeLog: insert([.lateMessage, .isolation, .freeze])
    case .grantedInPart, .laterPassesBy, .shareBesideHolder, .reopenedEarly, .closeTakenForLoss: break
    case .barrierNotAwaited, .givenBackFromHolder, .olderConfirmationCounts, .confirmedBeforeDurable, .floorForgotten,
      .olderLetIn:
      break
    case .diskFallsSilent, .canary: break
    }
  }

  /// Two candidates of one term, and a voter that forgets between them: slow answers to hasty elections.
  private mutating func provokeElections() {
    faults = [.crashAfterVote, .powerCut, .linkCut, .lateMessage]
    nodeCount = 3
    meanFaultGapMicroseconds = 400_000
    tickMicroseconds = 10_000
    electionTicks = 6
    heartbeatTicks = 4
    network = NetworkSizes(
      delayMicroseconds: 5000, lossPerMille: 0, repeatPerMille: 0, latePerMille: 400, maxLateMicroseconds: 60_000)
    disk.flushMicroseconds = 500
    crashAfterVotePerMille = 700
  }

  /// Leaders that fall before their first own entry is everywhere.
  private mutating func provokeFigureEight() {
    faults = [.crash, .isolation, .linkCut, .lostMessage, .diskStall]
    nodeCount = 5
    meanFaultGapMicroseconds = 100_000
    tickMicroseconds = 10_000
    electionTicks = 6
    heartbeatTicks = 2
    network.lossPerMille = 200
    limits.maxMessageBytes = 200
    limits.maxInFlightMessages = 1
    disk.flushMicroseconds = 3000
    disk.snapshotEveryEntries = 0
  }

  private mutating func insertSnapshots(_ kinds: [FaultKind]) {
    insert(kinds)
    disk.snapshotEveryEntries = 3
    limits.trailingEntries = 0
  }

  private mutating func provokeSessions() {
    insert([.holderPause, .lateMessage, .isolation, .freeze])
    // Where clocks jump, leases may be shorter, and the rule says less.
    faults.removeAll { $0 == .clockJump }
    sessions.count = 6
    sessions.scopes = 1
    sessions.ttlMilliseconds = 800
  }

  private mutating func provokeGateways() {
    insert([.holderPause, .gatewayCrash, .incarnationRaised])
    sessions.count = 6
    sessions.scopes = 1
    sessions.ttlMilliseconds = 800
  }
}
