// Owns the configurations that a log tells of, from the snapshot that it begins behind to its end.
// Must never: forget one that a truncation may bring back, or that a snapshot still to be taken may need.
// Invariants: there is always at least one; indexes rise. The last one is in force, committed or not, from when its
// entry is appended (Raft paper, section 6; dissertation, section 4.1).

struct MembershipHistory: Sendable {
  struct Step: Sendable {
    /// Of the entry, or of the place behind which the log begins.
    var index: Index
    var record: MembershipRecord
  }

  private var steps: [Step]

  init(base index: Index, _ membership: Membership) {
    steps = [Step(index: index, record: MembershipRecord(membership: membership, context: []))]
  }

  init(restored: Restored, founding: Membership) {
    self.init(base: restored.firstIndex.previous, founding)
    if let snapshot = restored.snapshot { self.init(base: snapshot.index, snapshot.membership) }
    for entry in restored.membershipEntries where entry.index > newest.index {
      guard let record = MembershipRecord.decode(entry.payload) else {
        preconditionFailure("the configuration that was restored at \(entry.index) cannot be read")
      }
      precondition(entry.index <= restored.lastIndex, "a configuration was restored from beyond the log")
      steps.append(Step(index: entry.index, record: record))
    }
  }

  var newest: Step {
    guard let last = steps.last else { preconditionFailure("a log has no configuration at all") }
    return last
  }

  func membership(at index: Index) -> Membership {
    (steps.last { $0.index <= index } ?? steps[0]).record.membership
  }

  /// Whether it has a vote in the configuration at this place or in a later one.
  func hasVoter(_ id: NodeID, since index: Index) -> Bool {
    let first = steps.lastIndex { $0.index <= index } ?? 0
    return steps[first...].contains { $0.record.membership.isVoter(id) }
  }

  mutating func append(_ record: MembershipRecord, at index: Index) {
    precondition(index > newest.index, "the configuration at \(index) is behind that at \(newest.index)")
    steps.append(Step(index: index, record: record))
  }

  /// Forgets what came with this entry and all after it. True when that changed what is in force.
  mutating func truncate(from index: Index) -> Bool {
    guard newest.index >= index else { return false }
    while let last = steps.last, last.index >= index, steps.count > 1 { steps.removeLast() }
    precondition(newest.index < index, "the configuration behind which the log begins was cut away")
    return true
  }

  /// Forgets what no place at or behind this one needs.
  mutating func compact(through index: Index) {
    guard let needed = steps.lastIndex(where: { $0.index <= index }), needed > 0 else { return }
    steps.removeFirst(needed)
  }
}
