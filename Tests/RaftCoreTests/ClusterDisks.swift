// Owns the disks and state machines of a cluster in which nodes restart, take snapshots and join.
// Must never: keep what was not reported as durable. A restart finds what the core had written, and no more.

import RaftCore

/// A snapshot of the small state machine of these tests, whose state is the list of entries that it applied.
struct TestSnapshot {
  var description: SnapshotDescription
  var bytes: [UInt8]
  var applied: [Entry]
}

struct Disk {
  var hardState = HardState.initial
  var base = LogBase(index: .beforeFirst, term: Term(0), clockMilliseconds: 0)
  var entries: [Entry] = []
  var damage: Damage?
  /// Oldest first.
  var snapshots: [TestSnapshot] = []
  var staged: [UInt8] = []

  var lastIndex: RaftCore.Index { entries.last?.index ?? base.index }

  mutating func apply(_ write: Persist) {
    if let new = write.hardState { hardState = new }
    if let index = write.removeFrom { entries.removeAll { $0.index >= index } }
    if let new = write.base {
      base = new
      entries = []
    }
    if write.isRepaired { damage = nil }
    for entry in write.entries {
      precondition(entry.index == lastIndex.next, "a disk was given a log with a hole")
      entries.append(entry)
    }
  }

  mutating func compact(before index: RaftCore.Index) {
    guard let last = entries.last(where: { $0.index < index }) else { return }
    base = LogBase(index: last.index, term: last.term, clockMilliseconds: last.clockMilliseconds)
    entries.removeAll { $0.index < index }
  }

  /// A snapshot that is newer than the log takes its place, as storage does when it opens: the node ended between the
  /// one being durable and the other being written.
  mutating func open() {
    guard let point = snapshots.last?.description.point, point.index > base.index else { return }
    if entries.contains(where: { $0.index == point.index && $0.term == point.term }) { return }
    base = LogBase(index: point.index, term: point.term, clockMilliseconds: point.clockMilliseconds)
    entries = []
  }

  func restored(tail: Int = .max) -> Restored {
    var runs: [TermRun] = base.index == .beforeFirst ? [] : [TermRun(first: base.index, term: base.term)]
    for entry in entries where runs.last?.term != entry.term {
      runs.append(TermRun(first: entry.index, term: entry.term))
    }
    return Restored(
      hardState: hardState, firstIndex: base.index.next, lastIndex: lastIndex, termRuns: runs,
      tail: Array(entries.suffix(tail)),
      lastClockMilliseconds: entries.last?.clockMilliseconds ?? base.clockMilliseconds,
      snapshot: snapshots.last?.description.point, membershipEntries: entries.filter { $0.kind == .membership },
      damage: damage)
  }
}

func change(_ change: MembershipChange, id: UInt64 = 1000, context: [UInt8] = [7]) -> Input {
  .propose([
    Proposal(id: id, kind: .membership, payload: MembershipRequest(change: change, context: context).encoded())
  ])
}

func member(_ id: UInt64) -> Member { Member(id: NodeID(id), address: [UInt8(truncatingIfNeeded: id)]) }

func nodes(_ ids: UInt64...) -> [NodeID] { ids.map { NodeID($0) } }

extension Cluster {
  /// Nodes with disks: the first `voters` found the cluster, the others wait to be added.
  init(voters: Int, waiting: Int = 0, limits: Limits = Limits()) {
    self.init(voters + waiting, limits: limits)
    disks = Array(repeating: Disk(), count: voters + waiting)
    self.founders = voters
    self.limits = limits
    for position in nodes.indices { nodes[position] = start(UInt64(position) + 1) }
  }

  private func start(_ id: UInt64) -> Raft {
    let founding = (1...UInt64(founders)).map { member($0) }
    let membership = id <= founders ? Membership(voters: founding, learners: []) : .nobody
    return Raft(
      configuration: Configuration(
        id: NodeID(id), membership: membership, heartbeatTicks: heartbeatTicks, electionTicks: electionTicks,
        seed: 7, limits: limits), restored: disks[Int(id) - 1].restored())
  }

  /// Ends a node, with all that it had not written, and starts it again from its disk.
  mutating func restart(_ id: UInt64) {
    let position = Int(id) - 1
    writes[position] = []
    reports.removeAll { $0.node == id }
    disks[position].staged = []
    disks[position].open()
    applied[position] = disks[position].snapshots.last?.applied ?? []
    nodes[position] = start(id)
  }

  mutating func carryOut(_ effect: Effect, on id: UInt64) {
    let position = Int(id) - 1
    switch effect {
    case .fetch(let request):
      let entries = disks[position].entries.filter { $0.index >= request.first && $0.index <= request.last }
      reports.append((id, .fetched(request, entries: entries)))
    case .compact(let index):
      disks[position].compact(before: index)
    case .readSnapshot(let request):
      reports.append((id, .snapshotRead(request, chunk(for: request, of: position))))
    case .stageSnapshot(let chunk):
      stage(chunk, on: id)
    case .installSnapshot(let description):
      let snapshot = disks[position].snapshots.last { $0.description == description }
      precondition(snapshot != nil, "a snapshot was installed that is not whole")
      applied[position] = snapshot?.applied ?? []
    default: break
    }
  }

  private func chunk(for request: SnapshotRead, of position: Int) -> SnapshotChunk? {
    let snapshots = disks[position].snapshots
    let wanted = request.description
    guard let snapshot = wanted == nil ? snapshots.last : snapshots.last(where: { $0.description == wanted }) else {
      return nil
    }
    let rest = snapshot.bytes.dropFirst(Int(request.offset))
    return SnapshotChunk(
      description: snapshot.description, offset: request.offset, bytes: Array(rest.prefix(request.maxBytes)))
  }

  private mutating func stage(_ chunk: SnapshotChunk, on id: UInt64) {
    let position = Int(id) - 1
    if chunk.offset == 0 { disks[position].staged = [] }
    precondition(chunk.offset == UInt64(disks[position].staged.count), "a chunk does not follow the one before")
    disks[position].staged += chunk.bytes
    reports.append((id, .snapshotStaged(chunk.description, through: chunk.end)))
    guard chunk.isLast else { return }
    let whole = disks.lazy.flatMap(\.snapshots).first { $0.description == chunk.description }
    if let whole, whole.bytes == disks[position].staged {
      disks[position].snapshots.append(whole)
      reports.append((id, .snapshotReady(chunk.description)))
    } else {
      reports.append((id, .snapshotRejected(chunk.description)))
    }
  }

  /// Takes a snapshot of what a node has applied.
  @discardableResult
  mutating func takeSnapshot(_ id: UInt64, bytes: Int = 100) -> SnapshotDescription {
    let position = Int(id) - 1
    guard let last = applied[position].last else { preconditionFailure("node \(id) has applied nothing") }
    let point = SnapshotPoint(
      index: last.index, term: last.term, clockMilliseconds: last.clockMilliseconds,
      membership: self[id].membership(at: last.index))
    let description = SnapshotDescription(
      point: point, totalBytes: UInt64(bytes), checksum: UInt32(last.index.rawValue) ^ 0xABCD)
    let content = (0..<bytes).map { UInt8(truncatingIfNeeded: $0 &+ Int(last.index.rawValue)) }
    disks[position].snapshots.append(
      TestSnapshot(description: description, bytes: content, applied: applied[position]))
    step(id, .applied(through: last.index), .snapshotTaken(point))
    return description
  }

  /// Proposes and settles one entry after another.
  mutating func propose(_ id: UInt64, _ payloads: ClosedRange<UInt64>) {
    for payload in payloads {
      step(id, .propose([proposal(payload)]))
      settle()
    }
  }

  mutating func change(_ id: UInt64, _ change: MembershipChange) -> [Refusal] {
    forget()
    step(id, RaftCoreTests.change(change))
    settle()
    return effects[Int(id) - 1].refusals
  }
}
