// The first check: a history against the order that the cluster itself claims. Every write has a revision, so the claimed
// order is known, and whether it explains the history is a matter of looking and not of searching.
//
// - Every node tells the same events, revision by revision.
// - What was acknowledged is there, once, with its value, at the revision that its answer named. What was refused is not
//   there at all. Nothing is there that nobody asked for, and nothing twice.
// - Every answer shows the state as of its revision.
// - Revisions follow time: an operation does not come before one that had returned when it was invoked. This holds across
//   keys, and for writes of unknown outcome that turn out to have happened.

package struct HistoryAudit {
  private let log: [HistoryEvent]
  private let operations: [HistoryOperation]
  /// For each key its changes in order, beginning with its absence.
  private var timelines: [String: [HistoryState]] = [:]
  private var revisionOfValue: [String: Int64] = [:]
  private var eventAt: [Int64: HistoryEvent] = [:]
  package private(set) var problems: [String] = []

  /// What is wrong with a history, in the order in which it is found; empty when nothing is.
  /// - Parameters:
  ///   - logs: what each node tells, at least one.
  ///   - othersWrite: whether revisions are also made by what has no event, such as grants.
  package static func problems(
    of operations: [HistoryOperation], logs: [[HistoryEvent]], othersWrite: Bool = false
  ) -> [String] {
    var audit = HistoryAudit(operations, log: logs[0])
    audit.checkRevisions(othersWrite)
    for (node, log) in logs.enumerated().dropFirst() { audit.compare(log, of: node) }
    audit.readLog()
    audit.checkWrites()
    audit.checkAnswers()
    audit.checkTime()
    return audit.problems
  }

  private init(_ operations: [HistoryOperation], log: [HistoryEvent]) {
    self.operations = operations
    self.log = log
  }

  private mutating func compare(_ other: [HistoryEvent], of node: Int) {
    if let (mine, theirs) = zip(log, other).first(where: { $0 != $1 }) {
      problems.append(
        "nodes differ: \(FaultsCluster.name(0)) tells \(mine), \(FaultsCluster.name(node)) tells \(theirs)")
    } else if log.count != other.count {
      problems.append("nodes differ: node 0 tells \(log.count) events, node \(node) tells \(other.count)")
    }
  }

  private mutating func checkRevisions(_ othersWrite: Bool) {
    var last: Int64 = 1
    for event in log {
      let follows = othersWrite ? event.revision > last : event.revision == last + 1
      if !follows { problems.append("revision \(event.revision) follows \(last)") }
      last = event.revision
    }
  }

  private mutating func readLog() {
    for event in log {
      eventAt[event.revision] = event
      timelines[event.key, default: [.absent]].append(HistoryState(value: event.value, modRevision: event.revision))
      guard let value = event.value else { continue }
      if let first = revisionOfValue.updateValue(event.revision, forKey: value) {
        problems.append("\(value) was written twice: at \(first) and at \(event.revision)")
      }
    }
  }

  /// A key's state as of a revision.
  private func state(of key: String, at revision: Int64) -> HistoryState {
    guard let timeline = timelines[key] else { return .absent }
    var (low, high) = (0, timeline.count)
    while high - low > 1 {
      let middle = (low + high) / 2
      if timeline[middle].modRevision <= revision { low = middle } else { high = middle }
    }
    return timeline[low].value == nil ? .absent : timeline[low]
  }

  // MARK: Writes

  private mutating func checkWrites() {
    var unexplained = eventAt
    var unknownDeletes: [String: Int] = [:]
    for operation in operations {
      if let revision = operation.writtenRevision {
        let wanted = HistoryEvent(revision: revision, key: operation.key, value: operation.call.value)
        if eventAt[revision] != wanted {
          let place = operation.call.value.flatMap { revisionOfValue[$0] }.map { "it is at \($0)" } ?? "it is nowhere"
          problems.append("acknowledged at \(revision), but \(place): \(operation)")
        }
        unexplained[revision] = nil
        continue
      }
      guard !operation.call.isRead, !operation.isAcknowledged else { continue }
      let place = operation.call.value.flatMap { revisionOfValue[$0] }
      if case .failed = operation.outcome {
        if let place { problems.append("refused, but it is at \(place): \(operation)") }
      } else if let place {
        unexplained[place] = nil
      } else if operation.call == .delete {
        unknownDeletes[operation.key, default: 0] += 1
      }
    }
    for event in unexplained.values.sorted(by: { $0.revision < $1.revision }) {
      if event.key == Self.markerKey { continue }
      if event.value == nil, let left = unknownDeletes[event.key], left > 0 {
        unknownDeletes[event.key] = left - 1
      } else {
        problems.append("nobody asked for \(event)")
      }
    }
  }

  package static let markerKey = "marker"

  // MARK: Answers

  private mutating func checkAnswers() {
    for operation in operations {
      guard case .ok(let answer, let revision) = operation.outcome else { continue }
      let after = state(of: operation.key, at: revision)
      let before = state(of: operation.key, at: revision - 1)
      let isRight =
        switch answer {
        case .read(let seen): seen == after
        case .differed(let seen): seen == after && !Self.holds(operation.call, after)
        case .exchanged: Self.holds(operation.call, before)
        case .deleted(true): before != .absent
        case .deleted(false): after == .absent
        case .written: true
        }
      if !isRight {
        problems.append("the key was \(before) and then \(after) as of the answer's revision: \(operation)")
      }
    }
  }

  private static func holds(_ call: HistoryCall, _ state: HistoryState) -> Bool {
    switch call {
    case .compareAndPut(.modRevision(let revision), _): state.modRevision == revision
    case .compareAndPut(.value(let value), _): state.value == value
    case .get, .getSerializable, .put, .delete: false
    }
  }

  // MARK: Time

  private mutating func checkTime() {
    let byReturn = operations.filter(\.isAcknowledged).sorted { $0.returned < $1.returned }
    var next = 0
    var newest: (revision: Int64, operation: HistoryOperation)?
    for operation in operations.sorted(by: { $0.invoked < $1.invoked }) {
      while next < byReturn.count, byReturn[next].returned < operation.invoked {
        if case .ok(_, let revision) = byReturn[next].outcome, revision > newest?.revision ?? 0 {
          newest = (revision, byReturn[next])
        }
        next += 1
      }
      guard let newest else { continue }
      let (revision, isNew): (Int64, Bool)
      if let written = operation.writtenRevision {
        (revision, isNew) = (written, true)
      } else if case .ok(_, let read) = operation.outcome {
        (revision, isNew) = (read, false)
      } else if case .unknown = operation.outcome, let place = operation.call.value.flatMap({ revisionOfValue[$0] }) {
        (revision, isNew) = (place, true)
      } else {
        continue
      }
      if isNew ? revision <= newest.revision : revision < newest.revision {
        problems.append(
          "invoked after an operation of revision \(newest.revision) had returned, but of \(revision): \(operation)"
            + " after \(newest.operation)")
      }
    }
  }
}
