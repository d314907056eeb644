// Owns the state of one node and the order of a step: take all inputs, then act once for all of them.
// Must never: do I/O, read a clock, draw randomness that the seed does not give, or wait.
// Invariants: the term never falls; at most one vote a term; `commit` never falls and is never beyond the log;
// nothing that depends on a term, a vote or an entry leaves before that is durable, except that a leader sends its own
// entries at once and counts itself only when its own disk has them (dissertation, section 10.2.1).

/// One member of a Raft cluster, as a value: inputs in, effects out.
package struct Raft: Sendable {
  let id: NodeID
  /// The configuration in force: the newest that the log or the snapshot before it holds, committed or not.
  package internal(set) var membership: Membership
  let limits: Limits
  let heartbeatTicks: Int
  let electionTicks: Int
  /// Tells this run of the node from earlier ones, so that what was meant for them is not taken for ours.
  let epoch: UInt64

  package internal(set) var term: Term
  package internal(set) var role: Role = .follower
  package internal(set) var leader: NodeID?
  package internal(set) var commit: Index
  var votedFor: NodeID?
  var log: Log
  var ledger: WriteLedger
  var generator: Generator

  /// Ticks since the leader was last heard of, or, in a leader, since it last counted its quorum.
  var electionElapsed = 0
  var electionTimeout = 0
  var heartbeatElapsed = 0
  var ticks: UInt64 = 0
  var appliedThrough: Index
  var history: MembershipHistory
  var damage: Damage?
  var isStorageWritable = true

  var election = Election()
  var leading = Leading()
  var following: Following
  var forwarding = Forwarding()
  var compaction: Compaction?
  var staging: SnapshotStaging?
  /// A snapshot of which the leader has yet to be told that it is installed.
  var installed: SnapshotDescription?

  // What a step gathers before it acts.
  var clockMilliseconds: UInt64 = 0
  var newProposals: [Proposal] = []
  var newReads: [UInt64] = []
  /// The newest round of read confirmations. It rises over all terms in which this node leads.
  var lastReadContext: UInt64 = 0
  /// The snapshot that takes the log's place in this step.
  var installing: SnapshotDescription?
  var isMembershipNews = false
  var isRepairNews = false
  var held: [HeldMessage] = []
  var sends: [Effect] = []
  var answers: [Effect] = []
  var announcedCommit: Index
  private var announced: Leadership

  package init(configuration: Configuration, restored: Restored) {
    precondition(configuration.heartbeatTicks > 0, "heartbeats need at least one tick between them")
    precondition(
      configuration.electionTicks > configuration.heartbeatTicks,
      "an election timeout of \(configuration.electionTicks) ticks would fire between two heartbeats")
    id = configuration.id
    history = MembershipHistory(restored: restored, founding: configuration.membership)
    membership = history.newest.record.membership
    damage = restored.damage
    limits = configuration.limits
    heartbeatTicks = configuration.heartbeatTicks
    electionTicks = configuration.electionTicks
    generator = Generator(seed: configuration.seed ^ (configuration.id.rawValue &* 0xD6E8_FEB8_6659_FD93))
    epoch = generator.next()

    log = Log(restored: restored)
    ledger = WriteLedger(restoredThrough: restored.lastIndex)
    term = restored.hardState.term
    votedFor = restored.hardState.votedFor
    precondition(term >= log.lastTerm, "the log holds \(log.lastTerm), but the hard state only \(term)")
    // How far the cluster had committed is not kept on disk: the next leader tells. What is in a snapshot was
    // committed, and so was a compacted prefix.
    commit = max(restored.firstIndex.previous, restored.snapshot?.index ?? .beforeFirst)
    precondition(commit <= log.lastIndex, "the log ends at \(log.lastIndex), before its snapshot at \(commit)")
    appliedThrough = commit
    announcedCommit = commit
    following = Following(commit: commit)
    announced = Leadership(role: .follower, term: term, leader: nil)
    resetElectionTimeout()
  }

  // MARK: Reading

  package var lastIndex: Index { log.lastIndex }
  package var firstIndex: Index { log.firstIndex }
  package var durableIndex: Index { ledger.durableThrough }
  package var lastClockMilliseconds: UInt64 { log.lastClockMilliseconds }

  /// The oldest entry in memory; `lastIndex.next` when none is. Everything before it is durable, while entries from
  /// here on may not be yet: whoever misses some reads storage up to here and the rest from memory.
  package var firstCachedIndex: Index { log.firstCachedIndex }

  /// The entries in `(after, through]`, or nil when some are no longer in memory. Payloads are shared, not copied.
  package func cachedEntries(after: Index, through: Index) -> ArraySlice<Entry>? {
    log.entries(from: after.next, through: through).map { $0[...] }
  }

  // MARK: The step

  /// Takes a whole batch of inputs and says what is to be done, with at most one write and as few messages as the
  /// limits allow. `clockMilliseconds` is the driver's view of the cluster's clock; only a leader stamps it.
  package mutating func step(_ inputs: [Input], clockMilliseconds: UInt64) -> [Effect] {
    self.clockMilliseconds = clockMilliseconds
    for input in inputs { take(input) }
    return act()
  }

  private mutating func take(_ input: Input) {
    switch input {
    case .tick: tick()
    case .received(let message, let sender): receive(message, from: sender)
    case .propose(let proposals):
      if newProposals.isEmpty { newProposals = proposals } else { newProposals += proposals }
    case .persisted(let sequence): persisted(sequence)
    case .readIndex(let id): newReads.append(id)
    case .fetched(let request, let entries): fetched(request, entries: entries)
    case .unreachable(let peer): unreachable(peer)
    case .transferLeadership(let target): transferLeadership(to: target)
    case .applied(let index): appliedThrough = max(appliedThrough, index)
    case .snapshotTaken(let point): snapshotTaken(point)
    case .snapshotRead(let request, let chunk): snapshotRead(request, chunk)
    case .snapshotStaged(let description, let through): snapshotStaged(description, through: through)
    case .snapshotReady(let description): snapshotReady(description)
    case .snapshotRejected(let description): snapshotRejected(description)
    case .storage(let isWritable): storage(isWritable: isWritable)
    }
  }

  private mutating func act() -> [Effect] {
    takeNewProposals()
    takeNewReads()
    if role == .leader {
      advanceCommit()
      if membership.isJoint { finishChange() }
      if leading.sides.isEmpty { leaveWhenRemoved() }
    }
    serveReads()
    if damage != nil { endDamage() }
    var effects: [Effect] = []
    let write = ledger.takeWrite(log: log, hardState: HardState(term: term, votedFor: votedFor))
    if let write {
      // A write rarely comes alone, and growing by doubling would copy what is there.
      effects.reserveCapacity(leading.peers.count + 4)
      effects.append(.persist(write))
    }
    if let installing { effects.append(.installSnapshot(installing)) }
    installing = nil
    if role == .leader {
      replicate(justWritten: write?.entries ?? [])
      finishTransfer()
    } else {
      acknowledge()
      if installed != nil { acknowledgeSnapshot() }
    }
    if compaction != nil { compactWhatMayGo() }
    announce(into: &effects)
    evict()
    return effects
  }

  private mutating func announce(into effects: inout [Effect]) {
    // Before anything is sent: the driver learns from it how to reach a new member.
    if isMembershipNews { effects.append(.membership(membership)) }
    isMembershipNews = false
    if isRepairNews { effects.append(.repaired) }
    isRepairNews = false
    let leadership = Leadership(role: role, term: term, leader: leader)
    if leadership != announced {
      announced = leadership
      effects.append(.leadership(leadership))
    }
    effects += sends
    sends.removeAll(keepingCapacity: true)
    if commit > announcedCommit {
      announcedCommit = commit
      effects.append(.commit(through: commit))
    }
    effects += answers
    answers.removeAll(keepingCapacity: true)
  }

  private mutating func evict() {
    guard log.cachedBytes > limits.cachedEntryBytes || log.cachedCount > limits.maxCachedEntries else { return }
    // What is neither durable nor committed cannot be read back, and what is not applied will be asked for at once.
    let readable = min(ledger.durableThrough, commit)
    log.evict(
      through: min(readable, appliedThrough), maxBytes: limits.cachedEntryBytes, maxCount: limits.maxCachedEntries)
    // A state machine that falls far behind has to read storage, for memory must stay bounded.
    log.evict(
      through: readable, maxBytes: limits.cachedEntryBytes &* 2, maxCount: limits.maxCachedEntries &* 2)
  }

  // MARK: Messages

  struct HeldMessage: Sendable {
    var message: Message
    var peer: NodeID
    /// The node's own term when it was written: in a later one nobody needs it.
    var term: Term
  }

  /// Sends a message, or holds it until the hard state that it speaks for is durable.
  mutating func send(_ message: Message, to peer: NodeID) {
    if ledger.isHardStateDurable {
      sends.append(.send(message, to: peer))
    } else {
      hold(HeldMessage(message: message, peer: peer, term: term))
    }
  }

  /// While a disk stalls its node is asked the same again and again. Only the newest answer to a peer is kept, or a
  /// disk that hangs would fill the memory.
  private mutating func hold(_ message: HeldMessage) {
    let kind = message.message.answerKind
    if let kind, let older = held.firstIndex(where: { $0.peer == message.peer && $0.message.answerKind == kind }) {
      held[older] = message
    } else {
      held.append(message)
    }
  }

  mutating func sendToVoters(_ message: Message) {
    for member in membership.members where member.id != id && membership.isVoter(member.id) {
      send(message, to: member.id)
    }
  }

  private mutating func persisted(_ sequence: UInt64) {
    ledger.persisted(through: sequence)
    guard ledger.isHardStateDurable else { return }
    for one in held where one.term == term { sends.append(.send(one.message, to: one.peer)) }
    held.removeAll(keepingCapacity: true)
    if role == .candidate { countOwnVote() }
  }

  private mutating func receive(_ message: Message, from sender: NodeID) {
    guard sender != id else { return }
    guard settleTerm(of: message, from: sender) else { return }
    switch message {
    case .appendEntries(let append): receive(append, from: sender)
    case .appendResponse(let response): receive(response, from: sender)
    case .commitAdvanced(let advanced): heardLeader(sender, commit: advanced.commit)
    case .heartbeat(let heartbeat): receive(heartbeat, from: sender)
    case .heartbeatResponse(let response): receive(response, from: sender)
    case .requestVote(let request): receive(request, from: sender)
    case .voteResponse(let response): receive(response, from: sender)
    case .propose(let proposals): receive(proposals, from: sender)
    case .proposalsRefused(let refused): receive(refused)
    case .readIndex(let request): receive(request, from: sender)
    case .readIndexResponse(let response): receive(response)
    case .timeoutNow: receiveTimeoutNow(from: sender)
    case .installSnapshot(let install): receive(install, from: sender)
    case .installSnapshotResponse(let response): receive(response, from: sender)
    }
  }

  /// Brings this node to a higher term or answers a lower one (Raft paper, section 5.1). False when that was all.
  private mutating func settleTerm(of message: Message, from sender: NodeID) -> Bool {
    if message.term < term { return answerStale(message, from: sender) }
    guard message.term > term else { return true }
    switch message {
    case .requestVote(let request):
      if request.isPreVote { return true }
      if isLeaderAlive && !request.isTransfer { return false }
      becomeFollower(term: message.term, leader: nil)
    case .voteResponse(let response) where response.isPreVote && response.isGranted:
      return true
    case .appendEntries, .commitAdvanced, .heartbeat, .installSnapshot, .timeoutNow, .readIndexResponse,
      .proposalsRefused:
      // Only a leader says so. It may be a member of a newer configuration than ours.
      becomeFollower(term: message.term, leader: nil)
    default:
      // A former member may have a higher term, but a leader answers to its own cluster alone.
      guard role != .leader || membership.contains(sender) else { return false }
      becomeFollower(term: message.term, leader: nil)
    }
    return true
  }

  /// A sender of a lower term learns ours, or it would go on for ever: a deposed leader cut off by pre-votes, or a
  /// candidate that missed an election. False unless the message still means something.
  private mutating func answerStale(_ message: Message, from sender: NodeID) -> Bool {
    switch message {
    case .appendEntries(let append):
      let place = log.newestPlace(atMost: append.previousIndex, termAtMost: append.previousTerm)
      let outcome = AppendResponse.Outcome.conflict(
        previousIndex: append.previousIndex, hintIndex: place.index, hintTerm: place.term)
      send(.appendResponse(AppendResponse(term: term, outcome: outcome)), to: sender)
    case .installSnapshot(let install):
      let response = InstallSnapshotResponse(
        term: term, index: install.chunk.description.point.index, checksum: install.chunk.description.checksum,
        outcome: .staged(through: 0))
      send(.installSnapshotResponse(response), to: sender)
    case .heartbeat:
      // The answer carries our term, so it must not carry the context of an earlier one: its sender may lead in our
      // term by now and would take it for the confirmation of a round that it has yet to begin.
      send(.heartbeatResponse(HeartbeatResponse(term: term, readContext: 0)), to: sender)
    case .requestVote(let request):
      send(
        .voteResponse(VoteResponse(term: term, isPreVote: request.isPreVote, isGranted: false)), to: sender)
    case .proposalsRefused:
      return true
    default:
      break
    }
    return false
  }
}

extension Message {
  /// Answers of one kind of which a newer one makes an older one needless.
  fileprivate enum AnswerKind {
    case append
    case heartbeat
    case vote
    case snapshot
  }

  fileprivate var answerKind: AnswerKind? {
    switch self {
    case .appendResponse: .append
    case .heartbeatResponse: .heartbeat
    case .voteResponse: .vote
    case .installSnapshotResponse: .snapshot
    default: nil
    }
  }
}
