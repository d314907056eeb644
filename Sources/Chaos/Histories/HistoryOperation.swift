// What a client did and what it was told: the material of every check.
//
// Invariants:
// - `invoked` is read before anything is sent, `returned` after the answer is there, both from one monotonic clock of one
//   process: an operation that returned before another was invoked happened before it.
// - `failed` means certainly not carried out. What may have been is `unknown`, and stays possible for ever.

import Glibc

/// What a comparison expects of its key.
package enum HistoryExpectation: Sendable, Equatable {
  /// etcd's way: the revision of the last change, 0 for a key that is not there.
  case modRevision(Int64)
  case value(String)
}

package enum HistoryCall: Sendable, Equatable {
  case get
  /// A read that does not ask to be linearizable. Only a negative control makes one.
  case getSerializable
  case put(String)
  case delete
  case compareAndPut(HistoryExpectation, String)

  package var isRead: Bool { self == .get || self == .getSerializable }

  /// The value that the call would leave behind. Every value is written by one call only.
  package var value: String? {
    switch self {
    case .put(let value), .compareAndPut(_, let value): value
    case .get, .getSerializable, .delete: nil
    }
  }
}

/// A key's state as an answer showed it. `modRevision` is 0 for a key that is not there.
package struct HistoryState: Sendable, Equatable {
  package var value: String?
  package var modRevision: Int64

  package init(value: String?, modRevision: Int64) {
    self.value = value
    self.modRevision = modRevision
  }

  package static let absent = HistoryState(value: nil, modRevision: 0)
}

package enum HistoryAnswer: Sendable, Equatable {
  case read(HistoryState)
  case written
  case deleted(Bool)
  /// The comparison held and the value was written.
  case exchanged
  /// The comparison did not hold; the state that it met.
  case differed(HistoryState)
}

package enum HistoryOutcome: Sendable, Equatable {
  /// `revision` is that of the answer's header.
  case ok(HistoryAnswer, revision: Int64)
  case failed(String)
  case unknown(String)
}

package struct HistoryOperation: Sendable {
  package let client: Int
  package let node: Int
  package let key: String
  package let call: HistoryCall
  package let invoked: UInt64
  package let returned: UInt64
  package let outcome: HistoryOutcome

  package var isAcknowledged: Bool {
    if case .ok = outcome { true } else { false }
  }

  /// The revision at which it changed its key, where it is known to have done so.
  package var writtenRevision: Int64? {
    guard case .ok(let answer, let revision) = outcome else { return nil }
    switch answer {
    case .written, .exchanged, .deleted(true): return revision
    case .read, .deleted(false), .differed: return nil
    }
  }
}

extension HistoryOperation: CustomStringConvertible {
  package var description: String {
    "client \(client) at \(FaultsCluster.name(node)) [\(invoked), \(returned)] \(key): \(call) \(outcome)"
      .replacing("Chaos.", with: "").replacing(/History[A-Z][a-z]+\./, with: "")
  }
}

enum HistoryClock {
  static var nanoseconds: UInt64 {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
  }
}

/// Chance from a seed (SplitMix64, Steele, Lea and Flood 2014), so that a schedule can be drawn again.
package struct HistoryRandom: RandomNumberGenerator, Sendable {
  private var state: UInt64

  package init(seed: UInt64) { state = seed }

  /// A stream of its own for one concern: one more draw there shifts nothing here.
  package func stream(_ number: Int) -> HistoryRandom {
    var source = HistoryRandom(seed: state ^ (UInt64(number + 1) &* 0xD1B5_4A32_D192_ED03))
    return HistoryRandom(seed: source.next())
  }

  package mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}
