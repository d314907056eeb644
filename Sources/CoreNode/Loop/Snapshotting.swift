// The loop's side of snapshots: when one is taken, and how the state becomes one that another node took. All of the work
// is done elsewhere (SnapshotKeeper); here roots are handed over and swapped.

import CoordinationCore
import LogStorage
import Logging
import RaftCore

extension CoreLoop {
  func takeSnapshotIfDue() {
    // One that is taken now would soon be old, and hold up what makes it old.
    guard policy.isDue(nowNanoseconds: MachineClock.monotonicNanoseconds), isWritable, !isFarBehind else { return }
    // The founding members are in no entry: a node that was added later knows nobody before the first change that it
    // applies, and a snapshot that says so would leave whoever starts from it without a cluster.
    guard !appliedMembership.voters.isEmpty else { return }
    policy.began()
    let point = SnapshotPoint(
      index: applied, term: lastAppliedTerm, clockMilliseconds: lastAppliedClockMilliseconds,
      membership: appliedMembership)
    let inbox = self.inbox
    snapshots.take(StateBox(state), at: point) { inbox.append(.snapshotTaken($0)) }
  }

  func gatherRare(_ work: Work) {
    switch work {
    case .storage(let isWritable):
      self.isWritable = isWritable
      if isWritable {
        parts.logger.notice("the disk has room again: writes are taken")
      } else {
        parts.logger.error("the disk is full but for the reserve: this node takes no writes until there is room")
      }
      inputs.append(.storage(isWritable: isWritable))
    case .snapshotTaken(let taken):
      policy.ended(
        bytes: taken.map { Int($0.description.totalBytes) }, nowNanoseconds: MachineClock.monotonicNanoseconds)
      guard let taken else { return }
      if taken.description.point.index > newestSnapshot?.description.point.index ?? .beforeFirst {
        newestSnapshot = taken
      }
      inputs.append(.snapshotTaken(taken.description.point))
    case .snapshotRead(let request, let chunk): inputs.append(.snapshotRead(request, chunk))
    case .staged(let description, let result): staged(description, result)
    case .refused(let refusal): refused(refusal)
    case .own(let command): propose(command)
    default: preconditionFailure("the other kinds of work are gathered where they are frequent")
    }
  }

  private func staged(_ description: SnapshotDescription, _ result: StageResult) {
    switch result {
    case .staged(let through): inputs.append(.snapshotStaged(description, through: through))
    case .rejected: inputs.append(.snapshotRejected(description))
    case .ready(let box):
      releaseUnusedSnapshot()
      ready = (description, box)
      inputs.append(.snapshotReady(description))
    }
  }

  /// A snapshot that the step did not ask to install is not needed any more: the log caught up while it was read.
  func releaseUnusedSnapshot() {
    guard let box = ready?.state else { return }
    ready = nil
    retired.append(box)
  }

  /// Called after the state that took their place was published, so that the last reference is let go of elsewhere.
  func releaseRetired() {
    guard !retired.isEmpty else { return }
    for box in retired { snapshots.release(box) }
    retired.removeAll()
  }

  /// The state becomes the snapshot's. Whoever waits here for an entry that is inside of it gets no outcome any more.
  func install(_ description: SnapshotDescription) {
    guard let ready, ready.description == description else {
      preconditionFailure("a snapshot is installed only after it was reported ready")
    }
    let point = description.point
    precondition(point.index > applied, "a snapshot never takes the state back")
    parts.logger.notice("a snapshot of the leader is installed", metadata: ["index": "\(point.index.rawValue)"])
    retired.append(StateBox(state))
    state = ready.state.state
    self.ready = nil
    applied = point.index
    lastAppliedTerm = point.term
    lastAppliedClockMilliseconds = point.clockMilliseconds
    committed = max(committed, applied)
    applied(point.membership)
    noteNodes()
    policy.installed(bytes: Int(description.totalBytes))
    newestSnapshot = TakenSnapshot(description: description, seconds: 0)
    housekeeping.reset()
    for (_, completion) in pending.removeAll() { replies.add(completion, .timedOut) }
    settleWaits()
    settleAllBarriers()
    inputs.append(.applied(through: applied))
    hasUrgentInput = true
    changedSincePublication = true
    hasNewState = true
  }

  /// Places in queues that are still there are kept. Of the others nothing is known but what the state says now.
  private func settleWaits() {
    for (ticket, scope) in waits.places {
      let queue = state.scopes[scope]
      if queue?.waiting.contains(where: { $0.ticket == ticket }) ?? false { continue }
      for wait in waits.remove(ticket) {
        if wait.isAbandoned { giveBack(wait) } else { replies.add(wait.completion, .timedOut) }
      }
    }
  }

  /// Its turn may have come inside the snapshot: a caller that went away must not end up as the holder.
  private func giveBack(_ wait: Wait) {
    for scope in [wait.scope] + (wait.terms?.more ?? []) {
      guard let grant = state.scopes[scope]?.grant(of: wait.lease), grant.holder == wait.holder else { continue }
      propose(.giveBack(grant, since: wait.since))
    }
  }
}
