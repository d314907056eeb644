// Owns a follower's side of a snapshot: staging its bytes, and taking its place in the log.
// Must never: say that a snapshot is installed before the log behind it is durable, or go back behind `commit`.
// Invariants: at most one chunk is being staged; the log is reset only where it lacks the snapshot's last entry, since
// whatever follows that entry may be committed and acknowledged (Raft paper, section 7, figure 13, step 6).

struct SnapshotStaging: Sendable {
  var description: SnapshotDescription
  /// Reported as staged.
  var through: UInt64 = 0
  /// A chunk was handed to storage, which has not reported it yet.
  var isBusy = false
  /// The leader asked meanwhile, or sent again what is being staged.
  var owesAnswer = false
}

extension SnapshotChunk {
  /// Whether the chunk lies within its own snapshot, whatever its sender says.
  fileprivate var isWithinBounds: Bool {
    offset <= description.totalBytes && UInt64(bytes.count) <= description.totalBytes - offset
  }
}

extension Raft {
  mutating func receive(_ install: InstallSnapshot, from sender: NodeID) {
    follow(sender)
    let chunk = install.chunk
    guard chunk.isWithinBounds, chunk.description.point.term <= term else { return }
    if chunk.description.point.index <= commit {
      // This log has all of it, though perhaps not on disk yet.
      if staging?.description == chunk.description { staging = nil }
      installed = chunk.description
      return
    }
    // A full disk stages nothing. The leader asks again.
    guard isStorageWritable else { return }
    guard let current = staging, current.description == chunk.description else { return beginStaging(chunk) }
    if current.isBusy {
      staging?.owesAnswer = true
    } else if chunk.offset == current.through && !chunk.bytes.isEmpty {
      stage(chunk)
    } else {
      answer(current.description, .staged(through: current.through))
    }
  }

  /// The beginning of another snapshot takes the place of what was staged, which may have been a former leader's.
  private mutating func beginStaging(_ chunk: SnapshotChunk) {
    guard chunk.offset == 0, !chunk.bytes.isEmpty || chunk.description.totalBytes == 0 else {
      return answer(chunk.description, .staged(through: 0))
    }
    staging = SnapshotStaging(description: chunk.description)
    stage(chunk)
  }

  private mutating func stage(_ chunk: SnapshotChunk) {
    staging?.isBusy = true
    staging?.owesAnswer = true
    answers.append(.stageSnapshot(chunk))
  }

  mutating func snapshotStaged(_ description: SnapshotDescription, through: UInt64) {
    guard let current = staging, current.description == description else { return }
    precondition(through <= description.totalBytes, "more was staged than the snapshot has")
    staging?.through = through
    staging?.isBusy = false
    staging?.owesAnswer = false
    if current.owesAnswer { answer(description, .staged(through: through)) }
  }

  mutating func snapshotRejected(_ description: SnapshotDescription) {
    guard staging?.description == description else { return }
    staging = nil
    answer(description, .rejected)
  }

  mutating func snapshotReady(_ description: SnapshotDescription) {
    // Another snapshot may have come in between, or this node leads by now and has all of it in its log.
    guard staging?.description == description else { return }
    staging = nil
    guard role != .leader else { return }
    installed = description
    // The log may have caught up while the snapshot was read.
    if description.point.index > commit { install(description) }
  }

  private mutating func install(_ description: SnapshotDescription) {
    // A candidate asked for votes for the log that it is about to give up.
    if role != .follower { becomeFollower(term: term, leader: nil) }
    let point = description.point
    if log.term(at: point.index) != point.term {
      precondition(point.term <= term, "a snapshot at \(point.term) came in \(term)")
      let base = LogBase(index: point.index, term: point.term, clockMilliseconds: point.clockMilliseconds)
      log.reset(to: base)
      ledger.reset(to: base, committed: commit)
      history = MembershipHistory(base: point.index, point.membership)
      adoptMembership()
    }
    commit = point.index
    appliedThrough = max(appliedThrough, commit)
    announcedCommit = max(announcedCommit, commit)
    following.verified = max(following.verified, commit)
    following.leaderCommit = max(following.leaderCommit, commit)
    installing = description
  }

  /// Tells the leader once the disk has what takes the snapshot's place.
  mutating func acknowledgeSnapshot() {
    guard let description = installed, role == .follower, ledger.isHardStateDurable else { return }
    guard ledger.durableThrough >= description.point.index else { return }
    installed = nil
    answer(description, .installed)
  }

  private mutating func answer(_ description: SnapshotDescription, _ outcome: InstallSnapshotResponse.Outcome) {
    guard role == .follower, let leader else { return }
    let response = InstallSnapshotResponse(
      term: term, index: description.point.index, checksum: description.checksum, outcome: outcome)
    send(.installSnapshotResponse(response), to: leader)
  }
}
