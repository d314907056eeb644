// Owns the small world in which rules are tested one at a time: nodes, a network in order, and disks.
// Must never: decide anything by chance. What fails here fails the same way every time.

import RaftCore

let electionTicks = 10
let heartbeatTicks = 2

extension Message {
  var append: AppendEntries? { if case .appendEntries(let append) = self { append } else { nil } }
  var appendResponse: AppendResponse? { if case .appendResponse(let response) = self { response } else { nil } }
  var heartbeat: Heartbeat? { if case .heartbeat(let heartbeat) = self { heartbeat } else { nil } }
  var heartbeatResponse: HeartbeatResponse? {
    if case .heartbeatResponse(let response) = self { response } else { nil }
  }
  var vote: RequestVote? { if case .requestVote(let request) = self { request } else { nil } }
  var voteResponse: VoteResponse? { if case .voteResponse(let response) = self { response } else { nil } }
  var commitAdvanced: CommitAdvanced? { if case .commitAdvanced(let advanced) = self { advanced } else { nil } }
  var install: InstallSnapshot? { if case .installSnapshot(let install) = self { install } else { nil } }
  var installResponse: InstallSnapshotResponse? {
    if case .installSnapshotResponse(let response) = self { response } else { nil }
  }
  var isTimeoutNow: Bool { if case .timeoutNow = self { true } else { false } }
}

extension [Effect] {
  var sent: [Message] { compactMap { if case .send(let message, _) = $0 { message } else { nil } } }
  func sent(to peer: NodeID) -> [Message] {
    compactMap { if case .send(let message, peer) = $0 { message } else { nil } }
  }
  var persists: [Persist] { compactMap { if case .persist(let write) = $0 { write } else { nil } } }
  var fetches: [FetchRequest] { compactMap { if case .fetch(let request) = $0 { request } else { nil } } }
  var commits: [RaftCore.Index] { compactMap { if case .commit(let index) = $0 { index } else { nil } } }
  var refused: [UInt64] {
    flatMap { effect -> [UInt64] in if case .refuse(let ids, _) = effect { ids } else { [] } }
  }
  var refusals: [Refusal] {
    compactMap {
      switch $0 {
      case .refuse(_, let refusal), .refuseRead(_, let refusal): refusal
      default: nil
      }
    }
  }
  var refusedReads: [UInt64] {
    flatMap { effect -> [UInt64] in if case .refuseRead(let ids, _) = effect { ids } else { [] } }
  }
  var readyReads: [UInt64] {
    flatMap { effect -> [UInt64] in if case .readReady(let ids, _) = effect { ids } else { [] } }
  }
  var readIndexes: [RaftCore.Index] { compactMap { if case .readReady(_, let index) = $0 { index } else { nil } } }
  var memberships: [Membership] {
    compactMap { if case .membership(let membership) = $0 { membership } else { nil } }
  }
  var snapshotReads: [SnapshotRead] {
    compactMap { if case .readSnapshot(let request) = $0 { request } else { nil } }
  }
  var stagedChunks: [SnapshotChunk] { compactMap { if case .stageSnapshot(let chunk) = $0 { chunk } else { nil } } }
  var installs: [SnapshotDescription] {
    compactMap { if case .installSnapshot(let description) = $0 { description } else { nil } }
  }
  var compactions: [RaftCore.Index] { compactMap { if case .compact(let index) = $0 { index } else { nil } } }
  var isRepaired: Bool { contains { if case .repaired = $0 { true } else { false } } }
  var leaderships: [Leadership] {
    compactMap { if case .leadership(let leadership) = $0 { leadership } else { nil } }
  }
}

func configuration(_ id: UInt64, of count: UInt64, limits: Limits = Limits(), seed: UInt64 = 7) -> Configuration {
  Configuration(
    id: NodeID(id), voters: (1...count).map { NodeID($0) }, heartbeatTicks: heartbeatTicks,
    electionTicks: electionTicks, seed: seed, limits: limits)
}

/// A log whose entries have these terms, as a disk would give it back.
func restored(terms: [UInt64], term: UInt64? = nil, votedFor: UInt64? = nil, tail: Int? = nil) -> Restored {
  let entries = terms.enumerated().map { offset, term in
    entry(UInt64(offset) + 1, term: term)
  }
  var runs: [TermRun] = []
  for entry in entries where runs.last?.term != entry.term {
    runs.append(TermRun(first: entry.index, term: entry.term))
  }
  return Restored(
    hardState: HardState(term: Term(term ?? terms.last ?? 0), votedFor: votedFor.map { NodeID($0) }),
    firstIndex: Index(1), lastIndex: Index(UInt64(terms.count)), termRuns: runs,
    tail: Array(entries.suffix(tail ?? entries.count)),
    lastClockMilliseconds: entries.last?.clockMilliseconds ?? 0)
}

func entry(_ index: UInt64, term: UInt64, payload: [UInt8] = [1]) -> Entry {
  Entry(index: Index(index), term: Term(term), clockMilliseconds: index, kind: .command, payload: payload)
}

func append(
  term: UInt64, after previous: UInt64, _ previousTerm: UInt64, _ entries: [Entry] = [], commit: UInt64 = 0
) -> Message {
  .appendEntries(
    AppendEntries(
      term: Term(term), previousIndex: Index(previous), previousTerm: Term(previousTerm), entries: entries,
      commit: Index(commit)))
}

func proposal(_ id: UInt64, bytes: Int = 1) -> Proposal {
  Proposal(id: id, payload: [UInt8](repeating: UInt8(truncatingIfNeeded: id), count: bytes))
}

extension Raft {
  mutating func receive(_ message: Message, from sender: UInt64) -> [Effect] {
    step([.received(message, from: NodeID(sender))], clockMilliseconds: 0)
  }

  mutating func take(_ input: Input) -> [Effect] { step([input], clockMilliseconds: 0) }

  /// Steps, and reports every write as durable at once.
  mutating func takeDurably(_ input: Input) -> [Effect] {
    var all = take(input)
    var reported = 0
    while reported < all.persists.count {
      all += take(.persisted(sequence: all.persists[reported].sequence))
      reported += 1
    }
    return all
  }

  mutating func tick(_ count: Int) -> [Effect] {
    var all: [Effect] = []
    for _ in 0..<count { all += take(.tick) }
    return all
  }
}

struct Cluster {
  struct Letter {
    var message: Message
    var from: NodeID
    var to: NodeID
  }

  var nodes: [Raft]
  var inbox: [Letter] = []
  /// Writes that a slow disk holds back, per node.
  var writes: [[Persist]]
  var slowDisks: Set<NodeID> = []
  var isolated: Set<NodeID> = []
  /// What each node was told to do since the last `forget`.
  var effects: [[Effect]]
  var applied: [[Entry]]
  /// Everything that was delivered, for tests about what travels.
  var delivered: [Letter] = []
  var clockMilliseconds: UInt64 = 0
  /// Set where nodes have real disks, so that they can be restarted and send snapshots (ClusterDisks.swift).
  var disks: [Disk] = []
  var founders = 0
  var limits = Limits()
  /// What disks have to say, in order.
  var reports: [(node: UInt64, input: Input)] = []

  init(_ count: Int, limits: Limits = Limits(), restored: [Restored]? = nil) {
    nodes = (0..<count).map { position in
      Raft(
        configuration: configuration(UInt64(position) + 1, of: UInt64(count), limits: limits),
        restored: restored?[position] ?? .empty)
    }
    writes = Array(repeating: [], count: count)
    effects = Array(repeating: [], count: count)
    applied = Array(repeating: [], count: count)
  }

  subscript(_ id: UInt64) -> Raft { nodes[Int(id) - 1] }

  mutating func forget() {
    effects = Array(repeating: [], count: nodes.count)
    delivered = []
  }

  @discardableResult
  mutating func step(_ id: UInt64, _ inputs: Input...) -> [Effect] { step(id, inputs) }

  @discardableResult
  mutating func step(_ id: UInt64, _ inputs: [Input]) -> [Effect] {
    let position = Int(id) - 1
    let done = nodes[position].step(inputs, clockMilliseconds: clockMilliseconds)
    effects[position] += done
    for effect in done {
      switch effect {
      case .persist(let write): writes[position].append(write)
      case .send(let message, let peer): inbox.append(Letter(message: message, from: NodeID(id), to: peer))
      case .commit(let index):
        let after = applied[position].last?.index ?? .beforeFirst
        // What is no longer in memory is durable. The disk may have other entries where memory has newer ones.
        let first = nodes[position].firstCachedIndex
        let stored = disks.isEmpty ? [] : disks[position].entries.filter { $0.index > after && $0.index < first }
        applied[position] += stored.prefix { $0.index <= index }
        let rest = applied[position].last?.index ?? .beforeFirst
        applied[position] += nodes[position].cachedEntries(after: rest, through: index) ?? []
      default: if !disks.isEmpty { carryOut(effect, on: id) }
      }
    }
    return done
  }

  /// Lets the disks that are not slow finish, and delivers messages in order, until nothing happens any more.
  mutating func settle(until isReached: (Cluster) -> Bool = { _ in false }) {
    while !isReached(self) {
      if let position = writes.indices.first(where: { canFinish($0) }) {
        finishWrites(of: UInt64(position) + 1)
      } else if !reports.isEmpty {
        let report = reports.removeFirst()
        step(report.node, report.input)
      } else if !inbox.isEmpty {
        let letter = inbox.removeFirst()
        if isolated.contains(letter.from) || isolated.contains(letter.to) { continue }
        delivered.append(letter)
        step(letter.to.rawValue, .received(letter.message, from: letter.from))
      } else {
        return
      }
    }
  }

  /// Ticks one node, and stops in the middle of whatever is going on as soon as the condition holds.
  mutating func tick(_ id: UInt64, _ count: Int, until isReached: (Cluster) -> Bool) {
    for _ in 0..<count {
      step(id, .tick)
      settle(until: isReached)
      if isReached(self) { return }
    }
  }

  private func canFinish(_ position: Int) -> Bool {
    !writes[position].isEmpty && !slowDisks.contains(NodeID(UInt64(position) + 1))
  }

  mutating func finishWrites(of id: UInt64) {
    let finished = writes[Int(id) - 1]
    writes[Int(id) - 1] = []
    if !disks.isEmpty { for write in finished { disks[Int(id) - 1].apply(write) } }
    if let last = finished.last { step(id, .persisted(sequence: last.sequence)) }
  }

  mutating func tick(_ id: UInt64, _ count: Int = 1) {
    for _ in 0..<count {
      step(id, .tick)
      settle()
    }
  }

  /// Ticks all nodes together, one tick at a time.
  mutating func tickAll(_ count: Int) {
    for _ in 0..<count {
      for node in nodes.indices { step(UInt64(node) + 1, .tick) }
      settle()
    }
  }

  /// Makes this node the leader: the others forget the old one, and only this one's timeout fires.
  mutating func elect(_ id: UInt64) {
    let others = nodes.indices.map { UInt64($0) + 1 }.filter { $0 != id && !isolated.contains(NodeID($0)) }
    for other in others where self[other].role != .leader {
      for _ in 0..<electionTicks { step(other, .tick) }
    }
    inbox = []
    for _ in 0..<(3 * electionTicks) where self[id].role != .leader { tick(id) }
    precondition(self[id].role == .leader, "node \(id) could not be elected")
  }
}
