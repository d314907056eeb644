// Owns what a leader does: appending, replicating, committing, heartbeats and counting its quorum.
// Must never: change or remove an entry of its own log, or commit an entry of an earlier term by counting copies.
// Invariants: `termStart` is the index of this term's no-op; own entries count only from `ledger.durableThrough`
// (Raft paper, sections 5.3 and 5.4.2, figure 8; dissertation, section 10.2.1).

struct Leading: Sendable {
  var peers: [Progress] = []
  /// Snapshots under way, one for each peer in the state `snapshot`.
  var snapshots: [SnapshotSending] = []
  /// Where the leader itself counts.
  var sides: Sides = []
  /// The first index of this leader's own term: from here on, counting copies commits.
  var termStart: Index = .beforeFirst
  var uncommittedBytes = 0
  var transfer: Transfer?
  var reads = ReadRounds()
  var inbound = InboundProposals()

  init() {}

  init(termStart: Index) { self.termStart = termStart }

  func position(of peer: NodeID) -> Int? { peers.firstIndex { $0.id == peer } }
}

/// Entries cut for one message. Followers that are equally far share them.
private struct Cut {
  var first: Index
  var entries: [Entry]
  var sizeBytes: Int
}

extension Raft {
  // MARK: Appending

  mutating func appendNoOp() { append(kind: .noOp, payload: []) }

  mutating func append(kind: Entry.Kind, payload: [UInt8]) {
    let clock = max(clockMilliseconds, log.lastClockMilliseconds)
    let entry = Entry(
      index: log.lastIndex.next, term: term, clockMilliseconds: clock, kind: kind, payload: payload)
    leading.uncommittedBytes += entry.sizeBytes
    log.append(entry)
  }

  struct Refused {
    var ids: [UInt64]
    var refusal: Refusal
  }

  /// Appends what may be appended and returns the rest with the reasons.
  mutating func append(_ proposals: [Proposal]) -> [Refused] {
    if !isStorageWritable { return [Refused(ids: proposals.map(\.id), refusal: .storageFull)] }
    if leading.transfer != nil { return [Refused(ids: proposals.map(\.id), refusal: .leadershipTransfer)] }
    var refused: [Refused] = []
    for (position, proposal) in proposals.enumerated() {
      // Something is always let in when nothing waits, or a large proposal could never be made.
      let isTooMuch = leading.uncommittedBytes + proposal.payload.count > limits.maxUncommittedBytes
      if isTooMuch && leading.uncommittedBytes > 0 {
        refused.append(Refused(ids: proposals[position...].map(\.id), refusal: .tooManyUncommittedBytes))
        return refused
      }
      switch proposal.kind {
      case .command: append(kind: .command, payload: proposal.payload)
      case .membership:
        if let refusal = beginChange(proposal.payload) { refused.append(Refused(ids: [proposal.id], refusal: refusal)) }
      case .noOp: appendNoOp()
      }
    }
    return refused
  }

  // MARK: Committing

  mutating func advanceCommit() {
    let agreed = agreedIndex()
    // Only an entry of its own term tells a leader that a quorum follows it (section 5.4.2).
    guard agreed > commit, agreed >= leading.termStart else { return }
    let first = max(commit, leading.termStart.previous)
    leading.uncommittedBytes -= log.cachedSizeBytes(after: first, through: agreed)
    commit = agreed
    precondition(commit <= log.lastIndex, "\(commit) was acknowledged but the log ends at \(log.lastIndex)")
  }

  /// The newest index that a quorum has on disk.
  private func agreedIndex() -> Index {
    quorumValue(own: ledger.durableThrough) { $0.matched }
  }

  /// Whether this leader knows what was committed before its term (dissertation, section 6.4).
  var hasCommittedInTerm: Bool { commit >= leading.termStart }

  // MARK: Replicating

  /// Sends every follower what it may get now. The leader's own write of the same entries is under way meanwhile.
  mutating func replicate(justWritten: [Entry]) {
    var cut = justWritten.first.map { first in
      Cut(first: first.index, entries: justWritten, sizeBytes: justWritten.reduce(0) { $0 + $1.sizeBytes })
    }
    for position in leading.peers.indices {
      while leading.peers[position].next <= log.lastIndex, leading.peers[position].maySend(within: limits) {
        if leading.peers[position].next < log.firstIndex {
          beginSnapshot(for: position)
          break
        }
        if leading.peers[position].asksAgain {
          sendAppend(to: position, [], sizeBytes: 0)
          leading.peers[position].asked(tick: ticks)
          break
        }
        guard let ready = entriesToSend(to: position, reusing: &cut) else { break }
        sendAppend(to: position, ready.entries, sizeBytes: ready.sizeBytes)
      }
      tellCommit(to: position)
    }
  }

  private mutating func entriesToSend(to position: Int, reusing cut: inout Cut?) -> Cut? {
    let peer = leading.peers[position]
    if let cut, cut.first == peer.next, cut.sizeBytes <= limits.maxMessageBytes || cut.entries.count == 1 {
      return cut
    }
    guard peer.next >= log.firstCachedIndex else {
      fetch(for: position)
      return nil
    }
    let fitting = log.lastFitting(from: peer.next, maxBytes: limits.maxMessageBytes)
    guard let entries = log.entries(from: peer.next, through: fitting.last) else { return nil }
    cut = Cut(first: peer.next, entries: entries, sizeBytes: fitting.sizeBytes)
    return cut
  }

  private mutating func sendAppend(to position: Int, _ entries: [Entry], sizeBytes: Int) {
    let peer = leading.peers[position]
    let previous = peer.next.previous
    guard let previousTerm = log.term(at: previous) else {
      preconditionFailure("the term of \(previous) is unknown, and \(peer.id) needs the entry after it")
    }
    let append = AppendEntries(
      term: term, previousIndex: previous, previousTerm: previousTerm, entries: entries, commit: commit)
    send(.appendEntries(append), to: peer.id)
    leading.peers[position].sentCommit = commit
    if let last = entries.last { leading.peers[position].sent(through: last.index, sizeBytes: sizeBytes, tick: ticks) }
  }

  /// The commit index must not wait for the next entry or heartbeat: followers apply, and answer reads, by it.
  private mutating func tellCommit(to position: Int) {
    guard leading.peers[position].sentCommit < commit, leading.peers[position].state == .replicate else { return }
    send(.commitAdvanced(CommitAdvanced(term: term, commit: commit)), to: leading.peers[position].id)
    leading.peers[position].sentCommit = commit
  }

  private mutating func fetch(for position: Int) {
    let peer = leading.peers[position]
    let last = log.firstCachedIndex.previous
    let request = FetchRequest(
      peer: peer.id, term: term, first: peer.next, last: last, maxBytes: limits.maxMessageBytes)
    leading.peers[position].fetching = request
    answers.append(.fetch(request))
  }

  mutating func fetched(_ request: FetchRequest, entries: [Entry]) {
    guard role == .leader, request.term == term, let position = leading.position(of: request.peer) else { return }
    guard leading.peers[position].fetching == request else { return }
    leading.peers[position].fetching = nil
    guard leading.peers[position].next == request.first, leading.peers[position].maySend(within: limits) else { return }
    // The log was compacted meanwhile: only a snapshot helps now.
    guard request.first >= log.firstIndex else { return }
    precondition(!entries.isEmpty, "storage holds \(request.first), yet it gave back nothing")
    for (offset, entry) in entries.enumerated() {
      let expected = request.first.advanced(by: offset)
      precondition(entry.index == expected, "storage gave back \(entry.index) where \(expected) belongs")
      precondition(entry.term == log.term(at: expected), "storage gave back \(expected) with \(entry.term)")
    }
    sendAppend(to: position, entries, sizeBytes: entries.reduce(0) { $0 + $1.sizeBytes })
  }

  // MARK: Answers

  mutating func receive(_ response: AppendResponse, from sender: NodeID) {
    guard role == .leader, let position = leading.position(of: sender) else { return }
    leading.peers[position].heard(tick: ticks)
    switch response.outcome {
    case .matched(let index):
      precondition(index <= log.lastIndex, "\(sender) acknowledged \(index), the leader's log ends at \(log.lastIndex)")
      leading.peers[position].acknowledged(through: index)
      endSnapshotIfNeedless(position)
    case .conflict(let previous, let hintIndex, let hintTerm):
      let hint = log.newestPlace(atMost: hintIndex, termAtMost: hintTerm)
      leading.peers[position].conflicted(at: previous, hint: hint.index)
    }
  }

  mutating func receive(_ response: HeartbeatResponse, from sender: NodeID) {
    guard role == .leader, let position = leading.position(of: sender) else { return }
    leading.peers[position].heard(tick: ticks)
    leading.peers[position].readContext = max(leading.peers[position].readContext, response.readContext)
    if leading.peers[position].heardHeartbeat(tick: ticks, patienceTicks: heartbeatTicks) {
      // Where the log was compacted meanwhile nothing can be asked any more.
      if leading.peers[position].next < log.firstIndex { return beginSnapshot(for: position) }
      sendAppend(to: position, [], sizeBytes: 0)
    }
    if leading.peers[position].state == .snapshot { resumeSnapshot(position) }
    askWithoutEntries(position)
  }

  /// A connection that broke leaves a follower in `probe`. Where it has everything no entry would ever ask it whether
  /// it agrees, so it would not be told of commits, and a learner could not be promoted, until something is written.
  private mutating func askWithoutEntries(_ position: Int) {
    let peer = leading.peers[position]
    guard peer.state == .probe, peer.next > log.lastIndex, peer.maySend(within: limits) else { return }
    sendAppend(to: position, [], sizeBytes: 0)
    leading.peers[position].asked(tick: ticks)
  }

  mutating func unreachable(_ peer: NodeID) {
    guard role == .leader, let position = leading.position(of: peer) else { return }
    leading.peers[position].becameUnreachable()
    if let sending = leading.snapshotPosition(of: peer) { leading.snapshots[sending].sinceTick = 0 }
  }

  // MARK: Time

  mutating func tickLeader() {
    tickTransfer()
    guard role == .leader else { return }
    dismissPeers()
    if electionElapsed >= electionTicks {
      electionElapsed = 0
      // A leader that nobody hears steps down, so that its clients look elsewhere (dissertation, section 6.2).
      guard hasActiveQuorum() else { return becomeFollower(term: term, leader: nil) }
    }
    heartbeatElapsed += 1
    if heartbeatElapsed >= heartbeatTicks {
      heartbeatElapsed = 0
      sendHeartbeats()
    }
  }

  /// Heard of within the time in which a follower would have stood for election.
  func isHeard(_ peer: Progress) -> Bool { ticks < peer.heardAtTick + UInt64(electionTicks) }

  mutating func sendHeartbeats() {
    for position in leading.peers.indices {
      let known = min(commit, leading.peers[position].matched)
      leading.peers[position].sentCommit = max(leading.peers[position].sentCommit, known)
      let heartbeat = Heartbeat(term: term, commit: known, readContext: lastReadContext)
      send(.heartbeat(heartbeat), to: leading.peers[position].id)
    }
  }
}
