// Owns the removal of a prefix that a snapshot stands for: the log begins later at once, and the records before its
// beginning go in small steps, between other writes.
//
// It must never: let the log begin behind the newest snapshot; hold up a flush by more than a step.
//
// Invariant: what is before the beginning is nobody's. A crash between two steps leaves garbage, and the next run goes
// on with it.

package import RaftCore
import Synchronization

extension LogStorage {
  /// A step is about a page's worth of work for the disk for each dozen entries, and takes about a millisecond.
  static let garbageStepEntries = 1000

  /// Has the log begin with `index`, or with the newest snapshot's successor where that is before, and removes a first
  /// step of what was there. On the writing thread.
  package func compact(before index: Index) throws(StorageError) {
    guard let snapshot = snapshots.newest() else { return }
    let end = min(index, snapshot.point.index.next)
    let log = try claim()
    let first = min(end, log.lastIndex.next)
    guard first > log.firstIndex else { return }
    // The entry that becomes the base is read from the tree.
    try settle()
    try changeBeginning { (state, transaction) throws(StorageError) in
      try state.forget(before: first, in: transaction)
      try state.removeGarbage(atMost: Self.garbageStepEntries, in: transaction)
    }
  }

  /// Removes a step of what is before the log's beginning. On the writing thread.
  /// - Returns: whether there is more.
  @discardableResult
  package func removeGarbage() throws(StorageError) -> Bool {
    _ = try claim()
    guard hasGarbage else { return false }
    try changeBeginning { (state, transaction) throws(StorageError) in
      try state.removeGarbage(atMost: Self.garbageStepEntries, in: transaction)
    }
    return hasGarbage
  }

  /// Whether there is anything left before the log's beginning.
  var hasGarbage: Bool { shared.withLock { $0.settled.garbage != nil } }

  private func changeBeginning(
    _ body: (inout LogState, borrowing Transaction) throws(StorageError) -> Void
  ) throws(StorageError) {
    var state = shared.withLock { $0.settled }
    try change(&state, forBytes: LogState.pageBytesNeeded(for: []), body)
    shared.withLock { shared in
      shared.settled = state
      shared.log.takeBeginning(of: state)
    }
  }
}
