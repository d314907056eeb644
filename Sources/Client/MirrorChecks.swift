// Which questions after the newest revision are open.

import NIOConcurrencyHelpers

/// Matches what the cluster said is its newest revision with what a stream has reached. Safe to share between tasks.
final class MirrorChecks: Sendable {
  private struct Check {
    let asked: ContinuousClock.Instant
    let revision: Int64
  }

  /// Oldest first; revisions never fall.
  private let open = NIOLockedValueBox<[Check]>([])

  /// The cluster was asked at an instant and named a revision.
  func begin(at asked: ContinuousClock.Instant, revision: Int64) {
    open.withLockedValue { open in
      // One that is not answered for long is superseded: only the newest few matter.
      if open.count > 8 { open.removeFirst() }
      open.append(Check(asked: asked, revision: revision))
    }
  }

  /// The stream has reached a revision: the latest instant at which that was the newest one.
  func confirmed(by revision: Int64) -> ContinuousClock.Instant? {
    open.withLockedValue { open in
      guard let last = open.lastIndex(where: { $0.revision <= revision }) else { return nil }
      defer { open.removeFirst(last + 1) }
      return open[last].asked
    }
  }
}
