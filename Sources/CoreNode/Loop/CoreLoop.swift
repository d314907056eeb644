// The thread that owns Raft and the replicated state. Everything that changes either happens here, in turns: take what
// has come in, step Raft once with all of it, carry out its effects, apply what is committed, publish, reply.
//
// It never waits for a disk or a peer: writes go to the log writer's thread and messages to the event loops, and both
// report back through the inbox. It never blocks on a lock that is held for longer than an append to a queue.

import CoordinationCore
import Foundation
import LogStorage
import Logging
import NIOCore
import RaftCore

/// `@unchecked Sendable`: `inbox`, `publication` and the other `let` properties are thread-safe; every `var` is touched
/// by the loop's own thread alone, from `run` on.
final class CoreLoop: @unchecked Sendable {
  enum Work: Sendable {
    case command(id: UInt64, payload: Bytes, Completion)
    case read(ReadCompletion)
    case received([Message], from: NodeID)
    case unreachable(NodeID)
    case persisted(sequence: UInt64)
    case cancelWait(request: UInt64, WaitEnd)
    case stop
  }

  struct Parts {
    let configuration: NodeConfiguration
    let cluster: ClusterMap
    let storage: LogStorage
    let restored: Restored
    let nodeRecord: NodeRecord
    let watches: WatchHub
    let logger: Logger
    /// Sends messages to a peer; called on the loop's thread, must not block.
    let send: @Sendable ([Message], NodeID) -> Void
    /// The node cannot go on: its log is damaged or its disk failed. Called once.
    let onFatal: @Sendable (String) -> Void
  }

  let inbox = Inbox<Work>()
  let publication: Publication
  let parts: Parts
  let localID: NodeID

  var raft: Raft
  var state = Coordination()
  var clock: ClusterClock
  var writer: LogWriter?
  var leadership: Leadership
  var applied = Index.beforeFirst
  var lastAppliedTerm = Term(0)
  var committed = Index.beforeFirst
  var changedSincePublication = false

  var pending = PendingRequests()
  var waits = WaitTable()
  var reads: [UInt64: [ReadCompletion]] = [:]
  var confirmedReads: [(ids: [UInt64], index: Index)] = []
  var nextReadID: UInt64 = 1
  var replies = Replies()
  /// Outcomes of this turn with the revision after each, told once the snapshot that shows them is published.
  var answered: [(Completion, Outcome, Revision)] = []
  var housekeeping = Housekeeping()

  var inputs: [Input] = []
  /// Inputs that the loop made itself and that must not wait for the next tick.
  private var hasUrgentInput = false
  private var outgoing: [(peer: NodeID, messages: [Message])] = []
  private var lastTickNanoseconds: UInt64 = 0
  private var isStopping = false
  private let stopped = DispatchSemaphore(value: 0)

  init(_ parts: Parts) {
    self.parts = parts
    self.localID = parts.cluster.localID
    let configuration = parts.configuration
    self.raft = Raft(
      configuration: Configuration(
        id: parts.cluster.localID, voters: parts.cluster.voters, heartbeatTicks: configuration.heartbeatTicks,
        electionTicks: configuration.electionTicks, seed: UInt64.random(in: 0...UInt64.max)),
      restored: parts.restored)
    self.leadership = Leadership(role: .follower, term: parts.restored.hardState.term, leader: nil)
    self.clock = ClusterClock(
      startMilliseconds: parts.restored.lastClockMilliseconds,
      longestStepMilliseconds: UInt64(configuration.electionMilliseconds))
    self.publication = Publication(
      Snapshot(
        state: state, applied: applied, term: leadership.term, leader: nil, isLeader: false, isAuthoritative: false,
        clockMilliseconds: parts.restored.lastClockMilliseconds))
  }

  func start() {
    let inbox = self.inbox
    writer = LogWriter(
      storage: parts.storage,
      onPersisted: { sequence, _ in inbox.append(.persisted(sequence: sequence)) },
      onFailure: { [onFatal = parts.onFatal] error in
        onFatal("the log could not be written, so nothing more may be acknowledged: \(error)")
      })
    let thread = Thread { [self] in run() }
    thread.name = "portcullis-core"
    thread.start()
  }

  /// Blocks until the loop has answered everybody and the log writer has finished.
  func stop() {
    inbox.append(.stop)
    stopped.wait()
  }

  private func run() {
    lastTickNanoseconds = MachineClock.monotonicNanoseconds
    var work: [Work] = []
    while !isStopping {
      let isBusy = applied < committed || hasUrgentInput
      inbox.take(into: &work, untilNanoseconds: isBusy ? 0 : nextTickNanoseconds)
      turn(work)
      work.removeAll(keepingCapacity: true)
    }
    for (_, completion) in pending.removeAll() { replies.add(completion, .stopping) }
    for completion in waits.removeAll() { replies.add(completion, .stopping) }
    for completion in reads.values.joined() { replies.add(completion, .failure(.stopping)) }
    replies.send()
    writer?.stop()
    stopped.signal()
  }

  private func turn(_ work: [Work]) {
    let local = MachineClock.bootTimeMilliseconds
    gather(work)
    tick()
    housekeeping.run(on: self, localMilliseconds: local)
    let effects = raft.step(inputs, clockMilliseconds: clock.now(localMilliseconds: local))
    inputs.removeAll(keepingCapacity: true)
    hasUrgentInput = false
    for effect in effects { carryOut(effect) }
    for (peer, messages) in outgoing { parts.send(messages, peer) }
    outgoing.removeAll(keepingCapacity: true)
    applyCommitted(localMilliseconds: local)
    publish()
    answerReads()
    timeOut()
    replies.send()
  }
}

// MARK: - A turn's input

extension CoreLoop {
  private var nextTickNanoseconds: UInt64 {
    lastTickNanoseconds + UInt64(parts.configuration.tickMilliseconds) * 1_000_000
  }

  private func gather(_ work: [Work]) {
    var proposals: [Proposal] = []
    var readers: [ReadCompletion] = []
    var persisted: UInt64?
    let deadline =
      MachineClock.monotonicNanoseconds + UInt64(parts.configuration.requestTimeoutMilliseconds) * 1_000_000
    for item in work {
      switch item {
      case .command(let id, let payload, let completion):
        pending.add(id, completion, deadlineNanoseconds: deadline)
        proposals.append(Proposal(id: id, payload: payload))
      case .read(let completion): readers.append(completion)
      case .received(let messages, let peer): for message in messages { inputs.append(.received(message, from: peer)) }
      case .unreachable(let peer): inputs.append(.unreachable(peer))
      case .persisted(let sequence): persisted = max(sequence, persisted ?? 0)
      case .cancelWait(let request, let end): cancelWait(request, end)
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
  private func carryOut(_ effect: Effect) {
    switch effect {
    case .persist(let persist): writer?.submit(persist)
    case .send(let message, let peer): queue(message, for: peer)
    case .commit(let index): committed = max(committed, index)
    case .refuse(let ids, let refusal):
      for id in ids { if let completion = pending.remove(id) { replies.add(completion, .refused(refusal)) } }
    case .readReady(let ids, let index): confirmedReads.append((ids, index))
    case .refuseRead(let ids, let refusal):
      for id in ids {
        for completion in reads.removeValue(forKey: id) ?? [] { replies.add(completion, .failure(.refused(refusal))) }
      }
    case .fetch(let request): fetch(request)
    case .leadership(let new):
      parts.logger.info(
        "leadership",
        metadata: [
          "role": "\(new.role)", "term": "\(new.term.rawValue)", "leader": "\(new.leader?.description ?? "none")",
        ])
      leadership = new
      changedSincePublication = true
    }
  }

  private func queue(_ message: Message, for peer: NodeID) {
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
      parts.onFatal("the log could not be read for a follower: \(error)")
    }
  }

  private func publish() {
    guard changedSincePublication else { return }
    changedSincePublication = false
    let snapshot = makeSnapshot()
    publication.publish(snapshot)
    parts.watches.advance(to: snapshot)
    for (completion, outcome, revision) in answered {
      replies.add(completion, .applied(outcome, snapshot, revision: revision))
    }
    answered.removeAll(keepingCapacity: true)
  }

  private func makeSnapshot() -> Snapshot {
    let isLeader = leadership.role == .leader
    return Snapshot(
      state: state, applied: applied, term: leadership.term, leader: leadership.leader, isLeader: isLeader,
      isAuthoritative: isLeader && parts.cluster.voters.count == 1 && lastAppliedTerm == leadership.term,
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
    while let completion = pending.removeOverdue(nowNanoseconds: now) { replies.add(completion, .timedOut) }
  }
}
