// Owns what the event loops, the dispatcher and the controller of a run share: when the measured part begins and ends.

import Synchronization

/// The boundaries of the measured part, as instants of ``MonotonicClock``.
///
/// An operation is measured when it was due (in a closed loop: started) at or after `from` and before `until`. Both lie
/// in the future until the controller sets them, and `from` is set to an instant that is still to come, so that no
/// thread judges an operation by an old value.
final class LoadFrame: Sendable {
  private let fromNanoseconds = Atomic<UInt64>(.max)
  private let untilNanoseconds = Atomic<UInt64>(.max)

  var from: UInt64 {
    get { fromNanoseconds.load(ordering: .relaxed) }
    set { fromNanoseconds.store(newValue, ordering: .relaxed) }
  }

  var until: UInt64 {
    get { untilNanoseconds.load(ordering: .relaxed) }
    set { untilNanoseconds.store(newValue, ordering: .relaxed) }
  }

  /// Whether an operation that was due then belongs to the measured part.
  func holds(_ instant: UInt64) -> Bool { instant >= from && instant < until }
}
