// Owns where the time of a run's commits went inside the target, as its nodes account for it in their metrics.
//
// It must never mix paths: a commit was charged to what completed its quorum, and the stages of each path sum to its
// total. Durations are means; all are in nanoseconds.

/// The account of all nodes together, over the measured part of a run.
package struct CommitBreakdown: Sendable, Equatable, Codable {
  package struct Stage: Sendable, Equatable, Codable {
    /// As in the metrics, such as "flush_wait".
    package var name: String
    package var meanNanoseconds: Double

    package init(name: String, meanNanoseconds: Double) {
      self.name = name
      self.meanNanoseconds = meanNanoseconds
    }
  }

  package struct Path: Sendable, Equatable, Codable {
    /// What completed the quorum: "own_disk", "peer" or "forwarded".
    package var name: String
    package var commits: UInt64
    package var meanNanoseconds: Double
    /// In the order in which a commit goes through them.
    package var stages: [Stage]

    package init(name: String, commits: UInt64, meanNanoseconds: Double, stages: [Stage]) {
      self.name = name
      self.commits = commits
      self.meanNanoseconds = meanNanoseconds
      self.stages = stages
    }
  }

  /// Only those that commits went by, the one with the most commits first.
  package var paths: [Path]

  package init(paths: [Path]) { self.paths = paths }

  package var commits: UInt64 { paths.map(\.commits).reduce(0, +) }
}
