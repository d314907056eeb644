// One turn of the loop: what has come in becomes inputs of Raft, its effects are carried out, what is committed is
// applied, and only then is anything published or answered.

import CoordinationCore
import LogStorage
import Logging
import NIOCore
import RaftCore

extension CoreLoop {
  func turn(_ work: [Work]) {
    let local = MachineClock.bootTimeMilliseconds
    commits.turnBegan(at: MachineClock.monotonicNanoseconds)
    gather(work)
    tick()
    housekeeping.run(on: self, localMilliseconds: local)
    let effects = raft.step(inputs, clockMilliseconds: clock.now(localMilliseconds: local))
    commits.stepped(at: MachineClock.monotonicNanoseconds)
    pending.didStep(in: raft.term)
    inputs.removeAll(keepingCapacity: true)
    hasUrgentInput = false
    for effect in effects { carryOut(effect, localMilliseconds: local) }
    releaseUnusedSnapshot()
    for (peer, messages) in outgoing { parts.peers.send(messages, peer) }
    outgoing.removeAll(keepingCapacity: true)
    applyCommitted()
    commits.applied(through: applied, at: MachineClock.monotonicNanoseconds)
    takeSnapshotIfDue()
    publish()
    releaseRetired()
    answerReads()
    timeOut()
    replies.send(timelines: commits.finished, counting: statistics.commits)
  }
}

// MARK: - A turn's input

extension CoreLoop {
  var nextTickNanoseconds: UInt64 {
    lastTickNanoseconds + UInt64(parts.configuration.tickMilliseconds) * 1_000_000
  }

  private func gather(_ work: [Work]) {
    var proposals: [Proposal] = []
    var readers: [ReadCompletion] = []
    var persisted: UInt64?
    let deadline =
      MachineClock.monotonicNanoseconds + UInt64(parts.configuration.requestTimeoutMilliseconds) * 1_000_000
    let isSwamped = committed > applied.advanced(by: parts.configuration.limits.maxUnappliedEntries)
    for item in work {
      switch item {
      case .command(_, _, let completion) where isSwamped:
        replies.add(completion, .refused(.tooManyUncommittedBytes))
      case .command(let id, let payload, let completion):
        pending.add(id, completion, deadlineNanoseconds: deadline)
        pending.willPropose(id)
        proposals.append(Proposal(id: id, payload: payload))
      case .read(let completion): readers.append(completion)
      case .received(let messages, let peer):
        for message in messages {
          if case .appendResponse(let response) = message { commits.received(response, from: peer) }
          inputs.append(.received(message, from: peer))
        }
      case .unreachable(let peer): inputs.append(.unreachable(peer))
      case .persisted(let sequence, let began, let ended):
        persisted = max(sequence, persisted ?? 0)
        commits.flushed(through: sequence, beganAt: began, endedAt: ended)
      case .cancelWait(let request, let end): cancelWait(request, end)
      case .change(let id, let payload, let completion):
        pending.add(id, completion, deadlineNanoseconds: deadline)
        proposals.append(Proposal(id: id, kind: .membership, payload: payload))
      case .transfer(let target, let completion): transfer(to: target, completion)
      case .storage, .snapshotTaken, .snapshotRead, .staged, .refused, .own: gatherRare(item)
      case .stop: isStopping = true
      }
    }
    if let persisted { inputs.append(.persisted(sequence: persisted)) }
    if !proposals.isEmpty { inputs.append(.propose(proposals)) }
    // One confirmation of leadership serves every read of the turn.
    if !readers.isEmpty {
      reads[nextReadID] = readers
      inputs.append(.readIndex(id: nextReadID))
      nextReadID += 1
    }
  }

  /// Proposes a command of the node itself. Its outcome concerns nobody here, so it has no pending request.
  func propose(_ command: Command) {
    let payload = Envelope(origin: localID.rawValue, request: 0, command: command).encoded()
    inputs.append(.propose([Proposal(id: 0, payload: payload)]))
    hasUrgentInput = true
  }

  /// After a stall only a few ticks are made up for: the leader's heartbeats may be waiting in the inbox.
  private func tick() {
    let step = UInt64(parts.configuration.tickMilliseconds) * 1_000_000
    let now = MachineClock.monotonicNanoseconds
    guard now >= lastTickNanoseconds + step else { return }
    let elapsed = (now - lastTickNanoseconds) / step
    for _ in 0..<min(elapsed, UInt64(parts.configuration.heartbeatTicks)) { inputs.append(.tick) }
    lastTickNanoseconds += elapsed * step
  }
}

// MARK: - A turn's effects

extension CoreLoop {
  private func carryOut(_ effect: Effect, localMilliseconds: UInt64) {
    switch effect {
    case .persist(let persist):
      follow(persist, localMilliseconds: localMilliseconds)
      commits.persisting(persist, isLed: raft.role == .leader)
      writer?.submit(persist)
    case .send(let message, let peer): queue(message, for: peer)
    case .commit(let index):
      committed = max(committed, index)
      commits.committed(through: index, isLed: raft.role == .leader, by: membership)
    case .refuse(let ids, let refusal):
      for id in ids {
        guard let completion = pending.remove(id) else { continue }
        failedProposals += 1
        replies.add(completion, .refused(refusal))
      }
    case .readReady(let ids, let index): confirmedReads.append((ids, index))
    case .refuseRead(let ids, let refusal):
      for id in ids {
        for completion in reads.removeValue(forKey: id) ?? [] { replies.add(completion, .failure(.refused(refusal))) }
      }
    case .fetch(let request): fetch(request)
    case .leadership(let new): led(by: new)
    case .membership(let new): inForce(new)
    case .readSnapshot(let request):
      let inbox = self.inbox
      snapshots.read(request) { inbox.append(.snapshotRead(request, $0)) }
    case .stageSnapshot(let chunk):
      let inbox = self.inbox
      snapshots.stage(chunk) { inbox.append(.staged(chunk.description, $0)) }
    case .installSnapshot(let description): install(description)
    case .compact(let index): writer?.compact(before: index)
    case .repaired:
      isImpaired = false
      parts.logger.notice("the damaged log was repaired from the other members; this node votes again")
    }
  }

  /// A leader's own entries are stamped by this clock already; anyone else's lead it.
  private func follow(_ persist: Persist, localMilliseconds: UInt64) {
    guard raft.role != .leader,
      let stamp = persist.entries.last?.clockMilliseconds ?? persist.base?.clockMilliseconds
    else { return }
    clock.follow(stampMilliseconds: stamp, localMilliseconds: localMilliseconds)
  }

  private func led(by new: Leadership) {
    parts.logger.info(
      "leadership",
      metadata: [
        "role": "\(new.role)", "term": "\(new.term.rawValue)", "leader": "\(new.leader?.description ?? "none")",
      ])
    if let leader = new.leader, leader != leadership.leader { leaderChanges += 1 }
    leadership = new
    commits.leadershipChanged()
    changedSincePublication = true
    done += transfers.led(by: new.leader)
  }

  private func queue(_ message: Message, for peer: NodeID) {
    var message = message
    if case .appendResponse(var response) = message {
      response.timing = commits.timing(of: response)
      message = .appendResponse(response)
    }
    for index in outgoing.indices where outgoing[index].peer == peer {
      outgoing[index].messages.append(message)
      return
    }
    outgoing.append((peer, [message]))
  }

  /// A peer that fell behind the cache is served from the log. The read is a memory-mapped one of bounded size.
  private func fetch(_ request: FetchRequest) {
    do {
      let entries = try parts.storage.entries(
        after: request.first.previous, through: request.last, maxBytes: request.maxBytes)
      inputs.append(.fetched(request, entries: entries))
      hasUrgentInput = true
    } catch {
      end(.storage("the log could not be read for a follower: \(error)"))
    }
  }

  /// Whoever holds a published state makes the next change to each of its nodes copy that node. A node that has a long log
  /// to apply, and nobody who waits, therefore publishes once a second.
  private var isPublicationDue: Bool {
    guard appliedSincePublication, !changedSincePublication else { return changedSincePublication }
    let nobodyWaits = answered.isEmpty && done.isEmpty && confirmedReads.isEmpty
    return !(isFarBehind && nobodyWaits)
      || MachineClock.monotonicNanoseconds >= publishedNanoseconds + Self.catchUpPublicationNanoseconds
  }

  func publish() {
    guard isPublicationDue else { return }
    changedSincePublication = false
    appliedSincePublication = false
    publishedNanoseconds = MachineClock.monotonicNanoseconds
    let snapshot = makeSnapshot()
    publication.publish(snapshot)
    parts.watches.advance(to: snapshot)
    if hasNewState || !touchedScopes.isEmpty || hasGatewayNews {
      parts.holds.changed(hasNewState ? nil : touchedScopes, concernsGateways: hasGatewayNews)
      touchedScopes.removeAll()
      (hasNewState, hasGatewayNews) = (false, false)
    }
    for item in answered {
      replies.add(
        item.completion, .applied(item.outcome, snapshot, revision: item.revision), timeline: item.timeline)
    }
    answered.removeAll(keepingCapacity: true)
    for completion in done { replies.add(completion, .done(snapshot)) }
    done.removeAll(keepingCapacity: true)
  }

  private static let catchUpPublicationNanoseconds: UInt64 = 1_000_000_000

  private func makeSnapshot() -> Snapshot {
    let isLeader = leadership.role == .leader
    let isAlone = membership.voters == [localID] && !membership.isJoint
    return Snapshot(
      state: state, applied: applied, term: leadership.term, leader: leadership.leader, isLeader: isLeader,
      isAuthoritative: isLeader && isAlone && lastAppliedTerm == leadership.term, membership: appliedMembership,
      clockMilliseconds: clock.now(localMilliseconds: MachineClock.bootTimeMilliseconds))
  }

  private func answerReads() {
    guard !confirmedReads.isEmpty else { return }
    let snapshot = publication.snapshot
    confirmedReads.removeAll { read in
      guard read.index <= applied else { return false }
      for id in read.ids {
        for completion in reads.removeValue(forKey: id) ?? [] { replies.add(completion, .success(snapshot)) }
      }
      return true
    }
  }

  private func timeOut() {
    let now = MachineClock.monotonicNanoseconds
    while let completion = pending.removeOverdue(nowNanoseconds: now) {
      failedProposals += 1
      replies.add(completion, .timedOut)
    }
    endBarriers(nowNanoseconds: now)
    for completion in transfers.removeOverdue(nowNanoseconds: now) { replies.add(completion, .timedOut) }
    if let end = endsAtNanoseconds, now >= end {
      endsAtNanoseconds = nil
      self.end(
        .removed("this node was removed from the cluster, for good; its data directory may be deleted"))
    }
  }
}
