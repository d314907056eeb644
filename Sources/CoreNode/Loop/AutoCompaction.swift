// When history is let go of by itself, by etcd's rules (--auto-compaction-mode and -retention). Every node counts, so that
// whoever leads next knows how old a revision is; only the leader proposes.

/// Pure: what it is told of the time and the revision is all that it knows.
package struct AutoCompaction: Sendable {
  package enum Policy: Sendable, Equatable {
    /// Keep what is younger than this.
    case age(milliseconds: UInt64)
    /// Keep so many revisions.
    case revisions(Int64)
  }

  private static let hourMilliseconds: UInt64 = 3_600_000
  /// How often revisions are counted.
  private static let revisionsPeriodMilliseconds: UInt64 = 300_000

  private let policy: Policy?
  /// The newest revision as it was at a time, oldest first; as many as are needed to look back as far as the policy does.
  private var samples: [(milliseconds: UInt64, revision: Int64)] = []
  private var lastDueMilliseconds: UInt64?

  /// - Parameter policy: nil compacts nothing.
  package init(_ policy: Policy?) {
    self.policy = policy
  }

  /// Once in each period, the revision at which a leader should compact; nil if there is nothing to do now.
  package mutating func due(at now: UInt64, revision: Int64, compacted: Int64) -> Int64? {
    guard let policy else { return nil }
    let (target, period) =
      switch policy {
      case .age(let milliseconds): (old(milliseconds, now, revision), min(milliseconds, Self.hourMilliseconds))
      case .revisions(let kept): (revision - kept, Self.revisionsPeriodMilliseconds)
      }
    // The first period begins when the node does.
    guard let last = lastDueMilliseconds else {
      lastDueMilliseconds = now
      return nil
    }
    guard let target, target > max(compacted, 0), now >= last + period else { return nil }
    lastDueMilliseconds = now
    return target
  }

  /// The newest revision that is at least so old, as far as samples tell: ten in the shorter of the age and an hour.
  private mutating func old(_ age: UInt64, _ now: UInt64, _ revision: Int64) -> Int64? {
    if samples.last.map({ now >= $0.milliseconds + max(1, min(age, Self.hourMilliseconds) / 10) }) ?? true {
      samples.append((now, revision))
    }
    while samples.count > 1, now >= samples[1].milliseconds + age { samples.removeFirst() }
    return samples.first.flatMap { now >= $0.milliseconds + age ? $0.revision : nil }
  }
}
