// Owns elections: timeouts, pre-votes, votes, and what becoming a follower, a candidate or a leader changes.
// Must never: count a vote, its own included, that is not durable where it was given.
// Invariants: a leader's vote for itself is durable before it leads; a vote is refused while a leader is alive, unless
// that leader asked for the election (Raft paper, section 5.2; dissertation, sections 3.10, 4.2.3 and 9.6).

struct Election: Sendable {
  /// Who said yes in the present pre-vote or vote.
  var granted: [NodeID] = []
}

extension Raft {
  /// Whether a leader was heard of within the shortest time in which anybody may stand against it.
  var isLeaderAlive: Bool { leader != nil && electionElapsed < electionTicks }

  mutating func resetElectionTimeout() {
    electionElapsed = 0
    electionTimeout = electionTicks + generator.next(below: electionTicks)
  }

  mutating func tick() {
    ticks += 1
    electionElapsed += 1
    if role == .leader { return tickLeader() }
    expireForwardedReads()
    askToOutgrowLoss()
    // Nobody else can lead a cluster of one, so there is nothing to wait for, unless it is one only now and the leader
    // that leaves it is alive.
    let isAlone = role == .follower && membership.isAlone(id) && mayStand && !isLeaderAlive
    guard isAlone || electionElapsed >= electionTimeout else { return }
    if !mayStand {
      // It waits for others to elect a leader, and meanwhile says that it knows none.
      becomeFollower(term: term, leader: nil)
    } else if role == .candidate && !ledger.isHardStateDurable {
      // The disk still has the last vote before it: nobody was asked yet, and one more term would not be faster.
      resetElectionTimeout()
    } else {
      campaign(isTransfer: false)
    }
  }

  // MARK: Standing

  /// A node that was removed for good, that waits to be added, that lost entries or that could not write its own must
  /// not lead. One that is alone serves reads from a full disk: its one entry of the new term fits into the reserve.
  private var mayStand: Bool { isNeeded && damage == nil && (isStorageWritable || membership.isAlone(id)) }

  /// A voter that a configuration leaves out is needed until that is known to be committed: the others may still have
  /// the joint one, need its vote, and be refused it for a log that ends before its own. Then only it can lead, which
  /// ends as with any leader that is no longer a member (dissertation, section 4.2.2). A node that has just started knows
  /// of no commit, so every configuration of its log counts.
  private var isNeeded: Bool { history.hasVoter(id, since: commit) }

  private mutating func campaign(isTransfer: Bool) {
    if isTransfer || membership.isAlone(id) {
      becomeCandidate(isTransfer: isTransfer)
    } else {
      becomePreCandidate()
    }
  }

  private mutating func becomePreCandidate() {
    role = .preCandidate
    setLeader(nil)
    resetElectionTimeout()
    // A pre-vote binds nobody, so the node's own needs no disk.
    election.granted = [id]
    sendToVoters(voteRequest(term: term.next, isPreVote: true, isTransfer: false))
  }

  private mutating func becomeCandidate(isTransfer: Bool) {
    enter(term.next)
    votedFor = id
    role = .candidate
    resetElectionTimeout()
    election.granted = []
    sendToVoters(voteRequest(term: term, isPreVote: false, isTransfer: isTransfer))
  }

  private func voteRequest(term: Term, isPreVote: Bool, isTransfer: Bool) -> Message {
    .requestVote(
      RequestVote(
        term: term, lastIndex: log.lastIndex, lastTerm: log.lastTerm, isPreVote: isPreVote, isTransfer: isTransfer))
  }

  /// The leader found this node to have its whole log. A pre-vote would fail while that leader is alive.
  mutating func receiveTimeoutNow(from sender: NodeID) {
    guard role == .follower, leader == sender, mayStand else { return }
    campaign(isTransfer: true)
  }

  // MARK: Voting

  /// Any node votes for any other, learners too: which of them are voters is known to whoever counts, whose
  /// configuration may be newer than this node's (dissertation, section 4.2.1; etcd issue 8568).
  mutating func receive(_ request: RequestVote, from sender: NodeID) {
    if request.isPreVote {
      let isGranted = !isLeaderAlive && damage == nil && request.term > term && isUpToDate(request)
      let answered = isGranted ? request.term : term
      send(.voteResponse(VoteResponse(term: answered, isPreVote: true, isGranted: isGranted)), to: sender)
      return
    }
    precondition(request.term == term, "a vote is only given in the node's own term")
    let isFree = (votedFor == nil || votedFor == sender) && leader == nil
    let isGranted = isFree && damage == nil && isUpToDate(request)
    if isGranted {
      if votedFor == nil {
        votedFor = sender
        ledger.hardStateChanged()
      }
      resetElectionTimeout()
    }
    send(.voteResponse(VoteResponse(term: term, isPreVote: false, isGranted: isGranted)), to: sender)
  }

  /// Raft paper, section 5.4.1: nobody who lacks an entry that may be committed is elected.
  private func isUpToDate(_ request: RequestVote) -> Bool {
    (request.lastTerm, request.lastIndex) >= (log.lastTerm, log.lastIndex)
  }

  mutating func receive(_ response: VoteResponse, from sender: NodeID) {
    guard response.isGranted else { return }
    switch role {
    case .preCandidate where response.isPreVote && response.term == term.next: count(sender)
    case .candidate where !response.isPreVote: count(sender)
    default: break
    }
  }

  mutating func countOwnVote() {
    precondition(votedFor == id, "a candidate votes for itself")
    count(id)
  }

  private mutating func count(_ voter: NodeID) {
    if !election.granted.contains(voter) { election.granted.append(voter) }
    guard membership.isQuorum(election.granted) else { return }
    switch role {
    case .preCandidate:
      becomeCandidate(isTransfer: false)
    case .candidate:
      // Peers alone may be a quorum while the node's own vote is still being written. Were it to lead now and crash,
      // it could stand again in this same term and lead it twice, with two different logs.
      if election.granted.contains(id) { becomeLeader() }
    case .follower, .leader:
      break
    }
  }

  // MARK: Changing role

  private mutating func enter(_ newTerm: Term) {
    precondition(newTerm > term, "\(newTerm) does not follow \(term)")
    leaveLeadership()
    term = newTerm
    votedFor = nil
    setLeader(nil)
    following = Following(commit: commit)
    ledger.hardStateChanged()
  }

  mutating func becomeFollower(term newTerm: Term, leader newLeader: NodeID?) {
    if newTerm > term { enter(newTerm) }
    leaveLeadership()
    role = .follower
    setLeader(newLeader)
    resetElectionTimeout()
  }

  private mutating func setLeader(_ newLeader: NodeID?) {
    guard leader != newLeader else { return }
    leader = newLeader
    // Whatever was asked of the former leader by way of this node will not be answered any more.
    refuseForwardedReads(.leadershipLost)
  }

  /// Gives up what only a leader has. Entries that are not committed stay: their fate is the next leader's.
  private mutating func leaveLeadership() {
    guard role == .leader else { return }
    role = .follower
    refuseAllReads()
    leading = Leading()
  }

  private mutating func becomeLeader() {
    precondition(ledger.isHardStateDurable, "a leader's own vote is durable before it leads")
    role = .leader
    setLeader(id)
    electionElapsed = 0
    heartbeatElapsed = 0
    leading = Leading(termStart: log.lastIndex.next)
    appendNoOp()
    adjustPeers()
  }
}
