// Owns the alarms that operators raise by hand, and those of members whose store has outgrown its quota; and what a cluster
// refuses while one is up (etcd's Alarm call).
// Must never: refuse what ends an alarm, or what makes room. Alarms that follow from a node's disk are that node's own and
// not here: they end by themselves.

package struct Alarm: Hashable, Comparable, Sendable {
  package enum Kind: UInt8, Sendable, CaseIterable {
    /// Nothing is taken that needs more room.
    case noSpace = 1
    /// Nothing is taken that changes the state.
    case corrupt = 2
    /// As `noSpace`, raised by a member itself: its store is at its quota. It says that quota, so that whoever leads can
    /// tell when it is over, also for a member that is down. etcd knows both under one name.
    case quota = 3
  }

  package let kind: Kind
  /// Whom it is said to concern; 0 for nobody in particular. It is in force everywhere, whomever it names.
  package let member: UInt64
  /// Of `quota`: the bytes that the member's store may have; 0 in all others.
  package let quotaBytes: UInt64

  package init(_ kind: Kind, member: UInt64) {
    precondition(kind != .quota, "an alarm of a quota names the quota")
    self.kind = kind
    self.member = member
    self.quotaBytes = 0
  }

  package init(quotaBytes: UInt64, member: UInt64) {
    self.kind = .quota
    self.member = member
    self.quotaBytes = quotaBytes
  }

  /// The two kinds that etcd has.
  package var kindOfEtcd: Kind { kind == .quota ? .noSpace : kind }

  package static func < (left: Alarm, right: Alarm) -> Bool {
    (left.kind.rawValue, left.member, left.quotaBytes) < (right.kind.rawValue, right.member, right.quotaBytes)
  }

  /// Whether disarming `other` ends this one: of a member's own alarm those who disarm it need not know the quota.
  fileprivate func ends(with other: Alarm) -> Bool {
    self == other || (other.kind == .noSpace && kind == .quota && member == other.member)
  }
}

package enum AlarmChange: Sendable, Equatable {
  case raise(Alarm)
  case disarm(Alarm)
}

extension Coordination {
  /// What is up afterwards or was before: nothing if the alarm to disarm was not up, or too many are.
  mutating func change(_ change: AlarmChange) -> [Alarm] {
    switch change {
    case .raise(let alarm):
      if !alarms.contains(alarm) {
        guard alarms.count < StateLimits.maxAlarms else { return [] }
        alarms.append(alarm)
        alarms.sort()
      }
      return [alarm]
    case .disarm(let alarm):
      let ended = alarms.filter { $0.ends(with: alarm) }
      alarms.removeAll { $0.ends(with: alarm) }
      return ended
    }
  }

  /// Refuses what the alarms that are up do not let through.
  func checkAlarms(_ command: Command) throws(RequestError) {
    guard !alarms.isEmpty else { return }
    let isUp = { kind in alarms.contains { $0.kind == kind } } as (Alarm.Kind) -> Bool
    switch command {
    case .put, .leaseGrant, .acquire, .openClient, .openSession, .proclaim, .gateway(.register):
      if isUp(.corrupt) { throw .corruptCluster }
      if isUp(.noSpace) || isUp(.quota) { throw .spaceExceeded }
    case .transaction(let request):
      if isUp(.corrupt) { throw .corruptCluster }
      if isUp(.noSpace) || isUp(.quota), request.hasPuts { throw .spaceExceeded }
    case .delete, .compact, .leaseRevoke, .release, .closeSession:
      if isUp(.corrupt) { throw .corruptCluster }
    case .leaseRenew, .leaseExpire, .cancelWait, .registerNode, .forgetNode, .retireKeys, .expireClient, .markClock,
      .alarm, .auth,
      .reopen, .giveBack, .gateway:
      break
    }
  }
}

// MARK: - What needs room

extension Command {
  /// How many bytes the command can make the store larger by; nil for one that a store without room takes as well.
  /// It agrees with `checkAlarms` about which those are.
  package var neededBytes: Int? {
    switch self {
    case .put(let request): request.weight
    case .transaction(let request): request.hasPuts ? request.weight : nil
    case .leaseGrant, .acquire, .openClient, .openSession, .proclaim, .gateway(.register): 0
    case .delete, .compact, .leaseRevoke, .release, .leaseRenew, .leaseExpire, .cancelWait, .registerNode, .forgetNode,
      .retireKeys,
      .expireClient, .markClock, .alarm, .auth, .closeSession, .reopen, .giveBack,
      .gateway:
      nil
    }
  }
}

extension PutRequest {
  /// A put that keeps the value shares its bytes with the version before, but they are counted for each.
  fileprivate var weight: Int { KeyVersion.weight(key: key, valueBytes: value.count) }
}

extension TransactionRequest {
  fileprivate var hasPuts: Bool { Self.holdPuts(success) || Self.holdPuts(failure) }

  private static func holdPuts(_ operations: [Operation]) -> Bool {
    operations.contains { operation in
      switch operation {
      case .put: true
      case .transaction(let inner): inner.hasPuts
      case .range, .delete: false
      }
    }
  }

  /// Of the larger branch: which one runs is not known before it does.
  fileprivate var weight: Int { max(Self.weight(of: success), Self.weight(of: failure)) }

  private static func weight(of operations: [Operation]) -> Int {
    operations.reduce(0) { sum, operation in
      switch operation {
      case .put(let put): sum + put.weight
      case .transaction(let inner): sum + inner.weight
      case .range, .delete: sum
      }
    }
  }
}
