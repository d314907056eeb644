// The thread that owns Raft and the replicated state. Everything that changes either happens here, in turns: take what
// has come in, step Raft once with all of it, carry out its effects, apply what is committed, publish, reply (Turn.swift).
//
// It never waits for a disk or a peer: writes go to the log writer's thread, snapshots to threads of their own and
// messages to the event loops, and all report back through the inbox. It never blocks on a lock that is held for longer
// than an append to a queue.

import CoordinationCore
import Foundation
import LogStorage
import Logging
import NIOCore
import RaftCore

/// `@unchecked Sendable`: `inbox`, `publication` and the other `let` properties are thread-safe; every `var` is touched
/// by the loop's own thread alone, from `run` on.
final class CoreLoop: @unchecked Sendable {
  /// What puts and reads are made of stays small, for queues of it are copied; what is rare and large is boxed.
  enum Work: Sendable {
    case command(id: UInt64, payload: Bytes, Completion)
    case read(ReadCompletion)
    case received([Message], from: NodeID)
    case unreachable(NodeID)
    case persisted(sequence: UInt64, flushBegan: UInt64, flushEnded: UInt64)
    case cancelWait(request: UInt64, WaitEnd)
    case storage(isWritable: Bool)
    indirect case own(Command)
    indirect case change(id: UInt64, payload: [UInt8], Completion)
    indirect case transfer(to: NodeID, Completion)
    indirect case snapshotTaken(TakenSnapshot?)
    indirect case snapshotRead(SnapshotRead, SnapshotChunk?)
    indirect case staged(SnapshotDescription, StageResult)
    indirect case refused(PeerRefusal)
    case stop
  }

  struct Parts {
    let configuration: NodeConfiguration
    let registry: PeerRegistry
    let storage: LogStorage
    let restored: Restored
    /// What the newest snapshot held, if there is one.
    let start: StartingState
    /// What counts while the log does not say otherwise.
    let founders: Membership
    /// This node as it would like to be known.
    let address: MemberAddress
    let nodeRecord: NodeRecord
    let watches: WatchHub
    let holds: HoldHub
    let logger: Logger
    let peers: Peers
    /// The births of the peers' disks changed: to be kept. Called on the loop's thread, must not block.
    let keepBirths: @Sendable ([NodeID: UInt64]) -> Void
    /// The node cannot go on: its log is damaged, its disk failed, it was removed. Called once.
    let onEnd: @Sendable (NodeError) -> Void
  }

  struct Answered {
    let completion: Completion
    let outcome: Outcome
    /// Right after the command.
    let revision: Revision
    /// Of the command that was proposed by this very call, and of none that waited for more than its commit.
    var timeline: Int?
  }

  /// How the loop reaches other nodes. Called on its thread; nothing here may block.
  struct Peers: Sendable {
    let send: @Sendable ([Message], NodeID) -> Void
    let follow: @Sendable (Membership) -> Void
    let dismiss: @Sendable ([NodeID]) -> Void
  }

  let inbox = Inbox<Work>()
  let publication: Publication
  let parts: Parts
  let localID: NodeID
  let snapshots: SnapshotKeeper
  let statistics = NodeStatistics()

  var raft: Raft
  var state: Coordination
  var clock: ClusterClock
  var writer: LogWriter?
  var leadership: Leadership
  var applied: Index
  var lastAppliedTerm: Term
  var lastAppliedClockMilliseconds: UInt64
  var committed: Index
  var changedSincePublication = false
  /// The state changed; what the node knows of the cluster may not have.
  var appliedSincePublication = false
  var publishedNanoseconds: UInt64 = 0

  /// The configuration in force, by the newest entry in the log.
  var membership: Membership
  /// The configuration by the entries that were applied.
  var appliedMembership: Membership
  /// This node is or was a member. What it applies before it was added does not mention it either.
  var wasMember: Bool
  /// When a node that was removed ends, once what it still has to say has left.
  var endsAtNanoseconds: UInt64?

  var pending = PendingRequests()
  var waits = WaitTable()
  var transfers = TransferTable()
  var reads: [UInt64: [ReadCompletion]] = [:]
  var confirmedReads: [(ids: [UInt64], index: Index)] = []
  var nextReadID: UInt64 = 1
  var replies = Replies()
  /// Outcomes of this turn, told once the snapshot that shows them is published.
  var answered: [Answered] = []
  var commits: CommitTracker
  /// The same for changes of membership and leadership.
  var done: [Completion] = []
  /// Grants that are not told to their holders before the gateways have confirmed.
  var barriers = BarrierTable()
  /// Scopes that changed in this turn, told of once the snapshot that shows it is published.
  var touchedScopes: [Key] = []
  /// Raises are to be made, or were confirmed, in this turn.
  var hasGatewayNews = false
  /// The state became another one: nobody knows which scopes changed on the way.
  var hasNewState = false
  var housekeeping: Housekeeping

  var policy: SnapshotPolicy
  var newestSnapshot: TakenSnapshot?
  /// A snapshot that came from a leader and can be installed.
  var ready: (description: SnapshotDescription, state: StateBox)?
  /// Published before and large: freed elsewhere.
  var retired: [StateBox] = []
  var isWritable = true
  var isImpaired: Bool

  var inputs: [Input] = []
  /// Inputs that the loop made itself and that must not wait for the next tick.
  var hasUrgentInput = false
  /// Since the start: leaders that this node has seen come, and its requests that got no outcome.
  var leaderChanges: UInt64 = 0
  var failedProposals: UInt64 = 0
  var outgoing: [(peer: NodeID, messages: [Message])] = []
  var lastTickNanoseconds: UInt64 = 0
  var isStopping = false
  private let stopped = DispatchSemaphore(value: 0)

  init(_ parts: Parts) {
    self.parts = parts
    localID = parts.registry.identity.nodeID
    let (configuration, restored) = (parts.configuration, parts.restored)
    commits = CommitTracker(localID: localID)
    raft = Raft(
      configuration: Configuration(
        id: localID, membership: parts.founders, heartbeatTicks: configuration.heartbeatTicks,
        electionTicks: configuration.electionTicks, seed: UInt64.random(in: 0...UInt64.max),
        limits: Limits(trailingEntries: configuration.trailingEntries)),
      restored: restored)
    leadership = Leadership(role: .follower, term: restored.hardState.term, leader: nil)
    clock = ClusterClock(
      startMilliseconds: restored.lastClockMilliseconds,
      longestStepMilliseconds: UInt64(configuration.electionMilliseconds))
    let point = parts.start.description?.point
    state = parts.start.state
    applied = point?.index ?? .beforeFirst
    lastAppliedTerm = point?.term ?? Term(0)
    lastAppliedClockMilliseconds = point?.clockMilliseconds ?? 0
    committed = applied
    membership = raft.membership
    appliedMembership = point?.membership ?? parts.founders
    wasMember = appliedMembership.contains(localID)
    housekeeping = Housekeeping(compaction: configuration.autoCompaction)
    policy = SnapshotPolicy(configuration, lastBytes: Int(parts.start.description?.totalBytes ?? 0))
    newestSnapshot = parts.start.description.map { TakenSnapshot(description: $0, seconds: 0) }
    isImpaired = restored.damage != nil
    snapshots = SnapshotKeeper(
      store: parts.storage.snapshots, limits: configuration.limits, logger: parts.logger)
    publication = Publication(
      Snapshot(
        state: state, applied: applied, term: leadership.term, leader: nil, isLeader: false, isAuthoritative: false,
        membership: appliedMembership, clockMilliseconds: restored.lastClockMilliseconds))
  }

  func start() {
    let inbox = self.inbox
    writer = LogWriter(
      storage: parts.storage,
      onPersisted: { [statistics] sequence, timing in
        statistics.flushes.add(nanoseconds: timing.flushEndedNanoseconds - timing.flushBeganNanoseconds)
        inbox.append(
          .persisted(
            sequence: sequence, flushBegan: timing.flushBeganNanoseconds, flushEnded: timing.flushEndedNanoseconds))
      },
      onFailure: { [onEnd = parts.onEnd] error in
        onEnd(.storage("the log could not be written, so nothing more may be acknowledged: \(error)"))
      },
      onSpaceChanged: { inbox.append(.storage(isWritable: $0)) })
    parts.peers.follow(membership)
    noteNodes()
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
    for held in barriers.remove(where: { _ in true }) { replies.add(held.completion, .stopping) }
    for completion in transfers.removeAll() { replies.add(completion, .stopping) }
    for completion in reads.values.joined() { replies.add(completion, .failure(.stopping)) }
    replies.send(timelines: [], counting: statistics.commits)
    snapshots.stop()
    writer?.stop()
    stopped.signal()
  }

  func end(_ error: NodeError) { parts.onEnd(error) }
}

/// The state with which a node starts: that of its newest snapshot, or none.
struct StartingState: Sendable {
  var state = Coordination()
  var description: SnapshotDescription?
}
