// What readers on other threads see: the state as of one applied entry, and what the node knew of the cluster then.

import CoordinationCore
import NIOConcurrencyHelpers
import RaftCore
import Synchronization

/// Immutable, so that any thread may keep one for as long as it likes.
final class Snapshot: Sendable {
  let state: Coordination
  let applied: Index
  let term: Term
  let leader: NodeID?
  let isLeader: Bool
  /// Whether reading this snapshot is a linearizable read: the node is the only voter, leads, and has applied an entry
  /// of its own term. Then nothing was acknowledged that a newer snapshot than the newest could hold.
  let isAuthoritative: Bool
  /// The configuration of the cluster by the entries that were applied.
  let membership: Membership
  /// The cluster clock when the snapshot was made, and this machine's boot-time clock at that instant.
  private let clockMilliseconds: UInt64
  private let madeMilliseconds: UInt64

  init(
    state: Coordination, applied: Index, term: Term, leader: NodeID?, isLeader: Bool, isAuthoritative: Bool,
    membership: Membership, clockMilliseconds: UInt64
  ) {
    self.state = state
    self.applied = applied
    self.term = term
    self.leader = leader
    self.isLeader = isLeader
    self.isAuthoritative = isAuthoritative
    self.membership = membership
    self.clockMilliseconds = clockMilliseconds
    self.madeMilliseconds = MachineClock.bootTimeMilliseconds
  }

  /// The cluster clock now, as far as this snapshot can tell: for telling people how long a lease still has.
  var clusterMilliseconds: UInt64 {
    clockMilliseconds + (MachineClock.bootTimeMilliseconds - madeMilliseconds)
  }
}

/// What operators look at, as of the last tenth of a second.
struct NodeGauges: Sendable {
  var raft: Status?
  var isImpaired = false
  var isWritable = true
  var leaderChanges: UInt64 = 0
  var pendingProposals = 0
  var failedProposals: UInt64 = 0
  var snapshotIndex = Index.beforeFirst
  var snapshotBytes: UInt64 = 0
  /// How long the newest snapshot took that this node took itself; 0 before the first.
  var snapshotSeconds = 0.0
}

/// Holds the newest snapshot: the loop replaces it, everybody reads it.
final class Publication: Sendable {
  private let current: NIOLockedValueBox<Snapshot>
  private let currentGauges = NIOLockedValueBox(NodeGauges())
  private let authFlag: Synchronization.Atomic<Bool>

  /// Beside the snapshot, for the look that every put costs.
  private let newestStoreBytes: Synchronization.Atomic<Int>
  private let hasQuotaRefusal = Synchronization.Atomic(false)

  init(_ first: Snapshot) {
    current = NIOLockedValueBox(first)
    authFlag = Synchronization.Atomic(first.state.auth.isEnabled)
    newestStoreBytes = Synchronization.Atomic(first.state.store.sizeBytes)
  }

  /// Whether callers are asked who they are: looked at by every call, and so without taking hold of a snapshot. What is
  /// applied is judged by the state alone, so that it may be a moment late.
  var isAuthEnabled: Bool { authFlag.load(ordering: .acquiring) }

  /// The size of the newest snapshot's store.
  var storeBytes: Int { newestStoreBytes.load(ordering: .relaxed) }

  /// A request was turned away because of the quota.
  func noteQuotaRefusal() { hasQuotaRefusal.store(true, ordering: .relaxed) }

  /// Whether one was since the last call.
  func takeQuotaRefusal() -> Bool { hasQuotaRefusal.exchange(false, ordering: .relaxed) }

  var gauges: NodeGauges {
    get { currentGauges.withLockedValue { $0 } }
    set { currentGauges.withLockedValue { $0 = newValue } }
  }

  var snapshot: Snapshot { current.withLockedValue { $0 } }

  func publish(_ snapshot: Snapshot) {
    authFlag.store(snapshot.state.auth.isEnabled, ordering: .releasing)
    newestStoreBytes.store(snapshot.state.store.sizeBytes, ordering: .relaxed)
    // The old snapshot is let go of outside the lock: freeing a large superseded tree takes time.
    let old = current.withLockedValue { held -> Snapshot in
      defer { held = snapshot }
      return held
    }
    guard old.leader != snapshot.leader else { return }
    for observer in observers.withLockedValue({ Array($0.values) }) { observer() }
  }

  // MARK: Whoever waits for a leader

  typealias ObserverID = UInt64
  private let observers = NIOLockedValueBox<[ObserverID: @Sendable () -> Void]>([:])

  /// Calls `body` on the loop's thread after each snapshot that names another leader than the one before, or none. It
  /// must only hand over to somebody else's thread.
  func observeLeader(_ body: @escaping @Sendable () -> Void) -> ObserverID {
    observers.withLockedValue { observers in
      let id = (observers.keys.max() ?? 0) + 1
      observers[id] = body
      return id
    }
  }

  func endObserving(_ id: ObserverID) { observers.withLockedValue { _ = $0.removeValue(forKey: id) } }
}
