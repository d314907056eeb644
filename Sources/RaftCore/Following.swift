// Owns what a follower does with what its leader sends: checking, appending, committing, acknowledging.
// Must never: remove an entry that does not conflict, or acknowledge one that is not durable.
// Invariants: `verified` is the newest index at which this log is known to agree with the log of this term's leader;
// `commit <= verified`; an acknowledgement names at most `min(verified, durable)` (Raft paper, section 5.3).

struct Following: Sendable {
  var verified: Index
  /// The newest commit index that the leader named. It may be ahead of what this node has.
  var leaderCommit: Index
  /// The newest index that was acknowledged to this term's leader.
  var acknowledged: Index = .beforeFirst
  /// An `AppendEntries` came that has not been answered yet.
  var owesAnswer = false

  /// At the start of a term: committed entries agree with every later leader's (section 5.4.3).
  init(commit: Index) {
    verified = commit
    leaderCommit = commit
  }
}

extension Raft {
  mutating func receive(_ append: AppendEntries, from sender: NodeID) {
    follow(sender)
    guard agrees(at: append.previousIndex, term: append.previousTerm) else {
      if isStorageWritable { disagree(at: append.previousIndex, term: append.previousTerm, with: sender) }
      return
    }
    let last = take(append.entries, after: append.previousIndex)
    following.verified = max(following.verified, last)
    // To answer would be to ask for what cannot be taken.
    let isComplete = last == append.previousIndex.advanced(by: append.entries.count)
    if isComplete && isStorageWritable { following.owesAnswer = true }
    learnCommit(append.commit)
  }

  /// Says where this log may still agree with the leader's.
  private mutating func disagree(at index: Index, term asked: Term, with sender: NodeID) {
    var place = log.newestPlace(atMost: index, termAtMost: asked)
    // What is committed agrees, and before it the terms may be compacted away.
    if place.index < commit { place = (commit, log.term(at: commit) ?? place.term) }
    let outcome = AppendResponse.Outcome.conflict(
      previousIndex: index, hintIndex: place.index, hintTerm: place.term)
    send(.appendResponse(AppendResponse(term: term, outcome: outcome)), to: sender)
  }

  private func agrees(at index: Index, term: Term) -> Bool {
    // What is committed is the same everywhere, and its terms may be compacted away.
    index <= commit || log.term(at: index) == term
  }

  /// Brings the log to agree with these entries, and returns the last one with which it does.
  private mutating func take(_ entries: [Entry], after previous: Index) -> Index {
    var position = 0
    var expected = previous.next
    // What is there already stays, even if more follows it: this message may be an old one (section 5.3, figure 2).
    while position < entries.count, expected <= log.lastIndex {
      let entry = entries[position]
      precondition(entry.index == expected, "\(entry.index) came in the place of \(expected)")
      if expected > commit, log.term(at: expected) != entry.term {
        guard isStorageWritable else { return expected.previous }
        truncate(from: expected)
        break
      }
      position += 1
      expected = expected.next
    }
    for entry in entries[position...] {
      guard isStorageWritable else { return entry.index.previous }
      if entry.kind == .membership {
        // Whoever does not know who votes must not go on as if it did, so it goes no further.
        guard let record = MembershipRecord.decode(entry.payload) else { return entry.index.previous }
        log.append(entry)
        history.append(record, at: entry.index)
        adoptMembership()
      } else {
        log.append(entry)
      }
    }
    return previous.advanced(by: entries.count)
  }

  private mutating func truncate(from index: Index) {
    precondition(index > commit, "\(index) is committed and must never be replaced; \(commit) is")
    precondition(index > following.verified, "\(index) agreed with this leader's log and now does not")
    log.truncate(from: index)
    ledger.truncated(from: index)
    if history.truncate(from: index) { adoptMembership() }
  }

  mutating func receive(_ heartbeat: Heartbeat, from sender: NodeID) {
    follow(sender)
    // This node acknowledged as much to this leader, perhaps before it restarted, and entries that agreed with a
    // leader's log are not replaced in its term.
    if heartbeat.commit <= log.lastIndex {
      following.verified = max(following.verified, heartbeat.commit)
    } else if isStorageWritable {
      // This disk lost what it had acknowledged. The leader would not send it again by itself.
      disagree(at: heartbeat.commit, term: log.lastTerm, with: sender)
    }
    learnCommit(heartbeat.commit)
    send(.heartbeatResponse(HeartbeatResponse(term: term, readContext: heartbeat.readContext)), to: sender)
  }

  mutating func heardLeader(_ sender: NodeID, commit: Index) {
    follow(sender)
    learnCommit(commit)
  }

  mutating func follow(_ sender: NodeID) {
    precondition(role != .leader, "\(sender) leads \(term), but \(id) does")
    precondition(leader == nil || leader == sender, "\(sender) leads \(term), but so does another node")
    if role != .follower || leader == nil {
      becomeFollower(term: term, leader: sender)
    } else {
      electionElapsed = 0
    }
  }

  private mutating func learnCommit(_ index: Index) {
    following.leaderCommit = max(following.leaderCommit, index)
    // Beyond `verified` this log may still hold entries that nobody else has.
    commit = max(commit, min(following.leaderCommit, following.verified))
  }

  /// Answers the leader with what is durable by now: one message for however many came in.
  mutating func acknowledge() {
    // An answer that would be held for the term's sake is better made when it can leave: it will cover more.
    guard role == .follower, let leader, ledger.isHardStateDurable else { return }
    let matched = min(ledger.durableThrough, following.verified)
    let isNews = matched > following.acknowledged
    let isComplete = matched == following.verified
    guard isNews || (following.owesAnswer && isComplete) else { return }
    following.acknowledged = max(following.acknowledged, matched)
    if isComplete { following.owesAnswer = false }
    send(.appendResponse(AppendResponse(term: term, outcome: .matched(through: matched))), to: leader)
  }
}
