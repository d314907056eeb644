// Owns the alarms that operators raise by hand, and what a cluster refuses while one is up (etcd's Alarm call).
// Must never: refuse what ends an alarm, or what makes room. Alarms that follow from a node's disk are that node's own and
// not here: they end by themselves.

package struct Alarm: Hashable, Comparable, Sendable {
  package enum Kind: UInt8, Sendable, CaseIterable {
    /// Nothing is taken that needs more room.
    case noSpace = 1
    /// Nothing is taken that changes the state.
    case corrupt = 2
  }

  package let kind: Kind
  /// Whom it is said to concern; 0 for nobody in particular. It is in force everywhere, whomever it names.
  package let member: UInt64

  package init(_ kind: Kind, member: UInt64) {
    self.kind = kind
    self.member = member
  }

  package static func < (left: Alarm, right: Alarm) -> Bool {
    (left.kind.rawValue, left.member) < (right.kind.rawValue, right.member)
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
      guard let place = alarms.firstIndex(of: alarm) else { return [] }
      return [alarms.remove(at: place)]
    }
  }

  /// Refuses what the alarms that are up do not let through.
  func checkAlarms(_ command: Command) throws(RequestError) {
    guard !alarms.isEmpty else { return }
    let isUp = { kind in alarms.contains { $0.kind == kind } } as (Alarm.Kind) -> Bool
    switch command {
    case .put, .leaseGrant, .acquire, .openClient:
      if isUp(.corrupt) { throw .corruptCluster }
      if isUp(.noSpace) { throw .spaceExceeded }
    case .transaction(let request):
      if isUp(.corrupt) { throw .corruptCluster }
      if isUp(.noSpace), request.hasPuts { throw .spaceExceeded }
    case .delete, .compact, .leaseRevoke, .release:
      if isUp(.corrupt) { throw .corruptCluster }
    case .leaseRenew, .leaseExpire, .cancelWait, .registerNode, .forgetNode, .expireClient, .markClock, .alarm, .auth:
      break
    }
  }
}

extension TransactionRequest {
  fileprivate var hasPuts: Bool {
    (success + failure).contains { operation in
      switch operation {
      case .put: true
      case .transaction(let inner): inner.hasPuts
      case .range, .delete: false
      }
    }
  }
}
