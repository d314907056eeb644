// Owns what nodes say to each other. The bytes of it are made elsewhere, so everything here is a plain value.
// Must never: hold anything that only has a meaning inside one node.
// Invariant: every message carries the term of its sender. The network may lose, repeat, delay and reorder messages.

/// Sent by the leader: entries that follow `previousIndex`, or none, as a question whether the logs agree there.
package struct AppendEntries: Sendable, Equatable {
  package var term: Term
  package var previousIndex: Index
  package var previousTerm: Term
  /// Contiguous, from `previousIndex.next`.
  package var entries: [Entry]
  /// The leader's own commit index. It may be beyond these entries: a follower commits what it has verified.
  package var commit: Index

  package init(term: Term, previousIndex: Index, previousTerm: Term, entries: [Entry], commit: Index) {
    self.term = term
    self.previousIndex = previousIndex
    self.previousTerm = previousTerm
    self.entries = entries
    self.commit = commit
  }
}

package struct AppendResponse: Sendable, Equatable {
  package enum Outcome: Sendable, Equatable {
    /// The follower's log agrees with the leader's up to here, and all of it is durable.
    case matched(through: Index)
    /// The follower has no entry of the asked term at `previousIndex`. It can only agree at or before `hintIndex`,
    /// where its own entry has `hintTerm`.
    case conflict(previousIndex: Index, hintIndex: Index, hintTerm: Term)
  }

  package var term: Term
  package var outcome: Outcome
  /// Added by the driver that sends it, for the leader's driver. Nothing is decided by it.
  package var timing: AppendTiming?

  package init(term: Term, outcome: Outcome, timing: AppendTiming? = nil) {
    self.term = term
    self.outcome = outcome
    self.timing = timing
  }
}

/// How long a follower took over the entries that it acknowledges. Durations alone: its clock means nothing to others.
package struct AppendTiming: Sendable, Equatable {
  /// From when it had taken them up to when the answer left. At least `flushNanoseconds`.
  package var heldNanoseconds: UInt64
  package var flushNanoseconds: UInt64

  package init(heldNanoseconds: UInt64, flushNanoseconds: UInt64) {
    self.heldNanoseconds = heldNanoseconds
    self.flushNanoseconds = flushNanoseconds
  }
}

/// Tells followers that the commit index rose when there is nothing else to send. It needs no answer.
package struct CommitAdvanced: Sendable, Equatable {
  package var term: Term
  package var commit: Index

  package init(term: Term, commit: Index) {
    self.term = term
    self.commit = commit
  }
}

package struct Heartbeat: Sendable, Equatable {
  package var term: Term
  /// Never beyond what this follower has acknowledged in this term. A follower that restarted meanwhile may thus
  /// trust it, although it no longer knows how far its log agrees with the leader's.
  package var commit: Index
  /// The newest round of read confirmations. It is the leader's own sequence and means nothing to anyone else.
  package var readContext: UInt64

  package init(term: Term, commit: Index, readContext: UInt64) {
    self.term = term
    self.commit = commit
    self.readContext = readContext
  }
}

package struct HeartbeatResponse: Sendable, Equatable {
  package var term: Term
  /// Echoed from a heartbeat of this very term: the follower still took the sender for its leader after that round
  /// began. 0 confirms nothing.
  package var readContext: UInt64

  package init(term: Term, readContext: UInt64) {
    self.term = term
    self.readContext = readContext
  }
}

package struct RequestVote: Sendable, Equatable {
  /// The term in which the sender would lead. For a pre-vote it has not entered that term yet.
  package var term: Term
  package var lastIndex: Index
  package var lastTerm: Term
  /// Only asks whether a vote could be won (dissertation, section 9.6). Nobody's term changes.
  package var isPreVote: Bool
  /// The current leader asked for this election, so it is held although that leader is alive (section 3.10).
  package var isTransfer: Bool

  package init(term: Term, lastIndex: Index, lastTerm: Term, isPreVote: Bool, isTransfer: Bool) {
    self.term = term
    self.lastIndex = lastIndex
    self.lastTerm = lastTerm
    self.isPreVote = isPreVote
    self.isTransfer = isTransfer
  }
}

package struct VoteResponse: Sendable, Equatable {
  /// For a granted pre-vote the term that was asked about, otherwise the term of the voter.
  package var term: Term
  package var isPreVote: Bool
  package var isGranted: Bool

  package init(term: Term, isPreVote: Bool, isGranted: Bool) {
    self.term = term
    self.isPreVote = isPreVote
    self.isGranted = isGranted
  }
}

/// Proposals handed on by a follower.
package struct Propose: Sendable, Equatable {
  package var term: Term
  /// A number of the sender's present run, so that a repeated or late message is never taken for a new one.
  package var epoch: UInt64
  /// Rises with each message of this epoch.
  package var sequence: UInt64
  package var proposals: [Proposal]

  package init(term: Term, epoch: UInt64, sequence: UInt64, proposals: [Proposal]) {
    self.term = term
    self.epoch = epoch
    self.sequence = sequence
    self.proposals = proposals
  }
}

/// Proposals that were handed on and that the leader did not take: they are not applied, now or later.
package struct ProposalsRefused: Sendable, Equatable {
  package var term: Term
  /// The epoch of the `Propose` that this answers.
  package var epoch: UInt64
  package var ids: [UInt64]
  package var refusal: Refusal

  package init(term: Term, epoch: UInt64, ids: [UInt64], refusal: Refusal) {
    self.term = term
    self.epoch = epoch
    self.ids = ids
    self.refusal = refusal
  }
}

/// A follower asks the leader for an index that makes its own reads linearizable (dissertation, section 6.4).
package struct ReadIndexRequest: Sendable, Equatable {
  package var term: Term
  package var epoch: UInt64
  package var sequence: UInt64

  package init(term: Term, epoch: UInt64, sequence: UInt64) {
    self.term = term
    self.epoch = epoch
    self.sequence = sequence
  }
}

package struct ReadIndexResponse: Sendable, Equatable {
  package enum Outcome: Sendable, Equatable {
    case ready(index: Index)
    case refused(Refusal)
  }

  package var term: Term
  /// Epoch and sequence of the request that this answers.
  package var epoch: UInt64
  package var sequence: UInt64
  package var outcome: Outcome

  package init(term: Term, epoch: UInt64, sequence: UInt64, outcome: Outcome) {
    self.term = term
    self.epoch = epoch
    self.sequence = sequence
    self.outcome = outcome
  }
}

/// A stretch of a snapshot, for a follower that needs entries which the leader's log no longer has (Raft paper,
/// section 7). A chunk of no bytes asks how much the follower has.
package struct InstallSnapshot: Sendable, Equatable {
  package var term: Term
  package var chunk: SnapshotChunk

  package init(term: Term, chunk: SnapshotChunk) {
    self.term = term
    self.chunk = chunk
  }
}

package struct InstallSnapshotResponse: Sendable, Equatable {
  package enum Outcome: Sendable, Equatable {
    /// The follower holds this snapshot's bytes up to here: go on from there.
    case staged(through: UInt64)
    /// The follower's state and log, on disk, are at or beyond the snapshot's point.
    case installed
    /// All bytes came and do not check: begin again.
    case rejected
  }

  package var term: Term
  /// Names the snapshot that this answers: index and checksum of its description.
  package var index: Index
  package var checksum: UInt32
  package var outcome: Outcome

  package init(term: Term, index: Index, checksum: UInt32, outcome: Outcome) {
    self.term = term
    self.index = index
    self.checksum = checksum
    self.outcome = outcome
  }
}

/// The leader asks a follower that has the whole log to stand for election at once.
package struct TimeoutNow: Sendable, Equatable {
  package var term: Term

  package init(term: Term) { self.term = term }
}

package enum Message: Sendable, Equatable {
  case appendEntries(AppendEntries)
  case appendResponse(AppendResponse)
  case commitAdvanced(CommitAdvanced)
  case heartbeat(Heartbeat)
  case heartbeatResponse(HeartbeatResponse)
  case requestVote(RequestVote)
  case voteResponse(VoteResponse)
  case propose(Propose)
  case proposalsRefused(ProposalsRefused)
  case readIndex(ReadIndexRequest)
  case readIndexResponse(ReadIndexResponse)
  case timeoutNow(TimeoutNow)
  indirect case installSnapshot(InstallSnapshot)
  case installSnapshotResponse(InstallSnapshotResponse)

  package var term: Term {
    switch self {
    case .appendEntries(let message): message.term
    case .appendResponse(let message): message.term
    case .commitAdvanced(let message): message.term
    case .heartbeat(let message): message.term
    case .heartbeatResponse(let message): message.term
    case .requestVote(let message): message.term
    case .voteResponse(let message): message.term
    case .propose(let message): message.term
    case .proposalsRefused(let message): message.term
    case .readIndex(let message): message.term
    case .readIndexResponse(let message): message.term
    case .timeoutNow(let message): message.term
    case .installSnapshot(let message): message.term
    case .installSnapshotResponse(let message): message.term
    }
  }
}
