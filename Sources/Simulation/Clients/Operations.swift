// Owns every operation that anybody asked for, and how it ended.
// Must never: let one end twice, or call one refused that was applied.
// Invariant: the number of an operation is its place in the list, its request id and its proposal id.

import CoordinationCore
import RaftCore

struct Operation {
  enum Work: Equatable {
    case get(key: Int)
    case put(key: Int)
    case delete(key: Int)
    /// Puts if the key is still at this revision; 0 for a key that does not exist.
    case compare(key: Int, revision: Revision)
    case compact
    case openClient(Int)
    case leaseGrant(Int)
    case leaseRenew(Int)
    case leaseRevoke(Int)
    case acquire(Int)
    case release(Int)
    case cancelWait(Int)
    case contend(Int, Contender.Step)
    case protect
    case membership
    case housekeeping

    var key: Int? {
      switch self {
      case .get(let key), .put(let key), .delete(let key), .compare(let key, _): key
      default: nil
      }
    }
  }

  enum State: UInt8 {
    /// Under way. What is still open at the end is unknown.
    case open
    case acknowledged
    /// Certainly not applied.
    case refused
    /// A later attempt of the same request took its place.
    case superseded
  }

  var work: Work
  var node: Int
  var life: UInt64
  var invokedAt: UInt64
  /// The first attempt of the same request.
  var logical: UInt64
  var name: ClientSequence?
  /// Of the session that asked, to tell an answer for an earlier one.
  var generation = 0
  /// The grant under which it is to be carried out.
  var fence: GrantFence?
  var state = State.open
  /// Where the log has it, once it was applied anywhere.
  var committedAt = RaftCore.Index.beforeFirst
  /// What anybody had committed when it was asked for.
  var floor = RaftCore.Index.beforeFirst
}

struct Operations {
  private var all: [Operation] = []
  private(set) var acknowledged = 0
  private(set) var refused = 0

  var count: Int { all.count }

  subscript(id: UInt64) -> Operation {
    get { all[Int(id)] }
    set { all[Int(id)] = newValue }
  }

  mutating func begin(
    _ work: Operation.Work, node: Int, life: UInt64, at now: UInt64, logical: UInt64? = nil,
    name: ClientSequence? = nil
  ) -> UInt64 {
    let id = UInt64(all.count)
    all.append(
      Operation(work: work, node: node, life: life, invokedAt: now, logical: logical ?? id, name: name))
    return id
  }

  mutating func acknowledge(_ id: UInt64, at now: UInt64, index: RaftCore.Index) {
    all[Int(id)].state = .acknowledged
    acknowledged += 1
  }

  mutating func refuse(_ id: UInt64) {
    guard all[Int(id)].state == .open else { return }
    all[Int(id)].state = .refused
    refused += 1
  }

  /// Operations that clients asked for and that nobody knows the end of.
  var unknown: Int {
    all.reduce(0) { $0 + ($1.state == .open && $1.work != .housekeeping ? 1 : 0) }
  }

  var unknownButApplied: Int {
    all.reduce(0) { $0 + ($1.state == .open && $1.work != .housekeeping && $1.committedAt > .beforeFirst ? 1 : 0) }
  }
}
