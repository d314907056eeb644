// What the loop does about membership: links follow the configuration in force, what others are told follows the one
// that was applied.

import CoordinationCore
import Logging
import RaftCore

/// Callers who wait for another leader.
struct TransferTable {
  private var waiting: [(target: NodeID, completion: Completion, deadlineNanoseconds: UInt64)] = []

  mutating func add(_ target: NodeID, _ completion: Completion, deadlineNanoseconds: UInt64) {
    waiting.append((target, completion, deadlineNanoseconds))
  }

  /// Takes out those whose target leads now.
  mutating func led(by leader: NodeID?) -> [Completion] {
    take { $0.target == leader }
  }

  mutating func removeOverdue(nowNanoseconds now: UInt64) -> [Completion] {
    waiting.isEmpty ? [] : take { $0.deadlineNanoseconds <= now }
  }

  mutating func removeAll() -> [Completion] { take { _ in true } }

  private mutating func take(
    _ isTaken: ((target: NodeID, completion: Completion, deadlineNanoseconds: UInt64)) -> Bool
  ) -> [Completion] {
    let taken = waiting.filter(isTaken)
    waiting.removeAll(where: isTaken)
    return taken.map(\.completion)
  }
}

extension CoreLoop {
  /// What Raft's messages and its leader may still need to travel before a removed node ends.
  private static let farewellNanoseconds: UInt64 = 1_000_000_000

  func transfer(to target: NodeID, _ completion: Completion) {
    let patience = UInt64(parts.configuration.electionMilliseconds) * 2_000_000
    transfers.add(target, completion, deadlineNanoseconds: MachineClock.monotonicNanoseconds + patience)
    inputs.append(.transferLeadership(to: target))
  }

  func inForce(_ new: Membership) {
    membership = new
    changedSincePublication = true
    parts.peers.follow(new)
    parts.logger.info(
      "membership",
      metadata: [
        "voters": "\(new.voters.map { new[$0]?.label ?? "" })", "leaving": "\(new.outgoing.map { new[$0]?.label ?? "" })",
        "learners": "\(new.learners.map { new[$0]?.label ?? "" })",
      ])
  }

  func apply(membershipEntry entry: Entry) {
    guard let record = MembershipRecord.decode(entry.payload) else {
      return end(.storage("the change of membership at \(entry.index) cannot be read; this log needs a newer version"))
    }
    applied(record.membership)
    // A joint configuration is half of a change. The final record carries the context once more.
    guard !record.membership.isJoint, let context = ChangeContext(record.context), context.origin == localID,
      let completion = pending.remove(context.request)
    else { return }
    done.append(completion)
  }

  func applied(_ new: Membership) {
    appliedMembership = new
    changedSincePublication = true
    parts.peers.dismiss(parts.registry.applied(new))
    if new.contains(localID) {
      wasMember = true
    } else if wasMember, !new.isJoint, endsAtNanoseconds == nil {
      endsAtNanoseconds = MachineClock.monotonicNanoseconds + Self.farewellNanoseconds
    }
  }

  /// Takes note of what nodes have said of themselves.
  func noteNodes() {
    if let births = parts.registry.registered(state.nodes) { parts.keepBirths(births) }
  }

  /// A peer turned this node away, by what it has applied.
  func refused(_ refusal: PeerRefusal) {
    switch refusal.reason {
    case .removed: end(.removed("\(refusal.text), for good; its data directory may be deleted"))
    case .otherDisk:
      end(
        .storage(
          "\(refusal.text). It forgot its votes and what it acknowledged, so it must not come back under this identity:"
            + " remove the member and add it again (portcullis member replace)"))
    case .otherCluster, .otherIncarnation, .misdirected: break
    }
  }
}

/// By which a node finds the caller of a change when it is complete.
struct ChangeContext: Equatable {
  var origin: NodeID
  var request: UInt64

  init(origin: NodeID, request: UInt64) {
    self.origin = origin
    self.request = request
  }

  init?(_ bytes: [UInt8]) {
    guard bytes.count == 16 else { return nil }
    let number = { (part: ArraySlice<UInt8>) in part.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) } }
    origin = NodeID(number(bytes[..<8]))
    request = number(bytes[8...])
  }

  var bytes: [UInt8] {
    [origin.rawValue, request].flatMap { value in (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
  }
}
