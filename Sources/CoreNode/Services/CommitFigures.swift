// Counts where the time of commits goes (Loop/CommitTimeline.swift), for the node's metrics.

import NIOConcurrencyHelpers

/// One request that was answered: when it was proposed, and which timeline its entry had.
struct CommitMark: Sendable {
  let proposed: UInt64
  let timeline: Int
}

/// Any thread. The loop's own has nothing to do here: the sums are made where the answers are handed out.
final class CommitFigures: Sendable {
  struct Path: Sendable {
    var total = DurationBuckets()
    /// In the order of `CommitPath.stages`.
    var stages: [DurationBuckets]
  }

  private let state = NIOLockedValueBox(
    CommitPath.allCases.map { Path(stages: $0.stages.map { _ in DurationBuckets() }) })

  func reading(_ path: CommitPath) -> Path { state.withLockedValue { $0[Self.place(of: path)] } }

  /// Adds what was answered at once, at the instant `replied`.
  func add(_ marks: [CommitMark], timelines: [CommitTimeline], replied: UInt64) {
    state.withLockedValue { paths in
      for mark in marks {
        let timeline = timelines[mark.timeline]
        let place = Self.place(of: timeline.path)
        paths[place].total.add(nanoseconds: max(replied, mark.proposed) - mark.proposed)
        timeline.eachDuration(proposed: mark.proposed, replied: replied) { stage, nanoseconds in
          paths[place].stages[stage].add(nanoseconds: nanoseconds)
        }
      }
    }
  }

  private static func place(of path: CommitPath) -> Int {
    switch path {
    case .ownDisk: 0
    case .peer: 1
    case .forwarded: 2
    }
  }
}

/// Durations in buckets from 16 us on, each twice as long as the one before, and their exact sum. Stages are short, so
/// etcd's buckets, which begin at a millisecond, would show one and the same for nearly all of them.
package struct DurationBuckets: Sendable {
  static let firstNanoseconds: UInt64 = 16_000
  static let boundsSeconds: [Double] = (0..<20).map { Double(firstNanoseconds << UInt64($0)) / 1e9 }

  package init() {}

  /// The last is for what took longer than the longest bound.
  package private(set) var counts = [UInt64](repeating: 0, count: boundsSeconds.count + 1)
  package private(set) var sumNanoseconds: UInt64 = 0

  package mutating func add(nanoseconds: UInt64) {
    // The smallest power of two that the duration is at most, in units of the first bound.
    let units = nanoseconds == 0 ? 0 : (nanoseconds - 1) / Self.firstNanoseconds
    counts[min(UInt64.bitWidth - units.leadingZeroBitCount, counts.count - 1)] += 1
    // Where many wait at once it grows faster than the clock. It may wrap within months, and no node may end for that.
    sumNanoseconds &+= nanoseconds
  }
}
